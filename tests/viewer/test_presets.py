"""Preset chips, the menu of the paper, and the small buttons they are made of."""

from __future__ import annotations

from itertools import pairwise

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from crl_core.sequence import PAPER_SEQUENCES, PRESETS
from crl_viewer import theme
from crl_viewer.views.presets import PresetBar, all_presets
from crl_viewer.views.segments import Chip, ChipRow, Words

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def bar(themed, qtbot):
    widget = PresetBar()
    qtbot.addWidget(widget)
    widget.resize(304, widget.sizeHint().height())
    widget.show()
    widget.activateWindow()
    qtbot.waitExposed(widget)
    widget.heard = []
    widget.chosen.connect(lambda name, p: widget.heard.append((name, p)))
    return widget


def chip(bar: PresetBar, name: str) -> Chip:
    return next(c for c in bar.chips.buttons if c.text() == name)


def test_there_are_six_chips_in_the_order_of_the_table(bar):
    assert [c.text() for c in bar.chips.buttons] == list(PRESETS)
    edges = [c.geometry() for c in bar.chips.buttons]
    assert edges[0].left() == 0
    assert edges[-1].right() == 303
    assert all(a.right() < b.left() for a, b in pairwise(edges))


@pytest.mark.parametrize("name", PRESETS)
def test_a_click_chooses_a_preset_and_fills_its_chip(bar, name):
    QTest.mouseClick(chip(bar, name), LEFT)
    assert bar.heard == [(name, PRESETS[name])]
    assert [c.text() for c in bar.chips.buttons if c.isChecked()] == [name]
    assert chip(bar, name).grab().toImage().pixelColor(3, 12) == theme.current().accent


def test_a_preset_that_was_left_is_outlined_not_filled(bar):
    bar.set_current("T2w", moved_away=True)
    left = chip(bar, "T2w")
    assert left.outlined
    assert not left.isChecked()
    image = left.grab().toImage()
    assert image.pixelColor(3, 12) == theme.current().control
    assert image.pixelColor(image.width() // 2, 0) == theme.current().accent
    bar.set_current(None, moved_away=False)
    assert not any(c.outlined or c.isChecked() for c in bar.chips.buttons)
    assert bar.heard == []


def test_the_menu_holds_the_nine_sequences_of_the_paper(bar):
    actions = bar.menu.actions()
    assert len(actions) == len(PAPER_SEQUENCES) == 9
    assert all(a.text().startswith(str(n)) for n, a in zip(PAPER_SEQUENCES, actions, strict=True))
    actions[6].trigger()
    assert bar.heard == [("Paper 7", PAPER_SEQUENCES[7])]
    assert bar.paper.text() == "Paper 7"
    assert all_presets()["Paper 7"] == PAPER_SEQUENCES[7]
    bar.set_current("PD", moved_away=False)
    assert bar.paper.text() == "Paper"


def test_the_menu_opens_below_its_word(bar, qtbot):
    QTest.mouseClick(bar.paper, LEFT)
    qtbot.waitUntil(bar.menu.isVisible)
    bar.menu.close()
    assert bar.heard == []


def test_arrows_go_along_the_chips_and_return_chooses(bar):
    first = chip(bar, "PD")
    first.setFocus()
    QTest.keyClick(first, Qt.Key.Key_Right)
    assert QApplication.focusWidget() is chip(bar, "T1w")
    assert bar.heard == []
    QTest.keyClick(chip(bar, "T1w"), Qt.Key.Key_Return)
    assert bar.heard == [("T1w", PRESETS["T1w"])]
    QTest.keyClick(chip(bar, "T1w"), Qt.Key.Key_Left)
    QTest.keyClick(chip(bar, "PD"), Qt.Key.Key_Left)
    assert QApplication.focusWidget() is chip(bar, "STIR")


def test_chips_are_one_stop_of_the_tab_key(bar):
    chip(bar, "PD").setFocus()
    QTest.keyClick(chip(bar, "PD"), Qt.Key.Key_Tab)
    assert QApplication.focusWidget() not in bar.chips.buttons


def test_segments_keep_exactly_one_chosen(themed, qtbot):
    row = ChipRow(["TE", "TR", "TI"], "segment", exclusive=True)
    qtbot.addWidget(row)
    row.show()
    heard = []
    row.chosen.connect(heard.append)
    for k in (1, 1, 2):
        QTest.mouseClick(row.buttons[k], LEFT)
        assert row.selected() == k
    assert heard == [1, 1, 2]


def test_the_bar_never_widens_the_panel(bar):
    assert bar.minimumSizeHint().width() <= 304


def test_words_shorten_and_keep_the_rest_in_the_tooltip(themed, qtbot):
    words = Words("Head mask", 11, 400)
    qtbot.addWidget(words)
    words.set_text("Head mask (of the reference) · range 0 to 1", "Head mask · range 0 to 1")
    words.resize(60, 20)
    words.grab()
    assert words.toolTip() == words.text
    assert words.accessibleName() == words.text
