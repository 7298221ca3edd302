from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY, MagicMock

import numpy as np
import pytest

from crl_core.sequence import PRESETS, SequenceParameters
from crl_viewer import strings
from crl_viewer.controllers.readout import value_at
from crl_viewer.settings import Recent
from crl_viewer.state import Window, resolve
from crl_viewer.state.offers import Opened
from crl_viewer.state.results import Compared, Frame
from crl_viewer.workers import events
from crl_viewer.workers.engine import Engine
from tests.viewer.fakes import facts, make_scan
from tests.viewer.rig import Rig

TE10 = make_scan("a", SequenceParameters(5000, 10))
TE90 = make_scan("b", SequenceParameters(5000, 90), top=400.0)
TI = make_scan("c", SequenceParameters(15000, 12, 500), top=600.0)


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def loaded() -> Rig:
    rig = Rig()
    rig.open(TE10, TE90, TI)
    rig.work()
    return rig


# opening --------------------------------------------------------------------------------------


def test_first_file_is_the_source_and_the_closest_the_reference(loaded: Rig) -> None:
    assert loaded.state.sources == (0,)
    assert loaded.state.reference == 1
    assert loaded.state.parameters == SequenceParameters(5000, 90)


def test_the_view_begins_in_the_middle_of_the_head(loaded: Rig) -> None:
    assert loaded.state.slice_index in (2, 3)
    assert loaded.state.crosshair is not None
    assert TE10.mask[loaded.state.crosshair]
    loaded.shell.fit.assert_called_once()


def test_source_and_acquired_show_before_the_network_is_there() -> None:
    rig = Rig()
    rig.open(TE10, TE90)
    for pane in (rig.source, rig.acquired):
        assert isinstance(pane.set_image.call_args.args[0], np.ndarray)
    image, message = rig.synthesised.set_image.call_args.args
    assert image is None
    assert "Loading the network" in message


def test_a_file_that_cannot_be_read_does_not_stop_the_others(rig: Rig) -> None:
    rig.files["a.nii"] = Opened(TE10)
    rig.opening.open_paths([Path("missing.nii"), Path("a.nii")])
    assert rig.state.banner == "missing.nii: there is no such file."
    assert rig.state.source is TE10


def test_only_files_that_were_read_are_remembered(rig: Rig) -> None:
    rig.files["f.nii"] = Opened(TE10)
    rig.opening.open_paths([Path("missing.nii"), Path("f.nii")])
    assert rig.remembered == [Recent(str(Path("f.nii").absolute()))]


def test_a_single_scan_has_no_reference(rig: Rig) -> None:
    rig.open(TE10)
    assert rig.state.reference is None
    rig.scans.choose_reference(0)
    assert rig.state.reference == 0


def test_a_demo_replaces_what_was_there_and_files_replace_a_demo(loaded: Rig) -> None:
    loaded.opening.open_demo("real")
    assert [s.name for s in loaded.state.scans] == ["D10", "D90"]
    assert loaded.state.source is loaded.state.scans[1]  # TE near 90 tells most
    loaded.open(TE10)
    assert [s.name for s in loaded.state.scans] == ["a"]


def test_files_on_the_same_grid_join_what_is_there(loaded: Rig) -> None:
    more = make_scan("d", SequenceParameters(5000, 50))
    loaded.open(more)
    assert loaded.state.source is TE10
    assert loaded.state.acquired is TE90
    assert loaded.state.scans[-1] is more


def test_files_on_another_grid_become_the_source(loaded: Rig) -> None:
    other = make_scan("d", SequenceParameters(5000, 50), shape=(20, 20, 4))
    loaded.open(other)
    assert loaded.state.source is other
    assert loaded.state.reference == 0


def test_closing_everything_leads_back_to_the_welcome_page(loaded: Rig) -> None:
    loaded.scans.close_all()
    assert loaded.state.scans == ()
    loaded.shell.show_workspace.assert_called_with(False)


def test_unknown_parameters_are_asked_for_and_taken(rig: Rig) -> None:
    unknown = make_scan("u", None)
    rig.open(unknown)
    rig.shell.ask_about.assert_called_once_with(
        "u", parameters=True, volumes=1, known={}, volume=0, answer=ANY, closed=ANY
    )
    assert rig.newest.sources == ()
    answer = rig.shell.ask_about.call_args.kwargs["answer"]
    answer(SequenceParameters(5000, 10), None)
    assert rig.state.source is not None
    assert rig.state.source.parameters == SequenceParameters(5000, 10)
    assert {o.certainty for o in rig.state.source.origins.values()} == {"given"}
    assert rig.newest.sources == (rig.state.source,)


