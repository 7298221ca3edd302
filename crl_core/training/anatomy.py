"""Anatomies to train on: read from label maps, and cut into slabs at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crl_core.errors import InputError
from crl_core.physics.labels import Tissues

SLAB_SIZE = 208
MOST_WARP = 2.5  # height of a wave that bends the anatomy, mm; two add up along each axis
LEAST_HEAD = 0.08  # share of a slab that must be head
_DETAIL_SEED = 20


def cut_slab(
    rng: np.random.Generator, anatomy: Tissues, size: int = SLAB_SIZE
) -> tuple[Tissues, tuple[float, float, float]]:
    """Cut a slab of random place, tilt, scale and thickness out of an anatomy.

    Parameters
    ----------
    rng
        Source of the choices.
    anatomy
        Tissue indices at 1 mm, RAS, cropped to the head.
    size
        Pixels along each side of the result.

    Returns
    -------
    slab
        (sub-slices, size, size); nearest neighbour, so indices stay indices.
    voxel
        Size along each axis of the slab, mm.
    """
    axis = int(rng.choice(3, p=[0.08, 0.07, 0.85]))
    # The lower part of the head is neck; brain slices are what users open.
    part = (0.38, 0.95) if axis == 2 else (0.2, 0.8)
    centre = np.array([(n - 1) / 2 for n in anatomy.shape])
    centre[axis] = rng.uniform(*part) * anatomy.shape[axis]
    frame = np.roll(np.eye(3), -axis - 1, axis=1)  # columns: row, column, through-plane
    tilt = rng.normal(0.0, 0.10, size=3)
    rotation = _small_rotation(tilt)
    voxel = float(np.exp(rng.uniform(np.log(0.62), np.log(1.3))))
    basis = rotation @ frame
    basis[0] *= rng.choice([-1.0, 1.0])  # left and right change places
    thickness = float(rng.choice([1.0, 3.0, 5.0, 6.5]))
    n_sub = max(1, round(thickness / 1.3))
    depth = (np.arange(n_sub) - (n_sub - 1) / 2) * (thickness / n_sub)
    wider = voxel * float(rng.uniform(0.97, 1.03))
    side = (np.arange(size) - (size - 1) / 2) * wider
    up = (np.arange(size) - (size - 1) / 2) * voxel
    depth, side, up = (v.astype(np.float32) for v in (depth, side, up))
    centre, basis = centre.astype(np.float32), basis.astype(np.float32)
    warp = _warp(rng, up, side)
    index = []
    for a in range(3):
        place = (
            centre[a]
            + warp[a]
            + basis[a, 2] * depth[:, None, None]
            + basis[a, 0] * up[None, :, None]
            + basis[a, 1] * side[None, None, :]
        )
        index.append(np.rint(place).astype(np.int32))
    ok = np.ones(index[0].shape, dtype=bool)
    for a in range(3):
        ok &= (index[a] >= 0) & (index[a] < anatomy.shape[a])
        np.clip(index[a], 0, anatomy.shape[a] - 1, out=index[a])
    slab = np.where(ok, anatomy[index[0], index[1], index[2]], 0)
    return np.asarray(slab, dtype=np.uint8), (thickness / n_sub, voxel, wider)


def _warp(
    rng: np.random.Generator, up: NDArray[np.float32], side: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return a smooth displacement along each axis of the anatomy, mm, (3, rows, columns).

    A dozen heads are few; bent, no two are the same. Waves of 70 to 180 mm and up to a few mm
    neither fold nor tear.
    """
    found = np.zeros((3, len(up), len(side)), dtype=np.float32)
    for axis in range(3):
        for _ in range(2):
            height = rng.uniform(0.0, MOST_WARP)
            angle, phase = rng.uniform(0.0, 2.0 * np.pi, size=2)
            wave = np.float32(2.0 * np.pi / rng.uniform(70.0, 180.0))
            # sin(a + b) from the sines of both keeps this at a few operations a pixel.
            a = wave * np.float32(np.cos(angle)) * up + np.float32(phase)
            b = wave * np.float32(np.sin(angle)) * side
            found[axis] += np.float32(height) * (
                np.outer(np.sin(a), np.cos(b)) + np.outer(np.cos(a), np.sin(b))
            )
    return found


def check_size(anatomy: Tissues) -> None:
    """Refuse a head so small that slabs would hold next to nothing of it."""
    middle = anatomy[:, :, int(0.55 * anatomy.shape[2])]
    if np.count_nonzero(middle) < 1.3 * LEAST_HEAD * SLAB_SIZE**2:
        raise InputError(
            "the head in a label map covers too few voxels in the middle slice",
            remedy="Use whole heads at 1 mm",
        )


def _small_rotation(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation by small angles about the three axes in turn, radians."""
    total = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [a for a in range(3) if a != axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        total = total @ turn
    return total


def load_anatomy(path: Path) -> Tissues:
    """Read a label map; return tissue indices in RAS order, uint8, cropped to the head.

    Soft tissue is told apart and vessels are added as `crl_core.physics.anatomy.detailed` does,
    with a seed of its own, so that a map always gives the same anatomy.
    """
    from crl_core.physics.anatomy import detailed
    from crl_core.physics.labels import cropped, read_label_map

    found = cropped(read_label_map(path), path)
    return np.ascontiguousarray(detailed(found, np.random.default_rng(_DETAIL_SEED)))
