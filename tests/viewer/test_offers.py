from __future__ import annotations

from pathlib import Path

import pytest

from crl_core.errors import InputError
from crl_core.io.timing import Timing
from crl_core.scan import Origin
from crl_core.sequence import SequenceParameters
from crl_viewer.state.offers import (
    MOST_TICKED,
    Offer,
    kind_text,
    matches,
    preselected,
    spoken_of,
    ticked_line,
    tip_of,
    value_of,
)
from tests.viewer.fakes import make_offer, make_scan


def bad(title: str = "survey", **changes) -> Offer:
    return make_offer(title, refusal="a localiser", remedy="Choose another", **changes)


def other_grid(title: str, **changes) -> Offer:
    scan = make_scan(title, SequenceParameters(600, 12), shape=(20, 20, 3))
    return make_offer(title, scan, **changes)


# what is ticked to begin with -----------------------------------------------------------------


def test_fast_spin_echo_scans_of_one_grid_are_ticked() -> None:
    offers = [
        bad(), make_offer("t1"), make_offer("epi", fast_spin_echo=False), other_grid("sag"),
        make_offer("t2"), make_offer("flair"),
    ]  # fmt: skip
    assert preselected(offers) == [1, 4, 5]


def test_few_scans_are_all_ticked_but_never_one_that_cannot_be_used() -> None:
    offers = [make_offer("a", fast_spin_echo=None), bad(), other_grid("b", fast_spin_echo=False)]
    assert preselected(offers) == [0, 2]


def test_among_many_scans_the_one_fast_spin_echo_is_ticked() -> None:
    offers = [make_offer(f"epi {n}", fast_spin_echo=False) for n in range(6)]
    assert preselected(offers) == [0]
    assert preselected([*offers, other_grid("t2")]) == [6]


def test_phase_images_are_not_ticked_and_sixty_scans_are_not_opened_at_once() -> None:
    parts = [make_offer(key, series=key) for key in ("5", "5p", "5r-2", "6e2")]
    assert preselected(parts) == [0, 3]
    assert len(preselected([make_offer(str(n)) for n in range(60)])) == MOST_TICKED


def test_nothing_usable_ticks_nothing() -> None:
    assert preselected([bad(), bad()]) == []
    assert preselected([]) == []


# what a row says ------------------------------------------------------------------------------


def test_unknown_nominal_and_absent_values_differ() -> None:
    timing = Timing()
    timing.add("tr", 4500.0, Origin("header"))
    timing.add("ti", 0.0, Origin("nothing said", "nominal"))
    offer = make_offer(timing=timing)
    assert value_of(offer, "tr") == ("4\u2009500", "", False)
    assert value_of(offer, "te") == ("—", "not stated", False)
    assert value_of(offer, "ti") == ("off", "nominal", True)


@pytest.mark.parametrize(
    ("kind", "turbo", "said"),
    [
        ("inversion recovery fast spin echo", True, "inversion recovery"),
        ("fast spin echo", True, ""),
        ("gradient echo", False, "gradient echo"),
        ("unknown", None, "sequence type not stated"),
    ],
)
def test_the_kind_completes_the_badge(kind: str, turbo: bool | None, said: str) -> None:
    assert kind_text(make_offer(kind=kind, fast_spin_echo=turbo)) == said


def test_the_tip_tells_where_each_time_was_read_and_the_reason() -> None:
    timing = Timing(extras={"echo_train_length": 12, "echo_spacing": 9.12, "field_strength": 1.5})
    timing.add("te", 90.0, Origin("DICOM (0018,0081) EchoTime"))
    tip = tip_of(bad("t2", timing=timing, maker="Test Systems"))
    assert "TE 90 ms: DICOM (0018,0081) EchoTime" in tip
    assert "TR: not stated" in tip
    assert "Echo train 12, echo spacing 9.12 ms, 1.5 T" in tip
    assert "a localiser. Choose another" in tip
    assert tip.endswith("Test Systems")


def test_a_screen_reader_hears_the_whole_row() -> None:
    said = spoken_of(bad("t2_tse"))
    for part in ("t2_tse", "fast spin echo", "TR 4500", "TE 90", "axial", "cannot be used"):
        assert part in said


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("", True), ("T2", True), ("tse 4500", True), ("AXIAL", True), ("series 7", True),
     ("series 8", False), ("sagittal", False)],
)  # fmt: skip
def test_every_typed_word_must_stand_in_the_row(typed: str, kept: bool) -> None:
    assert matches(make_offer("t2_tse", series="7", number="7"), typed) is kept


def test_the_line_below_says_what_is_hidden_and_that_grids_differ() -> None:
    assert "Tick what" in ticked_line([], 0)
    assert ticked_line([make_offer()], 0) == ""
    line = ticked_line([make_offer(), other_grid("b")], 1)
    assert "1 of them hidden" in line
    assert "2 different grids" in line


# refusals -------------------------------------------------------------------------------------


def test_a_refusal_names_place_series_and_remedy_in_one_line() -> None:
    offer = bad("t2_tse", path=Path("study.zip"), series="7")
    assert offer.line == "study.zip: series 7 (t2_tse): a localiser. Choose another."
    refusal = InputError("its pixels are damaged", remedy="Export it again")
    assert offer.refused(refusal) == (
        "study.zip: series 7 (t2_tse): its pixels are damaged. Export it again."
    )


def test_a_refusal_that_names_the_series_is_not_told_twice() -> None:
    offer = make_offer("t2_tse", path=Path("study"), series="7")
    refusal = InputError("series 7 cannot be used", path=Path("study"))
    assert offer.refused(refusal) == "study: series 7 cannot be used."