def test_a_file_of_several_volumes_asks_which(rig: Rig) -> None:
    rig.files["f.nii"] = Opened(TE10, volumes=4)
    rig.opening.open_paths([Path("f.nii")])
    rig.shell.ask_about.assert_called_once_with(
        "a", parameters=False, volumes=4, known=ANY, volume=0, answer=ANY, closed=ANY
    )
    rig.shell.ask_about.call_args.kwargs["answer"](None, 2)
    assert rig.state.source is not None
    assert rig.state.source.name == "volume 2"


# roles ----------------------------------------------------------------------------------------


def test_choosing_the_reference_as_source_makes_them_change_places(loaded: Rig) -> None:
    loaded.scans.choose_source(1)
    assert loaded.state.sources == (1,)
    assert loaded.state.reference == 0


def test_the_reference_is_never_a_source(loaded: Rig) -> None:
    loaded.scans.choose_reference(0)
    assert loaded.state.reference not in loaded.state.sources


def test_several_sources_as_far_as_the_network_takes_them(loaded: Rig) -> None:
    loaded.store.update(model=facts(max_sources=2))
    loaded.scans.toggle_source(2, True)
    assert loaded.state.sources == (0, 2)
    assert loaded.newest.sources == (TE10, TI)
    loaded.scans.toggle_source(1, True)
    assert loaded.state.sources == (2, 1)
    assert loaded.state.reference == 0
    assert "up to 2 sources" in loaded.state.banner
    assert loaded.state.scans[0].name in loaded.state.banner
    loaded.scans.toggle_source(1, False)
    loaded.scans.toggle_source(2, False)
    assert loaded.state.sources == (2,)


def test_a_source_that_is_compared_with_is_left_out_until_it_no_longer_is(loaded: Rig) -> None:
    loaded.store.update(model=facts(max_sources=3))
    loaded.scans.toggle_source(2, True)
    loaded.scans.toggle_source(1, True)
    assert loaded.state.ticked == (0, 2, 1)
    loaded.scans.choose_reference(2)
    assert loaded.state.reference == 2
    assert loaded.state.sources == (0, 1)
    assert TI not in loaded.newest.sources
    loaded.scans.choose_reference(0)
    assert loaded.state.sources == (2, 1)
    assert loaded.state.source is TI
    assert loaded.newest.sources[0] is TI
    loaded.scans.choose_reference(None)
    assert loaded.state.sources == loaded.state.ticked == (0, 2, 1)


def test_unticking_the_scan_that_is_compared_with_keeps_comparing(loaded: Rig) -> None:
    loaded.store.update(model=facts(max_sources=3))
    loaded.scans.toggle_source(2, True)
    loaded.scans.choose_reference(2)
    loaded.scans.toggle_source(2, False)
    assert loaded.state.ticked == (0,)
    assert loaded.state.reference == 2


def test_the_last_source_that_is_not_compared_with_stays(loaded: Rig) -> None:
    loaded.store.update(model=facts(max_sources=3))
    loaded.scans.toggle_source(1, True)
    loaded.scans.choose_reference(1)
    assert loaded.state.sources == (0,)
    loaded.scans.toggle_source(0, False)
    assert loaded.state.ticked == (1,)
    assert loaded.state.sources == (1,)
    assert loaded.state.reference not in loaded.state.sources


def test_a_source_that_contradicts_the_others_is_named(loaded: Rig) -> None:
    loaded.store.update(model=facts(max_sources=3))
    loaded.scans.toggle_source(2, True)
    loaded.opener.synthesizer.contradicting = 1
    loaded.rest()
    words = loaded.source.set_words.call_args.kwargs
    outside = "Source settings outside the trained range"
    named = "c contradicts the other sources (29 dB) and counts less."
    assert words["note"] == (f"{outside}. {named}", "warn")
    assert "a is given back from the sources at 30.0 dB" in words["tip"]
    times = loaded.opener.synthesizer.agreed
    loaded.parameters.moved(4000, 80, 0)
    loaded.rest()
    assert loaded.opener.synthesizer.agreed == times  # that of a setting is that of all
    loaded.opener.synthesizer.contradicting = None
    loaded.scans.toggle_source(2, False)
    assert "contradicts" not in str(loaded.source.set_words.call_args.kwargs["note"])
    loaded.rest()
    assert "contradicts" not in str(loaded.source.set_words.call_args.kwargs["note"])
    assert loaded.opener.synthesizer.agreed == times + 1


