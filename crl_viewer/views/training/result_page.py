"""The Result page: one finished run with its card, or several runs laid over each other."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from crl_viewer import theme
from crl_viewer.state.training_run import Curve, KnownRun, RunReport
from crl_viewer.views.dialogs import words
from crl_viewer.views.segments import Chip, ChipRow, Heading, Words
from crl_viewer.views.training.compare_table import CompareTable
from crl_viewer.views.training.curves import Axis, Plot
from crl_viewer.views.training.parts import Fixed, Hairline
from crl_viewer.views.training.run_rows import WHEN, RunRow

MOST = 8
"""More runs than there are pens cannot be told apart."""

SCORE, LOSS = Axis(digits=2, rows=1), Axis(log=True, rows=1)
NOTHING = "Tick a run to see it; tick several to lay them over each other."
UNJUDGED = "Nobody was left to validate on. The loss shows how it learnt."
ALL_EQUAL = "Their settings do not differ."


class ResultPage(QWidget):
    """Runs to choose from, their curves, a table, and the facts of a model."""

    compareRequested = Signal(list)
    """The folders that are ticked, in the order of the list."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._reports: tuple[RunReport, ...] = ()
        self._names: dict[Path, str] = {}
        self._chooser: QFileDialog | None = None
        self.add = Chip("Add…", "chip")
        self.add.setCheckable(False)
        self.add.setAccessibleName("Add a run folder")
        self.runs = QListWidget()
        self.message = Words(NOTHING, 11, 400, "text2")
        self.what = ChipRow(("PSNR", "Loss"), "segment", exclusive=True)
        self.against = ChipRow(("By step", "By minute"), "segment", exclusive=True)
        self.cursor = Fixed("minute 1 000.0", 11, 400, "text2")
        self.plot = Plot("Validation of the runs", SCORE)
        self.table = CompareTable()
        self.every = QCheckBox("All settings")
        self.equal = Fixed(ALL_EQUAL, 11, 400, "text2")
        self._facts_area = QScrollArea()
        self._lay_out()
        self._wire()

    # setters -----------------------------------------------------------------------------------

    def set_recent(self, runs: Sequence[KnownRun]) -> None:
        """List the runs to choose from, newest first; what is ticked stays ticked."""
        ticked = self.chosen()
        self.runs.blockSignals(True)
        self.runs.clear()
        for run in runs:
            self._put(run, run.folder in ticked)
        self.runs.blockSignals(False)
        missing = [path for path in ticked if path not in self._listed()]
        for path in missing:
            self._put(KnownRun(path, path.name), True)

    def choose(self, folders: Sequence[Path]) -> None:
        """Tick runs, adding those that are not listed, and ask for them."""
        self.runs.blockSignals(True)
        for path in folders:
            if path not in self._listed():
                self._put(KnownRun(path, path.name), False, at=0)
        for row in range(self.runs.count()):
            item = self.runs.item(row)
            _tick(item, item.data(Qt.ItemDataRole.UserRole) in folders)
        self.runs.blockSignals(False)
        self.compareRequested.emit(self.chosen())

    def set_reports(self, reports: Sequence[RunReport]) -> None:
        """Show the runs that were asked for."""
        self._reports = tuple(r for r in reports if not r.refusal)
        refused = [r.refusal for r in reports if r.refusal]
        self._say(refused[0] if refused else "" if self._reports else NOTHING)
        self.table.set_reports(self._reports)
        self._say_equal()
        self._show_facts()
        self._draw(anew=True)

    # what others read --------------------------------------------------------------------------

    @property
    def reports(self) -> tuple[RunReport, ...]:
        """The runs that show."""
        return self._reports

    def chosen(self) -> list[Path]:
        """Return the folders that are ticked."""
        items = [self.runs.item(row) for row in range(self.runs.count())]
        ticked = [i for i in items if i.checkState() == Qt.CheckState.Checked]
        return [item.data(Qt.ItemDataRole.UserRole) for item in ticked]

    # making ------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.runs.setAccessibleName("Runs to compare")
        self.runs.setFrameShape(QFrame.Shape.NoFrame)
        self.runs.setItemDelegate(RunRow(self.runs))
        self.runs.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._facts_area.setFrameShape(QFrame.Shape.NoFrame)
        self._facts_area.setWidgetResizable(True)
        self._facts_area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._facts_area.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._facts_area.setAccessibleName("Facts of the model")
        self.facts_head = Heading("Model")
        left = QVBoxLayout()
        left.setSpacing(8)
        left.addWidget(Heading("Runs", self.add))
        left.addWidget(self.runs, 2)
        left.addWidget(Hairline())
        left.addWidget(self.facts_head)
        left.addWidget(self._facts_area, 3)
        side = QWidget()
        side.setLayout(left)
        left.setContentsMargins(0, 0, 0, 0)
        side.setFixedWidth(272)
        row = QHBoxLayout(self)
        row.setContentsMargins(24, 0, 24, 8)
        row.setSpacing(24)
        row.addWidget(side)
        row.addWidget(Hairline(upright=True))
        row.addLayout(self._curves(), 1)

    def _curves(self) -> QVBoxLayout:
        self.head = Heading("Validation", self.cursor, self.what, self.against)
        self.head.layout().setSpacing(16)  # type: ignore[union-attr]
        names = ("Validation in PSNR", "Loss", "Against steps", "Against minutes")
        for button, name in zip((*self.what.buttons, *self.against.buttons), names, strict=True):
            button.setAccessibleName(name)
        column = QVBoxLayout()
        column.setSpacing(8)
        column.addWidget(self.message)
        column.addWidget(self.head)
        column.addWidget(self.plot, 3)
        column.addWidget(Hairline())
        self.table_head = Heading("Settings that differ", self.equal, self.every)
        column.addWidget(self.table_head)
        column.addWidget(self.table, 4)
        return column

    def _wire(self) -> None:
        self.add.clicked.connect(self._pick)
        self.runs.itemChanged.connect(self._ticked)
        self.what.chosen.connect(lambda index: self._draw(anew=True))
        self.against.chosen.connect(lambda index: self._draw(anew=True))
        theme.changed.connect(self._show_facts)  # labels keep copies of their colours
        self.every.toggled.connect(self.table.set_every)
        self.every.toggled.connect(lambda on: self._say_equal())
        self.plot.cursorMoved.connect(lambda x: self.cursor.set_text(self.plot.cursor_words()))

    # the list ----------------------------------------------------------------------------------

    def _listed(self) -> list[Path]:
        rows = range(self.runs.count())
        return [self.runs.item(row).data(Qt.ItemDataRole.UserRole) for row in rows]

    def _put(self, run: KnownRun, ticked: bool, at: int | None = None) -> None:
        when = time.strftime("%d %b %H:%M", time.localtime(run.when)) if run.when else ""
        item = QListWidgetItem(run.name)
        item.setData(Qt.ItemDataRole.UserRole, run.folder)
        item.setData(WHEN, when)
        item.setToolTip(str(run.folder))
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
        _tick(item, ticked)
        self.runs.insertItem(self.runs.count() if at is None else at, item)

    def _ticked(self, item: QListWidgetItem) -> None:
        chosen = self.chosen()
        if len(chosen) > MOST:
            self.runs.blockSignals(True)
            _tick(item, False)
            self.runs.blockSignals(False)
            self._say(f"At most {MOST} runs can be told apart in one plot.")
            return
        self.compareRequested.emit(chosen)

    def _pick(self) -> None:
        if self._chooser is None:
            self._chooser = QFileDialog(self, "Add a run folder")
            self._chooser.setFileMode(QFileDialog.FileMode.Directory)
            self._chooser.setOption(QFileDialog.Option.ShowDirsOnly, True)
            self._chooser.fileSelected.connect(self.add_run)
        self._chooser.open()

    def show_first(self, folder: Path | None) -> None:
        """Tick a run, or the newest one, where nothing is ticked yet."""
        if self.chosen():
            return
        listed = self._listed()
        if folder is not None or listed:
            self.choose([folder or listed[0]])

    def add_run(self, folder: str | Path) -> None:
        """Add a folder to the list and tick it."""
        path = Path(folder)
        if path not in self.chosen():
            self.choose([*self.chosen(), path])

    # what shows --------------------------------------------------------------------------------

    def _draw(self, *, anew: bool = False) -> None:
        loss, minutes = self.what.selected() == 1, self.against.selected() == 1
        if anew:
            self.plot.reset(LOSS if loss else SCORE, "minute" if minutes else "step")
            self.head.title.set_text("Loss" if loss else "Validation")
            self.plot.setAccessibleName(("Validation", "Loss")[loss] + " of the runs")
        curves = [_chief(report, loss) for report in self._reports]
        if minutes:
            curves = [r.over_time(c) for r, c in zip(self._reports, curves, strict=True)]
        self.plot.set_message("" if loss or not self._reports else UNJUDGED)
        ends = [float(c.x[-1]) for c in curves if len(c.x)]
        self.plot.set_curves(curves, max(ends, default=1.0), settled=True)

    def _say(self, text: str) -> None:
        self.message.set_text(text)
        self.message.setVisible(bool(text))

    def _say_equal(self) -> None:
        several = len(self._reports) > 1
        differing = several and not self.every.isChecked()
        self.table_head.title.set_text("Settings that differ" if differing else "Settings")
        self.every.setVisible(several)
        differ = any(row.group != "Outcome" for row in self.table.rows)
        self.equal.set_text(ALL_EQUAL if several and not differ else "")

    def _show_facts(self) -> None:
        """Show the card of the first run that has one."""
        report = next((r for r in self._reports if r.facts), None)
        inner = QWidget()
        grid = QGridLayout(inner)
        grid.setContentsMargins(0, 0, 8, 0)
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(3)
        grid.setColumnStretch(1, 1)
        self.facts_head.title.set_text(f"Model of {report.name}" if report else "Model")
        facts = report.facts if report else ()
        for row, (name, value) in enumerate(facts):
            key = words(name, 11, 400, quiet=True)
            key.setFixedWidth(96)
            grid.addWidget(key, row, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(words(value, 11, 400), row, 1)
        if not facts:
            none = "A finished run shows the card of its model here."
            grid.addWidget(words(none, 11, 400, quiet=True), 0, 0, 1, 2)
        grid.setRowStretch(len(facts) + 1, 1)
        old = self._facts_area.takeWidget()
        if old is not None:
            old.deleteLater()
        self._facts_area.setWidget(inner)


def _tick(item: QListWidgetItem, on: bool) -> None:
    item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)


def _chief(report: RunReport, loss: bool) -> Curve:
    """Return the curve that stands for a run, under the run's name."""
    curves = report.state.loss if loss else report.state.psnr
    if not curves:
        return Curve("", report.name)
    one = curves[0]
    return Curve(one.name, report.name, one.x, one.y, one.smooth)
