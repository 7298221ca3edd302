"""What mouse and keyboard do on a pane, said in signals.

Left moves the crosshair, right drags window and level, middle or Shift+left pans, the wheel
scrolls, Ctrl+wheel zooms, Alt+left drags the contrast and Ctrl+right picks a window from a
region.
"""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPoint, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QContextMenuEvent,
    QFocusEvent,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QNativeGestureEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QApplication, QToolTip, QWidget

from crl_core.geometry import SlicePlane
from crl_viewer.views.camera import Camera

ZOOM_PER_NOTCH = 1.15
_NOTCH = 120
_ARROWS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Down: (0, 1),
}
_PAGES = {Qt.Key.Key_PageUp: 1, Qt.Key.Key_PageDown: -1}
_ZOOMS = {Qt.Key.Key_Plus: 1, Qt.Key.Key_Equal: 1, Qt.Key.Key_Minus: -1}
_CHOSEN_BY_KEY = (
    Qt.FocusReason.TabFocusReason,
    Qt.FocusReason.BacktabFocusReason,
    Qt.FocusReason.ShortcutFocusReason,
)
_CURSORS = {
    "pan": Qt.CursorShape.ClosedHandCursor,
    "window": Qt.CursorShape.SizeAllCursor,
    "contrast": Qt.CursorShape.SizeAllCursor,
}