def test_a_second_source_must_share_the_grid(loaded: Rig) -> None:
    loaded.store.update(model=facts(max_sources=2))
    loaded.open(make_scan("d", SequenceParameters(5000, 50), spacing=1.5))
    index = len(loaded.state.scans) - 1
    loaded.scans.choose_source(0)
    loaded.scans.toggle_source(index, True)
    assert loaded.state.sources == (0,)
    assert "another grid" in loaded.state.banner


def test_a_reference_on_another_grid_is_resampled_and_says_so(loaded: Rig) -> None:
    coarse = make_scan("coarse", SequenceParameters(5000, 50), shape=(20, 24, 6), spacing=1.6)
    loaded.store.update(scans=(*loaded.state.scans, coarse))
    loaded.scans.choose_reference(3)
    reference = loaded.state.reference_on_grid
    assert reference is not None
    assert reference.same_grid(TE10)
    assert loaded.newest.reference is reference
    assert "Resampled" in loaded.acquired.set_words.call_args.kwargs["note"][0]


def test_a_reference_that_does_not_overlap_is_refused_with_a_line(loaded: Rig) -> None:
    far = make_scan("far", SequenceParameters(5000, 50), shift_mm=900.0)
    loaded.store.update(scans=(*loaded.state.scans, far))
    loaded.scans.choose_reference(3)
    assert "does not overlap" in loaded.state.banner
    assert loaded.state.reference is None


# parameters -----------------------------------------------------------------------------------


def test_a_move_reaches_pad_sliders_and_worker(loaded: Rig) -> None:
    loaded.parameters.moved(5000, 42, 0)
    moved = SequenceParameters(5000, 42)
    loaded.sliders.set_parameters.assert_called_with(moved)
    loaded.pad.set_parameters.assert_called_with(moved)
    assert loaded.newest.parameters == moved


def test_views_that_answer_while_being_set_do_not_loop(loaded: Rig) -> None:
    loaded.pad.set_parameters.side_effect = lambda p: loaded.parameters.moved(1, 1, 1)
    loaded.parameters.moved(5000, 42, 0)
    assert loaded.state.parameters.te == 42


def test_every_request_has_a_higher_generation(loaded: Rig) -> None:
    for te in range(20, 40):
        loaded.parameters.moved(5000, te, 0)
    generations = [c.args[0].generation for c in loaded.worker.submit.call_args_list]
    assert generations == sorted(set(generations))


def test_suppressed_fat_stays_while_the_sliders_move_and_can_be_undone(loaded: Rig) -> None:
    loaded.store.update(model=facts(knows_fat=True))
    loaded.parameters.moved(4000, 80, 0)
    loaded.parameters.suppress_fat(True)
    assert loaded.newest.parameters.fat_suppression is True
    loaded.parameters.moved(4000, 60, 0)
    loaded.parameters.contrast_drag(0.1, 0.0)
    loaded.parameters.rested()
    assert loaded.state.parameters.fat_suppression is True
    loaded.parameters.suppress_fat(False)
    assert loaded.state.parameters.fat_suppression is None
    loaded.parameters.undo()
    assert loaded.newest.parameters.fat_suppression is True


def test_snapping_takes_over_whether_fat_was_suppressed(loaded: Rig) -> None:
    told = replace(TE90, parameters=SequenceParameters(5000, 90, fat_suppression=True))
    loaded.store.update(scans=(TE10, told, TI), model=facts(knows_fat=True))
    loaded.scans.choose_reference(1)
    loaded.parameters.moved(5000, 90, 0)
    loaded.work()
    assert "fat not suppressed" in loaded.error.set_words.call_args.kwargs["note"][0]
    loaded.parameters.snap()
    loaded.work()
    assert loaded.newest.parameters.numbers == (5000, 90, 0, 1)
    assert loaded.error.set_words.call_args.kwargs["note"] is None


def test_the_switch_is_for_networks_that_know_fat(loaded: Rig) -> None:
    loaded.store.update(model=facts(knows_fat=True))
    loaded.sliders.set_fat_usable.assert_called_with(True)
    loaded.parameters.suppress_fat(True)
    loaded.store.update(model=facts())
    loaded.sliders.set_fat_usable.assert_called_with(False)
    # Images of a network that was never told must not claim it.
    assert loaded.newest.parameters.fat_suppression is None
    loaded.parameters.undo()
    loaded.parameters.redo()
    loaded.parameters.suppress_fat(True)
    assert loaded.newest.parameters.fat_suppression is None


