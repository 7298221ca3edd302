"""Keeping what is carried from making any voxel brighter at a longer echo time.

The network's image falls with TE in every voxel. What is carried from a source fades with the
distance from it, and where it makes a voxel brighter it may fade in faster than the signal decays;
the voxel would then rise with TE, which no tissue does. From an echo time at which the image is
pinned, going down, it is therefore made the largest value on the way, and going up the smallest.
It is pinned at the sources that share the target's TR and TI, where it is the acquired scan, and
elsewhere at the echo time of the source most of which is carried. Between two sources it stays
between them: where the scans themselves rise, the image rises as they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from crl_core.synthesis.carry import carry_weights

_STEP = 1.25
"""Ratio of the echo times looked at on the way."""

_TE = 1


@dataclass(frozen=True)
class Way:
    """Echo times to look at, ms, ascending.

    Parameters
    ----------
    times
        The target's, those at which the image is pinned next to it, and some between.
    at
        Which one is the target's.
    pinned
        Which one below and which one above the target is pinned; None where there is none.
    """

    times: tuple[float, ...]
    at: int
    pinned: tuple[int | None, int | None]

    @classmethod
    def of(cls, te: float, pins: list[float]) -> Way:
        """Choose what to look at for a target and all echo times at which the image is pinned."""
        if te in pins or not pins:
            return cls((te,), 0, (None, None))
        below = max((pin for pin in pins if pin < te), default=None)
        above = min((pin for pin in pins if pin > te), default=None)
        # Between two pins only what lies above can still push the target up.
        low, high = (te if below is None or above is not None else below), above or te
        found = {te, *_between(low, high)} | {pin for pin in (below, above) if pin is not None}
        times = tuple(sorted(found))
        return cls(
            times,
            times.index(te),
            (
                None if below is None else times.index(below),
                None if above is None else times.index(above),
            ),
        )

    def settled(self, images: Tensor) -> Tensor:
        """Return the image at the target, (H, W), from those at all times, (K, H, W)."""
        below, above = self.pinned
        here = images[self.at]
        if len(self.times) == 1:
            return here
        if above is None:
            return images[below : self.at + 1].amin(dim=0)
        brightest = images[self.at : above + 1].amax(dim=0)
        if below is None:
            return brightest
        left, right = images[below], images[above]
        rising = torch.maximum(torch.minimum(here, right), left)
        return torch.where(left >= right, torch.minimum(brightest, left), rising)


def echoes(targets: Tensor, ways: Sequence[Way]) -> Tensor:
    """Return the targets at the echo times of their ways, (P, K, 3 or 4); the last one repeats."""
    most = max(len(way.times) for way in ways)
    found = targets[:, None, :].repeat(1, most, 1)
    for row, way in zip(found, ways, strict=True):
        times = (*way.times, *(way.times[-1:] * (most - len(way.times))))
        row[:, _TE] = torch.tensor(times, dtype=row.dtype)
    return found


def ways_of(targets: Tensor, sources: Tensor) -> list[Way]:
    """Return what to look at for each target.

    Parameters
    ----------
    targets
        (P, 3 or 4) ms.
    sources
        (S, 3 or 4) ms; without any there is nothing but the targets themselves.
    """
    count = len(sources)
    there = targets[:, None, :].repeat(1, count, 1)
    there[..., _TE] = sources[None, :, _TE]
    apart = (there - sources).abs().amax(dim=-1)
    carried = carry_weights(there, sources)[0].sum(dim=-1)
    times: list[float] = sources[:, _TE].tolist()
    found = []
    for te, distances, much in zip(
        targets[:, _TE].tolist(), apart.tolist(), carried.tolist(), strict=True
    ):
        pins = [t for t, distance in zip(times, distances, strict=True) if distance == 0]
        if not pins and max(much, default=0.0) > 0:
            pins = [times[much.index(max(much))]]
        found.append(Way.of(te, pins))
    return found


def _between(low: float, high: float) -> list[float]:
    """Return the echo times of a fixed grid that lie between two others.

    Fixed, so that the same ones are looked at for all targets on the way.
    """
    grid, found = 1.0, []
    while grid < high:
        if grid > low:
            found.append(grid)
        grid *= _STEP
    return found
