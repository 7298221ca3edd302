"""The line below the sliders: snap to what was acquired, scan time, and a reserved hint."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QKeyEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QSizePolicy, QWidget

from crl_viewer import theme
from crl_viewer.views.segments import HEIGHT as LINE
from crl_viewer.views.segments import RADIUS


class SnapLine(QAbstractButton):
    """Key cap G, what it snaps to, the scan time; below a reserved line for a reason."""

    HINT = 16

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._verb = "no acquired setting to snap to"
        self._label = self._apart = self._reason = self._time = self._tip = ""
        self.setEnabled(False)
        self.setFixedHeight(LINE + self.HINT)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)

    @property
    def text_shown(self) -> str:
        """The words on the line."""
        return f"{self._verb} {self._label}".strip()

    @property
    def hint_shown(self) -> str:
        """The words on the reserved line."""
        return self._reason or (f"{self._apart} from acquired" if self._apart else "")

    def set_state(self, label: str | None, apart: str, time: str, tip: str) -> None:
        """Say what can be snapped to, how far it is, how long the scan takes and why."""
        self._tip = tip
        if not self._reason:
            self.setToolTip(tip)
        at = label is not None and not apart
        self._verb = (
            "no acquired setting to snap to" if label is None
            else "at acquired" if at else "snap to acquired"
        )
        self._label, self._apart, self._time = label or "", apart if label else "", time
        self.setEnabled(label is not None)
        self.setAccessibleName(self.text_shown)
        self.setAccessibleDescription(self._apart)
        self.update()

    def set_reason(self, reason: str, full: str = "") -> None:
        """Say why a handle stopped or a number was refused, in full in the tooltip."""
        if reason != self._reason:
            self._reason = reason
            self.setToolTip(full or self._tip)
            self.update()

    def sizeHint(self) -> QSize:
        """Return both lines."""
        return QSize(300, LINE + self.HINT)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Snap with Return as with Space."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.click()
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw key cap, words and time."""
        p = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        cap = QRectF(0.5, 3.5, 17, 17)
        painter.setPen(QPen(p.accent if self.hasFocus() else p.text3, 1))
        painter.drawRoundedRect(cap, RADIUS, RADIUS)
        usable = self.isEnabled()
        painter.setPen(p.text if usable and self.underMouse() else p.text2 if usable else p.text3)
        painter.setFont(theme.font(10, 600))
        painter.drawText(cap, int(Qt.AlignmentFlag.AlignCenter), "G")
        time_width = self._paint_time(painter)
        x = 26.0
        middle = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)
        painter.setFont(theme.font(12))
        painter.drawText(QRectF(x, 0, self.width() - x, LINE), middle, self._verb)
        x += QFontMetricsF(painter.font()).horizontalAdvance(f"{self._verb} ")
        painter.setFont(theme.font(12, 500))
        painter.setPen(p.text)
        room = self.width() - x - time_width - 8
        label = QFontMetricsF(painter.font()).elidedText(
            self._label, Qt.TextElideMode.ElideMiddle, max(room, 0)
        )
        painter.drawText(QRectF(x, 0, max(room, 0), LINE), middle, label)
        painter.setFont(theme.font(11))
        painter.setPen(p.bad if self._reason else p.text2)
        metrics, hint = QFontMetricsF(painter.font()), self.hint_shown
        if metrics.horizontalAdvance(hint) > self.width():
            hint = hint.replace(" is ", " ").replace(" the ", " ")
        hint = metrics.elidedText(hint, Qt.TextElideMode.ElideRight, self.width())
        painter.drawText(QRectF(0, LINE - 1, self.width(), self.HINT), middle, hint)

    def _paint_time(self, painter: QPainter) -> float:
        pen = painter.pen()
        painter.setFont(theme.font(11))
        painter.setPen(theme.current().text3)
        right = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight)
        painter.drawText(QRectF(0, 0, self.width(), LINE), right, self._time)
        painter.setPen(pen)
        return QFontMetricsF(painter.font()).horizontalAdvance(self._time)
