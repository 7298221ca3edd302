"""Carrying over what the network misses at the source's own parameters.

The rendering at a source's parameters can be compared with the source itself. Shading, proton
density and texture enter every contrast as factors, so the ratio of the two is carried, and what
no reasonable ratio explains is added:

    y(p) = network(p) q^w + w g r,   q = clip(x / network(p_x), 0, 2),   r = x - q network(p_x)

with w = clip((cos - 0.9) / 0.1, 0, 1)^2, where cos and the gain g compare what six reference
tissues would show at p and p_x. At the source's own parameters w = g = 1 and y is the source.
With several sources their ratios are mixed geometrically, each in proportion to the inverse
distance of its contrast, and w looks at the tissues' signals mixed likewise: between two echo times
that is the exponential decay through both. Sources that are dimmer than the target count less.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from crl_core.models.codes import alike, brain_signals

MOST_RATIO = 2.0
"""A voxel brighter than this times its rendering is not explained by shading or density."""

_NEAR = 1e-6
"""Softens the mixing at a source's own parameters, in units of 1 - cos."""

_OTHER_FAT = 0.05
"""So much less alike is a scan whose fat is suppressed where the target's is not, or not."""

_FAR = 0.6
"""A contrast less alike than this cosine has no share."""

_DIM = 1.5
"""With which power of the gain sources dimmer than the target count less: their noise grows.
Measured on digital subjects: from T2-FLAIR to PD, gain 3.7, carrying all cost 0.7 dB."""

_DARK = 0.004
"""A rendering below this is no basis for a ratio, model units."""


@dataclass(frozen=True)
class Missed:
    """What the network misses at the sources' own parameters.

    Parameters
    ----------
    log_ratio
        (S, H, W), logarithm of the ratio carried.
    rest
        (S, H, W), what is left when the ratio is applied; units of the first source.
    """

    log_ratio: Tensor
    rest: Tensor

    @classmethod
    def of(cls, acquired: Tensor, rendered: Tensor) -> Missed:
        """Compare sources with their renderings, both (S, H, W) in units of the first source."""
        ratio = acquired.clamp_min(0.0) / rendered.clamp_min(_DARK)
        log_ratio = ratio.clamp(1.0 / 64.0, MOST_RATIO).log()
        return cls(log_ratio, acquired - rendered * log_ratio.exp())

    def at(self, where: tuple[object, ...]) -> Missed:
        """Return some of the voxels."""
        return Missed(self.log_ratio[where], self.rest[where])  # type: ignore[index]

    def added_to(self, image: Tensor, weights: Tensor, gains: Tensor) -> Tensor:
        """Return renderings (..., H, W) with what is carried, for weights and gains (..., S)."""
        if not bool((weights > 0).any()):
            return image
        carried = torch.einsum("...s,shw->...hw", weights, self.log_ratio)
        added = torch.einsum("...s,shw->...hw", weights * gains, self.rest)
        return image * carried.exp() + added

    def nbytes(self) -> int:
        """Memory taken."""
        return sum(t.element_size() * t.numel() for t in (self.log_ratio, self.rest))


def carry_weights(target: Tensor, sources: Tensor) -> tuple[Tensor, Tensor]:
    """Return how much of each source is carried, and at what gain.

    Parameters
    ----------
    target
        (..., 3 or 4) ms, as `crl_core.sequence.SequenceParameters.numbers`.
    sources
        (S, 3 or 4) ms.

    Returns
    -------
    weights, gains
        (..., S) each: w times the source's share, shares summing to 1; and g. At a source's own
        parameters its weight and gain are exactly 1 and the others' weights 0.
    """
    apart = (sources - target[..., None, :]).abs()
    same = apart.amax(dim=-1) == 0
    first = (same & (same.cumsum(dim=-1) == 1)).to(sources.dtype)
    wanted, given = brain_signals(target), brain_signals(sources)
    cosine, gain = alike(wanted[..., None, :], given)
    if sources.shape[-1] > 3:
        # The tissues compared are brain; what suppressed fat shows is nothing to add elsewhere.
        cosine, gain = cosine - _OTHER_FAT * apart[..., 3], gain * (1.0 - apart[..., 3])
    near = torch.clamp((cosine - _FAR) / (1.0 - _FAR), 0.0, 1.0)
    share = near / (1.0 - cosine + _NEAR).sqrt()
    share = share / share.sum(dim=-1, keepdim=True).clamp_min(1e-12)
    mixed = torch.einsum("...s,st->...t", share, given.clamp_min(1e-3).log()).exp()
    likeness, brighter = alike(wanted, mixed)
    weight = torch.clamp((likeness - 0.9) / 0.1, 0.0, 1.0) ** 2 / brighter.clamp_min(1.0) ** _DIM
    there = same.any(dim=-1, keepdim=True)
    return (
        torch.where(there, first, weight[..., None] * share),
        torch.where(there, torch.ones_like(gain), gain),
    )