def test_snap_goes_to_the_reference_and_ends_the_note(loaded: Rig) -> None:
    loaded.parameters.moved(5000, 98, 0)
    loaded.work()
    assert loaded.error.set_words.call_args.kwargs["note"][0] == "Not like for like: TE +8 ms"
    loaded.parameters.snap()
    loaded.work()
    assert loaded.state.parameters == SequenceParameters(5000, 90)
    assert loaded.error.set_words.call_args.kwargs["note"] is None


def test_without_an_acquired_scan_the_expected_error_shows(loaded: Rig) -> None:
    loaded.store.update(model=facts(knows_doubt=True))
    loaded.opener.synthesizer.doubt = 0.02
    loaded.scans.choose_reference(None)
    loaded.work()
    assert loaded.newest.expected
    shown = loaded.error.set_error.call_args.args[0]
    frame = loaded.state.frame
    assert frame is not None
    judged = shown[np.isfinite(shown)]
    np.testing.assert_allclose(judged, 2.0 / frame.foreground_top, rtol=1e-5)
    assert 0 < judged.size < shown.size
    loaded.error.set_signed.assert_called_with(False)
    words = loaded.error.set_words.call_args.kwargs
    assert words["title"] == "Expected error"
    assert ("SYNTHETIC", "accent") in words["badges"]
    loaded.scans.choose_reference(1)
    loaded.work()
    loaded.error.set_signed.assert_called_with(True)
    assert loaded.error.set_words.call_args.kwargs["title"] == "Error"


def test_the_expected_error_can_be_asked_for_beside_an_acquired_scan(loaded: Rig) -> None:
    loaded.store.update(model=facts(knows_doubt=True))
    loaded.opener.synthesizer.doubt = 0.02
    loaded.work()
    error = loaded.state.current_error
    assert error is not None
    loaded.store.update(show_expected=True)
    loaded.work()
    shown, compared = loaded.state.current_expected, loaded.state.compared
    assert shown is not None
    assert compared is not None
    # In per cent of the same peak as the error: one can be read against the other.
    assert loaded.state.frame is not None
    assert compared.peak != pytest.approx(loaded.state.frame.foreground_top, rel=0.01)
    judged = shown[np.isfinite(shown)]
    np.testing.assert_allclose(judged, 2.0 / compared.peak, rtol=1e-5)
    assert value_at(loaded.state, "error").removesuffix(" %").replace(".", "").isdigit()
    assert loaded.error.set_words.call_args.kwargs["title"] == "Expected error"
    loaded.store.update(show_expected=False)
    assert loaded.error.set_words.call_args.kwargs["title"] == "Error"


def test_a_network_that_does_not_tell_leaves_the_error_in_sight(loaded: Rig) -> None:
    loaded.store.update(model=facts(knows_doubt=True), show_expected=True)
    loaded.opener.synthesizer.doubt = 0.02
    loaded.work()
    assert loaded.error.set_words.call_args.kwargs["title"] == "Expected error"
    loaded.store.update(model=facts())
    loaded.work()
    assert loaded.error.set_words.call_args.kwargs["title"] == "Error"
    assert loaded.state.current_error is not None
    loaded.error.set_signed.assert_called_with(True)


def test_a_preset_is_filled_until_moved_away_from(loaded: Rig) -> None:
    loaded.parameters.preset("T2w", PRESETS["T2w"])
    loaded.presets.set_current.assert_called_with("T2w", False)
    loaded.parameters.moved(5000, 98, 0)
    loaded.presets.set_current.assert_called_with("T2w", True)


def test_undo_returns_to_where_the_hand_rested(loaded: Rig) -> None:
    for te in (20, 30, 40):
        loaded.parameters.moved(5000, te - 5, 0)
        loaded.parameters.moved(5000, te, 0)
        loaded.parameters.rested()
    loaded.parameters.undo()
    assert loaded.state.parameters.te == 30
    loaded.parameters.undo()
    loaded.parameters.redo()
    assert loaded.state.parameters.te == 30


def test_the_first_movement_can_be_undone(loaded: Rig) -> None:
    start = loaded.state.parameters
    loaded.parameters.moved(5000, 20, 0)
    loaded.parameters.moved(5000, 25, 0)
    loaded.parameters.rested()
    loaded.parameters.undo()
    assert loaded.state.parameters == start
    assert not loaded.parameters.history.can_undo


