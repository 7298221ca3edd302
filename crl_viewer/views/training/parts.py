"""Small pieces of the training dialog: hairlines, the words for pages, big numbers, progress."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QPushButton, QSizePolicy, QWidget

from crl_viewer import theme
from crl_viewer.views.segments import HEIGHT, Chip, Words, width_of


class Hairline(QWidget):
    """One pixel of the line colour, across or upright."""

    def __init__(self, *, upright: bool = False) -> None:
        super().__init__()
        fixed, free = QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Ignored
        if upright:
            self.setFixedWidth(1)
            self.setSizePolicy(fixed, free)
        else:
            self.setFixedHeight(1)
            self.setSizePolicy(free, fixed)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the line."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.current().line)
        painter.end()


class Fixed(Words):
    """A line of text that keeps the width of the longest it may say.

    Parameters
    ----------
    longest
        That text.
    """

    def __init__(self, longest: str, px: float, weight: int, tone: str) -> None:
        super().__init__("", px, weight, tone)
        self._longest = longest
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        """Return the room of the longest text."""
        longest = max((self._longest, self.text), key=len)
        return QSize(round(width_of(longest, self._px, self._weight) + 2), HEIGHT)


class Sentence(Words):
    """A line of text whose tone can change."""

    def say(self, text: str, tone: str = "text2") -> None:
        """Say something in a tone of the palette."""
        self._tone = tone
        self.set_text(text)
        self.update()


class PageWord(Chip):
    """The name of a page; a line in the accent stands under the one that shows."""

    def __init__(self, text: str) -> None:
        super().__init__(text, "words")
        self.setCheckable(True)
        self.setAutoExclusive(True)

    def sizeHint(self) -> QSize:
        """Return the room of the words when chosen, so that choosing moves nothing."""
        return QSize(round(width_of(self.text(), 12, 600) + 21), 28)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the words and what stands under them."""
        p = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        chosen = self.isChecked()
        lit = chosen or (self.underMouse() and self.isEnabled())
        painter.setFont(theme.font(12, 600 if chosen else 400))
        painter.setPen(p.text if lit else p.text2 if self.isEnabled() else p.text3)
        painter.setOpacity(1.0 if self.isEnabled() else 0.6)
        painter.drawText(QRectF(self.rect()), int(Qt.AlignmentFlag.AlignCenter), self.text())
        painter.setOpacity(1.0)
        if chosen:
            width = width_of(self.text(), 12, 600)
            line = QRectF((self.width() - width) / 2, self.height() - 3, width, 2)
            painter.fillRect(line, p.accent)
        if self.hasFocus():
            painter.setPen(QPen(p.accent, 1))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        painter.end()


class Button(QPushButton):
    """A button of the height of the design; the style sheet alone would make it an inline one."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.setAutoDefault(False)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        """Return the room of the words, a little wider than inline buttons have it."""
        wanted = super().sizeHint()
        height = round(32 * max(1.0, theme.text_scale()))
        return QSize(wanted.width() + 8, max(height, wanted.height()))

    def minimumSizeHint(self) -> QSize:
        """Return the same: words on a button are never cut."""
        return self.sizeHint()


class DangerButton(Button):
    """Red words; what it does cannot simply be taken back."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.setFlat(True)
        self._colour()
        theme.changed.connect(self._colour)

    def _colour(self) -> None:
        bad, accent = theme.current().bad.name(), theme.current().accent.name()
        self.setStyleSheet(
            f"QPushButton {{ color: {bad}; background: transparent; }}"
            f"QPushButton:hover {{ background: {theme.current().hover.name()}; }}"
            f"QPushButton:focus {{ border-color: {accent}; }}"
        )


class ProgressLine(QWidget):
    """How far the run is, above its words."""

    def __init__(self) -> None:
        super().__init__()
        self._share, self._left, self._right, self._lit = 0.0, "", "", True
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Progress")

    def set_progress(self, share: float, left: str, right: str, *, lit: bool = True) -> None:
        """Show a share of 0 to 1 with words at both ends; a run that rests is grey."""
        self._share, self._left, self._right = min(max(share, 0.0), 1.0), left, right
        self._lit = lit
        self.setAccessibleDescription(". ".join(t for t in (left, right) if t))
        self.update()

    @property
    def texts(self) -> tuple[str, str]:
        """The words at both ends."""
        return self._left, self._right

    @property
    def share(self) -> float:
        """How far the bar reaches."""
        return self._share

    def sizeHint(self) -> QSize:
        """Return bar and words."""
        return QSize(400, round(12 + 18 * max(1.0, theme.text_scale())))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw bar and words."""
        p = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(p.line)
        painter.drawRoundedRect(QRectF(0, 0, self.width(), 4), 2, 2)
        if self._share > 0:
            painter.setBrush(p.accent if self._lit else p.text3)
            painter.drawRoundedRect(QRectF(0, 0, max(4.0, self._share * self.width()), 4), 2, 2)
        box = QRectF(0, 9, self.width(), self.height() - 9)
        painter.setFont(theme.font(12, 500))
        painter.setPen(p.text)
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.drawText(box, int(Qt.AlignmentFlag.AlignLeft | middle), self._left)
        painter.drawText(box, int(Qt.AlignmentFlag.AlignRight | middle), self._right)
        painter.end()


class Numbers(QWidget):
    """Big numbers side by side in fields of one width, each above what it counts."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names, self._values = list(names), ["\N{EN DASH}"] * len(names)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Pace")

    def set_values(self, values: Sequence[str], names: Sequence[str] | None = None) -> None:
        """Show values, and name them anew if wanted."""
        self._values, self._names = list(values), list(names or self._names)
        pairs = zip(self._values, self._names, strict=True)
        self.setAccessibleDescription(", ".join(f"{v} {n}" for v, n in pairs))
        self.update()

    @property
    def texts(self) -> list[str]:
        """Values with their names."""
        return [f"{v} {n}" for v, n in zip(self._values, self._names, strict=True)]

    def sizeHint(self) -> QSize:
        """Return two lines."""
        return QSize(300, round(40 * max(1.0, theme.text_scale())))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the numbers."""
        p = theme.current()
        painter = QPainter(self)
        width, half = self.width() / len(self._names), self.height() / 2
        left = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        for index, (value, name) in enumerate(zip(self._values, self._names, strict=True)):
            painter.setFont(theme.font(16, 600))
            painter.setPen(p.text)
            painter.drawText(QRectF(index * width, 0, width, half + 2), left, value)
            painter.setFont(theme.font(11))
            painter.setPen(p.text2)
            room = round(width - 8)
            shown = painter.fontMetrics().elidedText(name, Qt.TextElideMode.ElideRight, room)
            painter.drawText(QRectF(index * width, half + 2, width, half - 2), left, shown)
        painter.end()
