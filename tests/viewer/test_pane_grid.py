from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest

from crl_core.geometry import SlicePlane
from crl_viewer import theme
from crl_viewer.views.camera import Camera, fitting_scale
from crl_viewer.views.pane_grid import PaneGrid

HEAD = (30.0, 40.0, 120.0, 160.0)


@pytest.fixture
def grid(qtbot, themed) -> PaneGrid:
    grid = PaneGrid()
    qtbot.addWidget(grid)
    grid.resize(1105, 757)
    plane = SlicePlane(np.diag([-1.0, -1.0, 3.0, 1.0]), (192, 256, 4), 2)
    grid.set_plane(plane)
    for pane in grid.panes:
        pane.set_image(np.zeros((256, 192), np.float32))
    grid.show()
    grid.fit(HEAD)
    return grid


def head_on(pane) -> QRectF:
    box = QRectF(*HEAD)
    return QRectF(pane.to_screen(box.topLeft()), pane.to_screen(box.bottomRight()))


@pytest.mark.parametrize("layout", ["four", "main"])
@pytest.mark.parametrize("size", [(1105, 757), (944, 656), (1001, 700)])
def test_panes_tile_the_grid_one_pixel_apart(grid, layout: str, size) -> None:
    grid.set_layout(layout)
    grid.resize(*size)
    boxes = [pane.geometry() for pane in grid.panes]
    covered = np.zeros(size[::-1], int)
    for box in boxes:
        covered[box.top() : box.bottom() + 1, box.left() : box.right() + 1] += 1
    assert covered.max() == 1
    gaps = (covered == 0).sum()
    column = grid.synthesised.width()
    expected = {"four": sum(size) - 1, "main": size[1] + 2 * (size[0] - column - 1)}
    assert gaps == expected[layout]


def test_the_gaps_wear_the_theme(grid, themed) -> None:
    for name in ("dark", "light"):
        theme.apply_theme(themed, name)
        found = grid.grab().toImage().pixelColor(552, 100)
        assert found == theme.PALETTES[name].window


def test_the_opening_view_is_the_head_and_its_margin(grid) -> None:
    for pane in grid.panes:
        head = head_on(pane)
        assert head.height() == pytest.approx(378 / 1.16)
        assert head.center().y() == pytest.approx(pane.height() / 2, abs=1)


def test_all_panes_move_together(grid) -> None:
    grid.source.camera.zoom_at(2, QPointF(60, 60))
    places = [pane.to_screen(QPointF(10, 20)) for pane in (grid.source, grid.acquired)]
    assert places[0] == places[1]


def test_a_zoom_survives_resizing_and_a_fitted_view_stays_fitted(grid) -> None:
    grid.resize(801, 601)
    assert head_on(grid.source).height() == pytest.approx(300 / 1.16)
    grid.camera.zoom_at(1.5, QPointF(60, 60))
    scale = grid.camera.mm_per_pixel
    grid.resize(1105, 757)
    assert grid.camera.mm_per_pixel == scale
    grid.fit()
    assert head_on(grid.source).height() == pytest.approx(378 / 1.16)


def test_one_pane_alone_and_back(grid) -> None:
    heard: list[object] = []
    grid.maximisedChanged.connect(heard.append)
    grid.camera.zoom_at(1.5, QPointF(60, 60))
    scale = grid.camera.mm_per_pixel
    grid.acquired.maximiseRequested.emit()
    assert grid.maximised() is grid.acquired
    assert grid.acquired.geometry() == QRect(0, 0, 1105, 757)
    assert [pane.isVisible() for pane in grid.panes] == [False, False, True, False]
    assert grid.camera.mm_per_pixel == pytest.approx(scale / 2, rel=0.01)
    assert grid.active() is grid.acquired
    grid.toggle_maximised()
    assert all(pane.isVisible() for pane in grid.panes)
    assert grid.camera.mm_per_pixel == pytest.approx(scale)
    assert heard == [grid.acquired, None]


def test_small_panes_show_as_much_of_the_head_as_the_large_one(grid) -> None:
    grid.set_layout("main")
    assert grid.synthesised.width() > grid.source.width()
    for pane in grid.panes:
        assert head_on(pane).height() <= pane.height() / 1.15
    big, small = head_on(grid.synthesised), head_on(grid.source)
    assert small.height() < big.height() / 2
    assert small.height() == pytest.approx(grid.source.height() / 1.16)
    grid.set_layout("four")
    assert {pane.view_scale for pane in grid.panes} == {1.0}
    with pytest.raises(ValueError, match="no layout"):
        grid.set_layout("spiral")


def test_one_pane_is_active_whichever_way_it_is_chosen(grid) -> None:
    heard: list[object] = []
    grid.activePaneChanged.connect(heard.append)
    assert [p.is_active() for p in grid.panes] == [False, True, False, False]
    QTest.mouseClick(grid.acquired, Qt.MouseButton.LeftButton, pos=QPoint(200, 100))
    assert [p.is_active() for p in grid.panes] == [False, False, True, False]
    grid.source.setFocus(Qt.FocusReason.TabFocusReason)
    grid.acquired.setFocus(Qt.FocusReason.ActiveWindowFocusReason)
    assert heard == [grid.acquired, grid.source]


def test_each_pane_has_a_name_for_a_screen_reader(grid) -> None:
    names = [pane.accessibleName() for pane in grid.panes]
    assert names == [
        "Source image", "Synthesised image", "Acquired image", "Error image"
    ]  # fmt: skip


def test_a_grid_without_a_plane_paints_and_takes_gestures(qtbot, themed) -> None:
    grid = PaneGrid()
    qtbot.addWidget(grid)
    grid.resize(600, 400)
    grid.show()
    grid.fit()
    QTest.mouseClick(grid.source, Qt.MouseButton.LeftButton, pos=QPoint(100, 100))
    grid.toggle_maximised()
    grid.set_layout("main")
    assert grid.grab().toImage().pixelColor(100, 100) == QColor("#000000")


def test_the_camera_tells_each_real_change_once() -> None:
    camera = Camera()
    heard: list[int] = []
    camera.changed.connect(lambda: heard.append(1))
    camera.fit(QRectF(0, 0, 100, 100), QSize(200, 400))
    camera.fit(QRectF(0, 0, 100, 100), QSize(200, 400))
    assert len(heard) == 1
    assert camera.fitted
    assert camera.mm_per_pixel == pytest.approx(0.58)
    assert camera.centre == QPointF(50, 50)
    camera.pan(10, 0)
    assert not camera.fitted
    assert camera.centre.x() == pytest.approx(44.2)


def test_room_for_the_letters_is_kept_at_the_sides() -> None:
    wide = QRectF(0, 0, 200, 10)
    assert fitting_scale(wide, QSize(456, 400), sides=28) == pytest.approx(200 * 1.16 / 400)
