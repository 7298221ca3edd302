"""A second reader for what this one refuses: dcm2niix, where the optional extra is installed.

It converts the files of one series, under neutral names, in a temporary folder; its NIfTI and
sidecar are read like any other and say where they come from. Nothing stays behind.
"""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crl_core.errors import CRLError, InputError
from crl_core.io.dicom.files import DAMAGED, Item
from crl_core.io.image_file import ImageFile
from crl_core.io.timing import Timing
from crl_core.scan import FloatArray, Origin

MOST_BYTES = 4 * 2**30
"""Most bytes of one series that are handed over."""

_SECONDS = 120.0

EXTRA = "Install the extra that may read it: pip install 'crl-explorer[dcm2niix]'"


@dataclass(frozen=True, eq=False)
class Converted:
    """One image that dcm2niix made of a series.

    Parameters
    ----------
    items
        The files it was made from.
    index
        Which of the images made from them it is, sorted by name.
    shape, affine, volumes
        As in `crl_core.io.dicom.series.Series`.
    timing
        What the sidecar says, each value with the origin ``dcm2niix``.
    """

    items: tuple[Item, ...]
    index: int
    shape: tuple[int, int, int]
    affine: Any
    volumes: int
    timing: Timing

    def voxels(self, volume: int, path: Path) -> FloatArray:
        """Convert again and return one volume, float32, (columns, rows, slices).

        Raises
        ------
        InputError
            When dcm2niix no longer reads the files.
        """
        with _images(self.items) as images:
            if self.index < len(images):
                return ImageFile.read(images[self.index], volume).volume.data
        raise InputError("dcm2niix no longer reads it", path=path, remedy="Look for changed files")


def installed() -> bool:
    """Return whether the extra is there."""
    return importlib.util.find_spec("dcm2niix") is not None


def convert(items: Sequence[Item]) -> list[Converted]:
    """Return what dcm2niix makes of the files of one series; empty where that is nothing."""
    kept = tuple(dict.fromkeys(items))
    found: list[Converted] = []
    try:
        with _images(kept) as images:
            for index, image in enumerate(images):
                file = ImageFile.read(image)
                shape, timing = file.volume.data.shape, _timing(file)
                sizes = (shape[0], shape[1], shape[2])
                affine = file.volume.affine
                found.append(Converted(kept, index, sizes, affine, file.volume.count, timing))
    except CRLError:
        return []
    return found


def _timing(file: ImageFile) -> Timing:
    timing = file.timing()
    for name, origin in timing.origins.items():
        if "sidecar" in origin.where:
            timing.origins[name] = Origin("dcm2niix, from the DICOM header", origin.certainty)
    return timing


@contextmanager
def _images(items: Sequence[Item]) -> Iterator[list[Path]]:
    """Give the NIfTI files that dcm2niix makes of the items; empty where it fails."""
    with tempfile.TemporaryDirectory(prefix="crl-") as name:
        source, target = Path(name) / "in", Path(name) / "out"
        source.mkdir()
        target.mkdir()
        done = _copy(items, source) and _run(source, target)
        yield sorted(target.glob("*.nii")) if done else []


def _copy(items: Sequence[Item], folder: Path) -> bool:
    if sum(item.size for item in items) > MOST_BYTES:
        return False
    try:
        for number, item in enumerate(items):
            (folder / f"{number:06d}.dcm").write_bytes(item.bytes_at(0, item.size))
    except DAMAGED:
        return False
    return True


def _run(source: Path, target: Path) -> bool:
    program = importlib.import_module("dcm2niix").bin
    # Uncompressed, the rescale slope of the header (not Philips' private one), an anonymous
    # sidecar, and a name without anything from the header but numbers.
    options = ["-z", "n", "-p", "n", "-b", "y", "-ba", "y", "-f", "s%s_%e"]
    try:
        subprocess.run(
            [str(program), *options, "-o", str(target), str(source)],
            check=False,  # it also counts remarks as failures; what it wrote decides
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
    except (subprocess.SubprocessError, OSError):
        return False
    return True
