"""Visits read from files, with what is known of them, and what methods are fitted on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crl_core.errors import InputError
from crl_core.evaluation.benchmark.protocol import Protocol, Task, VisitFiles, key_of
from crl_core.evaluation.benchmark.tissue_masks import (
    TissueMasks,
    derivatives,
    on_grid,
    tissue_masks,
)
from crl_core.preprocess.subject import usable_subject
from crl_core.scan import FloatArray, Scan
from crl_core.sequence import SequenceParameters

SAMPLED = 40_000
"""Voxels of the head taken from each training visit."""

_TRUE_MAPS = ("T1map", "T2map", "PDmap")


@dataclass(frozen=True)
class Truth:
    """The true maps of a digital subject: relaxation times in ms, the rest as written."""

    pd: FloatArray
    t1: FloatArray
    t2: FloatArray
    receive: FloatArray


@dataclass(frozen=True, eq=False)
class Visit:
    """One visit in memory.

    Parameters
    ----------
    root
        The dataset it comes from.
    person, label
        Whose, and which visit.
    scans
        Acquired scans by key, all on one grid.
    """

    root: Path
    person: str
    label: str
    scans: Mapping[str, Scan]

    @cached_property
    def tissues(self) -> TissueMasks:
        """Where fluid, grey and white matter lie."""
        return tissue_masks(self.root, self.label, self.scans)

    @cached_property
    def truth(self) -> Truth | None:
        """The true maps where the derivatives hold them on the grid of the scans."""
        like = next(iter(self.scans.values()))
        found = [_map(self.root, self.label, kind, like) for kind in _TRUE_MAPS]
        t1, t2, pd = found
        if t1 is None or t2 is None or pd is None:
            return None
        receive = _map(self.root, self.label, "RB1map", like)
        ones = np.ones(like.shape, np.float32)
        return Truth(pd, 1000 * t1, 1000 * t2, ones if receive is None else receive)


@dataclass(frozen=True)
class Case:
    """One task on one visit.

    `answer` is the acquired target; only references that are fitted on it may look.
    """

    visit: Visit
    task: Task

    @property
    def sources(self) -> list[Scan]:
        """The scans given, the one that sets the unit first."""
        return [self.visit.scans[k] for k in self.task.sources]

    @property
    def answer(self) -> Scan:
        """The scan to be synthesised, as it was acquired."""
        return self.visit.scans[self.task.target]

    @property
    def parameters(self) -> SequenceParameters:
        """TR, TE and TI of the target."""
        found = self.answer.parameters
        assert found is not None
        return found

    def in_units(self, scan: Scan) -> FloatArray:
        """Return a scan in units of the first source."""
        return self.sources[0].scale.to_model(scan.data)


@dataclass(frozen=True)
class Sample:
    """Voxels of the head of one training visit.

    Parameters
    ----------
    values
        Acquired intensity of each voxel by contrast, all of one length.
    scales
        What counts as 1 in each contrast.
    """

    values: Mapping[str, NDArray[np.float32]]
    scales: Mapping[str, float]

    def pair(self, source: str, target: str) -> NDArray[np.float64] | None:
        """Return (2, n): source and target in units of the source; None where one is missing."""
        if source not in self.values or target not in self.values:
            return None
        unit = self.scales[source]
        return np.stack([self.values[source], self.values[target]]).astype(np.float64) / unit


class Training:
    """The training people of a fold, as methods are fitted on them.

    Parameters
    ----------
    protocol
        What is measured.
    people
        Whom to learn from.
    """

    def __init__(self, protocol: Protocol, people: Sequence[str]) -> None:
        self.protocol = protocol
        self.people = tuple(people)

    def visits(self) -> Iterator[Visit]:
        """Load one visit after the other, so that one at a time is in memory."""
        for files in self.protocol.visits_of(self.people):
            yield load_visit(self.protocol.dataset, files)

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """Voxels of everybody, drawn once."""
        return tuple(_sample(visit, n) for n, visit in enumerate(self.visits()))

    def pairs(self, source: str, target: str) -> NDArray[np.float64] | None:
        """Return (2, n) of all people together, in units of each person's source."""
        found = [p for s in self.samples if (p := s.pair(source, target)) is not None]
        return np.concatenate(found, axis=1) if found else None


def load_visit(root: Path, files: VisitFiles) -> Visit:
    """Read the scans of a visit.

    Raises
    ------
    InputError
        When a file is damaged, or too little of it can be used.
    """
    subject, _ = usable_subject(files.files)
    scans: dict[str, Scan] = {}
    for scan in subject.scans:
        assert scan.parameters is not None
        key = key_of(scan.parameters, scan.name)
        scans[scan.name if key in scans else key] = scan
    if len(scans) < 2:
        raise InputError(
            f"{files.files.label} holds fewer than two scans that share a field of view",
            path=root,
            remedy="Look at it with crl check",
        )
    return Visit(root, files.person, files.files.label, scans)


def _sample(visit: Visit, number: int) -> Sample:
    inside = np.flatnonzero(next(iter(visit.scans.values())).mask)
    rng = np.random.default_rng([41, number])
    if inside.size > SAMPLED:
        inside = np.sort(rng.choice(inside, SAMPLED, replace=False))
    return Sample(
        {k: s.data.ravel()[inside] for k, s in visit.scans.items()},
        {k: s.scale.scale for k, s in visit.scans.items()},
    )


def _map(root: Path, label: str, kind: str, like: Scan) -> FloatArray | None:
    for path in derivatives(root, label, f"_{kind}.nii.gz"):
        found = on_grid(path, like)
        if found is not None:
            return found
    return None
