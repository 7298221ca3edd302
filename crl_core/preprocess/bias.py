"""The bias field: the slow change of brightness that coils put over an image.

Every contrast gets a field of its own, as in the paper. On real scans the fields of one session
do not agree: vendors even out some series and not others, and the transmit field acts on each
contrast differently. Where they are known to agree, sharing one field averages the errors out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crl_core.preprocess.backends import (
    Affine,
    Backend,
    Cancel,
    Volume,
    shrink_factors,
    subsampled,
)
from crl_core.preprocess.mask import otsu_threshold
from crl_core.preprocess.resample import SplineOrder
from crl_core.scan import BoolArray, FloatArray

PLANE_MM = 8.0
SLICE_MM = 4.0
"""Distance between the voxels a field is estimated from, in the plane and across slices.

Voxels are dropped, not merged: a mean of two tissues is a third intensity, and N4 sharpens the
histogram. On digital heads merging to 8 mm gives three times the error that dropping does."""

_TISSUE = 0.5
"""Fraction of Otsu's threshold, on the square root, below which a voxel in the head is left out:
bone, nulled fluid and air hold noise whose logarithm would dominate the histogram."""


@dataclass(frozen=True, eq=False)
class BiasField:
    """A smooth positive field, known on a coarse grid.

    Parameters
    ----------
    log
        Logarithm of the field, (x, y, z); its mean over the head is zero, so that a corrected
        image keeps the unit it was acquired in.
    affine
        4x4, indices of the coarse grid to RAS+ millimetres.
    """

    log: FloatArray
    affine: Affine

    def log_on(self, shape: tuple[int, int, int], affine: Affine) -> FloatArray:
        """Return the logarithm of the field on another grid of the same space.

        Beyond the grid it is known on, the field keeps the value of the rim.
        """
        to_coarse = np.linalg.inv(self.affine) @ affine
        # A spline through a single plane would ring against itself.
        order: SplineOrder = 3 if min(self.log.shape) > 3 else 1
        found = ndimage.affine_transform(
            self.log, to_coarse[:3, :3], to_coarse[:3, 3], shape, order=order, mode="nearest"
        )
        return np.asarray(found, dtype=np.float32)

    def on(self, shape: tuple[int, int, int], affine: Affine) -> FloatArray:
        """Return the field itself on another grid of the same space."""
        return np.exp(self.log_on(shape, affine))

    def moved(self, matrix: Affine, volume: Volume, slice_axis: int) -> BiasField:
        """Return the field in the space of a reference.

        Parameters
        ----------
        matrix
            4x4, RAS+ mm of the reference to RAS+ mm of this field's space.
        volume
            A volume on the grid the field is wanted for; only its grid is used.
        slice_axis
            Array axis of that grid along which slices lie.
        """
        factor = _factors(volume, slice_axis)
        coarse, affine = subsampled(volume.data, volume.affine, factor)
        x, y, z = coarse.shape
        return BiasField(self.log_on((x, y, z), matrix @ affine), affine)

    @property
    def range(self) -> tuple[float, float]:
        """Least and greatest value on the coarse grid."""
        return float(np.exp(self.log.min())), float(np.exp(self.log.max()))


def estimate_bias(
    volume: Volume,
    mask: BoolArray,
    slice_axis: int,
    backend: Backend,
    cancelled: Cancel = lambda: False,
) -> BiasField:
    """Estimate the bias field of a head scan by N4.

    Parameters
    ----------
    volume
        Magnitude, on its own grid.
    mask
        Head mask, same shape.
    slice_axis
        Array axis along which slices lie.
    backend
        The library.
    cancelled
        Asked now and then.

    Returns
    -------
    BiasField
        In the space of the volume; flat where the mask holds too little to tell.

    Raises
    ------
    Cancelled
        When `cancelled` said so.
    """
    factor = _factors(volume, slice_axis)
    data, affine = subsampled(volume.data, volume.affine, factor)
    head = subsampled(mask, volume.affine, factor)[0] > 0
    inside = subsampled(_tissue(volume.data, mask), volume.affine, factor)[0] > 0
    if np.count_nonzero(inside) < 100 or not np.ptp(data[inside]) > 0:
        return BiasField(np.zeros_like(data), affine)
    log = backend.log_bias(data, volume.voxel_mm * factor, inside, cancelled)
    return BiasField(log - np.float32(log[head].mean()), affine)


def shared_bias(fields: Sequence[BiasField]) -> BiasField:
    """Return the geometric mean of fields that lie on one coarse grid."""
    mean = np.mean(np.stack([field.log for field in fields]), axis=0, dtype=np.float64)
    return BiasField(np.asarray(mean, dtype=np.float32), fields[0].affine)


def _factors(volume: Volume, slice_axis: int) -> NDArray[np.int64]:
    wanted = np.full(3, PLANE_MM)
    wanted[slice_axis] = SLICE_MM
    return shrink_factors(volume.data.shape, volume.voxel_mm, wanted, least=8)


def _tissue(data: FloatArray, mask: BoolArray) -> BoolArray:
    """Return the voxels of the head that give signal worth a logarithm."""
    root = np.sqrt(np.maximum(data, 0.0))
    if not mask.any():
        return mask
    return np.asarray(mask & (data > 0) & (root > _TISSUE * otsu_threshold(root[mask])))
