"""How a person and visit are painted on the Set-up page, and where the columns lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import (
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
)

from crl_viewer import icons, theme
from crl_viewer.state.training_setup import USE_WORDS, Use
from crl_viewer.state.training_setup_rows import VisitRow
from crl_viewer.views.lines import ColumnHeads, in_two, write, write_in
from crl_viewer.views.segments import width_of
from crl_viewer.views.series_model import Index, Picture

ROW, PICTURE, GAP = 48, 34, 4
PAD = 8
"""Pixels that the ground of the current row reaches beyond the words, as in the design."""

NARROW = 700
"""Narrower lists leave the grid to the tooltip and show fewer pictures, pixels."""

_MIDDLE = Qt.AlignmentFlag.AlignVCenter
_RIGHT = Qt.AlignmentFlag.AlignRight
_WIDTHS = (("person", 144), ("scans", 168), ("grid", 104), ("times", 96))
_USE = 64


class Columns:
    """Where the columns of a row lie, in pixels.

    Parameters
    ----------
    left, width
        Of the row.
    """

    def __init__(self, left: float, width: float) -> None:
        at, right = left + PAD, left + width - PAD
        use = _USE * max(1.0, theme.text_scale())
        wanted = dict(_WIDTHS)
        if width < NARROW:
            wanted |= {"scans": 92, "grid": 0, "person": 112}
        self.spans: dict[str, tuple[float, float]] = {}
        for name, span in wanted.items():
            self.spans[name] = (at, at + max(span - 8, 0))
            at += span
        self.spans["finding"] = (at, right - use - 8)
        self.spans["use"] = (right - use, right)

    def __getitem__(self, name: str) -> tuple[float, float]:
        return self.spans[name]


def link_box(box: QRectF, row: VisitRow) -> QRectF:
    """Return where the link of a row can be clicked."""
    left, right = Columns(box.left(), box.width())["finding"]
    if not row.link:
        return QRectF()
    words = QFontMetricsF(theme.font(11, 500)).horizontalAdvance(row.link)
    return QRectF(left + 20, box.center().y() - 1, min(words, right - left - 20), 20)


def use_box(box: QRectF) -> QRectF:
    """Return where the use of a row can be clicked."""
    left, right = Columns(box.left(), box.width())["use"]
    return QRectF(left, box.top() + 8, right - left, box.height() - 16)


class PeopleDelegate(QStyledItemDelegate):
    """Paints a row in the colours of the theme."""

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        """Return the height of a row."""
        return QSize(320, round(ROW * max(1.0, theme.text_scale())))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Draw ground, pictures, words and marks."""
        model: Any = index.model()
        row: VisitRow = model.row(index.row())
        box: Any = QRectF(option.rect)
        columns = Columns(box.left(), box.width())
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        _ground(painter, box, option, model.hovered == index.row())
        use: Use | None = model.use(index.row())
        out = use == "out"
        _names(painter, columns, box.center().y(), row, out)
        painter.setOpacity(0.4 if out else 1.0)
        _pictures(painter, columns["scans"], box.center().y(), row, model)
        painter.setOpacity(1.0)
        _finding(painter, columns["finding"], box.center().y(), row, out, model.over_link(index))
        if use is not None:
            _use(painter, use_box(box), use, model.over_use(index))
        painter.restore()


