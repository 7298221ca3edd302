"""Images of a plain folder: what they are, and copies of them that name nobody.

The voxels of a copy are those of the file, byte for byte. Free text of the header, extensions and
the file name inside a gzip file are not copied, for all of them may name a patient.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from crl_core.errors import CRLError, InputError
from crl_core.io import nifti
from crl_core.io.arrange_words import why_no_scan
from crl_core.io.atomic import TEMPORARY, atomic_path
from crl_core.io.bids import read_sidecar
from crl_core.io.image_file import (
    ORIENTATION_FIELD,
    SIMULATED_FIELD,
    SIMULATED_MARK,
    ImageFile,
    is_simulated,
)
from crl_core.io.timing import INVERSION_WORDS, Timing, to_fields
from crl_core.scan import Origin
from crl_core.sequence import SequenceParameters

MAX_FILES = 200_000
MAX_DEPTH = 16

_TRANSFORMS = (".mat", ".tfm", ".xfm", ".lta", ".h5")
_OTHER_IMAGES = (".hdr", ".img", ".mgz", ".mgh", ".nrrd", ".nhdr", ".mha", ".mhd", ".mnc")
_TEXTS = ("data_type", "db_name", "descrip", "aux_file", "intent_name")
"""Fields of a NIfTI header that hold text; NIfTI-2 has some of them."""

_LABEL_INTENT = 1002
_MOST_LABELS = 256
_PIECEWISE = ((9, 0.0), (32, 0.78), (_MOST_LABELS + 1, 0.6))
"""From which share of equal neighbours on an image of fewer whole numbers than that is a
segmentation. In 15 whole-head label maps (53 labels) 0.87 or more are equal at 1 mm, 0.61 at
4 mm; in 15 T1w, T2w and FLAIR scans at most 0.16 at 256 levels, 0.58 at 32 and 0.76 at 16."""

_CODES = ("SE", "IR", "GR", "EP", "RM")
"""What ``ScanningSequence`` may hold; other text is not copied."""


@dataclass(frozen=True)
class Found:
    """What an image file holds.

    Parameters
    ----------
    timing
        What its sidecar and header say of TR, TE and TI.
    why_left_out
        Why it cannot be used, in one line; empty when it can.
    """

    timing: Timing = field(default_factory=Timing)
    why_left_out: str = ""


def list_files(folder: Path) -> list[Path]:
    """List images and transforms in a folder of any depth, sorted; hidden ones are passed over.

    Raises
    ------
    InputError
        When there are too many files.
    """
    found: list[Path] = []
    count = 0
    for above, folders, names in os.walk(folder):
        depth = len(Path(above).relative_to(folder).parts)
        folders[:] = [] if depth >= MAX_DEPTH else sorted(f for f in folders if f[0] != ".")
        count += len(names)
        if count > MAX_FILES:
            raise InputError(
                f"holds more than {MAX_FILES} files", path=folder, remedy="Name a smaller folder"
            )
        shown = (n for n in names if not n.startswith((".", TEMPORARY)))
        found += [Path(above) / name for name in shown if _belongs(name)]
    return sorted(found)


def why_not_by_name(path: Path, relative: str) -> str:
    """Return what in a file's name keeps it out; empty when nothing does."""
    if not nifti.is_nifti_name(path):
        other = path.name.lower().endswith(_OTHER_IMAGES)
        return "not a .nii or .nii.gz file; convert it first" if other else "a transform"
    compressed = path.with_name(path.name + ".gz")
    if path.name.lower().endswith(".nii") and compressed.exists():
        return f"{compressed.name} lies beside it"
    return why_no_scan(relative)


def look(path: Path) -> Found:
    """Read an image, its sidecar and header; never raises for what is wrong with them."""
    try:
        file = ImageFile.read(path)
        reason = _why_not(file)
        return Found(Timing(), reason) if reason else Found(file.timing())
    except CRLError as error:
        other = error.path is not None and error.path != path
        where = f"{error.path.name} " if error.path is not None and other else ""
        remedy = f". {error.remedy}" if error.remedy else ""
        return Found(Timing(), f"{where}{error.problem.rstrip('.')}{remedy}")


def fields_of(
    parameters: SequenceParameters,
    origins: Mapping[str, Origin],
    name: str,
    *,
    stated: bool = True,
    simulated: bool = False,
    sequence: object = None,
) -> dict[str, Any]:
    """Return the sidecar of an arranged image.

    Parameters
    ----------
    parameters, origins
        TR, TE and TI, and how they are known.
    name
        Name of the written image.
    stated
        Whether it states its orientation.
    simulated
        Whether it shows a digital subject.
    sequence
        ``ScanningSequence`` of the source, where it has one.
    """
    fields = to_fields(parameters, origins)
    listed = set(re.split(r"[^A-Z]+", str(sequence or "").upper()))
    codes = [code for code in _CODES if code in listed and (code != "IR" or parameters.inverted)]
    if {"GR", "EP"} & set(codes):
        fields["ScanningSequence"] = codes  # a gradient echo must not pass for a spin echo
    ti = origins.get("ti")
    assumed = ti is not None and ti.certainty == "nominal" and not parameters.inverted
    if assumed and not codes and not INVERSION_WORDS.search(name.lower()):
        # Then reading assumes again that there is no inversion, which "SE" would state.
        del fields["ScanningSequence"]
    if not stated:
        fields[ORIENTATION_FIELD] = False
    if simulated:
        fields[SIMULATED_FIELD] = True
    return fields


