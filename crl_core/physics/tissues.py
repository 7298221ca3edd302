"""Relaxation times and proton densities of the head, and which label means which tissue.

The numbers live in ``resources/tissues.json``, each with the publication it comes from. They
are ranges: a subject is a draw, never a constant.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from crl_core.resources import resource

Range = tuple[float, float, float]
Table = NDArray[np.float32]
"""One row per tissue in the order of `tissue_names`: PD, T1 (ms), T2 (ms)."""


@dataclass(frozen=True, slots=True)
class Tissue:
    """A tissue at one field strength; each range is (low, usual, high)."""

    name: str
    pd: Range
    t1: Range
    t2: Range
    sources: tuple[str, ...]


@cache
def tissues(field_strength: float = 3.0) -> tuple[Tissue, ...]:
    """Return all tissues at 1.5 T or 3 T; air is the first and means "nothing here"."""
    table = json.loads(resource("tissues.json").read_text(encoding="utf-8"))
    key = "1.5" if field_strength < 2.25 else "3"
    found = []
    for name, entry in table["tissues"].items():
        values = entry[key]
        cited = tuple(table["sources"][s] for s in entry["from"])
        found.append(
            Tissue(name, _range(entry["pd"]), _range(values["t1"]), _range(values["t2"]), cited)
        )
    found.sort(key=lambda t: t.name != "air")
    return tuple(found)


def _range(values: list[float]) -> Range:
    low, usual, high = values
    return (float(low), float(usual), float(high))


@cache
def tissue_names() -> tuple[str, ...]:
    """Return the names in table order."""
    return tuple(t.name for t in tissues())


@cache
def tissue_index(name: str) -> int:
    """Return the row of a tissue."""
    return tissue_names().index(name)


def tissue(name: str, field_strength: float = 3.0) -> Tissue:
    """Return one tissue by name."""
    return tissues(field_strength)[tissue_index(name)]


# Labels of the whole-head maps by Billot et al. (SynthSeg), which extend FreeSurfer's by
# extra-cerebral classes above 500. What those are is not documented; the tissues here were read
# off their place in the head.
LABEL_TISSUES: dict[int, str] = {
    **dict.fromkeys((2, 7, 28, 41, 46, 60, 85), "white matter"),
    **dict.fromkeys((3, 8, 17, 18, 42, 47, 53, 54, 26, 58), "cortical grey matter"),
    **dict.fromkeys((11, 12, 50, 51), "striatum"),
    **dict.fromkeys((10, 49), "thalamus"),
    **dict.fromkeys((13, 52), "pallidum"),
    **dict.fromkeys((16, 512), "brain stem"),
    **dict.fromkeys((4, 5, 14, 15, 24, 43, 44, 136, 137, 163, 164), "cerebrospinal fluid"),
    **dict.fromkeys((25, 57), "white matter lesion"),
    **dict.fromkeys((30, 62, 514, 530), "venous blood"),
    507: "fat",
    511: "skin",
    515: "compact bone",
    516: "bone marrow",
    506: "vitreous humour",
    509: "mucosa",
    502: "muscle",
    508: "muscle",
}


def labels_to_tissues(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Map a label volume to rows of the tissue table; unknown labels become air."""
    lookup = np.zeros(max(int(labels.max()), max(LABEL_TISSUES)) + 1, dtype=np.uint8)
    for label, name in LABEL_TISSUES.items():
        lookup[label] = tissue_index(name)
    return np.asarray(lookup[np.clip(labels, 0, None)])


def usual_table(field_strength: float = 3.0) -> Table:
    """Return the usual PD, T1, T2 of every tissue, (n, 3)."""
    rows = [(t.pd[1], t.t1[1], t.t2[1]) for t in tissues(field_strength)]
    return np.array(rows, dtype=np.float32)


def draw_table(
    rng: np.random.Generator, field_strength: float = 3.0, *, wide: float = 0.0
) -> Table:
    """Draw one subject's PD, T1, T2 per tissue, (n, 3).

    A triangular draw within the published range; `wide` in [0, 1] then spreads T1 and T2 by up
    to a factor of 1.6 either way and PD by up to 25 %, for networks that must not rely on one
    table.
    """
    rows = []
    for t in tissues(field_strength):
        row = [
            rng.triangular(low, usual, high) if high > low else usual
            for low, usual, high in (t.pd, t.t1, t.t2)
        ]
        rows.append(row)
    table = np.array(rows, dtype=np.float32)
    spread = wide * rng.uniform(-1.0, 1.0, size=table.shape).astype(np.float32)
    table[:, 0] = np.clip(table[:, 0] * (1.0 + 0.25 * spread[:, 0]), 0.0, 1.1)
    table[:, 1:] *= np.exp(np.log(1.6) * spread[:, 1:])
    return table
