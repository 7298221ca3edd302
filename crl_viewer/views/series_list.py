"""The list of the chooser: mouse and keyboard."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QAbstractItemView, QFrame, QListView, QWidget

from crl_viewer.views.series_model import SeriesModel
from crl_viewer.views.series_rows import ROW, SeriesDelegate


class SeriesView(QListView):
    """The list: a click or the space bar ticks, Shift with a click ticks a range."""

    typed = Signal(str)
    """A letter was typed that the filter is to have."""
    alone = Signal(int)
    """A row was double clicked: open it alone."""
    entered = Signal()

    def __init__(self, model: SeriesModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self._anchor = 0
        self.setModel(model)
        self.setItemDelegate(SeriesDelegate(self))
        self.setUniformItemSizes(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setMouseTracking(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("Scans that were found")
        self.verticalScrollBar().setSingleStep(ROW // 2)
        self.viewport().setAutoFillBackground(False)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Tick the row under the pointer."""
        super().mousePressEvent(event)
        row = self.indexAt(event.position().toPoint()).row()
        if row < 0 or event.button() != Qt.MouseButton.LeftButton:
            return
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            low, high = sorted((min(self._anchor, self._model.rowCount() - 1), row))
            self._model.tick(range(low, high + 1), True)
        else:
            self._model.toggle(row)
        self._anchor = row

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Open the row alone."""
        row = self.indexAt(event.position().toPoint()).row()
        if row >= 0 and event.button() == Qt.MouseButton.LeftButton:
            self.alone.emit(row)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Tick with the space bar, open with Return, hand letters to the filter."""
        key, row = event.key(), self.currentIndex().row()
        if key == Qt.Key.Key_Space:
            if row >= 0:
                self._model.toggle(row)
                self._anchor = row
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.entered.emit()
        elif key == Qt.Key.Key_A and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._model.tick(range(self._model.rowCount()), True)
        elif event.text().isprintable() and event.text() and not _command(event):
            self.typed.emit(event.text())
        else:
            super().keyPressEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        """Lay the rows out again when the size of words changes."""
        if event.type() == QEvent.Type.FontChange:
            self.scheduleDelayedItemsLayout()
        super().changeEvent(event)


def _command(event: QKeyEvent) -> bool:
    held = event.modifiers()
    return bool(held & (Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier))