def test_contrast_drag_right_is_longer_te_and_up_longer_tr(loaded: Rig) -> None:
    before = loaded.state.parameters
    loaded.parameters.contrast_drag(0.1, 0.2)
    after = loaded.state.parameters
    assert after.te > before.te
    assert after.tr > before.tr
    loaded.parameters.contrast_drag(9, 9)
    assert (loaded.state.parameters.te, loaded.state.parameters.tr) == (300, 20_000)


def test_acquired_settings_and_coverage_reach_sliders_and_pad(loaded: Rig) -> None:
    known = [("a", TE10.parameters), ("b", TE90.parameters), ("c", TI.parameters)]
    for view in (loaded.sliders, loaded.pad):
        view.set_acquired.assert_called_with(known)
        view.set_coverage.assert_called_with(facts().coverage)
    loaded.sliders.set_reference.assert_called_with("b", TE90.parameters)


# frames ---------------------------------------------------------------------------------------


def test_a_frame_shows_with_error_and_numbers(loaded: Rig) -> None:
    picture = loaded.synthesised.set_image.call_args.args[0]
    index = loaded.state.slice_index
    expected = TE10.scale.to_model(TE10.slice(index)) * np.exp(-0.8)
    assert picture.sum() == pytest.approx(float(expected.sum()), rel=1e-5)
    assert loaded.error.set_error.call_args.args[0] is not None
    numbers, volume, stale = loaded.table.set_comparison.call_args.args
    assert numbers.psnr > 0
    assert volume is None
    assert stale is False


def test_an_older_frame_never_replaces_a_newer_one(loaded: Rig) -> None:
    old = loaded.state.frame
    assert old is not None
    loaded.parameters.moved(5000, 50, 0)
    loaded.work()
    newest = loaded.state.frame
    loaded.synthesis.on_event(old)
    assert loaded.state.frame is newest


def test_numbers_stay_but_dim_while_the_image_is_newer(loaded: Rig) -> None:
    loaded.parameters.moved(5000, 50, 0)
    assert loaded.table.set_comparison.call_args.args[2] is False
    loaded.engine._compared_at = float("inf")
    loaded.engine.work(loaded.newest, lambda: True)
    numbers, _, stale = loaded.table.set_comparison.call_args.args
    assert numbers is not None
    assert stale is True
    loaded.work()
    assert loaded.table.set_comparison.call_args.args[2] is False


def test_numbers_against_another_reference_never_show(loaded: Rig) -> None:
    loaded.scans.choose_reference(2)
    assert loaded.table.set_comparison.call_args.args[0] is None
    assert loaded.error.set_error.call_args.args[0] is None
    loaded.work()
    assert loaded.table.set_comparison.call_args.args[0] is not None


@pytest.mark.parametrize("change", ["network", "weights", "source"])
def test_numbers_of_a_volume_go_with_the_network_and_the_source(loaded: Rig, change: str) -> None:
    loaded.rest()
    assert loaded.table.set_comparison.call_args.args[1] is not None
    if change == "source":
        loaded.scans.choose_source(2)
        loaded.scans.choose_reference(1)
    else:
        loaded.store.update(**{"network": {"checkpoint": Path("other")},
                               "weights": {"refreshed": 1}}[change])  # fmt: skip
    in_slice, in_volume, _ = loaded.table.set_comparison.call_args.args
    assert in_volume is None
    # Newer weights of one network are close enough for numbers that are dimmed.
    assert (in_slice is None) is (change != "weights")
    assert (resolve(loaded.state).table_note == "") is (change != "weights")
    loaded.rest()
    assert loaded.table.set_comparison.call_args.args[1] is not None


@pytest.mark.parametrize("change", ["network", "source", "voxel", "axis", "close"])
def test_a_curve_of_something_else_is_cleared(loaded: Rig, change: str) -> None:
    loaded.rest()
    assert loaded.plot.set_curve.call_args.args[0] is not None
    loaded.plot.set_curve.reset_mock()
    if change == "network":
        loaded.store.update(checkpoint=Path("other"))
    elif change == "source":
        loaded.scans.choose_source(2)
    elif change == "voxel":
        loaded.display.crosshair_moved(10, 10)
    elif change == "axis":
        loaded.store.update(curve_axis="tr")
    else:
        loaded.scans.close_all()
    # Without a crosshair the plot asks for one.
    marker = {"close": None, "axis": 5000.0}.get(change, 90.0)
    loaded.plot.set_curve.assert_called_once_with(None, None, marker)
    if change != "close":
        loaded.rest()
        assert loaded.plot.set_curve.call_args.args[0] is not None


