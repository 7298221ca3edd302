"""The scans shipped with the program, so that it can be tried without files of one's own.

They are two small BIDS datasets under ``resources/demo``. What BIDS has no field for stands in
their sidecars under names of our own:

=========================  ==================================================================
``CRLName``                what to call the image on screen
``CRLNote``                what a viewer should say beside it
``CRLOrigins``             for ``tr``, ``te`` and ``ti``, where the value was found
``CRLParameterCertainty``  how a value is known where nobody stated it (`crl_core.io.timing`)
``CRLOrientationStated``   false where the affine is a guess (`crl_core.io.image_file`)
=========================  ==================================================================

How the datasets were made can be read and repeated in ``docs/recipes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from crl_core.io import load
from crl_core.io.bids import find_subjects, read_sidecar
from crl_core.resources import resource
from crl_core.scan import Origin, Scan


def real_slice() -> list[Scan]:
    """Return one real axial slice acquired twelve times: spin echo first, then inversion.

    Six spin echo images (TR 5000 ms, TE 10 to 250 ms) and six inversion-recovery images
    (TR 15 000 ms, TI 50 to 4000 ms), magnitudes on one grid. The second series is registered
    to the first, its TE is estimated from the data, the pixel size is assumed and the side is
    not stated; each scan's note and origins say so. From fsantini/qMRI_example (MIT).

    Raises
    ------
    InputError
        When the installation lacks the files.
    """
    scans = _dataset("real_slice")
    return sorted(scans, key=lambda s: (0.0, 0.0) if s.parameters is None else s.parameters.triple)


def digital_subject() -> list[Scan]:
    """Return a simulated head as 3-D volumes: the paper's nine sequences in order, then a T1w.

    Ten volumes of 22 slices of 6 mm, with lesions of white matter put in. No shipped network was
    trained on its anatomy, though it served to validate them: label map 13 of BBillot/SynthSeg
    (Apache-2.0).

    Raises
    ------
    InputError
        When the installation lacks the files.
    """
    return _dataset("digital")


def label_map() -> Path:
    """Return the path of the label map the digital subject was simulated from, 1 mm."""
    return resource("demo", "digital", "labels.nii.gz")


def lesion_map() -> Path:
    """Return the path of the map of the digital subject's lesions, on the grid of its images."""
    folder = resource("demo", "digital", "derivatives", "crl-simulate", "sub-digital", "anat")
    return folder / "sub-digital_desc-inclusions_dseg.nii.gz"


def _dataset(name: str) -> list[Scan]:
    """Load a demo dataset in the order of its file names."""
    return [_load(path) for files in find_subjects(resource("demo", name)) for path in files.images]


def _load(path: Path) -> Scan:
    """Load one scan and add what its sidecar says beyond BIDS."""
    scan = load(path)
    fields, _ = read_sidecar(path)
    return replace(
        scan,
        name=str(fields.get("CRLName", scan.name)),
        note=str(fields.get("CRLNote", scan.note)),
        origins=_origins(scan.origins, fields.get("CRLOrigins", {})),
    )


def _origins(known: Mapping[str, Origin], where: Mapping[str, Any]) -> dict[str, Origin]:
    return {
        name: replace(origin, where=str(where.get(name, origin.where)))
        for name, origin in known.items()
    }
