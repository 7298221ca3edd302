"""What a folder, a file or an archive of DICOM objects holds, one entry per scan."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crl_core.errors import Cancelled, InputError
from crl_core.io.dicom import codecs, sequences
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
from crl_core.io.dicom.headers import Header, quietly, read_header
from crl_core.io.dicom.timing import Stated, Times
from crl_core.io.nifti import MAX_VOXELS
from crl_core.io.timing import Timing

_LOOKED_AT = 500
"""How many files of a folder `is_dicom` looks at."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Series:
    """One thing that opens as one scan.

    A DICOM series that holds two echo times, or magnitude and phase, gives several.

    Parameters
    ----------
    key
        Short and unique within one listing: ``"5"``, ``"5e2"`` (second echo), ``"5p"`` (phase).
    number
        Series number, where there is one.
    description
        Words of the protocol, ``""`` where there are none.
    kind
        ``"fast spin echo"``, ``"inversion recovery fast spin echo"``, ``"spin echo"``,
        ``"inversion recovery"``, ``"gradient echo"``, ``"echo planar"`` or ``"unknown"``.
    fast_spin_echo
        None where the header does not say.
    timing
        TR, TE, TI in ms with their origins, and further sequence parameters.
    shape
        Columns, rows, slices of one volume.
    voxel_size
        Edge lengths of a voxel along those axes, mm.
    plane
        ``"axial"``, ``"oblique coronal"`` and the like; ``""`` where unusable.
    volumes
        How many volumes cover the same places.
    manufacturer
        As the header names it.
    refusal, remedy
        Why it cannot be used and what to do about it; ``""`` where it can.
    path
        The file, folder or archive it was found in.
    notes
        Sentences a viewer should show beside the scan.
    """

    key: str
    number: int | None
    description: str
    kind: str
    fast_spin_echo: bool | None
    timing: Timing
    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    plane: str
    volumes: int
    manufacturer: str
    refusal: str
    remedy: str
    path: Path
    notes: tuple[str, ...] = ()
    affine: NDArray[np.float64] = field(default_factory=lambda: np.eye(4), repr=False)
    frames: tuple[tuple[Frame, ...], ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """What to call the scan on screen; never a patient's name."""
        if self.description:
            return self.description
        return f"series {self.key}"


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
    with all_open(items), quietly():
        for done, item in enumerate(items):
            if cancelled():
                raise Cancelled("reading the DICOM files was cancelled", path=path)
            frames.extend(_frames_or_count(item, others, alone=len(items) == 1, path=path))
            if progress is not None:
                progress(done + 1, len(items))
        if not frames:
            raise _nothing(path, others)
        by_series: dict[tuple[str, ...], list[Frame]] = defaultdict(list)
        for frame in frames:
            by_series[frame.instance.series].append(frame)
        found = [s for members in by_series.values() for s in _open_series(members, path, others)]
    return _with_keys(found)


def _frames_or_count(item: Item, others: Counter[str], *, alone: bool, path: Path) -> list[Frame]:
    try:
        header = read_header(item)
    except InputError:
        if alone:
            raise
        others["damaged file"] += 1
        return []
    if header is None:
        return []
    if header.pixel_offset is None:
        others[_what(header)] += 1
        return []
    return frames_of(header)


def _what(header: Header) -> str:
    """Name an object without pixels."""
    from pydicom.uid import UID

    name = UID(header.sop_class).name
    if name == header.sop_class or "Image" in name:
        return "damaged file"
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
    if set(others) == {"damaged file"}:
        return InputError(
            "begins as DICOM but holds no pixels: it is truncated or its header is damaged",
            path=path,
            remedy="Copy or export it again",
        )
    return InputError(
        f"holds no DICOM images, only other objects ({words})",
        path=path,
        remedy="Name a file or folder of DICOM images",
    )


def _open_series(frames: Sequence[Frame], path: Path, others: Counter[str]) -> list[Series]:
    parts = [_checked(part, path) for part in split(frames)]
    tes = sorted({part.frames[0].times.te.value for part in parts if part.frames[0].times.te})
    found = []
    for part in parts:
        if part.unusable and part.unusable.problem.startswith("gap") and others["damaged file"]:
            lost = f"{part.unusable.problem}; {others['damaged file']} files here are damaged"
            part = replace(part, unusable=Unusable(lost, part.unusable.remedy))
        found.append(_series(part, path, tes))
    return found


def _checked(part: Part, path: Path) -> Part:
    """Refuse volumes that are incomplete, too large, or that nothing decodes."""
    if part.unusable is not None or part.stack is None:
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
        return replace(part, unusable=reason)
    if rows * columns * slices > MAX_VOXELS:
        reason = Unusable(
            f"too large ({columns} x {rows} x {slices} voxels)", "Export fewer slices"
        )
        return replace(part, unusable=reason)
    if instance.compressed and not codecs.decodable(instance.syntax):
        from pydicom.uid import UID

        reason = Unusable(
            f"pixels compressed in a way this program does not decode ({UID(instance.syntax).name})",
            "Install the extra: pip install 'crl-explorer[dcm2niix]'",
            other_reader=True,
        )
        return replace(part, unusable=reason)
    return part


def _series(part: Part, path: Path, tes: Sequence[float]) -> Series:
    first = part.frames[0]
    instance = first.instance
    header = read_header(instance.item)
    seen = views(header) if header is not None else []
    times, notes = _times_of(part)
    description = instance.description
    _, _, rows, columns = first.tile
    if seen:
        view = seen[min(first.index, len(seen) - 1)]
        echo = tes.index(times.te.value) if times.te and times.te.value in tes else 0
        sequence = sequences.describe(view, times, description, max(len(tes), 1), echo)
    else:
        sequence = sequences.Sequence("unknown", None, Timing())
    words = f"{description} {part.words}".strip() if description else ""
    number = "x" if instance.number is None else str(instance.number)
    usable = part.unusable is None and part.stack is not None
    affine = part.stack.affine if part.stack is not None and usable else np.eye(4)
    slices = len(part.volumes[0]) if usable else len(part.frames)
    if usable and slices == 1:
        notes = (*notes, "One slice only.")
    if part.stack is not None and usable:
        sizes = tuple(float(v) for v in np.linalg.norm(affine[:3, :3], axis=0))
    else:
        spacing = first.spacing or (0.0, 0.0)
        sizes = (spacing[1], spacing[0], first.thickness or 0.0)
    return Series(
        key=f"{number}{part.suffix}",
        number=instance.number,
        description=words,
        kind=sequence.kind,
        fast_spin_echo=sequence.fast_spin_echo,
        timing=sequence.timing,
        shape=(columns, rows, slices),
        voxel_size=(sizes[0], sizes[1], sizes[2]),
        plane=plane_of(affine) if usable else "",
        volumes=max(len(part.volumes), 1),
        manufacturer=instance.manufacturer,
        refusal=part.unusable.problem if part.unusable else "",
        remedy=part.unusable.remedy if part.unusable else "",
        path=path,
        notes=(*part.notes, *notes),
        affine=affine,
        frames=part.volumes,
    )


def _times_of(part: Part) -> tuple[Times, tuple[str, ...]]:
    """Return the times of a part; where they differ from slice to slice, the median."""
    first = part.frames[0].times
    notes: list[str] = []
    kept: dict[str, Stated | None] = {}
    for name in ("tr", "te", "ti"):
        stated = [getattr(frame.times, name) for frame in part.frames]
        found = [s.value for s in stated if s is not None]
        mine: Stated | None = getattr(first, name)
        if mine is not None and max(found) - min(found) > 0.01 * max(found):
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


def choose_series(found: list[Series], wanted: str | None, path: Path) -> Series:
    """Return the scan of a key, or the only usable one.

    Raises
    ------
    InputError
        When there is no such key, when several are usable and none was named, or when the
        chosen one cannot be used.
    """
    if wanted is not None:
        for series in found:
            if series.key == wanted.strip():
                return usable(series)
        raise InputError(
            f"holds no series '{wanted}'",
            path=path,
            remedy=f"Choose one with --series: {_listed(found)}",
        )
    good = [series for series in found if not series.refusal]
    if len(good) == 1:
        return good[0]
    if not good:
        if len(found) == 1:
            return usable(found[0])
        reasons = "; ".join(f"{s.key}: {s.refusal}" for s in found[:4])
        raise InputError(
            f"holds {len(found)} scans, none of which can be used ({reasons})",
            path=path,
            remedy=found[0].remedy,
        )
    raise InputError(
        f"holds {len(good)} scans",
        path=path,
        remedy=f"Choose one with --series: {_listed(good)}",
    )


def _listed(found: Sequence[Series]) -> str:
    shown = [f"{s.key} ({s.name})" if s.description else s.key for s in found[:8]]
    return ", ".join(shown) + (" and more" if len(found) > 8 else "")


def usable(series: Series) -> Series:
    """Return the series, or refuse it with its own reason.

    Raises
    ------
    InputError
        When it cannot be used.
    """
    if series.refusal:
        raise InputError(
            f"series {series.key} cannot be used: {series.refusal}",
            path=series.path,
            remedy=series.remedy,
        )
    return series
