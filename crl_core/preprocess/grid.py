"""The grid that the scans of one person are brought to."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crl_core.errors import InputError, ParameterError
from crl_core.preprocess.backends import Affine
from crl_core.scan import BoolArray, Scan

PlaneSize = tuple[int, int]

DEFAULT_PLANE: PlaneSize = (192, 192)
"""The paper's."""

_MARGIN_MM = 5.0
_PIXEL_STEP_MM = 0.05
_PLANE = (16, 1024)


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxels and where they lie: shape, and 4x4 from indices to RAS+ millimetres."""

    shape: tuple[int, int, int]
    affine: Affine


def parse_grid(text: str) -> PlaneSize | None:
    """Read ``192x192``, pixels along the two in-plane axes in the file's order, or ``native``.

    Returns
    -------
    plane
        None for the reference's own grid.

    Raises
    ------
    ParameterError
        When the text is neither, or a number is out of range.
    """
    word = text.strip().lower()
    if word == "native":
        return None
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", word)
    if found is None:
        raise ParameterError(f"'{text}' is no grid", remedy="Give native, or two numbers: 192x192")
    plane = (int(found[1]), int(found[2]))
    if not all(_PLANE[0] <= n <= _PLANE[1] for n in plane):
        raise ParameterError(
            f"a grid of {text} is out of range", remedy=f"Give numbers from {_PLANE[0]} to {_PLANE[1]}"
        )
    return plane


def target_grid(reference: Scan, mask: BoolArray, plane: PlaneSize | None) -> Grid:
    """Return the grid for the scans of one person.

    Slices stay those of the reference. In the plane the pixels are square, centred on the head,
    just wide enough for it and 5 mm of air, rounded up to 0.05 mm, and never finer than the
    reference's own: what was not measured is not made up.

    Parameters
    ----------
    reference
        The scan whose slices are kept.
    mask
        Its head mask; the whole image counts where it is empty.
    plane
        Pixels along the in-plane axes, in the order of the array; None keeps the grid.
    """
    if plane is None:
        return Grid(reference.shape, reference.affine.copy())
    axes = [axis for axis in range(3) if axis != reference.slice_axis]
    low, high = _box(mask)
    size = np.array(reference.voxel_size)
    pixel = max(
        max((high[a] - low[a] + 1) * size[a] + 2 * _MARGIN_MM, size[a]) / n
        for a, n in zip(axes, plane, strict=True)
    )
    # A hair less, so that 1.1 mm does not become 1.15 by rounding of the header.
    pixel = math.ceil(pixel / _PIXEL_STEP_MM - 1e-3) * _PIXEL_STEP_MM
    pixel = max(pixel, *(float(size[a]) for a in axes))
    shape, first, step = list(reference.shape), np.zeros(3), np.ones(3)
    for axis, count in zip(axes, plane, strict=True):
        shape[axis] = count
        step[axis] = pixel / size[axis]
        first[axis] = (low[axis] + high[axis]) / 2 - (count - 1) / 2 * step[axis]
    affine = reference.affine.copy()
    affine[:3, 3] = reference.affine[:3, :3] @ first + reference.affine[:3, 3]
    affine[:3, :3] = reference.affine[:3, :3] * step
    x, y, z = shape
    return Grid((x, y, z), affine)


def choose_reference(scans: list[Scan]) -> Scan:
    """Return the scan whose slices the others are brought to.

    Of the scans that cover at least 80 % of the largest extent along their slices, and whose TR,
    TE and TI are known where any are: the one whose grid most others share, so that few are
    resampled; then the one of the thickest slices, so that no scan gets slices it did not
    measure; then that of the finest pixels; then the first by name.

    Raises
    ------
    InputError
        When there is no scan.
    """
    if not scans:
        raise InputError("there is no scan to prepare")
    known = [scan for scan in scans if scan.parameters is not None] or scans
    widest = max(_extent(scan) for scan in known)
    wide = [scan for scan in known if _extent(scan) >= 0.8 * widest]

    def rank(scan: Scan) -> tuple[int, float, float, str]:
        alike = sum(scan.same_grid(other) for other in scans)
        pixel = max(v for axis, v in enumerate(scan.voxel_size) if axis != scan.slice_axis)
        thickness = scan.voxel_size[scan.slice_axis]
        return (-alike, -round(thickness, 2), round(pixel, 3), scan.name)

    return min(wide, key=rank)


def named_scan(scans: list[Scan], wanted: str) -> Scan:
    """Return the scan a user means: its name, one word of it such as ``T2w``, or its file.

    Raises
    ------
    InputError
        When none or several are meant.
    """
    word = wanted.casefold()

    def names(scan: Scan) -> set[str]:
        own = {scan.name, *scan.name.split()}
        if scan.path is not None:
            own |= {scan.path.name, scan.path.name.split(".")[0]}
        return {name.casefold() for name in own}

    found = [scan for scan in scans if word in names(scan)]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"'{scan.name}'" for scan in found or scans)
    which = "several scans are" if found else "no scan is"
    raise InputError(f"{which} called '{wanted}'", remedy=f"Choose one of {listed}")


def _extent(scan: Scan) -> float:
    return scan.n_slices * scan.voxel_size[scan.slice_axis]


def _box(mask: BoolArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if not mask.any():
        return np.zeros(3, dtype=np.int64), np.array(mask.shape) - 1
    where = np.argwhere(mask)
    return where.min(axis=0), where.max(axis=0)
