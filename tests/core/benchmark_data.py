"""People in memory whose scans follow the signal equation, for tests of the benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crl_core.evaluation.benchmark.folds import Fold
from crl_core.evaluation.benchmark.people import Training, Visit
from crl_core.evaluation.benchmark.protocol import Protocol
from crl_core.physics.signal import fse_signal
from crl_core.scan import Scan
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters

SHAPE = (30, 26, 3)
TISSUES = np.array([(0.7, 850.0, 74.0), (0.8, 1450.0, 90.0), (1.0, 4200.0, 1900.0)])
"""PD, T1, T2 of white matter, grey matter and fluid."""


def protocol(
    keys: Sequence[int] = tuple(PAPER_SEQUENCES),
    held: Sequence[int] = (),
    groups: Sequence[tuple[str, ...]] = (),
    extra: Mapping[str, SequenceParameters] | None = None,
) -> Protocol:
    contrasts = {str(k): PAPER_SEQUENCES[k] for k in keys} | dict(extra or {})
    fold = Fold(1, ("sub-01",), (), ("sub-02",))
    names = tuple(str(k) for k in held)
    return Protocol(Path("set"), (), contrasts, names, tuple(groups), (fold,), "x")


def maps(seed: int) -> NDArray[np.float64]:
    """PD, T1, T2 of every voxel, (3, x, y, z): a smooth mixture that no two people share."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.linspace(0, 1, n) for n in SHAPE), indexing="ij")
    waves = [np.sin(6 * (a * x + b * y) + c + z) for a, b, c in rng.uniform(0.5, 2.0, (3, 3))]
    kinds = np.argmax(waves, axis=0)
    texture = 1 + 0.03 * rng.standard_normal((3, *SHAPE))
    return np.moveaxis(TISSUES[kinds], -1, 0) * texture


def visit(
    contrasts: Mapping[str, SequenceParameters],
    seed: int = 0,
    person: str = "sub-01",
    gain: float = 900.0,
    root: Path = Path("nowhere"),
) -> Visit:
    """Noise-free scans of one person; the head fills the image but for a rim of air."""
    pd, t1, t2 = maps(seed)
    inside = np.zeros(SHAPE, bool)
    inside[2:-2, 2:-2] = True
    scans = {}
    for key, parameters in contrasts.items():
        data = np.where(inside, gain * fse_signal(pd, t1, t2, parameters), 0.0)
        scans[key] = Scan(
            data.astype(np.float32),
            np.diag([1.0, 1.0, 5.0, 1.0]),
            key,
            parameters,
            stated_mask=inside,
        )
    return Visit(root, person, person, scans)


class InMemory(Training):
    """Training people that are not read from files."""

    def __init__(self, what: Protocol, people: Sequence[Visit]) -> None:
        super().__init__(what, [v.person for v in people])
        self._people = tuple(people)

    def visits(self) -> Iterator[Visit]:
        yield from self._people