def test_the_curve_stays_while_newer_weights_are_on_their_way(loaded: Rig) -> None:
    loaded.rest()
    loaded.plot.set_curve.reset_mock()
    loaded.store.update(refreshed=1)
    loaded.plot.set_curve.assert_not_called()


def test_a_new_source_blanks_the_synthesised_pane_until_its_frame(loaded: Rig) -> None:
    loaded.scans.choose_source(2)
    image, _ = loaded.synthesised.set_image.call_args.args
    assert image is None
    loaded.work()
    assert loaded.synthesised.set_image.call_args.args[0] is not None


def test_a_refusal_stands_in_the_pane_and_goes_with_the_next_frame(loaded: Rig) -> None:
    loaded.parameters.moved(900, 20, 1000)
    loaded.work()
    image, message = loaded.synthesised.set_image.call_args.args
    assert image is None
    assert "TR 900 ms is too short" in message
    assert loaded.error.set_error.call_args.args[0] is None
    loaded.parameters.moved(5000, 20, 0)
    loaded.work()
    assert loaded.synthesised.set_image.call_args.args[0] is not None


def test_time_runs_from_the_event_to_the_painted_picture(loaded: Rig) -> None:
    loaded.time = 10.0
    loaded.parameters.moved(5000, 50, 0)
    loaded.time = 10.020
    loaded.work()
    loaded.status.set_timing.assert_not_called()
    painted = loaded.shell.on_painted.call_args.args[0]
    loaded.time = 10.025
    painted()
    assert loaded.status.set_timing.call_args.args[0] == pytest.approx(25.0)


def test_waiting_for_the_network_is_not_an_update(rig: Rig) -> None:
    opener = rig.opener

    def slowly(path: Path | None, notice: Callable[[str], None]) -> object:
        rig.time = 30.0
        return opener(path, notice)

    rig.engine = Engine(rig.synthesis.on_event, slowly)
    rig.open(TE10, TE90)
    rig.work()
    rig.time = 30.4
    rig.shell.on_painted.call_args.args[0]()
    assert rig.status.set_timing.call_args.args[0] == pytest.approx(400.0)
    assert rig.status.set_timing.call_args.kwargs == {"first": True}
    rig.parameters.moved(5000, 50, 0)
    rig.work()
    rig.shell.on_painted.call_args.args[0]()
    assert rig.status.set_timing.call_args.kwargs == {"first": False}


def test_a_network_that_breaks_while_loading_is_said_to_be_missing(rig: Rig) -> None:
    rig.store.update(model_phase="loading")
    rig.shell.set_notice("Writing out.nii…")
    rig.synthesis.worker_failed("Something went wrong")
    rig.shell.set_notice.assert_called_with("")
    assert rig.state.model_phase == "failed"
    assert resolve(rig.state).model_text == "not loaded"
    rig.store.update(model_phase="ready", model=facts())
    rig.synthesis.worker_failed("Something went wrong")
    assert rig.state.model_phase == "ready"


def test_a_bad_checkpoint_keeps_the_scans_and_says_why(loaded: Rig) -> None:
    loaded.store.update(checkpoint=Path("bad.pth"))
    loaded.work()
    assert loaded.state.model_phase == "failed"
    assert loaded.state.banner.startswith("bad.pth")
    image, message = loaded.synthesised.set_image.call_args.args
    assert image is None
    assert "is damaged" in message
    assert loaded.source.set_image.call_args.args[0] is not None
    loaded.store.update(checkpoint=None)
    loaded.work()
    assert loaded.state.model_phase == "ready"


def test_reports_about_a_checkpoint_no_longer_wanted_are_ignored(loaded: Rig) -> None:
    loaded.synthesis.on_event(events.ModelFailed(Path("other.pth"), "no"))
    assert loaded.state.model_phase == "ready"


def test_notices_reach_the_status_line(loaded: Rig) -> None:
    loaded.synthesis.on_event(events.Notice("GPU memory is full."))
    loaded.shell.set_notice.assert_called_with("GPU memory is full.")


def test_export_needs_a_scan_and_a_network(rig: Rig) -> None:
    sent = MagicMock()
    rig.synthesis.export(Path("out.nii"), sent)
    sent.assert_not_called()
    assert "nothing to export" in rig.state.banner
    rig.open(TE10, TE90)
    rig.work()
    rig.synthesis.export(Path("out.nii"), sent)
    request, known, path = sent.call_args.args
    assert request.sources == (TE10,)
    assert (known.name, path) == ("fake", Path("out.nii"))


