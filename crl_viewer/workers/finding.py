"""Finds what can be opened in files, folders, zip archives and BIDS datasets, from headers alone.

Everything here runs off the GUI thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from crl_core.errors import Cancelled, CRLError, InputError
from crl_core.io import nifti
from crl_core.io.bids import SubjectFiles, find_subjects
from crl_viewer.state.offers import Offer
from crl_viewer.workers.offering import (
    Watcher,
    dicom_offers,
    is_archive,
    is_dicom_file,
    nifti_offer,
    nifti_offers,
)

MAX_LISTED = 400
"""So many NIfTI images of one folder are listed; nobody chooses among more."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A BIDS dataset: its people, one entry a visit."""

    root: Path
    people: tuple[SubjectFiles, ...]


@dataclass(frozen=True, eq=False)
class Found:
    """What a search came to.

    Parameters
    ----------
    offers
        The scans, in the order of what was named.
    datasets
        BIDS datasets, whose scans are listed a person at a time.
    refusals
        One line for each thing named that holds nothing to open.
    choice
        Whether any folder, archive or file holds more than one scan.
    """

    offers: tuple[Offer, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    refusals: tuple[str, ...] = ()
    choice: bool = False


def find(paths: Sequence[Path], watcher: Watcher) -> Found:
    """Look into everything named; what cannot be used is one line and does not stop the rest.

    Parameters
    ----------
    paths
        Files, folders and archives.
    watcher
        Hears how far it is and says when to stop.

    Raises
    ------
    Cancelled
        When the watcher says so.
    """
    offers: list[Offer] = []
    datasets: list[Dataset] = []
    refusals: list[str] = []
    choice = False
    for place in _places(paths):
        if watcher.cancelled():
            raise Cancelled("the search was given up")
        watcher.say(place[0].parent.name if len(place) > 1 else place[0].name)
        try:
            people = _people(place)
            if people:
                datasets.append(Dataset(place[0], people))
                continue
            here = _offers_of(place, watcher)
        except Cancelled:
            raise
        except (CRLError, OSError) as refusal:
            refusals.append(_line(refusal, place[0]))
            continue
        choice |= len(here) > 1
        refusals += [offer.line for offer in here if len(here) == 1 and not offer.usable]
        offers += [offer for offer in here if len(here) > 1 or offer.usable]
    return Found(tuple(offers), tuple(datasets), tuple(refusals), choice)


def _line(refusal: CRLError | OSError, path: Path) -> str:
    if isinstance(refusal, CRLError):
        return str(refusal)
    why = (refusal.strerror or type(refusal).__name__).lower()
    return str(InputError(f"cannot be read: {why}", path=path, remedy="Check the permissions"))


def offers_of_person(person: SubjectFiles, watcher: Watcher) -> list[Offer]:
    """List the scans of one person of a dataset.

    Raises
    ------
    Cancelled
        When the watcher says so.
    """
    return nifti_offers(person.images, watcher)


def _places(paths: Sequence[Path]) -> Iterator[tuple[Path, ...]]:
    """Yield what is looked at as one: a path, or all DICOM files named out of one folder."""
    together: dict[Path, list[Path]] = {}
    loose = [path for path in paths if is_dicom_file(path)]
    for path in loose:
        together.setdefault(path.parent, []).append(path)
    for path in paths:
        if path not in loose:
            yield (path,)
        elif together.get(path.parent):
            yield tuple(together.pop(path.parent))


def _people(place: Sequence[Path]) -> tuple[SubjectFiles, ...]:
    """Return the people of a BIDS dataset; none for anything else."""
    if len(place) > 1 or not place[0].is_dir():
        return ()
    try:
        return tuple(find_subjects(place[0]))
    except InputError:
        return ()


def _offers_of(place: Sequence[Path], watcher: Watcher) -> list[Offer]:
    """List the scans of one place; raises `CRLError` where there is none."""
    path = place[0]
    if path.is_dir():
        return _folder_offers(path, watcher)
    if len(place) > 1 or is_archive(path) or is_dicom_file(path):
        return dicom_offers(place, watcher)
    return [nifti_offer(path)]


def _folder_offers(folder: Path, watcher: Watcher) -> list[Offer]:
    images = list(_nifti_files(folder))
    offers = nifti_offers(images, watcher)
    try:
        return [*dicom_offers((folder,), watcher), *offers]
    except Cancelled:
        raise
    except CRLError:
        if not offers:
            raise
        return offers


def _nifti_files(folder: Path) -> Iterator[Path]:
    count = 0
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if nifti.is_nifti_name(name) and not name.startswith("."):
                count += 1
                if count > MAX_LISTED:
                    return
                yield Path(where, name)
