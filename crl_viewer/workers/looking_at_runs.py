"""Small looks at run folders: which are at work, and whether a newer network lies there.

Everything here touches files, and is for a worker thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crl_core.checkpoint import read_card
from crl_core.errors import InputError
from crl_core.training.folder import EVENTS, MODEL, RunFolder, is_run
from crl_viewer.state.training_run import KnownRun


@dataclass(frozen=True)
class Mark:
    """What tells one network of a run from the next."""

    name: str
    written: int
    size: int


def mark_of(run: Path) -> Mark | None:
    """Return the mark of the newest network of a run, or None where there is none."""
    try:
        newest = RunFolder(run).newest_network()
        if newest is None:
            return None
        found = newest.stat()
    except OSError:
        return None
    return Mark(newest.name, found.st_mtime_ns, found.st_size)


def ready_to_try(run: Path) -> Mark:
    """Return the mark of the newest network of a run, if its card can be read.

    Raises
    ------
    CRLError
        When there is no network, or its file is damaged.
    """
    mark = mark_of(run)
    if mark is None:
        raise InputError(
            "holds no network yet", path=run, remedy="Wait until the run has saved its state"
        )
    read_card(run)
    return mark


def network_of(run: Path) -> Path:
    """Return what to load of a run that has ended: its finished network, else the run itself.

    Raises
    ------
    CRLError
        When there is no network, or its file is damaged.
    """
    finished = run / MODEL
    if not finished.is_file():
        ready_to_try(run)
        return run
    read_card(finished)
    return finished


def known_runs(paths: Sequence[Path]) -> list[tuple[KnownRun, bool]]:
    """Return the runs that are still there, each with whether anybody is at work on it."""
    found = []
    for path in paths:
        folder = RunFolder(path)
        try:
            if is_run(path):
                log = folder / EVENTS
                when = log.stat().st_mtime if log.is_file() else 0.0
                found.append((KnownRun(path, path.name, when), folder.alive()))
        except OSError:
            continue  # a drive that was taken away
    return found
