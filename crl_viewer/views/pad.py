"""Two parameters at once: a pad with the trained and acquired settings and where you are."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QBrush,
    QColor,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QPolygonF,
)
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from crl_core.sequence import PRESETS, SequenceParameters
from crl_core.trust import TrainingCoverage
from crl_viewer import theme
from crl_viewer.formatting import short_setting, tick_text
from crl_viewer.views import pad_field
from crl_viewer.views.pad_words import Legend, Sentence, draw_mark
from crl_viewer.views.scales import (
    NAMES,
    Scale,
    default_scale,
    obstacle,
    playable,
    rounded,
    stepped,
    tick_numbers,
)
from crl_viewer.views.segments import ChipRow, Heading, width_of
from crl_viewer.views.slider_track import MAGNET

PLANES = (("tr", "te"), ("tr", "ti"), ("te", "ti"))
LEFT, BOTTOM, EDGE = 32.0, 18.0, 8.0
TRAIL = 6
REST_MS = 250

_ARROWS = {
    Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1),
    Qt.Key.Key_Down: (1, -1), Qt.Key.Key_Up: (1, 1),
}  # fmt: skip
_STEPS = {"tr": (1, 2, 5), "te": (1, 3), "ti": (1, 3)}


class PadCanvas(QWidget):
    """The painted plane."""

    moved = Signal(SequenceParameters)
    let_go = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.names = PLANES[0]
        self.parameters = PRESETS["T2w"]
        self.acquired: list[tuple[str, SequenceParameters]] = []
        self.coverage = TrainingCoverage()
        self.known = False
        """Whether there is a model; without one nothing is extrapolated."""
        self.trail: deque[SequenceParameters] = deque(maxlen=TRAIL)
        self._from: QPointF | None = None
        self._ground: tuple[object, QImage, QPainterPath, QPolygonF] | None = None
        self._legend = Legend()
        self._key_moved = False
        self.setMinimumHeight(120)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.installEventFilter(self)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setAccessibleName("Parameter pad")
        self.setToolTip("Click or drag to move both values. Shift holds one, Alt passes ticks.")

    def sizeHint(self) -> QSize:
        """Return the size of the design."""
        return QSize(304, 180)

    # geometry ---------------------------------------------------------------------------------

    @property
    def frame(self) -> QRectF:
        """The ground without its numbers."""
        return QRectF(LEFT, 0, self.width() - LEFT, self.height() - BOTTOM)

    def scales(self) -> tuple[Scale, Scale]:
        """Return the scales along x and y, in pixels."""
        everything = [*self.coverage.points, *self.coverage.held_out, self.parameters]
        everything += [p for _, p in self.acquired]
        made = [default_scale(n, [getattr(p, n) for p in everything]) for n in self.names]
        frame = self.frame
        return (
            made[0].over(frame.left() + EDGE, frame.right() - EDGE),
            made[1].over(frame.bottom() - EDGE, frame.top() + EDGE),
        )

    def place(
        self, p: SequenceParameters, scales: tuple[Scale, Scale] | None = None
    ) -> QPointF:
        """Return where a setting lies."""
        across, up = scales or self.scales()
        first, second = self.names
        return QPointF(across.pixel(getattr(p, first)), up.pixel(getattr(p, second)))

    # pointer and keys -------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Move here."""
        if event.button() != Qt.MouseButton.LeftButton:
            event.ignore()
            return
        self._from = event.position()
        self._seek(event.position(), event.modifiers())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag both values."""
        if self._from is not None:
            self._seek(event.position(), event.modifiers())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Rest."""
        if self._from is not None and event.button() == Qt.MouseButton.LeftButton:
            self._from = None
            self.let_go.emit()

    def _seek(self, at: QPointF, modifiers: Qt.KeyboardModifier) -> None:
        if modifiers & Qt.KeyboardModifier.ShiftModifier and self._from is not None:
            gone = at - self._from
            here = self.place(self.parameters)
            level = abs(gone.x()) >= abs(gone.y())
            at = QPointF(at.x(), here.y()) if level else QPointF(here.x(), at.y())
        elif not modifiers & Qt.KeyboardModifier.AltModifier:
            snapped = self._near(at)
            if snapped is not None:
                self._go([getattr(snapped, n) for n in self.names])
                return
        wanted = []
        for name, scale, pixel in zip(self.names, self.scales(), (at.x(), at.y()), strict=True):
            value = scale.value(pixel)
            tidy = min(max(rounded(name, value), scale.low), scale.high) if value > 0 else 0.0
            wanted.append(tidy)
        self._go(wanted)

    def _near(self, at: QPointF) -> SequenceParameters | None:
        found, scales = [], self.scales()
        for k, (_, p) in enumerate(self.acquired):
            away = self.place(p, scales) - at
            found.append((max(abs(away.x()), abs(away.y())), k))
        return self.acquired[min(found)[1]][1] if found and min(found)[0] <= MAGNET else None

    def _go(self, wanted: Sequence[float]) -> None:
        """Take two values, giving way in the second where they cannot be played together."""
        p = self.parameters.at(**dict(zip(self.names, wanted, strict=True)))
        if obstacle(p) is not None:
            for name, scale in zip(reversed(self.names), reversed(self.scales()), strict=True):
                span = playable(name, p, scale)
                p = p.at(**{name: span.clamp(getattr(p, name))})
                if obstacle(p) is None:
                    break
            else:
                return
        if p != self.parameters:
            self.parameters = p
            self.update()
            self.moved.emit(p)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Claim the arrows before any shortcut of the window gets them.

        A filter and not an override of `event`: an error raised while painting below such an
        override ends the process (PySide6 6.11).
        """
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            plain = event.modifiers() & ~Qt.KeyboardModifier.ShiftModifier
            bare = plain in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
            if bare and Qt.Key(event.key()) in _ARROWS:
                event.accept()
                return True
        return False

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Step with the arrows, coarsely with Shift."""
        key = Qt.Key(event.key())
        if key not in _ARROWS:
            event.ignore()
            return
        which, n = _ARROWS[key]
        coarse = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        values = [getattr(self.parameters, name) for name in self.names]
        values[which] = stepped(self.names[which], values[which], n, coarse, self.scales()[which])
        self._key_moved = True
        self._go(values)

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        """Rest once the key is up."""
        if self._key_moved and not event.isAutoRepeat():
            self._key_moved = False
            self.let_go.emit()
        else:
            event.ignore()

    # paint ------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw ground, settings and the place of the sliders in the colours of the theme."""
        p = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = self.frame
        painter.fillRect(frame, p.window)
        self._paint_axes(painter)
        painter.setClipRect(frame)
        self._paint_ground(painter)
        self._paint_settings(painter)
        self._paint_here(painter)
        if self.hasFocus():
            painter.setPen(QPen(p.accent, 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(frame.adjusted(0.5, 0.5, -0.5, -0.5))

    def _paint_axes(self, painter: QPainter) -> None:
        p = theme.current()
        frame, (across, up) = self.frame, self.scales()
        painter.setFont(theme.font(10))
        centre = int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextDontClip)
        right = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for text, x in self._numbers(0, across):
            painter.setPen(p.line)
            painter.drawLine(QPointF(x, frame.top()), QPointF(x, frame.bottom()))
            painter.setPen(p.text3)
            x = min(x, self.width() - width_of(text, 10, 400) / 2)
            painter.drawText(QRectF(x - 20, frame.bottom() + 3, 40, 14), centre, text)
        for text, y in self._numbers(1, up):
            painter.setPen(p.line)
            painter.drawLine(QPointF(frame.left(), y), QPointF(frame.right(), y))
            painter.setPen(p.text3)
            if y > 20:
                painter.drawText(QRectF(0, y - 7, LEFT - 6, 14), right, text)
        painter.setFont(theme.font(10, 600))
        painter.setPen(p.text2)
        painter.drawText(QRectF(0, 0, LEFT - 6, 14), right, self.names[1].upper())
        painter.drawText(
            QRectF(0, frame.bottom() + 3, LEFT - 6, 14), right, self.names[0].upper()
        )

    def _numbers(self, which: int, scale: Scale) -> list[tuple[str, float]]:
        values = tick_numbers(scale, _STEPS[self.names[which]])
        ticks = [(tick_text(v), scale.pixel(v)) for v in values]
        ticks = [(t, x) for t, x in ticks if which or x > LEFT + 14]
        return [("off", scale.start), *ticks] if scale.off else ticks

    def _paint_ground(self, painter: QPainter) -> None:
        p = theme.current()
        third = next(n for n in NAMES if n not in self.names)
        across, up = self.scales()
        key = (self.names, getattr(self.parameters, third), across, up, id(self.coverage), p.name)
        if self._ground is None or self._ground[0] != key:
            self._ground = (key, *self._make_ground((across, up), p.accent))
        _, image, edge, closed = self._ground
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        cell, half = pad_field.CELL, pad_field.CELL / 2
        size = QRectF(0, 0, image.width() * cell, image.height() * cell)
        painter.drawImage(size.translated(across.start - half, up.end - half), image)
        pen = QPen(pad_field.blend(p.accent, p.window, pad_field.LINE), 1.25)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(edge)
        red = QColor(p.bad)
        red.setAlphaF(0.5)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QBrush(red, Qt.BrushStyle.BDiagPattern))
        painter.drawPolygon(closed)

    def _make_ground(
        self, scales: tuple[Scale, Scale], accent: QColor
    ) -> tuple[QImage, QPainterPath, QPolygonF]:
        field = pad_field.margins_on(self.coverage, self.names, scales, self.parameters)
        origin = np.array([scales[0].start, scales[1].end])
        ends = pad_field.outline(field) * pad_field.CELL + origin
        edge = QPainterPath()
        for start, end in ends.tolist():
            edge.moveTo(*start)
            edge.lineTo(*end)
        closed = pad_field.forbidden(self.names, scales, self.parameters)
        return pad_field.shading(field, accent), edge, closed

    def _paint_settings(self, painter: QPainter) -> None:
        now, scales = self.parameters, self.scales()
        groups = {
            "trained": list(self.coverage.points),
            "held back": list(self.coverage.held_out),
            "acquired": [p for _, p in self.acquired],
        }
        places = [self.place(now, scales)]
        for kind, settings in groups.items():
            for setting in settings:
                places.append(self.place(setting, scales))
                same = kind == "acquired" or setting.inverted == now.inverted
                draw_mark(painter, kind, places[-1], same)
        shown = [kind for kind, settings in groups.items() if settings]
        closed = self._ground[3].boundingRect() if self._ground else QRectF()
        self._legend.paint(painter, self.frame, shown, places, closed)

    def _paint_here(self, painter: QPainter) -> None:
        p = theme.current()
        inside = not self.known or self.coverage.inside(self.parameters)
        scales = self.scales()
        colour = QColor(p.accent if inside else p.warn)
        for age, setting in enumerate(reversed(self.trail)):
            faded = QColor(p.text2)
            faded.setAlphaF(0.5 * (1 - age / TRAIL))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(faded)
            painter.drawEllipse(self.place(setting, scales), 1.75, 1.75)
        at, frame = self.place(self.parameters, scales), self.frame
        thin = QColor(colour)
        thin.setAlphaF(0.55)
        painter.setPen(QPen(thin, 1))
        x, y = math.floor(at.x()) + 0.5, math.floor(at.y()) + 0.5
        painter.drawLine(QPointF(frame.left(), y), QPointF(at.x() - 6, y))
        painter.drawLine(QPointF(x, at.y() + 6), QPointF(x, frame.bottom()))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(p.window, 4.5))
        painter.drawEllipse(at, 5.75, 5.75)
        painter.setPen(QPen(colour, 2.2))
        painter.drawEllipse(at, 5.75, 5.75)


