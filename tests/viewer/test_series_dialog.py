from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QSize, Qt
from PySide6.QtGui import QImage

from crl_viewer import theme
from crl_viewer.state.offers import Offer
from crl_viewer.views.series_dialog import SeriesDialog
from crl_viewer.views.series_rows import NARROW, ROW, Columns
from tests.viewer.fakes import make_offer

Key = Qt.Key


class Shown:
    """A dialog on the screen, and what it reported."""

    def __init__(self, dialog: SeriesDialog) -> None:
        self.dialog = dialog
        self.model, self.list, self.filter = dialog.model, dialog.list, dialog.filter
        self.opened: list[list[int]] = []
        self.people: list[int] = []
        self.sizes: list[tuple[int, int]] = []
        dialog.accepted_offers.connect(self.opened.append)
        dialog.personChosen.connect(self.people.append)
        dialog.left.connect(lambda w, h: self.sizes.append((w, h)))

    def at(self, row: int) -> QPoint:
        return self.list.visualRect(self.model.index(row)).center()


OFFERS = (
    make_offer("t1_tse", series="3"),
    make_offer("t2_tse", series="4"),
    make_offer("survey", series="1", refusal="a localiser: slices in 3 orientations"),
    make_offer("flair_tse", series="5", kind="inversion recovery fast spin echo"),
    make_offer("epi", series="6", kind="echo planar", fast_spin_echo=False),
)


@pytest.fixture
def show(qtbot, themed) -> Callable[..., Shown]:
    def made(
        offers: tuple[Offer, ...] = OFFERS, ticks: tuple[int, ...] = (0, 1), people: tuple = ()
    ) -> Shown:
        dialog = SeriesDialog("Choose scans", "study holds 5 scans.", people)
        qtbot.addWidget(dialog)
        dialog.fit_into(QSize(1280, 800), None)
        dialog.show()
        dialog.activateWindow()
        qtbot.waitUntil(dialog.isActiveWindow)
        dialog.set_offers(offers, ticks)
        return Shown(dialog)

    return made


# choosing -------------------------------------------------------------------------------------


def test_the_button_counts_what_it_opens(show, qtbot) -> None:
    shown = show()
    assert shown.dialog.go.text() == "Open 2 scans"
    qtbot.mouseClick(shown.list.viewport(), Qt.MouseButton.LeftButton, pos=shown.at(0))
    assert shown.dialog.go.text() == "Open 1 scan"
    qtbot.mouseClick(shown.dialog.none, Qt.MouseButton.LeftButton)
    assert shown.dialog.go.text() == "Open"
    assert not shown.dialog.go.isEnabled()
    qtbot.mouseClick(shown.dialog.every, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(shown.dialog.go, Qt.MouseButton.LeftButton)
    assert shown.opened == [[0, 1, 3, 4]]
    assert not shown.dialog.isVisible()


def test_what_cannot_be_opened_cannot_be_ticked(show, qtbot) -> None:
    shown = show()
    qtbot.mouseClick(shown.list.viewport(), Qt.MouseButton.LeftButton, pos=shown.at(2))
    assert shown.model.chosen() == [0, 1]
    shown.list.setCurrentIndex(shown.model.index(2))
    qtbot.keyClick(shown.list, Key.Key_Space)
    qtbot.mouseDClick(shown.list.viewport(), Qt.MouseButton.LeftButton, pos=shown.at(2))
    assert shown.model.chosen() == [0, 1]
    assert shown.opened == []
    index = shown.model.index(2)
    assert index.data(Qt.ItemDataRole.CheckStateRole) is None
    assert "localiser" in index.data(Qt.ItemDataRole.ToolTipRole)


def test_a_study_without_anything_usable_only_tells_why(show, qtbot) -> None:
    bad = tuple(make_offer(n, refusal="gap of 8 mm after slice 3") for n in ("a", "b"))
    shown = show(bad, ())
    assert not shown.dialog.go.isEnabled()
    qtbot.keyClick(shown.list, Key.Key_Return)
    assert shown.opened == []
    assert shown.dialog.isVisible()


def test_a_double_click_opens_one_alone(show, qtbot) -> None:
    shown = show()
    viewport = shown.list.viewport()
    qtbot.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=shown.at(3))
    qtbot.mouseDClick(viewport, Qt.MouseButton.LeftButton, pos=shown.at(3))
    assert shown.opened == [[3]]


def test_shift_and_a_click_tick_a_range(show, qtbot) -> None:
    shown = show(ticks=())
    viewport, left = shown.list.viewport(), Qt.MouseButton.LeftButton
    qtbot.mouseClick(viewport, left, pos=shown.at(1))
    qtbot.mouseClick(viewport, left, Qt.KeyboardModifier.ShiftModifier, shown.at(4))
    assert shown.model.chosen() == [1, 3, 4]


# keyboard -------------------------------------------------------------------------------------


def test_arrows_space_and_return_choose_without_a_mouse(show, qtbot) -> None:
    shown = show()
    assert shown.dialog.focusWidget() is shown.list
    for key in (Key.Key_Space, Key.Key_Down, Key.Key_Down, Key.Key_Down, Key.Key_Space):
        qtbot.keyClick(shown.list, key)
    qtbot.keyClick(shown.list, Key.Key_Return)
    assert shown.opened == [[1, 3]]


