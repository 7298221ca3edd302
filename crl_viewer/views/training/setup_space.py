"""The settings of the data in the space of TR, TE and TI: what is trained on, what held back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from crl_core.sequence import SequenceParameters
from crl_viewer import theme
from crl_viewer.formatting import short_setting, tick_text
from crl_viewer.state.training_setup import Sequence3
from crl_viewer.views.pad_words import draw_mark
from crl_viewer.views.scales import Scale, tick_numbers
from crl_viewer.views.segments import width_of

LEFT, BOTTOM, EDGE, LEGEND = 32.0, 20.0, 14.0, 22.0
NEAR = 14.0
"""A click this close to a mark is meant for it, pixels."""

AXES = {"tr": 0, "te": 1, "ti": 2}
_STEPS = {"tr": (1, 2, 5), "te": (1, 3), "ti": (1, 3)}


class SpacePlot(QWidget):
    """Settings as dots and diamonds, with the hull of those trained on."""

    toggled = Signal(tuple, bool)
    """A mark was clicked: TR, TE, TI in ms, and whether it is to be held back."""

    def __init__(self) -> None:
        super().__init__()
        self._settings: tuple[Sequence3, ...] = ()
        self._across, self._up = "tr", "te"
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(140)
        self.setMouseTracking(True)
        self.setAccessibleName("Settings in the parameter space")

    def sizeHint(self) -> QSize:
        """Return the size of the design."""
        return QSize(351, 258)

    def set_settings(self, settings: Sequence[Sequence3]) -> None:
        """Show settings."""
        self._settings = tuple(settings)
        held = [s.name for s in settings if s.held]
        words = f"{len(settings) - len(held)} to train on"
        self.setAccessibleDescription(f"{words}, held back: {', '.join(held) or 'none'}")
        self.update()

    def set_plane(self, index: int) -> None:
        """Show TR against TE (0) or TI (1)."""
        self._up = ("te", "ti")[index]
        self.update()

    # geometry ----------------------------------------------------------------------------------

    @property
    def frame(self) -> QRectF:
        """The ground without numbers and legend."""
        return QRectF(LEFT, 0, self.width() - LEFT, self.height() - BOTTOM - LEGEND)

    def scales(self) -> tuple[Scale, Scale]:
        """Return the scales along x and y, wide enough for the settings there are."""
        frame = self.frame
        return (
            _scale_of(self._values(self._across), False).over(
                frame.left() + EDGE, frame.right() - EDGE
            ),
            _scale_of(self._values(self._up), self._up == "ti").over(
                frame.bottom() - EDGE, frame.top() + EDGE
            ),
        )

    def place(self, setting: Sequence3, scales: tuple[Scale, Scale] | None = None) -> QPointF:
        """Return where a setting lies."""
        x, y = scales or self.scales()
        return QPointF(
            x.pixel(setting.triple[AXES[self._across]]), y.pixel(setting.triple[AXES[self._up]])
        )

    def _values(self, name: str) -> list[float]:
        return [s.triple[AXES[name]] for s in self._settings]

    # pointer -----------------------------------------------------------------------------------

    def setting_at(self, at: QPointF) -> Sequence3 | None:
        """Return the setting whose mark lies at a place."""
        scales = self.scales()
        found = [(_apart(self.place(s, scales), at), i) for i, s in enumerate(self._settings)]
        if not found or min(found)[0] > NEAR:
            return None
        return self._settings[min(found)[1]]

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Show what can be clicked, and tell of it."""
        found = self.setting_at(event.position())
        shape = Qt.CursorShape.ArrowCursor if found is None else Qt.CursorShape.PointingHandCursor
        self.setCursor(shape)
        self.setToolTip("" if found is None else tip_of(found))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Hold the setting under the pointer back, or train on it."""
        found = self.setting_at(event.position())
        if found is not None and event.button() == Qt.MouseButton.LeftButton:
            self.toggled.emit(found.triple, not found.held)

    # paint -------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw ground, numbers, hull, marks and names."""
        p = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.frame, p.window)
        if self._settings:
            self._paint_axes(painter)
            self._paint_hull(painter)
            scales = self.scales()
            for setting in self._settings:
                kind = "held back" if setting.held else "trained"
                draw_mark(painter, kind, self.place(setting, scales), True)
            self._paint_names(painter)
        self._paint_legend(painter)
        painter.end()

    def _paint_axes(self, painter: QPainter) -> None:
        p, frame = theme.current(), self.frame
        x_scale, y_scale = self.scales()
        painter.setFont(theme.font(10))
        centre = int(Qt.AlignmentFlag.AlignCenter)
        right = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        last = LEFT - 4
        for text, x in _numbers(x_scale, self._across):
            painter.setPen(p.line)
            painter.drawLine(QPointF(x, frame.top()), QPointF(x, frame.bottom()))
            half = width_of(text, 10, 400) / 2
            x = min(x, self.width() - half)
            if x - half > last:
                painter.setPen(p.text3)
                painter.drawText(QRectF(x - 24, frame.bottom() + 4, 48, 14), centre, text)
                last = x + half + 6
        for text, y in _numbers(y_scale, self._up):
            painter.setPen(p.line)
            painter.drawLine(QPointF(frame.left(), y), QPointF(frame.right(), y))
            painter.setPen(p.text3)
            if y > frame.top() + 20:
                painter.drawText(QRectF(0, y - 7, LEFT - 6, 14), right, text)
        painter.setFont(theme.font(10, 600))
        painter.setPen(p.text2)
        painter.drawText(QRectF(0, 0, LEFT - 6, 14), right, self._up.upper())
        painter.drawText(QRectF(0, frame.bottom() + 4, LEFT - 6, 14), right, self._across.upper())

    def _paint_hull(self, painter: QPainter) -> None:
        p, scales = theme.current(), self.scales()
        places = [self.place(s, scales) for s in self._settings if not s.held]
        hull = hull_of((at.x(), at.y()) for at in places)
        fill, line = QColor(p.accent), QColor(p.accent)
        fill.setAlphaF(0.10)
        line.setAlphaF(0.6)
        painter.setPen(QPen(line, 1.25))
        painter.setBrush(fill)
        painter.drawPolygon(QPolygonF([QPointF(x, y) for x, y in hull]))

    def _paint_names(self, painter: QPainter) -> None:
        p, scales = theme.current(), self.scales()
        painter.setFont(theme.font(10, 500))
        painter.setPen(p.text2)
        places = [self.place(s, scales) for s in self._settings]
        texts = [s.name for s in self._settings]
        first = sorted(range(len(texts)), key=lambda i: not self._settings[i].held)
        veil = QColor(p.window)
        veil.setAlphaF(0.7)
        for i, box in place_names(places, texts, first, self.frame).items():
            painter.fillRect(box, veil)
            painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), texts[i])

    def _paint_legend(self, painter: QPainter) -> None:
        p = theme.current()
        painter.setFont(theme.font(10))
        y = self.height() - LEGEND / 2
        left = LEFT + 4
        align = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        for kind, word in (("trained", "train on"), ("held back", "hold back")):
            draw_mark(painter, kind, QPointF(left, y), True)
            painter.setPen(p.text2)
            painter.drawText(QRectF(left + 7, y - 8, 90, 16), align, word)
            left += width_of(word, 10, 400) + 22


