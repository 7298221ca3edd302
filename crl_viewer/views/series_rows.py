"""How a row of the chooser is painted, and where its columns lie."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QPoint, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QImage, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import (
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
)

from crl_viewer import icons, theme
from crl_viewer.state.offers import Offer, grid_text, kind_text, value_of, voxel_text
from crl_viewer.views.lines import ColumnHeads, write
from crl_viewer.views.series_model import Index, SeriesModel

ROW = 72
PICTURE = 56
NARROW = 800
"""Narrower lists leave the plane to the tooltip, pixels."""

_PAD = 12
_CHECK = 16
_LEFT = 2 * _PAD + _CHECK
_TIME = 84
_GRID = 148
_PLANE = 108
_TIMES = ("tr", "te", "ti")
_MIDDLE = Qt.AlignmentFlag.AlignVCenter


class Columns:
    """Where the columns of a row or of the heads lie.

    Parameters
    ----------
    left, width
        Of the row, pixels.
    """

    def __init__(self, left: float, width: float) -> None:
        right = left + width - _PAD
        self.plane: tuple[float, float] | None = None
        if width >= NARROW:
            self.plane = (right - _PLANE, right)
            right -= _PLANE + 8
        self.grid = (right - _GRID, right)
        right -= _GRID + 16
        self.times: dict[str, tuple[float, float]] = {}
        for name in reversed(_TIMES):
            self.times[name] = (right - _TIME, right)
            right -= _TIME
        self.check = (left + _PAD, left + _PAD + _CHECK)
        self.picture = (left + _LEFT, left + _LEFT + PICTURE)
        self.title = (left + _LEFT + PICTURE + 16, right - 8)


class SeriesDelegate(QStyledItemDelegate):
    """Paints a row in the colours of the theme."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        """Return the height of a row."""
        return QSize(320, round(ROW * max(1.0, theme.text_scale())))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw ground, tick, picture and words."""
        model, row = index.model(), index.row()
        assert isinstance(model, SeriesModel)
        box: Any = QRectF(option.rect)
        offer, p = model.offer(row), theme.current()
        columns = Columns(box.left(), box.width())
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        self._ground(painter, box, option, model.is_ticked(row))
        if offer.usable:
            _tick(painter, columns.check[0], box.center().y(), model.is_ticked(row))
        picture = model.picture(row)
        frame = QRectF(columns.picture[0], box.center().y() - PICTURE / 2, PICTURE, PICTURE)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(p.canvas)
        painter.drawRoundedRect(frame, 3, 3)
        if picture is not None:
            painter.setOpacity(1.0 if offer.usable else 0.45)
            _put_picture(painter, frame, picture.image)
            painter.setOpacity(1.0)
        elif not model.pending(row):
            write(
                painter,
                (frame.left(), frame.right()),
                frame.center().y(),
                "no image",
                10,
                400,
                theme.ON_IMAGE.text2,
                Qt.AlignmentFlag.AlignHCenter,
            )
        _words(painter, columns, box.center().y(), offer)
        painter.restore()

    def _ground(
        self, painter: QPainter, box: QRectF, option: QStyleOptionViewItem, ticked: bool
    ) -> None:
        p = theme.current()
        state: Any = option.state
        inside = box.adjusted(0, 1, 0, -1)
        if ticked or state & QStyle.StateFlag.State_MouseOver:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(p.control if ticked else p.hover)
            painter.drawRoundedRect(inside, 4, 4)
        if state & QStyle.StateFlag.State_HasFocus:
            painter.setPen(QPen(p.accent, 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(inside.adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)


def _words(painter: QPainter, columns: Columns, middle: float, offer: Offer) -> None:
    """Write everything of a row; what cannot be opened is grey, its reason is not."""
    p = theme.current()
    step = 10 * theme.text_scale()
    upper, lower = middle - step, middle + step
    ink = p.text if offer.usable else p.text3
    small = p.text2 if offer.usable else p.text3
    write(painter, columns.title, upper, offer.title, 13, 600, ink)
    right = Qt.AlignmentFlag.AlignRight
    for name in _TIMES:
        value = value_of(offer, name)
        write(painter, columns.times[name], upper, value.text, 12, 400, ink, right)
        if value.remark and offer.usable:
            tone = p.warn if value.doubtful else p.text3
            write(painter, columns.times[name], lower, value.remark, 11, 400, tone, right)
    if any(offer.shape):
        write(painter, columns.grid, upper, grid_text(offer), 12, 400, ink, right)
        if offer.usable:
            write(painter, columns.grid, lower, voxel_text(offer), 11, 400, small, right)
    if columns.plane is not None:
        write(painter, columns.plane, upper, offer.plane.capitalize(), 12, 400, ink, right)
        if offer.volumes > 1 and offer.usable:
            write(painter, columns.plane, lower, f"{offer.volumes} volumes", 11, 400, small, right)
    if offer.usable:
        _second_line(painter, columns.title, lower, offer)
    else:
        _reason(painter, columns, lower, offer)


def _second_line(
    painter: QPainter, across: tuple[float, float], middle: float, offer: Offer
) -> None:
    p = theme.current()
    left, right = across
    if offer.fast_spin_echo:
        left += _badge(painter, left, middle, "Fast spin echo") + 8
    words = [kind_text(offer)]
    words.append(_series_word(offer))
    text = "  ·  ".join(filter(None, words))
    write(painter, (left, right), middle, text, 11, 400, p.text2)


def _reason(painter: QPainter, columns: Columns, middle: float, offer: Offer) -> None:
    p = theme.current()
    left = columns.title[0]
    mark = icons.pixmap("warning", p.warn, 14, painter.device().devicePixelRatioF())
    painter.drawPixmap(QPoint(round(left), round(middle - 7)), mark)
    end = columns.plane[1] if columns.plane is not None else columns.grid[1]
    reason = offer.refusal[:1].upper() + offer.refusal[1:].rstrip(".") + "."
    text = "  ·  ".join(filter(None, (reason, _series_word(offer))))
    write(painter, (left + 20, end), middle, text, 11, 400, p.text2)


def _series_word(offer: Offer) -> str:
    """Return the number of the series, unless the title is nothing else."""
    word = f"series {offer.series}" if offer.series else ""
    return "" if word == offer.title.lower() else word


def _badge(painter: QPainter, left: float, middle: float, word: str) -> float:
    """Draw an outlined badge and return its width."""
    p = theme.current()
    font = theme.font(11, 600)
    width = round(QFontMetricsF(font).horizontalAdvance(word) + 14)
    height = 18 * theme.text_scale()
    box = QRectF(round(left), round(middle - height / 2), width, round(height))
    painter.setPen(QPen(p.accent, 1))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)
    write(
        painter,
        (box.left(), box.right()),
        box.center().y(),
        word,
        11,
        600,
        p.accent,
        Qt.AlignmentFlag.AlignHCenter,
    )
    return width


def _tick(painter: QPainter, left: float, middle: float, on: bool) -> None:
    p = theme.current()
    box = QRectF(left, middle - _CHECK / 2, _CHECK, _CHECK)
    painter.setPen(Qt.PenStyle.NoPen if on else QPen(p.text3, 1))
    painter.setBrush(p.accent if on else Qt.BrushStyle.NoBrush)
    painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)
    if on:
        mark = icons.pixmap("check", p.on_accent, 12, painter.device().devicePixelRatioF())
        painter.drawPixmap(QPoint(round(left + 2), round(middle - 6)), mark)


