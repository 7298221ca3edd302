"""Registration of two volumes of one head, in space.

Two starts are tried on a coarse copy: what the headers say, and the middles of the two heads
laid on each other. The better one is refined, rigid first, then affine, by Mattes' mutual
information. The library that climbs is not believed blindly: every result is scored by
our own normalised mutual information on points it was not given, and must be a movement that a
head in a scanner can make.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crl_core.errors import Cancelled, GridError
from crl_core.preprocess.backends import (
    SEED,
    Affine,
    Backend,
    Cancel,
    Level,
    Volume,
    open_backend,
    shrunk,
)
from crl_core.preprocess.mask import head_mask
from crl_core.preprocess.registration import mutual_information
from crl_core.preprocess.resample import sampled
from crl_core.scan import BoolArray, Scan

Registration3D = Literal["rigid", "affine", "none"]

COARSE = Level(6.0, 20_000)
RIGID = (Level(3.0, 20_000), Level(1.5, 40_000))
AFFINE = (Level(3.0, 20_000), Level(0.75, 60_000))

FEWEST_SLICES = 5
"""A thinner stack does not tell turning out of the plane from noise."""

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

_TURN = 28.0
"""Degrees; the search finds its way from about 20 degrees off."""

_USUAL_TURN = 10.0
"""Degrees that heads turn between the scans of a session. A search that goes farther is checked
against other starts, for it may have stopped half way."""

_POINTS = 30_000
_RIM_MM = 4.0


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


def align(
    moving: Volume,
    fixed: Volume,
    *,
    kind: Registration3D = "rigid",
    moving_mask: BoolArray | None = None,
    fixed_mask: BoolArray | None = None,
    backend: Backend | None = None,
    cancelled: Cancel = lambda: False,
) -> Alignment:
    """Find the transform that lays one volume of a head on another of the same head.

    Parameters
    ----------
    moving, fixed
        Magnitudes of any contrast and grid, best free of bias.
    kind
        ``"rigid"``, ``"affine"`` (rigid first), or ``"none"`` to look at the headers only.
    moving_mask, fixed_mask
        Head masks; found here when left out.
    backend
        The library; SimpleITK by default.
    cancelled
        Asked now and then.

    Returns
    -------
    Alignment
        With a `problem` where it must not be used.

    Raises
    ------
    Cancelled
        When `cancelled` said so.
    """
    masks = tuple(
        head_mask(volume.data, _slice_axis(volume)) if mask is None else mask
        for volume, mask in ((moving, moving_mask), (fixed, fixed_mask))
    )
    pair = _Pair(moving, fixed, *masks)
    header = np.eye(4)
    if kind == "none":
        return pair.report(header, "none", "header")
    thin = min(n for n in (_slices(moving), _slices(fixed)))
    if thin < FEWEST_SLICES:
        words = "a single slice" if thin == 1 else f"{thin} slices"
        return pair.report(header, "none", "header", remark=f"{words}, too few to register")
    for volume, mask in ((fixed, pair.fixed_mask), (moving, pair.moving_mask)):
        if not mask.any() or not np.ptp(volume.data[mask]) > 0:
            return pair.report(header, "none", "header", remark="no head to register by")
    search = _Search(pair, backend or open_backend("simpleitk"), cancelled)
    start, matrix = search.start()
    rigid = search.refined(matrix, "rigid", RIGID)
    if kind == "rigid" or pair.report(rigid, "rigid", start).problem:
        return pair.chosen(rigid, start)
    return pair.chosen(rigid, start, search.refined(rigid, "affine", AFFINE))


class _Pair:
    """Two volumes and what tells how well a transform lays one on the other."""

    def __init__(
        self, moving: Volume, fixed: Volume, moving_mask: BoolArray, fixed_mask: BoolArray
    ) -> None:
        self.moving, self.fixed = moving, fixed
        self.moving_mask, self.fixed_mask = moving_mask, fixed_mask
        self.wide_mask = _widened(fixed_mask, fixed)
        smooth = shrunk(fixed, RIGID[-1].voxel_mm, keep_grid=True)
        self._smooth_moving = shrunk(moving, RIGID[-1].voxel_mm, keep_grid=True)
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


@dataclass(frozen=True)
class _Search:
    pair: _Pair
    backend: Backend
    cancelled: Cancel

    def start(self) -> tuple[str, Affine]:
        """Return the better of the two starts, each already refined on the coarse copy."""
        pair = self.pair
        centres = np.eye(4)
        centres[:3, 3] = _centre(pair.moving, pair.moving_mask) - _centre(
            pair.fixed, pair.fixed_mask
        )
        found = {
            name: self.refined(start, "rigid", (COARSE,))
            for name, start in (("header", np.eye(4)), ("centres of the heads", centres))
        }
        name = max(found, key=lambda one: pair.score(found[one]))
        usual = rotation_degrees(found[name][:3, :3]) <= _USUAL_TURN
        if usual and pair.score(found[name]) >= LEAST_SCORE:
            return name, found[name]
        return self._turned_start(centres, name, found[name])

    def _turned_start(self, centres: Affine, name: str, found: Affine) -> tuple[str, Affine]:
        """Try heads turned about each axis too, where the usual starts failed or turned far."""
        pair = self.pair
        middle = _centre(pair.fixed, pair.fixed_mask)
        best = pair.score(found)
        for axis, degrees in product(range(3), (-_TURN, _TURN)):
            start = centres @ _turn_about(middle, axis, degrees)
            matrix = self.refined(start, "rigid", (COARSE,))
            if pair.score(matrix) > best:
                name, found, best = "centres of the heads, turned", matrix, pair.score(matrix)
        return name, found

    def refined(
        self, start: Affine, kind: Literal["rigid", "affine"], levels: tuple[Level, ...]
    ) -> Affine:
        matrix = start
        for level in levels:
            if self.cancelled():
                raise Cancelled("the registration was cancelled")
            matrix = self.backend.register(
                self.pair.fixed,
                self.pair.moving,
                self.pair.wide_mask,
                matrix,
                kind,
                level,
                self.cancelled,
            )
        return matrix


@dataclass(frozen=True, eq=False)
class Registered:
    """A scan that was laid on another.

    Parameters
    ----------
    scan
        On the grid of the fixed scan; its note says how it was moved.
    covered
        Which voxels of that grid it had measured.
    alignment
        How it was moved.
    """

    scan: Scan
    covered: BoolArray
    alignment: Alignment


def register_scan(
    moving: Scan,
    fixed: Scan,
    *,
    kind: Literal["rigid", "affine"] = "rigid",
    backend: Backend | None = None,
    cancelled: Cancel = lambda: False,
) -> Registered:
    """Register a scan to another of the same head and resample it onto that one's grid, once.

    Parameters
    ----------
    moving
        The scan to be moved.
    fixed
        The scan whose grid is wanted.
    kind
        What may change.
    backend
        The library; SimpleITK by default.
    cancelled
        Asked now and then.

    Returns
    -------
    Registered
        `moving` on the grid of `fixed`, and how it was moved.

    Raises
    ------
    GridError
        When the two cannot be the same head, with the reason.
    Cancelled
        When `cancelled` said so.
    """
    found = align(
        Volume(moving.data, moving.affine),
        Volume(fixed.data, fixed.affine),
        kind=kind,
        moving_mask=moving.mask,
        fixed_mask=fixed.mask,
        backend=backend,
        cancelled=cancelled,
    )
    if found.problem:
        raise GridError(
            f"'{moving.name}' cannot be registered to '{fixed.name}': {found.problem}",
            path=moving.path,
            remedy="Choose a scan of the same head and session",
        )
    to_moving = np.linalg.inv(moving.affine) @ found.matrix @ fixed.affine
    data, covered = sampled(moving.data, to_moving, fixed.shape, order=3)
    remark = f" ({found.remark})" if found.remark else ""
    words = f"Registered to '{fixed.name}': {found}{remark}."
    scan = replace(
        moving,
        data=data,
        affine=fixed.affine.copy(),
        orientation_stated=moving.orientation_stated and fixed.orientation_stated,
        stated_mask=None,
        note=" ".join(filter(None, (moving.note, words))),
    )
    return Registered(scan, covered, found)


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


def _centre(volume: Volume, mask: BoolArray) -> NDArray[np.float64]:
    where = np.argwhere(mask).mean(axis=0)
    return np.asarray((volume.affine @ [*where, 1.0])[:3])


def _turn_about(point: NDArray[np.float64], axis: int, degrees: float) -> Affine:
    """Return the rotation about an axis of the world through a point."""
    angle = math.radians(degrees)
    a, b = (other for other in range(3) if other != axis)
    matrix = np.eye(4)
    matrix[a, a] = matrix[b, b] = math.cos(angle)
    matrix[a, b], matrix[b, a] = -math.sin(angle), math.sin(angle)
    matrix[:3, 3] = point - matrix[:3, :3] @ point
    return matrix


def _slice_axis(volume: Volume) -> int:
    return Scan(volume.data, volume.affine, "").slice_axis


def _slices(volume: Volume) -> int:
    return int(volume.data.shape[_slice_axis(volume)])
