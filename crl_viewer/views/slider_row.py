"""One slider with its name and its number field."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import (
    QFocusEvent,
    QKeyEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QLineEdit, QSizePolicy, QToolTip, QWidget

from crl_viewer import theme
from crl_viewer.formatting import field_text
from crl_viewer.views.segments import HEIGHT as LINE
from crl_viewer.views.segments import RADIUS
from crl_viewer.views.slider_track import HEIGHT, MARGIN, ParameterTrack

LABEL = 32
"""From the left edge to the start of the track."""

FIELD = 80
FLASH_MS = 900

_TITLES = {"tr": "Repetition time", "te": "Echo time", "ti": "Inversion time"}


class ValueField(QLineEdit):
    """The number beside a track.

    The ground is painted by the row: a style sheet with a border or padding shrinks the text,
    and under an application style sheet a palette of its own is ignored.
    """

    entered = Signal(str)
    stepped = Signal(int, bool)
    left = Signal()
    """Editing has ended without a new value, or with one."""

    def __init__(self, name: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._written = ""
        self.setFrame(False)
        self.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.setTextMargins(6, 0, 5, 0)
        self.setStyleSheet("background: transparent;")
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setAccessibleName(f"{name.upper()} in milliseconds")
        self.returnPressed.connect(self._finish)

    def write(self, text: str) -> None:
        """Show a value, unless one is being typed."""
        self._written = text
        if not (self.hasFocus() and self.isModified()):
            self.setText(text)

    def begin(self) -> None:
        """Start typing, with the whole value selected."""
        self.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.selectAll()

    def _finish(self) -> None:
        if self.isModified():
            self.setModified(False)
            self.entered.emit(self.text())
        self.setText(self._written)
        self.left.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Step with Up and Down; Escape brings the old value back."""
        step = {Qt.Key.Key_Up: 1, Qt.Key.Key_Down: -1}.get(Qt.Key(event.key()))
        if step is not None:
            self.setModified(False)
            coarse = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            self.stepped.emit(step, coarse)
        elif event.key() == Qt.Key.Key_Escape:
            self.setModified(False)
            self.setText(self._written)
            self.left.emit()
        else:
            super().keyPressEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Step by the wheel."""
        delta = event.angleDelta().y()
        if delta:
            coarse = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            self.stepped.emit(1 if delta > 0 else -1, coarse)
        event.accept()

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Select the value, so that typing replaces it."""
        super().focusInEvent(event)
        self.setModified(False)
        QTimer.singleShot(0, self.selectAll)
        self.parentWidget().update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Take what was typed."""
        super().focusOutEvent(event)
        if self.isModified():
            self.setModified(False)
            self.entered.emit(self.text())
        self.setText(self._written)
        self.parentWidget().update()


class ParameterRow(QWidget):
    """Name, track and number field of one parameter, 48 px high."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name = name
        self.refused = ""
        self.track = ParameterTrack(name, self)
        self.field = ValueField(name, self)
        self.field.setFont(theme.font(12, 500))
        self.setToolTip(_TITLES[name])
        self.track.setToolTip(
            f"{_TITLES[name]}. Arrows step, Shift+arrows step tenfold, Return types. "
            "Ticks below are acquired and attract; hold Alt to pass between."
        )
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._flash = QTimer(self, singleShot=True, interval=FLASH_MS)
        self._flash.timeout.connect(self._end_flash)
        self.track.typed.connect(self.field.begin)
        self.field.left.connect(lambda: self.track.setFocus(Qt.FocusReason.OtherFocusReason))
        self.track.installEventFilter(self)

    @property
    def focused(self) -> bool:
        """Whether the track or the field has the keyboard."""
        return self.track.hasFocus() or self.field.hasFocus()

    def refuse(self, reason: str) -> None:
        """Flash the border of the field and say why."""
        self.refused = reason
        self.field.setToolTip(reason)
        self._flash.start()
        self.update()
        if self.isVisible():
            at = self.field.mapToGlobal(self.field.rect().bottomLeft())
            QToolTip.showText(at, reason, self.field)

    def _end_flash(self) -> None:
        self.refused = ""
        self.field.setToolTip("")
        self.update()

    def show_value(self, value: float) -> None:
        """Write the value into track and field."""
        self.track.show_value(value)
        self.field.write(field_text(self.name, value))

    def eventFilter(self, watched: QWidget, event: QEvent) -> bool:
        """Repaint the border of the field with the focus of the track."""
        if event.type() in (QEvent.Type.FocusIn, QEvent.Type.FocusOut):
            self.update()
        return False

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Place track and field."""
        left = LABEL - MARGIN
        right = self.width() - FIELD - 16 + MARGIN
        self.track.setGeometry(left, 0, max(right - left, 80), HEIGHT)
        self.field.setGeometry(self.width() - FIELD, 0, FIELD, LINE)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the name and the ground of the field."""
        p = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(theme.font(12, 600))
        painter.setPen(p.text)
        middle = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)
        painter.drawText(QRectF(0, 0, LABEL, LINE), middle, self.name.upper())
        box = QRectF(self.field.geometry())
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(p.control)
        painter.drawRoundedRect(box, RADIUS, RADIUS)
        border = p.bad if self.refused else self.track.handle_colour if self.focused else None
        if border is not None:
            painter.setPen(QPen(border, 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), RADIUS, RADIUS)
