"""Synthesise the scans of real patients from each other and compare with what was acquired.

Made for the studies of Lesjak et al. (Neuroinformatics 2016; CC-BY), which carry no times::

    python docs/recipes/measure_patients.py FOLDER [--checkpoint FILE] [--slices 8]

FOLDER holds ``NAME_T1W.nii.gz``, ``NAME_T2W.nii.gz`` and ``NAME_FLAIR.nii.gz`` of each study on one
grid. Times are NOMINAL: what is measured says how useful a synthesis is, not how right its
parameters are. PSNR is taken in the head mask after one least-squares gain, peak = 99.5th
percentile of the reference. Table and linear fit are fitted on the reference itself.

Lesions are ESTIMATED: voxels among white matter that are 1.4 times as bright as its median in the
acquired FLAIR and 1.25 times in the acquired T2W.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.cluster.vq import kmeans2

from crl_core import io
from crl_core.checkpoint import default_checkpoint, load_checkpoint
from crl_core.evaluation.baselines import BASELINES, score
from crl_core.evaluation.benchmark.tissue_masks import inner_head
from crl_core.scan import FloatArray, Scan
from crl_core.sequence import SequenceParameters
from crl_core.synthesis import Synthesizer

NOMINAL = {
    "T1W": SequenceParameters(600, 15),
    "T2W": SequenceParameters(4500, 100),
    "FLAIR": SequenceParameters(11000, 140, 2800, fat_suppression=True),
}
"""1.5 T, believed to be those of the studies, not verified; scalp fat is dark in FLAIR."""

CHOICES = (("T1W",), ("T2W",), ("FLAIR",), ("T2W", "T1W"), ("T2W", "FLAIR"), ("T1W", "FLAIR"))
T = TypeVar("T", bound=np.generic)
Row = dict[str, float]

BRIGHTER = {"FLAIR": 1.4, "T2W": 1.25}
"""How much brighter than white matter a lesion is. Cortex is 1.2 to 1.35 times in FLAIR."""

AROUND, MOSTLY = 21, 0.4
"""Voxels along a side around a lesion, and the share of white matter among them."""

FEWEST = 30
"""Voxels of lesion without which a contrast is not told."""


def studies(folder: Path) -> dict[str, dict[str, Scan]]:
    """Read every study that has all three."""
    found = {}
    for path in sorted(folder.glob("*_FLAIR.nii.gz")):
        name = path.name.removesuffix("_FLAIR.nii.gz")
        paths = {kind: folder / f"{name}_{kind}.nii.gz" for kind in NOMINAL}
        if all(p.is_file() for p in paths.values()):
            found[name] = {
                kind: replace(io.load(p), parameters=NOMINAL[kind]) for kind, p in paths.items()
            }
    return found


def lesions_of(scans: Mapping[str, Scan]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Estimate lesions and white matter.

    White matter is the one of four clusters of intensities, at least 18 mm inside the head, with
    most T1W for its T2W.
    """
    axis = scans["FLAIR"].slice_axis
    inside = inner_head(scans["FLAIR"])
    values = np.stack([s.data[inside] / np.percentile(s.data[inside], 99) for s in scans.values()])
    centres, _ = kmeans2(values[:, ::7].T.astype(np.float64), 4, seed=1, minit="++")
    nearest = ((values[:, :, None] - centres.T[:, None]) ** 2).sum(axis=0).argmin(axis=1)
    kinds = list(scans)
    ratio = centres[:, kinds.index("T1W")] / centres[:, kinds.index("T2W")]
    white = np.zeros(inside.shape, bool)
    white[inside] = nearest == ratio.argmax()
    around = np.stack(
        [ndimage.uniform_filter(plane.astype(np.float32), AROUND) for plane in each(white, axis)],
        axis=axis,
    )
    lesion = inside & (around > MOSTLY)
    for kind, times in BRIGHTER.items():
        data = scans[kind].data
        lesion &= data > times * np.median(data[white])
    cross = np.expand_dims(ndimage.generate_binary_structure(2, 1), axis)
    lesion = np.asarray(ndimage.binary_opening(lesion, cross))
    return lesion, white & ~lesion


