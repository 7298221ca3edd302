"""Everything beside the images: contrast, parameter space, numbers, signal."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QFrame,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from crl_viewer import icons, theme
from crl_viewer.views.pad import ParameterPad
from crl_viewer.views.presets import PresetBar
from crl_viewer.views.signal_plot import SignalPlot
from crl_viewer.views.sliders import ParameterSliders
from crl_viewer.views.table import MetricsTable

WIDTH = 336
WIDE = 400
SIGNAL_FROM = 820
AGAINST_FROM = 720
"""Lower panels show the signal, and below that the numbers, as a heading only, pixels."""


class SidePanel(QScrollArea):
    """The controls, in sections with a hairline between them."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.presets = PresetBar()
        self.sliders = ParameterSliders()
        self.pad = ParameterPad()
        self.table = MetricsTable()
        self.plot = SignalPlot()
        self.against = Fold("Against acquired", self.table)
        self.signal = Fold("Signal at cursor", self.plot)
        inner = _Ground()
        column = QVBoxLayout(inner)
        column.setContentsMargins(16, 12, 16, 8)
        column.setSpacing(8)
        column.addWidget(self.presets)
        column.addWidget(self.sliders)
        for section, stretch in ((self.pad, 3), (self.against, 0), (self.signal, 2)):
            column.addWidget(_Hairline())
            column.addWidget(section, stretch)
        column.addStretch(0)
        self.setWidget(inner)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFixedWidth(WIDTH)
        self.setAccessibleName("Side panel")

    def sizeHint(self) -> QSize:
        """Return the size in the standard window."""
        return QSize(WIDTH, 836)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fold the lower sections away where there is no room for them."""
        super().resizeEvent(event)
        self.signal.set_room(self.height() >= SIGNAL_FROM)
        self.against.set_room(self.height() >= AGAINST_FROM)


class Fold(QWidget):
    """A section that shrinks to its heading; opened by hand it stays open.

    Parameters
    ----------
    title
        What the heading says while it is folded.
    content
        The section, with its own heading.
    """

    def __init__(self, title: str, content: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.content = content
        self.heading = _FoldedHeading(title)
        self.heading.clicked.connect(self._open)
        self._opened = False
        self._room = True
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.heading)
        column.addWidget(content)
        self._refresh()

    @property
    def folded(self) -> bool:
        """Whether only the heading shows."""
        return not self._room and not self._opened

    def set_room(self, room: bool) -> None:
        """Say whether there is room for the content."""
        if room != self._room:
            self._room = room
            if room:
                self._opened = False
            self._refresh()

    def _open(self) -> None:
        self._opened = True
        self._refresh()

    def _refresh(self) -> None:
        flexible = QSizePolicy.Policy.Preferred
        self.setSizePolicy(flexible, QSizePolicy.Policy.Fixed if self.folded else flexible)
        self.heading.setVisible(self.folded)
        self.content.setVisible(not self.folded)


class _FoldedHeading(QAbstractButton):
    """A bold word with a chevron at the right."""

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setText(title)
        self.setAccessibleName(f"Show {title}")
        self.setFixedHeight(24)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw word and chevron."""
        palette = theme.current()
        painter = QPainter(self)
        painter.setFont(theme.font(12, 600))
        painter.setPen(palette.accent if self.hasFocus() else palette.text)
        middle = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)
        painter.drawText(self.rect(), middle, self.text())
        ratio = self.devicePixelRatioF()
        mark = icons.pixmap("chevron-right", palette.text2, 16, ratio)
        painter.drawPixmap(self.width() - 16, (self.height() - 16) // 2, mark)
        painter.end()


class _Hairline(QWidget):
    """One pixel of the line colour."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(1)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the line."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.current().line)
        painter.end()


class _Ground(QWidget):
    """The ground of the panel in the colour of the theme."""

    def paintEvent(self, event: QPaintEvent) -> None:
        """Fill it."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), theme.current().panel)
        painter.end()


class Banner(QWidget):
    """One line about what went wrong, in place above the images."""

    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = ""
        self.setFixedHeight(32)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.hide()

    @property
    def text(self) -> str:
        """What it says."""
        return self._text

    def set_text(self, text: str) -> None:
        """Show a line; an empty one hides the banner."""
        self._text = text
        self.setToolTip(f"{text}\nClick to close" if text else "")
        self.setAccessibleName(text)
        self.setVisible(bool(text))
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Close on a click."""
        self.closed.emit()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw mark, line and cross."""
        palette = theme.current()
        painter = QPainter(self)
        painter.fillRect(self.rect(), palette.control)
        ratio = self.devicePixelRatioF()
        painter.drawPixmap(16, 8, icons.pixmap("warning", palette.bad, 16, ratio))
        painter.drawPixmap(self.width() - 32, 8, icons.pixmap("close", palette.text2, 16, ratio))
        painter.setFont(theme.font(12))
        painter.setPen(palette.text)
        room = self.width() - 40 - 48
        shown = painter.fontMetrics().elidedText(self._text, Qt.TextElideMode.ElideMiddle, room)
        middle = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)
        painter.drawText(40, 0, room, self.height(), middle, shown)
        painter.end()
