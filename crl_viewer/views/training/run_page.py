"""The Run page: progress, what the network can do now, curves, pace and log."""

from __future__ import annotations

import time

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from crl_viewer.formatting import DASH, number
from crl_viewer.state.training_run import (
    Preview,
    RunState,
    memory_text,
    step_words,
    time_left,
)
from crl_viewer.views.segments import ChipRow, Heading
from crl_viewer.views.training.curves import Axis, Plot
from crl_viewer.views.training.parts import Fixed, Hairline, Numbers, ProgressLine, Sentence
from crl_viewer.views.training.preview_grid import PreviewGrid
from crl_viewer.views.training.replay import Replay
from crl_viewer.views.training.run_log import RunLog

SLICES = 4
REDRAW_MS = 250
"""Curves and log are drawn at most this often."""

LOSS, RATE = Axis(log=True, rows=2), Axis(log=True, rows=1)
PSNR, SSIM = Axis(digits=1, rows=2), Axis(digits=3, rows=2)
PACE = Axis(zero=True, digits=0, rows=1)
NOW, ENDED = "What it can do now", "What it can do"
THEN = "What it could do at step {step}"


NOBODY = "Nobody to validate on: the last weights are kept."


class RunPage(QWidget):
    """Shows one run; everything on it is set from outside."""

    previewRequested = Signal(int)
    """A step whose preview is to be shown, or `replay.LIVE`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state: RunState | None = None
        self._drawn_version = -1
        self.progress = ProgressLine()
        self.what = Fixed("", 12, 600, "text")
        self.about = Sentence("", 11, 400, "text2")
        self.slices = ChipRow([str(n + 1) for n in range(SLICES)], "segment", exclusive=True)
        self.grid = PreviewGrid()
        self.replay = Replay()
        self.log = RunLog()
        self.loss = Plot("Loss", LOSS)
        self.validation = Plot("Validation", PSNR)
        self.pace = Plot("Pairs per second", PACE)
        self.loss_kind = ChipRow(("Loss", "Rate"), "segment", exclusive=True)
        self.score_kind = ChipRow(("PSNR", "SSIM"), "segment", exclusive=True)
        self.loss_cursor = _cursor_words()
        self.score_cursor = _cursor_words()
        self.numbers = Numbers(("pairs per second", "processors", "memory"))
        self._redraw = QTimer(self, singleShot=True, interval=REDRAW_MS)
        self._tick = QTimer(self, interval=20_000)
        self._name_buttons()
        self._lay_out()
        self._wire()

    # setters -----------------------------------------------------------------------------------

    def set_run(self, state: RunState | None) -> None:
        """Show where a run stands; None empties the page."""
        before, self._state = self._state, state
        if state is None or before is None or before.folder != state.folder:
            self._start_anew()
        if state is None:
            self.progress.set_progress(0, "", "")
            return
        self._show_words()
        if not self._redraw.isActive():
            self._draw()
            self._redraw.start()

    def set_preview(self, preview: Preview | None, message: str = "") -> None:
        """Show the pictures of a step, or say why there are none."""
        self.grid.set_preview(preview, message)
        count = 0 if preview is None else len(preview.slices)
        for index, button in enumerate(self.slices.buttons):
            button.setEnabled(index < count)
            button.setVisible(index < max(count, 1))
        self._show_about()

    # making ------------------------------------------------------------------------------------

    def _name_buttons(self) -> None:
        for index, button in enumerate(self.slices.buttons):
            button.setAccessibleName(f"Slice {index + 1}")
        names = ("Loss", "Learning rate", "Validation in PSNR", "Validation in SSIM")
        buttons = (*self.loss_kind.buttons, *self.score_kind.buttons)
        for button, name in zip(buttons, names, strict=True):
            button.setAccessibleName(name)

    def _lay_out(self) -> None:
        self._right = self._curves()
        main = QHBoxLayout()
        main.setSpacing(24)
        main.addLayout(self._pictures(), 1)
        main.addWidget(Hairline(upright=True))
        main.addWidget(self._right)
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 0, 24, 8)
        column.setSpacing(12)
        column.addWidget(self.progress)
        column.addLayout(main, 1)

    def _pictures(self) -> QVBoxLayout:
        head = QHBoxLayout()
        head.setSpacing(16)
        head.addWidget(self.what)
        head.addWidget(self.about, 1)
        head.addWidget(self.slices)
        column = QVBoxLayout()
        column.setSpacing(8)
        column.addLayout(head)
        column.addWidget(self.grid, 1)
        column.addWidget(self.replay)
        column.addWidget(self.log)
        return column

    def _curves(self) -> QWidget:
        holder = QWidget()
        column = QVBoxLayout(holder)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        self.loss_head = Heading("Loss", self.loss_cursor, self.loss_kind)
        column.addWidget(self.loss_head)
        column.addWidget(self.loss, 10)
        column.addSpacing(4)
        column.addWidget(Heading("Validation", self.score_cursor, self.score_kind))
        column.addWidget(self.validation, 13)
        column.addSpacing(4)
        column.addWidget(self.numbers)
        column.addWidget(self.pace, 5)
        return holder

    def _wire(self) -> None:
        self.slices.chosen.connect(self._choose_slice)
        self.replay.stepChosen.connect(self.previewRequested)
        self.replay.stepChosen.connect(lambda step: self._show_about())
        self.grid.pointed.connect(lambda index: self._show_about())
        self.loss_kind.chosen.connect(self._choose_loss)
        self.score_kind.chosen.connect(self._choose_score)
        for plot in self._plots():
            plot.cursorMoved.connect(self._share_cursor)
        self._redraw.timeout.connect(self._draw)
        # Between two steps that take long the words still follow the clock.
        self._tick.timeout.connect(self._show_words)
        self._tick.start()

    def _plots(self) -> tuple[Plot, ...]:
        return (self.loss, self.validation, self.pace)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give the curves a third of the width."""
        self._right.setFixedWidth(min(max(round(0.325 * self.width()), 300), 520))
        self.log.show_rows(min(max(round(self.height() / 150), 3), 8))
        super().resizeEvent(event)

    # what shows --------------------------------------------------------------------------------

    def _start_anew(self) -> None:
        self._drawn_version = -1
        self._redraw.stop()
        for plot in self._plots():
            plot.reset()
        self._share_cursor(None)
        self.replay.go_live()
        self.replay.set_steps((), 1, False)
        self.log.set_lines(())
        self.numbers.set_values([DASH] * 3)

    def _show_words(self) -> None:
        state = self._state
        if state is None:
            return
        left = step_words(state)
        share = state.progress or (state.step / state.total if state.total else 0.0)
        lit = state.standing in ("starting", "running", "finished")
        self.progress.set_progress(share, left, time_left(state, time.time()), lit=lit)
        values = [
            number(state.pairs_per_second, 1 if state.pairs_per_second < 10 else 0)
            if state.pairs_per_second > 0 else DASH,
            f"{number(state.busy_percent)} %" if state.busy_percent > 0 else DASH,
            memory_text(state.memory_mb),
        ]  # fmt: skip
        on_gpu = "cpu" not in state.device.lower()
        memory = "GPU memory" if on_gpu and state.device else "memory"
        self.numbers.set_values(values, ("pairs per second", "processors", memory))
        self.numbers.setToolTip(state.device)

    def _draw(self) -> None:
        """Draw curves, ticks and log of the newest state, if that has not been done."""
        state = self._state
        if state is None or state.version == self._drawn_version:
            return
        self._drawn_version = state.version
        self._draw_loss()
        self._draw_scores()
        self.pace.set_curves(state.pace, state.span, settled=not state.at_work)
        self.replay.set_steps(state.previews, state.span, state.at_work)
        self.log.set_lines(state.lines)
        self._show_about()
        self._redraw.start()

    def _draw_loss(self) -> None:
        if self._state is not None:
            state, rate = self._state, self.loss_kind.selected() == 1
            curves = state.rate if rate else state.loss
            self.loss.set_curves(curves, state.span, settled=not state.at_work)

    def _draw_scores(self) -> None:
        if self._state is not None:
            ssim = self.score_kind.selected() == 1
            curves = self._state.ssim if ssim else self._state.psnr
            nobody = self._state.validated_on.startswith("nobody")
            self.validation.set_message(NOBODY if nobody else "")
            ended = not self._state.at_work
            self.validation.set_curves(curves, self._state.span, settled=ended)

    def _show_about(self) -> None:
        """Say what the pictures are of, or name the target that is pointed at."""
        grid, state = self.grid, self._state
        live, work = self.replay.live, state is None or state.at_work
        now = NOW if work else ENDED
        self.what.set_text(now if live else THEN.format(step=number(self.replay.step())))
        self.what.updateGeometry()
        shown = grid.shown
        if shown is None:
            self.about.say("")
            return
        words = grid.column_words(grid.column)
        if not words:
            words = f"{shown.about}, from {shown.source}" if shown.source else shown.about
        self.about.say(words)

    # what the user does ------------------------------------------------------------------------

    def _choose_slice(self, index: int) -> None:
        self.grid.set_slice(index)
        self._show_about()

    def _choose_loss(self, index: int) -> None:
        self.loss_head.title.set_text(("Loss", "Learning rate")[index])
        self.loss.setAccessibleName(("Loss", "Learning rate")[index])
        self.loss.reset((LOSS, RATE)[index])
        self._draw_loss()

    def _choose_score(self, index: int) -> None:
        self.validation.reset((PSNR, SSIM)[index])
        self._draw_scores()

    def _share_cursor(self, x: float | None) -> None:
        for plot in self._plots():
            plot.set_cursor(x)
        self.loss_cursor.set_text(self.loss.cursor_words())
        self.score_cursor.set_text(self.validation.cursor_words())


def _cursor_words() -> Fixed:
    return Fixed("step 000 000", 11, 400, "text2")
