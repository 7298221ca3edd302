"""The signed error, in colour, with the scale that tells what the colours mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QFontMetricsF, QImage, QPainter, QResizeEvent
from PySide6.QtWidgets import QWidget

from crl_viewer import theme
from crl_viewer.views.camera import Camera, fitting_scale
from crl_viewer.views.colours import (
    N_COLOURS,
    signed_picture,
    signed_table,
    size_picture,
    size_table,
)
from crl_viewer.views.overlay import (
    COMPACT_WIDTH,
    MARGIN,
    MINUS,
    TINY_WIDTH,
    halo_text,
    tone_colour,
)
from crl_viewer.views.pane import ImagePane

LIMITS = (5, 10, 20)
"""Half widths of the scale that can be chosen, percent of the range."""

BAR_WIDTH = 8
BAR_TITLE = "% of range"
_BAR_SPACE = 192
"""Height above and below the bar: two badges and the title stand above it, pixels."""
_GAP = 8
_MAX_SHIFT = 40.0


class ErrorPane(ImagePane):
    """A pane for synthesised minus acquired, in percent of the acquired range.

    The scale is fixed: it changes only through `set_limit`, never with the image.
    """

    def __init__(self, role: str, camera: Camera, parent: QWidget | None = None) -> None:
        super().__init__(role, camera, parent)
        self._limit = 10
        self._signed = True
        self._foreground: QRectF | None = None

    def set_error(self, percent: NDArray[np.float32] | None, message: str = "") -> None:
        """Show a difference, or a message in its place.

        Parameters
        ----------
        percent
            2-D in display orientation, percent of the range; NaN where it was not judged.
        message
            What to say where there is none.
        """
        self.set_image(percent, message)

    def set_signed(self, signed: bool) -> None:
        """Show differences with their sign, or sizes that have none."""
        if signed != self._signed:
            self._signed = signed
            self._picture = None
            self._forget_words()

    def set_limit(self, percent: int) -> None:
        """Choose the half width of the scale.

        Raises
        ------
        ValueError
            When it is not one of `LIMITS`.
        """
        if percent not in LIMITS:
            raise ValueError(f"the error scale is {', '.join(map(str, LIMITS))} %, not {percent}")
        if percent != self._limit:
            self._limit = percent
            self._picture = None
            self._forget_words()

    def limit(self) -> int:
        """Return the half width of the scale, percent."""
        return self._limit

    def set_foreground(self, rect_mm: QRectF | None) -> None:
        """Tell where the head lies when the view is fitted, so that it keeps clear of the bar."""
        self._foreground = rect_mm
        self._refresh_shift()

    def bar_rect(self) -> QRectF:
        """Return the colour bar, pixels of the pane."""
        height = min(max(self.height() - _BAR_SPACE, 40), 320)
        top = round((self.height() - height) / 2)
        return QRectF(self.width() - MARGIN - BAR_WIDTH, top, BAR_WIDTH, height)

    # Painting

    def _make_picture(self, image: NDArray[np.float32]) -> QImage:
        coloured = signed_picture if self._signed else size_picture
        pixels = coloured(image, self._limit)
        self._pixels = pixels
        rows, cols = pixels.shape
        return QImage(pixels.data, cols, rows, 4 * cols, QImage.Format.Format_RGB32)

    def _paint_words(self, painter: QPainter) -> None:
        shown = self._image is not None and self._words.visible
        self._words.right_inset = self._bar_inset() if shown else 0.0
        super()._paint_words(painter)
        if shown:
            self._paint_bar(painter)

    def _live_lines(self) -> list[tuple[str, str]]:
        return [(self._value_text, "text2")] if self._crosshair is not None else []

    def _bar_inset(self) -> float:
        """Width taken beyond the margin by bar, numbers and title.

        In a narrow pane the title does not count, for it stands higher than the letter.
        """
        metrics = QFontMetricsF(theme.font(11))
        if self.width() < TINY_WIDTH:
            return BAR_WIDTH + _GAP
        numbers = BAR_WIDTH + _GAP + metrics.horizontalAdvance("+2.5") + _GAP
        if self.width() < COMPACT_WIDTH:
            return numbers
        return max(metrics.horizontalAdvance(BAR_TITLE) + 14, numbers)

    def _paint_bar(self, painter: QPainter) -> None:
        bar = self.bar_rect()
        table = np.ascontiguousarray((signed_table() if self._signed else size_table())[::-1])
        ramp = QImage(table.data, 1, N_COLOURS, 4, QImage.Format.Format_RGB32)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(bar, ramp)
        if self.width() < TINY_WIDTH:
            return
        font, colour, align = theme.font(11), tone_colour("text2"), Qt.AlignmentFlag.AlignRight
        half, centre = bar.height() / 2, bar.center().y()
        for step in (1.0, 0.5, 0.0, -0.5, -1.0):
            value = self._limit * (step if self._signed else (step + 1.0) / 2.0)
            text = _signed(value) if self._signed else f"{value:.3g}"
            halo_text(painter, bar.left() - _GAP, centre - half * step, text, font, colour, align)
        above = bar.top() - 16 * theme.text_scale()
        halo_text(painter, bar.right(), above, BAR_TITLE, font, colour, align)

    # Room for the letter

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Lay out anew."""
        super().resizeEvent(event)
        self._refresh_shift()

    def _refresh_shift(self) -> None:
        """Move the view to the left by what the right letter lacks beside the fitted head.

        The amount depends on the pane and the head alone, not on zoom, so nothing jumps while
        the view is moved.
        """
        shift = 0.0
        if self._foreground is not None and self.width() >= TINY_WIDTH:
            scale = fitting_scale(self._foreground, self.size())
            head_right = self.width() / 2 + self._foreground.width() / scale / 2
            letter = QFontMetricsF(theme.font(12, 600)).horizontalAdvance("L")
            letter_left = self.width() - MARGIN - self._bar_inset() - letter - 6
            shift = min(max(head_right - letter_left, 0.0), _MAX_SHIFT)
        if self.view_shift != -round(shift):
            self.view_shift = float(-round(shift))
            self.update()


def _signed(value: float) -> str:
    """Write a tick with its sign, zero without."""
    if value == 0:
        return "0"
    return f"{'+' if value > 0 else MINUS}{abs(value):g}"
