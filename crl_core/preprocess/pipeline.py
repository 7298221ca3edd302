"""What is done to the scans of one person before a network sees them, and how to get back.

1. N4 estimates a bias field of each scan on its own grid.
2. Each scan is registered to one of them.
3. One resampling, straight from the voxels as acquired to the grid of the model.
4. The bias field is divided out on that grid.
5. One head mask for the person, where every scan has looked, and one scale per scan, worked out
   once and written down.

Intensities stay those of the scanner, so that the gain that scans of one session share survives;
the scale says how they become model units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from crl_core.errors import Cancelled, InputError
from crl_core.preprocess.alignment import Alignment, Registration3D
from crl_core.preprocess.backends import (
    Affine,
    Backend,
    BackendName,
    Cancel,
    Volume,
    open_backend,
)
from crl_core.preprocess.bias import BiasField, estimate_bias, shared_bias
from crl_core.preprocess.record import Record
from crl_core.preprocess.registration3d import align
from crl_core.preprocess.resample import sampled
from crl_core.scan import BoolArray, FloatArray, IntensityScale, Scan

Bias = Literal["n4", "n4-shared", "none"]
Intensity = Literal["robust", "minmax"]

DEFAULT_GRID = (192, 192)
_MARGIN = 1.1
"""The sides of the grid, as a multiple of the head's."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The choices.

    Parameters
    ----------
    grid
        Pixels along the two in-plane axes; None keeps the grid of the reference.
    registration
        How scans are laid on the reference.
    bias
        ``"n4"`` a field for each scan, as in the paper; ``"n4-shared"`` the mean of the fields
        for all scans of a person, where one coil saw them all and nothing evened them out.
    intensity
        ``"robust"``: the 99.5th percentile in the head mask becomes 1 and zero stays zero;
        ``"minmax"``: the paper's, the volume's minimum becomes 0 and its maximum 1.
    backend
        ``"simpleitk"`` or ``"ants"``.
    reference
        Part of the name of the scan the others come to; empty: see `choose_reference`.
    """

    grid: tuple[int, int] | None = DEFAULT_GRID
    registration: Registration3D = "rigid"
    bias: Bias = "n4"
    intensity: Intensity = "robust"
    backend: BackendName = "simpleitk"
    reference: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the choices as plain values."""
        return {
            "Grid": "native" if self.grid is None else list(self.grid),
            "Registration": self.registration,
            "BiasField": self.bias,
            "Intensity": self.intensity,
            "Backend": self.backend,
            "Reference": self.reference or "chosen",
        }


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan on the model's grid, with its record and the file it came from."""

    scan: Scan
    record: Record
    source_path: Path | None = None


@dataclass(frozen=True, eq=False)
class PreparedPerson:
    """All scans of one person, and the reasons why some are missing."""

    scans: tuple[Prepared, ...]
    left_out: tuple[str, ...]


