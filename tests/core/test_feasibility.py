"""What a scanner could play, and how long it would take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_core.physics.feasibility import Protocol, assess, n_concatenations, scan_time
from crl_core.sequence import PAPER_SEQUENCES, PRESETS, SequenceParameters


def _impossible(p: SequenceParameters, protocol: Protocol | None = None) -> list[str]:
    return [f.parameter for f in assess(p, protocol) if f.severity == "impossible"]


@pytest.mark.parametrize("p", [*PAPER_SEQUENCES.values(), *PRESETS.values()], ids=str)
def test_nothing_known_by_name_is_impossible(p: SequenceParameters) -> None:
    assert _impossible(p) == []


def test_an_ordinary_sequence_has_no_findings() -> None:
    assert assess(SequenceParameters(8000, 104.2)) == []


@pytest.mark.parametrize(
    ("p", "parameter", "text"),
    [
        (SequenceParameters(8000, 4), "te", "shorter than one echo"),
        (SequenceParameters(8000, 100, 10), "ti", "20 ms or off"),
        (SequenceParameters(2000, 100, 1950), "tr", "TI 1950"),
        (SequenceParameters(205, 200), "tr", "too short"),
        (
            SequenceParameters(8000, 120, echo_spacing=10, echo_train_length=8),
            "te",
            "beyond the last echo",
        ),
        (
            SequenceParameters(300, 20, 150, echo_spacing=10, echo_train_length=16),
            "tr",
            "322 ms",
        ),
    ],
    ids=lambda value: str(value),
)
def test_what_is_impossible_names_its_parameter(
    p: SequenceParameters, parameter: str, text: str
) -> None:
    found = [f for f in assess(p) if f.severity == "impossible"]
    assert [f.parameter for f in found] == [parameter]
    assert text in found[0].text


def test_an_assumed_train_only_warns_about_a_late_echo() -> None:
    found = assess(SequenceParameters(8000, 195))
    assert [(f.severity, f.parameter) for f in found] == [("warning", "te")]
    assert "assumed" in found[0].text


def test_no_inversion_is_not_a_short_inversion_time() -> None:
    assert _impossible(SequenceParameters(8000, 100, 0)) == []
    assert _impossible(SequenceParameters(8000, 100, 20)) == []


def test_warnings_come_after_what_is_impossible() -> None:
    found = assess(SequenceParameters(400, 250, 200), Protocol(slices=60))
    severities = [f.severity for f in found]
    assert severities == sorted(severities)
    assert {"impossible", "warning"} == set(severities)
    assert all(f.text for f in found)


def test_long_and_many_part_acquisitions_are_warned_about() -> None:
    found = assess(SequenceParameters(600, 10))
    assert "9 concatenations for 25 slices" in [f.text for f in found]
    slow = assess(SequenceParameters(20_000, 100), Protocol(averages=3))
    assert [f.text for f in slow] == ["about 15 min of scanning"]


@pytest.mark.parametrize(("tr", "length", "slices"), [(2479, 18, 12), (8000, 18, 40),
                                                      (2479, 6, 33), (8000, 6, 107)])
def test_slices_that_fit_one_repetition(tr: float, length: int, slices: int) -> None:
    p = SequenceParameters(tr, 10.42)
    fits = Protocol(echo_train_length=length, slices=slices)
    assert n_concatenations(p, fits) == 1
    assert n_concatenations(p, Protocol(echo_train_length=length, slices=slices + 1)) == 2


def test_the_inversion_time_leaves_room_for_fewer_slices() -> None:
    assert n_concatenations(PAPER_SEQUENCES[2], Protocol()) == 3
    assert n_concatenations(PAPER_SEQUENCES[1], Protocol()) == 4


def test_scan_time_by_hand() -> None:
    protocol = Protocol(echo_train_length=16, phase_encodes=256, slices=20)
    assert scan_time(SequenceParameters(5000, 100), protocol) == pytest.approx(5.0 * 16)
    twice = Protocol(echo_train_length=16, phase_encodes=256, slices=20, averages=2)
    assert scan_time(SequenceParameters(5000, 100), twice) == pytest.approx(5.0 * 32)
    half = Protocol(echo_train_length=16, phase_encodes=256, slices=20, acceleration=2)
    assert scan_time(SequenceParameters(5000, 100), half) == pytest.approx(5.0 * 8)


@given(
    tr=st.floats(200, 20_000), te=st.floats(5, 300), ti=st.floats(0, 5000), more=st.floats(0, 5000)
)
def test_a_longer_repetition_never_makes_a_sequence_impossible(tr, te, ti, more) -> None:
    p = SequenceParameters(tr, te, ti)
    if not _impossible(p):
        assert _impossible(p.at(tr=tr + more)) == []


@given(tr=st.floats(200, 20_000), te=st.floats(5, 300), ti=st.floats(0, 5000))
def test_what_the_equation_refuses_is_impossible(tr, te, ti) -> None:
    p = SequenceParameters(tr, te, ti)
    if tr < ti + te:
        assert "tr" in _impossible(p)
