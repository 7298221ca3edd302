"""Says, while something is dragged over the window, that it may be dropped."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget

from crl_viewer import strings, theme


class DropHint(QWidget):
    """A frame with a word over whatever lies below; the pointer does not notice it."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def cover(self, widget: QWidget) -> None:
        """Show over a widget of the same window."""
        parent = self.parentWidget()
        assert parent is not None
        self.setGeometry(widget.rect().translated(widget.mapTo(parent, widget.rect().topLeft())))
        self.raise_()
        self.show()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the frame and the word."""
        palette = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(palette.accent, 2))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(5, 5, -5, -5), 4, 4)
        font = theme.font(12, 600)
        width = QFontMetricsF(font).horizontalAdvance(strings.DROP_HERE) + 32
        box = QRectF((self.width() - width) / 2, self.height() - 56, width, 32)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(palette.panel)
        painter.drawRoundedRect(box, 4, 4)
        painter.setFont(font)
        painter.setPen(palette.accent)
        painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), strings.DROP_HERE)
        painter.end()
