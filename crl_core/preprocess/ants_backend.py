"""N4 and registration with ANTs, as the paper did them; needs the extra ``ants``.

Imported only when asked for. ANTs' own random sampling is seeded, but its threads are not: results
of two runs may differ in the last digits.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ants
import numpy as np
from scipy.io import loadmat

from crl_core.errors import Cancelled, CRLError
from crl_core.preprocess.backends import Cancel, Image, Kind, Matrix
from crl_core.scan import FloatArray

_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SEED = 1


class ANTsBackend:
    """The paper's choice (N4, and ANTs for the affine registration)."""

    name = "ants"

    def __init__(self) -> None:
        self.version = version("antspyx")

    def log_bias(self, image: Image) -> FloatArray:
        """Estimate with ANTs' N4 inside the head."""
        mask = _image(image.mask.astype(np.float32), image.affine)
        found = ants.n4_bias_field_correction(
            _image(image.data, image.affine), mask=mask, shrink_factor=4, return_bias_field=True
        )
        field = np.log(np.maximum(found.numpy(), 1e-6))
        field -= field[image.mask].mean() if image.mask.any() else field.mean()
        return np.asarray(field, dtype=np.float32)

    def register(self, fixed: Image, moving: Image, kind: Kind, cancelled: Cancel) -> Matrix:
        """Run ANTs' rigid or affine registration; it cannot be stopped on its way.

        Raises
        ------
        Cancelled
            When `cancelled` said so before or after.
        """
        if cancelled():
            raise Cancelled("the registration was cancelled")
        with TemporaryDirectory() as folder:
            found = ants.registration(
                _image(fixed.data, fixed.affine),
                _image(moving.data, moving.affine),
                type_of_transform="Rigid" if kind == "rigid" else "Affine",
                outprefix=str(Path(folder) / "t"),
                random_seed=_SEED,
            )
            matrix = _read(found["fwdtransforms"])
        if cancelled():
            raise Cancelled("the registration was cancelled")
        return matrix


def _image(data: FloatArray, affine: Matrix) -> Any:
    lps = _TO_LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    u, _, v = np.linalg.svd(lps[:3, :3] / spacing)
    return ants.from_numpy(
        np.ascontiguousarray(data, dtype=np.float32),
        origin=lps[:3, 3].tolist(),
        spacing=spacing.tolist(),
        direction=u @ v,
    )


def _read(paths: list[str]) -> Matrix:
    """Read ITK's affine transform: x -> A (x - c) + t + c, in LPS."""
    if len(paths) != 1:
        raise CRLError(f"ANTs returned {len(paths)} transforms where one was expected")
    stored = loadmat(paths[0])
    values = next(v for k, v in stored.items() if k.startswith(("Affine", "Euler", "Matrix")))
    linear, shift = values[:9].reshape(3, 3), values[9:12].ravel()
    centre = stored["fixed"].ravel()
    lps = np.eye(4)
    lps[:3, :3] = linear
    lps[:3, 3] = shift + centre - linear @ centre
    return np.asarray(_TO_LPS @ lps @ _TO_LPS)
