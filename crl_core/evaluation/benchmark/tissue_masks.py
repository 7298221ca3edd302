"""Where cerebrospinal fluid, grey and white matter lie, to compare their contrast.

A segmentation that lies among the dataset's derivatives is taken; where there is none, one is
estimated from the acquired scans and called so.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crl_core import io
from crl_core.errors import CRLError
from crl_core.io.nifti import stem
from crl_core.physics.signal import fse_signal
from crl_core.physics.tissues import tissue
from crl_core.scan import BoolArray, Scan
from crl_core.sequence import SequenceParameters

STATED, ESTIMATED, NONE = "stated", "estimated", "none"

ENOUGH = 20
"""Voxels below which a mean says nothing."""

_WORDS = {
    "csf": ("csf", "fluid", "cerebrospinal fluid"),
    "grey": ("gm", "grey", "gray", "cortical grey matter", "grey matter", "gray matter"),
    "white": ("wm", "white", "white matter"),
}
_LESION_WORDS = ("white matter lesion", "lesion", "wmh", "ms lesion")
_TISSUES = {"csf": "ventricular fluid", "grey": "cortical grey matter", "white": "white matter"}
_OTHERS = ("fat", "muscle", "compact bone")
_SCALP_MM = 18.0
"""What lies this near the air is scalp, fat and bone rather than brain."""


@dataclass(frozen=True)
class TissueMasks:
    """Voxels of each tissue on the grid of a visit's scans.

    Parameters
    ----------
    csf, grey, white
        Boolean; may be empty.
    lesion
        White matter lesions where they are known.
    how
        ``"stated"`` by a derivative, ``"estimated"`` from the scans, or ``"none"``.
    """

    csf: BoolArray
    grey: BoolArray
    white: BoolArray
    lesion: BoolArray | None
    how: str


def tissue_masks(root: Path, label: str, scans: Mapping[str, Scan]) -> TissueMasks:
    """Find or estimate the masks of one visit.

    Parameters
    ----------
    root
        The dataset.
    label
        ``sub-01`` or ``sub-01_ses-2``.
    scans
        The visit's acquired scans by key, on one grid.
    """
    first = next(iter(scans.values()))
    lesion = _lesions(root, label, first)
    stated = _stated(root, label, first)
    if stated is None:
        stated = _estimated(scans)
        how = ESTIMATED if stated is not None else NONE
    else:
        how = STATED
    empty = np.zeros(first.shape, bool)
    found = stated or dict.fromkeys(_WORDS, empty)
    if lesion is not None:
        found = {name: mask & ~lesion for name, mask in found.items()}
    return TissueMasks(found["csf"], found["grey"], found["white"], lesion, how)


# stated -----------------------------------------------------------------------------------------


def derivatives(root: Path, label: str, ending: str) -> list[Path]:
    """Return files of a visit among the derivatives, such as all that end in ``_T1map.nii.gz``."""
    folder = "/".join(part for part in label.split("_"))
    return sorted((root / "derivatives").glob(f"*/{folder}/*/{label}*{ending}"))


def on_grid(path: Path, like: Scan) -> NDArray[np.float32] | None:
    """Read a map that must lie on the grid of the scans; None where it does not."""
    try:
        found = io.load(path)
    except CRLError:
        return None
    return found.data if found.same_grid(like, tolerance_mm=0.01) else None


def _stated(root: Path, label: str, like: Scan) -> dict[str, BoolArray] | None:
    return _from_labels(root, label, like) or _from_probabilities(root, label, like)


def _from_labels(root: Path, label: str, like: Scan) -> dict[str, BoolArray] | None:
    for path in derivatives(root, label, "_dseg.nii.gz"):
        numbers = _numbers(path)
        found = {name: [n for w, n in numbers if w in words] for name, words in _WORDS.items()}
        if not all(found.values()):
            continue
        data = on_grid(path, like)
        if data is not None:
            return {name: np.isin(data, which) for name, which in found.items()}
    return None


def _from_probabilities(root: Path, label: str, like: Scan) -> dict[str, BoolArray] | None:
    found: dict[str, BoolArray] = {}
    for path in derivatives(root, label, "_probseg.nii.gz"):
        words = [
            e.split("-", 1)[1].lower() for e in stem(path).split("_") if e.startswith("label-")
        ]
        names = [name for name, known in _WORDS.items() if words and words[0] in known]
        data = on_grid(path, like) if names else None
        if data is not None:
            # Sure voxels only: at a border the mean is that of neither tissue.
            found[names[0]] = data > 0.95
    return found if set(found) == set(_WORDS) else None


def _lesions(root: Path, label: str, like: Scan) -> BoolArray | None:
    for path in derivatives(root, label, "_dseg.nii.gz"):
        which = [n for word, n in _numbers(path) if word in _LESION_WORDS]
        data = on_grid(path, like) if which else None
        if data is not None:
            return np.isin(data, which)
    for path in derivatives(root, label, "_mask.nii.gz"):
        data = on_grid(path, like) if "lesion" in path.name.lower() else None
        if data is not None:
            return np.asarray(data > 0.5)
    return None


def _numbers(path: Path) -> list[tuple[str, int]]:
    """Read what the labels of a segmentation mean from the table beside it or above it."""
    own = path.with_name(stem(path) + ".tsv")
    for table in (own, *(folder / "dseg.tsv" for folder in list(path.parents)[:4])):
        if not table.is_file():
            continue
        try:
            with table.open(encoding="utf-8-sig", newline="") as stream:
                rows = list(csv.DictReader(stream, delimiter="\t"))
            pairs = [
                (str(r.get(column) or "").strip().lower(), int(r["index"]))
                for r in rows
                for column in ("name", "abbreviation")
            ]
        except (OSError, ValueError, KeyError, TypeError, csv.Error):
            continue
        return pairs
    return []


# estimated --------------------------------------------------------------------------------------


def _estimated(scans: Mapping[str, Scan]) -> dict[str, BoolArray] | None:
    """Estimate three classes from all acquired contrasts of a visit.

    The intensities of a voxel over the contrasts form a vector whose direction depends on T1 and
    T2 alone: proton density and the receive profile only make it longer. Each voxel of the head,
    its outer 18 mm left out, goes to the tissue whose direction under the signal equation is
    nearest, each contrast scaled so that its brightest tissue is its 99.5th percentile. Which class
    is which therefore follows from physics. Kept are voxels at no more than half the distance to
    their tissue than to any other, with no other class beside them. On digital subjects no voxel
    of one class was taken for another; k-means on intensities confused them under shading.
    """
    known = {k: s for k, s in scans.items() if s.parameters is not None}
    if len(known) < 2:
        return None
    first = next(iter(known.values()))
    inside = inner_head(first)
    if np.count_nonzero(inside) < 30 * ENOUGH:
        return None
    tops = np.array([s.scale.scale for s in known.values()])[:, None]
    values = np.stack([s.data[inside] for s in known.values()]) / tops
    labels, sure = _classes(values, _expected([s.parameters for s in known.values()]))
    whole = np.full(inside.shape, -1)
    whole[inside] = labels
    certain = np.zeros(inside.shape, bool)
    certain[inside] = sure
    cross = np.expand_dims(ndimage.generate_binary_structure(2, 1), first.slice_axis)
    return {
        name: certain & ndimage.binary_erosion(whole == k, cross) for k, name in enumerate(_WORDS)
    }


def _expected(parameters: Sequence[SequenceParameters | None]) -> NDArray[np.float64]:
    """Return the signal of each tissue in each contrast, (contrasts, tissues), its brightest 1."""
    table = [tissue(name) for name in (*_TISSUES.values(), *_OTHERS)]
    rows = [
        [float(fse_signal(t.pd[1], t.t1[1], t.t2[1], p)) for t in table]
        for p in parameters
        if p is not None
    ]
    found = np.array(rows)
    return np.asarray(found / found.max(axis=1, keepdims=True))


def _classes(
    values: NDArray[np.floating], expected: NDArray[np.float64]
) -> tuple[NDArray[np.intp], BoolArray]:
    """Return the nearest tissue of every voxel, and whether it is clearly the nearest."""
    length = np.linalg.norm(values, axis=0)
    directions = values / np.maximum(length, 1e-9)
    tissues = expected / np.linalg.norm(expected, axis=0)
    far = 1.0 - tissues.T @ directions
    ordered = np.sort(far, axis=0)
    # Noise has a direction too.
    sure = (ordered[0] < 0.5 * ordered[1]) & (length > 0.1)
    return far.argmin(axis=0), np.asarray(sure)


def inner_head(scan: Scan) -> BoolArray:
    """Return the head mask without its outer 18 mm, slice by slice: hardly any scalp."""
    axis = scan.slice_axis
    spacing = [v for a, v in enumerate(scan.voxel_size) if a != axis]
    planes = [
        ndimage.distance_transform_edt(plane, sampling=spacing) > _SCALP_MM
        for plane in np.moveaxis(np.pad(scan.mask, _around(axis)), axis, 0)
    ]
    whole = np.stack(planes, axis=axis)
    cut = tuple(slice(None) if a == axis else slice(1, -1) for a in range(3))
    return np.asarray(whole[cut])


def _around(axis: int) -> list[tuple[int, int]]:
    """One voxel of air around a slice, so that a head cut by the image ends there too."""
    return [(0, 0) if a == axis else (1, 1) for a in range(3)]