class ParameterPad(QWidget):
    """Heading with the choice of plane, the pad, and a sentence about where you are."""

    changed = Signal(float, float, float)
    """TR, TE, TI in ms, on each movement by the user."""

    released = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        texts = [f"{a.upper()} × {b.upper()}" for a, b in PLANES]
        self.planes = ChipRow(texts, "segment", exclusive=True)
        self.planes.chosen.connect(self._choose_plane)
        self.canvas = PadCanvas()
        self.sentence = Sentence()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(Heading("Parameter space", self.planes))
        column.addWidget(self.canvas, 1)
        column.addWidget(self.sentence)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.canvas.moved.connect(self._on_moved)
        self.canvas.let_go.connect(self._come_to_rest)
        self._rest = QTimer(self, singleShot=True, interval=REST_MS)
        self._rest.timeout.connect(self.mark_rest)
        self._refresh()

    def parameters(self) -> SequenceParameters:
        """Return the values as they are."""
        return self.canvas.parameters

    def set_parameters(self, parameters: SequenceParameters) -> None:
        """Move the ring without announcing it."""
        if parameters != self.canvas.parameters:
            self.canvas.parameters = parameters
            self._rest.start()
            self._refresh()

    def set_acquired(self, acquired: Sequence[tuple[str, SequenceParameters]]) -> None:
        """Mark the acquired settings."""
        self.canvas.acquired = list(acquired)
        self._refresh()

    def set_coverage(self, coverage: TrainingCoverage | None) -> None:
        """Mark what the model was trained on."""
        self.canvas.known = coverage is not None
        self.canvas.coverage = coverage or TrainingCoverage()
        self._refresh()

    def mark_rest(self) -> None:
        """Add the current place to the trail, and tell screen readers."""
        trail, here = self.canvas.trail, self.canvas.parameters
        if not trail or trail[-1] != here:
            trail.append(here)
        self.canvas.setAccessibleDescription(
            f"{short_setting(here)}. {self.sentence.text}".replace("\N{THIN SPACE}", "")
        )
        self.canvas.update()

    def _choose_plane(self, index: int) -> None:
        self.canvas.names = PLANES[index]
        self.canvas.update()

    def _on_moved(self, parameters: SequenceParameters) -> None:
        self.changed.emit(*parameters.triple)
        self._refresh()

    def _come_to_rest(self) -> None:
        self._rest.stop()
        self.mark_rest()
        self.released.emit()

    def _refresh(self) -> None:
        canvas = self.canvas
        text = canvas.coverage.sentence(canvas.parameters) if canvas.known else ""
        self.sentence.set_text(text)
        self.canvas.update()
