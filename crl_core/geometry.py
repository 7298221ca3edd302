"""How one slice of a volume lies on the screen, for any orientation of the file.

The display follows the radiological convention: on axial and coronal slices the patient's right
is on the left of the screen; anterior is up on axial slices, superior is up on coronal and
sagittal ones; on sagittal slices the nose points to the left. An oblique volume is shown on its
own voxel axes, and each side carries the letter of the anatomical direction closest to it.

Three coordinate systems meet here: voxels (i, j, k) in the order of the array, display pixels
(col, row) of one slice with pixel centres at whole numbers, and RAS+ millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crl_core.errors import GridError

_TOWARDS = ("R", "A", "S")
_AWAY = ("L", "P", "I")
_NAMES = ("Sagittal", "Coronal", "Axial")
_ACROSS = (1, 0, 0)
_UP = (2, 2, 1)
"""For a slice normal to world axis 0, 1 or 2: the world axis across the screen and the one up it.
The positive direction (R, A, S) of the first lies at the left, of the second at the top."""


@dataclass(frozen=True, eq=False)
class SlicePlane:
    """The slices of a volume along one array axis, as they are shown.

    Parameters
    ----------
    affine
        4x4, voxel indices to RAS+ millimetres.
    shape
        Voxels along the three array axes.
    axis
        Array axis the slices are taken along: 0, 1 or 2.
    orientation_stated
        False where the affine is a guess: the slice is laid out all the same, without letters.

    Raises
    ------
    GridError
        When the affine does not map the voxels to a volume.
    """

    affine: NDArray[np.float64]
    shape: tuple[int, int, int]
    axis: int
    orientation_stated: bool = True

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=float)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GridError("the affine is not a 4x4 matrix of finite numbers")
        edges = np.linalg.norm(affine[:3, :3], axis=0)
        if not edges.all() or abs(np.linalg.det(affine[:3, :3] / edges)) < 1e-6:
            raise GridError(
                "the affine maps the voxels to a plane", remedy="Correct the file's orientation"
            )
        if self.axis not in (0, 1, 2):
            raise GridError(f"a volume has no axis {self.axis}", remedy="Give 0, 1 or 2")
        object.__setattr__(self, "affine", affine)

    @cached_property
    def _edges(self) -> NDArray[np.float64]:
        """Edge lengths of a voxel along the array axes, mm."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    @cached_property
    def _world_of(self) -> tuple[int, int, int]:
        """The world axis each array axis is closest to, one to one.

        The assignment with the greatest product of direction cosines is taken: in a volume that
        is not flat it has no zero, so every letter has a definite side.
        """
        cosines = np.abs(self.affine[:3, :3]) / self._edges

        def fit(order: tuple[int, ...]) -> float:
            return round(float(np.prod([cosines[w, a] for a, w in enumerate(order)])), 12)

        x, y, z = max(permutations(range(3)), key=fit)
        return (x, y, z)

    @cached_property
    def _across(self) -> tuple[int, bool]:
        """Array axis across the screen, and whether its index falls from left to right."""
        return self._axis_along(_ACROSS[self._world_of[self.axis]])

    @cached_property
    def _down(self) -> tuple[int, bool]:
        """Array axis down the screen, and whether its index falls from top to bottom."""
        return self._axis_along(_UP[self._world_of[self.axis]])

    def _axis_along(self, world: int) -> tuple[int, bool]:
        array_axis = self._world_of.index(world)
        return array_axis, bool(self.affine[world, array_axis] > 0)

    @property
    def name(self) -> str:
        """``"Axial"``, ``"Coronal"`` or ``"Sagittal"``, whichever is closest."""
        return _NAMES[self._world_of[self.axis]]

    @cached_property
    def labels(self) -> dict[str, str]:
        """The letters at the sides, keys left, right, top, bottom; empty where not stated."""
        if not self.orientation_stated:
            return {"left": "", "right": "", "top": "", "bottom": ""}
        across = _ACROSS[self._world_of[self.axis]]
        up = _UP[self._world_of[self.axis]]
        return {
            "left": _TOWARDS[across],
            "right": _AWAY[across],
            "top": _TOWARDS[up],
            "bottom": _AWAY[up],
        }

    @property
    def spacing(self) -> tuple[float, float]:
        """Size of a display pixel (mm per column, mm per row)."""
        return (float(self._edges[self._across[0]]), float(self._edges[self._down[0]]))

    @property
    def slice_spacing(self) -> float:
        """Distance between neighbouring slices, mm."""
        return float(self._edges[self.axis])

    @property
    def n_slices(self) -> int:
        """Number of slices along `axis`."""
        return self.shape[self.axis]

    @property
    def shape_display(self) -> tuple[int, int]:
        """(rows, columns) of a displayed slice."""
        return (self.shape[self._down[0]], self.shape[self._across[0]])

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height of a displayed slice from edge to edge, mm."""
        rows, cols = self.shape_display
        return (cols * self.spacing[0], rows * self.spacing[1])

    def to_display(self, slice_2d: NDArray[Any]) -> NDArray[Any]:
        """Turn a slice in array order into (rows, columns) of the screen, as a view.

        Parameters
        ----------
        slice_2d
            2-D, the two remaining array axes in ascending order, as `Scan.slice` returns it.

        Raises
        ------
        GridError
            When the slice is not of this plane.
        """
        (h, flip_h), (v, flip_v) = self._across, self._down
        expected = tuple(n for a, n in enumerate(self.shape) if a != self.axis)
        if slice_2d.shape != expected:
            raise GridError(f"a slice of shape {slice_2d.shape} is not of the plane {expected}")
        shown = slice_2d if v < h else slice_2d.T
        return shown[:: -1 if flip_v else 1, :: -1 if flip_h else 1]

    def from_display(self, shown: NDArray[Any]) -> NDArray[Any]:
        """Turn (rows, columns) of the screen back into array order; undoes `to_display`.

        Raises
        ------
        GridError
            When the picture is not of this plane.
        """
        (h, flip_h), (v, flip_v) = self._across, self._down
        if shown.shape != self.shape_display:
            raise GridError(f"a picture of shape {shown.shape} is not of {self.shape_display}")
        straight = shown[:: -1 if flip_v else 1, :: -1 if flip_h else 1]
        return straight if v < h else straight.T

    def to_voxel(self, col: float, row: float, index: float) -> tuple[float, float, float]:
        """Return the voxel (i, j, k) shown at a display position of slice `index`."""
        (h, flip_h), (v, flip_v) = self._across, self._down
        voxel = [0.0, 0.0, 0.0]
        voxel[self.axis] = index
        voxel[h] = self.shape[h] - 1 - col if flip_h else col
        voxel[v] = self.shape[v] - 1 - row if flip_v else row
        return (voxel[0], voxel[1], voxel[2])

    def from_voxel(self, i: float, j: float, k: float) -> tuple[float, float, float]:
        """Return (col, row, index) of a voxel; undoes `to_voxel`."""
        (h, flip_h), (v, flip_v) = self._across, self._down
        voxel = (i, j, k)
        col = self.shape[h] - 1 - voxel[h] if flip_h else voxel[h]
        row = self.shape[v] - 1 - voxel[v] if flip_v else voxel[v]
        return (col, row, voxel[self.axis])

    def to_world(self, col: float, row: float, index: float) -> tuple[float, float, float]:
        """Return RAS+ millimetres of a display position."""
        x, y, z = (self.affine @ [*self.to_voxel(col, row, index), 1.0])[:3]
        return (float(x), float(y), float(z))

    def foreground_mm(
        self, shown: NDArray[np.bool_] | None = None
    ) -> tuple[float, float, float, float]:
        """Return the box (x, y, width, height) of a mask on the display, mm from its top left.

        Parameters
        ----------
        shown
            Mask in display orientation; None or an empty mask gives the whole slice.
        """
        if shown is None or not shown.any():
            return (0.0, 0.0, *self.size_mm)
        rows, cols = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
        dx, dy = self.spacing
        width, height = cols[-1] - cols[0] + 1, rows[-1] - rows[0] + 1
        return (float(cols[0] * dx), float(rows[0] * dy), float(width * dx), float(height * dy))


def position_text(world: tuple[float, float, float]) -> str:
    """Write RAS+ millimetres as a radiologist reads them, such as ``R 12.4  A 31.0  S 18.0 mm``."""
    words = []
    for axis, value in enumerate(world):
        letter = _TOWARDS[axis] if round(value, 1) >= 0 else _AWAY[axis]
        words.append(f"{letter} {abs(value):.1f}")
    return "  ".join(words) + " mm"
