"""The four panes, one pixel apart, under one camera."""

from __future__ import annotations

from PySide6.QtCore import QRect, QRectF, QSize, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from crl_core.geometry import SlicePlane
from crl_viewer import theme
from crl_viewer.views.camera import Camera, fitting_scale
from crl_viewer.views.error_pane import ErrorPane
from crl_viewer.views.pane import ImagePane

GAP = 1
LAYOUTS = ("four", "main")
_LETTER_SIDES = 28
_MAIN_SHARE = 2 / 3


class PaneGrid(QWidget):
    """Source, synthesised, acquired and error pane, two by two, beside a column, or one alone.

    While the view is as it was fitted, it stays fitted when the window is resized; once zoomed
    or panned it keeps its millimetres per screen pixel.
    """

    activePaneChanged = Signal(object)
    """The pane that was made active."""
    maximisedChanged = Signal(object)
    """The pane that fills the grid, or None."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.camera = Camera(self)
        self.source = ImagePane("Source", self.camera, self)
        self.synthesised = ImagePane("Synthesised", self.camera, self)
        self.acquired = ImagePane("Acquired", self.camera, self)
        self.error = ErrorPane("Error", self.camera, self)
        self.panes: tuple[ImagePane, ...] = (
            self.source,
            self.synthesised,
            self.acquired,
            self.error,
        )
        self._layout = "four"
        self._alone: ImagePane | None = None
        self._active: ImagePane = self.synthesised
        self._foreground: QRectF | None = None
        self.setAccessibleName("Images")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(2 * 120 + GAP, 2 * 100 + GAP)
        for pane in self.panes:
            pane.activated.connect(lambda pane=pane: self.set_active(pane))
            pane.maximiseRequested.connect(lambda pane=pane: self.toggle_maximised(pane))
        self.synthesised.set_active(True)

    def sizeHint(self) -> QSize:
        """Return the size of the panes in the standard window."""
        return QSize(1104, 756)

    # View

    def set_plane(self, plane: SlicePlane | None) -> None:
        """Choose the geometry of all four panes; their images go."""
        for pane in self.panes:
            pane.set_plane(plane)

    def fit(self, foreground: tuple[float, float, float, float] | None = None) -> None:
        """Show the head as large as a pane allows.

        Parameters
        ----------
        foreground
            Box (x, y, width, height) around the head, mm of the display; None keeps the last one.
        """
        if foreground is not None:
            self._foreground = QRectF(*foreground)
            self.error.set_foreground(self._foreground)
            self._scale_panes()
        if self._foreground is not None:
            self.camera.fit(self._foreground, self._fit_size(), sides=_LETTER_SIDES)

    def _fit_size(self) -> QSize:
        """Size of the pane the view is fitted to: the one that leads the layout."""
        if self._alone is not None:
            return self._alone.size()
        return self.synthesised.size()

    # Which pane

    def set_active(self, pane: ImagePane) -> None:
        """Make one pane the one that keys act on."""
        if pane is self._active:
            return
        self._active.set_active(False)
        pane.set_active(True)
        self._active = pane
        self.activePaneChanged.emit(pane)

    def active(self) -> ImagePane:
        """Return the active pane."""
        return self._active

    def maximised(self) -> ImagePane | None:
        """Return the pane that fills the grid, if one does."""
        return self._alone

    def toggle_maximised(self, pane: ImagePane | None = None) -> None:
        """Show one pane alone (the active one by default), or bring the others back."""
        if self._alone is not None:
            self._show_alone(None)
        else:
            self._show_alone(self._active if pane is None else pane)

    def set_layout(self, layout: str) -> None:
        """Arrange the panes: ``"four"``, or ``"main"`` with the synthesised one large.

        Raises
        ------
        ValueError
            For another name.
        """
        if layout not in LAYOUTS:
            raise ValueError(f"there is no layout {layout}, only {', '.join(LAYOUTS)}")
        self._layout = layout
        was_alone = self._alone is not None
        self._rearrange(None)
        if was_alone:
            self.maximisedChanged.emit(None)

    def layout_name(self) -> str:
        """Return the arrangement of the panes."""
        return self._layout

    def _show_alone(self, pane: ImagePane | None) -> None:
        self._rearrange(pane)
        if pane is not None:
            self.set_active(pane)
        self.maximisedChanged.emit(pane)

    def _rearrange(self, alone: ImagePane | None) -> None:
        """Change the arrangement; the picture grows or shrinks with its pane."""
        was, fitted = self._fitting(self._fit_size()), self.camera.fitted
        self._alone = alone
        self._place()
        if fitted:
            self.fit()
        else:
            grown = self._fitting(self._fit_size()) / was
            self.camera.set_view(self.camera.centre, self.camera.mm_per_pixel * grown)

    # Geometry

    def _place(self) -> None:
        boxes = self._boxes()
        for pane in self.panes:
            box = boxes.get(pane)
            pane.setVisible(box is not None)
            pane.set_say_unstated(pane is self.source or pane is self._alone)
            if box is not None:
                pane.setGeometry(box)
        self._scale_panes()

    def _scale_panes(self) -> None:
        """Let the small panes of a column show as much of the head as the large one does."""
        alike = self._layout == "four" or self._alone is not None or self._foreground is None
        for pane in self.panes:
            scale = 1.0
            if not alike:
                scale = self._fitting(pane.size()) / self._fitting(self._fit_size())
            pane.set_view_scale(scale)

    def _fitting(self, size: QSize) -> float:
        """Return the scale at which the head fits a pane, mm per pixel."""
        head = QRectF(0, 0, 1, 1) if self._foreground is None else self._foreground
        return fitting_scale(head, size, sides=_LETTER_SIDES)

    def _boxes(self) -> dict[ImagePane, QRect]:
        width, height = self.width(), self.height()
        if self._alone is not None:
            return {self._alone: self.rect()}
        if self._layout == "main":
            left = round(width * _MAIN_SHARE)
            side, x = width - left - GAP, left + GAP
            third = (height - 2 * GAP) // 3
            column = (self.source, self.acquired, self.error)
            boxes = {p: QRect(x, n * (third + GAP), side, third) for n, p in enumerate(column)}
            boxes[self.error].setBottom(height - 1)
            return {self.synthesised: QRect(0, 0, left, height), **boxes}
        left, top = (width - GAP) // 2, (height - GAP) // 2
        x, y = left + GAP, top + GAP
        return {
            self.source: QRect(0, 0, left, top),
            self.synthesised: QRect(x, 0, width - x, top),
            self.acquired: QRect(0, y, left, height - y),
            self.error: QRect(x, y, width - x, height - y),
        }

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Place the panes; a fitted view stays fitted."""
        super().resizeEvent(event)
        fitted = self.camera.fitted
        self._place()
        if fitted:
            self.fit()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Fill the gaps."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.current().window)
        painter.end()
