"""Puts the networks of training runs behind the sliders, and follows them as they learn."""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from PySide6.QtCore import QObject, QTimer, Signal

from crl_core.errors import CRLError
from crl_viewer.state.model import Store, ViewerState
from crl_viewer.workers.loader import Loader
from crl_viewer.workers.looking_at_runs import (
    Look,
    Mark,
    look_at,
    network_of,
    ready_to_try,
    scans_to_try,
)

Result = TypeVar("Result")

EVERY_MS = 1000
"""How often a run that is tried is asked for a newer network."""

TRYING = "The sliders run on {name} as it is now, and follow it as it learns"
USING = "The sliders run on {name}"
NO_SCAN = "Open a scan to move its contrast with {name}"
GONE = "{name}: its network is not there any more. The sliders keep the last one."


class TryingShell(Protocol):
    """What is needed of the main window."""

    def set_notice(self, text: str) -> None:
        """Tell something in passing."""

    def come_forward(self) -> None:
        """Come before the other windows."""


class TryingController(QObject):
    """Changes the network of the main window to that of a run.

    Where no scan is open yet, those of somebody the run validates on are asked for. A network that
    turns out to be damaged gives one line, and the one before comes back.

    Parameters
    ----------
    store
        The state of the main window.
    shell
        The main window.
    loader
        Looks at files.
    parent
        Owner, if any.
    """

    scansWanted = Signal(tuple)
    """Files of one visit to be opened, because a network is tried and no scan is there."""

    def __init__(
        self, store: Store, shell: TryingShell, loader: Loader, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._store, self._shell, self._loader = store, shell, loader
        self._run: Path | None = None
        self._mark: Mark | None = None
        self._looking = False
        self._asked: Path | None = None
        self._before: Path | None = None
        self._timer = QTimer(self, interval=EVERY_MS)
        self._timer.timeout.connect(self.look)
        store.changed.connect(self._on_changed)

    @property
    def run(self) -> Path | None:
        """The run that is tried."""
        return self._run

    def try_run(self, run: Path) -> None:
        """Let the sliders run on a network in training, refreshed with each state it saves."""
        self._loader.submit(partial(ready_to_try, run), partial(self._may_try, run))

    def use(self, run: Path) -> None:
        """Let the sliders run on what came of a run."""
        self._loader.submit(partial(network_of, run), partial(self._may_use, run))

    def look(self) -> None:
        """Look whether a newer network lies in the run that is tried."""
        run = self._run
        if run is not None and not self._looking:
            self._looking = True
            self._loader.submit(partial(look_at, run), partial(self._looked, run))

    def close(self) -> None:
        """Follow nothing any more."""
        self._timer.stop()
        self._store.changed.disconnect(self._on_changed)

    def _may_try(self, run: Path, future: Future[Look]) -> None:
        look = self._result(future)
        if look is not None:
            self._switch(run, run, TRYING)
            # The mark is older than what will be loaded, if anything: nothing newer is missed.
            self._run, self._mark = run, look.mark
            self._store.update(learning=look.at_work)
            self._timer.start()

    def _may_use(self, run: Path, future: Future[Path]) -> None:
        network = self._result(future)
        if network is not None:
            self._forget()
            self._switch(network, run, USING)

    def _result(self, future: Future[Result]) -> Result | None:
        try:
            return future.result()
        except CRLError as refusal:
            self._store.update(banner=str(refusal))
            return None

    def _switch(self, checkpoint: Path, run: Path, words: str) -> None:
        state = self._store.state
        if state.checkpoint == checkpoint:
            self._store.update(refreshed=state.refreshed + 1, banner="")
        else:
            self._asked, self._before = checkpoint, state.checkpoint
            self._store.update(checkpoint=checkpoint, banner="")
        if state.scans:
            self._shell.set_notice(words.format(name=run.name))
        else:
            said = partial(self._found_scans, run.name, words)
            self._loader.submit(partial(scans_to_try, run), said)
        self._shell.come_forward()

    def _found_scans(self, name: str, words: str, future: Future[tuple[Path, ...]]) -> None:
        scans = future.result()
        known = bool(self._store.state.scans)
        self._shell.set_notice((words if scans or known else NO_SCAN).format(name=name))
        if scans and not known:
            self.scansWanted.emit(scans)

    def _looked(self, run: Path, future: Future[Look]) -> None:
        self._looking = False
        look = future.result()
        if run != self._run:
            return
        mark, before = look.mark, self._mark
        self._store.update(learning=look.at_work)
        if mark == before:
            return
        self._mark = mark
        if mark is None:
            self._store.update(banner=GONE.format(name=run.name))
        else:
            self._store.update(refreshed=self._store.state.refreshed + 1)

    def _on_changed(self, old: ViewerState, new: ViewerState) -> None:
        if new.checkpoint != old.checkpoint:
            if new.checkpoint != self._run:
                self._forget()
            if new.checkpoint != self._asked:
                self._asked = None
        if self._asked is None or new.model_phase == old.model_phase:
            return
        if new.model_phase == "ready":
            self._asked = None
        elif new.model_phase == "failed":
            self._asked = None
            self._forget()
            self._store.update(checkpoint=self._before, banner=new.model_message)

    def _forget(self) -> None:
        self._timer.stop()
        self._run = self._mark = None
        self._store.update(learning=False)
