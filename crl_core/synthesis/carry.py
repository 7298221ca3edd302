"""Carrying over what the network misses at the source's own parameters.

The rendering at the source's parameters can be compared with the source itself. The difference
is added, scaled by how alike the target's contrast is, so that sliders at the source's values
give back the source exactly and the sliders leave it continuously:

    y(p) = network(p) + w g (x - network(p_x)),   w = clip((cos - 0.9) / 0.1, 0, 1)^2

where cos and the gain g compare what six reference tissues would show at p and p_x. With several
sources the residuals are mixed by how near each one's contrast is, so that moving from one to the
other does not jump.
"""

from __future__ import annotations

import torch
from torch import Tensor

from crl_core.models.codes import similarity

_NEAR = 1e-4
"""Softens the mixing at a source's own parameters, in units of 1 - cos."""


def carry_factors(target: Tensor, sources: Tensor) -> Tensor:
    """Return the factor on each source's residual.

    Parameters
    ----------
    target
        (3,) ms.
    sources
        (S, 3) ms.

    Returns
    -------
    factors
        (S,): w g of each source times its share, shares being in proportion to w / (1 - cos) and
        summing to 1. At a source's own parameters its factor is exactly 1 and the others' 0.
    """
    same = (sources - target).abs().amax(dim=-1) == 0
    if bool(same.any()):
        return torch.nn.functional.one_hot(same.nonzero()[0, 0], len(sources)).to(sources.dtype)
    cosine, gain = similarity(target.expand_as(sources), sources)
    weight = torch.clamp((cosine - 0.9) / 0.1, 0.0, 1.0) ** 2
    share = weight / (1.0 - cosine + _NEAR)
    return weight * gain * share / share.sum().clamp_min(1e-12)
