"""What the run says, newest on top; warnings are amber and carry a sign."""

from __future__ import annotations

import time
from collections.abc import Sequence

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRectF, QSize, Qt
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence, QPainter, QPen
from PySide6.QtWidgets import (
    QAbstractItemView,
    QListWidget,
    QListWidgetItem,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from crl_viewer import icons, theme
from crl_viewer.state.training_run import LogLine

ROW = 18
_TIME, _TEXT = 0, 80


class RunLog(QListWidget):
    """The lines of a run; copying takes the chosen ones."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines: tuple[LogLine, ...] = ()
        self.setFrameShape(QListWidget.Shape.NoFrame)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setUniformItemSizes(True)
        self.setItemDelegate(_Line(self))
        self.setAccessibleName("Log, newest first")
        self.setMinimumHeight(2 * ROW)
        self.viewport().setAutoFillBackground(False)

    def set_lines(self, lines: Sequence[LogLine]) -> None:
        """Show lines, oldest first as they come; who has scrolled down keeps the place."""
        lines = tuple(lines)
        if lines == self._lines:
            return
        if not lines:
            self._lines = ()
            self.clear()
            return
        bar = self.verticalScrollBar()
        at = bar.value()
        gone = _dropped(self._lines, lines)
        if gone is None:
            self.clear()
            fresh, at = lines, 0
        else:
            fresh = lines[len(self._lines) - gone :]
            for _ in range(gone):
                self.takeItem(self.count() - 1)
        self._lines = lines
        for line in fresh:
            self.insertItem(0, _item(line))
        bar.setValue(at + len(fresh) * self.sizeHintForRow(0) if at else 0)

    def show_rows(self, count: int) -> None:
        """Take the height of so many lines, none of them cut."""
        self.setFixedHeight(count * round(ROW * max(1.0, theme.text_scale())) + 2)

    def texts(self) -> list[str]:
        """Return the lines as they stand, newest first."""
        return [self.item(i).text() for i in range(self.count())]

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Copy with the usual key."""
        if event.matches(QKeySequence.StandardKey.Copy):
            rows = sorted(self.row(item) for item in self.selectedItems())
            QGuiApplication.clipboard().setText("\n".join(self.item(r).text() for r in rows))
        else:
            super().keyPressEvent(event)

    def sizeHint(self) -> QSize:
        """Return room for four lines."""
        return QSize(400, 4 * ROW + 4)


def _dropped(before: tuple[LogLine, ...], lines: tuple[LogLine, ...]) -> int | None:
    """Return how many old lines have left a log that goes on, or None for another log."""
    for gone in range(len(before)):
        kept = before[gone:]
        if kept[0] == lines[0] and lines[: len(kept)] == kept:
            return gone
    return None


def _item(line: LogLine) -> QListWidgetItem:
    moment = time.strftime("%H:%M:%S", time.localtime(line.time))
    item = QListWidgetItem(f"{moment}  {line.text}")
    item.setData(Qt.ItemDataRole.UserRole, (moment, line.text, line.loud))
    item.setToolTip(line.text)
    warning = "Warning: " if line.loud else ""
    item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{moment} {warning}{line.text}")
    return item


class _Line(QStyledItemDelegate):
    """Draws time and text in two columns."""

    def sizeHint(
        self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> QSize:
        """Return one line."""
        return QSize(100, round(ROW * max(1.0, theme.text_scale())))

    def paint(
        self,
        painter: QPainter,
        option: QStyleOptionViewItem,
        index: QModelIndex | QPersistentModelIndex,
    ) -> None:
        """Draw one line."""
        moment, text, loud = index.data(Qt.ItemDataRole.UserRole)
        p, box, scale = theme.current(), QRectF(option.rect), max(1.0, theme.text_scale())
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        view = self.parent()
        if isinstance(view, QListWidget) and view.currentIndex() == index and view.hasFocus():
            painter.setPen(QPen(p.accent, 1))
            painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)
        if isinstance(view, QListWidget) and view.selectionModel().isSelected(index):
            painter.fillRect(box.adjusted(1, 1, -1, -1), p.control)
        font = theme.font(11)
        painter.setFont(font)
        left = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        painter.setPen(p.text3)
        painter.drawText(box.adjusted(2 + _TIME, 0, 0, 0), left, moment)
        x = _TEXT * scale
        if loud:
            ratio = painter.device().devicePixelRatioF()
            mark = icons.pixmap("warning", p.warn, 12, ratio)
            painter.drawPixmap(round(box.left() + x - 18), round(box.center().y() - 6), mark)
        painter.setPen(p.warn if loud else p.text2)
        shown = painter.fontMetrics().elidedText(
            text, Qt.TextElideMode.ElideRight, round(box.width() - x - 4)
        )
        painter.drawText(box.adjusted(x, 0, 0, 0), left, shown)
        painter.restore()
