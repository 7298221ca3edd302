"""The table of people on the Set-up page: what was found, and what each person is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QAbstractListModel, QEvent, QPoint, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QAction, QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QAbstractItemView, QFrame, QListView, QMenu, QWidget

from crl_core.scan import FloatArray
from crl_viewer.state.training_setup import USE_WORDS, USES, Use
from crl_viewer.state.training_setup_rows import Issue, VisitRow
from crl_viewer.views.series_model import Index, Picture
from crl_viewer.views.training.setup_people_rows import ROW, PeopleDelegate, link_box, use_box

BAR = 12
"""Width of a scroll bar, as the style sheet has it."""

_HOW = "Left and Right change the use, Space lists the uses, Return follows the link."


class PeopleModel(QAbstractListModel):
    """Rows, the uses of people, and small pictures by file."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: tuple[VisitRow, ...] = ()
        self._uses: Mapping[str, Use] = {}
        self._pictures: dict[Path, Picture | None] = {}
        self.hovered = -1
        self._part = ""

    def set_rows(self, rows: Sequence[VisitRow], uses: Mapping[str, Use]) -> None:
        """Show other rows; the same number of the same visits keeps its place."""
        same = [r.label for r in rows] == [r.label for r in self._rows]
        if same:
            changed = tuple(rows) != self._rows or dict(uses) != dict(self._uses)
            self._rows, self._uses = tuple(rows), dict(uses)
            if rows and changed:
                self.dataChanged.emit(self.index(0), self.index(len(rows) - 1))
            return
        self.beginResetModel()
        self._rows, self._uses = tuple(rows), dict(uses)
        self.endResetModel()

    def set_picture(self, path: Path, values: FloatArray | None) -> None:
        """Give a scan its picture; None says that there is none."""
        self._pictures[path] = None if values is None else Picture(values)
        for number, row in enumerate(self._rows):
            if path in row.paths:
                self.dataChanged.emit(self.index(number), self.index(number))

    def row(self, number: int) -> VisitRow:
        """Return a row."""
        return self._rows[number]

    def use(self, number: int) -> Use | None:
        """Return what the person of a row is for; None in the row about the dataset."""
        return self._uses.get(self._rows[number].person)

    def picture(self, path: Path) -> Picture | None:
        """Return the picture of a scan, None while there is none."""
        return self._pictures.get(path)

    # under the pointer ------------------------------------------------------------------------

    def set_hovered(self, number: int, part: str) -> None:
        """Tell what lies under the pointer: a row, and its link or use."""
        if (number, part) != (self.hovered, self._part):
            before, self.hovered, self._part = self.hovered, number, part
            for row in {before, number}:
                if 0 <= row < len(self._rows):
                    self.dataChanged.emit(self.index(row), self.index(row))

    def over_link(self, index: Index) -> bool:
        """Return whether the pointer rests on the link of a row."""
        return index.row() == self.hovered and self._part == "link"

    def over_use(self, index: Index) -> bool:
        """Return whether the pointer rests on the use of a row."""
        return index.row() == self.hovered and self._part == "use"

    # what Qt asks ------------------------------------------------------------------------------

    def rowCount(self, parent: Index | None = None) -> int:
        """Return how many rows there are."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return words for Qt and for screen readers; the delegate asks the model itself."""
        if not index.isValid():
            return None
        row, use = self._rows[index.row()], self.use(index.row())
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return f"{row.title}, {row.visit}"
            case Qt.ItemDataRole.ToolTipRole:
                return row.tip
            case Qt.ItemDataRole.AccessibleTextRole:
                times = f"TR, TE, TI {row.times}" if row.times else ""
                word = f"use: {USE_WORDS[use]}" if use else ""
                said = (row.title, row.visit, row.grid, times, row.finding, row.link, word)
                return ", ".join(filter(None, said)).replace("\N{HORIZONTAL ELLIPSIS}", "")
        return None


