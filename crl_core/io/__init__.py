"""Files in and out: one front door, `load` and `save`.

`load` reads an image, NIfTI or DICOM, with what its sidecar or header says of TR, TE and TI;
`save` writes an image with a sidecar from which `load` gets the same back.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crl_core.errors import InputError
from crl_core.io import nifti
from crl_core.io.atomic import atomic_path, check_writable
from crl_core.io.bids import sidecar_path, write_json
from crl_core.io.image_file import ORIENTATION_FIELD, ImageFile
from crl_core.io.timing import to_fields
from crl_core.scan import Scan
from crl_core.sequence import SequenceParameters

__all__ = ["ImageFile", "atomic_path", "holds_dicom", "load", "save"]


def load(
    path: str | Path,
    *,
    volume: int | None = None,
    parameters: SequenceParameters | None = None,
    series: str | None = None,
) -> Scan:
    """Read a scan; what it is follows from its content, not from its name.

    Parameters
    ----------
    path
        A NIfTI file, with or without a BIDS sidecar, or DICOM: one file, a folder or a zip
        archive.
    volume
        Which volume of a 4-D file or series, counted from 0; None takes the first and says so.
    parameters
        What the user states; the file's own values are then not looked at.
    series
        Which scan of several in a DICOM folder or archive; see `crl_core.io.dicom.Series.key`.
        None takes the only one that can be used.

    Returns
    -------
    Scan
        Its `note` says what a viewer should not keep quiet: that the image is synthetic,
        that voxels were replaced, which volume was taken, what is missing.

    Raises
    ------
    InputError
        When the image or its sidecar cannot be used; see `crl_core.io.nifti.read` and
        `crl_core.io.dicom`. When DICOM holds several scans and `series` names none of them.
    """
    path = Path(path)
    if holds_dicom(path):
        from crl_core.io import dicom

        chosen = dicom.choose_series(dicom.find_series(path), series, path)
        return dicom.read_series(chosen, volume=volume, parameters=parameters)
    if series is not None:
        raise InputError(
            "is no DICOM, so it holds no series to choose", path=path, remedy="Leave --series out"
        )
    return ImageFile.read(path, volume).scan(parameters)


def holds_dicom(path: Path) -> bool:
    """Return whether `path` is to be read as DICOM; every folder is."""
    if path.is_dir():
        return True
    from crl_core.io.dicom.listing import is_dicom

    return is_dicom(path)


def save(
    scan: Scan,
    path: str | Path,
    *,
    sidecar: Mapping[str, Any] | None = None,
    description: str = "",
    overwrite: bool = False,
) -> None:
    """Write a scan as float32 NIfTI with a BIDS sidecar beside it.

    Neither file holds the scan's name, its path or its note: those may name a person.

    Parameters
    ----------
    scan
        What to write; its parameters go into both files.
    path
        Name of the image, ending with ``.nii`` or ``.nii.gz``.
    sidecar
        Further fields of the sidecar.
    description
        Text put before the parameters in the NIfTI header.
    overwrite
        Whether older files of these names may be replaced.

    Raises
    ------
    OutputError
        When a file exists and `overwrite` is False, or cannot be written.
    """
    fields: dict[str, Any] = {}
    words = [description] if description else []
    if scan.parameters is not None:
        fields |= to_fields(scan.parameters, scan.origins)
        tr, te, ti = scan.parameters.triple
        words.append(f"TR={tr:.9g};TE={te:.9g};TI={ti:.9g}")
    if not scan.orientation_stated:
        fields[ORIENTATION_FIELD] = False
    check_writable(sidecar_path(path), overwrite=overwrite)
    nifti.write(
        path,
        scan.data,
        scan.affine,
        stated=scan.orientation_stated,
        description=" ".join(words),
        overwrite=overwrite,
    )
    # Written even when empty: an older sidecar would speak for the new image.
    write_json(sidecar_path(path), fields | dict(sidecar or {}), overwrite=overwrite)
