from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_core.scan import Origin
from crl_core.sequence import SequenceParameters
from crl_core.trust import TrainingCoverage
from crl_viewer import strings
from crl_viewer.state import (
    Aligned,
    History,
    Store,
    ViewerState,
    Window,
    render_request,
    resolve,
)
from crl_viewer.state.results import Frame
from tests.viewer.fakes import facts, make_scan

SOURCE = make_scan("SE TE 10", SequenceParameters(5000, 10))
REFERENCE = make_scan("SE TE 90", SequenceParameters(5000, 90))
LOADED = ViewerState(
    scans=(SOURCE, REFERENCE),
    sources=(0,),
    reference=1,
    parameters=SequenceParameters(5000, 90),
    slice_index=2,
    crosshair=(3, 4, 2),
    model=facts(),
    model_phase="ready",
)


def frame_of(state: ViewerState, **changes: object) -> Frame:
    request = replace(render_request(state, 1, issued=0.0), **changes)  # type: ignore[arg-type]
    image = np.zeros(SOURCE.slice(0).shape, np.float32)
    return Frame(request, image, None, 1.0, 1.0)


# store ----------------------------------------------------------------------------------------


def test_a_change_is_announced_once_with_old_and_new() -> None:
    store = Store()
    heard: list[tuple[ViewerState, ViewerState]] = []
    store.changed.connect(lambda old, new: heard.append((old, new)))
    store.update(slice_index=3, invert=True)
    ((old, new),) = heard
    assert (old.slice_index, new.slice_index, new.invert) == (0, 3, True)
    assert store.state is new


def test_no_change_is_not_announced() -> None:
    store = Store(LOADED)
    heard: list[object] = []
    store.changed.connect(lambda old, new: heard.append(new))
    store.update(slice_index=2, scans=(SOURCE, REFERENCE))
    assert heard == []


def test_a_change_made_by_a_listener_comes_after_the_first_for_everyone() -> None:
    store = Store()
    order: list[tuple[str, int]] = []

    def first(old: ViewerState, new: ViewerState) -> None:
        order.append(("first", new.slice_index))
        if new.slice_index == 1:
            store.update(slice_index=2)

    store.changed.connect(first)
    store.changed.connect(lambda old, new: order.append(("second", new.slice_index)))
    store.update(slice_index=1)
    assert order == [("first", 1), ("second", 1), ("first", 2), ("second", 2)]


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(TypeError):
        Store().update(slice_idx=1)


# windows --------------------------------------------------------------------------------------

levels = st.floats(-5, 5)
moves = st.floats(-0.5, 0.5)


@given(levels, st.floats(0.01, 5), moves, moves)
def test_width_dragged_there_and_back_returns(
    low: float, width: float, across: float, down: float
) -> None:
    window = Window(low, low + width)
    there = window.dragged(across, down)
    assert there.dragged(-across, 0).width == pytest.approx(width, rel=1e-6)


def test_right_is_wider_and_up_is_brighter() -> None:
    window = Window(0.0, 1.0)
    assert window.dragged(0.2, 0).width > 1
    assert window.dragged(0, -0.2).level < 0.5


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        Window(1.0, 1.0)


# requests -------------------------------------------------------------------------------------


def test_a_request_holds_what_is_chosen() -> None:
    request = render_request(LOADED, 7, issued=1.5)
    assert request.generation == 7
    assert request.sources == (SOURCE,)
    assert request.reference is REFERENCE
    assert (request.index, request.voxel, request.issued) == (2, (3, 4, 2), 1.5)


def test_a_source_without_parameters_only_loads_the_network() -> None:
    unknown = replace(SOURCE, parameters=None, origins={})
    state = replace(LOADED, scans=(unknown, REFERENCE))
    assert render_request(state, 1).sources == ()
    assert resolve(state).synthesised.message == "Type TR, TE and TI of SE TE 10 first"
    assert resolve(state).source.note is not None


