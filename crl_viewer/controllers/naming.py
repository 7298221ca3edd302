"""Names of the files that are written, and what must not be lost under them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from crl_core.io.bids import sidecar_path
from crl_core.io.nifti import is_nifti_name
from crl_core.scan import Scan


def image_path(name: str) -> Path:
    """Return the path of an image, with the ending that was not typed.

    >>> image_path("T2").name, image_path("T2.nii").name
    ('T2.nii.gz', 'T2.nii')
    """
    path = Path(name)
    return path if is_nifti_name(path) else path.with_name(path.name + ".nii.gz")


def picture_path(name: str) -> Path:
    """Return the path of a picture, with the ending that was not typed.

    >>> picture_path("TE 2.5").name
    'TE 2.5.png'
    """
    path = Path(name)
    return path if path.suffix.lower() == ".png" else path.with_name(path.name + ".png")


def files_of(path: Path) -> list[Path]:
    """Return the files that are written for a name: for an image its sidecar too."""
    return [path, sidecar_path(path)] if is_nifti_name(path) else [path]


def is_open(scans: Sequence[Scan], path: Path) -> bool:
    """Return whether what is written at `path` would replace a file of one of the scans.

    ``T2.nii`` and ``T2.nii.gz`` share a sidecar, so that neither may be written beside the other.
    """
    theirs = [file for scan in scans if scan.path is not None for file in files_of(scan.path)]
    return any(_same(mine, file) for mine in files_of(path) for file in theirs)


def _same(one: Path, other: Path) -> bool:
    """Return whether two names stand for one file, whatever case or link they are written with."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.abspath(one) == os.path.abspath(other)
