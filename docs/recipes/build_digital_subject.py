"""Build ``resources/demo/digital`` from one whole-head label map of BBillot/SynthSeg.

    python docs/recipes/build_digital_subject.py training_seg_13.nii.gz resources/demo/digital

Run once by a maintainer; the result is part of the repository. Map 13 is used because no shipped
network was trained on it, although it served to validate them, and because its brain is whole.
The recipe writes ten sequences of 22 slices of 6 mm, close to the 6.5 mm of the paper's protocol,
the label map they were made from, and where the lesions are that were put into it.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import typer
from demo_files import write_image

from crl_core.io.bids import image_path, sidecar_path, write_dataset_description, write_json
from crl_core.io.image_file import SIMULATED_FIELD
from crl_core.io.timing import to_fields
from crl_core.physics.anatomy import detailed
from crl_core.physics.labels import LabelMap, cut, read_label_map
from crl_core.physics.lesions import Inclusions, add_ms
from crl_core.physics.protocols import with_train
from crl_core.physics.realism import Realism
from crl_core.physics.subjects import DigitalSubject
from crl_core.sequence import PAPER_SEQUENCES, PRESETS

SEED = 78
SLICES, THICKNESS = 22, 6
MARGIN = 3
"""Air kept around the head, mm."""

LESIONS = 34
GAIN = 1000.0

# A good examination at 3 T: eight channels, fair refocusing, little motion.
SESSION = Realism(
    texture=0.045,
    bias=0.3,
    noise=0.006,
    blur=0.15,
    lesions=0.0,
    refocusing=150.0,
    transmit=0.08,
    inversion=0.91,
    artery_speed=300.0,
    vein_speed=150.0,
    fat_shift=1.0,
    ghost=0.006,
    motion=0.2,
    coils=8,
)

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

NOTE = "Digital subject, not a person. Simulated from a label map, with lesions put into it."
ABOUT = {
    "DatasetType": "derivative",
    "License": "Apache-2.0",
    "SourceDatasets": [{"URL": "https://github.com/BBillot/SynthSeg"}],
    SIMULATED_FIELD: "simulated, no person was scanned",
}


def crop(found: LabelMap) -> LabelMap:
    """Return the part of the map that holds the brain along z and the whole head across it.

    Labels below 100 other than 24, the fluid that also surrounds the spinal cord, are brain. The
    sides are even numbers of eight, which transform quickly.
    """
    labels = found.labels
    brain = np.argwhere((labels > 0) & (labels < 100) & (labels != 24))[:, 2]
    missing = SLICES * THICKNESS - int(np.ptp(brain)) - 1
    first = int(brain.min()) - missing // 2
    inside = np.argwhere((labels[:, :, first : first + SLICES * THICKNESS] > 0).any(axis=2))
    low, high = inside.min(axis=0) - MARGIN, inside.max(axis=0) + MARGIN + 1
    high = high + -(high - low) % 8
    across = [(int(a), int(b)) for a, b in zip(low, high, strict=True)]
    return cut(found, (across[0], across[1], (first, first + SLICES * THICKNESS)))


def main(label_file: Path, out: Path) -> None:
    """Build the dataset."""
    found = crop(read_label_map(label_file))
    affine = found.affine
    typer.echo(f"cropped to {found.labels.shape}")
    write_image(out / "labels.nii.gz", found.labels.astype(np.int16), affine)

    tissues = detailed(found, np.random.default_rng(SEED))
    subject = DigitalSubject.from_tissues(tissues, affine, SEED, realism=SESSION)
    inclusions = Inclusions.none(tissues.shape)
    add_ms(np.random.default_rng([SEED, 5]), tissues, (1.0, 1.0, 1.0), inclusions, LESIONS)
    subject = replace(subject, inclusions=inclusions)
    sequences = [(NAMES[k], f"paper{k}", SUFFIXES[k], p) for k, p in PAPER_SEQUENCES.items()]
    sequences.append(("T1w", "short", "T1w", PRESETS["T1w"]))
    played = [with_train(p, 3.0) for *_, p in sequences]
    starts = list(range(0, SLICES * THICKNESS, THICKNESS))
    volumes = subject.scan(played, starts, THICKNESS, GAIN)

    # The centre of the first slab lies half a slab above its lowest voxel's lower face.
    thick = affine @ np.diag([1.0, 1.0, THICKNESS, 1.0])
    thick[:3, 3] += affine[:3, 2] * (THICKNESS - 1) / 2
    # A count is 0.8 of the noise of a voxel of 1 x 1 x 6 mm.
    step = 0.8 * SESSION.noise * GAIN * 5.0 / THICKNESS
    for (name, label, suffix, _), parameters, volume in zip(
        sequences, played, volumes, strict=True
    ):
        path = image_path(out, "digital", label, suffix)
        write_image(path, volume, thick, step)
        names = {"CRLName": name, "CRLNote": NOTE, SIMULATED_FIELD: True}
        write_json(sidecar_path(path), to_fields(parameters) | names)
    write_dataset_description(
        out, "One digital subject: the nine sequences of the paper and a T1w", extra=ABOUT
    )
    truth = out / "derivatives" / "crl-simulate"
    path = truth / "sub-digital" / "anat" / "sub-digital_desc-inclusions_dseg.nii.gz"
    where = subject.maps(starts, THICKNESS).inclusions > 0
    write_image(path, where.astype(np.int16), thick)
    write_json(sidecar_path(path), {"CRLNote": "1: white matter lesion", SIMULATED_FIELD: True})
    write_dataset_description(truth, "Lesions of the digital subject", extra=ABOUT)
    typer.echo(f"{int(where.sum())} voxels of lesion")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