def test_a_reference_on_another_grid_waits_for_its_alignment() -> None:
    far = make_scan("far", SequenceParameters(5000, 90), spacing=2.0)
    state = replace(LOADED, scans=(SOURCE, far))
    assert render_request(state, 1).reference is None
    assert "Resampling" in resolve(state).acquired.message
    covered = np.ones(SOURCE.shape, bool)
    moved = replace(REFERENCE, note="Resampled onto the grid of 'SE TE 10'.")
    state = replace(state, aligned={(1, 0): Aligned(moved, covered)})
    assert render_request(state, 1).reference is moved
    assert render_request(state, 1).covered is covered
    assert resolve(state).acquired.note == (moved.note, "text")


def test_scene_ignores_the_sliders_and_image_ignores_the_reference() -> None:
    here = render_request(LOADED, 1)
    moved = render_request(replace(LOADED, parameters=SequenceParameters(900, 12)), 2)
    alone = render_request(replace(LOADED, reference=None), 3)
    assert here.scene == moved.scene
    assert here.image != moved.image
    assert here.image == alone.image
    assert here.scene != alone.scene


# words ----------------------------------------------------------------------------------------


def test_synthesised_pane_always_says_synthetic() -> None:
    for state in (ViewerState(), LOADED, replace(LOADED, model=None, model_phase="loading")):
        assert ("SYNTHETIC", "accent") in resolve(state).synthesised.badges


def test_words_follow_the_frame_not_the_sliders() -> None:
    state = replace(
        LOADED,
        parameters=SequenceParameters(5000, 120),
        frame=frame_of(LOADED, parameters=SequenceParameters(5000, 98), index=1),
    )
    words = resolve(state)
    assert "TE 98 ms" in words.synthesised.lines[0]
    assert words.synthesised.corner == "z 2 / 6"
    assert words.source.corner == "z 3 / 6"
    assert words.error.note == ("Not like for like: TE +8 ms", "warn")


def test_at_the_acquired_setting_the_comparison_is_fair() -> None:
    words = resolve(LOADED)
    assert words.deviation == ""
    assert words.error.note is None


def test_badge_and_coverage_agree() -> None:
    outside = replace(LOADED, parameters=SequenceParameters(300, 12))
    for state in (LOADED, outside):
        words = resolve(state)
        assert state.model is not None
        assert state.model.coverage is not None
        inside = state.model.coverage.inside(state.parameters)
        assert words.extrapolating is not inside
        assert (("EXTRAPOLATING", "warn") in words.synthesised.badges) is not inside
        assert words.coverage_sentence.startswith("Extrapolating") is not inside


def test_a_frame_of_another_source_is_not_current() -> None:
    state = replace(LOADED, frame=frame_of(LOADED))
    assert state.current_frame is state.frame
    assert replace(state, sources=(1,), reference=0).current_frame is None


def test_a_single_slice_has_no_slice_number() -> None:
    flat = make_scan(shape=(32, 40, 1))
    assert resolve(replace(LOADED, scans=(flat, REFERENCE))).slice_text == ""


def test_messages_while_nothing_can_be_shown() -> None:
    loading = replace(LOADED, model_phase="loading")
    assert resolve(loading).synthesised.message == strings.LOADING_MODEL
    failed = replace(LOADED, model_phase="failed", model_message="it is damaged.")
    assert resolve(failed).synthesised.message == "it is damaged."
    assert resolve(ViewerState()).source.message == strings.NO_SOURCE
    assert resolve(replace(LOADED, reference=None)).acquired.message == strings.NO_REFERENCE


def test_a_source_outside_the_training_is_said() -> None:
    assert resolve(LOADED).source.note is None
    far = make_scan("short", SequenceParameters(300, 10))
    outside = replace(LOADED, scans=(far, REFERENCE))
    assert resolve(outside).source.note == (strings.SOURCE_OUTSIDE, "warn")
    second = replace(LOADED, scans=(SOURCE, REFERENCE, far), sources=(0, 2))
    assert resolve(second).source.note == (strings.SOURCE_OUTSIDE, "warn")
    unknown = replace(outside, model=facts(coverage=TrainingCoverage()))
    assert resolve(unknown).source.note is None
    assert resolve(replace(outside, model=None)).source.note is None


def test_a_doubtful_source_outside_the_training_says_both() -> None:
    far = make_scan("short").with_parameters(
        SequenceParameters(300, 10), Origin("assumed", "nominal")
    )
    note = resolve(replace(LOADED, scans=(far, REFERENCE))).source.note
    assert note == (f"{strings.NOMINAL} {strings.SOURCE_OUTSIDE}", "warn")


