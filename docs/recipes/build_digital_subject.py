"""Build ``resources/demo/digital`` from one whole-head label map of BBillot/SynthSeg.

    python docs/recipes/build_digital_subject.py training_seg_15.nii.gz resources/demo/digital

Run once by a maintainer; the result is part of the repository. Map 15 is used because no
shipped network was trained on it, and because it shows an old person's brain with white matter
lesions. The recipe writes ten sequences of 22 slices of 6 mm, close to the 6.5 mm of the paper's
protocol, and the label map they were made from.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import typer
from demo_files import write_image

from crl_core.io.bids import image_path, sidecar_path, write_dataset_description, write_json
from crl_core.io.timing import to_fields
from crl_core.physics.subjects import DigitalSubject, Realism, to_ras
from crl_core.sequence import PAPER_SEQUENCES, PRESETS

SEED = 15
SLICES, THICKNESS = 22, 6
MARGIN = 3
"""Air kept around the head, mm."""

NAMES = {
    1: "1 T1-FLAIR",
    2: "2 short TR",
    3: "3 PD",
    4: "4 TE 63",
    5: "5 PD",
    6: "6 TE 40",
    7: "7 T2w",
    8: "8 GM nulled",
    9: "9 T2-FLAIR",
}
SUFFIXES = {
    1: "T1w",
    2: "PDw",
    3: "PDw",
    4: "T2w",
    5: "PDw",
    6: "PDw",
    7: "T2w",
    8: "T2w",
    9: "FLAIR",
}
"""BIDS suffix by sequence number; where none fits exactly, the nearest."""

NOTE = "Digital subject, not a person. Simulated from a label map."


def crop(labels: np.ndarray) -> tuple[slice, slice, slice]:
    """Return the box that holds the brain along z and the whole head across it.

    Labels below 100 other than 24, the fluid that also surrounds the spinal cord, are brain.
    """
    brain = np.argwhere((labels > 0) & (labels < 100) & (labels != 24))[:, 2]
    missing = SLICES * THICKNESS - int(np.ptp(brain)) - 1
    first = int(brain.min()) - missing // 2
    z = slice(first, first + SLICES * THICKNESS)
    inside = np.argwhere((labels[:, :, z] > 0).any(axis=2))
    low, high = inside.min(axis=0) - MARGIN, inside.max(axis=0) + MARGIN + 1
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])), z


def main(label_file: Path, out: Path) -> None:
    """Build the dataset."""
    image = nib.load(label_file)
    labels, affine = to_ras(np.asarray(image.dataobj).astype(np.int16), image.affine)
    box = crop(labels)
    labels = np.ascontiguousarray(labels[box])
    affine = affine @ nib.affines.from_matvec(np.eye(3), [part.start for part in box])
    typer.echo(f"cropped to {labels.shape}")
    write_image(out / "labels.nii.gz", labels, affine)

    realism = Realism(texture=0.05, bias=0.2, noise=0.01, blur=0.6, lesions=0.0)
    subject = DigitalSubject.from_labels(labels, affine, SEED, realism=realism)
    sequences = [(NAMES[k], f"paper{k}", SUFFIXES[k], p) for k, p in PAPER_SEQUENCES.items()]
    sequences.append(("T1w", "short", "T1w", PRESETS["T1w"]))
    starts = range(0, SLICES * THICKNESS, THICKNESS)
    volumes = subject.scan([p for *_, p in sequences], list(starts), THICKNESS)

    # The centre of the first slab lies half a slab above its lowest voxel's lower face.
    thick = affine @ np.diag([1.0, 1.0, THICKNESS, 1.0])
    thick[:3, 3] += affine[:3, 2] * (THICKNESS - 1) / 2
    for (name, label, suffix, parameters), volume in zip(sequences, volumes, strict=True):
        path = image_path(out, "digital", label, suffix)
        step = 0.8 * realism.noise * float(np.percentile(volume, 98))
        write_image(path, volume, thick, step)
        names = {"CRLName": name, "CRLNote": NOTE}
        write_json(sidecar_path(path), to_fields(parameters) | names)
    write_dataset_description(
        out,
        "One digital subject: the nine sequences of the paper and a T1w",
        extra={
            "DatasetType": "derivative",
            "License": "Apache-2.0",
            "SourceDatasets": [{"URL": "https://github.com/BBillot/SynthSeg"}],
        },
    )


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
