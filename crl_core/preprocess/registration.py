"""Registration of two slices of one head that differ in contrast, within the plane.

The transform is a similarity: rotation, shift and one scale, the last because two series of
one session may have been reconstructed with slightly different pixel sizes. The measure is the
normalised mutual information of Studholme et al., Pattern Recognition 32:71 (1999),
``(H(A) + H(B)) / H(A, B)``, which asks only that intensities predict each other, not that they
are alike: one series may show bright what the other shows dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, optimize

FloatArray = NDArray[np.float32]
SplineOrder = Literal[0, 1, 2, 3, 4, 5]

_BINS = 48
_CLIP = (0.5, 99.5)
"""Percentiles between which intensities are spread over the bins."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """A rotation, a scale and a shift about the centre of a slice.

    Parameters
    ----------
    rotation
        Degrees; a positive angle turns what runs along the first array axis of the fixed slice
        towards the second axis in the moving one.
    shift
        Pixels along the two array axes of the fixed slice, added before turning.
    scale
        How much larger a distance is in the moving slice than in the fixed one.
    """

    rotation: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0

    def matrix(
        self, fixed: tuple[int, int], moving: tuple[int, int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (2x2, offset): pixel indices of the fixed slice to those of the moving one.

        Parameters
        ----------
        fixed, moving
            Shapes of the two slices; their centres correspond when the shift is zero.
        """
        angle = math.radians(self.rotation)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        linear = self.scale * turn
        centre_fixed = (np.array(fixed) - 1) / 2
        centre_moving = (np.array(moving) - 1) / 2
        return linear, centre_moving - linear @ (centre_fixed + np.array(self.shift))

    def apply(
        self, image: ArrayLike, shape: tuple[int, int] | None = None, order: SplineOrder = 1
    ) -> FloatArray:
        """Return a moving slice sampled on the fixed grid.

        Parameters
        ----------
        image
            Moving slice, 2-D. Other images of its series take the same transform.
        shape
            Shape of the fixed slice; that of `image` when left out.
        order
            Spline order, 1 linear or 3 cubic. Beyond the edge the image is zero.
        """
        moving = np.asarray(image, dtype=np.float32)
        fixed = _shape(moving) if shape is None else shape
        linear, offset = self.matrix(fixed, _shape(moving))
        return np.asarray(ndimage.affine_transform(moving, linear, offset, fixed, order=order))

    def __str__(self) -> str:
        return (
            f"{self.rotation:.2f}°, {self.shift[0]:.2f} and {self.shift[1]:.2f} px, "
            f"scale {self.scale:.4f}"
        )


@dataclass(frozen=True, eq=False)
class Registration:
    """What `register_inplane` found.

    Parameters
    ----------
    transform
        Maps the fixed grid into the moving slice.
    image
        The moving slice on the fixed grid, float32.
    score
        Normalised mutual information after registration, 1 (nothing shared) to 2.
    score_before
        The same without any transform.
    """

    transform: Similarity
    image: FloatArray
    score: float
    score_before: float


def register_inplane(
    moving: ArrayLike,
    fixed: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    max_rotation: float = 8.0,
    max_shift: float = 12.0,
    max_scale: float = 0.05,
    order: SplineOrder = 3,
) -> Registration:
    """Find the similarity that lays one slice on another of a different contrast.

    Several starting angles and shifts are searched on a coarse, smoothed copy; the best is
    refined at full resolution with Powell's method.

    Parameters
    ----------
    moving, fixed
        2-D magnitude images of the same head and level. Their shapes may differ.
    mask
        Where the fixed slice is looked at; everywhere when left out.
    max_rotation, max_shift, max_scale
        How far the search may go: degrees, pixels and fraction of one.
    order
        Spline order of the resulting image.

    Raises
    ------
    ValueError
        When an image is not 2-D, holds one single value, or the mask is empty.
    """
    target = np.asarray(fixed, dtype=np.float32)
    source = np.asarray(moving, dtype=np.float32)
    if target.ndim != 2 or source.ndim != 2:
        raise ValueError("both images must be 2-D slices")
    inside = np.ones(target.shape, bool) if mask is None else np.asarray(mask, dtype=bool)
    if inside.shape != target.shape or not inside.any():
        raise ValueError("the mask must have the shape of the fixed slice and not be empty")
    bounds = _Bounds(max_rotation, max_shift, max_scale)
    coarse = _measure(source, target, inside, sigma=3.0, step=4)
    fine = _measure(source, target, inside, sigma=1.0, step=1)
    starts = [
        np.array([angle, down, across, 0.0])
        for angle, down, across in product((-0.4, 0.0, 0.4), (-0.3, 0.0, 0.3), (-0.3, 0.0, 0.3))
    ]
    starts.sort(key=lambda p: -coarse(bounds.transform(p)))
    found = [_climb(coarse, p, bounds, tolerance=1e-3) for p in [*starts[:3], np.zeros(4)]]
    best = max(found, key=lambda p: coarse(bounds.transform(p)))
    transform = bounds.transform(_climb(fine, best, bounds, tolerance=2e-4))
    if fine(transform) < fine(Similarity()):
        transform = Similarity()
    return Registration(
        transform=transform,
        image=transform.apply(source, _shape(target), order),
        score=fine(transform),
        score_before=fine(Similarity()),
    )