def copy_image(source: Path, target: Path) -> dict[str, Any]:
    """Copy an image without what may name a person; return what to tell `fields_of` of it.

    Raises
    ------
    InputError
        When the source cannot be read any more.
    OutputError
        When the copy cannot be written.
    """
    header, _, stated = nifti.read_header(source)
    sidecar = read_sidecar(source)[0]
    simulated = is_simulated(sidecar, header)
    with atomic_path(target) as temporary:
        if _says_nothing(source, header):
            with source.open("rb") as stream, temporary.open("wb") as out:
                for block in _blocks(stream, source):
                    out.write(block)
            with _reading(temporary) as copy:
                for _ in _blocks(copy, source):
                    pass  # to the end, where the checksum stands
        else:
            _write_anew(source, temporary, SIMULATED_MARK if simulated else "")
    return {
        "stated": stated and sidecar.get(ORIENTATION_FIELD, True) is not False,
        "simulated": simulated,
        "sequence": sidecar.get("ScanningSequence"),
    }


# what an image is -------------------------------------------------------------------------------


def _belongs(name: str) -> bool:
    lower = name.lower()
    transform = lower.endswith(_TRANSFORMS) or (lower.endswith(".txt") and "_to_" in lower)
    return nifti.is_nifti_name(name) or transform or lower.endswith(_OTHER_IMAGES)


def _why_not(file: ImageFile) -> str:
    header = file.volume.header
    if file.synthetic:
        return "synthetic, not acquired"
    if file.volume.count > 1:
        return f"4-D, {file.volume.count} volumes; training takes one"
    if int(header["intent_code"]) == _LABEL_INTENT:
        return "a segmentation, as its header says"
    return _why_no_picture(file.volume.data)


def _why_no_picture(data: NDArray[np.float32]) -> str:
    """Return why voxels are no scan: one value, two, or areas of few whole numbers."""
    sample = np.unique(data.ravel()[:: max(1, data.size // 20_000)])
    if len(sample) > _MOST_LABELS:
        return ""
    values = np.unique(data)
    if len(values) == 1:
        return "it holds one single value"
    if len(values) == 2:
        return "a mask, it holds two values"
    if len(values) > _MOST_LABELS or not np.array_equal(values, np.round(values)):
        return ""
    needed = next(share for below, share in _PIECEWISE if len(values) < below)
    if max(_equal_neighbours(data, values[0], axis) for axis in range(3)) >= needed:
        return f"a segmentation, areas of {len(values)} values"
    return ""


def _equal_neighbours(data: NDArray[np.float32], background: float, axis: int) -> float:
    """Return which share of the neighbours along an axis, off the background, are equal."""
    moved = np.moveaxis(data, axis, 0)
    first, second = moved[:-1], moved[1:]
    inside = (first != background) & (second != background)
    return float((first == second)[inside].mean()) if inside.any() else 0.0


# copies -----------------------------------------------------------------------------------------


def _says_nothing(source: Path, header: Any) -> bool:
    """Return whether a file may be copied as it is: compressed, and without any text."""
    with source.open("rb") as stream:
        start = stream.read(4)
    # Flags of gzip: a file name, a comment or other fields inside.
    plain = start[:2] == b"\x1f\x8b" and not start[3] & 0b11100
    texts = [bytes(header[n]).strip(b"\0 ") for n in _TEXTS if n in header]
    return plain and not any(texts) and not list(header.extensions)


def _write_anew(source: Path, target: Path, description: str) -> None:
    """Compress a file again with its texts and extensions blanked."""
    with (
        _reading(source) as stream,
        target.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as out,
    ):
        blocks = _blocks(stream, source)
        start = next(blocks, b"")
        kind: Any = nib.Nifti2Header if start[4:8] == b"n+2\0" else nib.Nifti1Header
        size = 540 if kind is nib.Nifti2Header else 348
        header = kind(start[:size], check=False)
        for name in _TEXTS:
            if name in header:
                header[name] = b""
        header["descrip"] = description.encode("ascii")
        first_voxel = max(size, int(header["vox_offset"]))
        while len(start) < first_voxel:
            start += next(blocks)
        out.write(header.binaryblock)
        out.write(b"\0" * (first_voxel - size))  # here extensions were; zeros say there are none
        out.write(start[first_voxel:])
        for block in blocks:
            out.write(block)


def _reading(source: Path) -> BinaryIO:
    with source.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(source, "rb")) if compressed else source.open("rb")


def _blocks(stream: BinaryIO, source: Path) -> Iterator[bytes]:
    """Give what is left of a stream; a refusal names the source, not the copy."""
    while True:
        try:
            block = stream.read(1 << 20)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(
                "cannot be read to its end", path=source, remedy="Copy or export the file again"
            ) from error
        if not block:
            return
        yield block