class Pipeline:
    """Prepares the scans of one person.

    Parameters
    ----------
    recipe
        The choices.

    Raises
    ------
    CRLError
        When the backend is unknown or not installed.
    """

    def __init__(self, recipe: Recipe | None = None) -> None:
        self.recipe = recipe or Recipe()
        self.backend: Backend = open_backend(self.recipe.backend)

    def run(
        self,
        scans: Sequence[Scan],
        *,
        cancelled: Cancel = lambda: False,
    ) -> PreparedPerson:
        """Prepare the scans.

        Parameters
        ----------
        scans
            Acquired scans of one person.
        cancelled
            Asked now and then.

        Raises
        ------
        InputError
            When no scan fits `Recipe.reference`.
        Cancelled
            When `cancelled` said so.
        """
        reference = choose_reference(scans, self.recipe.reference)
        like = grid_of(reference, self.recipe.grid)
        found: list[_Found] = []
        for scan in scans:
            _stop_if(cancelled)
            found.append(_Found(scan, self._bias(scan, cancelled)))
        fixed = next(one for one in found if one.scan is reference)
        placed: list[_Placed] = []
        left_out: list[str] = []
        for one in found:
            _stop_if(cancelled)
            alignment = self._align(one, fixed, cancelled)
            if alignment.problem:
                left_out.append(f"{one.scan.name}, {alignment.problem}")
            else:
                placed.append(_Placed.on(like, one, alignment))
        return PreparedPerson(self._finish(placed, like, reference), tuple(left_out))

    def _bias(self, scan: Scan, cancelled: Cancel) -> BiasField | None:
        if self.recipe.bias == "none":
            return None
        volume = Volume(np.abs(scan.data), scan.affine)
        return estimate_bias(volume, scan.mask, scan.slice_axis, self.backend, cancelled)

    def _align(self, one: _Found, fixed: _Found, cancelled: Cancel) -> Alignment:
        kind = "none" if one is fixed else self.recipe.registration
        return align(
            one.corrected,
            fixed.corrected,
            kind=kind,
            moving_mask=one.scan.mask,
            fixed_mask=fixed.scan.mask,
            backend=self.backend,
            cancelled=cancelled,
        )

    def _finish(
        self, placed: Sequence[_Placed], like: Scan, reference: Scan
    ) -> tuple[Prepared, ...]:
        """Divide out the field, then work out mask and scale once."""
        fields = [p.field for p in placed if p.field is not None]
        shared = shared_bias(fields) if fields and self.recipe.bias == "n4-shared" else None
        done = [(p, p.without(shared or p.field)) for p in placed]
        mask = next(
            replace(p.source, data=data, affine=like.affine, stated_mask=None).mask
            for p, data in done
            if p.source is reference
        )
        # Where one scan saw nothing there is nothing to learn or to score.
        mask = np.logical_and.reduce([mask, *(p.covered for p in placed)])
        return tuple(self._describe(p, data, mask, like, len(placed)) for p, data in done)

    def _describe(
        self, p: _Placed, data: FloatArray, mask: BoolArray, like: Scan, voices: int
    ) -> Prepared:
        robust = self.recipe.intensity == "robust"
        scale = IntensityScale.robust(data, mask) if robust else IntensityScale.minmax(data)
        scan = replace(
            p.source, data=data, affine=like.affine.copy(), path=None, note="",
            stated_scale=scale, stated_mask=mask,
        )  # fmt: skip
        steps = [*self._bias_step(p, voices), *self._placing_steps(p, like)]
        steps.append({"Step": "intensity", "Rule": scale.rule})
        source = p.source
        record = Record(source.shape, source.affine, p.alignment.matrix, scale, tuple(steps))
        return Prepared(scan, record, source.path)

    def _bias_step(self, p: _Placed, voices: int) -> list[dict[str, Any]]:
        if p.field is None:
            return []
        return [
            {
                "Step": "bias field",
                "Method": "N4",
                "Software": self.backend.name,
                "Version": self.backend.version,
                "FieldsAveraged": voices if self.recipe.bias == "n4-shared" else 1,
                "OwnFieldRange": [round(v, 4) for v in p.field.range],
            }
        ]

    def _placing_steps(self, p: _Placed, like: Scan) -> list[dict[str, Any]]:
        found = p.alignment
        steps: list[dict[str, Any]] = []
        if self.recipe.registration != "none":
            steps.append(
                {
                    "Step": "registration",
                    "Method": found.kind,
                    "Software": self.backend.name,
                    "Version": self.backend.version,
                    "Start": found.start,
                    "NormalisedMutualInformation": round(found.score, 4),
                    "BeforeRegistration": round(found.score_before, 4),
                    "MovedMillimetres": [round(v, 3) for v in found.moved_mm],
                    "RotationDegrees": round(found.rotation, 3),
                    "Remark": found.remark,
                }
            )
        steps.append(
            {
                "Step": "resampling",
                "Method": "cubic spline, once",
                "Grid": "native" if self.recipe.grid is None else list(like.shape),
                "VoxelMillimetres": [round(v, 4) for v in like.voxel_size],
            }
        )
        return steps


