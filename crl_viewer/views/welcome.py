"""The page to begin with: two demos, open, recent files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QImage, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import (
    QAbstractButton,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from crl_viewer import strings, theme
from crl_viewer.settings import Recent

RECENT_SHOWN = 5
_CARD = QSize(352, 232)
_PICTURES = QRectF(0, 0, 352, 144)


class DemoCard(QAbstractButton):
    """A demo as a picture strip with a name and a sentence."""

    def __init__(self, title: str, sentence: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._sentence = sentence
        self._pictures: list[tuple[QImage, NDArray[np.uint8]]] = []
        self.setText(title)
        self.setAccessibleName(title)
        self.setAccessibleDescription(sentence)
        self.setFixedSize(_CARD)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)

    def set_pictures(self, pictures: Sequence[NDArray[np.uint8]]) -> None:
        """Show grey pictures (rows, columns) side by side; Qt borrows their memory."""
        self._pictures = []
        for picture in pictures:
            kept = np.ascontiguousarray(picture)
            rows, cols = kept.shape
            image = QImage(kept.data, cols, rows, cols, QImage.Format.Format_Grayscale8)
            self._pictures.append((image, kept))
        self.update()

    def has_pictures(self) -> bool:
        """Return whether the strip is filled."""
        return bool(self._pictures)

    def sizeHint(self) -> QSize:
        """Return the size of the card."""
        return _CARD

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint pictures, name and sentence."""
        palette = theme.current()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setPen(palette.accent if self.hasFocus() else Qt.PenStyle.NoPen)
        painter.setBrush(palette.hover if self.underMouse() else palette.control)
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        painter.fillRect(_PICTURES.adjusted(1, 4, -1, 0), palette.canvas)
        self._paint_pictures(painter)
        wrap = int(Qt.TextFlag.TextWordWrap)
        painter.setFont(theme.font(12, 600))
        painter.setPen(palette.text)
        painter.drawText(QRectF(16, 156, _CARD.width() - 32, 20), 0, self.text())
        painter.setFont(theme.font(11))
        painter.setPen(palette.text2)
        painter.drawText(QRectF(16, 178, _CARD.width() - 32, 48), wrap, self._sentence)
        painter.end()

    def _paint_pictures(self, painter: QPainter) -> None:
        count = len(self._pictures)
        for number, (image, _) in enumerate(self._pictures):
            width = _PICTURES.width() / count
            cell = QRectF(number * width, 8, width, _PICTURES.height() - 8)
            scale = min(cell.width() / image.width(), cell.height() / image.height())
            box = QRectF(0, 0, image.width() * scale, image.height() * scale)
            box.moveCenter(cell.center())
            painter.drawImage(box, image)


class WelcomePage(QWidget):
    """Shown while nothing is loaded, and again on request."""

    demoChosen = Signal(str)
    openRequested = Signal()
    folderRequested = Signal()
    recentChosen = Signal(object)
    backRequested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setAutoFillBackground(True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self.cards = {
            "real": DemoCard(
                "Real slice",
                "One brain slice, acquired twelve times on a scanner: "
                "six echo times and six inversion times.",
            ),
            "digital": DemoCard(
                "Digital subject",
                "A simulated head as a volume: the nine sequences of the paper and a T1w.",
            ),
        }
        for name, card in self.cards.items():
            card.clicked.connect(lambda _=False, name=name: self.demoChosen.emit(name))
        self._title = QLabel(strings.APP_NAME)
        self._hint = QLabel(strings.DROP_HINT)
        self._heading = QLabel("Recent files")
        self._open = QPushButton("Open folder…")
        self._open.setProperty("primary", True)
        self._open.setToolTip("A DICOM folder, a BIDS dataset or a folder of NIfTI files")
        self._open.clicked.connect(self.folderRequested)
        self._files = QPushButton("Open files…")
        self._files.setToolTip("NIfTI files, DICOM files or zip archives")
        self._files.clicked.connect(self.openRequested)
        self._back = QPushButton("Back to the images")
        self._back.setFlat(True)
        self._back.clicked.connect(self.backRequested)
        self._recent = QVBoxLayout()
        self._recent.setSpacing(0)
        self._legal = QLabel(strings.NOT_CLINICAL)
        self._sentence = QLabel(strings.WELCOME)
        self._lay_out()
        theme.changed.connect(self._dress)
        self._dress()
        self.set_recent(())
        self.set_back(False)

    def set_back(self, shown: bool) -> None:
        """Offer the way back to what is loaded."""
        self._back.setVisible(shown)

    def set_recent(self, recent: Sequence[Recent]) -> None:
        """List what was opened before; what is gone is left out."""
        while (item := self._recent.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        present = [r for r in recent if Path(r.path).exists()][:RECENT_SHOWN]
        self._heading.setVisible(bool(present))
        for one in present:
            button = QPushButton(strings.recent_title(one.path, one.series))
            button.setFlat(True)
            button.setToolTip(one.path)
            button.setStyleSheet("text-align: left; padding-left: 0;")
            button.clicked.connect(lambda _=False, r=one: self.recentChosen.emit(r))
            self._recent.addWidget(button)

    def _lay_out(self) -> None:
        cards = QHBoxLayout()
        cards.setSpacing(16)
        for card in self.cards.values():
            cards.addWidget(card)
        files = QHBoxLayout()
        files.setSpacing(16)
        files.addWidget(self._open)
        files.addWidget(self._files)
        files.addStretch(1)
        files.addWidget(self._back)
        column = QVBoxLayout()
        column.setSpacing(8)
        column.addWidget(self._title)
        column.addWidget(self._sentence)
        column.addSpacing(16)
        column.addLayout(cards)
        column.addSpacing(16)
        column.addLayout(files)
        column.addWidget(self._hint)
        column.addSpacing(8)
        column.addWidget(self._heading)
        column.addLayout(self._recent)
        column.addSpacing(16)
        column.addWidget(self._legal)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addLayout(column)
        row.addStretch(1)
        outer = QVBoxLayout(self)
        outer.addStretch(2)
        outer.addLayout(row)
        outer.addStretch(3)

    def _dress(self) -> None:
        palette = theme.current()
        for label, size, weight, colour in (
            (self._title, 16, 600, palette.text),
            (self._sentence, 12, 400, palette.text2),
            (self._hint, 11, 400, palette.text3),
            (self._heading, 12, 600, palette.text),
            (self._legal, 11, 400, palette.text3),
        ):
            label.setFont(theme.font(size, weight))
            own = label.palette()
            own.setColor(QPalette.ColorRole.WindowText, colour)
            label.setPalette(own)
