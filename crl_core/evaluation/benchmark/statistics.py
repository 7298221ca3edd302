"""Means over people, their spread, and whether two methods differ."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLED = 10_000
"""Draws of the bootstrap."""


@dataclass(frozen=True)
class Spread:
    """A figure over people.

    Parameters
    ----------
    mean
        Mean of the people's means.
    sd
        Sample standard deviation over people; None for one person.
    n
        People.
    """

    mean: float
    sd: float | None
    n: int

    def text(self, digits: int = 2, factor: float = 1.0) -> str:
        """Return it as in a paper, such as ``29.40±0.76``."""
        mean = f"{factor * self.mean:.{digits}f}"
        return mean if self.sd is None else f"{mean}±{factor * self.sd:.{digits}f}"


@dataclass(frozen=True)
class Difference:
    """How much two methods differ on the same people.

    Parameters
    ----------
    mean
        Mean over people of first minus second.
    low, high
        Bootstrap interval of that mean, 95 %, percentiles over resampled people.
    p
        Of the two-sided Wilcoxon signed-rank test; None with fewer than two people or no
        difference at all. With five people it cannot fall below 0.0625.
    n
        People.
    """

    mean: float
    low: float
    high: float
    p: float | None
    n: int


def spread(values: Sequence[float]) -> Spread | None:
    """Summarise one value a person; None where there is none."""
    usable = [v for v in values if math.isfinite(v)]
    if not usable:
        return None
    sd = float(np.std(usable, ddof=1)) if len(usable) > 1 else None
    return Spread(float(np.mean(usable)), sd, len(usable))


def difference(first: Mapping[str, float], second: Mapping[str, float]) -> Difference | None:
    """Compare two methods person by person.

    Parameters
    ----------
    first, second
        One figure a person, by name; only people who have both count.

    Returns
    -------
    Difference or None
        None where nobody has both.
    """
    people = sorted(set(first) & set(second))
    apart = np.array([first[p] - second[p] for p in people])
    apart = apart[np.isfinite(apart)]
    if not apart.size:
        return None
    rng = np.random.default_rng(11)
    drawn = apart[rng.integers(0, apart.size, (RESAMPLED, apart.size))].mean(axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Difference(float(apart.mean()), float(low), float(high), signed_rank(apart), apart.size)


def signed_rank(apart: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float | None:
    """Return p of the two-sided Wilcoxon signed-rank test of paired differences."""
    from scipy.stats import wilcoxon

    if apart.size < 2 or not np.any(apart):
        return None
    with warnings.catch_warnings():
        # With ties or zeros scipy leaves the exact distribution and says so.
        warnings.simplefilter("ignore")
        return float(wilcoxon(apart).pvalue)


def skill(method: float, table: float | None, oracle: float | None) -> float | None:
    """Return where a figure lies between the table (0) and the oracle (1).

    None where the oracle is not at least half a decibel above the table: with one T1 and T2 a
    voxel and fat that lies elsewhere in each contrast it is no upper limit, and the quotient of
    two small numbers would say nothing.
    """
    if table is None or oracle is None or oracle - table < 0.5:
        return None
    return (method - table) / (oracle - table)
