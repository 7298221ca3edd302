"""Ranges and points of a plot: plain arithmetic, tested without a screen."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from crl_viewer.state.training_run import Curve, FloatArray

_STEPS = (1.0, 2.0, 5.0, 10.0)


def tidy_step(value: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is not below a positive value."""
    decade = 10.0 ** math.floor(math.log10(value))
    return next((s * decade for s in _STEPS if s * decade >= value * (1 - 1e-9)), 10 * decade)


def tidy_below(value: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is not above a positive value."""
    decade = 10.0 ** math.floor(math.log10(value))
    return max((s * decade for s in _STEPS if s * decade <= value * (1 + 1e-9)), default=decade)


def grown(
    before: tuple[float, float] | None, curves: Iterable[Curve], *, log: bool, zero: bool
) -> tuple[float, float] | None:
    """Return a range that holds the curves and what it held before, in steps of 1-2-5.

    Parameters
    ----------
    before
        The range so far, or None.
    curves
        What is to be seen. Of a raw line the outermost half per cent is left out, so that one
        bad batch does not flatten all that follows.
    log, zero
        Whether the axis is logarithmic, and whether it starts at 0.
    """
    low, high = math.inf, -math.inf
    for curve in curves:
        for values in _extremes(curve, log):
            low, high = min(low, values[0]), max(high, values[1])
    if not math.isfinite(low):
        return before
    if log:
        low, high = tidy_below(low), tidy_step(high)
        high = high if high > low else tidy_step(1.01 * low)
    else:
        low = min(low, 0.0) if zero else low
        step = tidy_step(max(high - low, 1e-3 * abs(high), 1e-9) / 4)
        low, high = step * math.floor(low / step), step * math.ceil(high / step)
        high = high if high > low else low + step
    return (low, high) if before is None else (min(low, before[0]), max(high, before[1]))


def _extremes(curve: Curve, log: bool) -> list[tuple[float, float]]:
    found = []
    for values in (curve.y, curve.smooth):
        if values is None:
            continue
        known = values[np.isfinite(values) & ((values > 0) | (not log))]
        if not known.size:
            continue
        if values is curve.y and curve.smooth is not None and known.size >= 200:
            ends = np.partition(known, (k := known.size // 200, known.size - 1 - k))
            found.append((float(ends[k]), float(ends[-1 - k])))
        else:
            found.append((float(known.min()), float(known.max())))
    return found


def log_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return at most `most` round numbers on a logarithmic axis."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for pattern in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        ticks = [
            s * 10.0**k
            for k in range(first, last + 1)
            for s in pattern
            if low * 0.999 <= s * 10.0**k <= high * 1.001
        ]
        if len(ticks) <= most:
            return ticks
    return ticks[:: math.ceil(len(ticks) / most)]


def thinned(across: FloatArray, up: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Keep the lowest and highest point of every pixel column; what is no number goes.

    A line through those looks the same as one through all points and is as long as the plot
    is wide.
    """
    known = np.isfinite(up) & np.isfinite(across)
    if not known.all():
        across, up = across[known], up[known]
    if len(across) < 2 or len(across) <= 2 * (across[-1] - across[0]):
        return across, up
    columns = np.floor(across)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(columns)) + 1])
    both = np.stack([np.minimum.reduceat(up, starts), np.maximum.reduceat(up, starts)], axis=1)
    both[1::2] = both[1::2, ::-1]  # down, then up: no line runs back through a column
    return np.repeat(columns[starts] + 0.5, 2), both.ravel()
