"""N4 and registration by ANTs, through the package antspyx (Apache-2.0), an optional extra.

The settings are those of the default backend; only the library differs. It is told one seed and,
where this module is the first to load it, to use one thread, because its threads add numbers in
an order that differs from run to run.
"""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crl_core.errors import Cancelled
from crl_core.preprocess import backends
from crl_core.preprocess.backends import (
    MATTES_BINS,
    SEED,
    Affine,
    Cancel,
    Level,
    TransformKind,
    Volume,
    shrunk,
)
from crl_core.scan import BoolArray, FloatArray

_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_ITERATIONS = 100
_NAMES = {"rigid": "Rigid", "affine": "Affine"}


class Ants:
    """The backend that the paper used."""

    name = "ANTs"

    def __init__(self) -> None:
        _ants()

    @property
    def version(self) -> str:
        """Version of antspyx."""
        return importlib.metadata.version("antspyx")

    def log_bias(
        self, data: FloatArray, voxel_mm: NDArray[np.float64], mask: BoolArray, cancelled: Cancel
    ) -> FloatArray:
        """See `crl_core.preprocess.backends.Backend.log_bias`; cancelled before or after."""
        _stop_if(cancelled)
        flat = tuple(axis for axis, n in enumerate(data.shape) if n == 1)
        spacing = [float(v) for axis, v in enumerate(voxel_mm) if axis not in flat]
        image = _ants().from_numpy(np.squeeze(data, flat).astype(np.float32), spacing=spacing)
        inside = _ants().from_numpy(np.squeeze(mask, flat).astype(np.float32), spacing=spacing)
        field = _ants().n4_bias_field_correction(
            image,
            mask=inside,
            rescale_intensities=False,
            shrink_factor=1,
            convergence={
                "iters": [backends.N4_ITERATIONS] * backends.N4_LEVELS,
                "tol": backends.N4_TOLERANCE,
            },
            # Elements of a cubic spline: one fewer per axis than control points beyond its order.
            spline_param=[backends.N4_CONTROL_POINTS - 3] * len(spacing),
            return_bias_field=True,
        ).numpy()
        _stop_if(cancelled)
        log = np.log(np.maximum(field, np.finfo(np.float32).tiny))
        return np.ascontiguousarray(np.expand_dims(log, flat), dtype=np.float32)

    def register(
        self,
        fixed: Volume,
        moving: Volume,
        mask: BoolArray,
        start: Affine,
        kind: TransformKind,
        level: Level,
        cancelled: Cancel,
    ) -> Affine:
        """See `crl_core.preprocess.backends.Backend.register`; cancelled before or after."""
        _stop_if(cancelled)
        small = shrunk(fixed, level.voxel_mm)
        inside = shrunk(Volume(mask.astype(np.float32), fixed.affine), level.voxel_mm).data > 0.5
        smooth = shrunk(moving, level.voxel_mm, keep_grid=True)
        share = min(1.0, level.samples / max(1, int(inside.sum())))
        with tempfile.TemporaryDirectory(prefix="crl-") as folder:
            first = Path(folder) / "start.mat"
            _ants().write_transform(_transform(start, kind), str(first))
            found = _ants().registration(
                _image(small.data, small.affine),
                _image(smooth.data, smooth.affine),
                type_of_transform=_NAMES[kind],
                initial_transform=[str(first)],
                outprefix=str(Path(folder) / "found"),
                mask=_image(inside.astype(np.float32), small.affine),
                aff_metric="mattes",
                aff_sampling=MATTES_BINS,
                aff_random_sampling_rate=share,
                aff_iterations=(_ITERATIONS,),
                aff_shrink_factors=(1,),
                aff_smoothing_sigmas=(0,),
                random_seed=SEED,
                singleprecision=False,
            )
            matrix = _matrix([_ants().read_transform(name) for name in found["fwdtransforms"]])
        _stop_if(cancelled)
        return matrix


def _ants() -> Any:
    """Import the library; how many threads it uses is read once, when it is loaded."""
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
    import ants

    return ants


def _stop_if(cancelled: Cancel) -> None:
    if cancelled():
        raise Cancelled("the preparation was cancelled")


def _image(data: FloatArray, affine: Affine) -> Any:
    lps = _TO_LPS @ affine
    edges = np.linalg.norm(lps[:3, :3], axis=0)
    return _ants().from_numpy(
        np.ascontiguousarray(data, dtype=np.float32),
        origin=lps[:3, 3].tolist(),
        spacing=edges.tolist(),
        direction=lps[:3, :3] / edges,
    )


def _transform(matrix: Affine, kind: TransformKind) -> Any:
    lps = _TO_LPS @ matrix @ _TO_LPS
    linear = lps[:3, :3]
    if kind == "rigid":
        u, _, v = np.linalg.svd(linear)
        linear = u @ v
    parameters = [*linear.ravel().tolist(), *lps[:3, 3].tolist()]
    return _ants().create_ants_transform(
        transform_type="AffineTransform",
        precision="double",
        dimension=3,
        parameters=parameters,
        fixed_parameters=[0.0, 0.0, 0.0],
    )


def _matrix(transforms: list[Any]) -> Affine:
    """Return the matrix of a chain of transforms; the library applies the last of a list first."""
    corners = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
    ends = []
    for corner in corners:
        point = corner
        for transform in reversed(transforms):
            point = transform.apply_to_point(point)
        ends.append(point)
    where = np.array(ends, dtype=float)
    lps = np.eye(4)
    lps[:3, :3] = (where[1:] - where[0]).T
    lps[:3, 3] = where[0]
    return np.asarray(_TO_LPS @ lps @ _TO_LPS)
