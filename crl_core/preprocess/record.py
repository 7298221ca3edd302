"""What preparation wrote beside an image, and the way back to the scan as acquired.

The sidecar of a prepared image holds, beside the timing:

- ``Preprocessing``: the steps in order, each with its method, software, settings and findings;
- ``SourceGrid``: shape and affine of the scan as acquired;
- ``SourceTransform``: 4x4, from RAS+ mm of the prepared image to RAS+ mm of the scan as acquired;
- ``IntensityScale``: how its intensities become model units;
- ``HeadMask`` and ``BiasField``: names of files in the same folder.

Intensities of a prepared image are those of the scanner, divided by the bias field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crl_core.errors import InputError
from crl_core.io import nifti
from crl_core.preprocess.backends import Affine
from crl_core.preprocess.bias import BiasField
from crl_core.preprocess.resample import field_of_view, sampled
from crl_core.scan import BoolArray, FloatArray, IntensityScale, Scan

PREPARED_FIELD = "SourceTransform"
"""Sidecar field that every prepared image has and no other."""

_REMEDY = "Prepare the dataset again"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done to a scan.

    Parameters
    ----------
    name, method
        What was done and how.
    software
        Name and version of the library, where one did it.
    settings, found
        Plain values for the sidecar.
    """

    name: str
    method: str
    software: str
    settings: Mapping[str, Any]
    found: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the step as plain values."""
        fields: dict[str, Any] = {"Step": self.name, "Method": self.method}
        if self.software:
            fields["Software"] = self.software
        return {**fields, "Settings": dict(self.settings), "Found": dict(self.found)}


@dataclass(frozen=True, eq=False)
class Record:
    """How one scan was prepared.

    Parameters
    ----------
    shape, affine
        Grid of the scan as acquired.
    orientation_stated
        False where that affine was a guess.
    matrix
        4x4, RAS+ mm of the prepared image to RAS+ mm of the scan as acquired.
    scale
        How intensities of the prepared image become model units.
    steps
        What was done, in order, as plain values.
    """

    shape: tuple[int, int, int]
    affine: Affine
    orientation_stated: bool
    matrix: Affine
    scale: IntensityScale
    steps: Sequence[Mapping[str, Any]] = ()

    def as_fields(self) -> dict[str, Any]:
        """Return the fields of the sidecar."""
        return {
            "Preprocessing": [dict(step) for step in self.steps],
            "SourceGrid": {
                "Shape": list(self.shape),
                "Affine": self.affine.tolist(),
                "OrientationStated": self.orientation_stated,
            },
            PREPARED_FIELD: self.matrix.tolist(),
            "IntensityScale": self.scale.as_dict(),
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any], path: Path) -> Record:
        """Read what `as_fields` returned.

        Raises
        ------
        InputError
            When the image was not prepared, or its sidecar is damaged.
        """
        if PREPARED_FIELD not in fields:
            raise InputError(
                "was not prepared by this program, so its own grid is the only one known",
                path=path,
                remedy="Prepare its dataset with crl prepare first",
            )
        grid = fields.get("SourceGrid")
        scale = IntensityScale.from_dict(fields.get("IntensityScale"))
        if not isinstance(grid, Mapping) or scale is None:
            raise InputError("its sidecar lacks what preparation wrote", path=path, remedy=_REMEDY)
        steps = fields.get("Preprocessing")
        return cls(
            _shape(grid.get("Shape"), path),
            _matrix(grid.get("Affine"), path),
            grid.get("OrientationStated") is not False,
            _matrix(fields[PREPARED_FIELD], path),
            scale,
            tuple(s for s in steps if isinstance(s, Mapping)) if isinstance(steps, list) else (),
        )

    def seen(self, shape: tuple[int, int, int], affine: Affine) -> BoolArray:
        """Return which voxels of the prepared grid the scan has measured."""
        return field_of_view(np.linalg.inv(self.affine) @ self.matrix @ affine, self.shape, shape)

    def to_source(self, volume: FloatArray, affine: Affine) -> FloatArray:
        """Take a volume from the prepared grid to the grid of the scan as acquired.

        Parameters
        ----------
        volume
            On the prepared grid, in any unit.
        affine
            4x4, indices of the prepared grid to RAS+ mm.

        Returns
        -------
        volume
            float32 of `shape`; 0 where the prepared grid did not reach.
        """
        to_prepared = np.linalg.inv(affine) @ np.linalg.inv(self.matrix) @ self.affine
        return sampled(volume, to_prepared, self.shape, order=3)[0]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A prepared scan and the way back.

    Parameters
    ----------
    scan
        On the prepared grid, with `Scan.stated_scale` and `Scan.stated_mask`.
    record
        How it came about.
    bias
        The field that was divided out, in the space of the prepared grid; None where none was.
    """

    scan: Scan
    record: Record
    bias: BiasField | None = None

    @classmethod
    def read(cls, path: str | Path) -> Prepared:
        """Read a prepared image with its record and its bias field.

        Raises
        ------
        InputError
            When it was not prepared by this program, or a file is damaged.
        """
        from crl_core.io import ImageFile

        file = ImageFile.read(path)
        record = Record.from_fields(file.sidecar, file.path)
        name = file.sidecar.get("BiasField")
        bias = None
        if name is not None:
            found = nifti.read(beside(file.path, name))
            if not (found.data > 0).all():
                raise InputError("holds no bias field", path=file.path.parent / name, remedy=_REMEDY)
            bias = BiasField(np.log(found.data), found.affine)
        return cls(file.scan(), record, bias)

    def to_source(self, volume: FloatArray, *, with_bias: bool = False) -> Scan:
        """Take a volume back to the grid of the scan as acquired.

        Parameters
        ----------
        volume
            On the prepared grid, in model units or in intensities of the prepared image.
        with_bias
            Whether the bias field is put back, so that brightness compares with the scan as
            acquired.

        Returns
        -------
        Scan
            On the source's own grid, in the unit of `volume`; without parameters.

        Raises
        ------
        InputError
            When the field is wanted and none was divided out.
        """
        data = self.record.to_source(volume, self.scan.affine)
        if with_bias:
            if self.bias is None:
                raise InputError(
                    "no bias field was divided out of it",
                    path=self.scan.path,
                    remedy="Leave the bias field out",
                )
            place = np.linalg.inv(self.record.matrix) @ self.record.affine
            data = data * self.bias.on(self.record.shape, place)
        return Scan(
            data,
            self.record.affine.copy(),
            self.scan.name,
            path=self.scan.path,
            orientation_stated=self.record.orientation_stated,
        )


