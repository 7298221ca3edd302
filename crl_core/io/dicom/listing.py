"""Finding scans: files to headers, headers to frames, frames to series with reasons."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from crl_core.errors import Cancelled, InputError
from crl_core.io.dicom import codecs, fallback, sequences
from crl_core.io.dicom.files import (
    Item,
    all_open,
    head_of,
    is_zip,
    list_items,
    starts_as_dicom,
)
from crl_core.io.dicom.frames import Frame, frames_of
from crl_core.io.dicom.geometry import Unusable, plane_of
from crl_core.io.dicom.grouping import Part, split
from crl_core.io.dicom.groups import views
from crl_core.io.dicom.headers import Header, name_of, quietly, read_header
from crl_core.io.dicom.sequences import Sequence as PulseSequence
from crl_core.io.dicom.series import Series
from crl_core.io.dicom.timing import Stated, Times
from crl_core.io.nifti import MAX_VOXELS
from crl_core.io.timing import Timing

_LOOKED_AT = 500
"""How many files of a folder `is_dicom` looks at."""

_DAMAGED = "damaged file"

_INVERTED = "Stored from white to black (MONOCHROME1), turned round here."

Progress = Callable[[int, int], None]


def is_dicom(path: Path) -> bool:
    """Return whether a file, folder or archive holds DICOM objects, by their first bytes.

    Never raises; of a large folder only the first files are looked at.
    """
    try:
        if path.is_file() and not is_zip(path):
            with path.open("rb") as stream:
                return starts_as_dicom(stream.read(140))
        items = list_items(path)[:_LOOKED_AT]
        with all_open(items):
            return any(starts_as_dicom(head_of(item)) for item in items)
    except (InputError, OSError, ValueError):
        return False


def find_series(
    path: Path,
    *,
    files: Sequence[Path] | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[Series]:
    """List the scans in a DICOM file, a folder of any depth or a zip archive.

    Files of other kinds and objects without images are passed over.

    Parameters
    ----------
    path
        Where to look.
    files
        Only these files of the folder `path` are looked at; None takes all of it.
    progress
        Called with how many of how many files have been looked at.
    cancelled
        Asked before each file.

    Returns
    -------
    list of Series
        Sorted by series number; some may carry a `refusal`.

    Raises
    ------
    InputError
        When nothing is there, or nothing of it is a DICOM image.
    Cancelled
        When `cancelled` said so.
    """
    path = Path(path)
    items = [item for place in ([path] if files is None else files) for item in list_items(place)]
    frames: list[Frame] = []
    others: Counter[str] = Counter()
    with all_open(items):
        for done, item in enumerate(items):
            if cancelled():
                raise Cancelled("reading the DICOM files was cancelled", path=path)
            frames.extend(_frames_or_count(item, others, path if len(items) == 1 else None))
            if progress is not None:
                progress(done + 1, len(items))
        if not frames:
            raise _nothing(path, others)
        by_series: dict[tuple[str, ...], list[Frame]] = defaultdict(list)
        for frame in frames:
            by_series[frame.instance.series].append(frame)
        damaged = others[_DAMAGED]
        found = [s for each in by_series.values() for s in _open_series(each, path, damaged)]
    return _with_keys(found)


def _frames_or_count(item: Item, others: Counter[str], alone: Path | None) -> list[Frame]:
    """Return the frames of one file, or count why it has none; refuse the only file there is.

    A refusal names what the user named: a file inside may be called after a person.
    """
    try:
        with quietly():
            header = read_header(item)
            if header is not None and header.pixel_offset is not None:
                return frames_of(header)
    except InputError as error:
        if alone is not None:
            raise InputError(error.problem, path=alone, remedy=error.remedy) from error
        others[_DAMAGED] += 1
        return []
    if header is not None:
        others[_what(header)] += 1
    return []


def _what(header: Header) -> str:
    """Name an object without pixels."""
    name = name_of(header.sop_class)
    if not name or "Image" in name:
        return _DAMAGED
    return name.removesuffix(" Storage")


def _nothing(path: Path, others: Counter[str]) -> InputError:
    if not others:
        what = "is a folder that holds" if path.is_dir() else "holds"
        return InputError(
            f"{what} no DICOM images",
            path=path,
            remedy="Name an image, or a folder of DICOM images",
        )
    words = ", ".join(f"{number} x {what}" for what, number in others.most_common(3))
    if set(others) == {_DAMAGED}:
        return InputError(
            "begins as DICOM but holds no pixels: it is truncated or its header is damaged",
            path=path,
            remedy="Copy or export it again",
        )
    remedy = "Name a file or folder of DICOM images"
    if "Media Storage Directory" in others:
        remedy = "Name the folder that the directory file lies in"
    return InputError(
        f"holds no DICOM images, only other objects ({words})", path=path, remedy=remedy
    )


def _open_series(frames: Sequence[Frame], path: Path, damaged: int) -> list[Series]:
    parts = [_checked(part, path, damaged) for part in split(frames)]
    tes = sorted({part.frames[0].times.te.value for part in parts if part.frames[0].times.te})
    found: list[Series] = []
    for part in parts:
        series = _series(part, path, tes)
        other = part.unusable is not None and part.unusable.other_reader
        found.extend(_by_other_reader(series, part) if other else [series])
    return found


def _checked(part: Part, path: Path, damaged: int) -> Part:
    """Refuse volumes that are incomplete, too large, or that nothing decodes."""
    if part.stack is None:
        reason = part.unusable
        if reason is not None and reason.problem.startswith("gap") and damaged:
            lost = f"{reason.problem}; {damaged} of the files here are damaged"
            return replace(part, unusable=Unusable(lost, reason.remedy))
        return part
    instance = part.frames[0].instance
    slices = len(part.stack.places)
    _, _, rows, columns = part.frames[0].tile
    if instance.acquisition_type == "3D" and slices < 3 and (slices == 2 or path.is_dir()):
        few = "one slice" if slices == 1 else "two slices"
        reason = Unusable(
            f"incomplete: {few} of a 3-D acquisition",
            "Export the whole series, or name one file to open it as a single slice",
        )
    elif rows * columns * slices > MAX_VOXELS:
        reason = Unusable(f"too large: {columns} x {rows} x {slices} voxels", "Export fewer slices")
    elif instance.compressed and not codecs.decodable(instance.syntax):
        how = name_of(instance.syntax) or "unknown"
        reason = Unusable(
            f"pixels compressed in a way this program does not decode ({how})", other_reader=True
        )
    else:
        return part
    return replace(part, unusable=reason, volumes=(), stack=None)


def _series(part: Part, path: Path, tes: Sequence[float]) -> Series:
    first, stack = part.frames[0], part.stack
    instance = first.instance
    times, notes = _times_of(part)
    echo = tes.index(times.te.value) if times.te and times.te.value in tes else 0
    sequence = _sequence(first, times, max(len(tes), 1), echo)
    _, _, rows, columns = first.tile
    if stack is None:
        spacing, affine, notes = first.spacing or (0.0, 0.0), np.eye(4), ()
        sizes = [spacing[1], spacing[0], first.thickness or 0.0]
        slices = len(part.frames)
    else:
        affine = stack.affine
        sizes = [float(v) for v in np.linalg.norm(affine[:3, :3], axis=0)]
        slices = len(stack.places)
        if slices == 1:
            rest = (
                " Open the folder for the rest of its series." if path == instance.item.path else ""
            )
            notes = (*notes, f"One slice only.{rest if instance.item.archive is None else ''}")
        notes = (*notes, _INVERTED) if instance.inverted else notes
    number = "x" if instance.number is None else str(instance.number)
    return Series(
        key=f"{number}{part.suffix}",
        number=instance.number,
        description=f"{instance.description} {part.words}".strip() if instance.description else "",
        kind=sequence.kind,
        fast_spin_echo=sequence.fast_spin_echo,
        timing=sequence.timing,
        shape=(columns, rows, slices),
        voxel_size=(sizes[0], sizes[1], sizes[2]),
        plane=plane_of(affine) if stack is not None else "",
        volumes=max(len(part.volumes), 1),
        manufacturer=instance.manufacturer,
        refusal=part.unusable.problem if part.unusable else "",
        remedy=part.unusable.remedy if part.unusable else "",
        path=path,
        notes=(*part.notes, *notes),
        affine=affine,
        frames=part.volumes,
    )


def _sequence(frame: Frame, times: Times, echoes: int, echo: int) -> PulseSequence:
    """Read the header of one frame again; to keep all of them would take much memory."""
    with quietly():
        header = read_header(frame.instance.item)
        if header is None:  # it was replaced meanwhile
            return PulseSequence("unknown", None, Timing())
        seen = views(header)
        view = seen[min(frame.index, len(seen) - 1)]
        return sequences.describe(view, times, frame.instance.description, echoes, echo)


def _by_other_reader(series: Series, part: Part) -> list[Series]:
    """Let dcm2niix read what this reader refused; say so where it is not there or fails too."""
    if not fallback.installed():
        return [replace(series, remedy=fallback.EXTRA)]
    made = fallback.convert([frame.instance.item for frame in part.frames])
    if not made:
        both = f"{series.refusal}; dcm2niix does not read it either"
        return [replace(series, refusal=both, remedy=series.remedy or "Choose another series")]
    found = []
    for number, image in enumerate(made, 1):
        for name, value in series.timing.values.items():
            image.timing.add(name, value, series.timing.origins[name])
        image.timing.extras = dict(series.timing.extras)
        sizes = [float(v) for v in np.linalg.norm(image.affine[:3, :3], axis=0)]
        found.append(
            replace(
                series,
                key=series.key if len(made) == 1 else f"{series.key}c{number}",
                timing=image.timing,
                shape=image.shape,
                voxel_size=(sizes[0], sizes[1], sizes[2]),
                plane=plane_of(image.affine),
                volumes=image.volumes,
                refusal="",
                remedy="",
                notes=(*series.notes, "Read by dcm2niix."),
                affine=image.affine,
                converted=image,
            )
        )
    return found


def _times_of(part: Part) -> tuple[Times, tuple[str, ...]]:
    """Return the times of a part; where they differ from slice to slice, the median."""
    first = part.frames[0].times
    notes: list[str] = []
    kept: dict[str, Stated | None] = {}
    for name in ("tr", "te", "ti"):
        stated = [getattr(frame.times, name) for frame in part.frames]
        found = [s.value for s in stated if s is not None]
        mine: Stated | None = getattr(first, name)
        varies = mine is not None and max(found) - min(found) > 0.01 * max(found)
        if varies and part.stack is None:
            mine = None  # images that do not belong together have no time in common
        elif mine is not None and varies:
            middle = float(np.median(found))
            notes.append(
                f"{name.upper()} differs between slices ({min(found):g} to {max(found):g} ms); "
                f"the median is taken."
            )
            mine = Stated(middle, f"{mine.where}, median of {min(found):g} to {max(found):g} ms")
        kept[name] = mine
    return replace(first, tr=kept["tr"], te=kept["te"], ti=kept["ti"]), tuple(notes)


def _with_keys(found: Iterable[Series]) -> list[Series]:
    """Sort by number and make the keys unique."""
    ordered = sorted(found, key=lambda s: (s.number is None, s.number or 0, s.key))
    counts: Counter[str] = Counter()
    named = []
    for series in ordered:
        counts[series.key] += 1
        nth = counts[series.key]
        named.append(series if nth == 1 else replace(series, key=f"{series.key}-{nth}"))
    return named
