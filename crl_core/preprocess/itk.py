"""N4 and registration by SimpleITK.

Everything runs on one thread with fixed seeds: the same input gives the same numbers, and
subjects, not voxels, are shared among the cores.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import SimpleITK as sitk
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
"""The library counts towards left and posterior."""

_UNIT_MM = 80.0
"""Lengths are handed over in units of about a head's radius. A radian of turning then moves the
scalp by about one unit, and the optimiser may weigh turning, shearing and shifting alike."""

_STEP = 0.25
_LAST_STEP_MM = 0.005
_ITERATIONS = 80
"""First step as a fraction of the voxel, the step at which the search ends, and a limit."""


class SimpleItk:
    """The default backend."""

    name = "SimpleITK"

    @property
    def version(self) -> str:
        """Version of the library."""
        return str(sitk.Version_VersionString())

    def log_bias(
        self, data: FloatArray, voxel_mm: NDArray[np.float64], mask: BoolArray, cancelled: Cancel
    ) -> FloatArray:
        """See `crl_core.preprocess.backends.Backend.log_bias`."""
        flat = [axis for axis, n in enumerate(data.shape) if n == 1]
        image = _array(np.squeeze(data, tuple(flat)), np.float32)
        inside = _array(np.squeeze(mask, tuple(flat)), np.uint8)
        sizes = [float(v) for axis, v in enumerate(voxel_mm) if axis not in flat]
        image.SetSpacing(sizes)
        inside.SetSpacing(sizes)
        n4 = sitk.N4BiasFieldCorrectionImageFilter()
        n4.SetNumberOfThreads(1)
        n4.SetMaximumNumberOfIterations([backends.N4_ITERATIONS] * backends.N4_LEVELS)
        n4.SetConvergenceThreshold(backends.N4_TOLERANCE)
        n4.SetNumberOfControlPoints([backends.N4_CONTROL_POINTS] * image.GetDimension())
        watch = _Watch(n4, cancelled, n4.Abort)
        with _one_thread():
            try:
                n4.Execute(image, inside)
            except RuntimeError:
                watch.settle()
                raise
            watch.settle()
            found = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).T
        return np.ascontiguousarray(np.expand_dims(found, tuple(flat)), dtype=np.float32)

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
        """See `crl_core.preprocess.backends.Backend.register`."""
        small = shrunk(fixed, level.voxel_mm)
        inside = shrunk(Volume(mask.astype(np.float32), fixed.affine), level.voxel_mm).data > 0.5
        method: Any = sitk.ImageRegistrationMethod()
        method.SetNumberOfThreads(1)
        method.SetMetricAsMattesMutualInformation(MATTES_BINS)
        method.SetMetricFixedMask(_image(inside.astype(np.uint8), small.affine))
        # Taking every n-th voxel of a row would sample the same few columns of every slice.
        method.SetMetricSamplingStrategy(method.RANDOM)
        share = level.samples / max(1, int(inside.sum()))
        method.SetMetricSamplingPercentage(min(1.0, share), SEED)
        # The gradient filter that is on by default blurs the plane by the slice thickness.
        method.MetricUseFixedImageGradientFilterOff()
        method.MetricUseMovingImageGradientFilterOff()
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(
            _STEP * level.voxel_mm / _UNIT_MM, _LAST_STEP_MM / _UNIT_MM, _ITERATIONS, 0.5, 1e-10
        )
        transform = _transform(start, kind, _centre(inside, small.affine))
        method.SetInitialTransform(transform, inPlace=True)
        watch = _Watch(method, cancelled, method.StopRegistration)
        smooth = shrunk(moving, level.voxel_mm, keep_grid=True)
        images = _image(small.data, small.affine), _image(smooth.data, smooth.affine)
        with _one_thread():
            method.Execute(*images)
        watch.settle()
        return _matrix(transform)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let everything inside the library add its numbers in one order.

    The number of threads of a filter does not reach what works inside it, whose sums then differ
    in the last digits from run to run.
    """
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


class _Watch:
    """Ends a filter early when it is no longer wanted.

    An exception must not cross the library, so an interrupt from the keyboard is kept and
    raised afterwards.
    """

    def __init__(self, process: Any, cancelled: Cancel, stop: Any) -> None:
        self._cancelled = cancelled
        self._stop = stop
        self._found: BaseException | None = None
        process.AddCommand(sitk.sitkIterationEvent, self._look)

    def _look(self) -> None:
        try:
            if self._found is None and self._cancelled():
                self._found = Cancelled("the preparation was cancelled")
        except BaseException as error:
            self._found = error
        if self._found is not None:
            self._stop()

    def settle(self) -> None:
        """Raise what was met on the way."""
        if self._found is not None:
            raise self._found


def _array(data: NDArray[Any], dtype: type) -> Any:
    return sitk.GetImageFromArray(np.ascontiguousarray(data.T.astype(dtype)))


def _image(data: NDArray[Any], affine: Affine) -> Any:
    """Return an image of the library, lengths in head radii."""
    lps = _TO_LPS @ affine
    edges = np.linalg.norm(lps[:3, :3], axis=0)
    image = _array(data, data.dtype.type)
    image.SetSpacing((edges / _UNIT_MM).tolist())
    image.SetOrigin((lps[:3, 3] / _UNIT_MM).tolist())
    image.SetDirection((lps[:3, :3] / edges).ravel().tolist())
    return image


def _centre(mask: BoolArray, affine: Affine) -> NDArray[np.float64]:
    """Return the middle of a mask in the library's space; of the grid where it is empty."""
    where = np.argwhere(mask).mean(axis=0) if mask.any() else (np.array(mask.shape) - 1) / 2
    return np.asarray((_TO_LPS @ affine @ [*where, 1.0])[:3] / _UNIT_MM)


def _transform(matrix: Affine, kind: TransformKind, centre: NDArray[np.float64]) -> Any:
    lps = _TO_LPS @ matrix @ _TO_LPS
    linear, shift = lps[:3, :3], lps[:3, 3] / _UNIT_MM
    transform: Any
    if kind == "rigid":
        # The nearest rotation: rounding must not make the library refuse the matrix.
        u, _, v = np.linalg.svd(linear)
        linear = u @ v
        transform = sitk.Euler3DTransform()
    else:
        transform = sitk.AffineTransform(3)
    transform.SetCenter(centre.tolist())
    transform.SetMatrix(linear.ravel().tolist())
    transform.SetTranslation((linear @ centre + shift - centre).tolist())
    return transform


def _matrix(transform: Any) -> Affine:
    corners = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
    ends = np.array([transform.TransformPoint(corner) for corner in corners])
    lps = np.eye(4)
    lps[:3, :3] = (ends[1:] - ends[0]).T
    lps[:3, 3] = ends[0] * _UNIT_MM
    return np.asarray(_TO_LPS @ lps @ _TO_LPS)
