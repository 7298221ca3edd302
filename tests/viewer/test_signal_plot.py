"""The signal curve: what is drawn where, and an axis that does not jump."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetricsF
from PySide6.QtTest import QTest

from crl_viewer import theme
from crl_viewer.views.signal_plot import SignalPlot, tidy_ticks, tidy_top

X = np.linspace(8, 250, 80)
Y = 0.55 * np.exp(-X / 70)
ACQUIRED = [(te, 0.55 * float(np.exp(-te / 70))) for te in (10, 25, 50, 90, 150, 250)]


@pytest.fixture
def plot(themed, qtbot):
    widget = SignalPlot()
    qtbot.addWidget(widget)
    widget.resize(304, 180)
    widget.show()
    qtbot.waitExposed(widget)
    return widget


def colour_near(plot: SignalPlot, x: float, y: float, reach: int = 1) -> set[str]:
    image = plot.canvas.grab().toImage()
    cx, cy = plot.canvas.place(x, y)[0]
    around = range(-reach, reach + 1)
    return {image.pixelColor(round(cx + i), round(cy + j)).name() for i in around for j in around}


def test_the_curve_lies_where_the_axis_says(plot):
    plot.set_curve(X, Y, 98)
    for x in (60, 120, 200):
        assert theme.current().accent.name() in colour_near(plot, x, 0.55 * np.exp(-x / 70))
        assert theme.current().accent.name() not in colour_near(plot, x, 0.5)


def test_the_cursor_is_amber_only_when_extrapolating(plot):
    plot.set_curve(X, Y, 150, extrapolating=True)
    assert theme.current().warn.name() in colour_near(plot, 150, 0.5)
    plot.set_curve(X, Y, 150, extrapolating=False)
    assert theme.current().warn.name() not in colour_near(plot, 150, 0.5)
    assert theme.current().accent.name() in colour_near(plot, 150, 0.5)


def test_acquired_points_are_rings(plot):
    plot.set_curve(X, Y * 0.2, 98, ACQUIRED)
    te, value = ACQUIRED[3]
    ring = colour_near(plot, te, value, 4)
    assert theme.current().text.name() in ring
    assert theme.current().panel.name() in colour_near(plot, te, value)


def test_the_axis_grows_at_once_and_shrinks_only_at_rest(plot):
    plot.set_curve(X, Y, 98)
    top = plot.canvas.top
    plot.set_curve(X, Y * 3, 98)
    assert plot.canvas.top > top
    tall = plot.canvas.top
    plot.set_curve(X, Y, 98)
    assert plot.canvas.top == tall
    plot.rest()
    assert plot.canvas.top == top
    assert "98 ms" in plot.canvas.accessibleDescription()


@pytest.mark.parametrize("size", [1.0, 0.01, 2e-4, 30.0, 4000.0])
def test_the_axis_has_room_for_its_numbers(plot, size):
    plot.set_curve(X, Y * size, 98)
    words = [word for _, word in plot.canvas._heights()]
    assert len(set(words)) == len(words) > 1
    measure = QFontMetricsF(theme.font(10))
    assert max(map(measure.horizontalAdvance, words)) <= plot.canvas.frame.left() - 6


def test_the_closed_form_can_be_added_and_taken_away(plot):
    plot.set_curve(X, Y, 98)
    plot.set_closed_form(X, Y * 1.5)
    with_it = plot.canvas.grab().toImage()
    plot.set_closed_form(None, None)
    assert plot.canvas.grab().toImage() != with_it


def test_gaps_and_nothing_at_all_are_survived(plot):
    broken = Y.copy()
    broken[20:30] = np.nan
    plot.set_curve(X, broken, 98, [(50, float("nan"))])
    plot.canvas.grab()
    plot.set_curve(None, None, None)
    empty = plot.canvas.grab().toImage()
    assert theme.current().accent.name() not in {
        empty.pixelColor(x, y).name() for x in range(40, 300, 3) for y in range(0, 130, 3)
    }


def test_a_plot_without_a_curve_asks_for_a_crosshair_only_where_there_is_none(plot):
    plot.set_curve(None, None, None)
    asking = plot.canvas.grab().toImage()
    plot.set_curve(None, None, 98)
    waiting = plot.canvas.grab().toImage()
    ground = {waiting.pixelColor(x, y).name() for x in range(300) for y in range(120)}
    assert len(ground) == 1
    assert asking != waiting


def test_the_segments_choose_the_axis(plot, qtbot):
    with qtbot.waitSignal(plot.axisChosen) as heard:
        QTest.mouseClick(plot.axes.buttons[2], Qt.MouseButton.LeftButton)
    assert heard.args == ["TI"]
    assert plot.axis == "TI"
    plot.set_axis("TR")
    assert plot.axis == "TR"


@pytest.mark.parametrize(("low", "high"), [(0, 0.6), (0, 1), (8, 250), (200, 20_000), (0, 0.037)])
def test_ticks_are_few_round_and_inside(low, high):
    ticks = tidy_ticks(low, high)
    assert 2 <= len(ticks) <= 5
    assert all(low - 1e-9 <= t <= high * 1.000001 for t in ticks)
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])


def test_tops_are_just_above():
    for value in np.geomspace(1e-3, 1e4, 60):
        assert value * 0.999 <= tidy_top(value) <= value * 1.35
