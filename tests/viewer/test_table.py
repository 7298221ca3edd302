"""The table of metrics: texts, dashes that explain themselves, dimming, copying."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication, QHelpEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QToolTip

from crl_core.evaluation.metrics import Comparison
from crl_viewer import theme
from crl_viewer.views.table import (
    HEAD,
    NO_VOLUME,
    NOT_FINITE,
    NOTHING_YET,
    ROW,
    MetricsTable,
    cells,
    gain_text,
)

SLICE = Comparison(31.52, 0.8971, 2.084, 1.0312, 31.84, 0.8983, 1.951, 18_142)
VOLUME = Comparison(32.2, 0.903, 1.88, 1.02, 32.3, 0.903, 1.85, 200_000, 25)


@pytest.fixture
def table(themed, qtbot):
    widget = MetricsTable()
    qtbot.addWidget(widget)
    widget.resize(304, widget.sizeHint().height())
    widget.show()
    qtbot.waitExposed(widget)
    return widget


def ink(table: MetricsTable, scope: int) -> set[str]:
    """Colours in the number of the first row, as is, of a scope."""
    image = table.body.grab().toImage()
    right = round((0.383, 0.802)[scope] * 304)
    top = 2 * HEAD + 4
    box = [(x, y) for x in range(right - 30, right) for y in range(top + 3, top + ROW - 3)]
    return {image.pixelColor(x, y).name() for x, y in box}


def test_numbers_have_the_digits_of_the_field():
    assert cells(SLICE) == [("31.5", "31.8"), ("89.7", "89.8"), ("2.08", "1.95")]
    assert cells(None) == [("–", "–")] * 3


@pytest.mark.parametrize(
    ("gain", "text"), [(1.0312, "1.03"), (9.994, "9.99"), (130.68, "131"), (-0.5, "\u22120.50")]
)
def test_a_large_gain_still_fits_its_column(gain: float, text: str) -> None:
    assert gain_text(gain) == text


def test_numbers_that_are_not_finite_are_not_invented():
    odd = replace(SLICE, psnr=float("inf"), ssim=float("nan"), mae_percent=0.0, ssim_gain=-0.02)
    assert cells(odd)[0][0] == "∞"
    assert cells(odd)[1] == ("–", "−2.0")
    assert cells(odd)[2][0] == "0.00"


def test_a_missing_scope_shows_a_dash_and_says_why(table):
    table.set_comparison(SLICE, None)
    row = 2 * HEAD + 4 + ROW / 2
    assert table.body.tip_at(280, row) == NO_VOLUME
    table.set_reasons(volume_reason="This scan is a single slice.")
    assert table.body.tip_at(280, row) == "This scan is a single slice."
    assert "18\u2009142 voxels" in table.body.tip_at(110, row)
    assert "higher is better" in table.body.tip_at(10, row)
    table.set_comparison(None, None)
    assert table.body.tip_at(110, row) == NOTHING_YET
    table.set_comparison(replace(SLICE, psnr=float("nan")), None)
    assert table.body.tip_at(110, row) == NOT_FINITE


def test_the_tooltip_comes_with_the_pointer(table, qtbot):
    at = QPoint(280, 2 * HEAD + 10)
    QApplication.sendEvent(
        table.body, QHelpEvent(QHelpEvent.Type.ToolTip, at, table.body.mapToGlobal(at))
    )
    qtbot.waitUntil(lambda: QToolTip.text() == NO_VOLUME)
    QToolTip.hideText()


def test_old_numbers_dim_and_never_blank(table):
    p = theme.current()
    table.set_comparison(SLICE, VOLUME)
    fresh = ink(table, 0)
    table.set_comparison(SLICE, VOLUME, stale=True)
    old = ink(table, 0)
    assert p.text.name() in fresh
    assert p.text.name() not in old
    assert p.text2.name() in old


def test_heights_do_not_change_with_the_numbers(table):
    height = table.sizeHint().height()
    table.set_comparison(SLICE, None)
    table.set_note("Head mask · range 0–1 (p99.5) · gain: one factor, least squares")
    assert table.sizeHint().height() == height
    assert table.minimumSizeHint().width() <= 304


def test_copy_puts_the_table_on_the_clipboard(table):
    table.set_title("Against acquired TE 90")
    table.set_comparison(SLICE, None)
    table.set_note(SLICE.statement)
    QTest.mouseClick(table.copy, Qt.MouseButton.LeftButton)
    lines = QGuiApplication.clipboard().text().splitlines()
    assert lines[0].split("\t")[0] == "Against acquired TE 90"
    assert lines[1].split("\t") == ["PSNR dB", "31.5", "31.8", "–", "–"]
    assert lines[4].split("\t") == ["gain", "1", "1.0312", "1", "–"]
    assert lines[-1] == SLICE.statement
    assert {len(line.split("\t")) for line in lines[:-1]} == {5}


def test_screen_readers_hear_the_numbers_at_rest_only(table):
    table.set_comparison(SLICE, None)
    spoken = table.body.accessibleDescription()
    assert spoken == "Slice PSNR 31.5 dB, Slice SSIM 89.7 %, Slice MAE 2.08 %"
    table.set_comparison(VOLUME, None, stale=True)
    assert table.body.accessibleDescription() == spoken
