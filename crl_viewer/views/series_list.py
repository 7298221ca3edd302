"""The rows of the chooser: a picture, a name, the sequence, TR TE TI, grid and plane."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PySide6.QtCore import (
    QAbstractListModel,
    QEvent,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QRectF,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import (
    QFontMetricsF,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QListView,
    QSizePolicy,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from crl_core.scan import FloatArray
from crl_viewer import icons, theme
from crl_viewer.state.offers import (
    Offer,
    grid_text,
    kind_text,
    matches,
    spoken_of,
    tip_of,
    value_of,
    voxel_text,
)

ROW = 72
PICTURE = 56
HEAD = 28
NARROW = 700
"""Narrower lists leave the plane to the tooltip, pixels."""

_DARK = 0.12
"""Values below this are the air around the head."""

_PAD = 12
_CHECK = 16
_LEFT = 2 * _PAD + _CHECK
_TIME = 84
_GRID = 148
_PLANE = 108
_TIMES = ("tr", "te", "ti")
_MIDDLE = Qt.AlignmentFlag.AlignVCenter

Index = QModelIndex | QPersistentModelIndex


class Picture:
    """A small grey picture; keeps the pixels that Qt borrows."""

    def __init__(self, values: FloatArray) -> None:
        values = _fitted_to_head(values)
        grey = np.clip(np.nan_to_num(values), 0.0, 1.0) * 255
        self._pixels = np.ascontiguousarray(grey.astype(np.uint8))
        rows, cols = self._pixels.shape
        self.image = QImage(self._pixels.data, cols, rows, cols, QImage.Format.Format_Grayscale8)


def _fitted_to_head(values: FloatArray) -> FloatArray:
    """Cut away the dark rim, so that the head fills the little room there is."""
    lit = values > _DARK
    rows, cols = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    if not len(rows) or not len(cols):
        return values
    top, bottom = max(rows[0] - 2, 0), rows[-1] + 3
    left, right = max(cols[0] - 2, 0), cols[-1] + 3
    return values[top:bottom, left:right]


class SeriesModel(QAbstractListModel):
    """Offers, which of them are ticked, and which a typed word keeps."""

    ticked = Signal()
    """Something was ticked or unticked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._offers: list[Offer] = []
        self._pictures: dict[int, Picture | None] = {}
        self._ticks: set[int] = set()
        self._shown: list[int] = []
        self._typed = ""

    def set_offers(self, offers: Sequence[Offer], ticks: Iterable[int]) -> None:
        """Replace everything."""
        self.beginResetModel()
        self._offers = list(offers)
        self._pictures = {}
        self._ticks = {i for i in ticks if offers[i].usable}
        self._filter()
        self.endResetModel()
        self.ticked.emit()

    def set_picture(self, number: int, values: FloatArray | None) -> None:
        """Give an offer its picture; None says that there is none."""
        self._pictures[number] = None if values is None else Picture(values)
        if number in self._shown:
            at = self.index(self._shown.index(number))
            self.dataChanged.emit(at, at)

    def set_typed(self, typed: str) -> None:
        """Keep the offers in which every typed word stands."""
        self.beginResetModel()
        self._typed = typed
        self._filter()
        self.endResetModel()

    def _filter(self) -> None:
        self._shown = [i for i, o in enumerate(self._offers) if matches(o, self._typed)]

    # ticks -------------------------------------------------------------------------------------

    def toggle(self, row: int) -> None:
        """Tick a row, or take the tick away; nothing happens where it cannot be opened."""
        self.tick(range(row, row + 1), not self.is_ticked(row))

    def tick(self, rows: Iterable[int], on: bool) -> None:
        """Tick the usable ones of some rows, or take their ticks away."""
        for row in rows:
            number = self._shown[row]
            if on and self._offers[number].usable:
                self._ticks.add(number)
            elif not on:
                self._ticks.discard(number)
        if self._shown:
            self.dataChanged.emit(self.index(0), self.index(len(self._shown) - 1))
        self.ticked.emit()

    def is_ticked(self, row: int) -> bool:
        """Return whether a row is ticked."""
        return self._shown[row] in self._ticks

    def chosen(self) -> list[int]:
        """Return the numbers of all ticked offers in order, hidden ones too."""
        return sorted(self._ticks)

    def hidden_ticks(self) -> int:
        """Return how many ticked offers the typed words hide."""
        return len(self._ticks - set(self._shown))

    def number(self, row: int) -> int:
        """Return the number of the offer in a row."""
        return self._shown[row]

    def offer(self, row: int) -> Offer:
        """Return the offer in a row."""
        return self._offers[self._shown[row]]

    def offers(self) -> list[Offer]:
        """Return every offer."""
        return list(self._offers)

    def picture(self, row: int) -> Picture | None:
        """Return the picture of a row, or None while there is none."""
        return self._pictures.get(self._shown[row])

    def pending(self, row: int) -> bool:
        """Return whether the picture of a row may still come."""
        return self._shown[row] not in self._pictures

    # what Qt asks ------------------------------------------------------------------------------

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """Return how many rows show."""
        return 0 if parent.isValid() else len(self._shown)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return words for Qt and for screen readers; the delegate asks the model itself."""
        if not index.isValid():
            return None
        offer = self.offer(index.row())
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return offer.title
            case Qt.ItemDataRole.ToolTipRole:
                return tip_of(offer)
            case Qt.ItemDataRole.AccessibleTextRole:
                return spoken_of(offer)
            case Qt.ItemDataRole.CheckStateRole if offer.usable:
                on = self.is_ticked(index.row())
                return Qt.CheckState.Checked if on else Qt.CheckState.Unchecked
        return None


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
        box: Any = QRectF(option.rect)  # type: ignore[attr-defined]
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
            _write(painter, (frame.left(), frame.right()), frame.center().y(), "no image",
                   10, 400, theme.ON_IMAGE.text2, Qt.AlignmentFlag.AlignHCenter)
        _words(painter, columns, box.center().y(), offer)
        painter.restore()

    def _ground(
        self, painter: QPainter, box: QRectF, option: QStyleOptionViewItem, ticked: bool
    ) -> None:
        p = theme.current()
        state: Any = option.state  # type: ignore[attr-defined]
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
    _write(painter, columns.title, upper, offer.title, 13, 600, ink)
    right = Qt.AlignmentFlag.AlignRight
    for name in _TIMES:
        value = value_of(offer, name)
        _write(painter, columns.times[name], upper, value.text, 12, 400, ink, right)
        if value.remark and offer.usable:
            tone = p.warn if value.doubtful else p.text3
            _write(painter, columns.times[name], lower, value.remark, 11, 400, tone, right)
    if any(offer.shape):
        _write(painter, columns.grid, upper, grid_text(offer), 12, 400, ink, right)
        if offer.usable:
            _write(painter, columns.grid, lower, voxel_text(offer), 11, 400, small, right)
    if columns.plane is not None:
        _write(painter, columns.plane, upper, offer.plane.capitalize(), 12, 400, ink, right)
        if offer.volumes > 1 and offer.usable:
            _write(painter, columns.plane, lower, f"{offer.volumes} volumes", 11, 400, small, right)
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
    _write(painter, (left, right), middle, text, 11, 400, p.text2)


def _reason(painter: QPainter, columns: Columns, middle: float, offer: Offer) -> None:
    p = theme.current()
    left = columns.title[0]
    mark = icons.pixmap("warning", p.warn, 14, painter.device().devicePixelRatioF())
    painter.drawPixmap(QPoint(round(left), round(middle - 7)), mark)
    end = columns.plane[1] if columns.plane is not None else columns.grid[1]
    reason = offer.refusal[:1].upper() + offer.refusal[1:].rstrip(".") + "."
    text = "  ·  ".join(filter(None, (reason, _series_word(offer))))
    _write(painter, (left + 20, end), middle, text, 11, 400, p.text2)


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
    _write(painter, (box.left(), box.right()), box.center().y(), word, 11, 600, p.accent,
           Qt.AlignmentFlag.AlignHCenter)
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


def _write(
    painter: QPainter, across: tuple[float, float], middle: float, text: str, px: float,
    weight: int, ink: Any, align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft,
) -> None:
    """Write one line, shortened where it does not fit; the tooltip has all of it."""
    font = theme.font(px, weight)
    painter.setFont(font)
    painter.setPen(ink)
    room = across[1] - across[0]
    shown = QFontMetricsF(font).elidedText(text, Qt.TextElideMode.ElideRight, room)
    box = QRectF(across[0], middle - 12, room, 24)
    painter.drawText(box, int(align | _MIDDLE | Qt.TextFlag.TextSingleLine), shown)


class Heads(QWidget):
    """The names of the columns above the list, and the hairline below them."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.inset = 0
        self.setFixedHeight(HEAD)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def set_inset(self, inset: int) -> None:
        """Leave the width of a scroll bar free at the right."""
        if inset != self.inset:
            self.inset = inset
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Write the heads."""
        p = theme.current()
        painter = QPainter(self)
        columns = Columns(0, self.width() - self.inset)
        right = Qt.AlignmentFlag.AlignRight
        middle = self.height() / 2 - 2
        _write(painter, columns.title, middle, "Scan", 11, 500, p.text2)
        for name in _TIMES:
            _write(painter, columns.times[name], middle, f"{name.upper()}  ms", 11, 500, p.text2,
                   right)
        _write(painter, columns.grid, middle, "Matrix × slices", 11, 500, p.text2, right)
        if columns.plane is not None:
            _write(painter, columns.plane, middle, "Plane", 11, 500, p.text2, right)
        painter.fillRect(0, self.height() - 1, self.width(), 1, p.line)
        painter.end()


class SeriesView(QListView):
    """The list: a click or the space bar ticks, Shift with a click ticks a range."""

    typed = Signal(str)
    """A letter was typed that the filter is to have."""
    alone = Signal(int)
    """A row was double clicked: open it alone."""
    entered = Signal()

    def __init__(self, model: SeriesModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self._anchor = 0
        self.setModel(model)
        self.setItemDelegate(SeriesDelegate(self))
        self.setUniformItemSizes(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setMouseTracking(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("Scans that were found")
        self.verticalScrollBar().setSingleStep(ROW // 2)
        self.viewport().setAutoFillBackground(False)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Tick the row under the pointer."""
        super().mousePressEvent(event)
        row = self.indexAt(event.position().toPoint()).row()
        if row < 0 or event.button() != Qt.MouseButton.LeftButton:
            return
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            low, high = sorted((min(self._anchor, self._model.rowCount() - 1), row))
            self._model.tick(range(low, high + 1), True)
        else:
            self._model.toggle(row)
        self._anchor = row

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Open the row alone."""
        row = self.indexAt(event.position().toPoint()).row()
        if row >= 0 and event.button() == Qt.MouseButton.LeftButton:
            self.alone.emit(row)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Tick with the space bar, open with Return, hand letters to the filter."""
        key, row = event.key(), self.currentIndex().row()
        if key == Qt.Key.Key_Space:
            if row >= 0:
                self._model.toggle(row)
                self._anchor = row
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.entered.emit()
        elif key == Qt.Key.Key_A and event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self._model.tick(range(self._model.rowCount()), True)
        elif event.text().isprintable() and event.text() and not _command(event):
            self.typed.emit(event.text())
        else:
            super().keyPressEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        """Lay the rows out again when the size of words changes."""
        if event.type() == QEvent.Type.FontChange:
            self.scheduleDelayedItemsLayout()
        super().changeEvent(event)


def _command(event: QKeyEvent) -> bool:
    held = event.modifiers()
    return bool(held & (Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier))