@dataclass(frozen=True, eq=False)
class _Found:
    """A scan and its bias field, on its own grid."""

    scan: Scan
    field: BiasField | None

    @property
    def corrected(self) -> Volume:
        """The magnitude without bias, for registration."""
        data = np.abs(self.scan.data)
        if self.field is not None:
            data = data / self.field.on(self.scan.shape, self.scan.affine)
        return Volume(np.asarray(data, dtype=np.float32), self.scan.affine)


@dataclass(frozen=True, eq=False)
class _Placed:
    """A scan sampled on the grid of the model, and its field there."""

    source: Scan
    data: FloatArray
    covered: BoolArray
    affine: Affine
    field: BiasField | None
    alignment: Alignment

    @classmethod
    def on(cls, like: Scan, one: _Found, alignment: Alignment) -> _Placed:
        scan = one.scan
        to_source = np.linalg.inv(scan.affine) @ alignment.matrix @ like.affine
        # The same voxels in the same places need no interpolation.
        if scan.shape == like.shape and np.allclose(to_source, np.eye(4), atol=1e-6):
            data, covered = scan.data, np.ones(like.shape, dtype=bool)
        else:
            data, covered = sampled(scan.data, to_source, like.shape, order=3)
        field = one.field
        if field is not None:
            volume = Volume(data, like.affine)
            field = field.moved(alignment.matrix, volume, like.slice_axis)
        return cls(scan, data, covered, like.affine, field, alignment)

    def without(self, field: BiasField | None) -> FloatArray:
        """Return the image without a field."""
        if field is None:
            return np.asarray(self.data, dtype=np.float32)
        x, y, z = self.data.shape
        return np.asarray(self.data / field.on((x, y, z), self.affine), dtype=np.float32)


def _stop_if(cancelled: Cancel) -> None:
    if cancelled():
        raise Cancelled("the preparation was cancelled")


def choose_reference(scans: Sequence[Scan], wanted: str = "") -> Scan:
    """Return the scan that the others come to.

    The grid that most scans share wins; then the one that covers most along the slices; then the
    first.

    Parameters
    ----------
    scans
        At least one.
    wanted
        Part of its name; empty leaves the choice to the rule.

    Raises
    ------
    InputError
        When no scan's name holds `wanted`.
    """
    if wanted:
        for scan in scans:
            if wanted.lower() in scan.name.lower():
                return scan
        names = ", ".join(scan.name for scan in scans)
        raise InputError(f"no scan is named '{wanted}'", remedy=f"There are {names}")

    def rank(scan: Scan) -> tuple[int, float]:
        alike = sum(scan.same_grid(other) for other in scans)
        return alike, scan.n_slices * scan.voxel_size[scan.slice_axis]

    return max(scans, key=rank)


def grid_of(reference: Scan, grid: tuple[int, int] | None) -> Scan:
    """Return an empty scan with the grid to be sampled on.

    Slices stay those of the reference. In the plane pixels are square, centred on the head, wide
    enough for it with a margin, and never finer than the reference's own.
    """
    if grid is None:
        return replace(reference, stated_scale=None)
    axis = reference.slice_axis
    plane = [a for a in range(3) if a != axis]
    inside = np.argwhere(reference.mask) if reference.mask.any() else np.argwhere(~reference.mask)
    low, high = inside.min(axis=0), inside.max(axis=0)
    sizes = reference.voxel_size
    extent = [(high[a] - low[a] + 1) * sizes[a] * _MARGIN for a in plane]
    needed = [side / count for side, count in zip(extent, grid, strict=True)]
    pixel = max(*needed, *(sizes[a] for a in plane))
    shape = list(reference.shape)
    affine = reference.affine.copy()
    first = np.zeros(3)
    for a, count in zip(plane, grid, strict=True):
        shape[a] = count
        affine[:3, a] *= pixel / sizes[a]
        # The middle of the new row lies on the middle of the head.
        first[a] = (low[a] + high[a]) / 2 - (count - 1) / 2 * pixel / sizes[a]
    affine[:3, 3] = reference.affine[:3, :3] @ first + reference.affine[:3, 3]
    return Scan(np.broadcast_to(np.float32(0), tuple(shape)), affine, reference.name)