# display --------------------------------------------------------------------------------------


def test_scrolling_stops_at_the_ends_and_takes_the_crosshair_along(loaded: Rig) -> None:
    loaded.display.scrolled(100)
    assert loaded.state.slice_index == 5
    assert loaded.state.crosshair is not None
    assert loaded.state.crosshair[2] == 5
    loaded.display.scrolled(-100)
    assert loaded.state.slice_index == 0
    assert loaded.newest.index == 0


def test_the_crosshair_reads_every_pane(loaded: Rig) -> None:
    loaded.display.crosshair_moved(16, 20)
    state = loaded.state
    assert state.crosshair is not None
    i, j, k = state.crosshair
    value = float(TE10.scale.to_model(TE10.data[i, j, k]))
    texts = loaded.status.set_probe.call_args.args[0]
    assert f"source {value:.3f}" in texts
    assert f"synthesised {value * np.exp(-0.8):.3f}" in texts
    assert f"acquired {value / 2:.3f}" in texts
    assert texts[-1].startswith("error ")
    assert texts[-1].endswith(" %")
    assert "mm" in texts[0]
    (position, words) = loaded.source.set_crosshair.call_args.args
    assert position == (16, 20)
    assert words == f"value {value:.3f}"


def test_a_crosshair_outside_is_kept_inside(loaded: Rig) -> None:
    loaded.display.crosshair_moved(-50, 900)
    crosshair = loaded.state.crosshair
    assert crosshair is not None
    assert all(0 <= v < n for v, n in zip(crosshair, TE10.shape, strict=True))


def test_curve_points_are_the_acquired_scans_on_it(loaded: Rig) -> None:
    loaded.engine.rest(loaded.newest, lambda: False)
    x, y, marker, points, _ = loaded.plot.set_curve.call_args.args
    assert len(x) == len(y)
    assert marker == 90
    assert [p[0] for p in points] == [10, 90]
    loaded.store.update(curve_axis="ti")
    loaded.parameters.moved(15000, 12, 500)
    loaded.work()
    loaded.engine.rest(loaded.newest, lambda: False)
    assert [p[0] for p in loaded.plot.set_curve.call_args.args[3]] == [500]


def test_a_single_slice_says_why_there_are_no_numbers_of_a_volume(rig: Rig) -> None:
    rig.open(make_scan("flat", SequenceParameters(5000, 10), shape=(32, 40, 1)))
    rig.table.set_reasons.assert_called_once_with("", "This scan is a single slice.")


def test_annotations_and_error_limit_reach_the_panes(loaded: Rig) -> None:
    loaded.store.update(annotations=False, error_limit=20)
    for pane in (loaded.source, loaded.synthesised, loaded.acquired, loaded.error):
        pane.set_labels_visible.assert_called_with(False)
    loaded.error.set_limit.assert_called_with(20)


# windows --------------------------------------------------------------------------------------


def test_synthesised_and_acquired_share_a_window_from_the_reference(loaded: Rig) -> None:
    top = TE90.scale.scale / TE10.scale.scale * 1.02
    for pane in (loaded.synthesised, loaded.acquired):
        low, high = pane.set_levels.call_args.args
        assert (low, high) == (0.0, pytest.approx(top))
    assert loaded.source.set_levels.call_args.args[1] == pytest.approx(1.02)


def test_levels_stay_while_a_slider_moves_and_follow_on_rest(loaded: Rig) -> None:
    window = loaded.state.window
    loaded.parameters.moved(5000, 10, 0)
    loaded.work()
    assert loaded.state.window == window
    loaded.windows.rested()
    assert loaded.state.window != window
    assert loaded.state.window is not None
    assert loaded.state.window.high == pytest.approx(1.02, rel=0.05)


def test_rest_before_the_frame_waits_for_it(loaded: Rig) -> None:
    loaded.parameters.moved(5000, 10, 0)
    loaded.windows.rested()
    before = loaded.state.window
    loaded.work()
    assert loaded.state.window != before


def test_the_acquired_window_is_its_own_away_from_its_setting(loaded: Rig) -> None:
    own = loaded.acquired.set_levels.call_args.args
    loaded.parameters.moved(5000, 10, 0)
    loaded.work()
    loaded.windows.rested()
    assert loaded.acquired.set_levels.call_args.args == own
    assert loaded.synthesised.set_levels.call_args.args[1] > 1.5 * own[1]
    loaded.parameters.snap()
    loaded.work()
    loaded.windows.rested()
    assert loaded.synthesised.set_levels.call_args.args == own


