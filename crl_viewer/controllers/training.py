"""Opens the training dialog, starts runs and goes on with them, and asks before they are left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from PySide6.QtCore import QObject, QTimer, QUrl
from PySide6.QtGui import QDesktopServices

from crl_core.errors import CRLError
from crl_core.training.folder import RunFolder, is_run
from crl_viewer.controllers.trying import TryingController, TryingShell
from crl_viewer.settings import Settings
from crl_viewer.state.model import Store, ViewerState
from crl_viewer.state.training_run import KnownRun, RunState
from crl_viewer.workers.bridge import Bridge
from crl_viewer.workers.loader import Loader
from crl_viewer.workers.looking_at_runs import known_runs

if TYPE_CHECKING:
    # The dialog with all behind it is imported when first asked for: the window opens faster.
    from crl_viewer.controllers.training_run import TrainingRunController
    from crl_viewer.controllers.training_setup import TrainingSetupController
    from crl_viewer.controllers.training_views import DialogView, SetupPageView
    from crl_viewer.state.training_setup_plan import Job
    from crl_viewer.workers.training_process import TrainingProcess

EVERY_MS = 400
"""How often the processes that were started are looked after."""

NEVER_BEGAN = "Stopped before it had begun: nothing was written."

Answers = Sequence[tuple[str, bool, Callable[[], None]]]


class TrainingShell(TryingShell, Protocol):
    """What is needed of the main window."""

    def ask(self, question: str, answers: Answers) -> None:
        """Ask without blocking; the last answer is the way back."""

    def close(self) -> bool:
        """Close the window."""


def start_process(job: Job, run: Path) -> TrainingProcess:
    """Start a run in a process of its own."""
    from crl_viewer.workers import training_process

    return training_process.start(job, run)


def resume_process(run: Path) -> TrainingProcess:
    """Go on with a run in a process of its own."""
    from crl_viewer.workers import training_process

    return training_process.resume(run)


@dataclass(frozen=True)
class Launch:
    """What starts processes; tests put in their own."""

    start: Callable[[Job, Path], TrainingProcess] = start_process
    resume: Callable[[Path], TrainingProcess] = resume_process


class TrainingController(QObject):
    """Everything between the main window and training runs.

    Parameters
    ----------
    store
        The state of the main window.
    shell
        The main window.
    make
        Makes the dialog and its Set-up page.
    settings, change_settings
        Read and replace what is remembered.
    launch
        What starts processes.
    parent
        Owner, if any.
    """

    def __init__(
        self,
        store: Store,
        shell: TrainingShell,
        make: Callable[[], tuple[DialogView, SetupPageView]],
        settings: Callable[[], Settings],
        change_settings: Callable[[Settings], None],
        launch: Launch | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._store, self._shell, self._make = store, shell, make
        self._settings, self._change_settings = settings, change_settings
        self._launch = launch or Launch()
        self._bridge = Bridge(self)
        self._loader = Loader(self._bridge.post)
        self.trying = TryingController(store, shell, self._loader, self)
        self.dialog: DialogView | None = None
        self.run: TrainingRunController | None = None
        self.setup: TrainingSetupController | None = None
        self._leaving: dict[int, DialogView] = {}
        self._processes: dict[Path, TrainingProcess] = {}
        self._starting: set[Path] = set()
        self._given_up: set[Path] = set()
        self._ours: set[Path] = set()
        self._sure = self._asking = False
        self._timer = QTimer(self, interval=EVERY_MS)
        self._timer.timeout.connect(self._look_after)
        store.changed.connect(self._on_changed)

    # the dialog --------------------------------------------------------------------------------

    def open(self) -> None:
        """Show the dialog; a run that is at work is there at once."""
        if self.dialog is None:
            self._make_dialog()
            self._list_runs(self._show_alive)
        assert self.dialog is not None
        self.dialog.show()
        self.dialog.raise_()
        self.dialog.activateWindow()

    def open_run(self, run: Path) -> None:
        """Show a run, at work or at rest."""
        if self.dialog is None:
            self._make_dialog()
            self._list_runs(lambda found: None)
        assert self.dialog is not None
        assert self.run is not None
        self.dialog.show_page("run")
        self.run.open(Path(run).absolute())
        self.open()

    def _make_dialog(self) -> None:
        from crl_viewer.controllers.training_run import TrainingRunController
        from crl_viewer.controllers.training_setup import TrainingSetupController

        dialog, page = self._make()
        self.dialog = dialog
        self._leaving[id(dialog)] = dialog
        # It is deleted a moment after it has closed; until then somebody has to hold it.
        dialog.destroyed.connect(partial(self._leaving.pop, id(dialog), None))
        self.run = TrainingRunController(dialog, self)
        self.setup = TrainingSetupController(page, self.start, parent=self)
        self.setup.scans(list(self._store.state.scans))
        loaded = self._store.state.checkpoint
        self.setup.loaded(None if loaded == self.trying.run else loaded)
        page.cancelRequested.connect(dialog.close)
        self.run.opened.connect(self._remember)
        self.run.changed.connect(self._run_changed)
        self.run.saved.connect(lambda folder: self.trying.look())
        dialog.tryRequested.connect(self.trying.try_run)
        dialog.useRequested.connect(self.trying.use)
        dialog.resumeRequested.connect(self.resume)
        dialog.stopRequested.connect(self._stop_starting)
        dialog.openFolderRequested.connect(_open_folder)
        dialog.left.connect(self._left)

    def _left(self, width: int, height: int) -> None:
        """Let go of the dialog; runs go on by themselves."""
        for part in (self.run, self.setup):
            if part is not None:
                part.closed()
                part.deleteLater()
        self.dialog = self.run = self.setup = None
        self._change_settings(replace(self._settings(), training=(width, height)))

    def _list_runs(self, then: Callable[[list[tuple[KnownRun, bool]]], None]) -> None:
        paths = [Path(run) for run in self._settings().runs]
        self._loader.submit(partial(known_runs, paths), partial(self._runs_found, then))

    def _runs_found(
        self,
        then: Callable[[list[tuple[KnownRun, bool]]], None],
        future: Future[list[tuple[KnownRun, bool]]],
    ) -> None:
        found = future.result()
        if self.dialog is not None:
            self.dialog.set_recent_runs([run for run, _ in found])
            then(found)

    def _show_alive(self, found: list[tuple[KnownRun, bool]]) -> None:
        """Show the run at work that was opened last, unless another was chosen meanwhile."""
        at_work = [run.folder for run, alive in found if alive]
        if at_work and self.run is not None and self.run.folder is None:
            assert self.dialog is not None
            self.dialog.show_page("run")
            self.run.open(at_work[0])

    def _remember(self, run: Path) -> None:
        settings = self._settings().with_run(str(run))
        if settings != self._settings():
            self._change_settings(settings)
        self._list_runs(lambda found: None)

    def _run_changed(self, state: RunState) -> None:
        if state.at_work:
            self._ours.add(state.folder)
            self._starting.discard(state.folder)

    def _on_changed(self, old: ViewerState, new: ViewerState) -> None:
        if self.setup is not None and new.scans != old.scans:
            self.setup.scans(list(new.scans))

    # starting ----------------------------------------------------------------------------------

    def start(self, job: Job, run: Path) -> None:
        """Start a run that was set up."""
        path = Path(run).absolute()
        self._begin(path, partial(self._launch.start, job, path), self._started)

    def resume(self, run: Path) -> None:
        """Go on with a run from its last saved state."""
        path = Path(run)
        if path in self._starting:
            return
        if self.dialog is not None and self.run is not None and self.run.state is not None:
            # Until the process says so itself: reading the data takes it a moment.
            self.dialog.set_run(replace(self.run.state, standing="starting"))
        self._begin(path, partial(self._launch.resume, path), self._resumed)

    def _begin(
        self, run: Path, launch: Callable[[], TrainingProcess], then: Callable[[Path], None]
    ) -> None:
        self._starting.add(run)
        self._ours.add(run)
        self._loader.submit(launch, partial(self._launched, run, then))

    def _launched(
        self, run: Path, then: Callable[[Path], None], future: Future[TrainingProcess]
    ) -> None:
        try:
            process = future.result()
        except CRLError as refusal:
            self._died(run, str(refusal), is_there=False)
            return
        self._processes[run] = process
        self._timer.start()
        then(run)

    def _started(self, run: Path) -> None:
        self._remember(run)
        if self.dialog is not None and self.run is not None:
            self.run.open(run, starting=True)
            self.dialog.show_page("run")

    def _resumed(self, run: Path) -> None:
        if self.run is not None:
            self.run.refresh()

    def _stop_starting(self) -> None:
        """Stop a run that has no folder yet, which could be told so; others are told by it."""
        run = self.run.folder if self.run is not None else None
        if run is not None and run in self._starting and run in self._processes:
            self._given_up.add(run)
            self._loader.submit(partial(_stop, [run], dict(self._processes)), lambda future: None)

    # the processes -----------------------------------------------------------------------------

    def _look_after(self) -> None:
        """Take note of processes that have gone."""
        for run, process in list(self._processes.items()):
            if process.ended:
                del self._processes[run]
                self._loader.submit(partial(_farewell, process), partial(self._ended, run))
        if not self._processes:
            self._timer.stop()

    def _ended(self, run: Path, future: Future[tuple[str, bool]]) -> None:
        reason, is_there = future.result()
        if run in self._given_up:
            self._given_up.discard(run)
            reason = ""
        if reason or not is_there:
            self._died(run, reason or NEVER_BEGAN, is_there)
        else:
            self._starting.discard(run)
            self._ours.discard(run)
            if self.dialog is None:
                self._shell.set_notice(f"The training of {run.name} has ended")

    def _died(self, run: Path, reason: str, is_there: bool) -> None:
        """Tell why a run has ended before its time, where its own log does not."""
        before_it_began = run in self._starting
        self._starting.discard(run)
        self._ours.discard(run)
        if self.dialog is None or self.run is None or self.run.folder not in (None, run):
            self._store.update(banner=f"Training {run.name}: {reason}")
            return
        if not is_there and self.run.state is None:
            self.run.leave()
            self.dialog.show_page("run")
        elif before_it_began:
            self.dialog.set_run(self.run.state)
        state = self.run.state
        if state is None or not state.failure or before_it_began:
            self.dialog.set_notice(reason)

    # leaving -----------------------------------------------------------------------------------

    def may_close(self) -> bool:
        """Return whether the main window may close; asks first while a run of it is at work."""
        if self._sure or not self._ours:
            return True
        if not self._asking:
            self._asking = True
            starting = [run for run, process in self._processes.items() if not process.ended]
            self._loader.submit(
                partial(_at_work, sorted(self._ours), starting), self._ask_before_closing
            )
        return False

    def _ask_before_closing(self, future: Future[list[Path]]) -> None:
        # Whatever cannot be found out must not keep the window open.
        runs = future.result() if future.exception() is None else []
        if not runs:
            self._close_window()
            return
        one = len(runs) == 1
        what = f"{runs[0].name} is" if one else f"{len(runs)} networks are"
        stop = "it with its state" if one else "them with their states"
        self._shell.ask(
            f"{what} being trained. Stop {stop} saved, or keep training without the window?",
            [
                ("Stop", True, partial(self._stop_and_close, runs)),
                ("Keep running", False, self._close_window),
                ("Cancel", False, self._keep_open),
            ],
        )

    def _keep_open(self) -> None:
        self._asking = False

    def _stop_and_close(self, runs: Sequence[Path]) -> None:
        processes = dict(self._processes)
        self._loader.submit(partial(_stop, runs, processes), lambda future: self._close_window())

    def _close_window(self) -> None:
        self._asking, self._sure = False, True
        self._shell.close()

    def close_dialog(self) -> None:
        """Close the dialog, as when the main window goes; runs go on by themselves."""
        if self.dialog is not None:
            self.dialog.close()

    def close(self) -> None:
        """Let go of everything; runs go on by themselves."""
        self.close_dialog()
        self._timer.stop()
        self.trying.close()
        self._store.changed.disconnect(self._on_changed)
        self._bridge.close()
        self._loader.close()
        for run, process in self._processes.items():
            if run not in self._starting:  # it has read what it was started with
                process.tidy()


def _farewell(process: TrainingProcess) -> tuple[str, bool]:
    """Return why a process has gone, empty for well, and whether it left a run."""
    reason, is_there = process.refusal(), is_run(process.run)
    process.tidy()
    return reason, is_there


def _at_work(runs: Sequence[Path], starting: Sequence[Path]) -> list[Path]:
    return [run for run in runs if run in starting or RunFolder(run).alive()]


def _stop(runs: Sequence[Path], processes: dict[Path, TrainingProcess]) -> None:
    for run in runs:
        with suppress(CRLError, OSError):
            if run in processes:
                processes[run].stop()
            else:
                RunFolder(run).send("stop")


def _open_folder(run: Path) -> None:
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(run)))