def test_control_a_ticks_everything_usable(show, qtbot) -> None:
    shown = show()
    qtbot.keyClick(shown.list, Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert shown.model.chosen() == [0, 1, 3, 4]


def test_typing_filters_and_escape_first_empties_the_filter(show, qtbot) -> None:
    shown = show()
    qtbot.keyClick(shown.list, "f")
    assert shown.dialog.focusWidget() is shown.filter
    qtbot.keyClicks(shown.filter, "lair")
    assert [shown.model.offer(r).title for r in range(shown.model.rowCount())] == ["flair_tse"]
    assert "2 of them hidden" in shown.dialog.count.text
    qtbot.keyClick(shown.filter, Key.Key_Down)
    assert shown.dialog.focusWidget() is shown.list
    qtbot.keyClick(shown.list, Key.Key_Space)
    assert shown.model.chosen() == [0, 1, 3]
    qtbot.keyClick(shown.list, Key.Key_Escape)
    assert shown.dialog.isVisible()
    assert shown.model.rowCount() == 5
    assert shown.list.currentIndex().row() == 3  # the keys stay where they were
    qtbot.keyClick(shown.list, Key.Key_Escape)
    assert not shown.dialog.isVisible()
    assert shown.opened == []


def test_a_filter_that_fits_nothing_says_so(show, qtbot) -> None:
    shown = show()
    qtbot.keyClicks(shown.filter, "knee")
    assert shown.dialog.message.isVisible()
    assert "knee" in shown.dialog.message.text
    qtbot.keyClick(shown.filter, Key.Key_Down)
    assert shown.dialog.focusWidget() is shown.filter
    shown.filter.clear()
    assert shown.list.isVisible()


def test_select_all_ticks_only_what_the_filter_shows(show, qtbot) -> None:
    shown = show(ticks=())
    shown.filter.setText("tse")
    qtbot.mouseClick(shown.dialog.every, Qt.MouseButton.LeftButton)
    shown.filter.clear()
    assert shown.model.chosen() == [0, 1, 3]


# pictures, size, people -----------------------------------------------------------------------


def grab(shown: Shown) -> QImage:
    return shown.list.viewport().grab().toImage()


def brightness(image: QImage, shown: Shown, row: int) -> float:
    """Return how bright the place of a picture is."""
    rect = shown.list.visualRect(shown.model.index(row))
    left, right = Columns(rect.left(), rect.width()).picture
    xs = np.linspace(left + 8, right - 8, 8).astype(int)
    ys = np.linspace(rect.top() + 16, rect.bottom() - 16, 8).astype(int)
    return float(np.mean([image.pixelColor(int(x), int(y)).lightness() for x in xs for y in ys]))


def test_pictures_fill_in_as_they_come(show) -> None:
    shown = show()
    assert brightness(grab(shown), shown, 1) < 5
    shown.dialog.set_picture(1, np.full((40, 60), 0.8, np.float32))
    image = grab(shown)
    assert brightness(image, shown, 1) > 150
    assert brightness(image, shown, 0) < 5
    shown.dialog.set_picture(0, None)
    assert not shown.model.pending(0)


@pytest.mark.parametrize("name", ["dark", "light"])
@pytest.mark.parametrize("count", [1, 5, 60])
def test_rows_are_painted_in_the_colours_of_the_theme(show, qapp, name: str, count: int) -> None:
    shown = show(tuple(make_offer(f"scan {n}") for n in range(count)), (0,))
    theme.apply_theme(qapp, name)
    shown.dialog.set_picture(0, np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30))
    image = shown.dialog.grab().toImage()
    ground = image.pixelColor(4, image.height() - 4)
    assert ground == theme.current().panel
    rect = shown.list.visualRect(shown.model.index(0))
    row = grab(shown).pixelColor(rect.right() - 4, rect.center().y() + 20)
    assert row == theme.current().control


def test_a_long_name_is_shortened_and_whole_in_the_tooltip(show) -> None:
    long = "t2_tse_tra " * 30
    shown = show((make_offer(long), make_offer("b")), (0,))
    assert shown.dialog.width() <= 1280
    assert shown.list.horizontalScrollBar().maximum() == 0
    assert shown.model.index(0).data(Qt.ItemDataRole.ToolTipRole).startswith(long)


def test_few_scans_need_no_tall_window_and_many_scroll(show) -> None:
    few = show(OFFERS[:2])
    many = show(tuple(make_offer(str(n)) for n in range(60)), ())
    assert few.dialog.height() < many.dialog.height() <= 800
    assert few.list.verticalScrollBar().maximum() == 0
    assert many.list.verticalScrollBar().maximum() > 40 * ROW


def test_narrow_lists_give_up_the_plane_and_keep_the_times() -> None:
    assert Columns(0, NARROW).plane is not None
    narrow = Columns(0, NARROW - 1)
    assert narrow.plane is None
    assert narrow.title[1] - narrow.title[0] > 100
    assert narrow.title[1] < narrow.times["tr"][0]


def test_the_size_is_told_when_the_dialog_goes_by_any_way(show, qtbot) -> None:
    shown = show()
    shown.dialog.resize(900, 600)
    shown.dialog.close()
    assert shown.sizes == [(900, 600)]
    again = show()
    again.dialog.fit_into(QSize(1280, 800), (900, 600))
    assert again.dialog.size() == QSize(900, 600)


def test_people_are_chosen_in_their_own_list(show, qtbot) -> None:
    shown = show(people=(("sub-01", 3), ("sub-02, ses-b", 1)))
    assert shown.dialog.people.isVisible()
    shown.dialog.people.setFocus()
    qtbot.keyClick(shown.dialog.people, Key.Key_Down)
    assert shown.people == [1]
    shown.dialog.set_message("Reading the headers of sub-02, ses-b…")
    assert not shown.dialog.go.isEnabled()
    shown.dialog.set_offers(OFFERS[:1], (0,))
    # The keys stay with the people, so that the next one is one key away.
    assert shown.dialog.focusWidget() is shown.dialog.people
    assert shown.dialog.go.text() == "Open 1 scan"
    assert not show().dialog.people.isVisible()