@pytest.mark.parametrize(
    ("note", "lines"),
    [
        ("", ()),
        ("Pixel size assumed (1 mm).", ("Pixel size assumed",)),
        (
            "Registered to the first (1.9°, 2.7 px). TE estimated. Pixel size assumed (1 mm).",
            ("Registered to the first", "Pixel size assumed"),
        ),
    ],
)
def test_a_scan_tells_what_is_special_about_it(note: str, lines: tuple[str, ...]) -> None:
    words = resolve(replace(LOADED, scans=(make_scan(note=note), make_scan("other", note=note))))
    assert words.source.lines[2:] == lines
    assert words.acquired.lines[2:] == lines
    assert words.acquired.note is None


def test_nominal_values_say_so() -> None:
    nominal = SOURCE.with_parameters(
        SequenceParameters(5000, 10), Origin("assumed", "nominal")
    )
    words = resolve(replace(LOADED, scans=(nominal, REFERENCE)))
    assert "nominal" in words.source.lines[1]
    assert words.source.note == (strings.NOMINAL, "warn")


# texts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("current", "acquired", "text"),
    [
        ((5000, 90, 0), (5000, 90, 0), ""),
        ((5000, 98, 0), (5000, 90, 0), "TE +8 ms"),
        ((4500, 82, 0), (5000, 90, 0), "TR −500, TE −8 ms"),
        ((5000, 90, 0), (5000, 90, 2000), "TI off"),
        ((5000, 90, 150), (5000, 90, 0), "TI on"),
        ((5000, 90.01, 0), (5000, 90, 0), ""),
        ((5000, 110, 0), (5000, 62.52, 0), "TE +47 ms"),
        ((5000, 12, 0), (5000, 10.42, 0), "TE +1.6 ms"),
        ((15000, 12, 1200), (15000, 12, 200), "TI +1\u2009000 ms"),
    ],
)
def test_deviation(current: tuple, acquired: tuple, text: str) -> None:
    assert strings.deviation(SequenceParameters(*current), SequenceParameters(*acquired)) == text


def test_fat_is_part_of_a_comparison_where_the_file_tells() -> None:
    plain, suppressed = (SequenceParameters(5000, 90, fat_suppression=f) for f in (False, True))
    unknown = SequenceParameters(5000, 90)
    assert strings.deviation(suppressed, plain) == "fat suppressed"
    assert strings.deviation(unknown, suppressed) == "fat not suppressed"
    assert strings.deviation(suppressed.at(te=98), plain) == "TE +8 ms, fat suppressed"
    assert strings.deviation(suppressed, unknown) == strings.deviation(plain, unknown) == ""
    assert strings.deviation(suppressed, suppressed) == ""
    assert strings.parameters_line(suppressed).endswith("fat suppressed")
    assert "fat" not in strings.parameters_line(plain)



def test_numbers_have_thin_spaces_and_a_true_minus() -> None:
    assert strings.number(-8142.5, 1) == "−8\u2009142.5"
    assert strings.milliseconds(10.42) == "10.42"
    assert strings.milliseconds(90.0) == "90"


# history --------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_undo_walks_back_to_the_first_and_redo_to_the_last(values: list[int]) -> None:
    history = History()
    for value in values:
        history.record(SequenceParameters(1000, value))
    walked = [v for n, v in enumerate(values) if n == 0 or values[n - 1] != v]
    seen = []
    while (step := history.undo()) is not None:
        seen.append(step.te)
    assert seen == [float(v) for v in walked[-2::-1]]
    while history.redo() is not None:
        pass
    assert not history.can_redo
    assert history.can_undo is (len(walked) > 1)


def test_a_new_position_forgets_what_was_undone() -> None:
    history = History()
    for te in (10, 20, 30):
        history.record(SequenceParameters(1000, te))
    history.undo()
    history.record(SequenceParameters(1000, 99))
    assert not history.can_redo
    step = history.undo()
    assert step is not None
    assert step.te == 20


def test_history_is_bounded() -> None:
    history = History(limit=3)
    for te in range(1, 10):
        history.record(SequenceParameters(1000, te))
    steps = 0
    while history.undo() is not None:
        steps += 1
    assert steps == 2
