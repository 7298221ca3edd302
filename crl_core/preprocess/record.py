"""How a scan was prepared, kept in its sidecar, and the way back to the scan as acquired."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from crl_core.errors import GridError, InputError
from crl_core.io.nifti import MAX_VOXELS
from crl_core.preprocess.backends import Affine
from crl_core.preprocess.resample import sampled
from crl_core.scan import IntensityScale, Scan


@dataclass(frozen=True, eq=False)
class Record:
    """How one scan was prepared: enough to take an image back to its own grid and scale.

    Parameters
    ----------
    shape, affine
        The scan's own grid.
    matrix
        4x4, world of the prepared grid to world of the scan, RAS+ mm.
    scale
        Acquired (bias corrected) intensities to model units.
    steps
        What was done, in order.
    """

    shape: tuple[int, int, int]
    affine: Affine
    matrix: Affine
    scale: IntensityScale
    steps: tuple[dict[str, Any], ...]

    def as_fields(self) -> dict[str, Any]:
        """Return what goes into the sidecar."""
        return {
            "Preprocessing": list(self.steps),
            "SourceGrid": {"Shape": list(self.shape), "Affine": self.affine.tolist()},
            "SourceTransform": self.matrix.tolist(),
            "IntensityScale": self.scale.as_dict(),
        }

    @classmethod
    def from_fields(cls, fields: Any) -> Record | None:
        """Read what `as_fields` returned; None where the sidecar holds no such thing."""
        try:
            grid = fields["SourceGrid"]
            shape = tuple(int(n) for n in grid["Shape"])
            affine, matrix = (
                np.array(m, dtype=float) for m in (grid["Affine"], fields["SourceTransform"])
            )
        except (KeyError, TypeError, ValueError):
            return None
        scale = IntensityScale.from_dict(fields.get("IntensityScale"))
        usable = affine.shape == matrix.shape == (4, 4) and np.isfinite([affine, matrix]).all()
        if scale is None or len(shape) != 3 or min(shape) < 1 or not usable:
            return None
        if min(abs(np.linalg.det(m[:3, :3])) for m in (affine, matrix)) < 1e-9:
            return None
        x, y, z = shape
        return cls((x, y, z), affine, matrix, scale, tuple(fields.get("Preprocessing", ())))

    def to_source(self, image: Scan, *, units: Literal["model", "source"] = "model") -> Scan:
        """Take an image on the prepared grid back to the scan's own grid.

        Parameters
        ----------
        image
            On the prepared grid, in model units.
        units
            ``"source"`` also turns model units into acquired intensities.

        Raises
        ------
        GridError
            When the two grids do not overlap.
        """
        if math.prod(self.shape) > MAX_VOXELS:
            raise InputError("the sidecar declares a source grid that is too large")
        to_image = np.linalg.inv(self.matrix @ image.affine) @ self.affine
        data, inside = sampled(image.data, to_image, self.shape, order=3)
        if not inside.any():
            raise GridError("the sidecar declares a source grid that lies somewhere else")
        if units == "source":
            data = self.scale.to_source(data)
        return replace(image, data=data, affine=self.affine.copy(), stated_mask=None)
