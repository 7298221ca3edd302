"""What the network makes of fixed slices: synthesised, acquired and error, target by target."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QFontMetricsF,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from crl_viewer import theme
from crl_viewer.formatting import DASH, number
from crl_viewer.state.training_run import Column, Preview, Slice
from crl_viewer.views.colours import N_COLOURS, signed_picture, signed_table, windowed

LIMIT = 10
"""Half width of the error's scale, percent of the range."""

ROWS = ("Synthesised", "Acquired", "Error")
BADGE = "SYNTHETIC"
LABELS, HEAD, GAP = 80, 36, 4
_BADGED = (0, 2)
"""The error is computed from a synthesised image, so it carries the badge too."""


class PreviewGrid(QWidget):
    """Three rows of pictures under names and scores."""

    pointed = Signal(int)
    """The column under the pointer or the keys, -1 for none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._preview: Preview | None = None
        self._message = ""
        self._index = 0
        self._column = -1
        self._pictures: list[tuple[QImage, ...]] = []
        self._keep: list[NDArray[np.generic]] = []
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(180)
        self.setAccessibleName("What the network can do")

    # setters -----------------------------------------------------------------------------------

    def set_preview(self, preview: Preview | None, message: str = "") -> None:
        """Show the pictures of a step, or a message in their place."""
        self._preview, self._message = preview, message
        self._refresh()

    def set_slice(self, index: int) -> None:
        """Choose one of the fixed slices."""
        self._index = index
        self._refresh()

    # what others read --------------------------------------------------------------------------

    @property
    def shown(self) -> Slice | None:
        """The slice that shows."""
        if self._preview is None or not self._preview.slices:
            return None
        return self._preview.slices[min(self._index, len(self._preview.slices) - 1)]

    @property
    def column(self) -> int:
        """The target that is pointed at, -1 for none."""
        return self._column

    @property
    def message(self) -> str:
        """What stands in the place of pictures."""
        return self._message if self.shown is None else ""

    def picture(self, row: int, column: int) -> QImage:
        """Return one of the pictures as it is drawn."""
        return self._pictures[column][row]

    def column_words(self, index: int) -> str:
        """Describe one target in a sentence."""
        shown = self.shown
        if shown is None or not 0 <= index < len(shown.columns):
            return ""
        one = shown.columns[index]
        held = ", held back from training" if one.held else ""
        return f"{one.name}: {one.setting}{held}"

    def describe(self) -> str:
        """Describe all targets for a screen reader."""
        shown = self.shown
        if shown is None:
            return self._message
        parts = [
            f"{c.name}{', held back' if c.held else ''}, {scores(c).replace('  ', ', ')}"
            for c in shown.columns
        ]
        return f"Synthetic images. {shown.about}. " + "; ".join(parts)

    # pictures ----------------------------------------------------------------------------------

    def _refresh(self) -> None:
        self._keep.clear()
        shown = self.shown
        self._pictures = [self._pictures_of(c) for c in shown.columns] if shown else []
        self._column = min(self._column, len(self._pictures) - 1)
        self.setAccessibleDescription(self.describe())
        self.update()

    def _pictures_of(self, column: Column) -> tuple[QImage, ...]:
        grey = [windowed(image, 0.0, 1.0) for image in (column.made, column.target)]
        error = signed_picture(column.error.copy(), LIMIT)
        self._keep += [*grey, error]  # a QImage does not own its memory
        made = [
            QImage(g.data, g.shape[1], g.shape[0], g.shape[1], QImage.Format.Format_Grayscale8)
            for g in grey
        ]
        rows, cols = error.shape
        return (*made, QImage(error.data, cols, rows, 4 * cols, QImage.Format.Format_RGB32))

    # geometry ----------------------------------------------------------------------------------

    def sizeHint(self) -> QSize:
        """Return the size of the design."""
        return QSize(724, 430)

    def cell(self, row: int, column: int) -> QRectF:
        """Return where a picture lies."""
        count = max(1, len(self._pictures))
        scale = max(1.0, theme.text_scale())
        left, top = LABELS * scale, HEAD * scale
        width = (self.width() - left - (count - 1) * GAP) / count
        height = (self.height() - top - 2 * GAP) / 3
        # A few wide columns would be black at both sides; the pictures stay together instead.
        aspect = max((p[0].width() / max(p[0].height(), 1) for p in self._pictures), default=1.0)
        names = 96 * scale
        width = min(width, max(height * aspect * 1.35, min(names, width)))
        return QRectF(
            round(left + column * (width + GAP)), round(top + row * (height + GAP)),
            math.floor(width), math.floor(height),
        )  # fmt: skip

    def _column_at(self, x: float) -> int:
        for index in range(len(self._pictures)):
            cell = self.cell(0, index)
            if cell.left() <= x <= cell.right():
                return index
        return -1

    # painting ----------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw labels, heads and pictures."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        shown = self.shown
        if shown is None:
            self._paint_message(painter)
            painter.end()
            return
        for row, name in enumerate(ROWS):
            self._paint_label(painter, row, name)
        for index, column in enumerate(shown.columns):
            self._paint_head(painter, index, column)
            for row in range(3):
                self._paint_picture(painter, self.cell(row, index), self._pictures[index][row])
        if self._column >= 0 and self.hasFocus():
            box = self.cell(0, self._column).united(self.cell(2, self._column))
            painter.setPen(QPen(theme.current().accent, 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(box.adjusted(-1.5, -1.5, 1.5, 1.5))
        elif self.hasFocus():
            painter.setPen(QPen(theme.current().accent, 1))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        painter.end()

    def _paint_message(self, painter: QPainter) -> None:
        scale = max(1.0, theme.text_scale())
        box = QRectF(self.rect()).adjusted(0, HEAD * scale, 0, 0)
        painter.setPen(theme.current().text3)
        painter.setFont(theme.font(12))
        flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
        painter.drawText(box, int(flags), self._message)

    def _paint_picture(self, painter: QPainter, cell: QRectF, picture: QImage) -> None:
        painter.fillRect(cell, theme.current().canvas)
        scale = min(cell.width() / picture.width(), cell.height() / picture.height())
        width, height = picture.width() * scale, picture.height() * scale
        place = QRectF(0, 0, width, height)
        place.moveCenter(cell.center())
        wanted = QSize(round(width * self.devicePixelRatioF()), 0)
        if wanted.width() < picture.width():
            # Sampling would skip pixels; averaging does not.
            picture = picture.scaledToWidth(
                wanted.width(), Qt.TransformationMode.SmoothTransformation
            )
        painter.drawImage(place, picture)

    def _paint_head(self, painter: QPainter, index: int, column: Column) -> None:
        p, cell = theme.current(), self.cell(0, index)
        row = HEAD * max(1.0, theme.text_scale()) / 2 - 2
        left = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        font = theme.font(12, 500)
        room = cell.width() - (14 if column.held else 0)
        metrics = QFontMetricsF(font)
        name = metrics.elidedText(column.name, Qt.TextElideMode.ElideMiddle, room)
        painter.setFont(font)
        painter.setPen(p.accent if index == self._column else p.text)
        painter.drawText(QRectF(cell.left(), 0, cell.width(), row), left, name)
        if column.held:
            x = cell.left() + metrics.horizontalAdvance(name) + 8
            _diamond(painter, QPointF(x, row / 2 + 0.5))
        painter.setFont(theme.font(11))
        painter.setPen(p.text2)
        said = scores(column)
        if painter.fontMetrics().horizontalAdvance(said) > cell.width():
            said = said.split("  ")[0]  # half a number would be worse than none
        painter.drawText(QRectF(cell.left(), row, cell.width(), row), left, said)

    def _paint_label(self, painter: QPainter, row: int, name: str) -> None:
        p, cell, scale = theme.current(), self.cell(row, 0), max(1.0, theme.text_scale())
        left = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        painter.setFont(theme.font(11))
        painter.setPen(p.text2)
        painter.drawText(QRectF(0, cell.top(), LABELS * scale, 18 * scale), left, name)
        top = cell.top() + 20 * scale
        if row in _BADGED:
            top = _badge(painter, top, scale)
        if row == 2:
            self._paint_scale(painter, QRectF(0, top + 8, 8, cell.bottom() - top - 12))

    def _paint_scale(self, painter: QPainter, bar: QRectF) -> None:
        if bar.height() < 20:
            return
        table = np.ascontiguousarray(signed_table()[::-1])
        painter.drawImage(bar, QImage(table.data, 1, N_COLOURS, 4, QImage.Format.Format_RGB32))
        painter.setFont(theme.font(10))
        painter.setPen(theme.current().text3)
        left = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        for share, text in ((0.0, f"+{LIMIT} %"), (0.5, "0"), (1.0, f"\u2212{LIMIT} %")):
            y = min(max(bar.top() + share * bar.height(), bar.top() + 6), bar.bottom() - 5)
            painter.drawText(QRectF(14, y - 8, 60, 16), left, text)

    # pointing ----------------------------------------------------------------------------------

    def _point(self, index: int) -> None:
        if index != self._column:
            self._column = index
            self.pointed.emit(index)
            self.update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Say which target the pointer is on."""
        self._point(self._column_at(event.position().x()))

    def leaveEvent(self, event: QEvent) -> None:
        """Point at nothing."""
        self._point(-1)

    def focusOutEvent(self, event: object) -> None:
        """Point at nothing."""
        self._point(-1)
        super().focusOutEvent(event)  # type: ignore[arg-type]

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Go from target to target."""
        last = len(self._pictures) - 1
        moves: dict[int, Callable[[], int]] = {
            Qt.Key.Key_Left: lambda: max(0, self._column - 1),
            Qt.Key.Key_Right: lambda: min(last, self._column + 1),
            Qt.Key.Key_Home: lambda: 0,
            Qt.Key.Key_End: lambda: last,
        }
        if event.key() in moves and last >= 0:
            self._point(moves[event.key()]())
        else:
            super().keyPressEvent(event)


def scores(column: Column) -> str:
    """Write PSNR and SSIM of a target: ``28.4 dB  92 %``."""
    psnr = f"{number(column.psnr, 1)} dB" if math.isfinite(column.psnr) else DASH
    ssim = f"{number(100 * column.ssim)} %" if math.isfinite(column.ssim) else DASH
    return f"{psnr}  {ssim}"


def _diamond(painter: QPainter, centre: QPointF) -> None:
    x, y, r = centre.x(), centre.y(), 4.0
    painter.setPen(QPen(theme.current().text2, 1.2))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    corners = [QPointF(x, y - r), QPointF(x + r, y), QPointF(x, y + r), QPointF(x - r, y)]
    painter.drawPolygon(QPolygonF(corners))


def _badge(painter: QPainter, top: float, scale: float) -> float:
    """Draw the badge; returns its bottom."""
    font = theme.font(9, 600)
    box = QRectF(0.5, round(top) + 0.5, 64 * scale, 15 * scale)
    accent = theme.current().accent
    painter.setPen(QPen(accent, 1))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawRoundedRect(box, 3, 3)
    painter.setFont(font)
    painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), BADGE)
    return box.bottom()
