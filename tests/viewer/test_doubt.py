"""The synthesised pane warns where the sources do not hold the answer."""

from __future__ import annotations

from dataclasses import replace

from crl_core.sequence import SequenceParameters
from crl_viewer.state import ViewerState, resolve
from tests.viewer.fakes import facts, make_scan

SHORT = make_scan("SE TE 10", SequenceParameters(5000, 10))
LONG = make_scan("SE TE 90", SequenceParameters(5000, 90))
STATE = ViewerState(
    scans=(SHORT, LONG),
    sources=(0,),
    reference=1,
    parameters=SequenceParameters(5000, 90),
    model=facts(),
    model_phase="ready",
)


def test_a_proton_density_source_asked_for_t2_is_doubted() -> None:
    assert resolve(STATE).synthesised.note == (
        "Source hardly separates grey matter from fluid",
        "warn",
    )


def test_with_a_second_source_that_tells_them_apart_it_is_not() -> None:
    assert resolve(replace(STATE, sources=(0, 1), reference=None)).synthesised.note is None


def test_at_the_settings_of_the_source_nothing_is_doubted() -> None:
    assert resolve(replace(STATE, parameters=SequenceParameters(5000, 10))).synthesised.note is None


def test_settings_that_cannot_be_played_are_left_to_the_refusal() -> None:
    impossible = SequenceParameters(500, 90, 480)
    assert resolve(replace(STATE, parameters=impossible)).synthesised.note is None
