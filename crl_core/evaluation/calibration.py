"""How far the error a network expects of itself agrees with the one it makes.

A network that gives the scale b of a Laplace distribution for each voxel says: the mean absolute
error is b, half of the errors lie below b ln 2 and nine tenths below b ln 10. On people nobody
trained on each of these can be counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_LOW, _HIGH, _BINS = 0.05, 80.0, 32

EDGES: NDArray[np.float64] = np.geomspace(_LOW, _HIGH, _BINS + 1)
"""Edges of the bins of expected error, per cent of the peak; the outer ones hold the rest."""

HALF, MOST = math.log(2.0), math.log(10.0)
"""Below these multiples of its scale lie one half and nine tenths of a Laplace distribution."""

FEW = 200
"""A bin with fewer voxels is not shown."""


def _zeros() -> NDArray[np.float64]:
    return np.zeros(_BINS)


@dataclass
class Calibration:
    """Voxels counted by the error that was expected of them.

    Parameters
    ----------
    count, expected, actual
        (bins,): voxels, and sums of their expected and actual absolute errors, per cent.
    in_half, in_most
        Voxels whose error lies below the median and the ninth decile of what was expected.
    """

    count: NDArray[np.float64] = field(default_factory=_zeros)
    expected: NDArray[np.float64] = field(default_factory=_zeros)
    actual: NDArray[np.float64] = field(default_factory=_zeros)
    in_half: float = 0.0
    in_most: float = 0.0

    def add(self, expected: ArrayLike, actual: ArrayLike) -> None:
        """Count voxels.

        Parameters
        ----------
        expected, actual
            Two arrays of one shape: expected and actual absolute errors, per cent of the peak.
            Voxels of which nothing is expected, or no error at all, are left out.
        """
        b, e = (np.asarray(v, dtype=np.float64).ravel() for v in (expected, actual))
        told = np.isfinite(b) & np.isfinite(e) & (b > 0)
        b, e = b[told], np.abs(e[told])
        at = np.clip(np.searchsorted(EDGES, b, side="right") - 1, 0, _BINS - 1)
        self.count += np.bincount(at, minlength=_BINS)
        self.expected += np.bincount(at, weights=b, minlength=_BINS)
        self.actual += np.bincount(at, weights=e, minlength=_BINS)
        self.in_half += float(np.count_nonzero(e < HALF * b))
        self.in_most += float(np.count_nonzero(e < MOST * b))

    @property
    def voxels(self) -> float:
        """How many voxels were counted."""
        return float(self.count.sum())

    @property
    def factor(self) -> float:
        """Mean actual error over mean expected error; above 1 the network is too sure."""
        return float(self.actual.sum() / max(self.expected.sum(), 1e-12))

    @property
    def coverage(self) -> tuple[float, float]:
        """Shares of voxels whose error lies where one half and nine tenths should."""
        count = max(self.voxels, 1.0)
        return self.in_half / count, self.in_most / count

    def curve(self) -> list[tuple[float, float, float]]:
        """Return (mean expected error, mean actual error, voxels) of each bin that has enough."""
        return [
            (float(b / n), float(e / n), float(n))
            for n, b, e in zip(self.count, self.expected, self.actual, strict=True)
            if n >= FEW
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values to be written."""
        return {
            "count": self.count.tolist(),
            "expected": self.expected.tolist(),
            "actual": self.actual.tolist(),
            "in_half": self.in_half,
            "in_most": self.in_most,
        }

    @classmethod
    def of(cls, parts: Iterable[Mapping[str, Any]]) -> Calibration:
        """Put what was written together."""
        whole = cls()
        for part in parts:
            whole.count += np.asarray(part["count"], dtype=float)
            whole.expected += np.asarray(part["expected"], dtype=float)
            whole.actual += np.asarray(part["actual"], dtype=float)
            whole.in_half += float(part["in_half"])
            whole.in_most += float(part["in_most"])
        return whole

    def sentence(self) -> str:
        """Say it in words."""
        half, most = self.coverage
        return (
            f"errors are {self.factor:.2f} times what is expected on average; {100 * half:.0f} % of"
            f" voxels lie where 50 % should, {100 * most:.0f} % where 90 % should"
        )
