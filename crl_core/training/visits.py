"""Who takes part in a run, from the names of files alone. No torch, no voxels."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crl_core.io.bids import SubjectFiles, find_subjects
from crl_core.training.data_config import DataConfig, person_of, prefix_of


@dataclass(frozen=True)
class Visit:
    """One visit that takes part.

    Parameters
    ----------
    person
        As the run's data settings name them: with the number of the dataset where there are
        several.
    files
        Its images, those left out not among them.
    """

    person: str
    files: SubjectFiles


def visits(data: DataConfig) -> list[Visit]:
    """Return every visit of the datasets that is not left out, in their order.

    Raises
    ------
    InputError
        When a dataset is missing or holds no subjects.
    """
    found = []
    for number, root in enumerate(data.datasets):
        for files in find_subjects(root):
            kept = _kept(files, Path(root), data)
            if kept.images:
                person = prefix_of(data.datasets, number) + person_of(files.label)
                found.append(Visit(person, kept))
    return found


def _kept(files: SubjectFiles, root: Path, data: DataConfig) -> SubjectFiles:
    if files.label in data.leave_out or person_of(files.label) in data.leave_out:
        return SubjectFiles(files.label, ())
    kept = [p for p in files.images if p.relative_to(root).as_posix() not in data.leave_out]
    return SubjectFiles(files.label, tuple(kept))


def clusters_of(people: Sequence[str], root: Path) -> dict[str, str]:
    """Return which anatomy a digital subject was made from; everybody else stands alone.

    Two subjects made from one label map are two draws of one brain: one of them in training would
    give the other's folds away.
    """
    alone = {person: person for person in people}
    path = root / "participants.tsv"
    if not path.is_file():
        return alone
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error):
        return alone
    stated = {str(r.get("participant_id")): r.get("anatomy") for r in rows}
    return {person: stated.get(person) or person for person in people}