def _ground(painter: QPainter, box: QRectF, option: QStyleOptionViewItem, over: bool) -> None:
    p = theme.current()
    state: Any = option.state
    inside = box.adjusted(0, 1, 0, -1)
    chosen = bool(state & QStyle.StateFlag.State_Selected)
    if chosen or over:
        painter.setPen(Qt.PenStyle.NoPen)
        ground = QColor(p.control if chosen else p.hover)
        ground.setAlphaF(1.0 if chosen else 0.5)
        painter.setBrush(ground)
        painter.drawRoundedRect(inside, 4, 4)
    if state & QStyle.StateFlag.State_HasFocus:
        painter.setPen(QPen(p.accent, 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(inside.adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)


def _names(painter: QPainter, columns: Columns, middle: float, row: VisitRow, out: bool) -> None:
    p = theme.current()
    step = 8 * theme.text_scale()
    ink = p.text3 if out else p.text
    write(painter, columns["person"], middle - step, row.title, 12, 500, ink)
    write(painter, columns["person"], middle + step, row.visit, 11, 400, p.text2)
    write(painter, columns["grid"], middle, row.grid, 12, 400, p.text3 if out else p.text2)
    tone = p.text3 if out else getattr(p, row.times_tone)
    write(painter, columns["times"], middle, row.times, 12, 400, tone)


def _pictures(
    painter: QPainter, across: tuple[float, float], middle: float, row: VisitRow, model: Any
) -> None:
    p = theme.current()
    room = int((across[1] - across[0] + GAP) // (PICTURE + GAP))
    # The line below the name tells how many there are.
    shown = row.paths[:room]
    left = across[0]
    for path in shown:
        frame = QRectF(left, middle - PICTURE / 2, PICTURE, PICTURE)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(p.canvas)
        painter.drawRoundedRect(frame, 3, 3)
        picture = model.picture(path)
        if picture is not None:
            put_picture(painter, frame, picture)
        left += PICTURE + GAP


def put_picture(painter: QPainter, frame: QRectF, picture: Picture) -> None:
    """Draw a picture that fills its frame; what sticks out is cut away."""
    image = picture.image
    around = QPainterPath()
    around.addRoundedRect(frame, 3, 3)
    painter.setClipPath(around)
    scale = max(frame.width() / image.width(), frame.height() / image.height())
    box = QRectF(0, 0, image.width() * scale, image.height() * scale)
    box.moveCenter(frame.center())
    size = (box.size() * painter.device().devicePixelRatioF()).toSize()
    mode = Qt.TransformationMode.SmoothTransformation
    aspect = Qt.AspectRatioMode.IgnoreAspectRatio
    painter.drawImage(box, image.scaled(size.expandedTo(QSize(1, 1)), aspect, mode))
    painter.setClipping(False)


def _finding(
    painter: QPainter,
    across: tuple[float, float],
    middle: float,
    row: VisitRow,
    out: bool,
    lit: bool,
) -> None:
    p = theme.current()
    left, right = across
    if out:
        write(painter, (left + 20, right), middle, "Takes no part", 12, 400, p.text3)
        return
    if row.pending and not row.issues:
        write(painter, (left + 20, right), middle, row.finding, 12, 400, p.text3)
        return
    ready = not row.issues
    mark = "check" if ready else "info" if row.tone == "text2" else "warning"
    ratio = painter.device().devicePixelRatioF()
    pixmap = icons.pixmap(mark, getattr(p, row.tone), 14, ratio)
    painter.drawPixmap(QPointF(left, middle - 7), pixmap)
    ink = p.text2 if ready else p.text
    more = f"  +{len(row.issues) - 1}" if len(row.issues) > 1 else ""
    room = right - width_of(more, 11)
    step = 8 * theme.text_scale()
    first, second = row.finding, ""
    if not row.link:
        first, second = in_two(row.finding, theme.font(12, 400), room - left - 20)
        if second:
            write(painter, (left + 20, right), middle - step, first, 12, 400, ink)
    line = middle - step if row.link else middle + step if second else middle
    end = write(painter, (left + 20, room), line, second or first, 12, 400, ink)
    if more:
        write(painter, (end, right), line, more, 11, 400, p.text2)
    if row.link:
        font = theme.font(11, 500)
        font.setUnderline(lit)
        write_in(painter, (left + 20, right), middle + step, row.link, font, p.accent)


def _use(painter: QPainter, box: QRectF, use: Use, over: bool) -> None:
    p = theme.current()
    ink = p.text if use in ("validate", "test") or over else p.text3 if use == "out" else p.text2
    weight = 500 if use in ("validate", "test") else 400
    word = USE_WORDS[use]
    write(painter, (box.left(), box.right()), box.center().y(), word, 12, weight, ink, _RIGHT)
    if over:
        line = box.center().y() + 9
        painter.setPen(QPen(p.text3, 1))
        start = box.right() - width_of(word, 12, weight)
        painter.drawLine(QPointF(start, line), QPointF(box.right(), line))


class Heads(ColumnHeads):
    """The names of the columns above the list, and the hairline below them."""

    TITLES: Sequence[tuple[str, str]] = (
        ("person", "Person"),
        ("scans", "Scans"),
        ("grid", "Grid"),
        ("times", "TR, TE, TI"),
        ("finding", "Finding"),
        ("use", "Use"),
    )

    def paint_heads(self, painter: QPainter) -> None:
        """Write the heads and draw the hairline."""
        p = theme.current()
        columns = Columns(0, self.width() - self.inset)
        middle = self.height() / 2 - 1
        for name, title in self.TITLES:
            align = _RIGHT if name == "use" else Qt.AlignmentFlag.AlignLeft
            write(painter, columns[name], middle, title, 11, 400, p.text2, align)
        line = QRectF(PAD, self.height() - 1, self.width() - self.inset - 2 * PAD, 1)
        painter.fillRect(line, p.line)
