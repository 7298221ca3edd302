"""Looks at data for training: the doctor, small pictures, mends, and new datasets made of old.

Everything here runs off the GUI thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from platformdirs import user_documents_path

from crl_core.errors import Cancelled, CRLError, InputError
from crl_core.io.bids import find_subjects
from crl_core.scan import FloatArray, Scan
from crl_core.sequence import SequenceParameters
from crl_viewer.state.training_setup_plan import free_path, proposed_folder

PICTURE = 72
"""Pixels along a small picture; shown at half of that, sharp on dense screens too."""

_MAX_PICTURE_BYTES = 400 * 2**20


class Watcher(Protocol):
    """Hears how far work is and says when to stop; see `crl_viewer.workers.tasks.Task`."""

    def cancelled(self) -> bool:
        """Return whether the work is to stop."""

    def progress(self, done: int, total: int) -> None:
        """Tell how far it is."""


class Arrangement(Protocol):
    """Images of a plain folder, sorted by person, visit and contrast."""

    @property
    def images(self) -> Sequence[Any]:
        """One entry per image; see `crl_core.io.arrange_plan.ArrangedImage`."""

    def with_parameters(
        self, mapping: Mapping[str, SequenceParameters], certainty: Any = ...
    ) -> Arrangement:
        """Return it with times for some contrasts."""


@dataclass(frozen=True)
class Arranging:
    """What arranges images as a BIDS dataset; tests put in their own."""

    propose: Callable[..., Arrangement]
    write: Callable[..., Path]
    from_scans: Callable[..., Path]


def arranging() -> Arranging:
    """Return the arranging of the program itself."""
    from crl_core.io import arrange

    return Arranging(arrange.propose, arrange.write, arrange.from_scans)


@dataclass(frozen=True)
class Survey:
    """What came of looking at a folder: a report, or images to be arranged first."""

    report: Any = None
    arrangement: Arrangement | None = None


@dataclass(frozen=True)
class Surveyor:
    """Looks at folders and changes datasets.

    Parameters
    ----------
    check
        The doctor; stands here so that tests can put in another.
    prepare
        Prepares a dataset.
    arranging
        Makes a dataset of a plain folder.
    """

    check: Callable[..., Any] = field(default_factory=lambda: _check)
    prepare: Callable[..., Any] = field(default_factory=lambda: _prepare)
    arranging: Callable[[], Arranging] = arranging

    def look(
        self, folder: Path, watcher: Watcher, early: Callable[[Any], None] = lambda report: None
    ) -> Survey:
        """Check a dataset, or propose how a plain folder is to be arranged.

        Parameters
        ----------
        folder
            Where to look.
        watcher
            Hears how far it is and says when to stop.
        early
            Gets what headers and sidecars say, long before every voxel was looked at.

        Raises
        ------
        CRLError
            When the folder holds nothing of use.
        """
        if is_dataset(folder):
            early(self.check(folder, quick=True, cancelled=watcher.cancelled))
            return Survey(self.examine(folder, watcher))
        propose = self.arranging().propose
        return Survey(
            arrangement=propose(folder, progress=watcher.progress, cancelled=watcher.cancelled)
        )

    def examine(self, folder: Path, watcher: Watcher) -> Any:
        """Return the doctor's report on a dataset."""
        return self.check(folder, progress=watcher.progress, cancelled=watcher.cancelled)

    def examine_again(self, folders: Sequence[Path], watcher: Watcher) -> list[Any]:
        """Return the reports on several datasets."""
        return [self.examine(folder, watcher) for folder in folders]

    def mend(self, mends: Mapping[Path, Sequence[Any]], watcher: Watcher) -> list[Any]:
        """Make changes to datasets and check those again; returns their reports.

        Raises
        ------
        CRLError
            When one of the changes makes no sense; nothing was changed in that dataset.
        """
        from crl_core.doctor.mend import mend_dataset

        for root, wanted in mends.items():
            mend_dataset(root, wanted)
        return [self.examine(root, watcher) for root in mends]

    def arrange(
        self,
        arrangement: Arrangement,
        values: Mapping[str, SequenceParameters],
        nominal: Collection[str],
        root: Path,
        watcher: Watcher,
    ) -> Any:
        """Write a plain folder as a dataset, check it and return the report.

        Parameters
        ----------
        arrangement
            What was found.
        values
            Times that the user answered with, by contrast.
        nominal
            Contrasts whose times are usual ones that the user left as they were.
        root
            The new folder.
        watcher
            Hears how far it is and says when to stop.
        """
        for certainty in ("nominal", "given"):
            own = {n: v for n, v in values.items() if (n in nominal) == (certainty == "nominal")}
            arrangement = arrangement.with_parameters(own, certainty) if own else arrangement
        made = self.arranging().write(
            arrangement, root, progress=watcher.progress, cancelled=watcher.cancelled
        )
        return self.examine(made, watcher)

    def arrange_scans(self, scans: Sequence[Scan], root: Path, watcher: Watcher) -> Any:
        """Write scans that are open as a dataset, check it and return the report."""
        made = self.arranging().from_scans(list(scans), root)
        return self.examine(made, watcher)

    def prepare_anew(self, source: Path, watcher: Watcher) -> Any:
        """Prepare a dataset into a new folder, check that and return the report."""
        output = new_folder(source, "_prepared")
        self.prepare(source, output, progress=watcher.progress, cancelled=watcher.cancelled)
        return self.examine(output, watcher)


