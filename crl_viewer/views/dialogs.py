"""Small windows beside the main one; none of them blocks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from crl_core.errors import ParameterError
from crl_core.sequence import PRESETS, SequenceParameters
from crl_viewer import icons, strings, theme
from crl_viewer.formatting import parse_ms

Answer = Callable[[SequenceParameters | None, int | None], None]


class Sheet(QDialog):
    """A non-modal window with a title and one sentence."""

    def __init__(self, title: str, sentence: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(24, 24, 24, 24)
        self.body.setSpacing(8)
        self.body.addWidget(words(title, 16, 600))
        if sentence:
            self.body.addWidget(words(sentence, 12, 400, quiet=True))
        self.body.addSpacing(8)


def words(text: str, size: int, weight: int, *, quiet: bool = False, bad: bool = False) -> QLabel:
    """Return a label in one of the styles of the design."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setFont(theme.font(size, weight))
    palette = label.palette()
    shown = theme.current()
    colour = shown.bad if bad else shown.text2 if quiet else shown.text
    palette.setColor(QPalette.ColorRole.WindowText, colour)
    label.setPalette(palette)
    return label


class Choice(QComboBox):
    """A drop-down field with a chevron of ours; that of the style has a bevel."""

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the field, then the chevron."""
        super().paintEvent(event)
        painter = QPainter(self)
        ratio = self.devicePixelRatioF()
        mark = icons.pixmap("chevron-down", theme.current().text2, 16, ratio)
        painter.drawPixmap(self.width() - 22, (self.height() - 16) // 2, mark)
        painter.end()


class ScanQuestion(Sheet):
    """Asks what a file does not say: TR, TE, TI, or which of its volumes to show.

    Parameters
    ----------
    name
        The file, as the user knows it.
    parameters
        Whether the three times are asked for.
    volumes
        How many volumes the file holds; with more than one, which is asked for.
    answer
        Called with (parameters or None, volume or None) on each answer.
    known
        The times that are known, ms, by ``"tr"``, ``"te"``, ``"ti"``; they are filled in.
    volume
        Which volume shows.
    """

    gone = Signal()
    """The window goes, answered or not."""

    def __init__(
        self,
        name: str,
        *,
        parameters: bool,
        volumes: int,
        answer: Answer,
        known: Mapping[str, float] = MappingProxyType({}),
        volume: int = 0,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(name, _question(parameters, volumes, known, volume), parent)
        self._answer = answer
        self._asks = parameters
        # Where a file states other times but no TI, leaving it empty would be a guess.
        self._ti_optional = "ti" in known or not known
        grid = QGridLayout()
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(8)
        self.preset = Choice()
        self.fields = {key: QLineEdit() for key in ("tr", "te", "ti")}
        self.volume = Choice()
        if parameters:
            self._add_parameters(grid)
        if volumes > 1:
            self._add_volumes(grid, volumes)
            self.volume.setCurrentIndex(volume)
        self.body.addLayout(grid)
        self.refusal = words("", 11, 400, bad=True)
        self.body.addWidget(self.refusal)
        self._add_buttons()
        if parameters:
            self._fill_in(known)

    def _add_parameters(self, grid: QGridLayout) -> None:
        self.preset.addItem("Type them, or take a usual setting")
        for name, setting in PRESETS.items():
            self.preset.addItem(f"{name}   {strings.parameters_line(setting)}", setting)
        self.preset.activated.connect(self._fill)
        grid.addWidget(self.preset, 0, 0, 1, 2)
        hints = {"tr": "as in 5000", "te": "as in 90", "ti": "off, or as in 2000"}
        for row, (key, field) in enumerate(self.fields.items(), start=1):
            field.setPlaceholderText(hints[key])
            field.setFixedWidth(160)
            field.setProperty("field", True)
            field.setAccessibleName(f"{key.upper()} in milliseconds")
            field.returnPressed.connect(self._accept)
            grid.addWidget(words(f"{key.upper()}  ms", 12, 600), row, 0)
            grid.addWidget(field, row, 1)

    def _add_volumes(self, grid: QGridLayout, volumes: int) -> None:
        for number in range(volumes):
            self.volume.addItem(f"Volume {number + 1} of {volumes}", number)
        grid.addWidget(words("Show", 12, 600), 4, 0)
        grid.addWidget(self.volume, 4, 1)

    def _add_buttons(self) -> None:
        row = QHBoxLayout()
        later = QPushButton("Later")
        later.setFlat(True)
        later.setAutoDefault(False)
        later.clicked.connect(self.reject)
        use = QPushButton("Use these values" if self._asks else "Show this volume")
        use.setProperty("primary", True)
        use.setDefault(True)
        use.clicked.connect(self._accept)
        row.addStretch(1)
        row.addWidget(later)
        row.addWidget(use)
        self.body.addLayout(row)

    def _fill(self, row: int) -> None:
        setting = self.preset.itemData(row)
        if setting is not None:
            self._fill_in(dict(zip(self.fields, setting.triple, strict=True)))

    def _fill_in(self, known: Mapping[str, float]) -> None:
        """Write times into their fields, with every digit they have, and go to the first gap."""
        for key, value in known.items():
            off = key == "ti" and value == 0
            self.fields[key].setText("off" if off else f"{value:.12g}")
        empty = [field for field in self.fields.values() if not field.text()]
        (empty or list(self.fields.values()))[0].setFocus()

    def done(self, result: int) -> None:
        """Tell when the window goes by any way."""
        super().done(result)
        self.gone.emit()

    def _accept(self) -> None:
        try:
            parameters = self._parameters() if self._asks else None
        except ParameterError as refusal:
            self.refusal.setText(str(refusal))
            return
        chosen = self.volume.currentData()
        self._answer(parameters, chosen if self.volume.count() else None)
        self.accept()

    def _parameters(self) -> SequenceParameters:
        values = {
            key: parse_ms(field.text() or self._when_empty(key), off=key == "ti")
            for key, field in self.fields.items()
        }
        parameters = SequenceParameters(values["tr"], values["te"], values["ti"])
        parameters.check_order()
        return parameters

    def _when_empty(self, key: str) -> str:
        return "off" if key == "ti" and self._ti_optional else ""


def _question(
    parameters: bool, volumes: int, known: Mapping[str, float], volume: int
) -> str:
    """Return the sentence below the name: what is missing, or what can be chosen."""
    if not parameters:
        which = "the first one" if volume == 0 else f"number {volume + 1}"
        return f"The file holds {volumes} volumes; {which} is shown."
    missing = [name.upper() for name in ("tr", "te", "ti") if name not in known]
    if len(missing) == 3:
        return "The file does not say how it was acquired."
    if not missing:
        return "Change what is wrong. The image stays as it is, the file too."
    return f"The file does not state {strings.listed(missing)}; what it states is filled in."


class Table(Sheet):
    """Headings with two-column rows, for shortcuts and facts."""

    def __init__(
        self,
        title: str,
        sentence: str,
        groups: Sequence[tuple[str, Sequence[tuple[str, str]]]],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(title, sentence, parent)
        inner = QWidget()
        columns = QHBoxLayout(inner)
        columns.setContentsMargins(0, 0, 0, 0)
        columns.setSpacing(32)
        for part in _halves(groups):
            column = QVBoxLayout()
            column.setSpacing(16)
            for heading, rows in part:
                column.addLayout(_group(heading, rows))
            column.addStretch(1)
            columns.addLayout(column, 1)
        area = QScrollArea()
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setWidgetResizable(True)
        area.setWidget(inner)
        self.body.addWidget(area, 1)


def _halves(
    groups: Sequence[tuple[str, Sequence[tuple[str, str]]]],
) -> list[list[tuple[str, Sequence[tuple[str, str]]]]]:
    """Split groups into two columns of about one length, where there is enough for two."""
    lengths = [len(rows) + 2 for _, rows in groups]
    if sum(lengths) < 16:
        return [list(groups)]
    at = min(
        range(1, len(groups) + 1), key=lambda n: abs(sum(lengths[:n]) - sum(lengths[n:]))
    )
    return [part for part in (list(groups[:at]), list(groups[at:])) if part]


def _group(heading: str, rows: Sequence[tuple[str, str]]) -> QGridLayout:
    grid = QGridLayout()
    grid.setHorizontalSpacing(16)
    grid.setVerticalSpacing(4)
    grid.setColumnStretch(1, 1)
    grid.addWidget(words(heading, 12, 600), 0, 0, 1, 2)
    for row, (key, text) in enumerate(rows, start=1):
        left = words(key, 12, 500)
        left.setWordWrap(False)
        grid.addWidget(left, row, 0, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(words(text, 12, 400, quiet=True), row, 1)
    return grid


def native_keys(keys: str) -> str:
    """Write a shortcut as this system writes it."""
    text = QKeySequence(keys).toString(QKeySequence.SequenceFormat.NativeText)
    return text or keys
