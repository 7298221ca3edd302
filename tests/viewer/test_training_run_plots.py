"""Plots of a run: ranges, thinning, cursor; and the words for where it stands."""

from __future__ import annotations

import doctest
import math
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt

from crl_viewer.state import training_run
from crl_viewer.state.training_run import Curve, RunState, clock_time, step_words, time_left
from crl_viewer.views.training.curves import Axis, Plot, pen_of
from crl_viewer.views.training.ranges import grown, log_ticks, thinned

Key = Qt.Key


def curve(values, name: str = "l1", steps=None, smooth=None) -> Curve:
    y = np.asarray(values, float)
    x = np.arange(1, len(y) + 1, dtype=float) if steps is None else np.asarray(steps, float)
    return Curve(name, name, x, y, smooth)


def test_examples() -> None:
    assert doctest.testmod(training_run).failed == 0


# ranges ---------------------------------------------------------------------------------------


def test_a_range_ends_at_1_2_5_and_only_grows() -> None:
    first = grown(None, [curve([0.031, 0.24])], log=True, zero=False)
    assert first == pytest.approx((0.02, 0.5))
    assert grown(first, [curve([0.1, 0.11])], log=True, zero=False) == first
    assert grown(first, [curve([0.012])], log=True, zero=False) == pytest.approx((0.01, 0.5))


def test_a_linear_range_holds_its_curves() -> None:
    low, high = grown(None, [curve([17.3, 31.2])], log=False, zero=False)
    assert (low, high) == (15.0, 35.0)
    assert grown(None, [curve([301.0, 317.0])], log=False, zero=True) == (0.0, 400.0)


def test_one_bad_batch_does_not_flatten_the_plot() -> None:
    values = np.full(1000, 0.03)
    values[500] = 80.0
    _, high = grown(None, [curve(values, smooth=np.full(1000, 0.03))], log=True, zero=False)
    assert high < 0.2


def test_no_value_a_single_value_and_zero_are_no_trouble() -> None:
    assert grown(None, [curve([math.nan])], log=True, zero=False) is None
    assert grown((1.0, 2.0), [], log=True, zero=False) == (1.0, 2.0)
    low, high = grown(None, [curve([0.05])], log=True, zero=False)
    assert low <= 0.05 < high
    assert grown(None, [curve([0.0, -1.0])], log=True, zero=False) is None
    low, high = grown(None, [curve([0.0, 0.0])], log=False, zero=True)
    assert low < high


def test_log_ticks_are_few_and_round() -> None:
    assert log_ticks(0.02, 0.5) == pytest.approx([0.02, 0.05, 0.1, 0.2, 0.5])
    assert log_ticks(0.01, 1.0, 3) == pytest.approx([0.01, 0.1, 1.0])
    assert len(log_ticks(1e-9, 1e3, 5)) <= 5


# thinning -------------------------------------------------------------------------------------


def test_thinning_keeps_every_peak_and_is_no_longer_than_the_plot_is_wide() -> None:
    rng = np.random.default_rng(1)
    across, up = np.linspace(40, 340, 100_000), rng.standard_normal(100_000)
    x, y = thinned(across, up)
    assert len(x) <= 2 * 301
    assert y.max() == up.max()
    assert y.min() == up.min()
    assert np.all(np.diff(x) >= 0)


def test_thinning_leaves_out_what_is_no_number_and_leaves_short_lines_alone() -> None:
    across, up = np.array([0.0, 50.0, 100.0]), np.array([1.0, math.nan, 3.0])
    x, y = thinned(across, up)
    assert list(x) == [0.0, 100.0]
    assert list(y) == [1.0, 3.0]


# the widget -----------------------------------------------------------------------------------


@pytest.fixture
def plot(qtbot, themed) -> Plot:
    shown = Plot("Loss", Axis(log=True, rows=2))
    qtbot.addWidget(shown)
    shown.resize(360, 180)
    shown.show()
    shown.activateWindow()
    qtbot.waitUntil(shown.isActiveWindow)
    return shown


