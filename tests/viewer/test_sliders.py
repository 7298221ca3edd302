"""The sliders under a real pointer and keyboard."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from crl_core.errors import ParameterError
from crl_core.physics.feasibility import assess
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters
from crl_core.trust import TrainingCoverage
from crl_viewer import theme
from crl_viewer.formatting import clock, field_text, parse_ms, spoken, tick_text
from crl_viewer.views.scales import (
    NAMES,
    default_scale,
    obstacle,
    playable,
    rounded,
    step_at,
    stepped,
    tick_numbers,
)
from crl_viewer.views.slider_track import MIDDLE, SAMPLES, spread
from crl_viewer.views.sliders import ParameterSliders

THIN = "\N{THIN SPACE}"
ACQUIRED = [(f"TE {te}", SequenceParameters(5000, te)) for te in (10, 25, 50, 90, 150, 250)]
COVERAGE = TrainingCoverage(
    (*(PAPER_SEQUENCES[i] for i in (1, 2, 3, 5, 7, 8, 9)), SequenceParameters(4000, 90)),
    radius=0.03,
)
LEFT = Qt.MouseButton.LeftButton
ALT = Qt.KeyboardModifier.AltModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier
NONE = Qt.KeyboardModifier.NoModifier


@pytest.fixture
def sliders(themed, qtbot):
    widget = ParameterSliders()
    qtbot.addWidget(widget)
    widget.set_coverage(COVERAGE)
    widget.set_acquired(ACQUIRED)
    widget.set_parameters(SequenceParameters(5000, 98))
    widget.set_reference(*ACQUIRED[3])
    widget.resize(304, widget.sizeHint().height())
    widget.show()
    widget.activateWindow()
    qtbot.waitExposed(widget)
    heard: list[tuple[float, float, float]] = []
    widget.changed.connect(lambda *triple: heard.append(triple))
    widget.heard = heard
    widget.rests = []
    widget.released.connect(lambda: widget.rests.append(widget.parameters().triple))
    return widget


def place(track, value: float) -> QPoint:
    return QPoint(round(track.scale.pixel(value)), round(MIDDLE))


def drag(track, start: QPoint, end: QPoint, modifiers=NONE, steps: int = 8) -> None:
    """Press, move in steps and release, as a hand does."""
    QTest.mousePress(track, LEFT, modifiers, start)
    for k in range(1, steps + 1):
        at = start + (end - start) * k / steps
        move(track, at, modifiers)
    QTest.mouseRelease(track, LEFT, modifiers, end)


def move(widget, at: QPoint, modifiers=NONE) -> None:
    event = QMouseEvent(
        QEvent.Type.MouseMove, QPointF(at), QPointF(widget.mapToGlobal(at)),
        Qt.MouseButton.NoButton, LEFT, modifiers,
    )
    QApplication.sendEvent(widget, event)


def type_into(row, text: str) -> None:
    QTest.mouseClick(row.field, LEFT)
    row.field.selectAll()
    QTest.keyClicks(row.field, text)
    QTest.keyClick(row.field, Qt.Key.Key_Return)


# pointer ----------------------------------------------------------------------------------------


def test_dragging_the_handle_moves_te_and_nothing_else(sliders):
    track = sliders.rows["te"].track
    drag(track, place(track, 98), place(track, 35))
    assert len(sliders.heard) > 3
    assert all(tr == 5000 and ti == 0 for tr, _, ti in sliders.heard)
    assert sliders.parameters().te == pytest.approx(35, rel=0.04)
    assert sliders.rests == [sliders.parameters().triple]
    assert sliders.rows["te"].field.text() == field_text("te", sliders.parameters().te)


def test_the_handle_does_not_jump_when_taken_off_centre(sliders):
    track = sliders.rows["te"].track
    QTest.mousePress(track, LEFT, NONE, place(track, 98) + QPoint(6, 3))
    assert sliders.parameters().te == 98
    QTest.mouseRelease(track, LEFT, NONE, place(track, 98) + QPoint(6, 3))
    assert sliders.heard == []


def test_a_drag_snaps_to_acquired_settings_unless_alt_is_held(sliders):
    track = sliders.rows["te"].track
    near = place(track, 50) + QPoint(4, 0)
    drag(track, place(track, 98), near)
    assert sliders.parameters().te == 50
    drag(track, place(track, 50), near, ALT)
    assert sliders.parameters().te != 50
    assert sliders.parameters().te == pytest.approx(50, rel=0.15)


def test_beyond_the_reach_of_the_magnet_the_drag_is_free(sliders):
    track = sliders.rows["te"].track
    drag(track, place(track, 98), place(track, 50) + QPoint(9, 0))
    assert sliders.parameters().te not in [p.te for _, p in ACQUIRED]


def test_the_wheel_steps(sliders, qtbot):
    track = sliders.rows["te"].track
    for delta, modifiers, expected in ((120, NONE, 99), (-240, NONE, 97), (120, SHIFT, 100)):
        at = QPointF(place(track, 98))
        event = QWheelEvent(
            at, QPointF(track.mapToGlobal(at.toPoint())), QPoint(), QPoint(0, delta),
            Qt.MouseButton.NoButton, modifiers, Qt.ScrollPhase.NoScrollPhase, False,
        )
        QApplication.sendEvent(track, event)
        assert sliders.parameters().te == expected
    qtbot.waitUntil(lambda: len(sliders.rests) == 1)


# keys -------------------------------------------------------------------------------------------


def test_arrows_step_and_shift_makes_them_coarse(sliders, qtbot):
    track = sliders.rows["te"].track
    track.setFocus()
    QTest.keyClick(track, Qt.Key.Key_Right)
    assert sliders.parameters().te == 99
    QTest.keyClick(track, Qt.Key.Key_Down, SHIFT)
    assert sliders.parameters().te == 90
    qtbot.waitUntil(lambda: len(sliders.rests) == 1)


def test_ti_goes_off_below_its_low_end_and_comes_back(sliders):
    track = sliders.rows["ti"].track
    track.setFocus()
    QTest.keyClick(track, Qt.Key.Key_Right)
    assert sliders.parameters().ti == 100
    QTest.keyClick(track, Qt.Key.Key_Left)
    assert sliders.parameters().ti == 0
    assert sliders.rows["ti"].field.text() == "off"
    QTest.mouseClick(track, LEFT, NONE, place(track, 1000))
    assert sliders.parameters().ti == pytest.approx(1000, rel=0.05)
    QTest.mouseClick(track, LEFT, NONE, place(track, 0))
    assert sliders.parameters().ti == 0


def test_arrows_belong_to_the_slider_and_letters_to_the_window(sliders):
    track = sliders.rows["te"].track
    for key, claimed in (
        (Qt.Key.Key_Left, True), (Qt.Key.Key_Home, True),
        (Qt.Key.Key_G, False), (Qt.Key.Key_1, False), (Qt.Key.Key_PageUp, False),
    ):
        event = QKeyEvent(QEvent.Type.ShortcutOverride, key, NONE)
        event.ignore()
        QApplication.sendEvent(track, event)
        assert event.isAccepted() is claimed


def test_step_moves_the_parameter_touched_last(sliders, qtbot):
    track = sliders.rows["tr"].track
    QTest.mouseClick(track, LEFT, NONE, place(track, 3000))
    before = sliders.parameters().tr
    sliders.step(None, 1, False)
    assert sliders.parameters().tr > before
    sliders.step("te", -1, True)
    assert sliders.parameters().te == 90
    qtbot.waitUntil(lambda: len(sliders.rests) == 2)


def test_track_and_field_are_one_stop_of_the_tab_key(sliders):
    stops, widget = [], sliders.rows["tr"].track
    widget.setFocus()
    for _ in range(4):
        stops.append(QApplication.focusWidget())
        QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
    assert stops == [*(sliders.rows[n].track for n in NAMES), sliders.snap_line]


# typed numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("te", "35", 35),
        ("te", "35 ms", 35),
        ("te", "10.42", 10.42),
        ("tr", "1.2 s", 1200),
        ("tr", "8 142", 8142),
        ("ti", "160", 160),
        ("ti", "off", 0),
        ("ti", "0", 0),
    ],
)
def test_typed_numbers_are_taken(sliders, name, text, value):
    sliders.set_parameters(SequenceParameters(5000, 98, 500))
    type_into(sliders.rows[name], text)
    assert getattr(sliders.parameters(), name) == pytest.approx(value)
    assert sliders.heard[-1] == sliders.parameters().triple
    assert sliders.rests == [sliders.parameters().triple]
    assert sliders.rows[name].refused == ""


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("te", "abc", "not a time"),
        ("te", "-5", "not a time"),
        ("te", "0", "above zero"),
        ("te", "9000", "outside"),
        ("tr", "50", "too short"),
        ("ti", "7000", "too short"),
        ("ti", "10", "outside"),
    ],
)
def test_impossible_numbers_are_refused_in_sight(sliders, name, text, words):
    row, before = sliders.rows[name], sliders.parameters()
    type_into(row, text)
    assert sliders.parameters() == before
    assert sliders.heard == []
    assert words in row.refused
    assert words in row.field.toolTip()
    assert row.field.text() == field_text(name, getattr(before, name))
    border = row.grab().toImage().pixelColor(row.field.x() + 40, 0)
    assert border == theme.current().bad


def test_the_border_of_a_refusal_goes_out(sliders, qtbot):
    row, before = sliders.rows["te"], sliders.snap_line.hint_shown
    type_into(row, "abc")
    assert sliders.snap_line.hint_shown != before
    qtbot.waitUntil(lambda: row.refused == "", timeout=3000)
    assert sliders.refusal_end.isActive()
    sliders.refusal_end.timeout.emit()
    assert sliders.snap_line.hint_shown == before
    assert row.field.toolTip() == ""


def test_a_number_beyond_the_track_widens_it_and_counts_as_extrapolating(sliders):
    type_into(sliders.rows["te"], "420")
    track = sliders.rows["te"].track
    assert sliders.parameters().te == 420
    assert track.scale.high == 420
    assert track.handle_position().x() == pytest.approx(track.scale.end)
    assert "extrapolating" in track.accessibleDescription()


def test_escape_brings_the_old_number_back(sliders):
    row = sliders.rows["te"]
    QTest.mouseClick(row.field, LEFT)
    QTest.keyClicks(row.field, "12")
    QTest.keyClick(row.field, Qt.Key.Key_Escape)
    assert row.field.text() == "98 ms"
    assert sliders.heard == []
    assert row.track.hasFocus()


def test_return_on_the_track_opens_the_field(sliders):
    row = sliders.rows["te"]
    row.track.setFocus()
    QTest.keyClick(row.track, Qt.Key.Key_Return)
    QTest.keyClicks(row.field, "44")
    QTest.keyClick(row.field, Qt.Key.Key_Return)
    assert sliders.parameters().te == 44


# what can be played -----------------------------------------------------------------------------


def test_te_stops_where_tr_ends_and_says_so(sliders):
    sliders.set_parameters(SequenceParameters(300, 20))
    track = sliders.rows["te"].track
    drag(track, place(track, 20), place(track, 300))
    p = sliders.parameters()
    assert p.tr == 300
    assert 280 < p.te < 300
    assert obstacle(p) is None
    assert sliders.snap_line.hint_shown == (
        f"TE stops at {field_text('te', p.te)}: TR 300 leaves no more room."
    )
    drag(track, place(track, p.te), place(track, 50))
    assert "stops" not in sliders.snap_line.hint_shown


def test_no_movement_leads_to_what_cannot_be_played(sliders):
    rng = np.random.default_rng(0)
    for _ in range(60):
        name = str(rng.choice(NAMES))
        track = sliders.rows[name].track
        x = int(rng.integers(0, track.width()))
        QTest.mouseClick(track, LEFT, NONE, QPoint(x, round(MIDDLE)))
        assert not [f for f in assess(sliders.parameters()) if f.severity == "impossible"]


def test_the_impossible_part_of_the_track_is_red(sliders):
    sliders.set_parameters(SequenceParameters(300, 20))
    track = sliders.rows["te"].track
    image = track.grab().toImage()
    colour = image.pixelColor(round(track.scale.end) - 1, round(MIDDLE))
    assert colour.red() > 1.5 * colour.green()


# what is shown ----------------------------------------------------------------------------------


def test_the_track_is_the_cut_of_the_trust_field_at_the_other_two_values(sliders):
    for p in (SequenceParameters(5000, 98), SequenceParameters(8000, 60, 1500)):
        sliders.set_parameters(p)
        for name, row in sliders.rows.items():
            scale = row.track.scale
            along = np.geomspace(scale.low, scale.high, SAMPLES)
            np.testing.assert_array_equal(
                row.track.marks.trust, COVERAGE.trust_along(name, along, p)
            )
        off = sliders.rows["ti"].track.marks.trust_off
        assert off == pytest.approx(COVERAGE.trust_along("ti", [0], p)[0], abs=1e-12)


def test_the_suggested_handle_is_amber_and_grey_wins(sliders):
    sliders.set_parameters(SequenceParameters(8000, 140))
    assert COVERAGE.suggestion(sliders.parameters()) == "te"
    colours = {n: row.track.handle_colour for n, row in sliders.rows.items()}
    p = theme.current()
    assert colours == {"tr": p.accent, "te": p.warn, "ti": p.accent}
    sliders.set_acquired_shown(True)
    assert {row.track.handle_colour.name() for row in sliders.rows.values()} == {p.text3.name()}
    sliders.set_acquired_shown(False)
    sliders.set_parameters(SequenceParameters(8000, 60))
    assert sliders.rows["te"].track.handle_colour == p.accent


def test_carets_are_the_nulls_and_move_with_tr(sliders):
    long = dict(sliders.rows["ti"].track.marks.carets)
    sliders.set_parameters(SequenceParameters(2000, 98))
    short = dict(sliders.rows["ti"].track.marks.carets)
    assert list(long) == ["fat", "WM", "GM", "CSF"]
    assert all(short[name] <= long[name] for name in long)
    assert long["CSF"] - short["CSF"] > 500
    assert long["fat"] == pytest.approx(375 * math.log(2), rel=0.15)


def test_the_line_below_tells_what_can_be_snapped_to_and_how_far_it_is(sliders, qtbot):
    line = sliders.snap_line
    assert line.text_shown == "snap to acquired TE 90"
    assert line.hint_shown == "TE +8 ms from acquired"
    with qtbot.waitSignal(sliders.snapRequested):
        QTest.mouseClick(line, LEFT, NONE, QPoint(40, 10))
    sliders.set_parameters(ACQUIRED[3][1])
    assert line.text_shown == "at acquired TE 90"
    assert line.hint_shown == ""
    sliders.set_reference(None, None)
    assert not line.isEnabled()


def test_setting_parameters_announces_nothing(sliders):
    sliders.set_parameters(SequenceParameters(600, 10, 100))
    sliders.set_acquired([])
    sliders.set_coverage(None)
    assert sliders.heard == []
    assert sliders.rests == []


def test_screen_readers_hear_value_and_trust(sliders):
    track = sliders.rows["te"].track
    assert track.accessibleName() == "TE"
    assert track.accessibleDescription() == "TE 98 milliseconds, extrapolating"
    sliders.set_parameters(SequenceParameters(8000, 60))
    assert track.accessibleDescription() == "TE 60 milliseconds"


def test_nothing_moves_while_a_value_changes(sliders):
    places = [row.field.geometry() for row in sliders.rows.values()]
    height = sliders.sizeHint().height()
    for p in (SequenceParameters(300, 20), SequenceParameters(20_000, 300, 5000)):
        sliders.set_parameters(p)
        assert [row.field.geometry() for row in sliders.rows.values()] == places
        assert sliders.sizeHint().height() == height


def test_a_change_of_theme_needs_only_a_repaint(sliders, themed):
    dark = sliders.grab().toImage()
    theme.apply_theme(themed, "light")
    light = sliders.grab().toImage()
    track = sliders.rows["te"].track
    at = track.mapTo(sliders, place(track, 30))
    assert dark.pixelColor(at) != light.pixelColor(at)
    assert light.pixelColor(at) == theme.LIGHT.accent


def test_the_sliders_never_widen_the_panel(sliders):
    assert sliders.minimumSizeHint().width() <= 304


# arithmetic -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_scale_and_its_inverse_agree(name):
    for start, end in ((32.0, 208.0), (150.0, 8.0)):
        scale = default_scale(name).over(start, end)
        for value in np.geomspace(scale.low, scale.high, 20):
            assert scale.value(scale.pixel(value)) == pytest.approx(value)
        if scale.off:
            assert scale.value(scale.pixel(0)) == 0


@pytest.mark.parametrize("name", NAMES)
def test_limits_are_those_of_the_feasibility_rules(name):
    for p in (SequenceParameters(900, 40, 300), SequenceParameters(5000, 98)):
        scale = default_scale(name)
        span = playable(name, p, scale)
        for value in np.geomspace(scale.low, scale.high, 200):
            free = obstacle(p.at(**{name: float(value)})) is None
            assert free is bool(span.low <= value <= span.high) or (
                min(abs(value - span.low), abs(value - span.high)) < 0.2
            )


def test_steps_are_about_one_per_cent_and_round():
    assert step_at("te", 98) == 1
    assert step_at("tr", 5000) == 50
    assert rounded("tr", 5012) == 5000
    scale = default_scale("te")
    assert stepped("te", 10.42, 1, False, scale) == 10.5
    assert stepped("te", 300, 1, True, scale) == 300
    assert stepped("te", 5, -1, True, scale) == 5


def test_numbers_on_the_tracks():
    assert tick_numbers(default_scale("te"), (1, 3)) == [10, 30, 100, 300]
    assert [tick_text(v) for v in (500, 1000, 2500, 20_000)] == ["500", "1k", "2.5k", "20k"]


def test_labels_are_spread_in_order_and_stay_inside():
    places = spread([50, 52, 54, 100], [20, 20, 20, 20], 110)
    assert all(b - a >= 20 for a, b in pairwise(places))
    assert places[-1] <= 100


def test_texts():
    assert field_text("tr", 8142) == f"8{THIN}142 ms"
    assert field_text("te", 10.42) == "10.42 ms"
    assert field_text("ti", 0) == "off"
    assert spoken("tr", 8142) == "TR 8142 milliseconds"
    assert clock(150) == "2 min 30 s"
    assert parse_ms(f"8{THIN}142 ms") == 8142
    for text in ("", "ms", "1e3", "1.2.3", "5 km", "nan", "inf", "1 s ms"):
        with pytest.raises(ParameterError):
            parse_ms(text)


def test_fat_is_chosen_below_the_sliders(sliders, qtbot):
    chosen: list[bool] = []
    sliders.fatToggled.connect(chosen.append)
    buttons = sliders.fat.choice.buttons
    assert not any(b.isEnabled() for b in buttons)
    QTest.mouseClick(buttons[1], Qt.MouseButton.LeftButton)
    assert chosen == []
    sliders.set_fat_usable(True)
    QTest.mouseClick(buttons[1], Qt.MouseButton.LeftButton)
    QTest.mouseClick(buttons[0], Qt.MouseButton.LeftButton)
    assert chosen == [True, False]
    now = sliders.parameters()
    sliders.set_parameters(dataclasses.replace(now, fat_suppression=True))
    assert sliders.fat.suppressed
    sliders.set_parameters(now)
    assert not sliders.fat.suppressed
    assert chosen == [True, False]