def test_a_network_with_a_range_per_contrast_shows_the_reference_in_its_own(loaded: Rig) -> None:
    loaded.store.update(model=facts(intensity_rule="minmax"))
    shown = loaded.acquired.set_image.call_args.args[0]
    assert (shown.min(), shown.max()) == (0.0, pytest.approx(1.0, abs=0.01))
    assert loaded.source.set_image.call_args.args[0].max() == pytest.approx(1.0, abs=0.01)
    i, j, k = loaded.state.crosshair
    value = (TE90.data[i, j, k] - TE90.data.min()) / np.ptp(TE90.data)
    assert value_at(loaded.state, "acquired") == strings.number(value, 3)


def test_a_drag_on_the_acquired_pane_starts_from_what_it_shows(loaded: Rig) -> None:
    loaded.parameters.moved(5000, 10, 0)
    loaded.work()
    loaded.windows.rested()
    own = loaded.acquired.set_levels.call_args.args
    loaded.windows.dragged("acquired", 0.01, 0)
    shown = loaded.acquired.set_levels.call_args.args
    assert shown[1] == pytest.approx(own[1], rel=0.05)
    assert loaded.synthesised.set_levels.call_args.args == shown


def test_a_scanner_gain_of_its_own_does_not_turn_the_synthesised_image_white() -> None:
    rig = Rig()
    quiet = make_scan("quiet", SequenceParameters(5000, 90), top=100.0)
    rig.open(TE10, quiet)
    rig.work()
    rig.work()
    frame = rig.state.frame
    assert frame is not None
    assert frame.request.parameters == quiet.parameters
    shown, acquired = resolve(rig.state).shared_levels, resolve(rig.state).acquired_levels
    assert shown is not None
    assert acquired is not None
    assert shown.high == pytest.approx(1.02 * frame.foreground_top)
    assert acquired.high == pytest.approx(1.02 * 100 / 800, rel=0.05)


def test_gains_that_differ_are_said_and_can_be_matched() -> None:
    rig = Rig()
    rig.open(TE10, make_scan("quiet", SequenceParameters(5000, 90), top=100.0))
    rig.work()
    rig.work()
    note = rig.error.set_words.call_args.kwargs["note"]
    assert note == ("Brightness differs 3.6 times: match gain (Ctrl+G)", "warn")
    rig.store.update(gain_matching=True)
    assert rig.error.set_words.call_args.kwargs["note"] is None
    rig.store.update(gain_matching=False)
    rig.parameters.moved(5000, 120, 0)
    rig.work()
    assert "Not like for like" in rig.error.set_words.call_args.kwargs["note"][0]


def test_a_window_set_by_hand_stays(loaded: Rig) -> None:
    loaded.windows.dragged("acquired", 0.3, 0.1)
    chosen = loaded.state.window
    loaded.parameters.moved(5000, 10, 0)
    loaded.windows.rested()
    loaded.work()
    assert loaded.state.window == chosen
    loaded.windows.reset("synthesised")
    assert loaded.state.window != chosen
    assert loaded.state.auto_window


def test_the_source_window_is_its_own_unless_locked(loaded: Rig) -> None:
    shared = loaded.state.window
    loaded.windows.dragged("source", 0.3, 0)
    assert loaded.state.window == shared
    loaded.store.update(lock_windows=True)
    assert shared is not None
    assert loaded.source.set_levels.call_args.args == (shared.low, shared.high)
    loaded.windows.dragged("source", 0.3, 0)
    assert loaded.state.window != shared


def test_invert_swaps_black_and_white(loaded: Rig) -> None:
    low, high = loaded.source.set_levels.call_args.args
    loaded.store.update(invert=True)
    assert loaded.source.set_levels.call_args.args == (high, low)


def test_a_window_from_a_region(loaded: Rig) -> None:
    loaded.windows.chosen("synthesised", 0.2, 0.4)
    assert loaded.state.window == Window(0.2, 0.4)
    loaded.windows.chosen("synthesised", 0.4, 0.4)
    assert loaded.state.window == Window(0.2, 0.4)


def test_results_carry_their_request(loaded: Rig) -> None:
    assert isinstance(loaded.state.frame, Frame)
    assert isinstance(loaded.state.compared, Compared)
    assert loaded.state.compared.request is loaded.state.frame.request
