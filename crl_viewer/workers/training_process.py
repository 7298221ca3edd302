"""Starts training runs as processes of their own, which go on when the window closes."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from crl_core.errors import OutputError
from crl_core.training.folder import RunFolder
from crl_viewer.state.training_setup_plan import Job
from crl_viewer.workers.estimating import hidden_window, write_job

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "crl_core.cli", "train")
ENDED_WELL = (0, 3)
"""Exit codes of a run that finished, or stopped early with its state saved."""

NICER = 15
"""How far a run steps back behind the window, which has to stay quick, on POSIX."""

UNKNOWN = "The training has ended without a word. Go on with it, or start it again."
_MOST_WORDS = 500
_TAIL = 20_000


class TrainingProcess:
    """A child process at work on a run.

    Everything but `ended` touches files, and is for a worker thread.

    Parameters
    ----------
    run
        The run's folder.
    child
        The process.
    notes
        Folder with what it was started with and what it says on its error output.
    """

    def __init__(self, run: Path, child: subprocess.Popen[bytes], notes: Path) -> None:
        self.run = run
        self._child = child
        self._notes = notes

    @property
    def ended(self) -> bool:
        """Whether the process has gone."""
        return self._child.poll() is not None

    @property
    def pid(self) -> int:
        """Its number."""
        return self._child.pid

    def refusal(self) -> str:
        """Return why the process went before its time, in one line; empty where it ended well."""
        code = self._child.poll()
        if code is None or code in ENDED_WELL:
            return ""
        try:
            with (self._notes / "stderr.txt").open("rb") as stream:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL))
                text = stream.read().decode("utf-8", "replace")
        except OSError:
            return UNKNOWN
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1][:_MOST_WORDS] if lines and code > 0 else UNKNOWN

    def stop(self) -> None:
        """Have the run save its state and end; before it has begun there is nothing to save."""
        folder = RunFolder(self.run)
        if folder.exists and folder.alive():
            folder.send("stop")
        elif not self.ended:
            self._child.terminate()

    def tidy(self) -> None:
        """Clear away what it was started with."""
        shutil.rmtree(self._notes, ignore_errors=True)


def start(job: Job, run: Path, command: Sequence[str] = COMMAND) -> TrainingProcess:
    """Start a run that has been set up.

    Raises
    ------
    OutputError
        When no process can be started.
    """
    return _started(run, command, job)


def resume(run: Path, command: Sequence[str] = COMMAND) -> TrainingProcess:
    """Go on with a run from its last saved state.

    Raises
    ------
    OutputError
        When no process can be started.
    """
    return _started(run, [*command, "--resume"], None)


def _started(run: Path, command: Sequence[str], job: Job | None) -> TrainingProcess:
    notes: Path | None = None
    try:
        notes = Path(tempfile.mkdtemp(prefix="crl-train-"))
        words = [] if job is None else write_job(job, notes)
        with (notes / "stderr.txt").open("wb") as errors:
            child = subprocess.Popen(
                [*command, *words, "-o", str(run)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                creationflags=_apart(),
                start_new_session=True,
            )
    except OSError as error:
        if notes is not None:
            shutil.rmtree(notes, ignore_errors=True)
        raise OutputError(
            f"the training cannot be started ({error.strerror or type(error).__name__})",
            path=run,
            remedy="Free some space and memory, then try again",
        ) from error
    step_back(child.pid)
    return TrainingProcess(run, child, notes)


def _apart() -> int:
    """Return what keeps the process apart from this one on Windows; 0 elsewhere."""
    group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    behind = getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
    return int(group | behind) | hidden_window()


def step_back(pid: int) -> None:
    """Let the window go first; the threads the process starts later inherit it.

    Where there is an idle class it is taken: whoever moves a slider then has the processor at
    once, where a nice process is left a slice of its own first.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
            return
    if hasattr(os, "setpriority"):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, NICER)
