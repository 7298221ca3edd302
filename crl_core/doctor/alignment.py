"""Small copies of scans, and how well one fits another as it is or mirrored.

Two scans of one head are laid on each other by a rigid movement at low resolution, once as
their affines say and once with one of them mirrored. Which of the two predicts the intensities
of the other better is measured with normalised mutual information (Studholme et al., Pattern
Recognition 32:71, 1999), which does not ask for equal contrast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crl_core.preprocess.mask import otsu_threshold
from crl_core.preprocess.registration import entropy

FloatArray = NDArray[np.float32]
Vector = NDArray[np.float64]

SPACING_MM = 4.0
"""Voxel size of the small copies."""

_LEAST_ACROSS = 32
"""Voxels a head should have across at least; a phantom of 4 cm gets smaller voxels."""

Signs = tuple[int, int, int]
AS_IS: Signs = (1, 1, 1)
LEFT_RIGHT: Signs = (-1, 1, 1)
HYPOTHESES: tuple[Signs, ...] = tuple(cast(Signs, signs) for signs in product((1, -1), repeat=3))
"""Which world axes (x, y, z) of a scan may be mirrored."""

CLEAR = 0.06
"""A margin from which a verdict counts.

Measured on five studies of real patients (T1w, T2w, FLAIR) and on digital heads of fifteen
anatomies that turned by up to 10 degrees and moved by up to 10 mm between scans: right verdicts
reach 0.08 and more but for a few scans near the noise; no wrong one reached this.
"""

_LEAST_SHARED = 0.04
"""Information (above 1) that two scans of one head share at least."""

_COARSE, _FINE = 0.25, 0.1
"""Smallest steps of the two searches, as shares of the first."""

_QUICK_POINTS = 3000
_THOROUGH_POINTS = 6000
_BINS = 24
_LEAST_POINTS = 400
_LEAST_OVERLAP = 0.35
_FIRST_TURN = math.radians(6.0)
_FIRST_SHIFT = 0.06
"""First steps of the search: rotation, and shift as a share of the head's extent."""

_REACH = 3.5
"""How many first steps a movement may go from where it began."""

_ORDER = (5, 4, 3, 2, 1, 0)
"""Shifts before rotations: a head that is far off turns the wrong way."""