def tip_of(setting: Sequence3) -> str:
    """Return what a resting pointer tells of a setting."""
    many = "1 scan" if setting.scans == 1 else f"{setting.scans} scans"
    times = short_setting(SequenceParameters(*setting.triple))
    does = "held back; click to train on it" if setting.held else "trained on; click to hold back"
    return f"{setting.name}: {times} ms, {many}\n{does}"


def _scale_of(values: Iterable[float], off: bool) -> Scale:
    """Return a logarithmic scale around values, at least a factor of three long."""
    known = [v for v in values if v > 0] or [100.0, 3000.0]
    low, high = min(known) / 1.25, max(known) * 1.25
    if high / low < 3:
        middle = (low * high) ** 0.5
        low, high = middle / 3**0.5, middle * 3**0.5
    return Scale(low, high, off=off)


def _numbers(scale: Scale, name: str) -> list[tuple[str, float]]:
    values = tick_numbers(scale, _STEPS[name])
    if len(values) < 2:
        values = tick_numbers(scale, (1, 2, 3, 5, 7))
    ticks = [(tick_text(v), scale.pixel(v)) for v in values]
    return [("off", scale.start), *ticks] if scale.off else ticks


def hull_of(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the corners of the convex hull, in order around it."""
    ordered = sorted(set(points))
    if len(ordered) < 3:
        return ordered
    return [*_chain(ordered)[:-1], *_chain(ordered[::-1])[:-1]]


def _chain(ordered: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return one side of the hull (Andrew's monotone chain)."""
    kept: list[tuple[float, float]] = []
    for x, y in ordered:
        while len(kept) >= 2:
            (ax, ay), (bx, by) = kept[-2:]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                break
            kept.pop()
        kept.append((x, y))
    return kept


def place_names(
    places: Sequence[QPointF], texts: Sequence[str], order: Iterable[int], frame: QRectF
) -> dict[int, QRectF]:
    """Return a box for each name beside its mark that covers no mark and no other name.

    Parameters
    ----------
    places, texts
        Marks and their names.
    order
        Which are placed first; a name that finds no room is left out.
    frame
        Where they must stay.
    """
    marks = [QRectF(at.x() - 5, at.y() - 5, 10, 10) for at in places]
    found: dict[int, QRectF] = {}
    for i in order:
        wide, at = width_of(texts[i], 10, 500) + 2, places[i]
        others = [mark for k, mark in enumerate(marks) if k != i]
        for x, y in _AROUND:
            left = at.x() + (7 if x > 0 else -7 - wide if x < 0 else -wide / 2)
            box = QRectF(left, at.y() - 7 + 13 * y, wide, 14)
            taken = [*others, *found.values()]
            if frame.contains(box) and not any(box.intersects(other) for other in taken):
                found[i] = box
                break
    return found


_AROUND = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -0.8), (-1, -0.8), (1, 0.8), (-1, 0.8))
"""Where a name may stand: to the right, left, above, below, and at the corners."""


def _apart(a: QPointF, b: QPointF) -> float:
    return max(abs(a.x() - b.x()), abs(a.y() - b.y()))
