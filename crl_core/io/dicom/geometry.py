"""Slices to a volume: which order, how far apart, and the affine to RAS+ millimetres.

Distances come from the stated positions of the slices, never from their thickness. DICOM counts
in LPS; the first two axes change sign on the way to RAS (PS3.3, C.7.6.2.1.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crl_core.io.dicom.frames import Frame

FloatVector = NDArray[np.float64]

SAME_PLACE = 0.02
"""Positions closer than this are one place, mm: headers round to a hundredth at worst."""

_REGULAR = 0.05
"""Slice distances may differ by this part of their median."""

_STRAIGHT = 0.02
"""Slices may drift sideways by this part of their distance: about one degree."""

_PARALLEL = np.cos(np.radians(0.5))


class Unusable(Exception):
    """Frames that do not form a volume.

    Parameters
    ----------
    problem, remedy
        As in `crl_core.errors.CRLError`.
    other_reader
        Whether dcm2niix may solve it.
    """

    def __init__(self, problem: str, remedy: str = "", *, other_reader: bool = False) -> None:
        self.problem, self.remedy, self.other_reader = problem, remedy, other_reader
        super().__init__(problem)


@dataclass(frozen=True, eq=False)
class Stack:
    """Frames sorted into places along the slice normal.

    Parameters
    ----------
    places
        For each slice, in ascending order along the normal, the frames that lie there.
    affine
        4x4, (column, row, slice) to RAS+ millimetres.
    """

    places: tuple[tuple[Frame, ...], ...]
    affine: FloatVector


def directions(frame: Frame) -> tuple[FloatVector, FloatVector, FloatVector]:
    """Return unit vectors along a row, down a column and along the normal, LPS.

    Raises
    ------
    Unusable
        When the frame states none, or two that are not perpendicular.
    """
    remedy = "Export the series again with its geometry"
    if frame.orientation is None or frame.position is None:
        raise Unusable("its header does not say where the slices lie", remedy)
    right, down = np.array(frame.orientation[:3]), np.array(frame.orientation[3:])
    lengths = np.linalg.norm(right), np.linalg.norm(down)
    if min(lengths) < 0.9 or max(lengths) > 1.1 or abs(right @ down) > 0.01:
        raise Unusable("its header states an impossible orientation", remedy)
    right, down = right / lengths[0], down / lengths[1]
    normal = np.cross(right, down)
    return right, down, normal / np.linalg.norm(normal)


def orientations(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Group frames whose rows and columns point the same way.

    Raises
    ------
    Unusable
        When a frame states no usable orientation.
    """
    groups: list[tuple[FloatVector, FloatVector, list[Frame]]] = []
    known: dict[tuple[float, ...], list[Frame]] = {}
    for frame in frames:
        if frame.position is None:
            directions(frame)
        held = known.get(frame.orientation or ())
        if held is not None:
            held.append(frame)
            continue
        right, down, _ = directions(frame)
        for a, b, members in groups:
            if min(a @ right, b @ down) > _PARALLEL:
                members.append(frame)
                break
        else:
            members = [frame]
            groups.append((right, down, members))
        known[frame.orientation or ()] = members
    return [members for _, _, members in groups]


def stack(frames: Sequence[Frame]) -> Stack:
    """Sort parallel frames of one size into places, and compute the affine.

    Raises
    ------
    Unusable
        When they overlap, leave gaps, or are displaced sideways.
    """
    first = frames[0]
    right, down, normal = directions(first)
    if first.spacing is None or min(first.spacing) <= 0:
        raise Unusable("its header states no pixel spacing", "Export the series again")
    positions = np.array([frame.position for frame in frames], dtype=float)
    heights = positions @ normal
    order = np.argsort(heights, kind="stable")
    cuts = np.flatnonzero(np.diff(heights[order]) > SAME_PLACE) + 1
    members = np.split(order, cuts)
    centres = np.array([positions[m].mean(axis=0) for m in members])
    for m, centre in zip(members, centres, strict=True):
        if np.abs(positions[m] - centre).max() > max(SAME_PLACE, 0.1 * min(first.spacing)):
            raise Unusable(
                "slices of the same height lie beside each other", "Export one stack at a time"
            )
    step = _step(first, centres, normal)
    affine = np.eye(4)
    affine[:3, 0] = right * first.spacing[1]
    affine[:3, 1] = down * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = centres[0]
    affine[:2] *= -1
    places = tuple(tuple(frames[i] for i in m) for m in members)
    return Stack(places, affine)


def _step(first: Frame, centres: FloatVector, normal: FloatVector) -> FloatVector:
    """Return the vector from slice to slice; refuse where there is not one for all."""
    if len(centres) == 1:
        return np.asarray(
            normal * (first.thickness if first.thickness and first.thickness > 0 else 1.0)
        )
    gaps = np.diff(centres @ normal)
    usual = float(np.median(gaps))
    wrong = np.flatnonzero(np.abs(gaps - usual) > max(_REGULAR * usual, SAME_PLACE))
    if wrong.size:
        raise Unusable(*_gap_words(gaps, usual, wrong))
    step = (centres[-1] - centres[0]) / (len(centres) - 1)
    lengthwise = float(step @ normal)
    sideways = float(np.linalg.norm(step - lengthwise * normal))
    if sideways > _STRAIGHT * lengthwise:
        angle = np.degrees(np.arctan2(sideways, lengthwise))
        raise Unusable(
            f"each slice is shifted sideways against the one before ({angle:.1f} degrees of tilt)",
            "Reformat the series on the scanner",
        )
    line = centres[0] + np.arange(len(centres))[:, np.newaxis] * step
    off = float(np.linalg.norm(centres - line, axis=1).max())
    if off > max(_REGULAR * usual, 0.1 * min(first.spacing or (1.0,)), SAME_PLACE):
        raise Unusable(f"slices lie up to {off:.2g} mm beside the line of the others", "")
    return np.asarray(step)


def _gap_words(gaps: FloatVector, usual: float, wrong: NDArray[np.intp]) -> tuple[str, str]:
    at = int(wrong[0])
    gap = float(gaps[at])
    missing = gap / usual - 1
    if round(missing) >= 1 and abs(missing - round(missing)) < 0.1:
        lost = f"{round(missing)} slice{'s are' if round(missing) > 1 else ' is'} missing"
        more = f" (and {wrong.size - 1} more gaps)" if wrong.size > 1 else ""
        return (
            f"gap of {gap:.4g} mm after slice {at + 1}, where slices lie {usual:.4g} mm apart: "
            f"{lost}{more}",
            "Export the whole series again",
        )
    return (
        f"slices are not evenly spaced: {gaps.min():.4g} to {gaps.max():.4g} mm apart",
        "Choose a series with one slice spacing",
    )


def plane_of(affine: FloatVector) -> str:
    """Name the plane of the slices, such as ``"axial"`` or ``"oblique coronal"``."""
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    cosines = np.abs(normal) / np.linalg.norm(normal)
    name = ("sagittal", "coronal", "axial")[int(np.argmax(cosines))]
    return name if cosines.max() > np.cos(np.radians(15)) else f"oblique {name}"
