"""Follows a training run for the dialog: reads its log, loads its previews, steers it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QObject, QTimer, Signal, SignalInstance

from crl_core.errors import CRLError
from crl_core.training.folder import Command, RunFolder
from crl_viewer.state.training_run import Preview, RunReport, RunState
from crl_viewer.workers.bridge import Bridge
from crl_viewer.workers.following_runs import RunReader, read_report
from crl_viewer.workers.loader import Loader

EVERY_MS = 400
"""How often the log is looked at: often enough to seem live, seldom enough to cost nothing."""

KEPT_PREVIEWS = 24

READING = "Reading the run…"
STARTING = "Starting: the data are being read."

LIVE = -1
"""Stands for the newest preview, whichever that is."""


class RunView(Protocol):
    """What the controller needs of the dialog."""

    pauseRequested: SignalInstance
    continueRequested: SignalInstance
    finishRequested: SignalInstance
    stopRequested: SignalInstance
    previewRequested: SignalInstance
    compareRequested: SignalInstance

    def set_run(self, state: RunState | None) -> None:
        """Show where the run stands."""

    def set_preview(self, preview: Preview | None, message: str = "") -> None:
        """Show the pictures of a step, or why there are none."""

    def set_reports(self, reports: Sequence[RunReport]) -> None:
        """Show runs beside each other."""

    def set_notice(self, text: str) -> None:
        """Say in one line what could not be done."""


class TrainingRunController(QObject):
    """Keeps a view in step with a run folder.

    Parameters
    ----------
    view
        The dialog.
    parent
        Owner, if any.
    """

    changed = Signal(object)
    """A new `RunState`, after the view has shown it."""
    opened = Signal(object)
    """The folder now followed."""
    saved = Signal(object)
    """(folder): a newer network lies there than before; "Try it now" may load it again."""

    def __init__(self, view: RunView, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._view = view
        self._bridge = Bridge(self)
        self._loader = Loader(self._bridge.post)
        self._timer = QTimer(self, interval=EVERY_MS)
        self._timer.timeout.connect(self._look)
        self._retry = QTimer(self, singleShot=True, interval=EVERY_MS)
        self._retry.timeout.connect(self._read)
        self._starting = False
        self._reader: RunReader | None = None
        self._path: Path | None = None
        self._looking = False
        self._wanted = LIVE
        self._shown: int | None = None
        self._loading: int | None = None
        self._cache: OrderedDict[int, Preview] = OrderedDict()
        self._compared: list[Path] = []
        self._open = True
        self.state: RunState | None = None
        view.previewRequested.connect(self.show_preview)
        view.compareRequested.connect(self.compare)
        for signal, command in (
            (view.pauseRequested, "pause"),
            (view.continueRequested, "continue"),
            (view.finishRequested, "finish"),
            (view.stopRequested, "stop"),
        ):
            signal.connect(partial(self.send, command))

    # following ---------------------------------------------------------------------------------

    @property
    def folder(self) -> Path | None:
        """The run that is followed."""
        return self._path

    def open(self, run: Path, *, starting: bool = False) -> None:
        """Follow a run, whether it is at work, was stopped or is finished.

        Parameters
        ----------
        run
            Its folder.
        starting
            A process was started just now and has yet to make the folder: wait for it.
        """
        self._forget()
        self._path, self._starting = Path(run), starting
        self._view.set_run(RunState(self._path, standing="starting") if starting else None)
        self._view.set_preview(None, STARTING if starting else READING)
        self._read()

    def _read(self) -> None:
        path = self._path
        if path is not None:
            self._loader.submit(lambda: RunReader(path), partial(self._opened, path))

    def leave(self) -> None:
        """Follow nothing; the run itself goes on."""
        self._forget()
        self._view.set_run(None)
        self._view.set_preview(None)

    def closed(self) -> None:
        """Let go of everything; to be called when the dialog goes."""
        if self._open:
            self._open = False
            self._forget()
            self._bridge.close()
            self._loader.close()

    def refresh(self) -> None:
        """Look at the log now, such as right after a process was started."""
        self._look()

    def _forget(self) -> None:
        self._timer.stop()
        self._retry.stop()
        self._reader = self._path = self.state = None
        self._wanted, self._shown, self._loading = LIVE, None, None
        self._looking = False
        self._cache.clear()

    def _opened(self, path: Path, future: Future[RunReader]) -> None:
        if path is not self._path:
            return
        try:
            self._reader = future.result()
        except CRLError as refusal:
            if self._starting:
                self._retry.start()
            else:
                self._view.set_preview(None, str(refusal))
                self._view.set_notice(str(refusal))
            return
        self.opened.emit(path)
        self._timer.start()
        self._look()

    def _look(self) -> None:
        reader = self._reader
        if reader is not None and not self._looking:
            self._looking = True
            self._loader.submit(reader.poll, partial(self._looked, reader))

    def _looked(self, reader: RunReader, future: Future[RunState | None]) -> None:
        if reader is not self._reader:
            return
        self._looking = False
        try:
            state = future.result()
        except CRLError as refusal:
            self._view.set_notice(str(refusal))
            return
        if state is None:
            return
        before, self.state = self.state, state
        if before is not None and state.step < before.step:
            self._cache.clear()  # the run went on from an earlier step and draws them anew
            self._shown = None
        self._view.set_run(state)
        self._show_wanted()
        self.changed.emit(state)
        if before is not None and state.has_network and _newer_network(before, state):
            self.saved.emit(state.folder)

    # previews ----------------------------------------------------------------------------------

    def show_preview(self, step: int) -> None:
        """Show the preview of a step; `LIVE` follows the newest."""
        self._wanted = step
        self._show_wanted()

    def _show_wanted(self) -> None:
        state, reader = self.state, self._reader
        if state is None or reader is None:
            return
        if not state.previews:
            self._view.set_preview(None, _no_previews(state))
            return
        step = state.previews[-1] if self._wanted == LIVE else self._wanted
        if step == self._shown:
            return
        if step in self._cache:
            self._cache.move_to_end(step)
            self._shown = step
            self._view.set_preview(self._cache[step])
        elif self._loading is None:
            # One at a time: while the handle is dragged, only the last place counts.
            self._loading = step
            self._loader.submit(
                partial(reader.previews.read, step), partial(self._loaded, reader, step)
            )

    def _loaded(self, reader: RunReader, step: int, future: Future[Preview]) -> None:
        if reader is not self._reader:
            return
        self._loading = None
        try:
            preview = future.result()
        except CRLError as refusal:
            self._shown = step
            self._view.set_preview(None, str(refusal))
        else:
            self._cache[step] = preview
            while len(self._cache) > KEPT_PREVIEWS:
                self._cache.popitem(last=False)
        self._show_wanted()

    # steering ----------------------------------------------------------------------------------

    def send(self, command: Command) -> None:
        """Ask the run that is followed to do something."""
        if self._path is not None:
            folder = RunFolder(self._path)
            self._view.set_notice("")
            self._loader.submit(lambda: folder.send(command), self._tell_refusal)

    def _tell_refusal(self, future: Future[None]) -> None:
        error = future.exception()
        if isinstance(error, CRLError):
            self._view.set_notice(str(error))
        elif error is not None:
            raise error
        self._look()

    # comparing ---------------------------------------------------------------------------------

    def compare(self, folders: Sequence[Path]) -> None:
        """Read runs and show them beside each other."""
        paths = [Path(f) for f in folders]
        self._compared = paths
        self._loader.submit(partial(_reports, paths), partial(self._show_reports, paths))

    def _show_reports(self, paths: list[Path], future: Future[list[RunReport]]) -> None:
        if paths is self._compared:
            self._view.set_reports(future.result())


def _reports(paths: Sequence[Path]) -> list[RunReport]:
    return [read_report(path) for path in paths]


def _newer_network(before: RunState, state: RunState) -> bool:
    return state.saved_step != before.saved_step or state.standing != before.standing


def _no_previews(state: RunState) -> str:
    if state.at_work:
        return "The first pictures come after a few steps."
    return "This run has left no pictures."