class PeopleView(QListView):
    """The list: click a link or a use, or go with the keys."""

    linkFollowed = Signal(object)
    """The `Issue` whose link was clicked."""
    useChosen = Signal(str, str)
    """Person and use."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.people = PeopleModel(self)
        self.setModel(self.people)
        self.setItemDelegate(PeopleDelegate(self))
        self.setUniformItemSizes(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setMouseTracking(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("People")
        self.setAccessibleDescription(_HOW)
        self.verticalScrollBar().setSingleStep(ROW // 2)
        self.viewport().setAutoFillBackground(False)
        self.menu: QMenu | None = None
        self.verticalScrollBar().rangeChanged.connect(self._make_room)
        self._make_room(0, 0)

    def _make_room(self, low: int, high: int) -> None:
        """Keep the width of a scroll bar free, so that rows lie alike with and without one."""
        self.setViewportMargins(0, 0, 0 if high > low else BAR, 0)

    # mouse -------------------------------------------------------------------------------------

    def part_at(self, at: QPointF) -> tuple[int, str]:
        """Return the row at a place, and which part of it: ``"link"``, ``"use"`` or nothing."""
        index = self.indexAt(at.toPoint())
        if not index.isValid():
            return -1, ""
        box, row = QRectF(self.visualRect(index)), self.people.row(index.row())
        if self.people.use(index.row()) is not None and use_box(box).contains(at):
            return index.row(), "use"
        shown = self.people.use(index.row()) != "out"
        return index.row(), "link" if shown and link_box(box, row).contains(at) else ""

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Show what can be clicked."""
        number, part = self.part_at(event.position())
        self.people.set_hovered(number, part)
        shape = Qt.CursorShape.PointingHandCursor if part else Qt.CursorShape.ArrowCursor
        self.viewport().setCursor(shape)

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing lies under the pointer any more."""
        self.people.set_hovered(-1, "")
        super().leaveEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Follow the link, list the uses, or make the row the current one."""
        super().mousePressEvent(event)
        if event.button() != Qt.MouseButton.LeftButton:
            return
        number, part = self.part_at(event.position())
        if part == "link":
            self._follow(number)
        elif part == "use":
            self.list_uses(number)

    # keys --------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Change the use with Left and Right, list uses with Space, follow links with Return."""
        number = self.currentIndex().row()
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if number < 0:
            super().keyPressEvent(event)
        elif step is not None:
            self._step(number, step)
        elif event.key() == Qt.Key.Key_Space:
            self.list_uses(number)
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._follow(number)
        else:
            super().keyPressEvent(event)

    def _step(self, number: int, step: int) -> None:
        use = self.people.use(number)
        if use is not None:
            place = min(max(USES.index(use) + step, 0), len(USES) - 1)
            if USES[place] != use:
                self.useChosen.emit(self.people.row(number).person, USES[place])

    def _follow(self, number: int) -> None:
        row = self.people.row(number)
        if row.issues and row.link and self.people.use(number) != "out":
            issue: Issue = row.issues[0]
            self.linkFollowed.emit(issue)

    def list_uses(self, number: int) -> None:
        """Open the list of uses of a row's person."""
        use = self.people.use(number)
        if use is None:
            return
        if self.menu is not None:
            self.menu.deleteLater()
        person = self.people.row(number).person
        self.menu = QMenu(self)
        for one in USES:
            action = QAction(USE_WORDS[one], self.menu, checkable=True, checked=one == use)
            action.triggered.connect(lambda _=False, u=one: self.useChosen.emit(person, u))
            self.menu.addAction(action)
        box = use_box(QRectF(self.visualRect(self.people.index(number))))
        below = QPoint(round(box.left()), round(box.bottom()))
        self.menu.popup(self.viewport().mapToGlobal(below))

    def changeEvent(self, event: QEvent) -> None:
        """Lay the rows out again when the size of words changes."""
        if event.type() == QEvent.Type.FontChange:
            self.scheduleDelayedItemsLayout()
        super().changeEvent(event)
