"""The slider that replays what the previews looked like at earlier steps."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QWheelEvent
from PySide6.QtWidgets import QAbstractSlider, QSizePolicy, QWidget

from crl_viewer import theme
from crl_viewer.formatting import number
from crl_viewer.views.segments import width_of
from crl_viewer.views.training.preview_grid import LABELS

LIVE = -1
"""Stands for the newest preview, whichever that is."""

_END = 9.0


class Replay(QAbstractSlider):
    """Steps with previews as ticks on the length of the run; the handle snaps to them.

    At its right end it is live: it moves on as new previews come.
    """

    stepChosen = Signal(int)
    """The step to show, or `LIVE`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._steps: tuple[int, ...] = ()
        self._total = 1
        self._live = True
        self._at_work = False
        self.setOrientation(Qt.Orientation.Horizontal)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Replay")
        self.setRange(0, 0)
        self.valueChanged.connect(self._changed)

    # setters -----------------------------------------------------------------------------------

    def set_steps(self, steps: Sequence[int], total: int, at_work: bool) -> None:
        """Say at which steps there are previews; where the user stands does not change."""
        before = self.step()
        self._steps, self._total, self._at_work = tuple(steps), max(total, 1), at_work
        last = max(0, len(self._steps) - 1)
        if not self._live and before not in self._steps:
            self._live = True  # the run went on from before that step
        value = last if self._live else self._steps.index(before)
        blocked = self.blockSignals(True)
        self.setRange(0, last)
        self.setValue(value)
        self.blockSignals(blocked)
        self.setEnabled(bool(self._steps))
        self._describe()

    def go_live(self) -> None:
        """Follow the newest preview."""
        self._live = True
        self.setValue(self.maximum())
        self._describe()

    # what others read --------------------------------------------------------------------------

    def step(self) -> int:
        """Return the step shown, 0 where there is none."""
        return self._steps[self.value()] if self._steps else 0

    @property
    def live(self) -> bool:
        """Whether it follows the newest preview."""
        return self._live

    def words(self) -> str:
        """Say which step is shown."""
        if not self._steps:
            return ""
        end = ("live" if self._at_work else "last") if self._live else ""
        return f"step {number(self.step())}" + (f", {end}" if end else "")

    # painting ----------------------------------------------------------------------------------

    def sizeHint(self) -> QSize:
        """Return the height of track, ticks and words."""
        return QSize(400, round(40 * max(1.0, theme.text_scale())))

    def minimumSizeHint(self) -> QSize:
        """Return the height; any width will do."""
        return QSize(0, self.sizeHint().height())

    def _place(self, step: float) -> float:
        left = LABELS * max(1.0, theme.text_scale()) + _END
        return left + min(step / self._total, 1.0) * (self.width() - _END - left)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw track, ticks, handle and words."""
        p = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        left = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        right = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        painter.setFont(theme.font(11))
        painter.setPen(p.text2)
        painter.drawText(QRectF(0, 1, LABELS, 18), left, "Replay")
        start, end, x = self._place(0), self._place(self._total), self._place(self.step())
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(p.line)
        painter.drawRoundedRect(QRectF(start, 8, end - start, 4), 2, 2)
        if self._steps:
            painter.setBrush(p.accent)
            painter.drawRoundedRect(QRectF(start, 8, x - start, 4), 2, 2)
            painter.setPen(QPen(p.text3, 1))
            for tick in {round(self._place(s)) for s in self._steps}:
                painter.drawLine(QPointF(tick + 0.5, 16), QPointF(tick + 0.5, 20))
            self._paint_handle(painter, x)
        top, height = 22.0, self.height() - 22.0
        painter.setFont(theme.font(11))
        width = width_of(self.words(), 11, 400) + 2
        place = min(max(x - width / 2, start - _END), end + _END - width)
        painter.setPen(p.text3)
        if not self._steps or place > start - _END + width_of("start", 11, 400) + 12:
            painter.drawText(QRectF(start - _END, top, 60, height), left, "start")
        total = number(self._total)
        if place + width < end + _END - width_of(total, 11, 400) - 12:
            painter.drawText(QRectF(start, top, end + _END - start, height), right, total)
        painter.setPen(p.text)
        painter.drawText(QRectF(place, top, width + 2, height), left, self.words())
        painter.end()

    def _paint_handle(self, painter: QPainter, x: float) -> None:
        p = theme.current()
        if self.hasFocus():
            painter.setPen(QPen(p.accent, 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(QPointF(x, 10), 9.5, 9.5)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(p.accent)
        painter.drawEllipse(QPointF(x, 10), 7, 7)
        painter.setBrush(p.panel)
        painter.drawEllipse(QPointF(x, 10), 2.5, 2.5)

    # moving ------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Jump to the nearest tick."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._go_to(event.position().x())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag from tick to tick."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._go_to(event.position().x())

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Go by one tick."""
        self._set(self.value() + (1 if event.angleDelta().y() > 0 else -1))
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Go by one tick, by ten, to the start or live."""
        steps = {
            Qt.Key.Key_Left: -1, Qt.Key.Key_Down: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Up: 1,
            Qt.Key.Key_PageDown: -10, Qt.Key.Key_PageUp: 10,
            Qt.Key.Key_Home: -len(self._steps), Qt.Key.Key_End: len(self._steps),
        }  # fmt: skip
        step = steps.get(Qt.Key(event.key()))
        if step is None:
            super().keyPressEvent(event)
        else:
            self._set(self.value() + step)

    def _go_to(self, x: float) -> None:
        if self._steps:
            near = min(range(len(self._steps)), key=lambda i: abs(self._place(self._steps[i]) - x))
            self._set(near)

    def _set(self, value: int) -> None:
        value = min(max(value, 0), self.maximum())
        live = value == self.maximum()
        if value == self.value() and live != self._live:
            self._live = live
            self._changed()
        self.setValue(value)

    def _changed(self) -> None:
        self._live = self.value() == self.maximum()
        self._describe()
        if self._steps:
            self.stepChosen.emit(LIVE if self._live else self.step())

    def _describe(self) -> None:
        self.setAccessibleDescription(self.words())
        self.update()
