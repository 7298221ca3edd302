"""Words on and below the parameter pad: the legend and the sentence about trust."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, QSizeF, Qt
from PySide6.QtGui import (
    QColor,
    QFontMetricsF,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QTextLayout,
    QTextOption,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from crl_viewer import theme

MARKED = "Extrapolating"
"""The first word of a sentence that is set in the colour of a warning."""


RIM = 6.0
"""A mark closer than this to the legend touches it, pixels."""


def draw_mark(painter: QPainter, kind: str, at: QPointF, same: bool) -> None:
    """Draw a dot (trained), diamond (held back) or ring (acquired), faint unless `same`."""
    p = theme.current()
    ink = QColor(p.text if kind == "acquired" else p.text2)
    ink.setAlphaF(1.0 if same else 0.4)
    if kind == "trained":
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ink)
        painter.drawEllipse(at, 2.5, 2.5)
        return
    painter.setPen(QPen(ink, 1.3))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    if kind == "acquired":
        painter.drawEllipse(at, 3.5, 3.5)
    else:
        around = ((0, -4.5), (4.5, 0), (0, 4.5), (-4.5, 0))
        painter.drawPolygon(QPolygonF([at + QPointF(x, y) for x, y in around]))


class Legend:
    """The list of marks, in that corner of the pad where it covers the fewest of them.

    It stays where it is until another corner has clearly more room, so that it does not jump.
    """

    ROW = 14.0
    WIDTH = 74.0

    def __init__(self) -> None:
        self._corner = 0

    def paint(
        self,
        painter: QPainter,
        frame: QRectF,
        kinds: Sequence[str],
        places: Sequence[QPointF],
        closed: QRectF,
    ) -> None:
        """Draw the legend.

        Parameters
        ----------
        painter, frame
            Where to draw.
        kinds
            Which marks there are.
        places
            Where they are, so that they stay free.
        closed
            Around what cannot be played, which counts as one mark.
        """
        if not kinds:
            return
        boxes = self._corners(frame, self.ROW * len(kinds) + 6)
        rims = [box.adjusted(-RIM, -RIM, RIM, RIM) for box in boxes]
        covered = [sum(rim.contains(at) for at in places) + rim.intersects(closed) for rim in rims]
        if covered[self._corner] > min(covered):
            self._corner = covered.index(min(covered))
        box = boxes[self._corner]
        veil = QColor(theme.current().window)
        veil.setAlphaF(0.75)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(veil)
        painter.setFont(theme.font(10))
        words = max(painter.fontMetrics().horizontalAdvance(kind) for kind in kinds)
        painter.drawRoundedRect(QRectF(box.topLeft(), QSizeF(words + 22, box.height())), 3, 3)
        left = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        for k, kind in enumerate(kinds):
            y = box.top() + 3 + (k + 0.5) * self.ROW
            draw_mark(painter, kind, QPointF(box.left() + 8, y), True)
            painter.setPen(theme.current().text2)
            painter.drawText(QRectF(box.left() + 18, y - 8, 80, 16), left, kind)

    def _corners(self, frame: QRectF, height: float) -> list[QRectF]:
        near, far = frame.left() + 4, frame.right() - self.WIDTH - 4
        top, bottom = frame.top() + 2, frame.bottom() - height - 2
        size = (self.WIDTH, height)
        return [QRectF(x, y, *size) for x, y in
                ((near, top), (far, top), (near, bottom), (far, bottom))]


class Sentence(QWidget):
    """Two reserved lines that tell where the sliders stand; a warning's first word in amber."""

    LINE = 16

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = ""
        self.setFixedHeight(2 * self.LINE)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    @property
    def text(self) -> str:
        """What it says."""
        return self._text

    def set_text(self, text: str) -> None:
        """Say something else."""
        if text != self._text:
            self._text = text
            self.setAccessibleName(text)
            self.setToolTip(text)
            self.update()

    def sizeHint(self) -> QSize:
        """Return two lines."""
        return QSize(300, 2 * self.LINE)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the text over two lines at most."""
        p = theme.current()
        painter = QPainter(self)
        font = theme.font(11)
        painter.setFont(font)
        metrics = QFontMetricsF(font)
        for row, line in enumerate(self._lines(metrics)):
            x, y = 0.0, row * self.LINE + 12.0
            if row == 0 and line.startswith(MARKED):
                painter.setPen(p.warn)
                head = line[: len(MARKED) + 1]
                painter.drawText(QPointF(x, y), head)
                x, line = metrics.horizontalAdvance(head), line[len(head) :]
            painter.setPen(p.text2)
            painter.drawText(QPointF(x, y), line)

    def _lines(self, metrics: QFontMetricsF) -> list[str]:
        layout = QTextLayout(self._text, theme.font(11))
        option = QTextOption()
        option.setWrapMode(QTextOption.WrapMode.WordWrap)
        layout.setTextOption(option)
        layout.beginLayout()
        starts = []
        while (line := layout.createLine()).isValid():
            line.setLineWidth(max(self.width(), 40))
            starts.append(line.textStart())
        layout.endLayout()
        if len(starts) < 2:
            return [self._text]
        first, rest = self._text[: starts[1]].rstrip(), self._text[starts[1] :]
        return [first, metrics.elidedText(rest, Qt.TextElideMode.ElideRight, self.width())]