def each(data: NDArray[T], axis: int) -> NDArray[T]:
    """Return the slices of a volume along the first axis."""
    return np.moveaxis(data, axis, 0)


def cut(scan: Scan, planes: Sequence[int]) -> Scan:
    """Keep some slices."""
    return replace(scan, data=take(scan.data, planes, scan.slice_axis))


def take(data: NDArray[T], planes: Sequence[int], axis: int) -> NDArray[T]:
    """Keep some slices of an array."""
    return np.ascontiguousarray(np.take(data, planes, axis=axis))


def linear(sources: Sequence[Scan], reference: FloatArray, mask: NDArray[np.bool_]) -> FloatArray:
    """Fit a weighted sum of the sources and a constant to the reference."""
    columns = np.stack([*(s.data[mask] for s in sources), np.ones(np.count_nonzero(mask))], axis=1)
    weights = np.linalg.lstsq(columns.astype(np.float64), reference[mask], rcond=None)[0]
    image = np.zeros_like(reference)
    image[mask] = columns @ weights
    return image


def measure(
    synthesizer: Synthesizer,
    scans: Mapping[str, Scan],
    lesion: NDArray[np.bool_],
    white: NDArray[np.bool_],
) -> dict[tuple[str, str], Row]:
    """Return, for each choice of sources and target, what was found."""
    rows: dict[tuple[str, str], Row] = {}
    for choice in CHOICES:
        sources = [scans[kind] for kind in choice]
        synthesizer.set_sources(sources)
        mask = sources[0].mask
        agreement = synthesizer.agreement()
        for kind in set(NOMINAL) - set(choice):
            reference = synthesizer.scale.to_model(scans[kind].data)
            image = synthesizer.render_volume(NOMINAL[kind])
            row = {
                "network": score(image, reference, mask),
                "linear": score(linear(sources, reference, mask), reference, mask),
                "least weight": min(agreement.weights),
            }
            if len(choice) == 1:
                given = synthesizer.scale.to_model(sources[0].data)
                row["table"] = score(BASELINES["table"](given, reference, mask), reference, mask)
            if np.count_nonzero(lesion) >= FEWEST:
                row["lesion/white"] = float(image[lesion].mean() / image[white].mean())
                acquired = float(reference[lesion].mean() / reference[white].mean())
                row["acquired lesion/white"] = acquired
            rows["+".join(choice), kind] = row
    return rows


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=None)
    parser.add_argument("--slices", type=int, default=8)
    options = parser.parse_args()
    checkpoint = load_checkpoint(options.checkpoint or default_checkpoint())
    synthesizer = Synthesizer(checkpoint, device="cpu")
    found: dict[tuple[str, str], list[Row]] = {}
    for name, scans in studies(options.folder).items():
        first = scans["FLAIR"]
        lesion, white = lesions_of(scans)
        count = first.shape[first.slice_axis]
        planes = np.linspace(0.3 * count, 0.75 * count, options.slices).round().astype(int).tolist()
        some = {kind: cut(scan, planes) for kind, scan in scans.items()}
        masks = [take(m, planes, first.slice_axis) for m in (lesion, white)]
        sys.stdout.write(f"{name}: {np.count_nonzero(masks[0])} voxels of lesion (estimated)\n")
        for key, row in measure(synthesizer, some, *masks).items():
            found.setdefault(key, []).append(row)
    names = ("network", "table", "linear", "lesion/white", "acquired lesion/white", "least weight")
    sys.stdout.write(f"\n| from | to | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}\n")
    for (choice, kind), rows in found.items():
        cells = [_mean([row[n] for row in rows if n in row]) for n in names]
        sys.stdout.write(f"| {choice} | {kind} | {' | '.join(cells)} |\n")


def _mean(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f}" if values else ""


if __name__ == "__main__":
    main()