class GestureArea(QWidget):
    """A widget that knows where its pixels lie in the slice and turns mouse and keys into signals.

    All drags are reported step by step as shares of the pane's size since the last report.
    """

    crosshairMoved = Signal(float, float)
    """Display column and row, pixel centres at whole numbers, kept inside the image."""
    windowDragged = Signal(float, float)
    """Wider to the right; the second part is added to the level, so upwards is negative and the
    image brighter."""
    contrastDragged = Signal(float, float)
    """Rightwards and upwards are positive."""
    scrolled = Signal(int)
    """Slices to go: the wheel turned away from the user is positive."""
    regionDragged = Signal(QRectF)
    """A rectangle was drawn with Ctrl+right, in pixels of the pane."""
    maximiseRequested = Signal()
    windowReset = Signal()
    activated = Signal()
    menuRequested = Signal()
    """The title was pressed, or Alt+Down."""
    contextRequested = Signal(QPoint)
    """Where to open the context menu, in global coordinates."""

    def __init__(self, camera: Camera, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.camera = camera
        self.plane: SlicePlane | None = None
        self.view_shift = 0.0
        self.view_scale = 1.0
        self._crosshair: tuple[float, float] | None = None
        self._menu_area = QRectF()
        self._gesture = ""
        self._pressed = QPointF()
        self._last = QPointF()
        self._wheel = 0
        self._rubber: QRectF | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.installEventFilter(self)

    @property
    def mm_per_pixel(self) -> float:
        """Millimetres per screen pixel here; a small pane beside a large one shows less detail."""
        return self.camera.mm_per_pixel * self.view_scale

    # Pixels of the pane, millimetres of the slice, pixels of the image

    def to_mm(self, at: QPointF) -> QPointF:
        """Return the point of the slice under a pixel of the pane, mm."""
        return self.camera.centre + (at - self._middle()) * self.mm_per_pixel

    def to_screen(self, mm: QPointF) -> QPointF:
        """Return the pixel of the pane over a point of the slice; undoes `to_mm`."""
        return self._middle() + (mm - self.camera.centre) / self.mm_per_pixel

    def to_pixel(self, at: QPointF) -> tuple[float, float] | None:
        """Return (col, row) under a pixel of the pane, kept inside the image."""
        if self.plane is None:
            return None
        dx, dy = self.plane.spacing
        mm = self.to_mm(at)
        return self.inside(mm.x() / dx - 0.5, mm.y() / dy - 0.5)

    def pixel_to_screen(self, col: float, row: float) -> QPointF:
        """Return the pixel of the pane over the centre of a pixel of the image."""
        dx, dy = self.plane.spacing if self.plane is not None else (1.0, 1.0)
        return self.to_screen(QPointF((col + 0.5) * dx, (row + 0.5) * dy))

    def inside(self, col: float, row: float) -> tuple[float, float]:
        """Keep a position between the centres of the outermost pixels of the image."""
        rows, cols = self.plane.shape_display if self.plane is not None else (1, 1)
        return (min(max(col, 0.0), cols - 1.0), min(max(row, 0.0), rows - 1.0))

    def _middle(self) -> QPointF:
        return QPointF(self.width() / 2 + self.view_shift, self.height() / 2)

    @property
    def gesture(self) -> str:
        """The drag in progress: crosshair, pan, contrast, window, region, or empty."""
        return self._gesture

    # Mouse

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin a drag."""
        self.activated.emit()
        self._pressed = self._last = event.position()
        left = event.button() == Qt.MouseButton.LeftButton
        if left and self._menu_area.contains(event.position()):
            self.menuRequested.emit()
            return
        self._gesture = _gesture_of(event)
        self._refresh_cursor()
        if self._gesture == "crosshair":
            self._move_crosshair(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Report one step of the drag."""
        at = event.position()
        if not self._gesture:
            on_title = self._menu_area.contains(at)
            hand, cross = Qt.CursorShape.PointingHandCursor, Qt.CursorShape.CrossCursor
            self.setCursor(hand if on_title else cross)
            return
        step = at - self._last
        if self._gesture in ("window", "region") and self._resting(at):
            return
        self._last = at
        across, down = step.x() / max(self.width(), 1), step.y() / max(self.height(), 1)
        if self._gesture == "crosshair":
            self._move_crosshair(at)
        elif self._gesture == "pan":
            self.camera.pan(step.x() * self.view_scale, step.y() * self.view_scale)
        elif self._gesture == "contrast":
            self.contrastDragged.emit(across, -down)
        elif self._gesture == "window":
            self.windowDragged.emit(across, down)
        elif self._gesture == "region":
            self._rubber = QRectF(self._pressed, at).normalized()
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End the drag; a right button that has not moved asks for the context menu."""
        gesture, self._gesture = self._gesture, ""
        rubber, self._rubber = self._rubber, None
        self._refresh_cursor()
        if gesture == "region" and rubber is not None:
            self.regionDragged.emit(rubber)
        elif gesture in ("window", "region") and self._last == self._pressed:
            self.contextRequested.emit(event.globalPosition().toPoint())
        self.update()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Show this pane alone, or with Ctrl reset the window."""
        if event.button() != Qt.MouseButton.LeftButton:
            self.mousePressEvent(event)
        elif event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.windowReset.emit()
        elif not self._menu_area.contains(event.position()):
            self.maximiseRequested.emit()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll through the slices, or zoom at the pointer."""
        turned = event.angleDelta().y() or event.angleDelta().x()
        event.accept()
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            factor = ZOOM_PER_NOTCH ** (turned / _NOTCH)
            self.camera.zoom_at(factor, self.to_mm(event.position()))
            return
        if self._wheel * turned < 0:
            self._wheel = 0
        self._wheel += turned
        notches = int(self._wheel / _NOTCH)
        if notches:
            self._wheel -= notches * _NOTCH
            self.scrolled.emit(notches)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Zoom with a pinch on a touch pad, and explain what the pointer rests on.

        A filter and not an override of `event`: an error raised while painting below such an
        override ends the process (PySide6 6.11).
        """
        if (
            isinstance(event, QNativeGestureEvent)
            and event.gestureType() == Qt.NativeGestureType.ZoomNativeGesture
        ):
            self.camera.zoom_at(max(1 + event.value(), 0.5), self.to_mm(event.position()))
            return True
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            tip = self.tip_at(QPointF(event.pos()))
            if tip:
                QToolTip.showText(event.globalPos(), tip, self)
            else:
                QToolTip.hideText()
                event.ignore()
            return True
        return False

    def tip_at(self, at: QPointF) -> str:
        """Return what explains the place under the pointer; nothing here."""
        return ""

    # Keys

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move the crosshair, scroll, zoom or open the menu from the keyboard."""
        key = Qt.Key(event.key())
        here = self._crosshair
        if key in _ARROWS and event.modifiers() & Qt.KeyboardModifier.AltModifier:
            if key == Qt.Key.Key_Down:
                self.menuRequested.emit()
        elif key in _ARROWS and here is not None:
            stride = 10 if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1
            dx, dy = _ARROWS[key]
            self.crosshairMoved.emit(*self.inside(here[0] + dx * stride, here[1] + dy * stride))
        elif key in _PAGES:
            self.scrolled.emit(_PAGES[key])
        elif key in _ZOOMS:
            self.camera.zoom_at(ZOOM_PER_NOTCH ** _ZOOMS[key], self.camera.centre)
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Make the pane that keys have chosen the active one; the mouse says so by itself."""
        super().focusInEvent(event)
        if event.reason() in _CHOSEN_BY_KEY:
            self.activated.emit()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Ask for the context menu from the keyboard; the mouse asks on release."""
        event.accept()
        if event.reason() == QContextMenuEvent.Reason.Keyboard:
            self.contextRequested.emit(self.mapToGlobal(self.rect().center()))

    def _move_crosshair(self, at: QPointF) -> None:
        position = self.to_pixel(at)
        if position is not None:
            self.crosshairMoved.emit(*position)

    def _resting(self, at: QPointF) -> bool:
        """Return whether a drag with the right button has not really begun."""
        started = self._last != self._pressed
        apart = (at - self._pressed).manhattanLength()
        return not started and apart < QApplication.startDragDistance() / 2

    def _refresh_cursor(self) -> None:
        self.setCursor(_CURSORS.get(self._gesture, Qt.CursorShape.CrossCursor))


def _gesture_of(event: QMouseEvent) -> str:
    keys = event.modifiers()
    button = event.button()
    if button == Qt.MouseButton.MiddleButton:
        return "pan"
    if button == Qt.MouseButton.RightButton:
        return "region" if keys & Qt.KeyboardModifier.ControlModifier else "window"
    if button != Qt.MouseButton.LeftButton:
        return ""
    if keys & Qt.KeyboardModifier.ShiftModifier:
        return "pan"
    return "contrast" if keys & Qt.KeyboardModifier.AltModifier else "crosshair"
