from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QEvent, QPoint, QPointF, QSizeF, Qt
from PySide6.QtGui import QColor, QContextMenuEvent, QMouseEvent, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QMenu

from crl_core.geometry import SlicePlane
from crl_viewer import theme
from crl_viewer.views import overlay
from crl_viewer.views.camera import Camera
from crl_viewer.views.colours import windowed
from crl_viewer.views.overlay import bar_length_mm, number_text, short_line, window_text
from crl_viewer.views.pane import ImagePane

COLS, ROWS = 12, 10
LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
MIDDLE = Qt.MouseButton.MiddleButton
NONE, SHIFT = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier
CTRL, ALT = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.AltModifier


@pytest.fixture
def plane() -> SlicePlane:
    return SlicePlane(np.diag([-1.0, -1.0, 3.0, 1.0]), (COLS, ROWS, 4), 2)


@pytest.fixture
def pane(qtbot, themed, plane) -> ImagePane:
    """500x300 pixels, one image pixel is 20 pixels wide, the image in the middle."""
    pane = ImagePane("Synthesised", Camera())
    qtbot.addWidget(pane)
    pane.resize(500, 300)
    pane.set_plane(plane)
    pane.camera.set_view(QPointF(COLS / 2, ROWS / 2), 1 / 20)
    pane.set_image(np.linspace(0, 1, ROWS * COLS, dtype=np.float32).reshape(ROWS, COLS))
    pane.show()
    qtbot.waitExposed(pane)
    return pane


def grey_at(pane: ImagePane, col: float, row: float) -> int:
    at = pane.pixel_to_screen(col, row).toPoint()
    return pane.grab().toImage().pixelColor(at).red()


def drag(pane: ImagePane, button, start: QPoint, *path: QPoint, keys=NONE) -> None:
    QTest.mousePress(pane, button, keys, start)
    for at in path:
        QTest.mouseMove(pane, at)
    QTest.mouseRelease(pane, button, keys, path[-1] if path else start)


