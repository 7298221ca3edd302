"""How well one volume of a head lies on another, and whether that can be believed.

The library that climbs is not believed blindly: every result is scored by our own normalised
mutual information on points it was not given, and must be a movement that a head in a scanner can
make.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crl_core.preprocess.backends import SEED, Affine, Volume, shrunk
from crl_core.preprocess.registration import mutual_information
from crl_core.preprocess.resample import sampled
from crl_core.scan import BoolArray

Registration3D = Literal["rigid", "affine", "none"]

MAX_ROTATION = 35.0
"""Degrees between two scans of one session; more means a wrong header or a search astray."""

MAX_STRETCH = 0.05
"""Most that an affine may stretch or squeeze along any direction: gradients are off by 1 or 2 %."""

LEAST_OVERLAP = 0.5
"""Share of the reference's head that the other scan must have measured."""

LEAST_DICE = 0.80
"""Agreement of the two head masks where both scans look. The same head gives 0.9 and more."""

LEAST_SCORE = 1.035
"""Mutual information of two contrasts of one head. Registered, digital and real heads give 1.08 to
1.24; two different heads, or one head laid on itself the wrong way, 1.01 to 1.03."""

_GAIN = 5e-4
"""Growth of the score below which a movement within the method's own error is not believed."""

_AFFINE_GAIN = 1e-4
"""Growth of the score that an affine transform must show over the rigid one."""

_ERROR_MM = 0.25
"""The method's own error over the head, measured on digital heads and rounded up."""

_POINTS = 30_000
_RIM_MM = 4.0
_SCORED_MM = 1.5
"""Points scored, rim of air around the head, and how smooth the images are that are scored."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """How one scan lies on another.

    Parameters
    ----------
    matrix
        4x4, points of the fixed scan to points of the moving one, RAS+ mm.
    kind
        ``"affine"``, ``"rigid"``, or ``"none"`` where the headers' geometry was kept.
    start
        Which start won: ``"header"`` or ``"centres of the heads"``.
    score, score_before
        Normalised mutual information over the fixed head, 1 (nothing shared) to 2, with the
        matrix and with the headers alone.
    moved_mm
        Mean and greatest distance by which points of the fixed head moved.
    rotation
        Degrees.
    stretch
        Greatest departure of a length ratio from 1.
    overlap, dice
        Share of the fixed head in the moving field of view, and agreement of the head masks there.
    remark
        Why less was done than asked for; empty where all was.
    problem
        Why this cannot be the same head in the same place; empty where it can.
    """

    matrix: Affine
    kind: Registration3D
    start: str
    score: float
    score_before: float
    moved_mm: tuple[float, float]
    rotation: float
    stretch: float
    overlap: float
    dice: float
    remark: str = ""
    problem: str = ""

    def __str__(self) -> str:
        mean, most = self.moved_mm
        if self.kind == "none":
            return "geometry of the headers"
        text = (
            f"{self.kind}, {self.rotation:.1f}°, {mean:.1f} mm over the head (at most {most:.1f})"
        )
        return text if self.kind == "rigid" else f"{text}, stretched by {100 * self.stretch:.1f} %"


class Pair:
    """Two volumes and what tells how well a transform lays one on the other."""

    def __init__(
        self, moving: Volume, fixed: Volume, moving_mask: BoolArray, fixed_mask: BoolArray
    ) -> None:
        self.moving, self.fixed = moving, fixed
        self.moving_mask, self.fixed_mask = moving_mask, fixed_mask
        self.wide_mask = _widened(fixed_mask, fixed)
        smooth = shrunk(fixed, _SCORED_MM, keep_grid=True)
        self._smooth_moving = shrunk(moving, _SCORED_MM, keep_grid=True)
        # Points between the voxels: on the voxels themselves, transforms that need no
        # interpolation would look better than they are.
        rng = np.random.default_rng(SEED)
        inside = np.argwhere(self.wide_mask)
        some = inside[rng.choice(len(inside), min(_POINTS, len(inside)), replace=False)]
        index = some + rng.uniform(-0.5, 0.5, some.shape)
        self._points = fixed.affine[:3, :3] @ index.T + fixed.affine[:3, 3:]
        self._values = ndimage.map_coordinates(smooth.data, index.T, order=1, mode="nearest")

    def score(self, matrix: Affine) -> float:
        """Return the normalised mutual information; air is what lies beyond the moving scan."""
        to_moving = np.linalg.inv(self.moving.affine) @ matrix
        at = to_moving[:3, :3] @ self._points + to_moving[:3, 3:]
        values = ndimage.map_coordinates(self._smooth_moving.data, at, order=1, mode="constant")
        if not np.ptp(values) > 0 or not np.ptp(self._values) > 0:
            return 1.0
        return mutual_information(self._values, values)

    def report(self, matrix: Affine, kind: Registration3D, start: str, **more: str) -> Alignment:
        """Measure a transform and judge whether it can be."""
        linear = matrix[:3, :3]
        stretches = np.linalg.svd(linear, compute_uv=False)
        overlap, dice = self._agreement(matrix)
        mean, most = self.moved(matrix, np.eye(4))
        found = Alignment(
            matrix=matrix,
            kind=kind,
            start=start,
            score=self.score(matrix),
            score_before=self.score(np.eye(4)),
            moved_mm=(mean, most),
            rotation=rotation_degrees(linear),
            stretch=float(np.abs(stretches - 1.0).max()),
            overlap=overlap,
            dice=dice,
            **more,
        )
        return replace(found, problem=_problem(found))

    def moved(self, a: Affine, b: Affine) -> tuple[float, float]:
        """Return the mean and the greatest distance between two transforms over the head, mm."""
        apart = (a - b)[:3, :3] @ self._points + (a - b)[:3, 3:]
        lengths = np.linalg.norm(apart, axis=0)
        return float(lengths.mean()), float(lengths.max())

    def chosen(self, rigid: Affine, start: str, affine: Affine | None = None) -> Alignment:
        """Return the most elaborate transform that explains the images better than a plainer one.

        The headers stand unless a registration gains on them or moves the head by more than its
        own error; the rigid one stands unless the affine gains on it and stays plausible.
        """
        header = self.report(np.eye(4), "none", "header")
        best = self.report(rigid, "rigid", start)
        gain = best.score - header.score
        if gain < 0 and not header.problem and header.score >= LEAST_SCORE:
            return replace(header, remark="registration did not improve on the headers")
        small = gain < _GAIN and best.moved_mm[1] < 2 * _ERROR_MM
        if small and not header.problem and not best.problem:
            return replace(header, remark="the headers agree to within the method's error")
        if affine is None or best.problem:
            return best
        full = self.report(affine, "affine", start)
        if full.problem:
            return replace(best, remark=f"rigid only: the affine transform has {full.problem}")
        if full.score - best.score < _AFFINE_GAIN:
            return replace(best, remark="rigid only: the affine transform explains no more")
        return full

    def _agreement(self, matrix: Affine) -> tuple[float, float]:
        """Return which share of the fixed head the moving scan saw, and the masks' Dice there."""
        to_moving = np.linalg.inv(self.moving.affine) @ matrix @ self.fixed.affine
        x, y, z = self.fixed_mask.shape
        head, inside = sampled(self.moving_mask.astype(np.float32), to_moving, (x, y, z), order=1)
        seen = self.fixed_mask & inside
        if not seen.any():
            return 0.0, 0.0
        other = head > 0.5
        total = np.count_nonzero(seen) + np.count_nonzero(other)
        dice = 2.0 * np.count_nonzero(seen & other) / total
        return float(np.count_nonzero(seen) / np.count_nonzero(self.fixed_mask)), float(dice)


