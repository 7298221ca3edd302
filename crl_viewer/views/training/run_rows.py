"""The rows of the list of runs: a box to tick, the name, and when it was."""

from __future__ import annotations

from PySide6.QtCore import (
    QAbstractItemModel,
    QEvent,
    QModelIndex,
    QPersistentModelIndex,
    QRectF,
    QSize,
    Qt,
)
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import QListWidget, QStyle, QStyledItemDelegate, QStyleOptionViewItem

from crl_viewer import icons, theme

WHEN = int(Qt.ItemDataRole.UserRole) + 1
ROW = 28

Index = QModelIndex | QPersistentModelIndex


class RunRow(QStyledItemDelegate):
    """Paints a row; a click anywhere on it ticks it, as does the space bar."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        """Return one row."""
        return QSize(120, round(ROW * max(1.0, theme.text_scale())))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw ground, box, name and date."""
        p, box = theme.current(), QRectF(option.rect)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        view = self.parent()
        here = isinstance(view, QListWidget) and view.currentIndex() == index and view.hasFocus()
        if option.state & QStyle.StateFlag.State_MouseOver:  # type: ignore[attr-defined]
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(p.control)
            painter.drawRoundedRect(box, 4, 4)
        if here:
            painter.setPen(QPen(p.accent, 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        ticked = _ticked(index)
        self._box(painter, box, ticked)
        middle = int(Qt.AlignmentFlag.AlignVCenter)
        painter.setFont(theme.font(11))
        painter.setPen(p.text3)
        when = index.data(WHEN) or ""
        painter.drawText(box.adjusted(0, 0, -4, 0), middle | int(Qt.AlignmentFlag.AlignRight), when)
        taken = painter.fontMetrics().horizontalAdvance(when) + 44
        painter.setFont(theme.font(12, 500 if ticked else 400))
        painter.setPen(p.text if ticked else p.text2)
        name = painter.fontMetrics().elidedText(
            index.data(), Qt.TextElideMode.ElideMiddle, round(box.width() - taken)
        )
        painter.drawText(box.adjusted(28, 0, 0, 0), middle, name)
        painter.restore()

    def _box(self, painter: QPainter, box: QRectF, ticked: bool) -> None:
        p = theme.current()
        place = QRectF(box.left() + 6.5, box.center().y() - 7, 14, 14)
        painter.setPen(QPen(p.accent if ticked else p.text3, 1))
        painter.setBrush(p.accent if ticked else Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(place, 3, 3)
        if ticked:
            ratio = painter.device().devicePixelRatioF()
            mark = icons.pixmap("check", p.on_accent, 14, ratio)
            painter.drawPixmap(round(place.left()), round(place.top()), mark)

    def editorEvent(
        self, event: QEvent, model: QAbstractItemModel, option: QStyleOptionViewItem, index: Index
    ) -> bool:
        """Tick or untick."""
        pressed = isinstance(event, QKeyEvent) and event.key() in (
            Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter,
        )  # fmt: skip
        clicked = (
            isinstance(event, QMouseEvent)
            and event.type() == QEvent.Type.MouseButtonRelease
            and event.button() == Qt.MouseButton.LeftButton
        )
        if not (pressed or clicked):
            return False
        fresh = Qt.CheckState.Unchecked if _ticked(index) else Qt.CheckState.Checked
        return model.setData(QModelIndex(index), fresh, Qt.ItemDataRole.CheckStateRole)


def _ticked(index: Index) -> bool:
    # The model gives back what was stored: a number or the enumeration.
    return Qt.CheckState(index.data(Qt.ItemDataRole.CheckStateRole)) == Qt.CheckState.Checked
