"""Whether fat is suppressed in what is synthesised: a row below the three sliders."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from crl_viewer import strings, theme
from crl_viewer.views.segments import HEIGHT, ChipRow
from crl_viewer.views.slider_row import LABEL


class FatRow(QWidget):
    """Two words, one of them chosen; dimmed where the network was never told of fat."""

    toggled = Signal(bool)
    """Chosen by the user: suppressed or not."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.choice = ChipRow(strings.FAT_CHOICES, "segment", exclusive=True, parent=self)
        self.choice.chosen.connect(lambda index: self.toggled.emit(index == 1))
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.set_usable(False)

    @property
    def suppressed(self) -> bool:
        """Whether suppression is chosen."""
        return self.choice.selected() == 1

    def set_suppressed(self, on: bool) -> None:
        """Choose without announcing it."""
        if on != self.suppressed:
            self.choice.select(int(on))

    def set_usable(self, usable: bool) -> None:
        """Say whether the network can do anything with it."""
        self.choice.setEnabled(usable)
        self.setToolTip(strings.FAT_TIP if usable else strings.FAT_UNKNOWN)
        self.update()

    def sizeHint(self) -> QSize:
        """Return one line."""
        return QSize(300, HEIGHT)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Start where the tracks start."""
        self.choice.setGeometry(LABEL, 0, self.width() - LABEL, HEIGHT)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the name as beside the tracks."""
        p = theme.current()
        painter = QPainter(self)
        painter.setFont(theme.font(12, 600))
        painter.setPen(p.text if self.choice.isEnabled() else p.text3)
        middle = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)
        painter.drawText(QRectF(0, 0, LABEL, HEIGHT), middle, strings.FAT)
