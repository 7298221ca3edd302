"""What a file is: a scan or a checkpoint, its parameters and where each was read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from nibabel import orientations

from crl_core.errors import InputError
from crl_core.io import ImageFile, holds_dicom
from crl_core.io.timing import Timing, sequence_type
from crl_core.scan import Scan

if TYPE_CHECKING:
    from crl_core.io.dicom import Series

CHECKPOINT_ENDINGS = (".safetensors", ".pth", ".pt")

KEYS = {"tr": "repetition_time_ms", "te": "echo_time_ms", "ti": "inversion_time_ms"}


def describe(path: str | Path, series: str | None = None) -> dict[str, Any]:
    """Describe a scan or a checkpoint in plain values that JSON can hold.

    Parameters
    ----------
    path
        A NIfTI image, DICOM (a file, a folder or a zip archive), a checkpoint, or the card
        of a checkpoint.
    series
        Which scan of several in DICOM; None describes the only usable one, or lists them all.

    Returns
    -------
    dict
        ``kind`` is ``"scan"``, ``"dicom"`` or ``"checkpoint"``. A scan has
        ``repetition_time_ms``, ``echo_time_ms`` and ``inversion_time_ms``, each with
        ``_origin`` and ``_certainty`` beside it, all null where unknown; an inversion time of
        0 means no inversion. DICOM also has ``series``, a list with one entry for each scan
        found; ``"dicom"`` is said where several can be used and none was named, and its own
        times are null then.

    Raises
    ------
    CRLError
        When the file is missing, damaged or of another kind.
    """
    path = Path(path)
    if path.is_file() and path.name.lower().endswith((*CHECKPOINT_ENDINGS, ".json")):
        return describe_checkpoint(path)
    if holds_dicom(path):
        return describe_dicom(path, series)
    if series is not None:
        raise InputError(
            "is no DICOM, so it holds no series to choose", path=path, remedy="Leave --series out"
        )
    return describe_scan(path)


def describe_checkpoint(path: Path) -> dict[str, Any]:
    """Describe a checkpoint from its card; weights are read and checked too."""
    from crl_core.checkpoint import load_checkpoint, read_card

    found: dict[str, Any] = {"kind": "checkpoint", "path": str(path)}
    if path.suffix.lower() == ".json":
        return found | read_card(path).as_dict()
    checkpoint = load_checkpoint(path)
    return found | {"n_parameters": checkpoint.model.n_parameters} | checkpoint.card.as_dict()


def describe_scan(path: Path) -> dict[str, Any]:
    """Describe a NIfTI image; the voxels are read too, so that damage shows."""
    file = ImageFile.read(path)
    read, timing, scan = file.volume, file.timing(), file.scan()
    found: dict[str, Any] = {
        "kind": "scan",
        "path": str(path),
        "format": "NIfTI-2" if int(read.header["sizeof_hdr"]) == 540 else "NIfTI-1",
        "stored_as": str(read.header.get_data_dtype()),
        **_grid(scan, read.count),
    }
    kind, fast = sequence_type(file.sidecar, timing)
    found |= _times(timing) | _sequence(timing, kind, fast, file.sidecar.get("Manufacturer"))
    return found | {"note": scan.note}


def describe_dicom(path: Path, wanted: str | None = None) -> dict[str, Any]:
    """Describe what DICOM holds; of a single scan the voxels are read too."""
    from crl_core.io.dicom import choose_series, find_series, read_series

    listed = find_series(path)
    found: dict[str, Any] = {"kind": "dicom", "path": str(path), "format": "DICOM"}
    if wanted is None and sum(not series.refusal for series in listed) > 1:
        entries = [
            _summary(series) | _times(series.timing) | _of_series(series) for series in listed
        ]
        return found | _times(Timing()) | {"series": entries}
    chosen = choose_series(listed, wanted, path)
    scan = read_series(chosen)
    found |= {
        "kind": "scan",
        "key": chosen.key,
        "name": scan.name,
        **_grid(scan, chosen.volumes),
        "plane": chosen.plane,
    }
    found |= _times(chosen.timing) | _of_series(chosen)
    return found | {"note": scan.note, "series": [_summary(series) for series in listed]}


def _grid(scan: Scan, volumes: int) -> dict[str, Any]:
    return {
        "shape": list(scan.shape),
        "volumes": volumes,
        "voxel_size_mm": [round(size, 6) for size in scan.voxel_size],
        "orientation": _orientation(scan),
        "slices": scan.n_slices,
        "slice_axis": "xyz"[scan.slice_axis],
        "intensity_range": [float(np.min(scan.data)), float(np.max(scan.data))],
        "synthetic": scan.synthetic,
    }


def _summary(series: Series) -> dict[str, Any]:
    """Return what tells a scan from the others in a list."""
    return {
        "key": series.key,
        "number": series.number,
        "description": series.description,
        "shape": list(series.shape),
        "volumes": series.volumes,
        "voxel_size_mm": [round(size, 6) for size in series.voxel_size],
        "plane": series.plane,
        "refusal": series.refusal,
        "remedy": series.remedy,
    }


def _of_series(series: Series) -> dict[str, Any]:
    return _sequence(series.timing, series.kind, series.fast_spin_echo, series.manufacturer)


def _sequence(timing: Timing, kind: str, fast: bool | None, manufacturer: Any) -> dict[str, Any]:
    """Return what was acquired besides TR, TE and TI; None where the header does not say."""
    extras = timing.extras
    return {
        "sequence_type": kind or None,
        "fast_spin_echo": fast,
        "echo_train_length": extras.get("echo_train_length"),
        "echo_spacing_ms": extras.get("echo_spacing"),
        "fat_suppression": extras.get("fat_suppression"),
        "field_strength_t": extras.get("field_strength"),
        "manufacturer": str(manufacturer)[:40] if manufacturer else None,
    }


def _times(timing: Timing) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, key in KEYS.items():
        origin = timing.origins.get(name)
        found[key] = timing.values.get(name)
        found[f"{key}_origin"] = None if origin is None else origin.where
        found[f"{key}_certainty"] = None if origin is None else origin.certainty
    return found


def _orientation(scan: Scan) -> str | None:
    """Letters of the ends the axes run to, such as ``RAS``; None where that is a guess."""
    letters: Any = orientations.aff2axcodes
    return "".join(letters(scan.affine)) if scan.orientation_stated else None
