"""Curves of a run as one painted widget: fast for a hundred thousand points, steady while it grows.

The axes and lines are drawn into a pixmap when they change; the cursor is laid over it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QPolygonF,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from crl_viewer import theme
from crl_viewer.formatting import DASH, number, tick_text
from crl_viewer.state.training_run import Curve, FloatArray
from crl_viewer.views.segments import width_of
from crl_viewer.views.signal_plot import tidy_ticks
from crl_viewer.views.training.ranges import grown, log_ticks, thinned

LEFT, TOP, BOTTOM, RIGHT = 40.0, 6.0, 18.0, 10.0
SHRINKING = 0.8
"""An estimate of the end that is smaller than this share of the one before moves the axis."""

LEGEND_ROW, MOST_ROWS = 16, 5
RAW_ALPHA = 0.27

_LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)

_STYLES: tuple[tuple[str, tuple[float, ...]], ...] = (
    ("accent", ()),
    ("text", (6.0, 2.5)),
    ("text2", (2.4, 2.0)),
    ("text2", (7.0, 2.2, 1.4, 2.2)),
    ("text3", (1.2, 2.0)),
    ("text3", (10.0, 3.0)),
    ("text", (1.2, 3.2)),
    ("text2", (4.0, 4.0)),
)


def pen_of(index: int, width: float = 1.6) -> QPen:
    """Return the pen of a series: each has a dash of its own beside its tone."""
    tone, dashes = _STYLES[index % len(_STYLES)]
    pen = QPen(getattr(theme.current(), tone), width if index == 0 else 0.85 * width)
    pen.setCapStyle(Qt.PenCapStyle.FlatCap)
    if dashes:
        pen.setDashPattern([d / pen.widthF() for d in dashes])
    return pen


@dataclass(frozen=True)
class Axis:
    """How the y axis of a plot behaves.

    Parameters
    ----------
    log
        Logarithmic.
    zero
        Always reaches down to 0.
    digits
        Decimals of a value that is read out; None writes three figures.
    rows
        Lines kept free for the legend, whether or not they are needed; up to `MOST_ROWS` are
        taken where there are more curves.
    """

    log: bool = False
    zero: bool = False
    digits: int | None = None
    rows: int = 1


class Plot(QWidget):
    """Curves over the whole run.

    Parameters
    ----------
    name
        For screen readers.
    axis
        Its y axis.
    x_name
        What x counts: ``"step"`` or ``"minute"``.
    """

    cursorMoved = Signal(object)
    """The x under the pointer or moved to by arrow keys; None when it left."""

    def __init__(
        self, name: str, axis: Axis, x_name: str = "step", parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._axis, self._x_name = axis, x_name
        self._rows = axis.rows
        self._curves: tuple[Curve, ...] = ()
        self._span = 1.0
        self._range: tuple[float, float] | None = None
        self._cursor: float | None = None
        self._message = ""
        self._layer: QPixmap | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self._reserve()
        self.setAccessibleName(name)
        theme.changed.connect(self._forget)

    # setters -----------------------------------------------------------------------------------

    def set_curves(
        self, curves: Sequence[Curve], span: float, *, settled: bool = False
    ) -> None:
        """Show curves. The y range only grows until `reset`.

        Parameters
        ----------
        curves
            The chief one first.
        span
            Where the x axis ends, 0 being its start.
        settled
            Whether that is known. An estimate that shrinks a little does not make the curves jump.
        """
        self.setAccessibleDescription("" if curves else self._message)
        self._curves = tuple(curves)
        rows = max(self._rows, min(MOST_ROWS, math.ceil(len(self._curves) / 2)))
        if rows != self._rows and self._axis.rows:
            self._rows = rows
            self._reserve()
        jump = settled or not SHRINKING * self._span < span < self._span
        self._span = max(span if jump else self._span, 1.0)
        self._range = grown(self._range, self._curves, log=self._axis.log, zero=self._axis.zero)
        self._forget()

    def set_message(self, text: str) -> None:
        """Say why there are no curves; it stands in their place."""
        if text != self._message:
            self._message = text
            self._forget()

    def reset(self, axis: Axis | None = None, x_name: str | None = None) -> None:
        """Forget the ranges, because another run or another quantity is shown now."""
        self._axis = axis or self._axis
        self._x_name = x_name or self._x_name
        self._rows = self._axis.rows
        self._reserve()
        self._curves, self._span, self._range, self._cursor = (), 1.0, None, None
        self._forget()

    def set_cursor(self, x: float | None) -> None:
        """Put the cursor somewhere without announcing it."""
        x = None if x is None else min(max(x, 0.0), self._span)
        if x != self._cursor:
            self._cursor = x
            self.setAccessibleDescription(self.reading())
            self.update()

    # what others read --------------------------------------------------------------------------

    @property
    def message(self) -> str:
        """What stands in the place of curves."""
        return "" if self._drawn_any else self._message

    @property
    def _drawn_any(self) -> bool:
        return any(len(curve.x) for curve in self._curves)

    @property
    def span(self) -> float:
        """Where the x axis ends."""
        return self._span

    @property
    def y_range(self) -> tuple[float, float]:
        """The ends of the y axis."""
        return self._range or ((0.1, 1.0) if self._axis.log else (0.0, 1.0))

    @property
    def cursor_x(self) -> float | None:
        """Where the cursor stands."""
        return self._cursor

    def cursor_words(self) -> str:
        """Say where the cursor stands: ``step 14 200``."""
        if self._cursor is None:
            return ""
        digits = 0 if self._x_name == "step" else 1
        return f"{self._x_name} {number(self._cursor, digits)}"

    def legend(self) -> list[str]:
        """Return the legend: each curve with its value at the cursor, else its last."""
        return [f"{c.label} {self._value(c)}" for c in self._curves]

    def reading(self) -> str:
        """Return all values as a sentence."""
        values = ", ".join(self.legend())
        words = self.cursor_words()
        return f"{words}: {values}" if words and values else values

    def _value(self, curve: Curve) -> str:
        at = self._cursor
        value = curve.at(at) if at is not None else float(curve.shown[-1]) if len(curve.x) else None
        if value is None or not math.isfinite(value):
            return DASH
        if self._axis.digits is not None:
            return number(value, self._axis.digits)
        return "0" if value == 0 else f"{value:.3g}"

    # geometry ----------------------------------------------------------------------------------

    def sizeHint(self) -> QSize:
        """Return the size of the design."""
        return QSize(360, round(140 + self._legend_height()))

    def _legend_height(self) -> float:
        return self._rows * LEGEND_ROW * max(1.0, theme.text_scale())

    def _reserve(self) -> None:
        self.setMinimumHeight(round(58 + self._legend_height()))

    @property
    def frame(self) -> QRectF:
        """The ground of the curves."""
        scale = max(1.0, theme.text_scale())
        left, bottom = LEFT * scale, BOTTOM * scale + self._legend_height()
        return QRectF(left, TOP, self.width() - left - RIGHT, self.height() - TOP - bottom)

    def across(self, x: FloatArray | float) -> FloatArray:
        """Return the pixels of x values."""
        return self.frame.left() + np.asarray(x, float) / self._span * self.frame.width()

    def up(self, y: FloatArray | float) -> FloatArray:
        """Return the pixels of y values."""
        low, high = self.y_range
        values = np.asarray(y, float)
        if self._axis.log:
            with np.errstate(divide="ignore", invalid="ignore"):
                values = np.log10(values)
            low, high = math.log10(low), math.log10(high)
        return self.frame.bottom() - (values - low) / (high - low) * self.frame.height()

    # painting ----------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._layer = None
        self.update()

    def changeEvent(self, event: QEvent) -> None:
        """Measure again when the font changes."""
        if event.type() == QEvent.Type.FontChange:
            self._forget()
        super().changeEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the lines from their layer, then cursor, legend and focus."""
        painter = QPainter(self)
        ratio = self.devicePixelRatioF()
        if self._layer is None or self._layer.size() != self.size() * ratio:
            self._layer = self._drawn(ratio)
        painter.drawPixmap(0, 0, self._layer)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._cursor is not None:
            x = math.floor(float(self.across(self._cursor))) + 0.5
            painter.setPen(QPen(theme.current().text2, 1))
            painter.drawLine(QPointF(x, self.frame.top()), QPointF(x, self.frame.bottom()))
        self._paint_legend(painter)
        if self.message:
            painter.setFont(theme.font(11))
            painter.setPen(theme.current().text2)
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.frame.adjusted(8, 8, -8, -8), int(flags), self.message)
        if self.hasFocus():
            painter.setPen(QPen(theme.current().accent, 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        painter.end()

    def _drawn(self, ratio: float) -> QPixmap:
        layer = QPixmap(self.size() * ratio)
        layer.setDevicePixelRatio(ratio)
        layer.fill(Qt.GlobalColor.transparent)
        painter = QPainter(layer)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_axes(painter)
        painter.setClipRect(self.frame.adjusted(0, -2, 2, 1))
        for index in reversed(range(len(self._curves))):
            if self._curves[index].smooth is not None:
                self._paint_raw(painter, self._curves[index], index)
        for index in reversed(range(len(self._curves))):
            curve = self._curves[index]
            self._paint_line(painter, curve.x, curve.shown, pen_of(index))
        painter.end()
        return layer

    def _paint_raw(self, painter: QPainter, curve: Curve, index: int) -> None:
        pen = pen_of(index)
        faint = QColor(pen.color())
        faint.setAlphaF(RAW_ALPHA)
        self._paint_line(painter, curve.x, curve.y, QPen(faint, 1))

    def _paint_line(self, painter: QPainter, x: FloatArray, y: FloatArray, pen: QPen) -> None:
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        across, up = thinned(self.across(x), self.up(y))
        points = [QPointF(a, b) for a, b in zip(across.tolist(), up.tolist(), strict=True)]
        if len(points) == 1:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(pen.color())
            painter.drawEllipse(points[0], 2, 2)
        elif points:
            painter.drawPolyline(QPolygonF(points))

    def _paint_axes(self, painter: QPainter) -> None:
        p, frame = theme.current(), self.frame
        painter.setFont(theme.font(10))
        painter.setPen(QPen(p.line, 1))
        corner = QPointF(round(frame.left()) - 0.5, round(frame.bottom()) + 0.5)
        painter.drawPolyline(
            [QPointF(corner.x(), frame.top()), corner, QPointF(frame.right(), corner.y())]
        )
        if not self._drawn_any:
            return  # numbers without curves would say that something is 0 to 1
        painter.setPen(p.text3)
        right = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        low, high = self.y_range
        most = max(3, min(5, int(frame.height() // 26)))
        ticks = log_ticks(low, high, most) if self._axis.log else tidy_ticks(low, high, most)
        for value in ticks:
            y = float(self.up(value))
            text = f"{value:g}" if value < 1 else tick_text(value)
            painter.drawText(QRectF(0, y - 8, frame.left() - 7, 16), right, text)
        centre = int(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
        for value in tidy_ticks(0, self._span, 5)[1:]:
            x = float(self.across(value))
            text = tick_text(value)
            half = width_of(text, 10, 400) / 2 + 1
            x = min(x, self.width() - half)
            box = QRectF(x - half, frame.bottom() + 4, 2 * half, 16 * max(1, theme.text_scale()))
            painter.drawText(box, centre | int(Qt.TextFlag.TextDontClip), text)

    def _paint_legend(self, painter: QPainter) -> None:
        if not self._rows or not self._curves:
            return
        many = len(self._curves)
        places = 2 * self._rows if many > 1 else 1
        row = self._legend_height() / self._rows
        start = self.frame.left() / 2
        width = (self.width() - start) / (2 if many > 1 else 1)
        painter.setFont(theme.font(10))
        for index in range(min(many, places)):
            box = QRectF(
                start + (index % 2) * width,
                self.height() - self._legend_height() + (index // 2) * row,
                width - 8,
                row,
            )
            more = many - places
            if more > 0 and index == places - 1:
                painter.setPen(theme.current().text2)
                painter.drawText(box.adjusted(20, 0, 0, 0), _LEFT, f"and {more + 1} more")
            else:
                self._paint_entry(painter, box, index)

    def _paint_entry(self, painter: QPainter, box: QRectF, index: int) -> None:
        """Draw a piece of the line, its label and its value; only the label is shortened."""
        curve, middle = self._curves[index], box.center().y()
        painter.setPen(pen_of(index))
        painter.drawLine(QPointF(box.left(), middle), QPointF(box.left() + 16, middle))
        painter.setPen(theme.current().text2)
        metrics, value = painter.fontMetrics(), self._value(curve)
        room = round(box.width() - 26 - metrics.horizontalAdvance(value))
        label = metrics.elidedText(curve.label, Qt.TextElideMode.ElideMiddle, room)
        painter.drawText(box.adjusted(20, 0, 8, 0), _LEFT, f"{label} {value}")

    # the cursor --------------------------------------------------------------------------------

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Let the cursor follow the pointer."""
        x, frame = event.position().x(), self.frame
        inside = frame.left() - 2 <= x <= frame.right() + 2 and frame.width() > 0
        share = (x - frame.left()) / max(frame.width(), 1.0)
        self._move(self._span * share if inside else None)

    def leaveEvent(self, event: QEvent) -> None:
        """Take the cursor away, unless the keys hold it."""
        if not self.hasFocus():
            self._move(None)

    def focusOutEvent(self, event: object) -> None:
        """Take the cursor away."""
        self._move(None)
        super().focusOutEvent(event)  # type: ignore[arg-type]

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move the cursor: arrows by a hundredth, with Shift by a tenth, Home and End."""
        fast = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        step = self._span * (0.1 if fast else 0.01)
        last = max((float(c.x[-1]) for c in self._curves if len(c.x)), default=0.0)
        at = last if self._cursor is None else self._cursor
        moves: dict[int, Callable[[], float | None]] = {
            Qt.Key.Key_Left: lambda: at - step,
            Qt.Key.Key_Right: lambda: at + step,
            Qt.Key.Key_Home: lambda: 0.0,
            Qt.Key.Key_End: lambda: last,
        }
        if event.key() == Qt.Key.Key_Escape and self._cursor is not None:
            self._move(None)
        elif event.key() in moves:
            self._move(moves[event.key()]())
        else:
            super().keyPressEvent(event)

    def _move(self, x: float | None) -> None:
        if x is None and self._cursor is None:
            return
        self.set_cursor(x)
        self.cursorMoved.emit(self._cursor)
