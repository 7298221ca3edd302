"""What can be had without a network: the bar every synthesis has to clear.

Each baseline is fitted on the very target it is judged on, inside the mask. That favours it:
a network that does not beat the table has learnt no more than a recolouring of its source.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crl_core.evaluation.metrics import least_squares_gain, psnr, reference_peak

FloatArray = NDArray[np.float32]

TABLE_BINS = 128
_TAIL = 0.1
"""Per cent of the mask at either end that shares the outermost bin of the table, so that a few
hot voxels do not stretch it."""


def identity(source: ArrayLike, target: ArrayLike, mask: ArrayLike) -> FloatArray:
    """Return the source itself; target and mask are not looked at."""
    return np.array(source, dtype=np.float32)


def affine(source: ArrayLike, target: ArrayLike, mask: ArrayLike) -> FloatArray:
    """Return a * source + b with a and b by least squares inside the mask.

    A source of one single value inside the mask, or an empty mask, gives the best constant.
    """
    image, x, y = _fit_data(source, target, mask)
    if not x.size:
        return np.zeros_like(image)
    x_mean, y_mean = x.mean(), y.mean()
    variance = float(((x - x_mean) ** 2).sum())
    a = float(((x - x_mean) * (y - y_mean)).sum()) / variance if variance > 0 else 0.0
    return np.asarray(a * (image - x_mean) + y_mean, dtype=np.float32)


@dataclass(frozen=True)
class IntensityTable:
    """The mean target intensity of each step of source intensity.

    Parameters
    ----------
    low, step
        Where the first step begins and how wide each is, source intensity.
    means
        One target intensity a step.
    """

    low: float
    step: float
    means: NDArray[np.float64]

    @classmethod
    def fit(
        cls, x: NDArray[np.float64], y: NDArray[np.float64], bins: int = TABLE_BINS
    ) -> IntensityTable:
        """Fit to pairs of intensities, both (n,); steps nothing falls into are interpolated."""
        low, high = np.percentile(x, (_TAIL, 100.0 - _TAIL))
        if not high > low:
            low, high = float(x.min()), float(x.max())
        empty = cls(float(low), float(high - low) / bins, np.zeros(bins))
        at = empty.place(x)
        counts = np.bincount(at, minlength=bins)
        filled = counts > 0
        steps = np.arange(bins)
        sums = np.bincount(at, weights=y, minlength=bins)
        means = np.interp(steps, steps[filled], sums[filled] / counts[filled])
        return cls(empty.low, empty.step, means)

    def place(self, values: NDArray[np.float64] | FloatArray) -> NDArray[np.intp]:
        """Return the step each value falls into; values beyond the ends fall into the last."""
        if self.step <= 0:
            return np.zeros(values.shape, np.intp)
        last = len(self.means) - 1
        return np.asarray(np.clip((values - self.low) / self.step, 0, last), dtype=np.intp)

    def __call__(self, image: FloatArray) -> FloatArray:
        """Look up an image of any shape."""
        return np.asarray(self.means[self.place(image)], dtype=np.float32)


def table(
    source: ArrayLike, target: ArrayLike, mask: ArrayLike, bins: int = TABLE_BINS
) -> FloatArray:
    """Return the mean target intensity of each source intensity.

    Parameters
    ----------
    source, target
        Two images of one shape.
    mask
        Boolean, where the table is fitted.
    bins
        Number of equal steps of source intensity inside the mask. Steps that no voxel falls
        into are interpolated from their neighbours.
    """
    image, x, y = _fit_data(source, target, mask)
    if not x.size:
        return np.zeros_like(image)
    return IntensityTable.fit(x, y, bins)(image)


BASELINES: Mapping[str, Callable[[ArrayLike, ArrayLike, ArrayLike], FloatArray]] = MappingProxyType(
    {"identity": identity, "affine": affine, "table": table}
)
"""The three by the name used in cards and reports."""


def score(prediction: ArrayLike, target: ArrayLike, mask: ArrayLike) -> float:
    """Return the PSNR inside the mask after one gain, dB, against the p99.5 of the target."""
    gain = least_squares_gain(prediction, target, mask)
    scaled = np.float32(gain) * np.asarray(prediction, dtype=np.float32)
    return psnr(scaled, target, mask, reference_peak(target, mask))


def _fit_data(
    source: ArrayLike, target: ArrayLike, mask: ArrayLike
) -> tuple[FloatArray, NDArray[np.float64], NDArray[np.float64]]:
    """Return the source image and both images inside the mask in double precision."""
    image = np.asarray(source, dtype=np.float32)
    wanted, inside = np.asarray(target), np.asarray(mask, dtype=bool)
    if not image.shape == wanted.shape == inside.shape:
        raise ValueError(
            f"source {image.shape}, target {wanted.shape} and mask {inside.shape} differ"
        )
    return image, image[inside].astype(np.float64), wanted[inside].astype(np.float64)
