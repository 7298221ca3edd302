"""Small painted buttons: chips, segments, words that act, and the heading they stand in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetricsF, QKeyEvent, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QAbstractButton, QHBoxLayout, QSizePolicy, QWidget

from crl_viewer import theme

HEIGHT = 24
RADIUS = 4.0

Kind = Literal["chip", "segment", "words"]


def width_of(text: str, px: float = 12, weight: int = 500) -> float:
    """Return how wide a text is drawn, in logical pixels."""
    return QFontMetricsF(theme.font(px, weight)).horizontalAdvance(text)


class SteppingButton(QAbstractButton):
    """A button among others: arrow keys ask for a neighbour, Return presses it."""

    stepped = Signal(int)
    """An arrow key asks for the neighbour so many places on."""

    STEPS: Mapping[Qt.Key, int] = MappingProxyType({Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1})

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Let arrows go to a neighbour and Return press the button."""
        step = self.STEPS.get(Qt.Key(event.key()))
        if step is not None:
            self.stepped.emit(step)
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.click()
        else:
            super().keyPressEvent(event)


class Chip(SteppingButton):
    """A painted button.

    Parameters
    ----------
    text
        What it says.
    kind
        ``"chip"`` is an action or a preset and filled; ``"segment"`` is a choice of view and
        filled only when chosen; ``"words"`` has no ground at all.
    chevron
        Draw a small arrow behind the words, because a menu opens.
    """

    def __init__(
        self, text: str, kind: Kind = "chip", *, chevron: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._kind = kind
        self._chevron = chevron
        self._outlined = False
        self.setText(text)
        self.setAccessibleName(text)
        self.setCheckable(kind != "words")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def set_outlined(self, outlined: bool) -> None:
        """Mark a preset that has been moved away from."""
        if outlined != self._outlined:
            self._outlined = outlined
            self.update()

    @property
    def outlined(self) -> bool:
        """Whether it is drawn as chosen once and left since."""
        return self._outlined

    def sizeHint(self) -> QSize:
        """Return the space of the words and the padding around them."""
        padding = 10 if self._kind == "words" else 20
        extra = 14 if self._chevron else 0
        return QSize(round(width_of(self.text()) + padding + extra + 0.5), HEIGHT)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw ground, words and focus in the colours of the theme."""
        p = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        hovered = self.underMouse() and self.isEnabled()
        chosen = self.isChecked()
        ground, ink = None, p.text2
        if self._kind == "chip":
            ground = p.accent if chosen else p.hover if hovered else p.control
            ink = p.on_accent if chosen else p.text if self._outlined or hovered else p.text2
        elif self._kind == "segment":
            ground = p.control if chosen else None
            ink = p.text if chosen or hovered else p.text2
        elif hovered or self._outlined or chosen:
            ink = p.text
        box = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        if ground is not None:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(ground)
            painter.drawRoundedRect(QRectF(self.rect()), RADIUS, RADIUS)
        if self._outlined or self.hasFocus():
            focused_fill = self._kind == "chip" and chosen
            painter.setPen(QPen(p.text if focused_fill else p.accent, 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(box, RADIUS - 0.5, RADIUS - 0.5)
        painter.setPen(p.text3 if not self.isEnabled() else ink)
        painter.setFont(theme.font(12, 500))
        words = QRectF(self.rect())
        if self._chevron:
            words.adjust(0, 0, -14, 0)
        align = Qt.AlignmentFlag.AlignCenter
        painter.drawText(words, int(align | Qt.TextFlag.TextSingleLine), self.text())
        if self._chevron:
            self._paint_chevron(painter)

    def _paint_chevron(self, painter: QPainter) -> None:
        pen = QPen(painter.pen().color(), 1.25)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        painter.setPen(pen)
        x, y = self.width() - 9.0, self.height() / 2.0
        points = [QPointF(x - 3.5, y - 1.5), QPointF(x, y + 2), QPointF(x + 3.5, y - 1.5)]
        painter.drawPolyline(points)


class ChipRow(QWidget):
    """Chips or segments side by side; one stop for the Tab key, arrows move inside.

    Parameters
    ----------
    texts
        What the buttons say, from the left.
    kind
        See `Chip`.
    fill
        Share the whole width between the buttons, in proportion to their words.
    exclusive
        Keep exactly one chosen, as segments do.
    """

    chosen = Signal(int)

    def __init__(
        self, texts: Sequence[str], kind: Kind, *, fill: bool = False, exclusive: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._fill, self._exclusive = fill, exclusive
        self._gap = 5 if fill else 2
        self.buttons = [Chip(text, kind, parent=self) for text in texts]
        for index, button in enumerate(self.buttons):
            button.clicked.connect(lambda _=False, i=index: self._on_clicked(i))
            button.stepped.connect(lambda step, i=index: self._move_focus(i + step))
        across = QSizePolicy.Policy.Ignored if fill else QSizePolicy.Policy.Fixed
        self.setSizePolicy(across, QSizePolicy.Policy.Fixed)
        self.select(0 if exclusive else None)

    def select(self, index: int | None) -> None:
        """Mark one button as chosen, or none."""
        for i, button in enumerate(self.buttons):
            button.setChecked(i == index)
        self._rove(0 if index is None else index)

    def selected(self) -> int | None:
        """Return the chosen button."""
        return next((i for i, b in enumerate(self.buttons) if b.isChecked()), None)

    def sizeHint(self) -> QSize:
        """Return the space of all buttons in a row."""
        widths = [b.sizeHint().width() for b in self.buttons]
        return QSize(sum(widths) + self._gap * (len(widths) - 1), HEIGHT)

    def minimumSizeHint(self) -> QSize:
        """Return no more than a strip, so that the row never fixes the width of a window."""
        return QSize(0, HEIGHT) if self._fill else self.sizeHint()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Place the buttons."""
        widths = [b.sizeHint().width() for b in self.buttons]
        if self._fill:
            words = [width_of(b.text()) for b in self.buttons]
            spare = self.width() - sum(words) - self._gap * (len(words) - 1)
            widths = [round(w + spare / len(words)) for w in words]
        x = 0
        for index, (button, width) in enumerate(zip(self.buttons, widths, strict=True)):
            if self._fill and index == len(widths) - 1:
                width = self.width() - x
            button.setGeometry(x, 0, max(width, 1), HEIGHT)
            x += width + self._gap

    def changeEvent(self, event: QEvent) -> None:
        """Measure again when the font changes."""
        if event.type() == QEvent.Type.FontChange:
            self.updateGeometry()
        super().changeEvent(event)

    def _on_clicked(self, index: int) -> None:
        if self._exclusive:
            self.select(index)
        else:
            self._rove(index)
        self.chosen.emit(index)

    def _move_focus(self, index: int) -> None:
        index %= len(self.buttons)
        self._rove(index)
        self.buttons[index].setFocus(Qt.FocusReason.TabFocusReason)
        if self._exclusive:
            self._on_clicked(index)

    def _rove(self, index: int) -> None:
        """Keep one button in the Tab order."""
        for i, button in enumerate(self.buttons):
            here = i == index
            button.setFocusPolicy(
                Qt.FocusPolicy.StrongFocus if here else Qt.FocusPolicy.ClickFocus
            )


class Words(QWidget):
    """A painted line of text that shortens instead of widening its parent.

    Parameters
    ----------
    text
        What it says.
    px, weight
        Size at 100 % and weight.
    tone
        Name of the colour in the palette.
    """

    def __init__(
        self, text: str = "", px: float = 12, weight: int = 600, tone: str = "text",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._text, self._px, self._weight, self._tone = text, px, weight, tone
        self._shorter = ""
        self.setAccessibleName(text)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    @property
    def text(self) -> str:
        """What it says."""
        return self._text

    def set_text(self, text: str, shorter: str = "") -> None:
        """Say something else; `shorter` stands in where there is no room for all of it."""
        if text != self._text:
            self._text, self._shorter = text, shorter
            self.setAccessibleName(text)
            self.setToolTip("")
            self.update()

    def sizeHint(self) -> QSize:
        """Return one line."""
        return QSize(round(width_of(self._text, self._px, self._weight) + 1), HEIGHT)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the text, shortened where it does not fit, in full in the tooltip."""
        painter = QPainter(self)
        font = theme.font(self._px, self._weight)
        painter.setFont(font)
        painter.setPen(getattr(theme.current(), self._tone))
        metrics, room = QFontMetricsF(font), self.width()
        fits = metrics.horizontalAdvance(self._text) <= room
        wanted = self._text if fits or not self._shorter else self._shorter
        shown = metrics.elidedText(wanted, Qt.TextElideMode.ElideRight, room)
        if shown != self._text and self.toolTip() != self._text:
            self.setToolTip(self._text)
        middle = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        painter.drawText(QRectF(self.rect()), int(middle), shown)


class Heading(QWidget):
    """A bold word at the left and what acts on the section at the right."""

    def __init__(self, title: str, *right: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = Words(title, parent=self)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.title, 1)
        for widget in right:
            row.addWidget(widget)
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
