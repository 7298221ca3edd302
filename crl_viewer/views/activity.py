"""What goes on in the background: one line each, with its progress and a way to stop it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QRectF, Qt, QTimer
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from crl_viewer import theme
from crl_viewer.views.segments import Chip, Words

HEIGHT = 32
BAR = (160, 4)
APPEARS_MS = 250
"""What is over sooner is not worth a line that comes and goes."""


class ActivityRow(QWidget):
    """One line: what is done, how far it is, and a button that stops it.

    Parameters
    ----------
    text
        What is being done.
    cancel
        Called when the button is pressed.
    """

    def __init__(
        self, text: str, cancel: Callable[[], None], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.words = Words(text, 12, 400)
        self.bar = _Bar()
        self.cancel = Chip("Cancel", "words")
        self.cancel.setAccessibleName(f"Cancel: {text}")
        self.cancel.clicked.connect(cancel)
        row = QHBoxLayout(self)
        row.setContentsMargins(16, 0, 16, 0)
        row.setSpacing(16)
        row.addWidget(self.words, 1)
        row.addWidget(self.bar)
        row.addWidget(self.cancel)
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.hide()
        self._appear = QTimer(self, singleShot=True, interval=APPEARS_MS)
        self._appear.timeout.connect(self.show)
        self._appear.start()

    def set_progress(self, text: str, share: float | None) -> None:
        """Say what is done and how much of it, 0 to 1; None where that is not known."""
        self.words.set_text(text)
        self.bar.set_share(share)

    def end(self) -> None:
        """Take the line away."""
        self._appear.stop()
        self.hide()
        self.deleteLater()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Fill the ground."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.current().control)
        painter.end()


class _Bar(QWidget):
    """How much is done; hidden while that is not known, with its place kept."""

    def __init__(self) -> None:
        super().__init__()
        self._share: float | None = None
        self.setFixedSize(*BAR)
        self.setAccessibleName("Progress")

    def set_share(self, share: float | None) -> None:
        """Take a share from 0 to 1."""
        if share != self._share:
            self._share = share
            said = "" if share is None else f"{100 * share:.0f} per cent"
            self.setAccessibleDescription(said)
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw track and part done."""
        if self._share is None:
            return
        palette = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        width, height = BAR
        for share, colour in ((1.0, palette.line), (self._share, palette.accent)):
            painter.setBrush(colour)
            painter.drawRoundedRect(QRectF(0, 0, max(width * share, height), height), 2, 2)
        painter.end()


class Activities(QWidget):
    """The lines of everything that goes on; takes no room while there is nothing."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows = QVBoxLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(1)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def begin(self, text: str, cancel: Callable[[], None]) -> ActivityRow:
        """Add a line; it shows once the work has taken a moment."""
        row = ActivityRow(text, cancel, self)
        self._rows.addWidget(row)
        return row

    def rows(self) -> list[ActivityRow]:
        """Return the lines that show."""
        return [r for r in self.findChildren(ActivityRow) if r.isVisibleTo(self)]
