"""The training dialog's shell: title, sentence, three pages with a footer each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QCloseEvent, QKeyEvent, QShowEvent
from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from crl_viewer.formatting import number
from crl_viewer.state.training_run import KnownRun, Preview, RunReport, RunState, duration
from crl_viewer.views.segments import Words
from crl_viewer.views.training.parts import Button, Hairline, PageWord, Sentence
from crl_viewer.views.training.result_page import ResultPage
from crl_viewer.views.training.run_footer import Answer, RunFooter
from crl_viewer.views.training.run_page import RunPage

Page = Literal["setup", "run", "result"]
PAGES: tuple[tuple[Page, str], ...] = (("setup", "Set up"), ("run", "Run"), ("result", "Result"))

SIZE, MINIMUM = QSize(1200, 800), QSize(960, 620)
RUNS_BY_ITSELF = "Runs by itself: closing this window does not stop it."
NO_RUN = "No run is open. Start one under Set up, or add one under Result."


class TrainingDialog(QDialog):
    """Set up a training run, watch it, and compare what came of several; blocks nothing."""

    pauseRequested = Signal()
    continueRequested = Signal()
    finishRequested = Signal()
    stopRequested = Signal()
    """Asked for and confirmed in place."""
    tryRequested = Signal(object)
    """The run's folder: the main window is to use the network as it is now."""
    useRequested = Signal(object)
    """The run's folder: its network is to become that of the main window."""
    resumeRequested = Signal(object)
    openFolderRequested = Signal(object)
    previewRequested = Signal(int)
    compareRequested = Signal(list)
    pageChanged = Signal(str)
    left = Signal(int, int)
    """The dialog goes; its width and height."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Train a network")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setMinimumSize(MINIMUM)
        self.resize(SIZE)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.may_close: Callable[[], bool] | None = None
        """Asked before the dialog goes; False keeps it, such as to ask in the footer first."""
        self._titles: dict[str, tuple[str, str]] = {
            "setup": ("Train a network", ""),
            "result": ("Compare runs", "Tick runs to lay their curves over each other."),
        }
        self._page: Page = "setup"
        self._state: RunState | None = None
        self._result_seen = False
        self._widgets: dict[str, QWidget] = {}
        self._footers: dict[str, QWidget] = {}
        self.title = Words("", 16, 600)
        self.sentence = Sentence("", 12, 400, "text2")
        self.page_words = {name: PageWord(text) for name, text in PAGES}
        self.run_page, self.result_page = RunPage(), ResultPage()
        self.run_footer = RunFooter()
        self.use = Button("Use this network")
        self._lay_out()
        self._wire()
        self.show_page("setup")

    # pages -------------------------------------------------------------------------------------

    def set_setup_page(self, widget: QWidget, footer: QWidget | None = None) -> None:
        """Put in the Set-up page, with its footer if that is not part of it."""
        self._put_page("setup", widget)
        if footer is not None:
            self.set_footer("setup", footer)
        self.show_page(self._page)

    def set_footer(self, page: Page, widget: QWidget) -> None:
        """Give a page its footer."""
        old = self._footers.pop(page, None)
        if old is not None:
            self._bottom.removeWidget(old)
            old.deleteLater()
        self._footers[page] = widget
        self._bottom.addWidget(widget)
        widget.setVisible(page == self._page)
        self._line.setVisible(self._page in self._footers)

    def show_page(self, page: Page) -> None:
        """Show one of the three pages."""
        changed, self._page = page != self._page, page
        for name, widget in self._widgets.items():
            widget.setVisible(name == page)
        for name, widget in self._footers.items():
            widget.setVisible(name == page)
        self._line.setVisible(page in self._footers)
        self.page_words[page].setChecked(True)
        self._show_title()
        if changed:
            self.pageChanged.emit(page)

    @property
    def page(self) -> Page:
        """The page that shows."""
        return self._page

    def set_title(self, title: str, sentence: str = "", page: Page | None = None) -> None:
        """Say what a page is about; the Run page says it by itself unless told."""
        self._titles[page or self._page] = (title, sentence)
        self._show_title()

    def set_sentence(self, sentence: str, page: Page | None = None) -> None:
        """Change the sentence below the title alone."""
        name = page or self._page
        self._titles[name] = (self._title_of(name)[0], sentence)
        self._show_title()

    # the run -----------------------------------------------------------------------------------

    def set_run(self, state: RunState | None) -> None:
        """Show where the run stands; None for no run."""
        self._state = state
        self.run_page.set_run(state)
        self.run_footer.set_state(state)
        if state is None:
            self.run_page.set_preview(None, NO_RUN)
        self._show_title()

    def set_preview(self, preview: Preview | None, message: str = "") -> None:
        """Show the pictures of a step, or why there are none."""
        no_run = NO_RUN if self._state is None else ""
        self.run_page.set_preview(preview, message or no_run)

    def set_notice(self, text: str) -> None:
        """Say in one line what could not be done."""
        self.run_footer.set_notice(text)

    def ask_in_place(self, question: str, answers: Sequence[Answer]) -> None:
        """Ask in the Run page's footer: (text, red, what happens then); the last is the way back.

        The page comes to the front, so that no question stands unseen.
        """
        self.show_page("run")
        self.run_footer.ask(question, answers)

    # comparing ---------------------------------------------------------------------------------

    def set_recent_runs(self, runs: Sequence[KnownRun]) -> None:
        """List the runs that can be compared."""
        self.result_page.set_recent(runs)

    def compare(self, folders: Sequence[Path]) -> None:
        """Show runs on the Result page; asks for them through `compareRequested`."""
        self.result_page.choose(list(folders))
        self.show_page("result")

    def set_reports(self, reports: Sequence[RunReport]) -> None:
        """Show runs beside each other."""
        self.result_page.set_reports(reports)
        ready = [r for r in self.result_page.reports if r.state.has_network]
        self.use.setVisible(len(self.result_page.reports) == 1 and len(ready) == 1)

    # making ------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.title.setFixedHeight(28)
        names = QVBoxLayout()
        names.setSpacing(0)
        names.addWidget(self.title)
        names.addWidget(self.sentence)
        top = QHBoxLayout()
        top.setContentsMargins(24, 16, 16, 8)
        top.setSpacing(0)
        top.addLayout(names, 1)
        for word in self.page_words.values():
            top.addWidget(word)
        self._middle, self._bottom = QVBoxLayout(), QVBoxLayout()
        self._line = Hairline()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(top)
        column.addSpacing(4)
        column.addLayout(self._middle, 1)
        column.addWidget(self._line)
        column.addLayout(self._bottom)
        self._put_page("run", self.run_page)
        self._put_page("result", self.result_page)
        self.set_footer("run", self.run_footer)
        self.set_footer("result", self._result_footer())

    def _put_page(self, page: Page, widget: QWidget) -> None:
        old = self._widgets.pop(page, None)
        if old is not None:
            self._middle.removeWidget(old)
            old.deleteLater()
        self._widgets[page] = widget
        self._middle.addWidget(widget, 1)
        widget.setVisible(page == self._page)

    def _result_footer(self) -> QWidget:
        self.use.setProperty("primary", True)
        self.use.hide()
        self.use.clicked.connect(self._use_result)
        footer = QWidget()
        row = QHBoxLayout(footer)
        row.setContentsMargins(24, 16, 24, 16)
        row.addStrut(32)
        row.addWidget(Words("Opening a run changes nothing in it.", 11, 400, "text2"), 1)
        row.addWidget(self.use)
        return footer

    def _wire(self) -> None:
        footer = self.run_footer
        for name in ("pauseRequested", "continueRequested", "finishRequested", "stopRequested"):
            getattr(footer, name).connect(getattr(self, name))
        for name in ("tryRequested", "useRequested", "resumeRequested", "openFolderRequested"):
            signal = getattr(self, name)
            getattr(footer, name).connect(lambda s=signal: self._with_folder(s))
        self.run_page.previewRequested.connect(self.previewRequested)
        self.result_page.compareRequested.connect(self.compareRequested)
        for name, word in self.page_words.items():
            word.clicked.connect(lambda _=False, n=name: self._turn_to(n))
            word.stepped.connect(lambda step, n=name: self._beside(n, step))

    # what the user does ------------------------------------------------------------------------

    def _with_folder(self, signal: object) -> None:
        if self._state is not None:
            signal.emit(self._state.folder)  # type: ignore[attr-defined]

    def _use_result(self) -> None:
        if self.result_page.reports:
            self.useRequested.emit(self.result_page.reports[0].state.folder)

    def _turn_to(self, page: Page) -> None:
        self.show_page(page)
        if page == "result" and not self._result_seen:
            # What a user wants to see first is the run at hand.
            self.result_page.show_first(self._state.folder if self._state is not None else None)
            self._result_seen = bool(self.result_page.chosen())

    def _beside(self, page: Page, step: int) -> None:
        names = [name for name, _ in PAGES]
        there = names[(names.index(page) + step) % len(names)]
        self._turn_to(there)
        self.page_words[there].setFocus(Qt.FocusReason.TabFocusReason)

    # words -------------------------------------------------------------------------------------

    def _show_title(self) -> None:
        title, sentence = self._title_of(self._page)
        failed = self._page == "run" and self._state is not None and self._state.failure
        self.title.set_text(title)
        self.sentence.say(sentence, "bad" if failed else "text2")
        self.setWindowTitle(title)

    def _title_of(self, page: str) -> tuple[str, str]:
        if page in self._titles:
            return self._titles[page]
        return _run_words(self._state)

    def showEvent(self, event: QShowEvent) -> None:
        """Take the focus itself, so that no button seems pressed before anything was done."""
        super().showEvent(event)
        if self.focusWidget() is None:
            self.setFocus()

    # going -------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Let Escape close the window as its frame does, and Return press nothing by chance."""
        if event.key() == Qt.Key.Key_Escape:
            self.close()
        elif event.key() not in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            super().keyPressEvent(event)

    def reject(self) -> None:
        """Close by the way that asks first."""
        self.close()

    def closeEvent(self, event: QCloseEvent) -> None:
        """Ask whoever has a say, then tell the size."""
        if self.may_close is not None and not self.may_close():
            event.ignore()
            return
        self.left.emit(self.width(), self.height())
        event.accept()


def _run_words(state: RunState | None) -> tuple[str, str]:
    """Return title and sentence of the Run page."""
    if state is None:
        return "No run", NO_RUN
    name = state.start or state.network or state.folder.name
    doing, done = ("Fine-tuning", "Fine-tuned") if state.start else ("Training", "Trained")
    if state.standing == "failed":
        return f"{doing} {name}", state.failure
    if state.at_work:
        where = f" on {state.device}" if state.device else ""
        data = state.data[:1].upper() + state.data[1:]
        data = f"{data.rstrip('.')}." if data else ""
        return f"{doing} {name}{where}", f"{data} {RUNS_BY_ITSELF}".strip()
    best = ""
    if state.best_step is not None:
        best = f" Best: {state.best_score:.2f} dB at step {number(state.best_step)}."
    if state.standing == "finished":
        return f"{done} {name}", f"Finished after {duration(state.seconds)}.{best}"
    said = {"stopped": "Stopped", "interrupted": "Interrupted"}.get(state.standing, "Not started")
    return f"{doing} {name}", f"{said} at step {number(state.step)}.{best}"
