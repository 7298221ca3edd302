"""Signal at the cursor against TE, TR or TI: the network, the closed form and what was acquired."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from crl_viewer import theme
from crl_viewer.formatting import tick_text, trimmed
from crl_viewer.views.segments import ChipRow, Heading, width_of

AXES = ("TE", "TR", "TI")
LEFT, BOTTOM, LEGEND = 32.0, 18.0, 18.0

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def tidy_top(value: float) -> float:
    """Return the next round number at or above a positive one, never far above it."""
    if not math.isfinite(value) or value <= 0:
        return 1.0
    decade = 10.0 ** math.floor(math.log10(value))
    rounds = (1, 1.2, 1.6, 2, 2.5, 3, 4, 5, 6, 8, 10)
    return next(s * decade for s in rounds if s * decade >= value * 0.9999)


def tidy_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return at most `most` multiples of the smallest step of 1-2-5 that allows it."""
    decade = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (s * decade for s in (1, 2, 5, 10, 20)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [k * step for k in range(first, last + 1)]
    return []


class _Canvas(QWidget):
    """The curve itself."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.network: Curve | None = None
        self.closed: Curve | None = None
        self.marker: float | None = None
        self.acquired: list[tuple[float, float]] = []
        self.extrapolating = False
        self.top = 0.0
        self.setMinimumHeight(120)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setAccessibleName("Signal at the cursor")

    def sizeHint(self) -> QSize:
        """Return the size of the design."""
        return QSize(304, 150)

    def needed(self) -> float:
        """Return how high the axis must reach."""
        values = [y for _, y in self.acquired]
        values += [float(np.nanmax(c[1])) for c in (self.network, self.closed) if c is not None]
        found = [v for v in values if math.isfinite(v) and v > 0]
        return tidy_top(max(found) * 1.02) if found else 1.0

    @property
    def frame(self) -> QRectF:
        """The ground of the curve."""
        left = max(LEFT, self._widest() + 8.0)
        return QRectF(left, 6, self.width() - left, self.height() - 6 - BOTTOM - LEGEND)

    def _heights(self) -> list[tuple[float, str]]:
        """Return where the lines across are, and what they are called."""
        return [(v, trimmed(v, 3) if v >= 0.001 else f"{v:.1g}")
                for v in tidy_ticks(0, self.top, 6)[1:]]  # fmt: skip

    def _widest(self) -> float:
        if self.top <= 0:
            return 0.0
        measure = QFontMetricsF(theme.font(10))
        return max((measure.horizontalAdvance(word) for _, word in self._heights()), default=0.0)

    def place(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Return pixels (n, 2) of values."""
        frame, (low, high) = self.frame, self.x_range()
        across = (np.asarray(x, float) - low) / (high - low) * frame.width() + frame.left()
        up = frame.bottom() - np.asarray(y, float) / self.top * frame.height()
        return np.stack([np.atleast_1d(across), np.atleast_1d(up)], axis=1)

    def x_range(self) -> tuple[float, float]:
        """Return the ends of the x axis: those of the network's curve, with a little air."""
        if self.network is None or len(self.network[0]) < 2:
            return (0.0, 1.0)
        low, high = float(self.network[0][0]), float(self.network[0][-1])
        return (low - 0.03 * (high - low), high + 0.03 * (high - low))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw axes, curves, points, cursor and legend."""
        p = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.network is None:
            if self.marker is not None:
                return
            painter.setFont(theme.font(11))
            painter.setPen(p.text3)
            centre = int(Qt.AlignmentFlag.AlignCenter)
            painter.drawText(QRectF(self.rect()), centre, "Place the crosshair on the image")
            return
        self._paint_axes(painter)
        painter.save()
        painter.setClipRect(self.frame.adjusted(0, -5, 5, 5))
        if self.marker is not None:
            x = math.floor(self.place(self.marker, 0)[0][0]) + 0.5
            painter.setPen(QPen(p.warn if self.extrapolating else p.accent, 1))
            painter.drawLine(QPointF(x, self.frame.top()), QPointF(x, self.frame.bottom()))
        if self.closed is not None:
            self._polyline(painter, self.closed, _dashed(p.text2))
        self._polyline(painter, self.network, QPen(p.accent, 2))
        painter.setPen(QPen(p.text, 1.4))
        painter.setBrush(p.panel)
        for x, y in self.acquired:
            painter.drawEllipse(QPointF(*self.place(x, y)[0]), 3.25, 3.25)
        painter.restore()
        self._paint_legend(painter)

    def _polyline(self, painter: QPainter, curve: Curve, pen: QPen) -> None:
        path = QPainterPath()
        fresh = True
        for x, y in self.place(*curve):
            if not math.isfinite(y):
                fresh = True
                continue
            (path.moveTo if fresh else path.lineTo)(x, y)
            fresh = False
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(pen)
        painter.drawPath(path)

    def _paint_axes(self, painter: QPainter) -> None:
        p = theme.current()
        frame = self.frame
        grid = QColor(p.text)
        grid.setAlphaF(0.05)
        painter.setFont(theme.font(10))
        right = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for value, word in self._heights():
            y = self.place(0, value)[0][1]
            painter.setPen(grid)
            painter.drawLine(QPointF(frame.left(), y), QPointF(frame.right(), y))
            painter.setPen(p.text3)
            painter.drawText(QRectF(0, y - 7, frame.left() - 6, 14), right, word)
        painter.setPen(QPen(p.line, 1))
        painter.drawPolyline([frame.topLeft(), frame.bottomLeft(), frame.bottomRight()])
        painter.setPen(p.text3)
        centre = int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextDontClip)
        for value in tidy_ticks(*self.x_range()):
            x = self.place(value, 0)[0][0]
            if frame.left() <= x <= frame.right() - 8:
                box = QRectF(x - 24, frame.bottom() + 3, 48, BOTTOM - 4)
                painter.drawText(box, centre, tick_text(value))

    def _paint_legend(self, painter: QPainter) -> None:
        p = theme.current()
        x, y = self.frame.left(), self.height() - LEGEND / 2
        painter.setFont(theme.font(10))
        entries = [("network", QPen(p.accent, 2))]
        entries += [("closed form", _dashed(p.text2))] if self.closed is not None else []
        entries += [("acquired", None)] if self.acquired else []
        for word, pen in entries:
            if pen is None:
                painter.setPen(QPen(p.text, 1.4))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawEllipse(QPointF(x + 4, y), 3.25, 3.25)
                start = x + 11
            else:
                painter.setPen(pen)
                painter.drawLine(QPointF(x, y), QPointF(x + 14, y))
                start = x + 18
            painter.setPen(p.text2)
            left = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
            painter.drawText(QRectF(start, y - 8, 90, 16), left, word)
            x = start + width_of(word, 10, 400) + 16


def _dashed(colour: QColor) -> QPen:
    pen = QPen(colour, 1.25)
    pen.setDashPattern([3.0, 2.4])
    return pen


class SignalPlot(QWidget):
    """Heading with the choice of axis, and the curve.

    The y axis grows at once to the next round number and shrinks only when `rest` is called,
    so that nothing jumps while a slider moves.
    """

    axisChosen = Signal(str)
    """ "TE", "TR" or "TI"."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.axes = ChipRow(AXES, "segment", exclusive=True)
        for chip, name in zip(self.axes.buttons, AXES, strict=True):
            chip.setAccessibleName(f"Signal against {name}")
        self.axes.chosen.connect(lambda index: self.axisChosen.emit(AXES[index]))
        self.canvas = _Canvas()
        self.heading = Heading("Signal at cursor", self.axes)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.heading)
        column.addWidget(self.canvas, 1)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    @property
    def axis(self) -> str:
        """The chosen axis."""
        return AXES[self.axes.selected() or 0]

    def set_axis(self, name: str) -> None:
        """Choose an axis without announcing it."""
        self.axes.select(AXES.index(name))

    def set_curve(
        self,
        x: ArrayLike | None,
        y: ArrayLike | None,
        marker_x: float | None,
        acquired: Sequence[tuple[float, float]] = (),
        extrapolating: bool = False,
    ) -> None:
        """Draw the network's signal.

        Parameters
        ----------
        x, y
            Shapes (n,), rising ms and model units; None clears the plot until the next curve.
        marker_x
            Where the slider stands, ms; None where there is no crosshair, which the empty plot
            then asks for.
        acquired
            (ms, model units) of acquired images at the same place.
        extrapolating
            Whether the slider stands outside the trained settings.
        """
        canvas = self.canvas
        if x is None or y is None or not len(np.asarray(x)):
            canvas.network = None
        else:
            canvas.network = (np.asarray(x, float), np.asarray(y, float))
        canvas.marker, canvas.extrapolating = marker_x, extrapolating
        canvas.acquired = list(acquired)
        canvas.top = max(canvas.top, canvas.needed())
        canvas.update()

    def set_closed_form(self, x: ArrayLike | None, y: ArrayLike | None) -> None:
        """Draw the closed-form signal beside it; None takes it away."""
        known = x is not None and y is not None
        self.canvas.closed = (np.asarray(x, float), np.asarray(y, float)) if known else None
        self.canvas.top = max(self.canvas.top, self.canvas.needed())
        self.canvas.update()

    def rest(self) -> None:
        """Let the y axis shrink to what is shown, and tell screen readers."""
        self.canvas.top = self.canvas.needed()
        marker = "" if self.canvas.marker is None else f" at {trimmed(self.canvas.marker, 1)} ms"
        self.canvas.setAccessibleDescription(f"Signal against {self.axis}{marker}")
        self.canvas.update()
