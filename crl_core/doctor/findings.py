"""What the data doctor says: findings, one row per scan, and the report that holds both."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from crl_core.scan import Certainty

Severity = Literal["error", "warning", "note"]
"""An error keeps a dataset from being prepared or trained on; a note only informs."""

MendKind = Literal["milliseconds", "thousandth", "params", "flip", "geometry", "leave-out"]


@dataclass(frozen=True, slots=True)
class Mend:
    """One change that `crl_core.doctor.mend` can make.

    Parameters
    ----------
    kind
        Name of the option of ``crl mend``.
    file
        Image or sidecar, relative to the dataset, with forward slashes.
    value
        What the option needs besides the file: ``TR,TE,TI`` in ms for ``params``, the mirrored
        axes such as ``x`` for ``flip``, the image whose affine is taken for ``geometry``.
    sure
        False where a person has to decide or to supply a number, so that ``--all`` must not.
    """

    kind: MendKind
    file: str
    value: str = ""
    sure: bool = True

    @property
    def words(self) -> tuple[str, str]:
        """The option and its argument."""
        joint = {"params": "=", "geometry": "=", "flip": ":"}.get(self.kind, "")
        ending = f"{joint}{self.value}" if self.value else ""
        return f"--{self.kind}", f"{self.file}{ending}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the doctor noticed.

    Parameters
    ----------
    severity
        ``"error"``, ``"warning"`` or ``"note"``.
    subject
        ``sub-01`` or ``sub-01_ses-02``; empty for the dataset as a whole.
    file
        The file it is about, relative to the dataset; empty where it is about several.
    code
        A fixed word for the kind of finding, such as ``"milliseconds"``.
    problem
        What is wrong, one sentence without a full stop.
    mend
        A command line that can be copied; empty where nothing mends it.
    action
        The same mend as a value, where ``crl mend`` makes it.
    """

    severity: Severity
    subject: str
    file: str
    code: str
    problem: str
    mend: str = ""
    action: Mend | None = None

    def __str__(self) -> str:
        where = self.file or self.subject or "dataset"
        return f"{where}: {self.problem}"

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as plain values."""
        return {
            "severity": self.severity,
            "subject": self.subject,
            "file": self.file,
            "code": self.code,
            "problem": self.problem,
            "mend": self.mend,
            "automatic": self.action is not None and self.action.sure,
        }


@dataclass(frozen=True, slots=True)
class Value:
    """One of TR, TE and TI: milliseconds, where it was read and how certain it is."""

    ms: float
    where: str
    certainty: Certainty


@dataclass(frozen=True, slots=True)
class ScanRow:
    """One line of a subject's table.

    Parameters
    ----------
    subject, file
        Label of the subject, and the image relative to the dataset.
    name
        Short name for a table: the file name without the subject.
    suffix
        BIDS suffix, such as ``T2w``.
    tr, te, ti
        None where not known; a TI of 0 means no inversion.
    shape
        Voxels along the array axes; None where the image cannot be read.
    voxel_size
        Edge lengths of a voxel, mm.
    orientation
        Letters of the ends the axes run to, such as ``RAS``; empty where that is a guess.
    slices
        Number of slices along the slice axis.
    verdict
        ``"ok"``, or the codes of what was found.
    """

    subject: str
    file: str
    name: str
    suffix: str
    tr: Value | None
    te: Value | None
    ti: Value | None
    shape: tuple[int, int, int] | None
    voxel_size: tuple[float, float, float] | None
    orientation: str
    slices: int | None
    verdict: str = "ok"

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain values; times in ms."""
        found: dict[str, Any] = {
            key: getattr(self, key)
            for key in ("subject", "file", "name", "suffix", "orientation", "slices", "verdict")
        }
        for key in ("shape", "voxel_size"):
            value = getattr(self, key)
            found[key] = None if value is None else list(value)
        for key in ("tr", "te", "ti"):
            value = getattr(self, key)
            found[f"{key}_ms"] = None if value is None else value.ms
            found[f"{key}_origin"] = None if value is None else value.where
            found[f"{key}_certainty"] = None if value is None else value.certainty
        return found


@dataclass(frozen=True)
class Report:
    """Everything the doctor found in one dataset.

    Parameters
    ----------
    root
        The dataset, as it was named.
    subjects
        One row per scan, sorted by subject and file.
    findings
        Errors first, then warnings, then notes.
    prepared
        Whether this program prepared the dataset.
    quick
        Whether voxels were left unread.
    """

    root: Path
    subjects: tuple[ScanRow, ...]
    findings: tuple[Finding, ...]
    prepared: bool = False
    quick: bool = False

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What must be mended before the dataset can be used."""
        return self._of("error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What a person should look at."""
        return self._of("warning")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """What is worth knowing."""
        return self._of("note")

    def _of(self, severity: Severity) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == severity)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the subjects, in order."""
        return tuple(dict.fromkeys(row.subject for row in self.subjects))

    @property
    def summary(self) -> str:
        """One line: how much was looked at and what was found."""
        looked = f"{_count(len(self.labels), 'subject')}, {_count(len(self.subjects), 'scan')}"
        found = (
            f"{_count(len(self.errors), 'error')}, {_count(len(self.warnings), 'warning')}, "
            f"{_count(len(self.notes), 'note')}"
        )
        return f"{looked}: {found}" + (" (headers and sidecars only)" if self.quick else "")

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values that JSON can hold."""
        return {
            "dataset": str(self.root),
            "prepared": self.prepared,
            "quick": self.quick,
            "subjects": [row.as_dict() for row in self.subjects],
            "findings": [finding.as_dict() for finding in self.findings],
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "notes": len(self.notes),
        }


def command(program: str, root: str | Path, words: Iterable[str]) -> str:
    """Return ``crl PROGRAM ROOT WORDS...`` quoted for the shell of this system."""
    line = ["crl", program, str(root), *words]
    return subprocess.list2cmdline(line) if os.name == "nt" else shlex.join(line)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
