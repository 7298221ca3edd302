"""The chooser: which of the scans in a folder, archive or dataset are to be opened."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QObject, QSize, Qt, Signal
from PySide6.QtGui import QAction, QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from crl_core.scan import FloatArray
from crl_viewer import icons, theme
from crl_viewer.state.offers import Offer, ticked_line
from crl_viewer.views.dialogs import Sheet
from crl_viewer.views.segments import Chip, Words
from crl_viewer.views.series_list import SeriesView
from crl_viewer.views.series_model import SeriesModel
from crl_viewer.views.series_rows import ROW, Heads

MINIMUM = QSize(720, 420)
_TO_THE_LIST = (
    Qt.Key.Key_Down, Qt.Key.Key_Up, Qt.Key.Key_PageDown, Qt.Key.Key_PageUp,
)  # fmt: skip
PEOPLE_ROWS = 6
"""A dataset may hold a person with more scans than the first; so many rows find room."""


class SeriesDialog(Sheet):
    """Lists what was found, with pictures that fill in as they come.

    Parameters
    ----------
    title, sentence
        What is to be done, and what was found.
    people
        (name, number of images) of the visits of a dataset; empty where there is no such choice.
    """

    accepted_offers = Signal(list)
    """Numbers of the offers to open."""
    personChosen = Signal(int)
    left = Signal(int, int)
    """The dialog goes; its width and height."""

    def __init__(
        self,
        title: str,
        sentence: str,
        people: Sequence[tuple[str, int]] = (),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(title, sentence, parent)
        self.setMinimumSize(MINIMUM)
        self._fits = False
        self.model = SeriesModel(self)
        self.list = SeriesView(self.model)
        self.heads = Heads()
        self.filter = QLineEdit()
        self.people = QListWidget(self)
        self.message = Words("", 12, 400, "text2")
        self.count = Words("", 11, 400, "text2")
        self.every = Chip("Tick all", "words")
        self.none = Chip("Tick none", "words")
        self.cancel = QPushButton("Cancel")
        self.go = QPushButton("Open")
        self._fill_people(people)
        self._lay_out(bool(people))
        self._wire()
        self._count()

    # what the controller sets ------------------------------------------------------------------

    def set_offers(self, offers: Sequence[Offer], ticks: Sequence[int]) -> None:
        """Show a list with some of it ticked."""
        self.message.set_text("")
        self.model.set_offers(offers, ticks)
        self._show_list(True)
        first = next((r for r in range(self.model.rowCount()) if self.model.is_ticked(r)), 0)
        self.list.setCurrentIndex(self.model.index(first))
        if self._fits:
            self._fits = False
            self._shrink_to(max(len(offers), PEOPLE_ROWS if self.people.count() else 0))
        if self.focusWidget() is not self.people:
            self.list.setFocus()

    def set_message(self, text: str) -> None:
        """Say something in the place of the list."""
        self.model.set_offers((), ())
        self.message.set_text(text)
        self._show_list(False)

    def set_picture(self, number: int, picture: FloatArray | None) -> None:
        """Give an offer its picture, 0 to 1; None says that there is none."""
        self.model.set_picture(number, picture)

    def _show_list(self, shown: bool) -> None:
        for page, wanted in zip(self._pages, (shown, not shown), strict=True):
            page.setVisible(wanted)

    def _shrink_to(self, rows: int) -> None:
        """Take away the height that so many rows do not need."""
        layout = self.layout()
        if layout is not None:
            layout.activate()
        beside = self.height() - self.list.height()
        wanted = beside + round(rows * ROW * max(1.0, theme.text_scale())) + 2
        self.resize(self.width(), min(self.height(), max(wanted, MINIMUM.height())))

    def fit_into(self, window: QSize, last: tuple[int, int] | None) -> None:
        """Take the size it was last left at, or one that suits the window behind it."""
        if last is not None:
            self.resize(*last)
            return
        width = min(max(round(0.78 * window.width()), MINIMUM.width()), 1240)
        self.resize(width, max(round(0.86 * window.height()), MINIMUM.height()))
        self._fits = True

    # making ------------------------------------------------------------------------------------

    def _fill_people(self, people: Sequence[tuple[str, int]]) -> None:
        self.people.setAccessibleName("People of the dataset")
        self.people.setFrameShape(QFrame.Shape.NoFrame)
        self.people.setFixedWidth(184)
        self.people.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        for name, images in people:
            item = QListWidgetItem(name)
            item.setToolTip(f"{name}: {images} image{'s' if images != 1 else ''}")
            item.setSizeHint(QSize(160, 32))
            self.people.addItem(item)
        if people:
            self.people.setCurrentRow(0)

    def _lay_out(self, people: bool) -> None:
        self.filter.setPlaceholderText("Type to filter: T2, axial, 4500, series 7")
        self.filter.setAccessibleName("Filter")
        self.filter.setFixedWidth(320)
        self.filter.setProperty("field", True)
        place = QLineEdit.ActionPosition
        self._lens, self._clear = QAction("Filter", self), QAction("Clear the filter", self)
        icons.bind(self._lens, "search")
        icons.bind(self._clear, "close")
        self._clear.triggered.connect(self.filter.clear)
        self.filter.addAction(self._lens, place.LeadingPosition)
        self.filter.addAction(self._clear, place.TrailingPosition)
        self._clear.setVisible(False)
        tools = QHBoxLayout()
        tools.setSpacing(8)
        tools.addWidget(self.filter)
        tools.addStretch(1)
        tools.addWidget(self.every)
        tools.addWidget(self.none)
        rows = QVBoxLayout()
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(0)
        rows.addWidget(self.heads)
        rows.addWidget(self.list, 1)
        holder = QWidget()
        holder.setLayout(rows)
        # No stacked layout: that moves the focus, and the filter would lose what is typed.
        self._pages = (holder, _message_page(self.message))
        side = QHBoxLayout()
        side.setSpacing(24)
        self.people.setVisible(people)
        if people:
            side.addWidget(self.people)
        for page in self._pages:
            side.addWidget(page, 1)
        self._show_list(True)
        self.body.addLayout(tools)
        self.body.addSpacing(4)
        self.body.addLayout(side, 1)
        self.body.addWidget(_Hairline())
        self.body.addLayout(self._footer())

    def _footer(self) -> QHBoxLayout:
        self.cancel.setFlat(True)
        self.cancel.setAutoDefault(False)
        self.go.setProperty("primary", True)
        self.go.setDefault(True)
        for button in (self.cancel, self.go):
            button.setMinimumHeight(32)
        row = QHBoxLayout()
        row.setContentsMargins(0, 8, 0, 0)
        row.setSpacing(8)
        row.addWidget(self.count, 1)
        row.addWidget(self.cancel)
        row.addWidget(self.go)
        return row

    def _wire(self) -> None:
        self.model.ticked.connect(self._count)
        self.filter.textChanged.connect(self._typed)
        self.filter.installEventFilter(self)
        self.list.typed.connect(self._begin_filter)
        self.list.entered.connect(self._accept)
        self.list.alone.connect(self._open_alone)
        self.list.verticalScrollBar().rangeChanged.connect(self._inset_heads)
        self.people.currentRowChanged.connect(self.personChosen)
        self.every.clicked.connect(lambda: self._tick_all(True))
        self.none.clicked.connect(lambda: self._tick_all(False))
        self.cancel.clicked.connect(self.reject)
        self.go.clicked.connect(self._accept)

    # what the user does ------------------------------------------------------------------------

    def _typed(self, text: str) -> None:
        self._clear.setVisible(bool(text))
        here = self.list.currentIndex().row()
        number = self.model.number(here) if here >= 0 else None
        self.model.set_typed(text)
        if self.model.rowCount():
            row = 0 if number is None else self.model.row_of(number) or 0
            self.list.setCurrentIndex(self.model.index(row))
        nothing = bool(self.model.offers()) and not self.model.rowCount()
        self.message.set_text(f"Nothing here is called '{text}'." if nothing else "")
        if nothing:
            self.filter.setFocus()  # a list that hides would give the keys to any button
        self._show_list(not nothing)
        self._count()

    def _begin_filter(self, letter: str) -> None:
        self.filter.setFocus()
        self.filter.setText(self.filter.text() + letter)

    def _tick_all(self, on: bool) -> None:
        self.model.tick(range(self.model.rowCount()), on)

    def _open_alone(self, row: int) -> None:
        if self.model.offer(row).usable:
            self.accepted_offers.emit([self.model.number(row)])
            self.accept()

    def _accept(self) -> None:
        chosen = self.model.chosen()
        if chosen:
            self.accepted_offers.emit(chosen)
            self.accept()

    def _count(self) -> None:
        """Say on the button how many scans it opens, and beside it what that means."""
        chosen = self.model.chosen()
        offers = self.model.offers()
        many = len(chosen)
        self.go.setText("Open" if not many else f"Open {many} scan{'s' if many > 1 else ''}")
        self.go.setEnabled(bool(many))
        ticked = [offers[i] for i in chosen]
        self.count.set_text(ticked_line(ticked, self.model.hidden_ticks()) if offers else "")

    # events ------------------------------------------------------------------------------------

    def _inset_heads(self, low: int, high: int) -> None:
        self.heads.set_inset(self.list.verticalScrollBar().sizeHint().width() if high > low else 0)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Let the arrows go from the filter into the list, and Return open what is ticked."""
        if watched is self.filter and isinstance(event, QKeyEvent):
            pressed = event.type() == QEvent.Type.KeyPress and event.key() in _TO_THE_LIST
            if pressed and self.model.rowCount():
                self.list.setFocus()
        return super().eventFilter(watched, event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Let Escape empty the filter first, then leave."""
        if event.key() == Qt.Key.Key_Escape and self.filter.text():
            self.filter.clear()
            self.list.setFocus()
            return
        super().keyPressEvent(event)

    def done(self, result: int) -> None:
        """Tell the size when the dialog goes by any way."""
        self.left.emit(self.width(), self.height())
        super().done(result)


def _message_page(message: Words) -> QWidget:
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(0, 16, 0, 0)
    column.addWidget(message)
    column.addStretch(1)
    return page


class _Hairline(QWidget):
    """One pixel of the line colour."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(1)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the line."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.current().line)
        painter.end()
