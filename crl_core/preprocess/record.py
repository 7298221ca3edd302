"""How a scan was prepared, kept in its sidecar, and the way back to the scan as acquired."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from crl_core.errors import InputError
from crl_core.preprocess.backends import Affine
from crl_core.preprocess.resample import resample_to
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
        if self.shape[0] * self.shape[1] * self.shape[2] > 2**30:
            raise InputError("the sidecar declares a source grid that is too large")
        unread = np.broadcast_to(np.float32(0), self.shape)
        like = Scan(unread, self.affine, "the scan as acquired", stated_mask=unread > 0)
        back = resample_to(replace(image, affine=self.matrix @ image.affine), like, order=3)
        data = self.scale.to_source(back.data) if units == "source" else back.data
        return replace(back, data=data, note=image.note)
