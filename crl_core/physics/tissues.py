"""Relaxation times and proton densities of the head, and which label means which tissue.

The numbers live in ``resources/tissues.json``, each range with the publications it comes from.
They are ranges: a subject is a draw, never a constant.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from crl_core.errors import InputError
from crl_core.resources import resource

Range = tuple[float, float, float]
Group = Literal["solid", "fluid", "blood", "fat"]
GROUPS: tuple[Group, ...] = get_args(Group)
"""Kinds of tissue that an acquisition treats alike: fluid and blood move, fat is off resonance."""

Table = NDArray[np.float32]
"""One row per tissue in the order of `tissue_names`: PD, T1 (ms), T2 (ms)."""

PD, T1, T2 = 0, 1, 2
"""Columns of a `Table`."""


@dataclass(frozen=True, slots=True)
class Tissue:
    """A tissue at one field strength; each range is (low, usual, high).

    Parameters
    ----------
    name
        As in ``resources/tissues.json``.
    pd
        Proton density, fraction of pure water.
    t1, t2
        Relaxation times, ms.
    group
        See `GROUPS`.
    cited
        ``"pd"``, ``"t1"`` and ``"t2"`` to the texts of their sources.
    """

    name: str
    pd: Range
    t1: Range
    t2: Range
    group: Group
    cited: Mapping[str, tuple[str, ...]]

    @property
    def sources(self) -> tuple[str, ...]:
        """Everything cited for this tissue, each once."""
        return tuple(dict.fromkeys(text for texts in self.cited.values() for text in texts))


@cache
def tissues(field_strength: float = 3.0) -> tuple[Tissue, ...]:
    """Return all tissues at 1.5 T or 3 T; air is the first and means "nothing here"."""
    table = json.loads(resource("tissues.json").read_text(encoding="utf-8"))
    key = "1.5" if field_strength < 2.25 else "3"
    texts = {k: f"{s['text']} [{s['how']}]" for k, s in table["sources"].items()}
    found = []
    for name, entry in table["tissues"].items():
        values = {"pd": entry["pd"], **entry[key]}
        ranges = {k: _range(v["range"]) for k, v in values.items()}
        cited = {k: tuple(texts[s] for s in v["from"]) for k, v in values.items()}
        found.append(
            Tissue(
                name,
                ranges["pd"],
                ranges["t1"],
                ranges["t2"],
                entry["group"],
                MappingProxyType(cited),
            )
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
    """Return the row of a tissue.

    Raises
    ------
    InputError
        When no tissue has that name.
    """
    if name not in tissue_names():
        raise InputError(
            f"'{name}' is no tissue this program knows",
            remedy=f"Choose from {', '.join(tissue_names())}",
        )
    return tissue_names().index(name)


def tissue(name: str, field_strength: float = 3.0) -> Tissue:
    """Return one tissue by name; see `tissue_index` for what is refused."""
    return tissues(field_strength)[tissue_index(name)]


@cache
def tissue_groups() -> tuple[Group, ...]:
    """Return the group of every tissue in table order."""
    return tuple(t.group for t in tissues())


# Labels of the whole-head maps by Billot et al. (SynthSeg). Below 100 they are FreeSurfer's; above
# 500 they extend them by the classes of the charm head atlas (Puonti et al., NeuroImage 2020;219:
# 117044). 507 is everything soft under the skin there: `crl_core.physics.anatomy` tells fat from
# muscle in it. 136, 137, 163 and 164 are documented nowhere; they lie in the lateral ventricles and
# their temporal horns, where the choroid plexus is.
OTHER_SOFT = 507
EYES = 506
LABEL_TISSUES: dict[int, str] = {
    **dict.fromkeys((2, 7, 28, 41, 46, 60, 85, 530), "white matter"),
    **dict.fromkeys((3, 8, 17, 18, 42, 47, 53, 54, 26, 58), "cortical grey matter"),
    **dict.fromkeys((11, 12, 50, 51), "striatum"),
    **dict.fromkeys((10, 49), "thalamus"),
    **dict.fromkeys((13, 52), "pallidum"),
    **dict.fromkeys((16, 512), "brain stem"),
    **dict.fromkeys((24, 520), "cerebrospinal fluid"),
    **dict.fromkeys((4, 5, 14, 15, 43, 44, 72), "ventricular fluid"),
    **dict.fromkeys((31, 63, 136, 137, 163, 164), "choroid plexus"),
    **dict.fromkeys((25, 57, 77), "white matter lesion"),
    **dict.fromkeys((30, 62, 514), "venous blood"),
    502: "arterial blood",
    EYES: "vitreous humour",
    OTHER_SOFT: "fat",
    508: "muscle",
    509: "mucosa",
    511: "skin",
    515: "compact bone",
    516: "bone marrow",
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


def table_text() -> str:
    """Return the table as text: low, usual and high values, with numbered sources."""
    numbers: dict[str, int] = {}
    lines = []
    for at_low, at_high in zip(tissues(1.5)[1:], tissues(3.0)[1:], strict=True):
        lines.append(at_low.name)
        rows = [("PD", "", at_low.pd, at_low.cited["pd"])]
        for strength, t in (("1.5 T", at_low), ("3 T", at_high)):
            rows.append(("T1", strength, t.t1, t.cited["t1"]))
            rows.append(("T2", strength, t.t2, t.cited["t2"]))
        for quantity, strength, values, texts in rows:
            shown = "  ".join(f"{value:g}" for value in values)
            marks = ",".join(str(numbers.setdefault(text, len(numbers) + 1)) for text in texts)
            lines.append(f"  {quantity} {strength:5}  {shown:22}  [{marks}]")
    lines += ["", "PD is a fraction of pure water; T1 and T2 are in ms: low, usual, high.", ""]
    lines += [f"[{number}] {text}" for text, number in numbers.items()]
    return "\n".join(lines)


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
    table[:, PD] = np.clip(table[:, PD] * (1.0 + 0.25 * spread[:, PD]), 0.0, 1.1)
    table[:, T1:] *= np.exp(np.log(1.6) * spread[:, T1:])
    return table
