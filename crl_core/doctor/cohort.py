"""Findings on the dataset as a whole: subjects, sequences and the files at its top."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from crl_core.doctor.files import Dossier, Log
from crl_core.errors import CRLError
from crl_core.io.bids import read_json
from crl_core.io.timing import NAMES

_SHOWN = 5
"""Names listed before the rest is counted."""


def check_cohort(root: Path, scans: Sequence[Dossier], log: Log) -> None:
    """Log what is wrong beyond single scans."""
    _description(root, log)
    people = sorted({scan.subject.split("_")[0] for scan in scans})
    folders = sorted(path.name for path in root.glob("sub-*") if path.is_dir())
    for name in folders:
        if name not in people:
            log.add("warning", "no-images", "it has no anat folder with NIfTI images", subject=name)
    _participants(root, folders, log)
    _usable(scans, log)
    _sequences(scans, log)
    made_up = [scan for scan in scans if scan.synthetic]
    for scan in made_up:
        log.add("note", "synthetic", "it is synthetic and is left out of training", about=scan)


def usable(scan: Dossier) -> bool:
    """Return whether a scan can be learnt from: readable, acquired, TR, TE and TI known."""
    known = all(name in scan.values for name in NAMES)
    empty = scan.looks is not None and scan.looks.constant
    return not scan.broken and not scan.synthetic and known and not empty


def _description(root: Path, log: Log) -> None:
    path = root / "dataset_description.json"
    if not path.is_file():
        log.add("warning", "description", "dataset_description.json is missing", file=path.name)
        return
    try:
        read_json(path)
    except CRLError as error:
        log.add("warning", "description", error.problem, file=path.name)


def _participants(root: Path, folders: Sequence[str], log: Log) -> None:
    path = root / "participants.tsv"
    if not path.is_file():
        return
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
    except (OSError, ValueError, csv.Error):
        log.add("warning", "participants", "it is not a readable table", file=path.name)
        return
    listed = {row.get("participant_id") or "" for row in rows}
    for names, what in (
        (sorted(set(folders) - listed), "not listed but have a folder"),
        (sorted(listed - set(folders) - {""}), "listed but have no folder"),
    ):
        if names:
            log.add("warning", "participants", f"{_some(names)} {what}", file=path.name)


def _usable(scans: Sequence[Dossier], log: Log) -> None:
    counts = {scan.subject: 0 for scan in scans}
    for scan in scans:
        counts[scan.subject] += usable(scan)
    for subject, count in counts.items():
        if count < 2:
            words = "1 usable scan" if count == 1 else "no usable scan"
            log.add(
                "warning", "too-few", f"{words}; training needs two of a subject", subject=subject
            )
    if max(counts.values()) < 2:
        log.add("error", "nothing-usable", "no subject has two usable scans")


def _sequences(scans: Sequence[Dossier], log: Log) -> None:
    """Name what a subject lacks although most others have it."""
    subjects = list(dict.fromkeys(scan.subject for scan in scans))
    has = {subject: {s.acquisition for s in scans if s.subject == subject} for subject in subjects}
    names = {scan.acquisition: scan.name for scan in scans}
    common = [
        kind for kind in names if sum(kind in has[s] for s in subjects) > 0.5 * len(subjects) > 1
    ]
    for subject in subjects:
        lacking = [names[kind] for kind in common if kind not in has[subject]]
        if lacking:
            log.add(
                "warning",
                "sequence-missing",
                f"it lacks {_some(lacking)}, which most other subjects have",
                subject=subject,
            )


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    shown = ", ".join(listed[:_SHOWN])
    return shown if len(listed) <= _SHOWN else f"{shown} and {len(listed) - _SHOWN} more"
