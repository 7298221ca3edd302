"""Carrying over what the network misses at the source's own parameters.

The rendering at the source's parameters can be compared with the source itself. The difference
is added, scaled by how alike the target's contrast is, so that sliders at the source's values
give back the source exactly and the sliders leave it continuously:

    y(p) = network(p) + w g (x - network(p_x)),   w = clip((cos - 0.9) / 0.1, 0, 1)^2

where cos and the gain g compare what six reference tissues would show at p and p_x.
"""

from __future__ import annotations

import torch
from torch import Tensor

from crl_core.models.codes import similarity


def carry_weights(target: Tensor, sources: Tensor) -> tuple[int, float]:
    """Choose the source to carry from and the factor on its residual.

    Parameters
    ----------
    target
        (3,) ms.
    sources
        (S, 3) ms.

    Returns
    -------
    index, factor
        Which source is most alike, and w g for it; the factor is 0 where none is alike.
    """
    same = (sources - target).abs().amax(dim=-1) == 0
    if bool(same.any()):
        return int(same.nonzero()[0]), 1.0
    cosine, gain = similarity(target.expand_as(sources), sources)
    index = int(cosine.argmax())
    weight = torch.clamp((cosine[index] - 0.9) / 0.1, 0.0, 1.0) ** 2
    return index, float(weight * gain[index])
