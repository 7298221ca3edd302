"""Label maps in MATLAB files, such as the BrainWeb phantoms of MR simulators.

Nothing in the file is executed: only numeric arrays are read, and which one is decided from the
list of contents before anything is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crl_core.errors import InputError

_NUMERIC = {"uint8", "int8", "uint16", "int16", "uint32", "int32", "single", "double"}
_MOST_VALUES = 2**28
_FINE_MM = 0.5

# Rows from front to back, columns to the right, pages from top to bottom: the axes of the phantoms.
_AXES = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])


def read_mat(path: Path) -> tuple[NDArray[np.number], NDArray[np.float64], tuple[str, ...]]:
    """Read the label map of a MATLAB file.

    The largest 3-D array is taken; without one, the 2-D array called ``axial`` or else the
    largest. Such files carry no geometry: voxels of 1 mm are assumed, 0.5 mm for a slice, and the
    axes of the BrainWeb phantoms.

    Returns
    -------
    data
        (rows, columns, pages).
    affine
        4x4 to RAS+ mm, as assumed.
    notes
        What was taken and assumed.

    Raises
    ------
    InputError
        When the file is damaged, of version 7.3, or holds no such array.
    """
    name = _choose(path)
    data = np.asarray(_load(path, name))
    flat = data.ndim == 2
    if flat:
        data = data[:, :, np.newaxis]
    voxel = _FINE_MM if flat else 1.0
    affine = np.eye(4)
    affine[:3, :3] = _AXES * voxel
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(data.shape) - 1) / 2)
    notes = (
        f"array '{name}' taken",
        f"voxels of {voxel:g} mm assumed; which side is left is not stated",
    )
    return data, affine, notes


def _choose(path: Path) -> str:
    arrays = [
        (name, shape)
        for name, shape, kind in _contents(path)
        if kind in _NUMERIC
        and len(shape) in (2, 3)
        and min(shape[:2]) >= 16
        and math.prod(shape) <= _MOST_VALUES
    ]
    if not arrays:
        raise InputError(
            "holds no numeric array that could be a label map",
            path=path,
            remedy="Save the labels as one 2-D or 3-D numeric array",
        )
    deep = [a for a in arrays if len(a[1]) == 3]
    named = [a for a in arrays if a[0] == "axial"]
    return max(deep or named or arrays, key=lambda a: math.prod(a[1]))[0]


def _contents(path: Path) -> list[tuple[str, tuple[int, ...], str]]:
    from scipy import io

    with _refusing(path):
        return list(io.whosmat(str(path), appendmat=False))


def _load(path: Path, name: str) -> object:
    from scipy import io

    with _refusing(path):
        found = io.loadmat(str(path), appendmat=False, variable_names=[name])
        array = found[name]
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "uif":
        raise InputError("holds no numeric array", path=path, remedy="Save the labels again")
    return array


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn whatever the reader raises on a damaged file into one clear line."""
    try:
        yield
    except Exception as error:
        newer = isinstance(error, NotImplementedError)
        raise InputError(
            "is a MATLAB 7.3 file" if newer else "is not a readable MATLAB file",
            path=path,
            remedy="Save it again with save(..., '-v7')" if newer else "Save it again",
        ) from error