def test_the_cursor_reads_the_smoothed_values_out(plot, qtbot) -> None:
    steps = np.arange(100, 1100, 100)
    values = np.geomspace(0.2, 0.02, 10)
    plot.set_curves([curve(values * 3, steps=steps, smooth=values)], 2000)
    moved: list[float | None] = []
    plot.cursorMoved.connect(moved.append)
    x = round(float(plot.across(520.0)))
    qtbot.mouseMove(plot, QPoint(x, 60))
    assert moved[-1] == pytest.approx(520, abs=8)
    assert plot.legend() == [f"l1 {values[4]:.3g}"]
    assert plot.accessibleDescription().startswith("step 5")
    qtbot.mouseMove(plot, QPoint(2, 60))
    assert moved[-1] is None
    assert plot.legend() == ["l1 0.02"]


def test_the_cursor_moves_by_keys_and_escape_takes_it_away(plot, qtbot) -> None:
    plot.set_curves([curve(np.full(1000, 0.1))], 2000)
    plot.setFocus()
    qtbot.keyClick(plot, Key.Key_Left)
    assert plot.cursor_x == 980
    qtbot.keyClick(plot, Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert plot.cursor_x == 1180
    qtbot.keyClick(plot, Key.Key_Home)
    assert plot.cursor_words() == "step 0"
    assert plot.legend() == ["l1 \N{EN DASH}"], "nothing had been told by then"
    qtbot.keyClick(plot, Key.Key_Escape)
    assert plot.cursor_x is None


def test_the_axis_spans_the_whole_run_from_the_start(plot) -> None:
    plot.set_curves([curve([0.3, 0.2])], 40_000)
    assert plot.span == 40_000
    assert float(plot.across(40_000)) == pytest.approx(plot.frame.right())
    plot.set_curves([curve([0.3, 0.2])], 39_000)
    assert plot.span == 40_000, "an estimate that shrinks does not make the curves jump"
    plot.set_curves([curve([0.3, 0.2])], 20_000)
    assert plot.span == 20_000, "one that was far off does"
    plot.set_curves([curve([0.3, 0.2])], 19_000, settled=True)
    assert plot.span == 19_000, "and at the end the curves fill the axis"
    plot.reset()
    plot.set_curves([curve([0.3, 0.2])], 500)
    assert plot.span == 500


def test_lines_are_drawn_and_the_raw_one_is_fainter(plot) -> None:
    steps = np.linspace(1, 1000, 50)
    raw = np.where(np.arange(50) % 2, 0.4, 0.025)
    plot.set_curves([curve(raw, steps=steps, smooth=np.full(50, 0.1))], 1000)
    picture = plot.grab().toImage()
    line = pen_of(0).color()
    middle = round(float(plot.up(0.1)))
    x = round(float(plot.across(505.0)))
    near = [picture.pixelColor(x, y) for y in range(middle - 2, middle + 3)]
    assert max(c.green() for c in near) > 0.8 * line.green()
    between = round(float(plot.up(0.2)))
    row = [picture.pixelColor(k, between).green() for k in range(60, 300)]
    ground = min(row)
    assert ground < max(row) < 0.7 * line.green(), "the raw line is there, and faint"


def test_series_differ_by_dash_as_well_as_tone(themed) -> None:
    looks = [(tuple(pen_of(k).dashPattern()), pen_of(k).style()) for k in range(8)]
    assert len(set(looks)) == 8


# words ----------------------------------------------------------------------------------------


def state(**values) -> RunState:
    return RunState(Path("run"), **values)


def test_time_left_is_said_with_its_end() -> None:
    noon = 1_764_072_000.0
    running = state(standing="running", step=10, remaining=3840.0, ends=noon + 3840)
    assert time_left(running, noon).startswith("1 h 04 min left, ends ")
    assert time_left(state(standing="running", step=9, remaining=100.0)) == "2 min left"
    assert time_left(state(standing="running", step=9)) == "Almost done"
    assert time_left(state(standing="starting")) == "Starting…"
    assert time_left(state(standing="paused", seconds=750.0)) == "Paused after 12 min 30 s"


def test_an_end_on_another_day_is_named_with_the_day() -> None:
    now = 1_764_072_000.0
    assert len(clock_time(now + 60, now)) == 5
    assert len(clock_time(now + 3 * 86_400, now).split()) == 2


def test_steps_of_a_run_planned_by_time_are_an_estimate() -> None:
    assert step_words(state(step=5, total=100)) == "Step 5 of 100"
    assert step_words(state(standing="running", step=5, total=100, by_time=True)) == (
        "Step 5 of about 100"
    )
    assert step_words(state()) == ""
