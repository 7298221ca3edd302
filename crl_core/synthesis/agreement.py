"""Whether the sources fit together: each is synthesised from all and compared with itself.

That needs no ground truth. What cannot be given back was not understood: suppressed fat that
nobody told of, a sequence with other parameters than stated, a scan out of place. The error is a
lower bound of what other contrasts will have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from crl_core.evaluation.metrics import PEAK_PERCENTILE

_DOUBTFUL = 4.0
"""A source given back this much worse than ones that fit, dB, counts least."""

_LEAST_WEIGHT = 0.1


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well each source is given back from all of them.

    Parameters
    ----------
    psnr
        dB inside the head after one gain, one a source, on the slice with most head.
    weights
        0.1 to 1: how much each counts. All 1 for a single source, which contradicts nobody.
    """

    psnr: tuple[float, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, psnr: tuple[float, ...], fits: float) -> Agreement:
        """Weigh down the source that fits least, if it does not fit.

        The others are pulled away from themselves by it, so that only one is named at a time.

        Parameters
        ----------
        psnr
            As above.
        fits
            From this on, dB, a source fits the others (`CRL.gives_back`).
        """
        weights = [1.0] * len(psnr)
        if len(psnr) > 1 and min(psnr) < fits:
            worst = psnr.index(min(psnr))
            weights[worst] = max(_LEAST_WEIGHT, 1.0 - (fits - psnr[worst]) / _DOUBTFUL)
        return cls(psnr, tuple(weights))

    @property
    def contradicting(self) -> int | None:
        """Which source contradicts the others, None where they fit."""
        lowest = min(range(len(self.weights)), key=lambda k: self.weights[k])
        return lowest if self.weights[lowest] < 1.0 else None


def fit_of(acquired: Tensor, rendered: Tensor) -> tuple[float, Tensor]:
    """Compare a source with what is given back, both (n,) voxels of the head.

    Returns
    -------
    psnr, gain
        dB after the gain, and the factor on the source that brings it closest to the rendering.
    """
    gain = (acquired * rendered).sum() / acquired.square().sum().clamp_min(1e-8)
    back = (acquired * rendered).sum() / rendered.square().sum().clamp_min(1e-8)
    error = float((back * rendered - acquired).square().mean())
    some = acquired[:: max(1, len(acquired) // 100_000)]
    peak = float(torch.quantile(some, PEAK_PERCENTILE / 100.0))
    if error <= 0.0 or peak <= 0.0:
        return (math.inf if error <= 0.0 else -math.inf), gain
    return 10.0 * math.log10(peak * peak / error), gain
