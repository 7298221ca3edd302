"""Where, and in which direction, a synthesised image differs from the acquired one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class ErrorMap:
    """The signed difference, with what it was made from.

    Parameters
    ----------
    percent
        100 (gain * synthesised - acquired) / peak, float32; positive where the synthesised
        image is too bright, NaN outside the mask, because "no error" and "not judged" differ.
    mask
        Where the images were compared, boolean, same shape.
    peak
        The intensity that counts as 100 per cent, in the unit of both images.
    gain
        The factor applied to the synthesised image; 1 is as is.
    """

    percent: NDArray[np.float32]
    mask: NDArray[np.bool_]
    peak: float
    gain: float = 1.0

    @classmethod
    def signed(
        cls,
        image: ArrayLike,
        reference: ArrayLike,
        mask: ArrayLike,
        peak: float,
        gain: float = 1.0,
    ) -> ErrorMap:
        """Make the map of one slice or volume.

        Parameters
        ----------
        image, reference
            Synthesised and acquired, same shape and unit.
        mask
            Boolean, same shape.
        peak
            Intensity of 100 per cent; see `crl_core.evaluation.metrics.reference_peak`.
        gain
            Factor on `image`; give the one the numbers beside the map were made with.

        Raises
        ------
        ValueError
            When shapes differ or the peak is not above zero.
        """
        x, y = np.asarray(image, dtype=np.float32), np.asarray(reference, dtype=np.float32)
        inside = np.asarray(mask, dtype=bool)
        if not x.shape == y.shape == inside.shape:
            raise ValueError(f"image {x.shape}, reference {y.shape} and mask {inside.shape} differ")
        if not (np.isfinite(peak) and peak > 0):
            raise ValueError(f"the peak is {peak}, it must be above zero")
        percent = np.where(inside, (np.float32(gain) * x - y) * np.float32(100.0 / peak), np.nan)
        return cls(percent.astype(np.float32, copy=False), inside, float(peak), float(gain))

    @property
    def absolute(self) -> NDArray[np.float32]:
        """Size of the error, per cent of the peak, NaN outside the mask."""
        return np.abs(self.percent)

    @property
    def bias(self) -> float:
        """Mean signed error inside the mask, per cent of the peak; NaN for an empty mask."""
        inside = self.percent[self.mask]
        return float(inside.mean(dtype=np.float64)) if inside.size else float("nan")

    def share_beyond(self, limit: float) -> float:
        """Return the fraction of the mask whose error is larger than `limit` per cent."""
        inside = self.percent[self.mask]
        return float(np.mean(np.abs(inside) > limit)) if inside.size else float("nan")