def wheel(pane: ImagePane, at: QPointF, delta: int, keys=NONE) -> None:
    event = QWheelEvent(
        at, pane.mapToGlobal(at), QPoint(), QPoint(0, delta), Qt.MouseButton.NoButton, keys,
        Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(pane, event)


# Pixels


def test_intensities_become_grey_within_the_levels(pane) -> None:
    pane.set_smooth(False)
    pane.set_labels_visible(False)
    image = np.full((ROWS, COLS), 40, np.float32)
    image[2, 3], image[2, 4], image[2, 5], image[2, 6] = 20, 60, -5, np.nan
    pane.set_image(image)
    pane.set_levels(20, 60)
    found = [grey_at(pane, c, 2) for c in (2, 3, 4, 5, 6)]
    assert found == [128, 0, 255, 0, 0]
    pane.set_levels(60, 20)
    assert [grey_at(pane, c, 2) for c in (3, 4)] == [255, 0]


def test_a_window_of_no_width_and_infinite_values_draw_without_complaint() -> None:
    image = np.array([[-np.inf, 1, 2, np.inf, np.nan, 3e38]], np.float32)
    assert windowed(image, 2, 2)[0, [0, 1, 3, 4]].tolist() == [0, 0, 255, 0]
    assert windowed(image, 0, 2)[0].tolist() == [0, 128, 255, 255, 0, 255]


@given(
    st.floats(-1e4, 1e4), st.floats(1e-3, 1e4),
    st.lists(st.floats(-1e5, 1e5, width=32), min_size=1, max_size=20),
)  # fmt: skip
@settings(deadline=None)
def test_windowing_is_the_straight_line_between_the_levels(low, width, values) -> None:
    image = np.array([values], np.float32)
    exact = np.clip((image.astype(float) - low) / width, 0, 1) * 255
    apart = np.abs(windowed(image, low, low + width) - exact)
    assert apart.max() <= 0.51 + 1e-3 * 255 * np.abs(image).max() / width


def test_smoothing_lies_between_neighbours_and_can_be_switched_off(pane) -> None:
    pane.set_labels_visible(False)
    image = np.zeros((ROWS, COLS), np.float32)
    image[:, 6:] = 1
    pane.set_image(image)
    assert 100 < grey_at(pane, 5.5, 5) < 156
    pane.set_smooth(False)
    assert grey_at(pane, 5.4, 5) == 0
    assert grey_at(pane, 5.6, 5) == 255


def test_anisotropic_pixels_keep_their_shape(pane) -> None:
    plane = SlicePlane(np.diag([-1.0, -2.0, 3.0, 1.0]), (COLS, ROWS, 4), 2)
    pane.set_plane(plane)
    step = pane.pixel_to_screen(1, 1) - pane.pixel_to_screen(0, 0)
    assert (step.x(), step.y()) == pytest.approx((20, 40))


def test_a_reduced_image_is_averaged_not_sampled(pane, plane) -> None:
    plane = SlicePlane(np.diag([-1.0, -1.0, 1.0, 1.0]), (256, 256, 1), 2)
    pane.set_plane(plane)
    pane.set_labels_visible(False)
    checks = np.indices((256, 256)).sum(axis=0) % 2
    pane.set_image(checks.astype(np.float32))
    pane.camera.set_view(QPointF(128, 128), 4.0)
    assert grey_at(pane, 100, 128) == pytest.approx(128, abs=6)


def test_an_image_of_another_shape_is_refused(pane) -> None:
    with pytest.raises(ValueError, match="not of the plane"):
        pane.set_image(np.zeros((COLS, ROWS), np.float32))


def test_the_first_painting_of_an_image_is_told_once(pane, qtbot) -> None:
    heard: list[int] = []
    pane.painted.connect(lambda: heard.append(1))
    pane.set_image(np.ones((ROWS, COLS), np.float32))
    pane.repaint()
    pane.repaint()
    assert len(heard) == 1


# Words


def test_letters_stand_at_the_middle_of_the_sides(pane, spoken) -> None:
    pane.set_words(title="Synthesised")
    pane.set_labels_visible(True)
    pane.repaint()
    where = {text: (x, y) for text, _, x, y in spoken}
    assert where["R"] == (16, 150)
    assert where["L"][1] == 150
    assert 500 - 16 - 12 < where["L"][0] < 500 - 16
    assert 240 < where["A"][0] < 250
    assert where["A"][1] == 20
    assert where["P"][1] == 280


@pytest.mark.parametrize("width", [1000, 479, 319, 130])
def test_left_and_right_are_never_dropped(pane, spoken, width: int) -> None:
    pane.set_words(badges=[("SYNTHETIC", "accent"), ("EXTRAPOLATING", "warn")])
    spoken.clear()
    pane.resize(width, 200)
    pane.repaint()
    assert {"L", "R"} <= {text for text, *_ in spoken}


def test_a_guessed_orientation_is_said(pane, spoken, plane) -> None:
    pane.set_plane(SlicePlane(plane.affine, plane.shape, 2, orientation_stated=False))
    pane.set_labels_visible(False)
    pane.set_image(np.zeros((ROWS, COLS), np.float32))
    spoken.clear()
    pane.repaint()
    assert [text for text, *_ in spoken] == ["?", "?", "Orientation not stated"]
    pane.set_say_unstated(False)
    spoken.clear()
    pane.repaint()
    assert [text for text, *_ in spoken] == ["?", "?"]


def test_narrow_panes_say_less(pane, spoken) -> None:
    pane.set_words(title="Source", lines=["TSE  TR 8 142  TE 104  TI 1 055 ms"], corner="z 1 / 4")
    pane.set_crosshair((3, 3), "value 0.5")
    said = {}
    for width in (600, 360, 310):
        spoken.clear()
        pane.resize(width, 300)
        pane.repaint()
        said[width] = {text for text, *_ in spoken}
    assert {"TSE  TR 8 142  TE 104  TI 1 055 ms", "z 1 / 4", "value 0.5"} <= said[600]
    assert {"8 142 / 104 / 1 055", "z 1 / 4", "value 0.5"} <= said[360]
    assert said[310] == {"Source", "L", "R", "A", "P"}


@pytest.mark.parametrize(("width", "height"), [(310, 300), (240, 150), (130, 150)])
def test_warnings_stay_in_narrow_panes(pane, spoken, width: int, height: int) -> None:
    doubts = "Source settings outside the trained range. c contradicts the other sources (29 dB)"
    pane.resize(width, height)
    for note, starts in ((doubts, "Source"), ("Not like for like: TE +8 ms", "Not like")):
        pane.set_words(title="Error", corner="z 1 / 4", note=(note, "warn"))
        spoken.clear()
        pane.repaint()
        amber = theme.ON_IMAGE.warn.name()
        lines = [line for line in reversed(spoken) if line[1] == amber]
        assert lines[0][0].startswith(starts)
        if width >= 240:
            assert starts == "Not like" or "contradicts" in " ".join(text for text, *_ in lines)
        # Between the letters of the middle and of the bottom, inside the pane.
        assert all(x >= 15 for _, _, x, _ in lines)
        assert all(height / 2 + 8 <= y <= height - 36 for *_, y in lines)
    pane.set_words(note=("Registered to the source, rigid", "text"))
    spoken.clear()
    pane.repaint()
    assert not any("Registered" in text for text, *_ in spoken)


def test_key_x_leaves_letters_and_badges(pane, spoken, monkeypatch) -> None:
    painted: list[object] = []
    paint = overlay._paint_badges
    monkeypatch.setattr(
        overlay, "_paint_badges", lambda p, s, badges: painted.append(badges) or paint(p, s, badges)
    )
    pane.set_words(title="Synthesised", lines=["TR"], badges=[("SYNTHETIC", "accent")])
    pane.set_crosshair((3, 3), "value 1")
    pane.set_labels_visible(False)
    spoken.clear()
    pane.repaint()
    assert {text for text, *_ in spoken} == {"L", "R", "A", "P"}
    assert painted == [(("SYNTHETIC", "accent"),)]


def test_badges_are_outlined_in_their_tone_one_below_the_other(pane) -> None:
    pane.set_words(badges=[("SYNTHETIC", "accent"), ("EXTRAPOLATING", "warn")])
    image = pane.grab().toImage()
    assert image.pixelColor(450, 12) == theme.ON_IMAGE.accent
    assert image.pixelColor(450, 36) == theme.ON_IMAGE.warn


def test_words_are_painted_again_only_when_they_change(pane, monkeypatch) -> None:
    painted: list[int] = []
    paint = overlay.paint_words
    monkeypatch.setattr(
        "crl_viewer.views.pane.paint_words", lambda *a: painted.append(1) or paint(*a)
    )
    pane.repaint()
    for value in range(5):
        pane.set_image(np.full((ROWS, COLS), value, np.float32))
        pane.set_crosshair((value, 2), f"value {value}")
        pane.set_words(title="Synthesised")
        pane.repaint()
    assert painted == []
    for change in (
        lambda: pane.set_words(title="Source"),
        lambda: pane.camera.zoom_at(2, QPointF(0, 0)),
        lambda: pane.resize(510, 300),
        lambda: theme.changed.emit(),
    ):
        painted.clear()
        change()
        pane.repaint()
        assert painted == [1]


def test_a_message_takes_the_place_of_the_image(pane, spoken) -> None:
    pane.set_image(None, "Choose an acquired sequence")
    assert pane.words().message == "Choose an acquired sequence"
    pane.set_crosshair((2, 2), "value 1")
    spoken.clear()
    pane.repaint()
    assert not {"W 1.00  L 0.50", "value 1"} & {text for text, *_ in spoken}
    pane.set_image(np.zeros((ROWS, COLS), np.float32))
    assert pane.words().message == ""


def test_the_window_is_written_bright_while_it_is_dragged(pane, spoken) -> None:
    pane.set_levels(0, 0.62)
    pane.repaint()
    QTest.mousePress(pane, RIGHT, NONE, QPoint(200, 150))
    QTest.mouseMove(pane, QPoint(240, 150))
    pane.repaint()
    QTest.mouseRelease(pane, RIGHT, NONE, QPoint(240, 150))
    pane.repaint()
    tones = [colour for text, colour, *_ in spoken if text == "W 0.62  L 0.31"]
    calm, bright = theme.ON_IMAGE.text2.name(), theme.ON_IMAGE.text.name()
    assert tones == [calm, bright, calm]


def test_the_scale_bar_follows_the_zoom_and_can_be_left_out(pane, spoken) -> None:
    pane.repaint()
    assert "5 mm" in {text for text, *_ in spoken}
    pane.camera.zoom_at(0.1, QPointF(0, 0))
    pane.repaint()
    assert "50 mm" in {text for text, *_ in spoken}
    spoken.clear()
    pane.set_scale_bar(False)
    pane.repaint()
    assert not any(text.endswith(" mm") for text, *_ in spoken)


def test_the_crosshair_leaves_its_voxel_free(pane) -> None:
    pane.set_image(np.zeros((ROWS, COLS), np.float32))
    pane.set_crosshair((4, 6))
    image = pane.grab().toImage()
    at = pane.pixel_to_screen(4, 6).toPoint()
    accent = theme.ON_IMAGE.accent
    for dx, dy in ((30, 0), (-30, 0), (0, 30), (0, -30)):
        found = image.pixelColor(at + QPoint(dx, dy))
        assert found.green() == pytest.approx(0.47 * accent.green(), abs=2)
    for offset in (-6, 0, 6):
        assert image.pixelColor(at + QPoint(offset, 0)) == QColor("#000000")
        assert image.pixelColor(at + QPoint(0, offset)) == QColor("#000000")
    assert image.pixelColor(at + QPoint(30, 1)) == QColor("#000000")
    pane.set_crosshair(None)
    assert pane.grab().toImage().pixelColor(at + QPoint(30, 0)) == QColor("#000000")


def test_the_active_pane_wears_a_line_in_the_theme_of_now(pane, themed) -> None:
    assert pane.grab().toImage().pixelColor(100, 0) == QColor("#000000")
    pane.set_active(True)
    for name in ("dark", "light"):
        theme.apply_theme(themed, name)
        image = pane.grab().toImage()
        found = [image.pixelColor(100, y) for y in range(3)]
        assert found == [theme.PALETTES[name].accent] * 2 + [QColor("#000000")]


def test_layers_are_made_for_the_screen_they_are_on() -> None:
    layer = overlay.blank_layer(QSizeF(100.5, 50), 2.0)
    assert (layer.width(), layer.height(), layer.devicePixelRatio()) == (201, 100, 2.0)


def test_a_screen_reader_hears_what_is_written(pane) -> None:
    assert pane.accessibleName() == "Synthesised image"
    pane.set_words(title="Acquired", lines=["TR 5 000"], note=("Registered", "text2"))
    assert pane.accessibleName() == "Acquired image"
    assert pane.accessibleDescription() == "TR 5 000. Registered"


# Mouse and keys


@given(
    st.floats(-50, 50), st.floats(-50, 50), st.floats(0.005, 10), st.floats(-40, 0),
    st.floats(0.5, 3), st.integers(0, COLS - 1), st.integers(0, ROWS - 1),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_pixels_and_screen_agree_at_any_view(qapp, x, y, scale, shift, size, col, row) -> None:
    pane = ImagePane("Source", Camera())
    pane.set_plane(SlicePlane(np.diag([1.0, -2.0, 1.0, 1.0]), (COLS, ROWS, 1), 2))
    pane.camera.set_view(QPointF(x, y), scale)
    pane.view_shift, pane.view_scale = shift, size
    assert pane.to_pixel(pane.pixel_to_screen(col, row)) == pytest.approx((col, row), abs=1e-6)
    pane.deleteLater()


def test_left_press_and_drag_move_the_crosshair_inside_the_image(pane) -> None:
    heard: list[tuple[float, float]] = []
    pane.crosshairMoved.connect(lambda c, r: heard.append((c, r)))
    start, end = pane.pixel_to_screen(3, 4).toPoint(), pane.pixel_to_screen(5, 4).toPoint()
    drag(pane, LEFT, start, end, QPoint(-500, 900))
    np.testing.assert_allclose(heard, [(3, 4), (5, 4), (0, ROWS - 1)], atol=0.05)


def test_right_drag_reports_shares_of_the_pane(pane) -> None:
    steps: list[tuple[float, float]] = []
    asked: list[QPoint] = []
    pane.windowDragged.connect(lambda w, lev: steps.append((w, lev)))
    pane.contextRequested.connect(asked.append)
    drag(pane, RIGHT, QPoint(200, 200), QPoint(250, 200), QPoint(250, 170))
    np.testing.assert_allclose(np.sum(steps, axis=0), (0.1, -0.1))
    assert asked == []


def test_right_click_without_movement_asks_for_the_context_menu(pane) -> None:
    asked: list[QPoint] = []
    steps: list[object] = []
    pane.contextRequested.connect(asked.append)
    pane.windowDragged.connect(lambda *s: steps.append(s))
    drag(pane, RIGHT, QPoint(200, 200), QPoint(201, 200))
    assert asked == [pane.mapToGlobal(QPoint(201, 200))]
    assert steps == []
    by_mouse, by_key = QContextMenuEvent.Reason.Mouse, QContextMenuEvent.Reason.Keyboard
    for reason in (by_mouse, by_key):
        QApplication.sendEvent(pane, QContextMenuEvent(reason, QPoint(5, 5), QPoint(5, 5)))
    assert asked[1:] == [pane.mapToGlobal(pane.rect().center())]


@pytest.mark.parametrize(("button", "keys"), [(MIDDLE, NONE), (LEFT, SHIFT)])
def test_pan_keeps_the_point_under_the_pointer(pane, button, keys) -> None:
    moved: list[object] = []
    pane.crosshairMoved.connect(lambda *p: moved.append(p))
    before = pane.to_mm(QPointF(200, 150))
    drag(pane, button, QPoint(200, 150), QPoint(231, 139), keys=keys)
    after = pane.to_mm(QPointF(231, 139))
    assert (after.x(), after.y()) == pytest.approx((before.x(), before.y()))
    assert moved == []


def test_alt_drag_changes_the_contrast_upwards_positive(pane) -> None:
    steps: list[tuple[float, float]] = []
    pane.contrastDragged.connect(lambda dx, dy: steps.append((dx, dy)))
    drag(pane, LEFT, QPoint(100, 200), QPoint(150, 170), keys=ALT)
    np.testing.assert_allclose(np.sum(steps, axis=0), (0.1, 0.1))


def test_wheel_scrolls_whole_notches_and_gathers_small_turns(pane) -> None:
    heard: list[int] = []
    pane.scrolled.connect(heard.append)
    at = QPointF(200, 150)
    wheel(pane, at, 120)
    wheel(pane, at, -240)
    for _ in range(4):
        wheel(pane, at, 30)
    wheel(pane, at, 90)
    wheel(pane, at, -120)
    assert heard == [1, -2, 1, -1]


def test_ctrl_wheel_zooms_at_the_pointer(pane) -> None:
    at = QPointF(120, 80)
    under, scale = pane.to_mm(at), pane.camera.mm_per_pixel
    wheel(pane, at, 240, CTRL)
    assert pane.camera.mm_per_pixel == pytest.approx(scale / 1.15**2)
    now = pane.to_mm(at)
    assert (now.x(), now.y()) == pytest.approx((under.x(), under.y()))
    for _ in range(80):
        wheel(pane, at, 1200, CTRL)
    assert pane.camera.mm_per_pixel == pytest.approx(0.005)


def test_ctrl_right_drag_takes_the_window_from_a_region(pane) -> None:
    heard: list[tuple[float, float]] = []
    pane.levelsRequested.connect(lambda low, high: heard.append((low, high)))
    start, end = pane.pixel_to_screen(2, 3).toPoint(), pane.pixel_to_screen(6, 5).toPoint()
    drag(pane, RIGHT, end, QPoint(300, 200), start, keys=CTRL)
    image = pane.image()
    assert heard == [tuple(np.percentile(image[3:6, 2:7], [1, 99]))]


def double_click(pane: ImagePane, keys) -> None:
    at = QPointF(200, 150)
    QApplication.sendEvent(
        pane,
        QMouseEvent(QEvent.Type.MouseButtonDblClick, at, pane.mapToGlobal(at), LEFT, LEFT, keys),
    )


def test_double_click_maximises_and_with_ctrl_resets_the_window(pane) -> None:
    heard: list[str] = []
    pane.maximiseRequested.connect(lambda: heard.append("alone"))
    pane.windowReset.connect(lambda: heard.append("reset"))
    double_click(pane, NONE)
    double_click(pane, CTRL)
    assert heard == ["alone", "reset"]


def test_keys_move_scroll_and_zoom(pane) -> None:
    moved: list[tuple[float, float]] = []
    turned: list[int] = []
    pane.crosshairMoved.connect(lambda c, r: moved.append((c, r)))
    pane.scrolled.connect(turned.append)
    QTest.keyClick(pane, Qt.Key.Key_Right)
    assert moved == []
    pane.set_crosshair((4, 4))
    for key in (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down):
        QTest.keyClick(pane, key)
    QTest.keyClick(pane, Qt.Key.Key_Down, SHIFT)
    assert moved == [(3, 4), (5, 4), (4, 3), (4, 5), (4, ROWS - 1)]
    QTest.keyClick(pane, Qt.Key.Key_PageUp)
    QTest.keyClick(pane, Qt.Key.Key_PageDown)
    assert turned == [1, -1]
    scale = pane.camera.mm_per_pixel
    QTest.keyClick(pane, Qt.Key.Key_Plus)
    assert pane.camera.mm_per_pixel < scale


def open_menu_of(pane: ImagePane) -> QMenu:
    menus = [m for m in pane.findChildren(QMenu) if m.isVisible()]
    assert len(menus) == 1
    return menus[0]


def test_the_chevron_opens_a_menu_and_tells_the_choice(pane) -> None:
    chosen: list[int] = []
    pane.menuChosen.connect(chosen.append)
    pane.open_menu()
    assert not pane.findChildren(QMenu)
    pane.set_menu(["TE 10", "TE 25", "TE 50"], 1)
    pane.repaint()
    QTest.mouseClick(pane, LEFT, NONE, QPoint(30, 20))
    menu = open_menu_of(pane)
    assert [a.isChecked() for a in menu.actions()] == [False, True, False]
    menu.actions()[2].trigger()
    menu.close()
    assert chosen == [2]


def box_of(menu: QMenu, row: int) -> QPoint:
    area = menu.actionGeometry(menu.actions()[row])
    return QPoint(area.left() + 10, area.center().y())


def test_boxes_tick_several_and_names_choose_one(pane) -> None:
    told: list[tuple[int, bool] | int] = []
    ticks = [1]

    def ticked(row: int, on: bool) -> None:
        told.append((row, on))
        if row != 2:  # refused
            ticks[:] = sorted({*ticks, row} if on else {*ticks} - {row})
        pane.set_menu(["TE 10", "TE 25 (left out)", "TE 50"], ticks[0], ticks)

    pane.menuTicked.connect(ticked)
    pane.menuChosen.connect(told.append)
    pane.set_menu(["TE 10", "TE 25", "TE 50"], 1, ticks)
    pane.open_menu()
    menu = open_menu_of(pane)
    QTest.mouseClick(menu, LEFT, NONE, box_of(menu, 1))  # the last one stays
    assert told == []
    for row, shown in ((0, [True, True, False]), (2, [True, True, False])):
        QTest.mouseClick(menu, LEFT, NONE, box_of(menu, row))
        assert menu.isVisible()
        assert [a.isChecked() for a in menu.actions()] == shown
    assert menu.actions()[1].text() == "TE 25 (left out)"
    menu.setActiveAction(menu.actions()[1])
    QTest.keyClick(menu, Qt.Key.Key_Space)
    assert [a.isChecked() for a in menu.actions()] == [True, False, False]
    name = menu.actionGeometry(menu.actions()[2]).center()
    QTest.mouseClick(menu, LEFT, NONE, name)
    assert told == [(0, True), (2, True), (1, False), 2]
    assert not menu.isVisible()


def test_a_box_of_a_single_choice_is_part_of_its_name(pane) -> None:
    told: list[int] = []
    pane.menuChosen.connect(told.append)
    pane.set_menu(["TE 10", "TE 25"], 1)
    pane.open_menu()
    menu = open_menu_of(pane)
    QTest.mouseClick(menu, LEFT, NONE, box_of(menu, 0))
    assert told == [0]
    assert not menu.isVisible()


def test_the_keyboard_opens_the_menu_too(pane) -> None:
    pane.set_menu(["TE 10"], 0)
    pane.repaint()
    QTest.keyClick(pane, Qt.Key.Key_Down, ALT)
    open_menu_of(pane).close()


# Words about numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.00"), (0.532, "0.53"), (-2.71, "−2.71"), (31.5, "31.5"), (8142, "8 142"),
        (-0.0004, "0.000"), (0.016, "0.016"), (1234567.0, "1 234 567"),
    ],
)  # fmt: skip
def test_numbers_are_set_with_thin_spaces_and_a_true_minus(value: float, text: str) -> None:
    assert number_text(value).replace("\u2009", " ") == text


def test_width_and_level_share_their_decimals() -> None:
    assert window_text(0, 0.62) == "W 0.62  L 0.31"
    assert window_text(0, 1234) == "W 1\u2009234  L 617"


@pytest.mark.parametrize(
    ("line", "short"),
    [
        ("SE  TR 5 000  TE 10 ms", "5 000 / 10"),
        ("TR 5 000  TE 98  TI off", "5 000 / 98 / off"),
        ("synthesised − acquired", "synthesised − acquired"),
    ],
)
def test_parameter_lines_shorten_to_their_values(line: str, short: str) -> None:
    assert short_line(line) == short


@given(st.floats(0.005, 10), st.floats(20, 500))
def test_scale_bars_are_round_and_as_long_as_fits(mm_per_pixel: float, room: float) -> None:
    length = bar_length_mm(mm_per_pixel, room)
    assert length / mm_per_pixel <= room
    assert length / mm_per_pixel > room / 2.6
    assert f"{length:e}"[0] in "125"
