"""Painted lists: one line of text that fits where it stands, and the heads of the columns."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QFont, QFontMetricsF, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from crl_viewer import theme

HEAD = 28
_MIDDLE = Qt.AlignmentFlag.AlignVCenter


def write(
    painter: QPainter,
    across: tuple[float, float],
    middle: float,
    text: str,
    px: float,
    weight: int,
    ink: Any,
    align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft,
) -> float:
    """Write one line, shortened where it does not fit; returns where it ends."""
    return write_in(painter, across, middle, text, theme.font(px, weight), ink, align)


def write_in(
    painter: QPainter,
    across: tuple[float, float],
    middle: float,
    text: str,
    font: QFont,
    ink: Any,
    align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft,
) -> float:
    """Write one line in a font; returns where it ends."""
    painter.setFont(font)
    painter.setPen(ink)
    room = across[1] - across[0]
    if room < 8:
        return across[0]
    metrics = QFontMetricsF(font)
    shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, room)
    box = QRectF(across[0], middle - 12, room, 24)
    painter.drawText(box, int(align | _MIDDLE | Qt.TextFlag.TextSingleLine), shown)
    return float(across[0] + metrics.horizontalAdvance(shown))


def in_two(text: str, font: QFont, room: float) -> tuple[str, str]:
    """Break a text at a word into what fits into a line, and the rest.

    A text that fits, or whose first word does not, stays whole.
    """
    metrics = QFontMetricsF(font)
    if metrics.horizontalAdvance(text) <= room:
        return text, ""
    words = text.split(" ")
    fitting = [
        n for n in range(1, len(words)) if metrics.horizontalAdvance(" ".join(words[:n])) <= room
    ]
    if not fitting:
        return text, ""
    return " ".join(words[: fitting[-1]]), " ".join(words[fitting[-1] :])


class ColumnHeads(QWidget):
    """The names of the columns above a list, and the hairline below them."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.inset = 0
        self.setFixedHeight(HEAD)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def set_inset(self, inset: int) -> None:
        """Leave the width of a scroll bar free at the right."""
        if inset != self.inset:
            self.inset = inset
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Write the heads."""
        painter = QPainter(self)
        self.paint_heads(painter)
        painter.end()

    def paint_heads(self, painter: QPainter) -> None:
        """Write the heads and draw the hairline."""
        raise NotImplementedError