def rotation_degrees(linear: NDArray[np.float64]) -> float:
    """Return the angle of the rotation in a 3x3 matrix, freed of stretch and shear."""
    u, _, v = np.linalg.svd(linear)
    cosine = (np.trace(u @ v) - 1.0) / 2.0
    return math.degrees(math.acos(float(np.clip(cosine, -1.0, 1.0))))


def _problem(found: Alignment) -> str:
    """Return why a transform cannot be right; empty when it can."""
    if np.linalg.det(found.matrix[:3, :3]) <= 0:
        return "a mirrored head"
    if found.overlap < LEAST_OVERLAP:
        return f"only {100 * found.overlap:.0f} % of the head in common"
    if found.kind == "none":
        return ""  # the headers were not asked to agree with the images
    if found.rotation > MAX_ROTATION:
        return f"a turn of {found.rotation:.0f}°"
    if found.stretch > MAX_STRETCH:
        return f"a stretch of {100 * found.stretch:.0f} %"
    if found.dice < LEAST_DICE:
        return f"heads of which only {100 * found.dice:.0f} % agree"
    if found.score < LEAST_SCORE:
        return f"images that share too little to be one head (score {found.score:.3f})"
    return ""


def _widened(mask: BoolArray, volume: Volume) -> BoolArray:
    """Add a rim of air to a head, so that the outline counts; the whole grid where none is."""
    if not mask.any():
        return np.ones(mask.shape, dtype=bool)
    # Slices thicker than the rim get none above and below.
    distance = ndimage.distance_transform_edt(~mask, sampling=volume.voxel_mm.tolist())
    return np.asarray(distance <= _RIM_MM)
