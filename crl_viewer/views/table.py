"""How well the synthesised image matches the acquired one, in numbers."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QObject, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QGuiApplication, QHelpEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QVBoxLayout, QWidget

from crl_viewer import theme
from crl_viewer.formatting import DASH, number
from crl_viewer.views.segments import Chip, Heading, Words

if TYPE_CHECKING:
    from crl_core.evaluation.metrics import Comparison

ROW = 20
HEAD = 18

METRICS = (
    ("PSNR", "dB", "Peak signal-to-noise ratio; higher is better"),
    ("SSIM", "%", "Structural similarity; higher is better"),
    ("MAE", "%", "Mean absolute error in per cent of the range; lower is better"),
)
SCOPES = ("Slice", "Volume")

_EDGES = (0.383, 0.566, 0.802, 1.0)
"""Right edges of the four columns, in widths of the table."""

NOTHING_YET = "Nothing has been compared yet."
NO_VOLUME = "The volume is compared once all its slices have been synthesised."
NOT_FINITE = "The two images do not differ, or nothing lies inside the mask."


def cells(comparison: Comparison | None) -> list[tuple[str, str]]:
    """Return the texts of one scope, (as is, with gain) for PSNR, SSIM and MAE."""
    if comparison is None:
        return [(DASH, DASH)] * 3
    c = comparison
    return [
        (_text(c.psnr, 1), _text(c.psnr_gain, 1)),
        (_text(100 * c.ssim, 1), _text(100 * c.ssim_gain, 1)),
        (_text(c.mae_percent, 2), _text(c.mae_percent_gain, 2)),
    ]


def gain_text(value: float) -> str:
    """Write a gain so that it fits its column."""
    return number(value, 2 if abs(value) < 10 else 0)


def _text(value: float, digits: int) -> str:
    if math.isinf(value):
        return "∞"
    return DASH if math.isnan(value) else number(value, digits)


class _Body(QWidget):
    """The painted part: heads, hairline and numbers."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.scopes: list[Comparison | None] = [None, None]
        self.reasons = [NOTHING_YET, NO_VOLUME]
        self.stale = False
        self.setFixedHeight(2 * HEAD + 4 + 3 * ROW)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.installEventFilter(self)

    def sizeHint(self) -> QSize:
        """Return the height of heads and rows."""
        return QSize(300, self.height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the table in the colours of the theme."""
        p = theme.current()
        painter = QPainter(self)
        edges = [round(e * self.width()) for e in _EDGES]
        for k, scope in enumerate(SCOPES):
            self._put(painter, 0, edges[2 * k + 1], scope, p.text2, 11, 500, HEAD)
            comparison = self.scopes[k]
            gain = DASH if comparison is None else gain_text(comparison.gain)
            for edge, head in ((edges[2 * k], "as is"), (edges[2 * k + 1], f"gain {gain}")):
                self._put(painter, HEAD, edge, head, p.text3, 11, 400, HEAD)
        y = 2 * HEAD + 1.5
        painter.setPen(QPen(p.line, 1))
        painter.drawLine(0, round(y), self.width(), round(y))
        for row, (name, unit, _) in enumerate(METRICS):
            top = 2 * HEAD + 4 + row * ROW
            self._name(painter, top, name, unit)
            for k, comparison in enumerate(self.scopes):
                ink = p.text3 if comparison is None else p.text2 if self.stale else p.text
                for edge, text in zip(edges[2 * k :], cells(comparison)[row], strict=False):
                    self._put(painter, top, edge, text, ink, 12, 400, ROW)

    def _put(
        self, painter: QPainter, top: float, right: float, text: str, ink: QColor,
        px: float, weight: int, height: float,
    ) -> None:
        painter.setFont(theme.font(px, weight))
        painter.setPen(ink)
        align = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        painter.drawText(QRectF(0, top, right, height), align, text)

    def _name(self, painter: QPainter, top: float, name: str, unit: str) -> None:
        painter.setFont(theme.font(12, 400))
        painter.setPen(theme.current().text2)
        align = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        painter.drawText(QRectF(0, top, 100, ROW), align, name)
        advance = painter.fontMetrics().horizontalAdvance("PSNR") + 7
        painter.setPen(theme.current().text3)
        painter.drawText(QRectF(advance, top, 40, ROW), align, unit)

    def tip_at(self, x: float, y: float) -> str:
        """Return what explains the place under the pointer."""
        row = int((y - 2 * HEAD - 4) // ROW)
        if x < 0.22 * self.width():
            return METRICS[row][2] if 0 <= row < 3 else ""
        scope = 0 if x <= (_EDGES[1] + 0.02) * self.width() else 1
        comparison = self.scopes[scope]
        if comparison is None:
            return self.reasons[scope]
        if 0 <= row < 3 and not all(t not in (DASH, "∞") for t in cells(comparison)[row]):
            return NOT_FINITE
        old = "Older than the image shown. " if self.stale else ""
        return f"{old}{number(comparison.n_voxels)} voxels compared."

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Show the tooltip that belongs to the cell.

        A filter and not an override of `event`: an error raised while painting below such an
        override ends the process (PySide6 6.11).
        """
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            tip = self.tip_at(event.pos().x(), event.pos().y())
            if tip:
                QToolTip.showText(event.globalPos(), tip, self)
            else:
                QToolTip.hideText()
                event.ignore()
            return True
        return False


class MetricsTable(QWidget):
    """PSNR, SSIM and MAE of the slice and of the volume, as is and after one gain."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.copy = Chip("Copy", "words")
        self.copy.setToolTip("Copy the numbers as text that a spreadsheet understands")
        self.copy.clicked.connect(self._copy)
        self._heading = Heading("Against acquired", self.copy)
        self.body = _Body()
        self.note = Words("", 11, 400, "text3")
        self.note.setFixedHeight(20)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for widget in (self._heading, self.body, self.note):
            column.addWidget(widget)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._describe()

    @property
    def title(self) -> str:
        """The heading."""
        return self._heading.title.text

    def set_title(self, title: str) -> None:
        """Say what is compared with."""
        self._heading.title.set_text(title)

    def set_comparison(
        self, slice: Comparison | None, volume: Comparison | None, stale: bool = False  # noqa: A002
    ) -> None:
        """Show the numbers.

        Parameters
        ----------
        slice, volume
            None shows a dash whose tooltip says why.
        stale
            Whether the numbers are older than the image; they dim and never blank.
        """
        self.body.scopes = [slice, volume]
        self.body.stale = stale
        self.body.update()
        if not stale:
            self._describe()

    def set_reasons(self, slice_reason: str = "", volume_reason: str = "") -> None:
        """Say why a scope has no numbers; an empty text keeps the usual reason."""
        self.body.reasons = [slice_reason or NOTHING_YET, volume_reason or NO_VOLUME]

    def set_note(self, note: str) -> None:
        """State mask, range and what gain means; words in brackets give way where room is short."""
        self.note.set_text(note, shorter=re.sub(r"\s*\([^)]*\)", "", note))

    def as_text(self) -> str:
        """Return the table with tabs between the columns."""
        heads = [f"{s} {h}" for s in SCOPES for h in ("as is", "gain")]
        lines = ["\t".join([self.title, *heads])]
        columns = [cells(c) for c in self.body.scopes]
        gains = [DASH if c is None else number(c.gain, 4) for c in self.body.scopes]
        for row, (name, unit, _) in enumerate(METRICS):
            lines.append("\t".join([f"{name} {unit}", *columns[0][row], *columns[1][row]]))
        lines.append("\t".join(["gain", "1", gains[0], "1", gains[1]]))
        return "\n".join([*lines, self.note.text])

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.as_text())

    def _describe(self) -> None:
        words = []
        for scope, comparison in zip(SCOPES, self.body.scopes, strict=True):
            values = zip(METRICS, cells(comparison), strict=True)
            words += [f"{scope} {m[0]} {c[0]} {m[1]}" for m, c in values if c[0] != DASH]
        self.body.setAccessibleName("Metrics")
        self.body.setAccessibleDescription(", ".join(words) or NOTHING_YET)
