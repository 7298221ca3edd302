"""Who estimates bias fields and registers volumes: one interface, two libraries behind it.

Both are asked for one thing at a time, at one resolution; the order of the stages, where they
start and what is believed of their answers is decided here in the program, so that the choice
of the library changes neither what is done nor what is written down.

A transform is a 4x4 matrix that maps points of the fixed volume to points of the moving one,
both in RAS+ millimetres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crl_core.errors import CRLError
from crl_core.scan import BoolArray, FloatArray

Affine = NDArray[np.float64]
BackendName = Literal["simpleitk", "ants"]
TransformKind = Literal["rigid", "affine"]
Cancel = Callable[[], bool]

SEED = 20
"""Seed of every random choice a library makes, so that the same input gives the same bytes."""

N4_LEVELS = 2
N4_ITERATIONS = 50
N4_TOLERANCE = 1e-4
N4_CONTROL_POINTS = 4
"""Settings of N4: a field of few control points, each level iterated until it stands.

Measured on digital heads with a planted field: a third or fourth level follows the anatomy and
doubles the error, a tolerance of 1e-3 stops while the field is still half found.
"""

MATTES_BINS = 48
"""Bins of the joint histogram of Mattes' mutual information."""


@dataclass(frozen=True, eq=False)
class Volume:
    """Intensities and where they lie.

    Parameters
    ----------
    data
        float32, (x, y, z).
    affine
        4x4, voxel indices to RAS+ millimetres.
    """

    data: FloatArray
    affine: Affine

    @property
    def voxel_mm(self) -> NDArray[np.float64]:
        """Edge lengths of a voxel along the array axes."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a registration.

    Parameters
    ----------
    voxel_mm
        Voxels finer than this are merged first.
    samples
        How many voxels are looked at.
    """

    voxel_mm: float
    samples: int


class Backend(Protocol):
    """A library that estimates bias fields and registers."""

    @property
    def name(self) -> str:
        """What to call the library in a record."""
        ...

    @property
    def version(self) -> str:
        """Its version."""
        ...

    def log_bias(
        self, data: FloatArray, voxel_mm: NDArray[np.float64], mask: BoolArray, cancelled: Cancel
    ) -> FloatArray:
        """Return the logarithm of the bias field of a small volume, same shape as `data`.

        N4 of Tustison et al., IEEE Trans. Med. Imaging 29:1310 (2010), with the settings above.
        A volume of one slice is treated as a plane.

        Raises
        ------
        Cancelled
            When `cancelled` said so.
        """
        ...

    def register(
        self,
        fixed: Volume,
        moving: Volume,
        mask: BoolArray,
        start: Affine,
        kind: TransformKind,
        level: Level,
        cancelled: Cancel,
    ) -> Affine:
        """Improve a transform at one resolution by Mattes' mutual information.

        Parameters
        ----------
        fixed, moving
            The volumes, of any voxel size.
        mask
            Where the fixed volume is looked at.
        start
            Transform to start from; free of scale and shear where `kind` is ``"rigid"``.
        kind
            What may change: rotation and shift, or all twelve numbers.
        level
            The resolution.
        cancelled
            Asked at every iteration.

        Raises
        ------
        Cancelled
            When `cancelled` said so.
        """
        ...


def open_backend(name: BackendName) -> Backend:
    """Return the backend of that name; the library is imported now.

    Raises
    ------
    CRLError
        When the library is not installed, or the name is unknown.
    """
    try:
        if name == "simpleitk":
            from crl_core.preprocess.itk import SimpleItk

            return SimpleItk()
        if name == "ants":
            from crl_core.preprocess.ants_backend import Ants

            return Ants()
    except ImportError as error:
        package = "SimpleITK" if name == "simpleitk" else "antspyx"
        raise CRLError(
            f"the backend '{name}' needs {package}, which is not installed",
            remedy=f"Install it with: pip install {package}",
        ) from error
    raise CRLError(f"there is no backend '{name}'", remedy="Choose simpleitk or ants")


def shrunk(volume: Volume, voxel_mm: float, *, keep_grid: bool = False) -> Volume:
    """Merge voxels finer than `voxel_mm`, axis by axis.

    Each axis is blurred to half the merged voxel and every n-th voxel kept, so that thick
    slices stay as they are while the plane gets coarser. An axis keeps at least sixteen voxels.

    Parameters
    ----------
    volume
        What to shrink.
    voxel_mm
        Wanted voxel size.
    keep_grid
        Only blur; keep every voxel.
    """
    factor = shrink_factors(volume.data.shape, volume.voxel_mm, voxel_mm)
    sigma = np.where(factor > 1, 0.5 * factor, 0.0)
    data = volume.data
    if sigma.any():
        data = ndimage.gaussian_filter(data, sigma, truncate=3.0)
    if keep_grid or (factor == 1).all():
        return Volume(data, volume.affine)
    return Volume(*subsampled(data, volume.affine, factor))


def shrink_factors(
    shape: tuple[int, ...],
    size_mm: NDArray[np.float64],
    voxel_mm: float | NDArray[np.float64],
    least: int = 16,
) -> NDArray[np.int64]:
    """Return how many voxels to merge along each axis to come near `voxel_mm`."""
    wanted = np.maximum(1, np.rint(voxel_mm / size_mm))
    most = np.maximum(1, np.array(shape) // least)
    return np.asarray(np.minimum(wanted, most), dtype=np.int64)


def subsampled(
    data: NDArray[np.generic], affine: Affine, factor: NDArray[np.int64]
) -> tuple[NDArray[np.float32], Affine]:
    """Keep every n-th voxel along each axis, centred, with the affine that fits."""
    shape = np.array(data.shape)
    count = (shape - 1) // factor + 1
    first = (shape - 1 - (count - 1) * factor) // 2
    kept = data[tuple(slice(int(f), None, int(n)) for f, n in zip(first, factor, strict=True))]
    moved = affine.copy()
    moved[:3, :3] = affine[:3, :3] * factor
    moved[:3, 3] = affine[:3, :3] @ first + affine[:3, 3]
    return np.asarray(kept, dtype=np.float32), moved
