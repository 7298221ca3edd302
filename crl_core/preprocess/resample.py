"""Bring one scan onto the grid of another, by what their affines say."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crl_core.errors import GridError
from crl_core.scan import BoolArray, FloatArray, Scan

SplineOrder = Literal[0, 1, 2, 3, 4, 5]

_LITTLE = 0.10
"""Below this share of the target's head the result is marked as hardly useful."""

_WHOLE = 0.98
"""From this share on, the loss at the rim is not worth a word."""

_FWHM_TO_SIGMA = 1.0 / 2.3548


def resample_to(scan: Scan, like: Scan, order: SplineOrder = 1) -> Scan:
    """Return `scan` sampled on the voxels of `like`.

    The affines alone decide what lies where; nothing is registered. Where the target's voxels
    are coarser the scan is smoothed to their size first, so that fine detail does not alias.
    Voxels beyond the scan's field of view are zero.

    Parameters
    ----------
    scan
        The moving scan.
    like
        The scan whose grid is wanted.
    order
        Spline order: 0 nearest, 1 linear, 3 cubic. Cubic is sharper and can undershoot.

    Returns
    -------
    Scan
        On the grid of `like`, with a note that it was resampled and, where part of the
        target's head is missing, how much is covered. A scan that is on this grid already
        comes back unchanged.

    Raises
    ------
    GridError
        When the two fields of view do not overlap, or an affine cannot be inverted.
    """
    return resampled(scan, like, order)[0]


def resampled(scan: Scan, like: Scan, order: SplineOrder = 1) -> tuple[Scan, BoolArray]:
    """Do what `resample_to` does, and return also which voxels of `like` the scan had measured."""
    if scan.same_grid(like):
        return scan, np.ones(like.shape, dtype=bool)
    to_source = _voxel_map(scan, like)
    data, inside = sampled(scan.data, to_source, like.shape, order)
    if not inside.any():
        raise GridError(
            f"'{scan.name}' does not overlap with '{like.name}': "
            f"their fields of view lie {gap_mm(scan, like):.0f} mm apart",
            path=scan.path,
            remedy="Choose a scan of the same head and session, or register it first",
        )
    found = replace(
        scan,
        data=data,
        affine=like.affine.copy(),
        stated_mask=None,
        orientation_stated=scan.orientation_stated and like.orientation_stated,
        note=" ".join(filter(None, (scan.note, _note(inside, like)))),
    )
    return found, inside


def sampled(
    data: FloatArray,
    to_source: NDArray[np.float64],
    shape: tuple[int, int, int],
    order: SplineOrder = 1,
) -> tuple[FloatArray, BoolArray]:
    """Sample a volume on another grid.

    Parameters
    ----------
    data
        The volume, (x, y, z).
    to_source
        4x4, voxel indices of the wanted grid to voxel indices of `data`.
    shape
        Voxels of the wanted grid.
    order
        Spline order. Cubic results are kept within the range of `data`, so that a spline's
        overshoot makes no negative magnitudes.

    Returns
    -------
    volume
        float32 of `shape`, 0 beyond the field of view.
    inside
        Which voxels lie in the field of view of `data`.
    """
    inside = field_of_view(to_source, data.shape, shape)
    if not inside.any():
        return np.zeros(shape, dtype=np.float32), inside
    source = np.asarray(data, dtype=np.float32)
    smooth = _smoothed(source, to_source) if order > 0 else source
    volume = ndimage.affine_transform(
        smooth, to_source[:3, :3], to_source[:3, 3], shape, order=order, mode="nearest"
    )
    if order > 1:
        np.clip(volume, source.min(), source.max(), out=volume)
    volume[~inside] = 0.0
    return volume, inside


def _voxel_map(scan: Scan, like: Scan) -> NDArray[np.float64]:
    """Return the 4x4 from voxel indices of `like` to voxel indices of `scan`."""
    for one in (scan, like):
        if abs(np.linalg.det(one.affine[:3, :3])) < 1e-9:
            raise GridError(
                f"the affine of '{one.name}' gives its voxels no volume",
                path=one.path,
                remedy="Correct the orientation in the header",
            )
    return np.asarray(np.linalg.inv(scan.affine) @ like.affine, dtype=np.float64)


def _reach(to_source: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how many source voxels one target voxel spans along each source axis."""
    return np.asarray(np.abs(to_source[:3, :3]).max(axis=1))


def field_of_view(
    to_source: NDArray[np.float64], source: tuple[int, ...], target: tuple[int, ...]
) -> BoolArray:
    """Return which target voxels the source has measured.

    `to_source` maps voxel indices of the target to those of the source; `source` and `target`
    are the two shapes.

    A voxel counts when its centre lies inside a source voxel. A single slice counts as far as
    the thickness of the two slices overlaps, so that two slices prescribed with a slightly
    different tilt or offset still find each other.
    """
    inside = np.ones(target, dtype=bool)
    i, j, k = np.ogrid[: target[0], : target[1], : target[2]]
    for axis, length in enumerate(source):
        at = sum(
            (to_source[axis, column] * index for column, index in enumerate((i, j, k))),
            start=np.asarray(to_source[axis, 3]),
        )
        # Rounding in a file's affine must not cut off the outermost plane.
        slack = 0.5 + 1e-3
        if length == 1:
            slack += 0.5 * float(_reach(to_source)[axis])
        inside &= (at >= -slack) & (at <= length - 1 + slack)
    return inside


def _smoothed(data: FloatArray, to_source: NDArray[np.float64]) -> FloatArray:
    """Blur along the axes on which the target is coarser, to the width of its voxels."""
    span = _reach(to_source)
    extra = np.sqrt(np.clip(span**2 - 1.0, 0.0, None)) * _FWHM_TO_SIGMA
    sigma = np.where((span > 1.2) & (np.array(data.shape) > 1), extra, 0.0)
    if not sigma.any():
        return data
    return np.asarray(ndimage.gaussian_filter(data, sigma, mode="nearest"), dtype=np.float32)


def _note(inside: BoolArray, like: Scan) -> str:
    head = like.mask
    share = float(inside[head].mean()) if head.any() else float(inside.mean())
    text = f"Resampled onto the grid of '{like.name}'."
    if share < _LITTLE:
        return f"{text} It covers only {100 * share:.0f} % of that head: hardly comparable."
    if share < _WHOLE:
        return f"{text} It covers {100 * share:.0f} % of that head."
    return text


def gap_mm(scan: Scan, like: Scan) -> float:
    """Return the distance between the two bounding boxes in space, mm (0 when they touch)."""

    def box(one: Scan) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        ends = [(-0.5, n - 0.5) for n in one.shape]
        corners = np.array(np.meshgrid(*ends)).reshape(3, -1)
        world = one.affine[:3, :3] @ corners + one.affine[:3, 3:]
        return world.min(axis=1), world.max(axis=1)

    (low_a, high_a), (low_b, high_b) = box(scan), box(like)
    apart = np.maximum(0.0, np.maximum(low_a - high_b, low_b - high_a))
    return float(np.linalg.norm(apart))
