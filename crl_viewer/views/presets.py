"""Sequence presets: six chips and the nine sequences of the paper."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Signal
from PySide6.QtWidgets import QMenu, QSizePolicy, QVBoxLayout, QWidget

from crl_core.sequence import PAPER_SEQUENCES, PRESETS, SequenceParameters
from crl_viewer.formatting import short_setting
from crl_viewer.views.segments import Chip, ChipRow, Heading

PAPER = "Paper"


def paper_name(number: int) -> str:
    """Return the name a sequence of the paper goes by here, such as ``Paper 7``."""
    return f"{PAPER} {number}"


def all_presets() -> dict[str, SequenceParameters]:
    """Return every setting that can be chosen by name."""
    paper = {paper_name(n): p for n, p in PAPER_SEQUENCES.items()}
    return {**PRESETS, **paper}


class PresetBar(QWidget):
    """Heading, six chips, and a menu with the sequences of the paper.

    Parameters
    ----------
    title
        The heading of the section.
    """

    chosen = Signal(str, SequenceParameters)

    def __init__(self, title: str = "Contrast", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._names = list(PRESETS)
        self.paper = Chip(PAPER, "words", chevron=True)
        self.paper.setToolTip("The nine sequences of Xiong et al., MICCAI 2024, table 1")
        self.paper.clicked.connect(self._open_menu)
        self.chips = ChipRow(self._names, "chip", fill=True)
        for name, chip in zip(self._names, self.chips.buttons, strict=True):
            chip.setToolTip(f"{name}: {short_setting(PRESETS[name])} ms")
            chip.setAccessibleName(f"Preset {name}")
        self.chips.chosen.connect(self._on_chip)
        self.menu = QMenu(self)
        for number, setting in PAPER_SEQUENCES.items():
            action = self.menu.addAction(f"{number}   {short_setting(setting)}")
            action.triggered.connect(lambda _=False, n=number: self._choose(paper_name(n)))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(Heading(title, self.paper))
        column.addWidget(self.chips)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._current: tuple[str | None, bool] = (None, False)

    def set_current(self, name: str | None, moved_away: bool) -> None:
        """Mark a preset as chosen (filled), or as left since (outlined).

        Parameters
        ----------
        name
            A key of `all_presets`, or None.
        moved_away
            Whether the sliders have moved since.
        """
        self._current = (name, moved_away)
        for chip_name, chip in zip(self._names, self.chips.buttons, strict=True):
            chip.setChecked(chip_name == name and not moved_away)
            chip.set_outlined(chip_name == name and moved_away)
        of_paper = name is not None and name.startswith(PAPER)
        self.paper.setText(name if of_paper else PAPER)
        self.paper.set_outlined(of_paper)
        self.paper.updateGeometry()

    def _on_chip(self, index: int) -> None:
        self._choose(self._names[index])

    def _choose(self, name: str) -> None:
        self.set_current(name, moved_away=False)
        self.chosen.emit(name, all_presets()[name])

    def _open_menu(self) -> None:
        below = self.paper.mapToGlobal(QPoint(0, self.paper.height()))
        self.menu.popup(below)
