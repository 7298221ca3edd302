"""One view shared by all panes: which point is in the middle and how large things are."""

from __future__ import annotations

from PySide6.QtCore import QObject, QPointF, QRectF, QSize, Signal

MIN_MM_PER_PIXEL = 0.005
MAX_MM_PER_PIXEL = 10.0


class Camera(QObject):
    """Centre and scale of the view, in millimetres of the displayed slice.

    Millimetres run from the top left edge of the slice, x to the right and y down. The scale is
    kept in millimetres per screen pixel, so that a pane that grows shows more, not larger.
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._centre = QPointF(0.0, 0.0)
        self._mm_per_pixel = 1.0
        self._fitted = False

    @property
    def centre(self) -> QPointF:
        """The point in the middle of each pane, mm."""
        return QPointF(self._centre)

    @property
    def mm_per_pixel(self) -> float:
        """Millimetres per (logical) screen pixel."""
        return self._mm_per_pixel

    @property
    def fitted(self) -> bool:
        """Whether the view is as `fit` left it, neither zoomed nor panned since."""
        return self._fitted

    def set_view(self, centre: QPointF, mm_per_pixel: float) -> None:
        """Look at a point at a scale; the scale is kept within sensible bounds."""
        self._fitted = False
        self._set(centre, mm_per_pixel)

    def fit(self, rect_mm: QRectF, size: QSize, margin: float = 0.08, sides: int = 0) -> None:
        """Show a rectangle as large as a pane allows.

        Parameters
        ----------
        rect_mm
            What to show, mm.
        size
            The pane, pixels.
        margin
            Air on each side of the rectangle, as a share of its width and height.
        sides
            Pixels kept free at the left and at the right, for the letters.
        """
        self._set(rect_mm.center(), fitting_scale(rect_mm, size, margin, sides))
        self._fitted = True

    def zoom_at(self, factor: float, fixed: QPointF) -> None:
        """Magnify by a factor while the point `fixed` (mm) stays where it is on the screen."""
        scale = _bounded(self._mm_per_pixel / factor)
        share = scale / self._mm_per_pixel
        self.set_view(fixed + (self._centre - fixed) * share, scale)

    def pan(self, dx_pixels: float, dy_pixels: float) -> None:
        """Drag the picture along by some screen pixels."""
        moved = QPointF(dx_pixels, dy_pixels) * self._mm_per_pixel
        self.set_view(self._centre - moved, self._mm_per_pixel)

    def _set(self, centre: QPointF, mm_per_pixel: float) -> None:
        mm_per_pixel = _bounded(mm_per_pixel)
        if centre == self._centre and mm_per_pixel == self._mm_per_pixel:
            return
        self._centre, self._mm_per_pixel = QPointF(centre), mm_per_pixel
        self.changed.emit()


def fitting_scale(rect_mm: QRectF, size: QSize, margin: float = 0.08, sides: int = 0) -> float:
    """Return the mm per pixel at which a rectangle and its margin just fill a pane."""
    width = max(size.width() - 2 * sides, size.width() / 2, 1)
    grown = 1 + 2 * margin
    return max(rect_mm.width() * grown / width, rect_mm.height() * grown / max(size.height(), 1))


def _bounded(mm_per_pixel: float) -> float:
    return min(max(mm_per_pixel, MIN_MM_PER_PIXEL), MAX_MM_PER_PIXEL)