def mutual_information(a: ArrayLike, b: ArrayLike, bins: int = _BINS) -> float:
    """Return the normalised mutual information of two sets of paired intensities.

    Parameters
    ----------
    a, b
        Paired values, same size.
    bins
        Bins per axis between the 0.5th and 99.5th percentile of each. A value is shared
        between its two neighbouring bins, which makes the measure smooth in a transform.

    Returns
    -------
    float
        1 where neither tells anything of the other, up to 2 where each determines the other.
    """
    at_a, at_b = (np.ravel(np.asarray(v, dtype=np.float32)) for v in (a, b))
    return _nmi(_Scale.of(at_a, bins).spread(at_a), _Scale.of(at_b, bins).spread(at_b), bins)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """The search box; coordinates run from -1 to 1 so that one step size suits all four."""

    rotation: float
    shift: float
    scale: float

    def transform(self, p: NDArray[np.float64]) -> Similarity:
        return Similarity(
            rotation=float(p[0]) * self.rotation,
            shift=(float(p[1]) * self.shift, float(p[2]) * self.shift),
            scale=1.0 + float(p[3]) * self.scale,
        )


@dataclass(frozen=True, slots=True)
class _Scale:
    """How intensities map to bins."""

    low: float
    step: float
    bins: int

    @classmethod
    def of(cls, values: NDArray[np.float32], bins: int) -> _Scale:
        low, high = (float(v) for v in np.percentile(values, _CLIP))
        if not high > low:
            low, high = float(values.min()), float(values.max())
        if not high > low:
            raise ValueError("an image holds one single value")
        return cls(low, (high - low) / (bins - 1), bins)

    def spread(self, values: NDArray[np.float32]) -> tuple[NDArray[np.intp], FloatArray]:
        """Return the lower of the two bins each value falls between, and the share above."""
        at = np.clip((values - self.low) / self.step, 0, self.bins - 1.001)
        lower = at.astype(np.intp)
        return lower, (at - lower).astype(np.float32)


def _nmi(
    a: tuple[NDArray[np.intp], FloatArray], b: tuple[NDArray[np.intp], FloatArray], bins: int
) -> float:
    (bin_a, share_a), (bin_b, share_b) = a, b
    joint = np.zeros(bins * bins)
    for da, weight_a in ((0, 1 - share_a), (1, share_a)):
        for db, weight_b in ((0, 1 - share_b), (1, share_b)):
            where = (bin_a + da) * bins + bin_b + db
            joint += np.bincount(where, weights=weight_a * weight_b, minlength=bins * bins)
    joint /= joint.sum()
    square = joint.reshape(bins, bins)
    together = entropy(joint)
    return (entropy(square.sum(axis=0)) + entropy(square.sum(axis=1))) / together


def entropy(p: NDArray[np.float64]) -> float:
    """Return the entropy of a distribution, nats; empty cells count nothing."""
    some = p[p > 0]
    return float(-(some * np.log(some)).sum())


def _measure(
    moving: FloatArray,
    fixed: FloatArray,
    inside: NDArray[np.bool_],
    sigma: float,
    step: int,
) -> Callable[[Similarity], float]:
    """Return the function of a transform to be made as large as possible.

    Both slices are blurred once. The fixed one is looked at on every `step`-th pixel; the
    moving one keeps all of its pixels, so that no grid of its own enters the measure.
    """
    smooth_moving = ndimage.gaussian_filter(moving, sigma)
    smooth_fixed = ndimage.gaussian_filter(fixed, sigma)
    rows, cols = (axis[inside[::step, ::step]] for axis in _grid(_shape(fixed), step))
    points = np.stack([rows, cols]).astype(np.float64)
    fixed_values = smooth_fixed[rows, cols]
    fixed_spread = _Scale.of(fixed_values, _BINS).spread(fixed_values)
    moving_scale = _Scale.of(smooth_moving.ravel(), _BINS)

    def value(transform: Similarity) -> float:
        linear, offset = transform.matrix(_shape(fixed), _shape(moving))
        at = linear @ points + offset[:, None]
        values = ndimage.map_coordinates(smooth_moving, at, order=1, mode="nearest")
        return _nmi(fixed_spread, moving_scale.spread(values), _BINS)

    return value


def _grid(shape: tuple[int, int], step: int) -> Sequence[NDArray[np.intp]]:
    return np.meshgrid(np.arange(0, shape[0], step), np.arange(0, shape[1], step), indexing="ij")


def _climb(
    measure: Callable[[Similarity], float],
    start: NDArray[np.float64],
    bounds: _Bounds,
    tolerance: float,
) -> NDArray[np.float64]:
    def cost(p: NDArray[np.float64]) -> float:
        return -measure(bounds.transform(p))

    result = optimize.minimize(
        cost,
        start,
        method="Powell",
        bounds=[(-1.0, 1.0)] * 4,
        options={"xtol": tolerance, "ftol": 1e-7, "maxiter": 20},
    )
    return np.asarray(result.x, dtype=np.float64)


def _shape(image: NDArray[np.float32]) -> tuple[int, int]:
    rows, cols = image.shape
    return rows, cols
