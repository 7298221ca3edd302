"""The last line of the Run page: steer a run at work, go on with one that has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QApplication, QHBoxLayout, QPushButton, QWidget

from crl_viewer import icons
from crl_viewer.state.training_run import RunState
from crl_viewer.views.training.parts import Button, DangerButton, Sentence

FINISH_SAYS = "Finish now writes a complete model from the best step."
STOP_ASKS = "Stop now? The state is saved; Resume goes on from there."

Answer = tuple[str, bool, Callable[[], None]]
"""What the button says, whether it is red, and what happens then."""


class RunFooter(QWidget):
    """Buttons that fit where the run stands; a question takes their place until answered."""

    pauseRequested = Signal()
    continueRequested = Signal()
    finishRequested = Signal()
    stopRequested = Signal()
    tryRequested = Signal()
    useRequested = Signal()
    resumeRequested = Signal()
    openFolderRequested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state: RunState | None = None
        self._notice = ""
        self._pending = ""
        self._pressed: QWidget | None = None
        self.pause = _button("Pause", "pause")
        self.finish = _button("Finish now")
        self.stop = DangerButton("Stop…")
        self.resume = _button("Resume", "play")
        self.folder = _button("Open folder", "folder")
        self.sentence = Sentence("", 11, 400, "text2")
        self.primary = _button("Try it now")
        self.primary.setProperty("primary", True)
        # The width is that of the longer word, so that nothing jumps when it changes.
        self.pause.setMinimumWidth(_button("Continue", "pause").sizeHint().width())
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(24, 16, 24, 16)
        self._row.setSpacing(8)
        self._question = ""
        for widget in (self.pause, self.finish, self.stop, self.resume, self.folder):
            self._row.addWidget(widget)
        self._row.addWidget(self.sentence, 1)
        self._row.addWidget(self.primary)
        self._answers: list[QPushButton] = []
        self._wire()
        self.set_state(None)

    def _wire(self) -> None:
        self.pause.clicked.connect(self._pause_or_go_on)
        self.finish.clicked.connect(self._finish)
        self.stop.clicked.connect(self.ask_stop)
        self.resume.clicked.connect(self.resumeRequested)
        self.folder.clicked.connect(self.openFolderRequested)
        self.primary.clicked.connect(self._use_or_try)

    # setters -----------------------------------------------------------------------------------

    def set_state(self, state: RunState | None) -> None:
        """Offer what can be done where the run stands now."""
        before, self._state = self._state, state
        if before is None or state is None or before.folder != state.folder:
            self._pending = self._notice = ""
            self.end_question()
        elif before.standing != state.standing:
            self._pending = ""
            if not state.at_work:
                self.end_question()
        self._show()

    def set_notice(self, text: str) -> None:
        """Say in one line what could not be done; an empty text ends it."""
        self._notice = text
        if text:
            self._pending = ""
        self._show()

    @property
    def asking(self) -> bool:
        """Whether a question stands open."""
        return bool(self._answers)

    # questions ---------------------------------------------------------------------------------

    def ask_stop(self) -> None:
        """Ask whether the run is to be stopped."""
        go_on = "Keep running"
        self.ask(STOP_ASKS, [("Stop training", True, self._stop), (go_on, False, lambda: None)])

    def ask(self, question: str, answers: Sequence[Answer]) -> None:
        """Ask in place of the buttons; the last answer is the way back and also Escape."""
        self.end_question()
        for text, red, then in answers:
            button = DangerButton(text) if red else _button(text)
            button.clicked.connect(lambda _=False, f=then: self._answer(f))
            self._answers.append(button)
            self._row.addWidget(button)
            button.show()  # a layout would do so only later, and what is hidden takes no focus
        self._question = question
        self._show()
        self._answers[-1].setFocus(Qt.FocusReason.OtherFocusReason)

    def end_question(self) -> None:
        """Take the question away, unanswered."""
        for button in self._answers:
            self._row.removeWidget(button)
            button.hide()
            button.deleteLater()
        self._answers = []
        self._show()

    def _answer(self, then: Callable[[], None]) -> None:
        self.end_question()
        (self.primary if self.stop.isHidden() else self.stop).setFocus()
        then()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Let Escape answer an open question with the way back."""
        if event.key() == Qt.Key.Key_Escape and self._answers:
            self._answers[-1].click()
        else:
            super().keyPressEvent(event)

    # what shows --------------------------------------------------------------------------------

    def _show(self) -> None:
        state, asking = self._state, self.asking
        work = state is not None and state.at_work
        ended = state is not None and not work
        for widget in (self.pause, self.finish, self.stop):
            widget.setVisible(work and not asking)
        self.resume.setVisible(ended and not asking and state.standing != "finished")
        self.folder.setVisible(ended and not asking)
        self.primary.setVisible(state is not None and not asking)
        paused = state is not None and state.standing == "paused"
        self.pause.setText("Continue" if paused else "Pause")
        icons.bind(self.pause, "play" if paused else "pause")
        ready = state is not None and state.has_network
        self.primary.setText("Use this network" if ended else "Try it now")
        self.primary.setEnabled(ready)
        self.primary.setToolTip("" if ready else "There is no network yet.")
        steerable = work and state.standing != "starting" and not self._pending
        for button in (self.pause, self.finish):
            button.setEnabled(steerable)
        self.sentence.say(*self._words(asking))
        if self._pressed is not None and not self._pending:
            pressed, self._pressed = self._pressed, None
            if self.hasFocus():
                (self.primary if pressed.isHidden() else pressed).setFocus()

    def _words(self, asking: bool) -> tuple[str, str]:
        state = self._state
        if asking:
            return self._question, "text"
        if self._notice:
            return self._notice, "warn"
        if state is None:
            return "", "text2"
        if self._pending:
            return self._pending, "text2"
        said = {
            "starting": "The data are being read.",
            "running": FINISH_SAYS,
            "paused": "Kept in memory. Continue goes on with the next step.",
            "finished": "",
            "stopped": "Resume goes on from the saved state.",
            "interrupted": "The process has ended. Resume goes on from the last saved state.",
            "failed": "Resume goes on from the last saved state.",
            "empty": "Nothing has been trained here yet.",
        }
        return said[state.standing], "text2"

    # what the user does ------------------------------------------------------------------------

    def _wait(self, words: str) -> None:
        self._notice, self._pending = "", words
        # A button that is greyed hands the focus on, and the next one is "Stop".
        focused = QApplication.focusWidget()
        if focused is not None and self.isAncestorOf(focused):
            self._pressed = focused
            self.setFocus(Qt.FocusReason.OtherFocusReason)
        self._show()

    def _pause_or_go_on(self) -> None:
        if self._state is not None and self._state.standing == "paused":
            self._wait("Going on…")
            self.continueRequested.emit()
        else:
            self._wait("Pausing after this step…")
            self.pauseRequested.emit()

    def _finish(self) -> None:
        self._wait("Finishing: the best step is being written with its card…")
        self.finishRequested.emit()

    def _stop(self) -> None:
        self._wait("Stopping after this step…")
        self.stopRequested.emit()

    def _use_or_try(self) -> None:
        work = self._state is not None and self._state.at_work
        (self.tryRequested if work else self.useRequested).emit()


def _button(text: str, icon: str = "") -> QPushButton:
    button = Button(text)
    if icon:
        icons.bind(button, icon)
    return button
