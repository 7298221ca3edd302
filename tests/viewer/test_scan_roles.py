"""Scans that are opened twice, scans that this program made, and sources a network cannot take."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crl_core.scan import Scan
from crl_core.sequence import SequenceParameters
from crl_viewer.controllers.scans import same_volume
from crl_viewer.state import resolve
from crl_viewer.state.offers import Opened
from crl_viewer.workers import events
from tests.viewer.fakes import facts, make_scan
from tests.viewer.rig import Rig


def on_disk(name: str, te: float, **how) -> Scan:
    return replace(make_scan(name, SequenceParameters(5000, te), **how), path=Path(f"{name}.nii"))


def read_again(scan: Scan, **changes) -> Scan:
    """Return another reading of the same file."""
    return replace(scan, data=scan.data.copy(), **changes)


A = on_disk("a", 10)
B = on_disk("b", 90, top=400.0)
C = on_disk("c", 50, top=600.0)


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def three(rig: Rig) -> Rig:
    """Three scans and a network that reads as many."""
    rig.open(A, B, C)
    rig.work()
    rig.store.update(model=facts(max_sources=3))
    return rig


# opened twice ---------------------------------------------------------------------------------


def test_a_scan_that_is_open_is_not_listed_twice(rig: Rig) -> None:
    rig.open(A)
    rig.open(read_again(A))
    assert rig.state.scans == (A,)
    assert rig.state.reference is None
    rig.shell.set_notice.assert_called_with("a is open already")
    assert set(rig.opening._opened) == {A}
    rig.open(read_again(A), B)
    assert rig.state.scans == (A, B)
    assert set(rig.opening._opened) == {A, B}


def test_one_file_named_twice_is_one_scan(rig: Rig) -> None:
    rig.files |= {"a.nii": Opened(A), "again.nii": Opened(read_again(A))}
    rig.opening.open_paths([Path("a.nii"), Path("again.nii")])
    assert rig.state.scans == (A,)


def test_another_series_another_volume_and_a_file_written_anew_are_other_scans(rig: Rig) -> None:
    series, volume = read_again(A, series="4"), replace(A, data=A.data * 2)
    assert same_volume(A, read_again(A, path=Path("a.nii").absolute()))
    assert not any(same_volume(A, other) for other in (series, volume, make_scan("a")))
    rig.open(A)
    rig.open(volume)
    assert rig.state.scans == (A, volume)


def test_times_that_a_file_states_now_are_taken_over(rig: Rig) -> None:
    bare = replace(A, parameters=None, origins={})
    rig.open(bare)
    rig.shell.ask_about.call_args.kwargs["closed"]()
    rig.open(read_again(A))
    (scan,) = rig.state.scans
    assert scan.parameters == A.parameters


def test_a_twin_of_what_is_compared_with_is_no_source(three: Rig) -> None:
    twin = read_again(A)  # as where another volume of its file was chosen afterwards
    three.store.update(scans=(A, B, C, twin))
    three.scans.choose_reference(None)
    for index in (2, 3):
        three.scans.toggle_source(index, True)
    three.scans.choose_reference(0)
    assert three.state.ticked == (0, 2, 3)
    assert three.newest.sources == (C,)
    assert three.state.left_out == (0, 3)
    three.scans.choose_source(3)
    assert three.state.sources == (3,)
    assert three.state.acquired in (B, C)


def test_with_nothing_but_twins_there_is_nothing_to_compare_with(rig: Rig) -> None:
    rig.open(A)
    rig.store.update(scans=(A, read_again(A)))
    rig.scans.choose_reference(1)
    assert rig.state.reference is None
    assert rig.state.sources == (0,)


# synthetic ------------------------------------------------------------------------------------


def test_an_image_that_this_program_made_is_marked_where_acquired_ones_stand(three: Rig) -> None:
    made = replace(B, synthetic=True)
    three.store.update(scans=(A, made, C))
    assert three.state.acquired is made
    badges = (("SYNTHETIC", "accent"),)
    assert resolve(three.state).acquired.badges == badges
    assert resolve(three.state).source.badges == ()
    three.scans.choose_source(1)
    assert resolve(three.state).source.badges == badges
    assert resolve(three.state).acquired.badges == ()


def test_an_image_that_this_program_made_is_chosen_by_the_user_only(rig: Rig) -> None:
    made = replace(B, synthetic=True)
    rig.open(A, made)
    assert rig.state.source is A
    assert rig.state.reference is None
    rig.scans.choose_source(1)
    rig.scans.choose_source(0)
    assert rig.state.reference is None
    rig.scans.choose_reference(1)
    assert rig.state.acquired is made
    other = on_disk("other", 50, spacing=1.5)
    rig.scans.choose_source(1)
    rig.scans.choose_reference(None)
    rig.open(other)
    assert rig.state.source is other
    assert rig.state.acquired is A


def test_an_image_that_this_program_made_is_no_acquired_setting(three: Rig) -> None:
    three.store.update(scans=(A, B, replace(C, synthetic=True)))
    for view in (three.sliders, three.pad):
        view.set_acquired.assert_called_with([("a", A.parameters), ("b", B.parameters)])
    three.rest()
    assert [x for x, _ in three.plot.set_curve.call_args.args[3]] == [10, 90]


# sources of another network -------------------------------------------------------------------


def load(rig: Rig, name: str, **known: object) -> None:
    """Let another network take the place of the one in use."""
    path = Path(name)
    rig.store.update(checkpoint=path)
    rig.synthesis.on_event(events.ModelLoading(path, facts()))
    rig.synthesis.on_event(events.ModelReady(path, facts(**known)))


def test_a_network_of_fewer_sources_keeps_those_in_use_and_names_the_rest(three: Rig) -> None:
    three.scans.toggle_source(1, True)
    three.scans.toggle_source(2, True)
    three.scans.choose_reference(0)
    assert three.state.ticked == (0, 1, 2)
    assert three.state.sources == (1, 2)
    load(three, "one")
    assert three.state.ticked == three.state.sources == (1,)
    assert three.state.acquired is A
    assert three.state.banner == "This network takes one source: a and c are no longer used."
    assert three.newest.sources == (B,)


def test_what_a_network_refused_is_not_said_of_the_sources_it_takes(three: Rig) -> None:
    three.scans.toggle_source(2, True)
    three.opener.max_sources = 1
    three.store.update(checkpoint=Path("one"))
    three.rest()
    three.rest()
    assert three.state.refusal == ""
    assert three.state.current_frame is not None
    assert "c is no longer used" in three.state.banner


def test_a_tick_adds_a_source_while_nobody_knows_how_many_a_network_takes(three: Rig) -> None:
    three.store.update(checkpoint=Path("next"))
    three.synthesis.on_event(events.ModelLoading(Path("next"), facts()))
    assert three.state.source_limit is None
    three.scans.toggle_source(2, True)
    assert three.state.sources == (0, 2)
    three.synthesis.on_event(events.ModelReady(Path("next"), facts(max_sources=4)))
    assert three.state.sources == (0, 2)
    assert three.state.banner == ""


def test_a_source_without_times_is_named(three: Rig) -> None:
    bare = replace(C, parameters=None, origins={})
    three.store.update(scans=(A, B, bare))
    three.scans.toggle_source(2, True)
    assert three.newest.sources == ()
    words = resolve(three.state)
    assert words.synthesised.message == "Type TR, TE and TI of c first"
    assert words.source.note is not None
    assert "TR, TE and TI of c are needed to synthesise" in words.source.note[0]
    assert not three.state.exportable


# levels ---------------------------------------------------------------------------------------


def test_the_acquired_window_follows_the_source_that_sets_the_units(three: Rig) -> None:
    three.scans.toggle_source(1, True)
    three.scans.choose_reference(2)
    assert three.state.sources == (0, 1)
    before = three.acquired.set_levels.call_args.args[1]
    three.scans.toggle_source(0, False)
    assert three.state.source is B
    after = three.acquired.set_levels.call_args.args[1]
    assert after == pytest.approx(before * A.scale.scale / B.scale.scale)
    shown = three.acquired.set_image.call_args.args[0]
    assert after == pytest.approx(shown.max(), rel=0.1)


@pytest.mark.parametrize("way", ["close", "demo"])
def test_levels_set_by_hand_go_with_the_scans_they_were_set_for(three: Rig, way: str) -> None:
    three.windows.dragged("synthesised", 0.4, 0.2)
    three.store.update(lock_windows=True)
    if way == "close":
        three.scans.close_all()
        three.open(C)
    else:
        three.opening.open_demo("real")
    assert three.state.auto_window
    # Before there is anything to share, the source shows in a window of its own.
    assert three.source.set_levels.call_args.args == (0.0, pytest.approx(1.02))
    three.work()
    window = three.state.window
    assert window is not None
    three.windows.dragged("synthesised", 0.1, 0.0)
    assert three.state.window != window


# fat ------------------------------------------------------------------------------------------


def test_a_preset_keeps_whether_fat_is_suppressed(three: Rig) -> None:
    three.store.update(model=facts(knows_fat=True))
    three.parameters.suppress_fat(True)
    three.parameters.preset("PDw", SequenceParameters(3000, 12))
    assert three.state.parameters == SequenceParameters(3000, 12, fat_suppression=True)
    three.presets.set_current.assert_called_with("PDw", False)


def test_another_network_that_knows_fat_keeps_it_suppressed(three: Rig) -> None:
    three.store.update(model=facts(knows_fat=True))
    three.parameters.suppress_fat(True)
    three.store.update(checkpoint=Path("next"))
    three.synthesis.on_event(events.ModelLoading(Path("next"), facts()))
    three.synthesis.on_event(events.ModelReady(Path("next"), facts(knows_fat=True)))
    assert three.state.parameters.fat_suppression is True
    load(three, "without")
    assert three.state.parameters.fat_suppression is None


def test_an_acquired_scan_makes_no_network_claim_what_it_was_never_told(rig: Rig) -> None:
    suppressed = replace(B, parameters=SequenceParameters(5000, 90, fat_suppression=True))
    rig.synthesis.on_event(events.ModelReady(None, facts()))
    rig.open(A, suppressed)
    assert rig.state.parameters == SequenceParameters(5000, 90)
    told = Rig()
    told.synthesis.on_event(events.ModelReady(None, facts(knows_fat=True)))
    told.open(A, suppressed)
    assert told.state.parameters.fat_suppression is True
