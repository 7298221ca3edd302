"""Scans as a list shows them, from the headers of DICOM series and NIfTI files.

What reads DICOM is imported with this module, before there are threads: two of them that import
one package at once may find half of it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from crl_core.errors import Cancelled, CRLError, InputError
from crl_core.geometry import SlicePlane
from crl_core.io import ImageFile, dicom, nifti
from crl_core.io.bids import read_sidecar, scan_name
from crl_core.io.image_file import SYNTHETIC_FIELD
from crl_core.io.timing import Timing, read_timing, sequence_type
from crl_core.picture import middle_slice
from crl_core.scan import FloatArray, Scan
from crl_viewer.state.offers import Offer, Opened

PICTURE = 96
"""Longer side of a small picture, pixels."""

_MAX_PICTURE_BYTES = 96 * 2**20
"""Larger files are listed without a picture: reading them all would take too long."""


class Watcher(Protocol):
    """What a listing tells and asks; see `crl_viewer.workers.tasks.Task`."""

    def say(self, text: str) -> None:
        """Tell what is being done."""

    def progress(self, done: int, total: int) -> None:
        """Tell how far it is."""

    def cancelled(self) -> bool:
        """Return whether to stop."""


def is_dicom_file(path: Path) -> bool:
    """Return whether one file, not an archive, begins as DICOM does."""
    plain = path.is_file() and not nifti.is_nifti_name(path) and not is_archive(path)
    return plain and dicom.is_dicom(path)


def is_archive(path: Path) -> bool:
    """Return whether a file is a zip archive, damaged or not."""
    named = path.suffix.lower() == ".zip"
    return path.is_file() and (named or zipfile.is_zipfile(path))


# DICOM ------------------------------------------------------------------------------------------


def dicom_offers(place: Sequence[Path], watcher: Watcher) -> list[Offer]:
    """List the scans of a folder, an archive or DICOM files of one folder.

    Raises
    ------
    InputError
        When there is none.
    Cancelled
        When the watcher says so.
    """
    path = place[0]
    if len(place) > 1:
        found = _look(path.parent, watcher, place)
    elif path.is_file() and not is_archive(path):
        found = _series_around(path, watcher)
    else:
        found = _look(path, watcher)
    return [_series_offer(series) for series in found]


def _look(path: Path, watcher: Watcher, files: Sequence[Path] | None = None) -> list[dicom.Series]:
    return dicom.find_series(
        path, files=files, progress=watcher.progress, cancelled=watcher.cancelled
    )


def _series_around(file: Path, watcher: Watcher) -> list[dicom.Series]:
    """Return what one file holds, or where that is a single slice, the series it belongs to.

    Only the files beside it are looked at.
    """
    alone = _look(file, watcher)
    if len(alone) != 1 or alone[0].refusal or alone[0].shape[2] > 1:
        return alone
    beside = [path for path in sorted(file.parent.iterdir()) if is_dicom_file(path)]
    around = _look(file.parent, watcher, beside) if len(beside) > 1 else []
    mine = [series for series in around if file in _files_of(series)]
    return [replace(series, path=file) for series in mine] or alone


def _files_of(series: dicom.Series) -> set[Path]:
    """Return the files of a series that can be used; empty for any other."""
    return {frame.instance.item.path for volume in series.frames for frame in volume}


def _series_offer(series: dicom.Series) -> Offer:
    number = "" if series.number is None else str(series.number)
    return Offer(
        path=series.path,
        series=series.key,
        title=series.description or f"Series {series.key}",
        number=number,
        kind=series.kind,
        fast_spin_echo=series.fast_spin_echo,
        timing=series.timing,
        shape=series.shape,
        voxel_size=series.voxel_size,
        plane=series.plane,
        volumes=series.volumes,
        refusal=series.refusal,
        remedy=series.remedy,
        maker=series.manufacturer,
        read=partial(_read_series, series),
        thumbnail=partial(dicom.thumbnail, series, PICTURE),
    )


def _read_series(series: dicom.Series, volume: int | None = None) -> Opened:
    return Opened(
        scan=dicom.read_series(series, volume=volume),
        volumes=series.volumes,
        timing=series.timing,
        volume=volume or 0,
        again=partial(_read_series, series),
        chosen=series.path,
    )


# NIfTI ------------------------------------------------------------------------------------------


def nifti_offers(images: Sequence[Path], watcher: Watcher) -> list[Offer]:
    """Describe NIfTI files from their headers.

    Raises
    ------
    Cancelled
        When the watcher says so.
    """
    offers = []
    for done, path in enumerate(images):
        if watcher.cancelled():
            raise Cancelled("the search was given up")
        watcher.progress(done, len(images))
        offers.append(nifti_offer(path))
    return offers


def nifti_offer(path: Path) -> Offer:
    """Describe a NIfTI file from its header and sidecars; one that is damaged says so."""
    try:
        header, affine, _ = nifti.read_header(path)
        sidecar, where = read_sidecar(path)
        timing = read_timing(sidecar, header, path=path, where=where)
        plane, volumes = _lie_of(header, affine)
    except CRLError as refusal:
        return Offer(
            path, scan_name(path), Timing(), (0, 0, 0), (0.0, 0.0, 0.0), partial(_read_nifti, path),
            refusal=refusal.problem, remedy=refusal.remedy,
        )  # fmt: skip
    rows, cols = plane.shape_display
    kind, turbo = sequence_type(sidecar, timing)
    if sidecar.get(SYNTHETIC_FIELD) is True:
        kind, turbo = "synthetic, not acquired", None
    return Offer(
        path=path,
        title=scan_name(path),
        timing=timing,
        shape=(cols, rows, plane.n_slices),
        voxel_size=(*plane.spacing, plane.slice_spacing),
        read=partial(_read_nifti, path),
        kind=kind,
        fast_spin_echo=turbo,
        plane=plane.name.lower(),
        volumes=volumes,
        thumbnail=partial(_nifti_picture, path),
        maker=str(sidecar.get("Manufacturer", ""))[:40],
    )


def _lie_of(header: Any, affine: Any) -> tuple[SlicePlane, int]:
    """Return how the slices of a file lie, and how many volumes it holds."""
    shape = [int(n) for n in header.get_data_shape()]
    x, y, z = [*shape, 1, 1][:3]
    # A volume of one repeated zero takes no memory and knows its slice axis.
    like = Scan(np.broadcast_to(np.float32(0), (x, y, z)), affine, "")
    volumes = int(np.prod(shape[3:])) if len(shape) > 3 else 1
    return SlicePlane(affine, like.shape, like.slice_axis), volumes


def _read_nifti(path: Path, volume: int | None = None) -> Opened:
    file = ImageFile.read(path, volume)
    return Opened(
        scan=file.scan(),
        volumes=file.volume.count,
        timing=file.timing(),
        volume=file.volume.index,
        again=partial(_read_nifti, path),
        chosen=path,
    )


def _nifti_picture(path: Path) -> FloatArray:
    """Return the middle slice as on screen, 0 to 1, with square pixels.

    Raises
    ------
    InputError
        When the file is damaged, or too large to be read for a picture.
    """
    if path.stat().st_size > _MAX_PICTURE_BYTES:
        raise InputError("is too large for a small picture", path=path)
    return middle_slice(ImageFile.read(path, 0).scan(), PICTURE)