def _check(folder: Path, **how: Any) -> Any:
    from crl_core.doctor.check import check_dataset

    return check_dataset(folder, **how)


def _prepare(source: Path, output: Path, **how: Any) -> Any:
    from crl_core.parallel import processor_count
    from crl_core.preprocess.prepare import prepare_dataset

    # In processes of its own, so that the window stays quick.
    return prepare_dataset(source, output, jobs=max(2, processor_count() // 2), **how)


def documents() -> Path:
    """Return where new folders go: the user's documents, else the home."""
    found = user_documents_path()
    return found if found.is_dir() else Path.home()


def new_folder(source: Path, ending: str) -> Path:
    """Return a free path beside a folder, or among the documents where nothing may be written."""
    beside = source.parent if os.access(source.parent, os.W_OK) else documents() / "training"
    return free_path(beside / f"{source.name}{ending}", Path.exists)


def run_folder() -> Path:
    """Return a free path for a run."""
    return proposed_folder(documents(), Path.exists)


def refuse_taken(folder: Path) -> Path:
    """Return the folder, if a run can be made there.

    Raises
    ------
    InputError
        When something lies there already.
    """
    if folder.exists():
        raise InputError(
            "there is something already", path=folder, remedy="Name a folder that does not exist"
        )
    return folder


def networks() -> tuple[str, ...]:
    """Return the names of the bundled networks, the usual one first."""
    from crl_core.checkpoint import bundled_checkpoints, default_checkpoint

    try:
        usual = default_checkpoint().stem
    except CRLError:
        usual = ""
    return tuple(sorted(bundled_checkpoints(), key=lambda name: (name != usual, name)))


def is_dataset(folder: Path) -> bool:
    """Return whether a folder is sorted as BIDS has it.

    Raises
    ------
    InputError
        When there is no such folder.
    """
    if not folder.is_dir():
        raise InputError("there is no such folder", path=folder)
    try:
        return bool(find_subjects(folder))
    except InputError:
        return False


def deliver_pictures(
    paths: Iterable[Path], found: Callable[[Path, FloatArray | None], None], watcher: Watcher
) -> None:
    """Make one small picture after the other; None stands for an image that gives none."""
    for path in paths:
        if watcher.cancelled():
            raise Cancelled("the pictures are no longer wanted")
        found(path, picture_of(path))


def picture_of(path: Path) -> FloatArray | None:
    """Return the middle slice of an image as on screen, 0 to 1, small and with square pixels."""
    from crl_core.io.image_file import ImageFile
    from crl_core.picture import middle_slice

    try:
        if path.stat().st_size > _MAX_PICTURE_BYTES:
            return None
        picture = middle_slice(ImageFile.read(path, 0).scan(), PICTURE)
    except (CRLError, OSError):
        return None
    return np.asarray(picture, dtype=np.float32)
