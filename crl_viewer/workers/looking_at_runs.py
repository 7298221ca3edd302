"""Small looks at run folders: which are at work, and whether a newer network lies there.

Everything here touches files, and is for a worker thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crl_core.checkpoint import read_card
from crl_core.errors import CRLError, InputError
from crl_core.training import events
from crl_core.training.data_config import DataConfig
from crl_core.training.folder import DATA, EVENTS, MODEL, PREVIEWS, RunFolder, is_run
from crl_core.training.visits import visits
from crl_viewer.state.training_run import KnownRun
from crl_viewer.workers.following_runs import arrays_of


@dataclass(frozen=True)
class Mark:
    """What tells one network of a run from the next."""

    name: str
    written: int
    size: int


@dataclass(frozen=True)
class Look:
    """What was seen of a run: its newest network, if any, and whether it is getting better now."""

    mark: Mark | None
    at_work: bool


def look_at(run: Path) -> Look:
    """Look at a run in passing."""
    # Whether anybody is at work is asked first: the last word of one who leaves is then read.
    at_work = _at_work(run)
    return Look(mark_of(run), at_work)


def _at_work(run: Path) -> bool:
    """Return whether a process is at work on a run and not told to pause."""
    try:
        folder = RunFolder(run)
        return folder.alive() and not isinstance(folder.last_told(), events.Paused)
    except OSError:
        return False


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


def ready_to_try(run: Path) -> Look:
    """Look at a run whose newest network can be tried.

    Raises
    ------
    CRLError
        When there is no network, or its file is damaged.
    """
    look = look_at(run)
    if look.mark is None:
        raise InputError(
            "holds no network yet", path=run, remedy="Wait until the run has saved its state"
        )
    read_card(run)
    return look


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


def scans_to_try(run: Path) -> tuple[Path, ...]:
    """Return scans of one visit of a run's data to try its network on, where there are any.

    People it validates on come first, people kept for the test are left alone; digital subjects
    have no scans.
    """
    try:
        data = DataConfig.load(run / DATA)
        found = [] if data.digital else [v for v in visits(data) if v.person not in data.test]
        shown = _validated_visits(run)
    except (CRLError, OSError):
        return ()  # the data lie elsewhere now; the user can open scans by hand
    unseen = data.validate or ()
    found.sort(key=lambda one: one.person not in unseen and one.files.label not in shown)
    return found[0].files.images if found else ()


def _validated_visits(run: Path) -> set[str]:
    """Return the visits nobody trains on whose pictures a run keeps; the seed may choose them."""
    path = run / PREVIEWS / "fixed.npz"
    if not path.is_file():
        return set()
    about = [str(text).rsplit(", ", 1) for text in arrays_of(path, ("about",))["about"]]
    return {words[0] for words in about if words[-1] == "never trained on"}


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
