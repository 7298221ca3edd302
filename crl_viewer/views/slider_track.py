"""The track of one parameter: superqt's slider with a logarithmic scale and a paint of its own.

What superqt gives is the model: a value in floating point with its signals, range and steps.
The value of the slider is its place on the track in pixels of an ideal track, so that equal
movements mean equal ratios; `milliseconds` is the time that place stands for.

The track shows the cut of the trust field at the other two values: solid where trusted, fading
into a hatch outside, red where a scanner could not play the sequence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QKeyEvent,
    QLinearGradient,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QSlider, QWidget
from superqt import QDoubleSlider

from crl_viewer import theme
from crl_viewer.formatting import spoken, tick_text
from crl_viewer.views.scales import (
    Scale,
    Span,
    default_scale,
    rounded,
    stepped,
    tick_numbers,
)
from crl_viewer.views.segments import width_of

HEIGHT = 48
MARGIN = 12
"""Room at both ends for the handle and its ring."""

MIDDLE = 12.0
HANDLE = 8.0
RING = 11.0
MAGNET = 5.0
"""A dragged handle this close to an acquired setting, in pixels, jumps onto it."""

SAMPLES = 65
"""Places along the track at which trust is asked for."""

_STEP_KEYS = {
    Qt.Key.Key_Right: 1,
    Qt.Key.Key_Up: 1,
    Qt.Key.Key_Left: -1,
    Qt.Key.Key_Down: -1,
}
_STEPS = {"tr": (1, 2, 5), "te": (1, 3), "ti": ()}


@dataclass(frozen=True)
class Marks:
    """What a track shows besides its handle; all values in ms.

    Parameters
    ----------
    trained
        Value and whether the setting agrees with the current one in having an inversion.
    acquired
        Values that the handle snaps to.
    trust
        Trust along the track, shape (`SAMPLES`,), from the low to the high end.
    trust_off
        Trust at the stop for "off".
    span
        What can be played.
    carets
        Name and inversion time of nulled tissues.
    """

    trained: Sequence[tuple[float, bool]] = ()
    acquired: Sequence[float] = ()
    trust: NDArray[np.float64] = field(default_factory=lambda: np.zeros(SAMPLES))
    trust_off: float = 0.0
    span: Span = field(default_factory=lambda: Span(0.0, math.inf, True))
    carets: Sequence[tuple[str, float]] = ()


class ParameterTrack(QDoubleSlider):
    """One slider.

    Parameters
    ----------
    name
        "tr", "te" or "ti".
    """

    asked = Signal(float)
    """The user wants this value, in ms; it may be one that cannot be played."""

    settled = Signal()
    """A key that moved the handle has been let go, or the wheel has turned a step."""

    typed = Signal()
    """Return was pressed: the number field should take over."""

    _IDEAL = 1000.0

    event = QSlider.event  # type: ignore[assignment]
    """Passes by the override of superqt, which only lights up parts that are not drawn here: an
    error raised while painting below such an override ends the process (PySide6 6.11)."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.name = name
        self._scale = default_scale(name)
        self._marks = Marks()
        self._amber = self._grey = False
        self._grip = 0.0
        self._turned = 0
        self._key_moved = False
        self._milliseconds = 0.0
        self.setRange(0.0, self._IDEAL)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.installEventFilter(self)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(name.upper())
        self.setMouseTracking(True)

    # value and marks --------------------------------------------------------------------------

    @property
    def milliseconds(self) -> float:
        """The value, ms; 0 is "off"."""
        return self._milliseconds

    @property
    def scale(self) -> Scale:
        """The scale over the pixels of the widget as it is now."""
        return self._scale.over(MARGIN, max(self.width() - MARGIN, MARGIN + 40))

    @property
    def marks(self) -> Marks:
        """What is shown besides the handle."""
        return self._marks

    def set_scale(self, scale: Scale) -> None:
        """Change what the track spans; the value stays."""
        self._scale = scale
        self.show_value(self._milliseconds)

    def show_value(self, milliseconds: float) -> None:
        """Move the handle without asking for anything."""
        self._milliseconds = milliseconds
        place = self._scale.over(0.0, self._IDEAL).pixel(milliseconds)
        self.setValue(place)
        self.update()

    def set_marks(self, marks: Marks) -> None:
        """Change what is shown besides the handle."""
        self._marks = marks
        self.update()

    def set_amber(self, amber: bool) -> None:
        """Say that moving this parameter leads back to the trained settings."""
        self._amber = amber
        self.update()

    def set_grey(self, grey: bool) -> None:
        """Draw the handle grey, because what is shown was acquired and not synthesised."""
        self._grey = grey
        self.update()

    @property
    def handle_colour(self) -> QColor:
        """The colour of the handle as it would be painted now."""
        p = theme.current()
        return p.text3 if self._grey else p.warn if self._amber else p.accent

    def handle_position(self) -> QPointF:
        """Return the centre of the handle in the widget."""
        return QPointF(self.scale.pixel(self._milliseconds), MIDDLE)

    def describe(self, remark: str) -> None:
        """Set what a screen reader says about the value."""
        self.setAccessibleDescription(spoken(self.name, self._milliseconds, remark))

    def sizeHint(self) -> QSize:
        """Return the height of a slider block."""
        return QSize(200, HEIGHT)

    def minimumSizeHint(self) -> QSize:
        """Return the least width a track is usable at."""
        return QSize(80, HEIGHT)

    # pointer and keys -------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take hold of the handle, or bring it here."""
        if event.button() != Qt.MouseButton.LeftButton:
            event.ignore()
            return
        event.accept()
        x, handle = event.position().x(), self.handle_position().x()
        on_handle = abs(x - handle) <= HANDLE + 2 and event.position().y() <= MIDDLE + RING
        self._grip = x - handle if on_handle else 0.0
        self.setSliderDown(True)
        if not on_handle:
            self._seek(x, event.modifiers())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag the handle."""
        if not self.isSliderDown():
            event.ignore()
            return
        event.accept()
        self._seek(event.position().x() - self._grip, event.modifiers())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Let go of the handle."""
        if not self.isSliderDown() or event.button() != Qt.MouseButton.LeftButton:
            event.ignore()
            return
        event.accept()
        self.setSliderDown(False)

    def _seek(self, x: float, modifiers: Qt.KeyboardModifier) -> None:
        scale = self.scale
        if not modifiers & Qt.KeyboardModifier.AltModifier:
            ticks = [(abs(scale.pixel(v) - x), v) for v in self._marks.acquired]
            if ticks and min(ticks)[0] <= MAGNET:
                self.asked.emit(min(ticks)[1])
                return
        value = scale.value(x)
        tidy = rounded(self.name, value)
        self.asked.emit(min(max(tidy, scale.low), scale.high) if value > 0 else 0.0)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Step by the wheel, coarsely with Shift."""
        delta = event.angleDelta().y() or event.angleDelta().x()
        if delta * self._turned < 0:
            self._turned = 0
        self._turned += delta
        steps = int(self._turned / 120)
        self._turned -= steps * 120
        event.accept()
        if steps:
            self.step(steps, bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier))
            self.settled.emit()

    def step(self, n: int, coarse: bool) -> None:
        """Ask for the value `n` steps on."""
        self.asked.emit(stepped(self.name, self._milliseconds, n, coarse, self._scale))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Claim the keys of a slider before any shortcut of the window gets them.

        A filter and not an override of `event`: an error raised while painting below such an
        override ends the process (PySide6 6.11).
        """
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            plain = event.modifiers() & ~Qt.KeyboardModifier.ShiftModifier
            bare = plain in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
            if bare and Qt.Key(event.key()) in (*_STEP_KEYS, Qt.Key.Key_Home, Qt.Key.Key_End):
                event.accept()
                return True
        return False

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Step with the arrows, coarsely with Shift; Return opens the field."""
        key = Qt.Key(event.key())
        coarse = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        n = _STEP_KEYS.get(key)
        plain = not event.modifiers() & (
            Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier
        )
        if n is not None and plain:
            self._key_moved = True
            self.step(n, coarse)
        elif key in (Qt.Key.Key_Home, Qt.Key.Key_End) and plain:
            self._key_moved = True
            bottom = 0.0 if self._scale.off else self._scale.low
            self.asked.emit(bottom if key == Qt.Key.Key_Home else self._scale.high)
        elif plain and key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_F2):
            self.typed.emit()
        else:
            event.ignore()

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        """Say that the value rests once the key is up."""
        if self._key_moved and not event.isAutoRepeat():
            self._key_moved = False
            self.settled.emit()
        else:
            event.ignore()

    # paint ------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw track, marks and handle in the colours of the theme."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        scale = self.scale
        self._paint_track(painter, scale)
        self._paint_acquired(painter, scale)
        if self.name == "ti":
            self._paint_carets(painter, scale)
        else:
            self._paint_numbers(painter, scale)
        self._paint_handle(painter)
        self._paint_trained(painter, scale)

    def _paint_track(self, painter: QPainter, scale: Scale) -> None:
        p = theme.current()
        first, last = scale.track_start, scale.end
        groove = QRectF(first, MIDDLE - 2, last - first, 4)
        round_ends = QPainterPath()
        round_ends.addRoundedRect(groove, 2, 2)
        painter.save()
        painter.setClipPath(round_ends)
        span = self._marks.span
        low = last if span.empty else scale.pixel(span.low) if span.low > scale.low else first
        high = last if span.empty else scale.pixel(span.high) if span.high < scale.high else last
        painter.fillRect(groove, p.panel)
        _hatch(painter, groove, p.text3)
        ramp = QLinearGradient(first, 0, last, 0)
        shade = QColor(p.accent)
        for k, trust in enumerate(self._marks.trust):
            shade.setAlphaF(float(trust))
            ramp.setColorAt(k / (len(self._marks.trust) - 1), shade)
        painter.fillRect(groove, ramp)
        for start, end in ((first, low), (high, last)):
            if end - start > 0.3:
                painter.fillRect(QRectF(start, MIDDLE - 2, end - start, 4), p.panel)
                painter.fillRect(QRectF(start, MIDDLE - 1, end - start, 2), p.bad)
        painter.restore()
        if scale.off:
            self._paint_stop(painter, scale)

    def _paint_stop(self, painter: QPainter, scale: Scale) -> None:
        p = theme.current()
        trusted = self._marks.trust_off >= 1.0
        painter.setPen(QPen(p.accent if trusted else p.text3, 1.5))
        painter.setBrush(p.accent if trusted else Qt.BrushStyle.NoBrush)
        painter.drawEllipse(QPointF(scale.start, MIDDLE), 2.5, 2.5)

    def _paint_trained(self, painter: QPainter, scale: Scale) -> None:
        p = theme.current()
        painter.setPen(Qt.PenStyle.NoPen)
        for same in (False, True):
            dot = QColor(p.text2)
            dot.setAlphaF(1.0 if same else 0.45)
            painter.setBrush(dot)
            for value, agrees in self._marks.trained:
                if agrees == same and (value > 0 or scale.off):
                    painter.drawEllipse(QPointF(scale.pixel(value), 2.0), 1.75, 1.75)

    def _paint_acquired(self, painter: QPainter, scale: Scale) -> None:
        p = theme.current()
        painter.setPen(QPen(p.text, 1.25))
        end = MIDDLE + (14 if self.name == "ti" else 16)
        for value in self._marks.acquired:
            x = scale.pixel(value)
            painter.drawLine(QPointF(x, MIDDLE + 9.5), QPointF(x, end))

    def _paint_numbers(self, painter: QPainter, scale: Scale) -> None:
        painter.setPen(theme.current().text3)
        painter.setFont(theme.font(10))
        free = -1e9
        for value in tick_numbers(scale, _STEPS[self.name]):
            text, x = tick_text(value), scale.pixel(value)
            half = width_of(text, 10, 400) / 2
            if x - half < free + 4:
                continue
            _centred(painter, text, x, self.width())
            free = x + half

    def _paint_carets(self, painter: QPainter, scale: Scale) -> None:
        p = theme.current()
        shown = [(n, scale.pixel(v)) for n, v in self._marks.carets if scale.low <= v <= scale.high]
        painter.setPen(QPen(p.text2, 1.1))
        for _, x in shown:
            y = MIDDLE + (16 if self._marks.acquired else 11)
            painter.drawPolyline([QPointF(x - 4, y + 4), QPointF(x, y), QPointF(x + 4, y + 4)])
        painter.setPen(p.text3)
        painter.setFont(theme.font(10))
        widths = [width_of(name, 10, 400) for name, _ in shown]
        places = spread([x for _, x in shown], widths, self.width())
        for (name, _), x in zip(shown, places, strict=True):
            _centred(painter, name, x, self.width(), MIDDLE + 21)

    def _paint_handle(self, painter: QPainter) -> None:
        p = theme.current()
        at, colour = self.handle_position(), self.handle_colour
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(p.panel)
        painter.drawEllipse(at, HANDLE + 2, HANDLE + 2)
        painter.setBrush(colour)
        painter.drawEllipse(at, HANDLE - 0.5, HANDLE - 0.5)
        painter.setBrush(p.panel)
        painter.drawEllipse(at, 2.75, 2.75)
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(colour, 1.5))
            painter.drawEllipse(at, RING - 0.75, RING - 0.75)


def _hatch(painter: QPainter, box: QRectF, colour: QColor) -> None:
    painter.setPen(QPen(colour, 1.0))
    x = box.left() - box.height()
    while x < box.right() + box.height():
        painter.drawLine(QPointF(x, box.bottom() + 1), QPointF(x + 6, box.top() - 1))
        x += 4.0


def _centred(
    painter: QPainter, text: str, x: float, width: float, top: float = MIDDLE + 18
) -> None:
    half = painter.fontMetrics().horizontalAdvance(text) / 2 + 1
    x = min(max(x, half), width - half)
    centre = int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextDontClip)
    painter.drawText(QRectF(x - 30, top, 60, 14), centre, text)


def spread(centres: Sequence[float], widths: Sequence[float], right: float) -> list[float]:
    """Move labels apart as little as their order allows, and keep them left of `right`.

    Parameters
    ----------
    centres, widths
        Where the labels belong, in rising order, and how wide they are, pixels.
    right
        The last pixel they may reach.

    Returns
    -------
    New centres.
    """
    gap = 5.0
    places = list(centres)
    for _ in range(12):
        for k in range(len(places) - 1):
            lack = (widths[k] + widths[k + 1]) / 2 + gap - (places[k + 1] - places[k])
            if lack > 0:
                places[k] -= lack / 2
                places[k + 1] += lack / 2
    limit = right
    for k in reversed(range(len(places))):
        places[k] = min(places[k], limit - widths[k] / 2)
        limit = places[k] - widths[k] / 2 - gap
    return places
