"""Label maps: read from files, and their labels understood as tissues.

Three numberings are recognised by the labels a map holds; any other needs a table from the user.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crl_core.errors import InputError
from crl_core.physics.tissues import LABEL_TISSUES, OTHER_SOFT, tissue_index, tissue_names

_LARGEST = 1_000_000
"""Largest label that is looked up."""

Tissues = NDArray[np.uint8]
"""Rows of the tissue table, (x, y, z)."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """What the labels of a family of maps mean.

    Parameters
    ----------
    name
        What to call it.
    tissues
        Label to tissue; labels it lacks mean air.
    soft
        Label of soft tissue that is fat and muscle alike, None where there is none.
    """

    name: str
    tissues: Mapping[int, str]
    soft: int | None = None


WHOLE_HEAD = Scheme("FreeSurfer labels, extended to the whole head", LABEL_TISSUES, OTHER_SOFT)

# Collins et al., IEEE Trans Med Imaging 1998;17:463; names of the discrete phantom.
BRAINWEB = Scheme(
    "BrainWeb labels 0 to 9",
    {
        1: "cerebrospinal fluid",
        2: "cortical grey matter",
        3: "white matter",
        4: "fat",
        5: "muscle",
        6: "skin",
        7: "compact bone",
        8: "cortical grey matter",
        9: "dura and fascia",
    },
)

# Twelve classes of the twenty normal phantoms (Aubert-Broche et al., IEEE Trans Med Imaging
# 2006;25:1410), spread over the grey levels 0 to 255.
BRAINWEB_GREYS = Scheme(
    "BrainWeb classes as grey levels",
    {
        23: "cerebrospinal fluid",
        46: "cortical grey matter",
        70: "white matter",
        93: "fat",
        116: "muscle",
        139: "skin",
        162: "compact bone",
        185: "venous blood",
        209: "fat",
        232: "dura and fascia",
        255: "bone marrow",
    },
)


@dataclass(frozen=True)
class LabelMap:
    """A label map in RAS order and what it means.

    Parameters
    ----------
    labels
        As in the file, (x, y, z).
    affine
        4x4 to RAS+ mm.
    tissues
        Rows of the tissue table.
    scheme
        How the labels were understood.
    notes
        What a user should be told about the reading.
    """

    labels: NDArray[np.int32]
    affine: NDArray[np.float64]
    tissues: Tissues
    scheme: Scheme
    notes: tuple[str, ...] = ()

    @property
    def soft(self) -> NDArray[np.bool_]:
        """Where fat and muscle are not told apart."""
        if self.scheme.soft is None:
            return np.zeros(self.labels.shape, dtype=bool)
        return np.asarray(self.labels == self.scheme.soft)


def read_label_map(path: str | Path, meaning: Mapping[int, str] | None = None) -> LabelMap:
    """Read a NIfTI or MATLAB label map and turn it to RAS.

    Parameters
    ----------
    path
        The file; one ending with ``.mat`` is read as MATLAB.
    meaning
        Label to tissue; by default the numbering is recognised.

    Raises
    ------
    InputError
        When the file is no label map, or most of its labels mean nothing.
    """
    path = Path(path)
    notes: tuple[str, ...] = ()
    if path.suffix.lower() == ".mat":
        from crl_core.physics.matlab import read_mat

        data, affine, notes = read_mat(path)
    else:
        from crl_core import io

        scan = io.load(path)
        data, affine = scan.data, scan.affine
    labels = _whole_numbers(data, path)
    counts = np.bincount(labels.ravel())
    if meaning is None:
        scheme = recognise(np.flatnonzero(counts))
        if scheme is not WHOLE_HEAD:
            notes = (f"read as {scheme.name}", *notes)
    else:
        scheme = Scheme("the table given", meaning)
    _check_known(counts, path, scheme)
    labels, affine = to_ras(labels, affine)
    return LabelMap(labels, affine, to_tissues(labels, scheme), scheme, notes)


def cropped(found: LabelMap, path: Path | None = None, margin: int = 0) -> LabelMap:
    """Return a map cut to the box of its tissue, widened by `margin` voxels where there is room.

    Raises
    ------
    InputError
        When it holds no tissue.
    """
    box = []
    for axis, count in enumerate(found.tissues.shape):
        other = tuple(a for a in range(3) if a != axis)
        inside = np.flatnonzero((found.tissues > 0).any(axis=other))
        if len(inside) == 0:
            raise InputError("the label map holds no tissue this program knows", path=path)
        box.append((max(0, int(inside[0]) - margin), min(count, int(inside[-1]) + 1 + margin)))
    return cut(found, (box[0], box[1], box[2]))


def cut(found: LabelMap, box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]) -> LabelMap:
    """Return a part of a map: first and one past the last index along each axis."""
    part = tuple(slice(low, high) for low, high in box)
    affine = found.affine.copy()
    affine[:3, 3] = (found.affine @ [box[0][0], box[1][0], box[2][0], 1.0])[:3]
    return replace(
        found,
        labels=np.ascontiguousarray(found.labels[part]),
        tissues=np.ascontiguousarray(found.tissues[part]),
        affine=affine,
    )


def recognise(labels: NDArray[np.integer]) -> Scheme:
    """Return the numbering a map uses, judged by the labels it holds, each given once or more."""
    found = {int(v) for v in labels} - {0}
    if found <= set(range(1, 10)) and {1, 2, 3} <= found:
        return BRAINWEB  # FreeSurfer has no label 1
    if found <= set(BRAINWEB_GREYS.tissues) and {23, 46, 70} <= found:
        return BRAINWEB_GREYS
    return WHOLE_HEAD


def to_tissues(labels: NDArray[np.integer], scheme: Scheme = WHOLE_HEAD) -> Tissues:
    """Map labels to rows of the tissue table; labels without a meaning become air."""
    lookup = np.zeros(max(int(labels.max(initial=0)), *scheme.tissues) + 1, dtype=np.uint8)
    for label, name in scheme.tissues.items():
        lookup[label] = tissue_index(name)
    return np.asarray(lookup[np.clip(labels, 0, None)])


def read_meaning(path: str | Path) -> dict[int, str]:
    """Read a JSON object of label to tissue name, as given to ``--tissues``.

    Raises
    ------
    InputError
        When a label is no whole number of 0 or more, or a tissue is unknown.
    """
    from crl_core.io.bids import read_json

    path = Path(path)
    meaning: dict[int, str] = {}
    for label, name in read_json(path).items():
        if not (label.isascii() and label.isdigit()) or int(label) > _LARGEST:
            raise InputError(
                f"'{label}' is no label", path=path, remedy="Use whole numbers from 0 as labels"
            )
        if name not in tissue_names():
            raise InputError(
                f"label {label}: '{name}' is no tissue this program knows",
                path=path,
                remedy=f"Choose from {', '.join(tissue_names())}",
            )
        meaning[int(label)] = name
    if not meaning:
        raise InputError("names no label", path=path, remedy='Write {"1": "white matter", ...}')
    return meaning


_REMEDY = "Give a segmentation with FreeSurfer-style or BrainWeb labels, or --tissues"


def _whole_numbers(data: NDArray[np.number], path: Path) -> NDArray[np.int32]:
    """Return labels as integers, or refuse an image that is no label map."""
    low, high = float(data.min(initial=0)), float(data.max(initial=0))
    if high > _LARGEST:
        raise InputError("holds labels above a million", path=path, remedy=_REMEDY)
    labels = data.astype(np.int32) if low >= 0 else None
    if labels is None or high <= 0 or not np.array_equal(labels, data):
        raise InputError(
            "is no label map: its values are not whole numbers above 0", path=path, remedy=_REMEDY
        )
    return np.asarray(labels)


def _check_known(counts: NDArray[np.intp], path: Path, scheme: Scheme) -> None:
    """Refuse a map when most of its labels mean nothing."""
    inside = int(counts[1:].sum())
    known = sum(int(counts[label]) for label in scheme.tissues if 0 < label < len(counts))
    if known < 0.5 * inside:
        raise InputError(
            f"holds no tissue this program knows in {100 * (1 - known / inside):.0f} % "
            "of its labels",
            path=path,
            remedy=_REMEDY,
        )


def to_ras(
    labels: NDArray[np.integer], affine: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Reorder a volume so that its axes run right, anterior, superior; nothing is resampled."""
    from nibabel import orientations

    turn = orientations.io_orientation(affine)
    turned = orientations.apply_orientation(labels, turn)
    back = orientations.inv_ornt_aff(turn, labels.shape)
    return np.asarray(turned), np.asarray(affine @ back, dtype=np.float64)
