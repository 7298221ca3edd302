"""Scans, what is known of them, and the scale that maps their intensities to model units.

Arrays are (x, y, z) in the order of the file; nothing is flipped or transposed on the way
in. Orientation lives in the affine, which maps voxel indices to RAS+ millimetres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crl_core.errors import GridError, InputError, ParameterError
from crl_core.sequence import SequenceParameters

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

Certainty = Literal["stated", "nominal", "estimated", "given"]
"""How a parameter is known: stated by the file, assumed, fitted from data, or typed by the user."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one value was read and how certain it is."""

    where: str
    certainty: Certainty = "stated"


@dataclass(frozen=True, eq=False)
class Scan:
    """One acquired volume.

    Parameters
    ----------
    data
        Intensities as acquired, float32, (x, y, z); a single slice has a length of 1 on one axis.
    affine
        4x4, voxel indices to RAS+ millimetres.
    name
        What to call it on screen; never a patient's name.
    parameters
        TR, TE, TI, or None where the file does not say.
    origins
        For each of ``"tr"``, ``"te"``, ``"ti"`` that is known, where it was read.
    path
        The file it came from.
    orientation_stated
        False where the affine is a guess, so that no side may be labelled left or right.
    note
        One sentence a viewer should show beside the scan, such as how it was registered.
    synthetic
        True for an image that this program synthesised; such an image is never taken for an
        acquired one in training or evaluation.
    series
        Which of several scans at `path` this is, as ``--series`` takes it; ``""`` for a file
        that holds one.
    stated_scale, stated_mask
        The scale and head mask that preparation wrote beside the image, so that training, viewing
        and scoring use the same; worked out from the voxels where there are none.
    """

    data: FloatArray
    affine: NDArray[np.float64]
    name: str
    parameters: SequenceParameters | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict)
    path: Path | None = None
    orientation_stated: bool = True
    note: str = ""
    synthetic: bool = False
    series: str = ""

    stated_scale: IntensityScale | None = None
    stated_mask: BoolArray | None = None

    def __post_init__(self) -> None:
        if self.data.ndim != 3:
            raise InputError(
                f"the image has {self.data.ndim} dimensions where 3 are needed", path=self.path
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along x, y, z."""
        x, y, z = self.data.shape
        return (x, y, z)

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel along the three array axes, mm."""
        sizes = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return (float(sizes[0]), float(sizes[1]), float(sizes[2]))

    @cached_property
    def slice_axis(self) -> int:
        """The array axis along which slices were acquired.

        A stack of few slices defines it (less than a quarter of the voxels along either other
        axis); else the axis of the longest voxel edge when that is at least 1.2 times the
        others; else (isotropic) the axis closest to superior-inferior.
        """
        few, some, _ = sorted(self.shape)
        if few == 1 or 4 * few < some:
            return int(np.argmin(self.shape))
        sizes = np.array(self.voxel_size)
        order = np.argsort(sizes)
        if sizes[order[2]] >= 1.2 * sizes[order[1]]:
            return int(order[2])
        return int(np.argmax(np.abs(self.affine[2, :3]) / sizes))

    @property
    def n_slices(self) -> int:
        """Number of slices along `slice_axis`."""
        return self.shape[self.slice_axis]

    def slice(self, index: int, axis: int | None = None) -> FloatArray:
        """Return one slice as a 2-D view, the remaining axes in array order."""
        axis = self.slice_axis if axis is None else axis
        plane: FloatArray = np.take(self.data, index, axis=axis)
        return plane

    @cached_property
    def mask(self) -> BoolArray:
        """Foreground (head) mask, same shape as `data`; see `crl_core.preprocess.mask`."""
        from crl_core.preprocess.mask import head_mask

        if self.stated_mask is not None and self.stated_mask.shape == self.shape:
            return self.stated_mask
        return head_mask(self.data, slice_axis=self.slice_axis)

    @cached_property
    def scale(self) -> IntensityScale:
        """The scale of this volume under the program's own rule (`IntensityScale.robust`)."""
        if self.stated_scale is not None and self.stated_scale.rule == IntensityScale.ROBUST:
            return self.stated_scale
        return IntensityScale.robust(self.data, self.mask)

    @cached_property
    def range_scale(self) -> IntensityScale:
        """The scale of this volume under the paper's rule (`IntensityScale.minmax`)."""
        if self.stated_scale is not None and self.stated_scale.rule == IntensityScale.MINMAX:
            return self.stated_scale
        return IntensityScale.minmax(self.data)

    @property
    def nominal(self) -> bool:
        """Whether any of TR, TE, TI is assumed rather than stated."""
        return any(o.certainty in ("nominal", "estimated") for o in self.origins.values())

    def with_parameters(self, parameters: SequenceParameters, origin: Origin) -> Scan:
        """Return the same scan with its parameters replaced, all with one origin."""
        origins = dict.fromkeys(("tr", "te", "ti"), origin)
        return replace(self, parameters=parameters, origins=origins)

    def playable_parameters(self) -> SequenceParameters:
        """Return TR, TE, TI of a scan that is to serve as a source.

        Raises
        ------
        ParameterError
            When they are not known, or TR cannot hold TI and TE; names the file.
        """
        if self.parameters is None:
            raise ParameterError(
                "TR, TE and TI of this scan are not known",
                path=self.path,
                remedy="Give them with --source-params TR,TE,TI or in a BIDS sidecar",
            )
        try:
            self.parameters.check_order()
        except ParameterError as error:
            raise ParameterError(
                error.problem,
                path=self.path,
                remedy="Correct them with --source-params TR,TE,TI or in the BIDS sidecar",
            ) from None
        return self.parameters

    def same_grid(self, other: Scan, tolerance_mm: float = 1e-3) -> bool:
        """Return whether both scans have the same voxels in the same places."""
        if self.shape != other.shape:
            return False
        # The origin and one corner along each axis fix an affine map; fewer would not.
        x, y, z = self.shape
        corners = np.array([[0, 0, 0, 1], [x, 0, 0, 1], [0, y, 0, 1], [0, 0, z, 1]], float).T
        apart = np.abs(self.affine @ corners - other.affine @ corners).max()
        return bool(apart <= tolerance_mm)


@dataclass(frozen=True, slots=True)
class IntensityScale:
    """How acquired intensities map to model units and back: model = (value - offset) / scale.

    One per volume, never per slice, and written into every checkpoint and every export.
    """

    offset: float
    scale: float
    rule: str

    ROBUST = "p99.5 in head mask, zero kept"
    MINMAX = "volume minimum to maximum"

    @classmethod
    def robust(cls, data: FloatArray, mask: BoolArray) -> IntensityScale:
        """Scale so that the 99.5th percentile inside the head mask becomes 1; zero stays zero.

        Zero must stay zero because the signal equation has a true zero.

        Raises
        ------
        InputError
            When the image is empty.
        """
        inside = data[mask] if mask.any() else data.ravel()
        top = float(np.percentile(inside, 99.5))
        if not np.isfinite(top) or top <= 0:
            raise InputError("the image holds no signal", remedy="Choose another scan")
        return cls(0.0, top, cls.ROBUST)

    @classmethod
    def minmax(cls, data: FloatArray) -> IntensityScale:
        """Scale the volume's minimum to 0 and its maximum to 1, as the authors' code expects."""
        low, high = float(data.min()), float(data.max())
        if not high > low:
            raise InputError("the image holds one single value", remedy="Choose another scan")
        return cls(low, high - low, cls.MINMAX)

    def to_model(self, data: FloatArray) -> FloatArray:
        """Map acquired intensities to model units."""
        return ((data - np.float32(self.offset)) / np.float32(self.scale)).astype(np.float32)

    def to_source(self, data: FloatArray) -> FloatArray:
        """Map model units back to acquired intensities."""
        return (data * np.float32(self.scale) + np.float32(self.offset)).astype(np.float32)

    def as_dict(self) -> dict[str, Any]:
        """Return the scale as plain values for a sidecar or a card."""
        return {"offset": self.offset, "scale": self.scale, "rule": self.rule}

    @classmethod
    def from_dict(cls, fields: object) -> IntensityScale | None:
        """Read what `as_dict` returned; None where that is not what `fields` hold."""
        if not isinstance(fields, Mapping):
            return None
        offset, scale, rule = (fields.get(key) for key in ("offset", "scale", "rule"))
        for value in (offset, scale):
            if isinstance(value, bool) or not isinstance(value, int | float):
                return None
        assert isinstance(offset, int | float)
        assert isinstance(scale, int | float)
        if not (np.isfinite(offset) and np.isfinite(scale) and scale > 0):
            return None
        return cls(float(offset), float(scale), rule) if rule in (cls.ROBUST, cls.MINMAX) else None


@dataclass(frozen=True)
class Subject:
    """The co-registered scans of one person, all on one grid."""

    name: str
    scans: Sequence[Scan]

    def __post_init__(self) -> None:
        for scan in self.scans[1:]:
            if not scan.same_grid(self.scans[0]):
                raise GridError(
                    f"'{scan.name}' lies on another grid than '{self.scans[0].name}'",
                    path=scan.path,
                    remedy="Resample one onto the other first",
                )
