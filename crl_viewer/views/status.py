"""The line at the bottom: device and time on the left, what lies under the crosshair right."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from crl_viewer import strings, theme

HEIGHT = 24
_PAD = 16
_GAP = 24
_DOT = 8


class StatusLine(QWidget):
    """Painted in one go, so that numbers that change every frame cost next to nothing.

    The right side gives way from its left end when the window is narrow: the position goes
    before the values.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._engine = ""
        self._ready = False
        self._timing = ""
        self._notice = ""
        self._probe: tuple[str, ...] = ()
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Status")

    # what the controllers set ------------------------------------------------------------------

    def set_engine(self, text: str, ready: bool) -> None:
        """Name the device, with a green dot once it is ready."""
        self._engine, self._ready = text, ready
        self._changed()

    def set_timing(self, milliseconds: float | None, *, first: bool = False) -> None:
        """Show the time from the last event to the painted picture.

        Parameters
        ----------
        milliseconds
            None takes it away.
        first
            Whether the network had to read the slice first, which later updates need not.
        """
        if milliseconds is None:
            self._timing = ""
        else:
            digits = 1 if milliseconds < 100 else 0
            what = "first update" if first else "per update"
            self._timing = f"{strings.number(milliseconds, digits)} ms {what}"
        self.update()

    def set_notice(self, text: str) -> None:
        """Tell something in passing; an empty text ends it."""
        self._notice = text
        self._changed()

    def set_probe(self, texts: Sequence[str]) -> None:
        """Show position and values under the crosshair."""
        self._probe = tuple(texts)
        self.update()

    # what others read --------------------------------------------------------------------------

    def left_texts(self) -> list[str]:
        """Return what stands on the left."""
        exact = ["exact"] if self._timing else []
        texts = [self._engine, self._timing, *exact, self._notice]
        return [t for t in texts if t]

    def probe_texts(self) -> tuple[str, ...]:
        """Return what stands on the right."""
        return self._probe

    def sizeHint(self) -> QSize:
        """Return the height of the line."""
        return QSize(400, HEIGHT)

    def _changed(self) -> None:
        self.setAccessibleDescription(". ".join(self.left_texts()))
        self.update()

    # painting ----------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint both sides."""
        palette = theme.current()
        painter = QPainter(self)
        painter.fillRect(self.rect(), palette.panel)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(theme.font(11))
        metrics = QFontMetricsF(painter.font())
        left = self._paint_left(painter, metrics)
        self._paint_right(painter, metrics, left)
        painter.end()

    def _paint_left(self, painter: QPainter, metrics: QFontMetricsF) -> float:
        palette = theme.current()
        x = float(_PAD)
        if self._engine:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(palette.ok if self._ready else palette.text3)
            painter.drawEllipse(QRectF(x, (self.height() - _DOT) / 2, _DOT, _DOT))
            x += _DOT + 8
        for text in self.left_texts():
            # The time keeps the width of a long one, so that what follows does not jump.
            width = metrics.horizontalAdvance(text)
            if text == self._timing:
                width = max(width, metrics.horizontalAdvance("000.0 ms per update"))
            painter.setPen(palette.text if text == self._notice else palette.text2)
            self._text(painter, x, width, text)
            x += width + _GAP
        return x

    def _paint_right(self, painter: QPainter, metrics: QFontMetricsF, left: float) -> None:
        painter.setPen(theme.current().text2)
        x = float(self.width() - _PAD)
        for text in reversed(self._probe):
            width = metrics.horizontalAdvance(text)
            if x - width < left:
                return
            self._text(painter, x - width, width, text)
            x -= width + _GAP

    def _text(self, painter: QPainter, x: float, width: float, text: str) -> None:
        box = QRectF(x, 0, width + 1, self.height())
        painter.drawText(box, int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft), text)
