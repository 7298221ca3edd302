"""The head of the Set-up page: which data, what was found in them, and questions about that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QAction, QPainter, QPaintEvent
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QSizePolicy, QVBoxLayout, QWidget

from crl_viewer import theme
from crl_viewer.state.training_setup import Setup
from crl_viewer.state.training_setup_findings import findings_sentence, mend_count
from crl_viewer.views.lines import write
from crl_viewer.views.segments import Chip, Words, width_of
from crl_viewer.views.training.parts import Fixed

Answer = tuple[str, Callable[[], None]]

NOTHING_YET = (
    "Choose a BIDS dataset or a folder of NIfTI files, or drop one here. "
    "Files that are no dataset yet are arranged as one."
)


class TwoTone(QWidget):
    """A line whose first words stand out."""

    def __init__(self) -> None:
        super().__init__()
        self._first, self._rest, self._tone = "", "", "warn"
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    @property
    def text(self) -> str:
        """What it says."""
        return f"{self._first} {self._rest}".strip()

    def say(self, first: str, rest: str, tone: str = "warn") -> None:
        """Say something, the first words in a tone of the palette."""
        if (first, rest, tone) != (self._first, self._rest, self._tone):
            self._first, self._rest, self._tone = first, rest, tone
            self.setAccessibleName(self.text)
            self.setToolTip(self.text)
            self.update()

    def sizeHint(self) -> QSize:
        """Return one line."""
        return QSize(300, round(24 * max(1.0, theme.text_scale())))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw both parts."""
        p = theme.current()
        painter = QPainter(self)
        middle, right = self.height() / 2, float(self.width())
        left = 0.0
        if self._first:
            left = write(painter, (0, right), middle, self._first, 12, 500, getattr(p, self._tone))
            left += width_of(" ", 12)
        write(painter, (left, right), middle, self._rest, 12, 400, p.text2)
        painter.end()


