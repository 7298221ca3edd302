"""How people are shared out, drawn as one bar."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from crl_viewer import theme
from crl_viewer.state.training_setup import USE_WORDS, USES, Use
from crl_viewer.views.lines import write
from crl_viewer.views.segments import Words, width_of

_SHARE = {"train": 0.4, "validate": 0.18, "test": 0.0, "out": 0.0}
"""How much of the accent a part wears; what is not learnt from wears none."""


class EndWords(Words):
    """A line of text that ends at the right edge."""

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the text."""
        painter = QPainter(self)
        ink, across = getattr(theme.current(), self._tone), (0.0, float(self.width()))
        right = Qt.AlignmentFlag.AlignRight
        write(painter, across, self.height() / 2, self.text, self._px, self._weight, ink, right)
        painter.end()


class SplitBar(QWidget):
    """Train, validate, test: each as long as it has people."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[Use, int] = dict.fromkeys(USES, 0)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Split by person")

    def set_counts(self, counts: Mapping[Use, int]) -> None:
        """Show how many people there are of each use."""
        self._counts = dict(counts)
        self.setAccessibleDescription(", ".join(self.texts))
        self.update()

    @property
    def texts(self) -> list[str]:
        """The words of its parts."""
        return [self._word(use) for use in USES[:3] if self._counts[use]]

    def sizeHint(self) -> QSize:
        """Return one line."""
        return QSize(320, round(24 * max(1.0, theme.text_scale())))

    def parts(self) -> list[tuple[Use, QRectF]]:
        """Return the parts with their boxes, none too short for its words."""
        shown = [use for use in USES[:3] if self._counts[use]]
        total = sum(self._counts[use] for use in shown)
        least = {use: width_of(self._word(use), 12, 500) + 16 for use in shown}
        wide = {use: self.width() * self._counts[use] / total for use in shown}
        lacking = sum(max(least[use] - wide[use], 0) for use in shown)
        spare = sum(max(wide[use] - least[use], 0) for use in shown)
        share = min(lacking / spare, 1.0) if spare > 0 else 0.0
        found, left = [], 0.0
        for use in shown:
            over = wide[use] - least[use]
            length = wide[use] - share * over if over > 0 else least[use]
            found.append((use, QRectF(left, 0, length, self.height())))
            left += length
        return found

    def _word(self, use: Use) -> str:
        return f"{USE_WORDS[use]} {self._counts[use]}"

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the parts and, faintly, each person in them."""
        p = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        around = QPainterPath()
        around.addRoundedRect(QRectF(self.rect()), 4, 4)
        painter.setClipPath(around)
        parts = self.parts()
        if not parts:
            painter.fillRect(self.rect(), p.control)
        for use, box in parts:
            painter.fillRect(box, p.control)
            tint = QColor(p.accent)
            tint.setAlphaF(_SHARE[use])
            painter.fillRect(box, tint)
            self._people(painter, use, box)
            across = (box.left() + 8, box.right() - 4)
            write(painter, across, box.center().y(), self._word(use), 12, 500, p.text)
        for _, box in parts[1:]:
            painter.fillRect(QRectF(round(box.left()), 0, 1, self.height()), p.panel)
        painter.end()

    def _people(self, painter: QPainter, use: Use, box: QRectF) -> None:
        many = self._counts[use]
        if box.width() / many < 6:
            return
        ink = QColor(theme.current().panel)
        ink.setAlphaF(0.45)
        painter.setPen(Qt.PenStyle.NoPen)
        for number in range(1, many):
            x = round(box.left() + box.width() * number / many)
            painter.fillRect(QRectF(x, box.height() - 4, 1, 4), ink)