def with_stated(scan: Scan, fields: Mapping[str, Any]) -> Scan:
    """Return a scan read from a file with the scale and the head mask its sidecar states.

    Raises
    ------
    InputError
        When they are damaged or the mask lies on another grid.
    """
    assert scan.path is not None
    record = Record.from_fields(fields, scan.path)
    name = fields.get("HeadMask")
    if name is None:
        return replace(scan, stated_scale=record.scale)
    found = nifti.read(beside(scan.path, name))
    there = Scan(found.data, found.affine, "")
    if not there.same_grid(scan, tolerance_mm=1e-2):
        raise InputError(
            f"its head mask '{name}' lies on another grid", path=scan.path, remedy=_REMEDY
        )
    mask = (found.data > 0.5) & record.seen(scan.shape, scan.affine)
    return replace(scan, stated_scale=record.scale, stated_mask=mask)


def beside(image: Path, name: object) -> Path:
    """Return the path of a file a sidecar names, which must lie in the folder of the image.

    Raises
    ------
    InputError
        When the name leads elsewhere or is none.
    """
    if not isinstance(name, str) or Path(name).name != name or not nifti.is_nifti_name(name):
        raise InputError("its sidecar names a file elsewhere", path=image, remedy=_REMEDY)
    return image.parent / name


def _shape(value: object, path: Path) -> tuple[int, int, int]:
    whole = isinstance(value, list) and all(type(n) is int and n > 0 for n in value)
    if not whole or len(value) != 3 or np.prod(value, dtype=float) > nifti.MAX_VOXELS:
        raise InputError("its sidecar states no usable source grid", path=path, remedy=_REMEDY)
    x, y, z = value
    return (x, y, z)


def _matrix(value: object, path: Path) -> NDArray[np.float64]:
    try:
        matrix = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or (
        abs(np.linalg.det(matrix[:3, :3])) < 1e-9
    ):
        raise InputError("its sidecar states no usable transform", path=path, remedy=_REMEDY)
    return matrix
