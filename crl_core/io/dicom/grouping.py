"""A DICOM series to volumes: what differs on purpose is split, what does not fit is refused."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from crl_core.io.dicom.frames import Frame
from crl_core.io.dicom.geometry import Stack, Unusable, orientations, stack

_LOCALISER = re.compile(
    r"locali[sz]er|scout|survey|plan[ _]?scan|(?<![a-z])(?:3|tri)[ _-]?pl|(?<![a-z])loc(?![a-z])"
)
_STACK_SLICES = 4
"""Stacks of fewer slices, in several orientations, are a localiser."""


@dataclass(frozen=True, eq=False)
class Part:
    """Frames that open as one scan, or the reason why they cannot.

    Parameters
    ----------
    suffix
        What tells it from the other parts of its series, ``""`` where it is the only one.
    words
        The same in words, such as ``"echo 2"``.
    volumes
        For each volume, its frames in slice order; empty where unusable.
    stack
        Geometry of all volumes; None where unusable.
    """

    frames: tuple[Frame, ...]
    suffix: str = ""
    words: str = ""
    volumes: tuple[tuple[Frame, ...], ...] = ()
    stack: Stack | None = None
    unusable: Unusable | None = None
    notes: tuple[str, ...] = field(default=())


def split(frames: Sequence[Frame]) -> list[Part]:
    """Sort the frames of one DICOM series into parts."""
    parts: list[Part] = []
    copies = len(frames)
    frames = _without_copies(frames)
    copies -= len(frames)
    note = (f"{copies} copies of images were left out.",) if copies else ()
    kinds = _partition(frames, _kind)
    sizes = _partition(frames, lambda f: f.component)
    for members in kinds.values():
        first = members[0]
        letter = first.component[0] if first.component != "magnitude" and len(sizes) > 1 else ""
        letter += f"-{first.flavour.lower().replace(' ', '-')}" if first.flavour else ""
        words = first.component if first.component != "magnitude" else ""
        base = Part(tuple(members), letter, f"{words} {first.flavour.lower()}".strip(), notes=note)
        parts.extend(_usable_parts(base))
    return parts


def _kind(frame: Frame) -> Hashable:
    """Return what images must share to belong together, whatever else differs."""
    problem = frame.instance.problem
    if problem or frame.map:
        return (problem or frame.map,)
    return (frame.component, frame.flavour)


def _grid(frame: Frame) -> Hashable:
    return (frame.tile[2:], tuple(round(v, 3) for v in frame.spacing or ()))


def _partition(
    frames: Sequence[Frame], key: Callable[[Frame], Hashable]
) -> dict[Hashable, list[Frame]]:
    found: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        found[key(frame)].append(frame)
    return dict(found)


def _without_copies(frames: Sequence[Frame]) -> list[Frame]:
    """Drop second copies of the same object, such as those a file manager makes."""
    holder: dict[str, int] = {}
    kept = []
    for frame in frames:
        uid = f"{frame.instance.uid} {frame.instance.number}"
        if frame.instance.uid and holder.setdefault(uid, id(frame.instance.item)) != id(
            frame.instance.item
        ):
            continue
        kept.append(frame)
    return kept


def _usable_parts(part: Part) -> list[Part]:
    first = part.frames[0]
    if first.instance.problem:
        instance = first.instance
        reason = Unusable(instance.problem, instance.remedy, other_reader=instance.other_reader)
        return [replace(part, unusable=reason)]
    if first.map:
        return [replace(part, unusable=Unusable(first.map, "Choose the series it was made from"))]
    if first.component in ("phase", "imaginary"):
        reason = Unusable(
            f"{first.component} of the signal, not its magnitude", "Choose the magnitude images"
        )
        return [replace(part, unusable=reason)]
    try:
        return _by_orientation(part)
    except Unusable as reason:
        return [replace(part, unusable=reason)]


def _by_orientation(part: Part) -> list[Part]:
    """Refuse localisers; open stacks that are each a volume one by one."""
    groups = orientations(part.frames)
    if len(groups) == 1:
        grids = list(_partition(part.frames, _grid).values())
        return _by_contrast(part) if len(grids) == 1 else _labelled(part, grids, "m", "matrix")
    stacks = _partition(part.frames, lambda f: f.stack)
    name = part.frames[0].instance.description.lower()
    scout = bool(_LOCALISER.search(name)) or len(groups) > 2
    whole = all(len(orientations(m)) == 1 and len(m) >= _STACK_SLICES for m in stacks.values())
    if len(stacks) > 1 and whole and not _LOCALISER.search(name):
        return _labelled(part, list(stacks.values()), "s", "stack")
    numbers = {frame.instance.number for frame in part.frames}
    mixed = f", mixed from {len(numbers)} series numbers" if len(numbers) > 1 else ""
    what = "a localiser: slices" if scout and not mixed else "its slices are not parallel: they lie"
    raise Unusable(
        f"{what} in {len(groups)} orientations{mixed}", "Choose a series with parallel slices"
    )


_CONTRASTS: tuple[tuple[str, str, Callable[[Frame], float]], ...] = (
    ("e", "echo", lambda f: f.times.te.value if f.times.te else 0.0),
    ("ti", "inversion time", lambda f: f.times.ti.value if f.times.ti else 0.0),
    ("tr", "repetition time", lambda f: f.times.tr.value if f.times.tr else 0.0),
    ("b", "b", lambda f: f.b_value),
    ("n", "echo number", lambda f: float(f.echo)),
)


def _by_contrast(part: Part) -> list[Part]:
    """Split where images of the same place differ in a setting, then sort into volumes."""
    try:
        found = stack(part.frames)
    except Unusable as reason:
        return _rescued(part, reason)
    most = max(len(place) for place in found.places)
    if most == 1:
        return [replace(part, volumes=(tuple(p[0] for p in found.places),), stack=found)]
    numbered = list(_partition(part.frames, lambda f: f.instance.number).values())
    if len(numbered) > 1:
        return [
            inner
            for group in numbered
            for inner in _by_contrast(replace(part, frames=tuple(group)))
        ]
    for letter, words, value in _CONTRASTS:
        groups = _clusters(part.frames, value)
        if len(groups) > 1 and all(_most(found, group) < most for group in groups):
            return _labelled(part, groups, letter, words)
    return [_volumes(part, found)]


def _rescued(part: Part, reason: Unusable) -> list[Part]:
    """Try whether a setting tells apart what together is no volume."""
    options = [(s, w, _clusters(part.frames, v)) for s, w, v in _CONTRASTS]
    options.append(("s", "stack", list(_partition(part.frames, lambda f: f.stack).values())))
    acquisitions = _partition(part.frames, lambda f: f.instance.acquisition)
    options.append(("a", "acquisition", list(acquisitions.values())))
    for letter, words, groups in options:
        if not 1 < len(groups) <= len(part.frames) // 2:
            continue
        parts = _labelled(part, groups, letter, words)
        if all(found.unusable is None for found in parts):
            return parts
    raise reason


def _most(found: Stack, group: Sequence[Frame]) -> int:
    inside = {id(frame) for frame in group}
    return max(sum(id(frame) in inside for frame in place) for place in found.places)


def _clusters(frames: Sequence[Frame], value: Callable[[Frame], float]) -> list[list[Frame]]:
    """Group frames by a number, ascending; what differs by less than one percent is one group."""
    order = sorted(frames, key=value)
    groups: list[list[Frame]] = []
    for frame in order:
        if groups and value(frame) - value(groups[-1][-1]) <= 0.01 * abs(value(frame)):
            groups[-1].append(frame)
        else:
            groups.append([frame])
    return groups


def _labelled(part: Part, groups: Sequence[Sequence[Frame]], letter: str, words: str) -> list[Part]:
    parts: list[Part] = []
    for index, group in enumerate(groups, 1):
        name = round(group[0].b_value) if letter == "b" else index
        inner = replace(
            part,
            frames=tuple(group),
            suffix=f"{part.suffix}{letter}{name}",
            words=f"{part.words} {words} {name}".strip(),
        )
        try:
            parts.extend(_by_contrast(inner))
        except Unusable as reason:
            parts.append(replace(inner, unusable=reason))
    return parts


def _volumes(part: Part, found: Stack) -> Part:
    """Sort repeated images into volumes, in the order of time."""
    counts = np.array([len(place) for place in found.places])
    ordered = [sorted(place, key=_when) for place in found.places]
    complete = int(counts.min())
    notes = part.notes
    if counts.max() != complete:
        late = [frame for place in ordered for frame in place[complete:]]
        early = [frame for place in ordered for frame in place[:complete]]
        if min(_when(f) for f in late) < max(_when(f) for f in early):
            raise Unusable(
                f"images are repeated unevenly: {complete} to {counts.max()} at one place",
                "Export the whole series again",
            )
        notes = (*notes, "The last repetition is incomplete and was left out.")
    volumes = tuple(tuple(place[v] for place in ordered) for v in range(complete))
    return replace(part, volumes=volumes, stack=found, notes=notes)


def _when(frame: Frame) -> tuple[int, tuple[float, ...], int, int, int]:
    instance = frame.instance
    return (
        frame.temporal,
        frame.gradient,
        instance.acquisition,
        instance.instance_number,
        frame.index,
    )
