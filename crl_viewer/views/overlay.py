"""The words and marks on an image: role, parameters, badges, letters, scale bar.

Painting haloed text is slow, so a pane paints these into a pixmap when they change and only
blits it otherwise. All coordinates are logical pixels of the pane.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from PySide6.QtCore import QPointF, QRectF, QSize, QSizeF, Qt
from PySide6.QtGui import (
    QBrush,
    QColor,
    QFont,
    QFontMetricsF,
    QPainter,
    QPainterPath,
    QPen,
    QPixmap,
)

from crl_viewer import theme

MARGIN = 16
COMPACT_WIDTH = 480
"""Below this width the parameter line is shortened where it does not fit."""
TINY_WIDTH = 320
"""Below this width only title, badges, letters and warnings are left."""
THIN_SPACE = "\u2009"
MINUS = "\u2212"
NO_ORIENTATION = "Orientation not stated"
NO_LETTER = "?"
_NOTE_SHARE = 0.34
"""Notes at the bottom right are wrapped to this share of the width, clear of a round head."""

_ROW = 16
_FIRST = 20
_LETTER_GAP = 14
_RIM = tuple((dx, dy) for dx in (-1.2, 0, 1.2) for dy in (-1.2, 0, 1.2) if dx or dy)
"""Where the dark copies of a word lie. Drawing it eight times from the glyph cache takes a
fifth of the time of stroking its outline."""
_PARAMETERS = re.compile(r"\b(TR|TE|TI)\s+")
_WORD = re.compile(r"(?:T[REI] )?[^ ]+")
_UNIT = re.compile(r"\s*\bms\b")


@dataclass(slots=True)
class Words:
    """Everything a pane has to say.

    ``badges`` are (word, tone), ``note`` is (text, tone), tones are ``"text"``, ``"text2"``,
    ``"accent"`` and ``"warn"``. ``letters`` holds the sides left, right, top and bottom.
    ``mm_per_pixel`` draws a scale bar, None leaves it out. ``right_inset`` keeps the right
    letter clear of a colour bar. ``visible`` False leaves only letters and badges. Where the file
    states no orientation, question marks stand at the sides in place of letters, and
    ``say_unstated`` adds the words for it.
    """

    title: str = ""
    has_menu: bool = False
    lines: Sequence[str] = ()
    badges: Sequence[tuple[str, str]] = ()
    corner: str = ""
    note: tuple[str, str] = ("", "text2")
    letters: dict[str, str] = field(default_factory=dict)
    message: str = ""
    mm_per_pixel: float | None = None
    right_inset: float = 0.0
    visible: bool = True
    say_unstated: bool = True


def number_text(value: float, digits: int | None = None) -> str:
    """Write a number with a true minus and thin spaces between thousands.

    Parameters
    ----------
    value
        The number.
    digits
        Decimals; None chooses them so that about three figures show.
    """
    if digits is None:
        size = abs(value)
        digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 or size == 0 else 3
    text = f"{abs(value):,.{digits}f}".replace(",", THIN_SPACE)
    negative = value < 0 and text.strip("0.") != ""
    return f"{MINUS}{text}" if negative else text


def window_text(low: float, high: float) -> str:
    """Write a display range as window width and level."""
    width, level = high - low, (high + low) / 2
    size = max(abs(width), abs(level))
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 else 3
    return f"W {number_text(width, digits)}  L {number_text(level, digits)}"


def short_line(line: str) -> str:
    """Shorten a parameter line to its values: ``SE TR 5 000 TE 10 ms`` to ``5 000 / 10``."""
    if not _PARAMETERS.search(line):
        return line
    values = _PARAMETERS.split(_UNIT.sub("", line))[2::2]
    return " / ".join(v.strip() for v in values)


def tone_colour(tone: str) -> QColor:
    """Return the colour of a tone on an image.

    Raises
    ------
    KeyError
        For an unknown tone.
    """
    ink = theme.ON_IMAGE
    return {"text": ink.text, "text2": ink.text2, "accent": ink.accent, "warn": ink.warn}[tone]


def halo_text(
    painter: QPainter, x: float, middle: float, text: str, font: QFont, colour: QColor,
    align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft,
) -> QRectF:
    """Write one line with a dark rim, centred on `middle` by the height of its capitals.

    Returns
    -------
    The rectangle the line takes.
    """
    metrics = QFontMetricsF(font)
    width = metrics.horizontalAdvance(text)
    if align == Qt.AlignmentFlag.AlignRight:
        x -= width
    elif align == Qt.AlignmentFlag.AlignHCenter:
        x -= width / 2
    at = QPointF(x, middle + metrics.capHeight() / 2)
    painter.setFont(font)
    painter.setPen(theme.ON_IMAGE.halo)
    for dx, dy in _RIM:
        painter.drawText(at + QPointF(dx, dy), text)
    painter.setPen(colour)
    painter.drawText(at, text)
    return QRectF(x, middle - metrics.height() / 2, width, metrics.height())


def blank_layer(size: QSizeF, ratio: float) -> QPixmap:
    """Return a transparent pixmap of a logical size for a device pixel ratio."""
    layer = QPixmap((size * ratio).toSize().expandedTo(QSize(1, 1)))
    layer.setDevicePixelRatio(ratio)
    layer.fill(Qt.GlobalColor.transparent)
    return layer


def paint_words(painter: QPainter, size: QSizeF, words: Words) -> QRectF:
    """Paint all words of a pane.

    Returns
    -------
    The rectangle of the title with its chevron, which opens the menu.
    """
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setRenderHint(QPainter.RenderHint.TextAntialiasing)
    title = QRectF()
    if words.message:
        _paint_message(painter, size, words.message)
    badge_width = _paint_badges(painter, size, words.badges)
    _paint_letters(painter, size, words, badge_width)
    unstated = [NO_ORIENTATION] if words.say_unstated and not is_stated(words) else []
    if words.visible:
        title = _paint_title(painter, size, words)
        lines = list(words.lines) if size.width() >= TINY_WIDTH else []
        _paint_lines(painter, size, [*lines, *unstated], badge_width)
        if size.width() >= TINY_WIDTH:
            _paint_corner(painter, size, words)
        elif words.note[1] == "warn":
            _paint_warning(painter, size, words)
    else:
        _paint_lines(painter, size, unstated, badge_width)
    return title


def is_stated(words: Words) -> bool:
    """Return whether the letters are known, or there is no image to letter yet."""
    return not words.letters or any(words.letters.values())


def row_middle(row: int, height: float | None = None) -> float:
    """Return the middle of a line of words: row 0, 1, ... from the top, or from the bottom.

    Parameters
    ----------
    row
        Number of the line.
    height
        Height of the pane to count from its bottom; None counts from the top.
    """
    offset = (_FIRST + _ROW * row) * theme.text_scale()
    return offset if height is None else height - offset


def _room(size: QSizeF) -> float:
    """Width between the margin and the letter in the middle of the top."""
    return size.width() / 2 - MARGIN - _LETTER_GAP


def _paint_title(painter: QPainter, size: QSizeF, words: Words) -> QRectF:
    font = theme.font(12, 600)
    room = _room(size) - (18 if words.has_menu else 0)
    text = QFontMetricsF(font).elidedText(words.title, Qt.TextElideMode.ElideRight, room)
    box = halo_text(painter, MARGIN, row_middle(0), text, font, tone_colour("text"))
    if not words.has_menu:
        return box
    x, y = box.right() + 8, row_middle(0) - 1.5
    chevron = QPainterPath(QPointF(x, y))
    chevron.lineTo(x + 3.5, y + 3.5)
    chevron.lineTo(x + 7, y)
    cap, join = Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin
    for colour, width in ((theme.ON_IMAGE.halo, 4.0), (tone_colour("text2"), 1.25)):
        pen = QPen(QBrush(colour), width, Qt.PenStyle.SolidLine, cap, join)
        painter.strokePath(chevron, pen)
    middle = box.center().y()
    return QRectF(box.left() - 6, middle - 12, box.width() + 30, 24)


def _paint_lines(
    painter: QPainter, size: QSizeF, lines: Iterable[str], badge_width: float
) -> None:
    font = theme.font(11)
    metrics = QFontMetricsF(font)
    room = _room(size)
    if badge_width == 0:
        room = max(room, size.width() * 0.6)
    for number, line in enumerate(lines):
        text = line
        if size.width() < COMPACT_WIDTH and metrics.horizontalAdvance(text) > _room(size):
            text = short_line(line)
        text = metrics.elidedText(text, Qt.TextElideMode.ElideRight, room)
        halo_text(painter, MARGIN, row_middle(number + 1), text, font, tone_colour("text2"))


def _paint_badges(painter: QPainter, size: QSizeF, badges: Sequence[tuple[str, str]]) -> float:
    """Paint the badges under one another at the top right; return the width of the widest."""
    font = QFont(theme.font(11, 600))
    font.setLetterSpacing(QFont.SpacingType.PercentageSpacing, 102)
    scale = theme.text_scale()
    widest = 0.0
    for number, (word, tone) in enumerate(badges):
        width = round(QFontMetricsF(font).horizontalAdvance(word) + 16)
        height = round(20 * scale)
        left = round(size.width()) - MARGIN - width
        box = QRectF(left, 12 + 24 * scale * number, width, height)
        painter.setPen(QPen(tone_colour(tone), 1.0))
        painter.setBrush(QColor(0, 0, 0, 153))
        painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)
        painter.setFont(font)
        metrics = QFontMetricsF(font)
        at = QPointF(box.left() + 8, box.center().y() + metrics.capHeight() / 2)
        painter.drawText(at, word)
        widest = max(widest, width)
    return widest


def _paint_letters(painter: QPainter, size: QSizeF, words: Words, badge_width: float) -> None:
    font, colour = theme.font(12, 600), tone_colour("text")
    centre, middle = size.width() / 2, size.height() / 2
    right = size.width() - MARGIN - words.right_inset
    align = Qt.AlignmentFlag
    letters = words.letters
    if not is_stated(words):
        letters, colour = {"left": NO_LETTER, "right": NO_LETTER}, tone_colour("text2")
    halo_text(painter, MARGIN, middle, letters.get("left", ""), font, colour)
    halo_text(painter, right, middle, letters.get("right", ""), font, colour, align.AlignRight)
    if badge_width <= _room(size) + 4:
        top = letters.get("top", "")
        halo_text(painter, centre, row_middle(0), top, font, colour, align.AlignHCenter)
    bottom = letters.get("bottom", "")
    low = row_middle(0, size.height())
    halo_text(painter, centre, low, bottom, font, colour, align.AlignHCenter)


def _paint_corner(painter: QPainter, size: QSizeF, words: Words) -> None:
    """Write slice and note at the bottom right, the scale bar above them."""
    font = theme.font(11)
    right, row = size.width() - MARGIN, 0
    align = Qt.AlignmentFlag.AlignRight
    note, tone = words.note
    stack = [(words.corner, "text2")] if words.corner else []
    room = min(_room(size), size.width() * _NOTE_SHARE)
    stack += [(line, tone) for line in reversed(_wrapped(note, font, room))]
    for text, line_tone in stack:
        y = row_middle(row, size.height())
        halo_text(painter, right, y, text, font, tone_colour(line_tone), align)
        row += 1
    if words.mm_per_pixel:
        _paint_scale_bar(painter, size, words.mm_per_pixel, row_middle(row, size.height()))


def _paint_warning(painter: QPainter, size: QSizeF, words: Words) -> None:
    """Write a warning across a narrow pane, between the letters of the middle and the bottom."""
    font = theme.font(11)
    right = size.width() - MARGIN - words.right_inset
    lines = _wrapped(words.note[0], font, right - MARGIN)
    row = _ROW * theme.text_scale()
    most = max(1, int((size.height() / 2 - _FIRST * theme.text_scale()) / row) - 1)
    if len(lines) > most:
        lines = [*lines[: most - 1], " ".join(lines[most - 1 :])]
    align, colour = Qt.AlignmentFlag.AlignRight, tone_colour("warn")
    for number, line in enumerate(reversed(lines), start=1):
        text = QFontMetricsF(font).elidedText(line, Qt.TextElideMode.ElideRight, right - MARGIN)
        halo_text(painter, right, row_middle(number, size.height()), text, font, colour, align)


def _wrapped(text: str, font: QFont, room: float) -> list[str]:
    """Break a sentence into lines that fit; a word that is too long stays whole.

    Thin spaces inside numbers and the space after TR, TE or TI are no place to break.
    """
    metrics = QFontMetricsF(font)
    lines: list[str] = []
    for word in _WORD.findall(text):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and metrics.horizontalAdvance(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def bar_length_mm(mm_per_pixel: float, room: float) -> float:
    """Return the longest of 1, 2, 5, 10, ... mm that fits into `room` pixels."""
    best = 0.001
    for exponent in range(-3, 4):
        for digit in (1, 2, 5):
            length = digit * 10.0**exponent
            if length / mm_per_pixel <= room:
                best = length
    return best


def _paint_scale_bar(painter: QPainter, size: QSizeF, mm_per_pixel: float, y: float) -> None:
    length = bar_length_mm(mm_per_pixel, _room(size) / 2)
    width = round(length / mm_per_pixel)
    right, middle = round(size.width()) - MARGIN, round(y)
    for colour, grow in ((theme.ON_IMAGE.halo, 1), (tone_colour("text2"), 0)):
        for box in (
            QRectF(right - width, middle, width, 1),
            QRectF(right - width, middle - 3, 1, 7),
            QRectF(right - 1, middle - 3, 1, 7),
        ):
            painter.fillRect(box.adjusted(-grow, -grow, grow, grow), colour)
    label = f"{length:g} mm"
    x = right - width - 8
    halo_text(
        painter, x, y + 0.5, label, theme.font(11), tone_colour("text2"),
        Qt.AlignmentFlag.AlignRight,
    )


def _paint_message(painter: QPainter, size: QSizeF, message: str) -> None:
    """Write a sentence into the middle of an empty pane."""
    painter.setFont(theme.font(12))
    painter.setPen(tone_colour("text2"))
    width = min(size.width() - 4 * MARGIN, 320)
    box = QRectF((size.width() - width) / 2, 0, width, size.height())
    flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
    painter.drawText(box, int(flags), message)
