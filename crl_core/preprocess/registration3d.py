"""Registration of two volumes of one head, in space.

Two starts are tried on a coarse copy: what the headers say, and the middles of the two heads
laid on each other. The better one is refined, rigid first, then affine, by Mattes' mutual
information; `crl_core.preprocess.alignment` judges what comes out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crl_core.errors import Cancelled, GridError
from crl_core.preprocess.alignment import (
    LEAST_SCORE,
    Alignment,
    Pair,
    Registration3D,
    rotation_degrees,
)
from crl_core.preprocess.backends import (
    Affine,
    Backend,
    Cancel,
    Level,
    Volume,
    open_backend,
)
from crl_core.preprocess.mask import head_mask
from crl_core.preprocess.resample import sampled
from crl_core.scan import BoolArray, Scan

COARSE = Level(6.0, 20_000)
RIGID = (Level(3.0, 20_000), Level(1.5, 40_000))
AFFINE = (Level(3.0, 20_000), Level(0.75, 60_000))

FEWEST_SLICES = 5
"""A thinner stack does not tell turning out of the plane from noise."""

_TURN = 28.0
"""Degrees; the search finds its way from about 20 degrees off."""

_USUAL_TURN = 10.0
"""Degrees that heads turn between the scans of a session. A search that goes farther is checked
against other starts, for it may have stopped half way."""


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
    pair = Pair(moving, fixed, *masks)
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


@dataclass(frozen=True)
class _Search:
    pair: Pair
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