class DataHead(QWidget):
    """Two lines: the data with a way to choose them, and the findings with a way to mend them."""

    foldersChosen = Signal(list)
    openScansChosen = Signal()
    clearRequested = Signal()
    mendAllRequested = Signal()
    stopRequested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.title = Fixed("Data", 12, 600, "text")
        self.title.set_text("Data")
        self.where = Words("", 12, 400, "text2")
        self.add = Chip("Choose data…", "chip", chevron=True)
        self.add.setCheckable(False)
        self.sentence = TwoTone()
        self.mend = Chip("Mend", "chip")
        self.mend.setCheckable(False)
        self.stop = Chip("Stop", "chip")
        self.stop.setCheckable(False)
        self.menu: QMenu | None = None
        self._open_scans, self._has_data = 0, False
        self._chooser: QFileDialog | None = None
        self._answers: list[Chip] = []
        self._setup = Setup()
        self._lay_out()
        self.add.clicked.connect(self.list_sources)
        self.mend.clicked.connect(self.mendAllRequested)
        self.stop.clicked.connect(self.stopRequested)

    def _lay_out(self) -> None:
        first, self._second = QHBoxLayout(), QHBoxLayout()
        first.setSpacing(16)
        first.addWidget(self.title)
        first.addWidget(self.where, 1)
        first.addWidget(self.add)
        self._second.setSpacing(8)
        self._second.addWidget(self.sentence, 1)
        self._second.addWidget(self.mend)
        self._second.addWidget(self.stop)
        self._second.addStrut(24)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addLayout(first)
        column.addLayout(self._second)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    # setters -----------------------------------------------------------------------------------

    def set_setup(self, setup: Setup) -> None:
        """Show which data were chosen and what was found."""
        if self._answers and setup.phase != "ready":
            self.end_question()
        self._setup, self._has_data = setup, bool(setup.reports)
        self.where.set_text("   ".join(short_path(path) for path in setup.datasets))
        text = "Add scans…" if setup.reports else "Choose data…"
        if text != self.add.text():
            self.add.setText(text)
            self.add.setAccessibleName(text)
            self.add.updateGeometry()
        if not self._answers:
            self._show()

    def _show(self) -> None:
        setup = self._setup
        working = setup.phase == "working"
        many = mend_count(setup) if setup.phase == "ready" else 0
        self.mend.setVisible(many > 0)
        self.mend.setText(f"Mend {many}")
        self.mend.setAccessibleName(f"Mend {many} findings that need no decision")
        self.stop.setVisible(working)
        if working:
            share = f"{round(100 * setup.share)} %" if setup.share >= 0 else ""
            self.sentence.say("", f"{setup.activity} {share}".strip())
        elif setup.phase == "ready":
            first, rest = findings_sentence(setup)
            self.sentence.say(first, rest)
        else:
            self.sentence.say("", "")

    def set_open_scans(self, count: int) -> None:
        """Offer the scans that are open in the main window."""
        self._open_scans = count

    # questions ---------------------------------------------------------------------------------

    def ask(self, question: str, answers: Sequence[Answer]) -> None:
        """Ask in the second line; the last answer is the way back."""
        self.end_question()
        self.mend.hide()
        self.sentence.say("", question)
        for text, then in answers:
            chip = Chip(text, "chip")
            chip.setCheckable(False)
            chip.clicked.connect(lambda _=False, f=then: self._answer(f))
            self._second.addWidget(chip)
            self._answers.append(chip)
        self._answers[-1].setFocus(Qt.FocusReason.OtherFocusReason)

    @property
    def answers(self) -> list[Chip]:
        """The buttons of an open question."""
        return list(self._answers)

    def end_question(self) -> None:
        """Take a question away."""
        for chip in self._answers:
            self._second.removeWidget(chip)
            chip.hide()
            chip.deleteLater()
        self._answers = []
        self._show()

    def _answer(self, then: Callable[[], None]) -> None:
        self.end_question()
        then()

    # choosing ----------------------------------------------------------------------------------

    def list_sources(self) -> None:
        """Open the list of what data can be taken from."""
        if self.menu is not None:
            self.menu.deleteLater()
        self.menu = QMenu(self)
        entries: list[tuple[str, Callable[[], object]]] = [("Dataset or folder…", self.pick)]
        if self._open_scans:
            entries.append((open_scans_text(self._open_scans), self.openScansChosen.emit))
        if self._has_data:
            entries.append(("Start over", self.clearRequested.emit))
        for text, then in entries:
            action = QAction(text, self.menu)
            action.triggered.connect(lambda _=False, f=then: f())
            self.menu.addAction(action)
        self.menu.popup(self.add.mapToGlobal(self.add.rect().bottomLeft()))

    def pick(self) -> None:
        """Choose a folder."""
        if self._chooser is None:
            self._chooser = QFileDialog(self, "Dataset or folder of NIfTI files")
            self._chooser.setFileMode(QFileDialog.FileMode.Directory)
            self._chooser.setOption(QFileDialog.Option.ShowDirsOnly, True)
            self._chooser.fileSelected.connect(lambda name: self.foldersChosen.emit([Path(name)]))
        self._chooser.open()


class NothingYet(QWidget):
    """Stands in the place of the table until there are data."""

    def __init__(self, head: DataHead) -> None:
        super().__init__()
        self.folder = Chip("Dataset or folder…", "chip")
        self.scans = Chip("", "chip")
        for chip in (self.folder, self.scans):
            chip.setCheckable(False)
        self.folder.clicked.connect(head.pick)
        self.scans.clicked.connect(head.openScansChosen)
        self.scans.hide()
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self.folder)
        row.addWidget(self.scans)
        row.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 16, 8, 0)
        column.setSpacing(12)
        self.words = Words(NOTHING_YET, 12, 400, "text2")
        column.addWidget(self.words)
        column.addLayout(row)
        column.addStretch(1)

    def set_open_scans(self, count: int) -> None:
        """Offer the scans that are open in the main window."""
        self.scans.setVisible(count > 0)
        self.scans.setText(open_scans_text(count))
        self.scans.setAccessibleName(open_scans_text(count))
        self.scans.updateGeometry()


def open_scans_text(count: int) -> str:
    """Name the scans of the main window."""
    return "The scan that is open" if count == 1 else f"The {count} scans that are open"


def short_path(path: Path) -> str:
    """Write a path with ``~`` for the home."""
    try:
        return str(Path("~") / path.relative_to(Path.home()))
    except ValueError:
        return str(path)
