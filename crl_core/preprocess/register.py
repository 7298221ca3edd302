"""Registration of two scans of one head, in three dimensions.

What is found is a map of world coordinates, so that resampling can be done once, straight from the
voxels as acquired. A result that no two scans of one head can need is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crl_core.errors import GridError
from crl_core.preprocess.backends import Backend, Cancel, Image, Kind, Matrix, open_backend
from crl_core.preprocess.resample import SplineOrder, resample_to
from crl_core.scan import BoolArray, FloatArray, Scan

MAX_TURN_DEGREES = 40.0
MAX_SHIFT_MM = 120.0
MAX_STRETCH = 1.2
"""Limits of what is believed: heads move, scanners' gradients are off by a few percent."""

_LITTLE = 0.25
"""Of a voxel: below this displacement scans on one grid are left where they are."""


@dataclass(frozen=True, eq=False)
class Transform:
    """Where a scan lies against another.

    Parameters
    ----------
    matrix
        4x4, world of the fixed scan to world of the moving one, RAS+ mm.
    kind
        ``"rigid"``, ``"affine"`` or ``"none"``.
    backend, version
        The library that found it.
    displacement
        Mean and largest distance that points of the fixed head are moved, mm.
    """

    matrix: Matrix
    kind: str
    backend: str
    version: str
    displacement: tuple[float, float]

    @classmethod
    def none(cls) -> Transform:
        """The scanner's own coordinates."""
        return cls(np.eye(4), "none", "", "", (0.0, 0.0))

    @property
    def turn(self) -> float:
        """Angle of the rotation, degrees."""
        u, _, v = np.linalg.svd(self.matrix[:3, :3])
        return float(np.degrees(np.arccos(np.clip((np.trace(u @ v) - 1) / 2, -1, 1))))

    @property
    def stretch(self) -> float:
        """Largest change of a length, as a factor of 1 or above."""
        lengths = np.linalg.svd(self.matrix[:3, :3], compute_uv=False)
        return float(max(lengths.max(), 1 / max(lengths.min(), 1e-9)))

    def __str__(self) -> str:
        mean, most = self.displacement
        return f"moved by {mean:.1f} mm on average, {most:.1f} mm at most, turned {self.turn:.1f}°"

    def as_dict(self) -> dict[str, Any]:
        """Return what a sidecar should keep."""
        return {
            "Step": "registration",
            "Method": self.kind,
            "Software": self.backend,
            "Version": self.version,
            "Metric": "Mattes mutual information",
            "MeanDisplacementMillimetres": round(self.displacement[0], 3),
            "LargestDisplacementMillimetres": round(self.displacement[1], 3),
            "RotationDegrees": round(self.turn, 3),
        }


def image_of(scan: Scan, data: FloatArray | None = None) -> Image:
    """Return a scan as backends take it, with other voxels if given."""
    voxels = np.abs(scan.data if data is None else data)
    return Image(np.asarray(voxels, np.float32), scan.affine, scan.mask)


def find_transform(
    fixed: Image,
    moving: Image,
    *,
    kind: Kind = "rigid",
    backend: Backend | None = None,
    cancelled: Cancel = lambda: False,
) -> Transform:
    """Find how a scan lies against another of the same head.

    Parameters
    ----------
    fixed, moving
        The two scans; their contrasts may differ.
    kind
        ``"rigid"`` or ``"affine"``.
    backend
        SimpleITK where none is given.
    cancelled
        Asked between iterations.

    Raises
    ------
    GridError
        When what was found cannot be true.
    Cancelled
        When `cancelled` said so.
    """
    backend = backend or open_backend("simpleitk")
    matrix = backend.register(fixed, moving, kind, cancelled)
    moved = displacement(matrix, fixed.affine, fixed.mask)
    found = Transform(matrix, kind, backend.name, backend.version, moved)
    shift = float(np.linalg.norm((matrix @ [*fixed.centre, 1.0])[:3] - fixed.centre))
    if found.turn > MAX_TURN_DEGREES or shift > MAX_SHIFT_MM or found.stretch > MAX_STRETCH:
        raise GridError(
            f"registration found a turn of {found.turn:.0f}°, a shift of {shift:.0f} mm and a "
            f"stretch of {100 * (found.stretch - 1):.0f} %, which two scans of one head do not need",
            remedy="Check that both show the same person, or go without registration",
        )
    return found


def displacement(matrix: Matrix, affine: Matrix, mask: BoolArray) -> tuple[float, float]:
    """Return the mean and the largest distance that a transform moves points of a head, mm."""
    inside = np.argwhere(mask) if mask.any() else np.argwhere(~mask)
    inside = inside[:: max(1, len(inside) // 5000)]
    world = affine @ np.c_[inside, np.ones(len(inside))].T
    apart = np.linalg.norm((matrix @ world - world)[:3], axis=0)
    return float(apart.mean()), float(apart.max())


def stays(transform: Transform, scan: Scan, like: Scan) -> bool:
    """Return whether a scan had better stay where it is: on that grid, and moved by next to nothing.

    A shift of a small part of a voxel is within the error of the registration, while interpolating
    would certainly blur.
    """
    edge = min(size for axis, size in enumerate(like.voxel_size) if axis != like.slice_axis)
    return scan.same_grid(like) and transform.displacement[1] < _LITTLE * edge


def moved(scan: Scan, transform: Transform) -> Scan:
    """Return a scan with the affine it would have had without the movement; no voxel changes."""
    return replace(scan, affine=np.linalg.inv(transform.matrix) @ scan.affine)


def register_scan(
    moving: Scan,
    fixed: Scan,
    *,
    kind: Kind = "rigid",
    order: SplineOrder = 1,
    backend: Backend | None = None,
    cancelled: Cancel = lambda: False,
) -> Scan:
    """Return a scan registered to another and sampled on its grid, once.

    Parameters
    ----------
    moving, fixed
        Two scans of one head.
    kind
        ``"rigid"`` or ``"affine"``.
    order
        Spline order of the resampling.
    backend
        SimpleITK where none is given.
    cancelled
        Asked between iterations.

    Raises
    ------
    GridError
        When no believable transform is found, or the scans do not overlap.
    Cancelled
        When `cancelled` said so.
    """
    if min(fixed.shape) < 4 or min(moving.shape) < 4:
        raise GridError(
            "a single slice cannot be registered in three dimensions",
            path=moving.path,
            remedy="Choose volumes of at least four slices",
        )
    found = find_transform(
        image_of(fixed), image_of(moving), kind=kind, backend=backend, cancelled=cancelled
    )
    note = " ".join(filter(None, (moving.note, f"Registered, {kind}: {found}.")))
    if stays(found, moving, fixed):
        return replace(moving, note=note)
    sampled = resample_to(moved(moving, found), fixed, order)
    return replace(sampled, note=note)
