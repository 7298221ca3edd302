"""What a file is: a scan or a checkpoint, its parameters and where each was read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nibabel import orientations

from crl_core.io import ImageFile
from crl_core.scan import Scan

CHECKPOINT_ENDINGS = (".safetensors", ".pth", ".pt")

KEYS = {"tr": "repetition_time_ms", "te": "echo_time_ms", "ti": "inversion_time_ms"}


def describe(path: str | Path) -> dict[str, Any]:
    """Describe a scan or a checkpoint in plain values that JSON can hold.

    Parameters
    ----------
    path
        A NIfTI image, a checkpoint, or the card of a checkpoint.

    Returns
    -------
    dict
        ``kind`` is ``"scan"`` or ``"checkpoint"``. A scan has ``repetition_time_ms``,
        ``echo_time_ms`` and ``inversion_time_ms``, each with ``_origin`` and ``_certainty``
        beside it, all null where unknown; an inversion time of 0 means no inversion.

    Raises
    ------
    CRLError
        When the file is missing, damaged or of another kind.
    """
    path = Path(path)
    if path.is_file() and path.name.lower().endswith((*CHECKPOINT_ENDINGS, ".json")):
        return describe_checkpoint(path)
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
        "shape": list(scan.shape),
        "volumes": read.count,
        "voxel_size_mm": [round(size, 6) for size in scan.voxel_size],
        "orientation": _orientation(scan),
        "slices": scan.n_slices,
        "slice_axis": "xyz"[scan.slice_axis],
        "intensity_range": [float(np.min(scan.data)), float(np.max(scan.data))],
        "synthetic": file.synthetic,
    }
    for name, key in KEYS.items():
        origin = timing.origins.get(name)
        found[key] = timing.values.get(name)
        found[f"{key}_origin"] = None if origin is None else origin.where
        found[f"{key}_certainty"] = None if origin is None else origin.certainty
    found["note"] = scan.note
    return found


def _orientation(scan: Scan) -> str | None:
    """Letters of the ends the axes run to, such as ``RAS``; None where that is a guess."""
    letters: Any = orientations.aff2axcodes
    return "".join(letters(scan.affine)) if scan.orientation_stated else None
