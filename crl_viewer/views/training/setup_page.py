"""The Set-up page of the training dialog: data and people at the left, plan at the right."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from crl_core.scan import FloatArray
from crl_core.training.config import PLANS, PlanName
from crl_viewer.state.training_setup import (
    Setup,
    counts,
    rows,
    sequence_sentence,
    sequences,
    split_sentence,
    title_sentence,
)
from crl_viewer.state.training_setup_findings import blocked
from crl_viewer.state.training_setup_plan import (
    Estimate,
    cost_words,
    measured_words,
    minutes_text,
    plan_words,
)
from crl_viewer.state.training_setup_values import ValueQuestion
from crl_viewer.views.segments import ChipRow, Heading, Words
from crl_viewer.views.training.parts import Hairline, Numbers
from crl_viewer.views.training.setup_chips import SettingChips
from crl_viewer.views.training.setup_data import Answer, DataHead, NothingYet
from crl_viewer.views.training.setup_footer import SetupFooter
from crl_viewer.views.training.setup_people import BAR, PeopleView
from crl_viewer.views.training.setup_people_rows import Heads
from crl_viewer.views.training.setup_plans import PlanList
from crl_viewer.views.training.setup_settings import SettingsSheet
from crl_viewer.views.training.setup_space import SpacePlot
from crl_viewer.views.training.setup_split import EndWords, SplitBar
from crl_viewer.views.training.setup_values import ValueForm

RIGHT = 391
"""Width of the right side with its margins, as in the design."""

_AGAIN_MS = 20_000
"""How often the time of the end is brought up to date."""


class SetupPage(QWidget):
    """Everything that is chosen before a run; `footer` goes below it."""

    startRequested = Signal()
    cancelRequested = Signal()
    foldersChosen = Signal(list)
    """Folders to add to the data."""
    openScansChosen = Signal()
    clearRequested = Signal()
    useChosen = Signal(str, str)
    mendAllRequested = Signal()
    linkFollowed = Signal(object)
    answered = Signal(object)
    questionLeft = Signal()
    settingToggled = Signal(tuple, bool)
    planChosen = Signal(str)
    minutesTyped = Signal(str)
    networkChosen = Signal(str)
    settingsChanged = Signal(dict)
    folderTyped = Signal(str)
    stopRequested = Signal()
    sentenceChanged = Signal(str)
    """What stands below the title of the dialog."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._setup = Setup()
        self._costs: dict[PlanName, Estimate] = {}
        self._planned: dict[str, Any] = {}
        self._waiting = False
        self._sentence = ""
        self.head = DataHead()
        self.nothing = NothingYet(self.head)
        self.heads, self.people = Heads(), PeopleView()
        self.form = ValueForm()
        self.split = SplitBar()
        self.split_says = EndWords("", 11, 400, "text2")
        self.planes = ChipRow(("TR × TE", "TR × TI"), "segment", exclusive=True)
        self.space, self.chips = SpacePlot(), SettingChips()
        self.space_says = Words("", 11, 400, "text2")
        self.plans = PlanList()
        self.numbers = Numbers(("time", "memory", "disk", "ends"))
        self.numbers.setAccessibleName("What it takes")
        self.footer = SetupFooter()
        self.sheet: SettingsSheet | None = None
        self.setAcceptDrops(True)
        self._again = QTimer(self, interval=_AGAIN_MS)
        self._again.timeout.connect(self._show_costs)
        self._again.start()
        self._lay_out()
        self._wire()
        self.set_setup(self._setup)

    # setters -----------------------------------------------------------------------------------

    def set_setup(self, setup: Setup) -> None:
        """Show what is chosen."""
        self._setup = setup
        self.head.set_setup(setup)
        self.people.people.set_rows(rows(setup), setup.uses)
        asking = not self.form.isHidden()
        self._table.setVisible(bool(setup.reports) and not asking)
        self.nothing.setVisible(not setup.reports and setup.phase == "empty" and not asking)
        self._gap.setVisible(not setup.reports and setup.phase != "empty" and not asking)
        self._split_part.setVisible(bool(setup.reports))
        self.split.set_counts(counts(setup))
        self.split_says.set_text(split_sentence(setup))
        there = sequences(setup)
        self.space.set_settings(there)
        self.chips.set_settings(there)
        self.space_says.set_text(sequence_sentence(setup))
        self.footer.set_folder(setup.folder)
        self._show_costs()
        if (said := title_sentence(setup)) != self._sentence:
            self._sentence = said
            self.sentenceChanged.emit(said)

    def set_costs(
        self, costs: Mapping[PlanName, Estimate], planned: Mapping[str, Any], waiting: bool
    ) -> None:
        """Show what the plans take; `planned` are the settings of the chosen one."""
        self._costs, self._planned, self._waiting = dict(costs), dict(planned), waiting
        self._show_costs()

    def set_picture(self, path: Path, picture: FloatArray | None) -> None:
        """Give a scan its picture."""
        self.people.people.set_picture(path, picture)

    def set_networks(self, names: Sequence[str]) -> None:
        """Offer networks to fine-tune."""
        self.plans.set_networks(names)

    def set_open_scans(self, count: int) -> None:
        """Offer the scans that are open in the main window."""
        self.head.set_open_scans(count)
        self.nothing.set_open_scans(count)

    def ask_values(self, question: ValueQuestion) -> None:
        """Ask for times in the place of the table."""
        self.form.show()
        self.set_setup(self._setup)
        self.form.ask(question)

    def end_question(self) -> None:
        """Show the table again."""
        self.form.hide()
        self.head.end_question()
        self.set_setup(self._setup)

    def ask(self, question: str, answers: Sequence[Answer]) -> None:
        """Ask in one line; the last answer is the way back."""
        self.head.ask(question, answers)

    @property
    def sentence(self) -> str:
        """What stands below the title of the dialog."""
        return self._sentence

    # what shows --------------------------------------------------------------------------------

    def _show_costs(self) -> None:
        setup = self._setup
        chosen = self._costs.get(setup.plan)
        words = {p: plan_words(setup, p, self._costs.get(p)) for p in PLANS}
        self.plans.set_plans(words, setup.plan, minutes_text(setup.minutes), setup.start)
        values, names = cost_words(chosen, time.time(), waiting=self._waiting)
        self.numbers.set_values(values, names)
        why = blocked(setup)
        self.footer.set_ready(not why, why)
        refused = chosen is not None and bool(chosen.refusal)
        if setup.notice:
            self.footer.say(setup.notice, "bad")
        elif why:
            self.footer.say(why, "bad" if setup.phase == "ready" else "text2")
        else:
            said = measured_words(chosen, waiting=self._waiting)
            self.footer.say(said, "warn" if refused else "text2")

    def open_settings(self) -> None:
        """Open the sheet with every training setting."""
        if self.sheet is not None:
            self.sheet.close()
        self.sheet = SettingsSheet(self._planned, self._setup.changes, self)
        self.sheet.changed.connect(self.settingsChanged)
        self.sheet.destroyed.connect(self._sheet_gone)
        self.sheet.show()

    def _sheet_gone(self) -> None:
        self.sheet = None

    # making ------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self._left_side(), 1)
        line = QVBoxLayout()
        line.setContentsMargins(0, 4, 0, 12)
        line.addWidget(Hairline(upright=True))
        row.addLayout(line)
        row.addWidget(self._right_side())

    def _left_side(self) -> QWidget:
        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(16, 4, 16 - BAR, 12)
        column.setSpacing(0)
        indented = QVBoxLayout()
        indented.setContentsMargins(8, 0, 8 + BAR, 0)
        indented.addWidget(self.head)
        self._table = QWidget()
        table = QVBoxLayout(self._table)
        table.setContentsMargins(0, 4, 0, 0)
        table.setSpacing(0)
        table.addWidget(self.heads)
        table.addWidget(self.people, 1)
        self._gap = QWidget()
        self._split_part = QWidget()
        split = QVBoxLayout(self._split_part)
        split.setContentsMargins(8, 8, 8 + BAR, 0)
        split.setSpacing(4)
        split.addLayout(self._split_heading())
        split.addWidget(self.split)
        self.form.hide()
        self.heads.set_inset(BAR)
        column.addLayout(indented)
        for widget in (self._table, self.nothing, self.form, self._gap):
            column.addWidget(widget, 1)
        column.addWidget(self._split_part)
        return left

    def _split_heading(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(16)
        row.addWidget(Words("Split by person", 12, 600), 1)
        row.addWidget(self.split_says, 2)
        return row

    def _right_side(self) -> QScrollArea:
        right, area = QWidget(), QScrollArea()
        area.setFixedWidth(RIGHT)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        column = QVBoxLayout(right)
        column.setContentsMargins(16, 4, 24, 12)
        column.setSpacing(0)
        column.addWidget(Heading("Sequences", self.planes))
        column.addSpacing(8)
        column.addWidget(self.space, 1)
        column.addSpacing(4)
        column.addWidget(self.space_says)
        column.addWidget(self.chips)
        column.addSpacing(12)
        column.addWidget(Hairline())
        column.addSpacing(8)
        column.addWidget(Heading("Plan"))
        column.addWidget(self.plans)
        column.addSpacing(8)
        column.addWidget(Hairline())
        column.addSpacing(10)
        column.addWidget(self.numbers)
        area.setWidget(right)
        return area

    def _wire(self) -> None:
        for source in (self.head, self.people, self.plans, self.footer):
            for name in _PASSED_ON:
                if hasattr(source, name):
                    getattr(source, name).connect(getattr(self, name))
        self.form.answered.connect(self.answered)
        self.form.left.connect(self.questionLeft)
        self.space.toggled.connect(self.settingToggled)
        self.chips.toggled.connect(self.settingToggled)
        self.planes.chosen.connect(self.space.set_plane)
        self.footer.settingsRequested.connect(self.open_settings)

    # dropping ----------------------------------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take folders."""
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Add the folders that were dropped."""
        urls = event.mimeData().urls()
        paths = [Path(url.toLocalFile()) for url in urls if url.isLocalFile()]
        if paths:
            event.acceptProposedAction()
            self.foldersChosen.emit(paths)


_PASSED_ON = (
    "foldersChosen", "openScansChosen", "clearRequested", "mendAllRequested", "stopRequested",
    "useChosen", "linkFollowed", "planChosen", "minutesTyped", "networkChosen", "startRequested",
    "cancelRequested", "folderTyped",
)  # fmt: skip
