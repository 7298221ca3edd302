"""Digital subjects written as a BIDS dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from crl_core import io
from crl_core.errors import InputError, OutputError, ParameterError
from crl_core.io.bids import image_path, write_dataset_description, write_participants
from crl_core.physics.subjects import DigitalSubject, Realism, check_labels
from crl_core.scan import Origin, Scan
from crl_core.sequence import SequenceParameters

ECHO_SPACING = 10.42
ECHO_TRAIN_LENGTH = 16
"""The echo train assumed for simulated sequences; the paper's TEs are multiples of the spacing."""


def simulate_dataset(
    labels: Sequence[Path],
    output: Path,
    sequences: Mapping[str, SequenceParameters],
    *,
    subjects: int = 1,
    seed: int = 0,
    n_slices: int = 25,
    thickness_mm: float = 5.0,
    field_strength: float = 3.0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Simulate subjects from label maps and write them as a BIDS dataset.

    Parameters
    ----------
    labels
        Label maps, NIfTI; see `crl_core.physics.tissues.LABEL_TISSUES` for the labels known.
    output
        The dataset's folder; must be new or empty.
    sequences
        Name to parameters; names become the ``acq-`` entity.
    subjects
        Subjects drawn from each label map.
    seed
        The same seed gives the same images.
    n_slices, thickness_mm
        Axial slices over the upper part of the head, without gap.
    field_strength
        1.5 or 3 tesla.
    progress
        Called with (subjects done, subjects in all).

    Returns
    -------
    paths
        The images written.

    Raises
    ------
    OutputError
        When the folder is not empty.
    InputError
        When a label map cannot be used.
    """
    if output.exists() and any(output.iterdir()):
        raise OutputError("the folder is not empty", path=output, remedy="Name a new folder")
    if field_strength not in (1.5, 3.0):
        raise ParameterError(
            f"tissue values are known for 1.5 and 3 T, not {field_strength:g} T",
            remedy="Choose one of them",
        )
    for parameters in sequences.values():
        parameters.check_order()
    written: list[Path] = []
    rows = []
    total = len(labels) * subjects
    for number in range(total):
        source = labels[number // subjects]
        label = f"{number + 1:02d}"
        subject = _subject(source, [seed, number], field_strength)
        scans = _scan(subject, sequences, n_slices, thickness_mm, field_strength, source)
        if number == 0:  # only now is it clear that there will be a dataset
            about = {"CRLSynthetic": "simulated, no person was scanned"}
            write_dataset_description(output, "Digital subjects", extra=about)
        for scan in scans:
            path = image_path(output, label, scan.name, _suffix(scan.parameters))
            io.save(scan, path, sidecar={"CRLSynthetic": True}, description="simulated")
            written.append(path)
        # The map's file name may name a person; its place in the list does not.
        anatomy = f"anatomy-{number // subjects + 1:02d}"
        rows.append({"participant_id": f"sub-{label}", "anatomy": anatomy})
        if progress is not None:
            progress(number + 1, total)
    write_participants(output, rows)
    return written


def _subject(source: Path, seed: Sequence[int], field_strength: float) -> DigitalSubject:
    scan = io.load(source)
    check_labels(scan.data, source)
    rng = np.random.default_rng(seed)
    realism = Realism.draw(rng, wide=0.0)
    return DigitalSubject.from_labels(
        scan.data.astype(np.int32),
        scan.affine,
        int(rng.integers(2**31)),
        field_strength=field_strength,
        realism=realism,
    )


def _scan(
    subject: DigitalSubject,
    sequences: Mapping[str, SequenceParameters],
    n_slices: int,
    thickness_mm: float,
    field_strength: float,
    source: Path,
) -> list[Scan]:
    """Scan one subject with every sequence, cropped to the head with a margin."""
    box = _head_box(subject, source)
    voxel_z = float(np.linalg.norm(subject.affine[:3, 2]))
    step = max(1, round(thickness_mm / voxel_z))
    low, high = box[2]
    # Down to the neck nothing is of interest to a brain protocol.
    first = low + round(0.38 * (high - low))
    starts = list(range(first, high - step + 1, step))[:n_slices]
    if not starts:
        raise InputError("the label map is too short for one slice", path=source)
    full = [
        replace(
            p,
            echo_spacing=ECHO_SPACING,
            echo_train_length=min(ECHO_TRAIN_LENGTH, int((p.tr - p.ti) / ECHO_SPACING)) or 1,
            field_strength=field_strength,
        )
        for p in sequences.values()
    ]
    volumes = subject.scan(full, starts, step)
    (x0, x1), (y0, y1) = box[0], box[1]
    affine = subject.affine.copy()
    affine[:3, 3] = (subject.affine @ [x0, y0, starts[0] + (step - 1) / 2, 1.0])[:3]
    affine[:3, 2] *= step
    origin = Origin("simulated")
    return [
        Scan(
            volume[x0:x1, y0:y1],
            affine,
            name,
            parameters,
            dict.fromkeys(("tr", "te", "ti"), origin),
        )
        for volume, name, parameters in zip(volumes, sequences, full, strict=True)
    ]


def _head_box(subject: DigitalSubject, source: Path) -> list[tuple[int, int]]:
    box = []
    for axis in range(3):
        other = tuple(a for a in range(3) if a != axis)
        inside = np.flatnonzero((subject.tissues > 0).any(axis=other))
        if len(inside) == 0:
            raise InputError(
                "the label map holds no tissue this program knows",
                path=source,
                remedy="Use FreeSurfer-style labels",
            )
        margin = 8 if axis < 2 else 0
        low = max(0, int(inside[0]) - margin)
        box.append((low, min(subject.tissues.shape[axis], int(inside[-1]) + 1 + margin)))
    return box


def _suffix(parameters: SequenceParameters | None) -> str:
    """Return the BIDS suffix that fits the contrast."""
    assert parameters is not None
    if parameters.ti > 1500:
        return "FLAIR"
    if parameters.te > 60:
        return "T2w"
    return "PDw" if parameters.tr > 3000 and not parameters.inverted else "T1w"
