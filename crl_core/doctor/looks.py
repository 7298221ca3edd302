"""What the voxels of one scan look like, in a few numbers and one small copy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crl_core.doctor.alignment import Small
from crl_core.io.nifti import Volume
from crl_core.scan import FloatArray, Scan

_SAMPLE = 30_000
"""Voxels of the head that are looked at for distinct values."""

_DARK = 0.1
"""A slice with less than this share of its neighbours' mean signal has lost it."""


@dataclass(frozen=True, eq=False)
class Looks:
    """Measures of a volume.

    Parameters
    ----------
    replaced
        Voxels that held no finite number.
    low, high
        Smallest and largest value.
    negative
        Share of voxels clearly below zero: by more than 2 % of the 99.5th percentile.
    clipped
        Share of the head's voxels at the very maximum.
    pile_up
        How many times more voxels lie at the maximum than in the 2 % of the range below it.
    levels
        Distinct values in a sample of the head; at most the size of the sample.
    empty, dark, repeated
        Numbers of the slices, counted from 0, that hold one single value although slices on both
        sides do not, that have far less signal than both neighbours, and that equal the one before.
    per_slice
        Whether every slice reaches the same maximum with a voxel or so: each was scaled on its own.
    digest
        Hash of shape and voxels.
    small
        A small copy for comparing orientations; None where nothing stands out.
    """

    replaced: int
    low: float
    high: float
    negative: float
    clipped: float
    pile_up: float
    levels: int
    empty: tuple[int, ...]
    dark: tuple[int, ...]
    repeated: tuple[int, ...]
    per_slice: bool
    digest: str
    small: Small | None

    @property
    def constant(self) -> bool:
        """Whether the volume holds one single value."""
        return not self.high > self.low

    @classmethod
    def of(cls, volume: Volume) -> Looks:
        """Measure a volume."""
        low, high = float(volume.data.min()), float(volume.data.max())
        # Sums of values near the ends of float32 would overflow or vanish; those of shares do not.
        data = volume.data / np.float32(max(abs(low), abs(high)) or 1.0)
        small = Small.of(data, volume.affine) if high > low else None
        bright = _sample(data, small)
        at_top, pile_up = _top(data)
        head = small.head.mean() * data.size if small is not None else data.size
        slices = np.moveaxis(data, slice_axis(data.shape, volume.affine), 0)
        negative = float((data < -0.02 * abs(np.percentile(bright, 99.5))).mean()) if low < 0 else 0
        empty, dark, repeated, per_slice, digest = _slices(slices)
        return cls(
            volume.replaced,
            low,
            high,
            negative,
            at_top / max(head, 1.0),
            pile_up,
            len(np.unique(bright)),
            empty,
            dark,
            repeated,
            per_slice and at_top <= 3 * len(slices),
            digest,
            small,
        )


def slice_axis(shape: tuple[int, ...], affine: NDArray[Any]) -> int:
    """Return the array axis along which slices were acquired, as `Scan.slice_axis` defines it."""
    unread = np.broadcast_to(np.float32(0), shape)  # takes no memory
    return Scan(unread, affine, "").slice_axis


def _sample(data: FloatArray, small: Small | None) -> FloatArray:
    """Return some voxels of the head, evenly spread; of the volume where there is no head."""
    step = max(1, data.size // (4 * _SAMPLE))
    some = data.ravel()[::step]
    if small is None:
        return some
    bright = some[some > 0.5 * small.data[small.head].min()]
    return bright[:: max(1, len(bright) // _SAMPLE)] if len(bright) else some


def _top(data: FloatArray) -> tuple[int, float]:
    """Return the voxels at the maximum, and how they compare with the range just below."""
    low, high = float(data.min()), float(data.max())
    if not high > low:
        return 0, 0.0
    near = int(np.count_nonzero(data >= high - 0.02 * (high - low)))
    at_top = int(np.count_nonzero(data == high))
    return at_top, at_top / max(near - at_top, 1)


def _slices(
    slices: FloatArray,
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], bool, str]:
    """Return empty, dark and repeated slices, whether all reach one maximum, and a digest."""
    planes = [np.ascontiguousarray(plane) for plane in slices]
    hashes = [hashlib.blake2b(plane.tobytes(), digest_size=8).digest() for plane in planes]
    tops = np.array([float(plane.max()) for plane in planes])
    filled = tops > np.array([float(plane.min()) for plane in planes])
    means = np.array([float(np.abs(plane).mean()) for plane in planes])
    inside = np.flatnonzero(filled)
    first, last = (int(inside[0]), int(inside[-1])) if len(inside) else (0, -1)
    between = range(first, last + 1)
    empty = tuple(k for k in between if not filled[k])
    dark = tuple(
        k for k in between[1:-1] if filled[k] and means[k] < _DARK * min(means[k - 1], means[k + 1])
    )
    repeated = tuple(k for k in between[1:] if filled[k] and hashes[k] == hashes[k - 1])
    shown = tops[filled]
    per_slice = len(shown) >= 4 and float(np.ptp(shown)) <= 1e-4 * float(np.abs(shown).max())
    shape = str(slices.shape).encode()
    digest = hashlib.blake2b(shape + b"".join(hashes), digest_size=16).hexdigest()
    return empty, dark, repeated, per_slice, digest
