"""One image with its words: windowed, in millimetres, repainted as fast as a slider moves."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, QSizeF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPixmap,
    QResizeEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from crl_core.geometry import SlicePlane
from crl_viewer import theme
from crl_viewer.views.camera import Camera
from crl_viewer.views.colours import windowed
from crl_viewer.views.gestures import GestureArea
from crl_viewer.views.overlay import (
    MARGIN,
    TINY_WIDTH,
    Words,
    blank_layer,
    halo_text,
    paint_words,
    row_middle,
    tone_colour,
    window_text,
)
from crl_viewer.views.title_menu import TitleMenu

CROSSHAIR_HOLE = 14
CROSSHAIR_ALPHA = 0.47
_REDUCED = 0.6
"""Images shown at less than this size are averaged down, because sampling would skip pixels."""


class ImagePane(GestureArea):
    """A pane for one image in display orientation.

    Parameters
    ----------
    role
        Its title until `set_words` gives another, such as ``"Source"``.
    camera
        The view it shares with its neighbours.
    """

    menuChosen = Signal(int)
    menuTicked = Signal(int, bool)
    painted = Signal()
    """A new image has reached the screen for the first time."""
    levelsRequested = Signal(float, float)
    """The darkest and brightest value, without outliers, of a region drawn with Ctrl+right."""

    def __init__(self, role: str, camera: Camera, parent: QWidget | None = None) -> None:
        super().__init__(camera, parent)
        self.role = role
        self._image: NDArray[np.float32] | None = None
        self._levels = (0.0, 1.0)
        self._picture: QImage | None = None
        self._pixels: NDArray[np.generic] | None = None
        self._fresh = False
        self._smooth = True
        self._words = Words(title=role)
        self._value_text = ""
        self._active = False
        self._scale_bar = True
        self.title_menu = TitleMenu(self)
        self.title_menu.chosen.connect(self.menuChosen)
        self.title_menu.ticked.connect(self.menuTicked)
        self._tip = ""
        self._words_layer: QPixmap | None = None
        self._live_layer: QPixmap | None = None
        self._live_key: tuple[object, ...] = ()
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self.setMinimumSize(120, 100)
        self.setAccessibleName(f"{role} image")
        camera.changed.connect(self._on_camera)
        theme.changed.connect(self._forget_words)
        self.menuRequested.connect(self.open_menu)
        self.regionDragged.connect(self._pick_levels)

    # Setters

    def set_plane(self, plane: SlicePlane | None) -> None:
        """Choose the geometry of the images that follow; the present image goes."""
        self.plane = plane
        self._words.letters = {} if plane is None else dict(plane.labels)
        self._set_pixels(None)
        self._forget_words()

    def set_image(self, image: NDArray[np.float32] | None, message: str = "") -> None:
        """Show an image, or a message in its place.

        Parameters
        ----------
        image
            2-D (rows, columns) in display orientation, not copied: do not write into it
            afterwards. NaN is drawn black.
        message
            What to say where there is no image.

        Raises
        ------
        ValueError
            When the image is not of the plane's shape.
        """
        self._set_pixels(image)
        self._set_message(message if image is None else "")

    def set_levels(self, low: float, high: float) -> None:
        """Choose the intensities shown black and white; a low above a high inverts."""
        if (low, high) != self._levels:
            self._levels = (low, high)
            self._picture = None
            self.update()

    def levels(self) -> tuple[float, float]:
        """Return the intensities shown black and white."""
        return self._levels

    def set_words(
        self,
        *,
        title: str | None = None,
        lines: Sequence[str] | None = None,
        badges: Sequence[tuple[str, str]] | None = None,
        corner: str | None = None,
        note: tuple[str, str] | None = None,
        tip: str = "",
    ) -> None:
        """Change the words in the margin; what is not given becomes empty, the title stays.

        Parameters
        ----------
        title
            Role of the pane.
        lines
            Parameters and the like below the title.
        badges
            (word, tone) from the top; tones are ``"accent"`` and ``"warn"``.
        corner
            Slice, at the bottom right.
        note
            (text, tone) above it.
        tip
            Where what stands below the title was read; shows while the pointer rests there.
        """
        words = self._words
        self._tip = tip
        fresh = (
            words.title if title is None else title,
            tuple(lines or ()),
            tuple(badges or ()),
            corner or "",
            note or ("", "text2"),
        )
        if fresh == (words.title, words.lines, words.badges, words.corner, words.note):
            return
        words.title, words.lines, words.badges, words.corner, words.note = fresh
        self.setAccessibleName(f"{words.title} image")
        said = [*words.lines, *(b for b, _ in words.badges), words.corner, words.note[0]]
        self.setAccessibleDescription(". ".join(part for part in said if part))
        self._forget_words()

    def set_crosshair(self, position: tuple[float, float] | None, value_text: str = "") -> None:
        """Place the crosshair at (col, row) and say the value below it, or take it away."""
        self._crosshair = position
        self._value_text = value_text
        self.update()

    def set_active(self, active: bool) -> None:
        """Mark this pane as the one that keys act on."""
        if active != self._active:
            self._active = active
            self.update()

    def is_active(self) -> bool:
        """Return whether this is the active pane."""
        return self._active

    def set_menu(
        self,
        entries: Sequence[str],
        current: int | None = None,
        ticked: Collection[int] | None = None,
    ) -> None:
        """Offer a choice behind a chevron beside the title; an empty one takes it away.

        `ticked` as in `TitleMenu.set_entries`.
        """
        self.title_menu.set_entries(entries, current, ticked)
        if self._words.has_menu != bool(entries):
            self._words.has_menu = bool(entries)
            self._forget_words()

    def tip_at(self, at: QPointF) -> str:
        """Return what explains the place under the pointer: the lines at the top left."""
        words = self._words
        if not self._tip or not words.visible:
            return ""
        low = row_middle(len(words.lines) + 1) if self.width() >= TINY_WIDTH else row_middle(1)
        return self._tip if at.y() <= low and at.x() <= self.width() * 0.45 else ""

    def set_labels_visible(self, visible: bool) -> None:
        """Show or hide all words but the letters and badges, and the crosshair with them."""
        self._words.visible = visible
        self._forget_words()

    def set_say_unstated(self, say: bool) -> None:
        """Say in words where the orientation is not stated, or leave it at question marks."""
        if say != self._words.say_unstated:
            self._words.say_unstated = say
            self._forget_words()

    def set_scale_bar(self, visible: bool) -> None:
        """Draw a scale bar, or none where the size of a pixel is a guess."""
        self._scale_bar = visible
        self._forget_words()

    def set_view_scale(self, scale: float) -> None:
        """Show the camera's view larger (below 1) or smaller (above 1) than its own scale."""
        if scale != self.view_scale:
            self.view_scale = scale
            self._forget_words()

    def set_smooth(self, smooth: bool) -> None:
        """Interpolate between pixels, or show them as squares."""
        self._smooth = smooth
        self.update()

    def image(self) -> NDArray[np.float32] | None:
        """Return the image shown, 2-D in display orientation."""
        return self._image

    def words(self) -> Words:
        """Return what the pane says now."""
        return self._words

    def value_text(self) -> str:
        """Return what is said about the value under the crosshair."""
        return self._value_text

    def sizeHint(self) -> QSize:
        """Return the size of a pane of the standard window."""
        return QSize(552, 378)

    def open_menu(self) -> None:
        """Open the choice beside the title, if there is one."""
        self.title_menu.open(self.mapToGlobal(self._menu_area.bottomLeft().toPoint()))

    # Pixels

    def _set_pixels(self, image: NDArray[np.float32] | None) -> None:
        if image is not None:
            expected = image.shape if self.plane is None else self.plane.shape_display
            if image.ndim != 2 or image.shape != expected:
                raise ValueError(f"an image of shape {image.shape} is not of the plane {expected}")
        had, self._image = self._image is not None, image
        self._picture = None
        self._fresh = image is not None
        if had != (image is not None):
            self._forget_words()
        self.update()

    def _set_message(self, message: str) -> None:
        if message != self._words.message:
            self._words.message = message
            self._forget_words()

    def _make_picture(self, image: NDArray[np.float32]) -> QImage:
        """Turn the image into a picture; the pixels are kept, for Qt only borrows them."""
        pixels = windowed(image, *self._levels)
        self._pixels = pixels
        rows, cols = pixels.shape
        return QImage(pixels.data, cols, rows, cols, QImage.Format.Format_Grayscale8)

    def _pick_levels(self, region: QRectF) -> None:
        """Propose levels from the values inside a region of the pane."""
        first, last = self.to_pixel(region.topLeft()), self.to_pixel(region.bottomRight())
        if self._image is None or first is None or last is None:
            return
        c0, r0, c1, r1 = (round(v) for v in (*first, *last))
        values = self._image[r0 : r1 + 1, c0 : c1 + 1]
        values = values[np.isfinite(values)]
        if values.size and values.min() < values.max():
            low, high = np.percentile(values, [1, 99])
            self.levelsRequested.emit(float(low), float(high))

    # Painting

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint image, crosshair and words."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.current().canvas)
        if self._image is not None:
            self._paint_image(painter, self._image)
            if self._words.visible:
                self._paint_crosshair(painter)
        painter.drawPixmap(0, 0, self._words_pixmap())
        if self._image is not None and self._words.visible and self.width() >= TINY_WIDTH:
            painter.drawPixmap(0, self.height() - _live_height(), self._live_pixmap())
        if self._rubber is not None:
            painter.setPen(theme.ON_IMAGE.accent)
            painter.drawRect(self._rubber)
        if self._active:
            painter.fillRect(0, 0, self.width(), 2, theme.current().accent)
        painter.end()
        if self._fresh:
            self._fresh = False
            self.painted.emit()

    def _paint_image(self, painter: QPainter, image: NDArray[np.float32]) -> None:
        if self._picture is None:
            self._picture = self._make_picture(image)
        picture = self._picture
        rows, cols = image.shape
        dx, dy = self.plane.spacing if self.plane is not None else (1.0, 1.0)
        box = QRectF(self.to_screen(QPointF(0, 0)), self.to_screen(QPointF(cols * dx, rows * dy)))
        ratio = self.devicePixelRatioF()
        if self._smooth and min(box.width() / cols, box.height() / rows) * ratio < _REDUCED:
            size = (box.size() * ratio).toSize().expandedTo(QSize(1, 1))
            aspect, mode = Qt.AspectRatioMode, Qt.TransformationMode
            picture = picture.scaled(size, aspect.IgnoreAspectRatio, mode.SmoothTransformation)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, self._smooth)
        painter.drawImage(box, picture)

    def _paint_crosshair(self, painter: QPainter) -> None:
        """Draw two lines of one pixel with a hole that leaves the voxel itself free."""
        if self._crosshair is None:
            return
        at = self.pixel_to_screen(*self._crosshair)
        x, y, half = int(at.x()), int(at.y()), CROSSHAIR_HOLE // 2
        colour = QColor(theme.ON_IMAGE.accent)
        colour.setAlphaF(CROSSHAIR_ALPHA)
        for line in (
            QRect(0, y, x - half, 1),
            QRect(x + half + 1, y, self.width() - x - half - 1, 1),
            QRect(x, 0, 1, y - half),
            QRect(x, y + half + 1, 1, self.height() - y - half - 1),
        ):
            if line.isValid():
                painter.fillRect(line, colour)

    def _words_pixmap(self) -> QPixmap:
        """Return the words, painted anew only after something about them has changed."""
        ratio = self.devicePixelRatioF()
        layer = self._words_layer
        if layer is None or layer.devicePixelRatio() != ratio:
            shown = self._image is not None and self._scale_bar and self.plane is not None
            self._words.mm_per_pixel = self.mm_per_pixel if shown else None
            self._words_layer = layer = blank_layer(QSizeF(self.size()), ratio)
            painter = QPainter(layer)
            self._paint_words(painter)
            painter.end()
        return layer

    def _paint_words(self, painter: QPainter) -> None:
        """Paint what is cached."""
        title = paint_words(painter, QSizeF(self.size()), self._words)
        self._menu_area = title if self._words.has_menu else QRectF()

    def _live_lines(self) -> list[tuple[str, str]]:
        """Return the (text, tone) at the bottom left, from the bottom up."""
        tone = "text" if self.gesture == "window" else "text2"
        value = [(self._value_text, "text2")] if self._crosshair is not None else []
        return [*value, (window_text(*self._levels), tone)]

    def _live_pixmap(self) -> QPixmap:
        """Return the window and value lines, a small layer that changes often."""
        lines = self._live_lines()
        key = (tuple(lines), self.width(), self.devicePixelRatioF(), theme.text_scale())
        if self._live_layer is None or key != self._live_key:
            height = _live_height()
            width = min(self.width() / 2 - MARGIN, 240)
            layer = blank_layer(QSizeF(width, height), self.devicePixelRatioF())
            painter = QPainter(layer)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            for row, (text, tone) in enumerate(lines):
                y = row_middle(row, height)
                halo_text(painter, MARGIN, y, text, theme.font(11), tone_colour(tone))
            painter.end()
            self._live_layer, self._live_key = layer, key
        return self._live_layer

    # Changes from outside

    def _on_camera(self) -> None:
        if self._words.mm_per_pixel not in (None, self.mm_per_pixel):
            self._words_layer = None
        self.update()

    def _forget_words(self) -> None:
        self._words_layer = None
        self._live_layer = None
        self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Lay the words out anew."""
        super().resizeEvent(event)
        self._forget_words()

    def changeEvent(self, event: QEvent) -> None:
        """Lay the words out anew after a change of font or screen."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.DevicePixelRatioChange):
            self._forget_words()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Keep the numbers bright while the window is dragged."""
        super().mouseMoveEvent(event)
        if self.gesture == "window":
            self.update()


def _live_height() -> int:
    """Height of the layer that holds window and value, pixels."""
    return round(52 * theme.text_scale())