@dataclass(frozen=True, eq=False)
class Small:
    """A low-resolution copy of a scan.

    Parameters
    ----------
    data
        float32, axes as close to right, anterior, superior as the array allows.
    affine
        4x4, its voxels to RAS+ mm.
    head
        Foreground, the shape of `data`.
    """

    data: FloatArray
    affine: Vector
    head: NDArray[np.bool_]

    @classmethod
    def of(cls, data: FloatArray, affine: Vector) -> Small | None:
        """Average blocks of voxels to about `SPACING_MM`; None where nothing stands out."""
        sizes = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
        spacing = SPACING_MM
        extent = sizes * data.shape
        spacing = min(spacing, float(np.sort(extent)[1]) / _LEAST_ACROSS)
        steps = [
            max(1, min(int(n), round(spacing / s))) for n, s in zip(data.shape, sizes, strict=True)
        ]
        kept = [n // step * step for n, step in zip(data.shape, steps, strict=True)]
        blocks = np.abs(data[: kept[0], : kept[1], : kept[2]])
        for axis, step in enumerate(steps):
            if step > 1:
                shape = (
                    *blocks.shape[:axis],
                    blocks.shape[axis] // step,
                    step,
                    *blocks.shape[axis + 1 :],
                )
                blocks = blocks.reshape(shape).mean(axis=axis + 1)
        small = np.ascontiguousarray(blocks, dtype=np.float32)
        grid = affine.astype(float).copy()
        grid[:3, 3] = (affine @ [*((np.array(steps) - 1) / 2), 1.0])[:3]
        grid[:3, :3] = affine[:3, :3] * steps
        head = foreground(small)
        return cls(small, grid, head) if head.any() else None

    @property
    def centre(self) -> Vector:
        """Centre of the head, RAS+ mm."""
        middle = np.argwhere(self.head).mean(axis=0)
        return np.asarray((self.affine @ [*middle, 1.0])[:3])

    @property
    def volume(self) -> float:
        """Volume of the head that is seen, mm³."""
        return float(self.head.sum() * abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def middle(self) -> Vector:
        """Centre of the field of view, RAS+ mm."""
        return np.asarray((self.affine @ [*((np.array(self.data.shape) - 1) / 2), 1.0])[:3])


def foreground(data: FloatArray) -> NDArray[np.bool_]:
    """Return the largest connected piece above the noise, with its holes filled."""
    root = np.sqrt(np.minimum(data, np.percentile(data, 99.5)))
    if not root.max() > root.min():
        return np.zeros(data.shape, dtype=bool)
    labels, count = ndimage.label(root > 0.7 * otsu_threshold(root))
    if count == 0:
        return np.zeros(data.shape, dtype=bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(ndimage.binary_fill_holes(labels == int(np.argmax(sizes))), dtype=bool)


class Fit:
    """How well a moving scan fits a fixed one, as it is or mirrored.

    Parameters
    ----------
    fixed, moving
        Small copies of two scans of one head.
    points
        About how many voxels of the fixed scan are looked at.
    """

    def __init__(self, fixed: Small, moving: Small, points: int) -> None:
        self._centre = fixed.centre
        around = ndimage.binary_dilation(fixed.head, iterations=2)
        voxels = np.argwhere(around)
        voxels = voxels[:: max(1, len(voxels) // points)]
        self._points = (
            fixed.affine[:3, :3] @ voxels.T + fixed.affine[:3, 3:] - self._centre[:, None]
        )
        self._values = _binned(fixed.data[tuple(voxels.T)])
        self._moving = ndimage.gaussian_filter(moving.data, 0.5)
        inside = self._moving[ndimage.binary_dilation(moving.head, iterations=2)]
        self._low, self._high = (float(v) for v in np.percentile(inside, (0.5, 99.5)))
        self._to_voxel = np.linalg.inv(moving.affine)
        self._extent = float(np.ptp(self._points, axis=1).max())
        self._starts = (moving.centre - self._centre, moving.middle - self._centre)

    def score(self, signs: Signs, movement: Vector) -> float:
        """Return the mutual information for mirrored axes and a rigid movement.

        What lies beyond the moving scan counts as telling nothing, in proportion: half a head
        that fits well must not win over a whole one.

        Parameters
        ----------
        signs
            1 or -1 for x, y and z: which world axes of the moving scan are mirrored.
        movement
            Three rotations in rad, three shifts in mm.
        """
        turned = rotation(movement[:3]) @ (self._points * np.array(signs, dtype=float)[:, None])
        world = turned + (movement[3:] + self._centre)[:, None]
        at = self._to_voxel[:3, :3] @ world + self._to_voxel[:3, 3:]
        limits = np.array(self._moving.shape)[:, None] - 0.5
        seen = ((at >= -0.5) & (at <= limits)).all(axis=0)
        if seen.sum() < max(_LEAST_OVERLAP * seen.size, _LEAST_POINTS):
            return 1.0
        values = ndimage.map_coordinates(self._moving, at[:, seen], order=1, mode="nearest")
        return 1.0 + float(seen.mean()) * self._information(values, seen)

    def _information(self, values: FloatArray, seen: NDArray[np.bool_]) -> float:
        """Return the normalised mutual information of the points seen, less 1."""
        span = max(self._high - self._low, 1e-12)
        at = np.clip((values - self._low) / span * (_BINS - 1), 0, _BINS - 1.001)
        lower = at.astype(np.intp)
        share = at - lower
        row = self._values[seen] * _BINS + lower
        # A value is shared between the two bins it falls between: smooth in the movement.
        counts = np.bincount(row, weights=1 - share, minlength=_BINS * _BINS).astype(np.float64)
        counts += np.bincount(row + 1, weights=share, minlength=_BINS * _BINS)
        joint = (counts / counts.sum()).reshape(_BINS, _BINS)
        rows, columns = joint.sum(axis=1), joint.sum(axis=0)
        both = entropy(joint)
        if both <= 0:
            return 0.0
        # Few points seem to share information by chance (Miller's correction), and a movement that
        # hides most of the head must not win by that.
        filled = [np.count_nonzero(p) for p in (joint, rows, columns)]
        chance = (filled[0] - filled[1] - filled[2] + 1) / (2 * len(values))
        return (entropy(rows) + entropy(columns) - both - chance) / both

    def starts(self, signs: Signs) -> list[tuple[float, Vector]]:
        """Return movements without rotation to start from, the best first, with their scores."""
        shifts = list(self._starts)
        if signs == AS_IS:
            shifts.append(np.zeros(3))
        candidates = [np.concatenate([np.zeros(3), shift]) for shift in shifts]
        scored = [(self.score(signs, movement), movement) for movement in candidates]
        return sorted(scored, key=lambda found: -found[0])

    def refine(self, signs: Signs, start: Vector, finest: float) -> tuple[float, Vector]:
        """Climb from a movement to the best one nearby.

        Each of the six coordinates in turn is moved by a step either way, or to the top of the
        parabola through the three scores; the step is halved where nothing is gained. Unlike the
        line searches of general optimisers this never ends lower than it began.

        Parameters
        ----------
        signs
            Which axes are mirrored.
        start
            Where to begin.
        finest
            Smallest step as a share of the first.

        Returns
        -------
        score, movement
            The best that was found.
        """
        steps = np.array([_FIRST_TURN] * 3 + [_FIRST_SHIFT * self._extent] * 3)
        limits = (start - _REACH * steps, start + _REACH * steps)
        best, at = self.score(signs, start), start
        share = 1.0
        while share >= finest:
            before = best
            for axis in _ORDER:
                best, at = self._along(signs, axis, share * steps[axis], best, at, limits)
            # Where nothing is shared the score stays at 1, or by chance below it.
            if best - before <= 0.02 * max(best - 1.0, 0.0):
                share /= 2.0
        return best, at

    def _along(
        self,
        signs: Signs,
        axis: int,
        step: float,
        best: float,
        at: Vector,
        limits: tuple[Vector, Vector],
    ) -> tuple[float, Vector]:
        """Move along one coordinate within limits; return the better place, or the same."""

        def there(distance: float) -> tuple[float, Vector]:
            moved = at.copy()
            moved[axis] = np.clip(at[axis] + distance, limits[0][axis], limits[1][axis])
            return self.score(signs, moved), moved

        down, up = there(-step), there(step)
        found = max((best, at), down, up, key=lambda pair: pair[0])
        bend = down[0] - 2.0 * best + up[0]
        if found[0] == best and bend < 0:
            found = max(found, there(0.5 * step * (down[0] - up[0]) / bend), key=lambda p: p[0])
        return found


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one scan lies to another.

    Parameters
    ----------
    signs
        The hypothesis that fits best: -1 for each world axis that is mirrored.
    margin
        By how much it beats the best hypothesis of the other handedness or, where it is not
        the first, the scan as it is: difference of information over the information of the winner,
        about 0.1 to 0.5 where scans are clear and 0 where nothing can be said.
    """

    signs: Signs
    margin: float


def compare(fixed: Small, moving: Small) -> Verdict:
    """Say whether a scan fits another as it is, or mirrored and along which world axes.

    A quick look settles scans that fit as they are; everything else is searched thoroughly from
    several starts. Points are taken from the smaller field of view, so that the other one sees
    most of them; which of the two is called mirrored makes no difference.
    """
    if fixed.volume > 1.2 * moving.volume:
        fixed, moving = moving, fixed
    quick = Fit(fixed, moving, _QUICK_POINTS)
    starts = {signs: quick.starts(signs)[0] for signs in HYPOTHESES}
    as_is, movement = starts[AS_IS]
    if all(as_is > starts[signs][0] for signs in HYPOTHESES if signs not in (AS_IS, LEFT_RIGHT)):
        mirrored, _ = quick.refine(LEFT_RIGHT, starts[LEFT_RIGHT][1], finest=_COARSE)
        if _margin(as_is, mirrored) < CLEAR:
            as_is, _ = quick.refine(AS_IS, movement, finest=_COARSE)
        if _margin(as_is, mirrored) >= CLEAR:
            return Verdict(AS_IS, _margin(as_is, mirrored))
    return _thorough(fixed, moving)


def _thorough(fixed: Small, moving: Small) -> Verdict:
    """Refine every hypothesis that is worth it from several starts, the closest two once more."""
    fit = Fit(fixed, moving, _QUICK_POINTS)
    starts = {signs: fit.starts(signs) for signs in HYPOTHESES}
    promising = sorted(HYPOTHESES, key=lambda signs: -starts[signs][0][0])[:3]
    found = {
        signs: max(
            (fit.refine(signs, movement, finest=_COARSE) for _, movement in starts[signs]),
            key=lambda result: result[0],
        )
        for signs in dict.fromkeys((AS_IS, LEFT_RIGHT, *promising))
    }
    first, second, *_ = sorted(found, key=lambda signs: -found[signs][0])
    if _margin(found[first][0], found[second][0]) < 2 * CLEAR:
        fit = Fit(fixed, moving, _THOROUGH_POINTS)
        for signs in (first, second):
            found[signs] = fit.refine(signs, found[signs][1], finest=_FINE)
        first, second = sorted((first, second), key=lambda signs: -found[signs][0])
    return Verdict(first, _margin(found[first][0], found[second][0]))


def _margin(winner: float, other: float) -> float:
    # Two volumes of noise share next to nothing: a small difference of that says nothing.
    return float((winner - other) / max(winner - 1.0, other - 1.0, _LEAST_SHARED))


def rotation(angles: Sequence[float] | Vector) -> Vector:
    """Return the 3x3 rotation about x, then y, then z, by angles in rad."""
    (sx, sy, sz), (cx, cy, cz) = np.sin(angles), np.cos(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


def _binned(values: FloatArray) -> NDArray[np.intp]:
    low, high = np.percentile(values, (0.5, 99.5))
    at = (values - low) / max(high - low, 1e-12) * _BINS
    return np.asarray(np.clip(at, 0, _BINS - 1), dtype=np.intp)