def _put_picture(painter: QPainter, frame: QRectF, image: QImage) -> None:
    around = QPainterPath()
    around.addRoundedRect(frame, 3, 3)
    painter.setClipPath(around)
    scale = min(frame.width() / image.width(), frame.height() / image.height())
    box = QRectF(0, 0, image.width() * scale, image.height() * scale)
    box.moveCenter(frame.center())
    ratio = painter.device().devicePixelRatioF()
    size = (box.size() * ratio).toSize().expandedTo(QSize(1, 1))
    mode = Qt.TransformationMode.SmoothTransformation
    painter.drawImage(box, image.scaled(size, Qt.AspectRatioMode.IgnoreAspectRatio, mode))
    painter.setClipping(False)


class Heads(ColumnHeads):
    """The names of the columns above the list, and the hairline below them."""

    def paint_heads(self, painter: QPainter) -> None:
        """Write the heads and draw the hairline."""
        p = theme.current()
        columns = Columns(0, self.width() - self.inset)
        right = Qt.AlignmentFlag.AlignRight
        middle = self.height() / 2 - 2
        write(painter, columns.title, middle, "Scan", 11, 500, p.text2)
        for name in _TIMES:
            head = f"{name.upper()}  ms"
            write(painter, columns.times[name], middle, head, 11, 500, p.text2, right)
        write(painter, columns.grid, middle, "Matrix × slices", 11, 500, p.text2, right)
        if columns.plane is not None:
            write(painter, columns.plane, middle, "Plane", 11, 500, p.text2, right)
        painter.fillRect(0, self.height() - 1, self.width(), 1, p.line)
