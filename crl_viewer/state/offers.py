"""Scans that were found in a folder, an archive or a dataset and may be opened; no toolkit.

An offer is known from headers alone. The chooser lists offers; which of them are ticked to begin
with, and which a typed word keeps, is decided here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from crl_core.errors import CRLError
from crl_core.io.timing import NAMES, Timing
from crl_core.scan import FloatArray, Scan
from crl_viewer import strings
from crl_viewer.formatting import milliseconds, number, trimmed

FEW = 4
"""So many usable scans are all ticked where fast spin echo does not decide."""

MOST_TICKED = 12
"""More than this is not opened unasked."""

NOT_STATED = "not stated"

_PART = re.compile(r"(\d+|x)[pri]")
"""Keys of phase, real and imaginary images; see `crl_core.io.dicom.Series.key`."""


@dataclass(frozen=True, eq=False)
class Opened:
    """One scan as it was read.

    Parameters
    ----------
    scan
        The volume.
    volumes
        How many volumes its file or series holds.
    timing
        What the file states of TR, TE and TI; of use where one is missing and the scan therefore
        has no parameters.
    volume
        Which volume this is, counted from 0.
    again
        Reads another volume of the same file or series; None where there is no way back to it.
    chosen
        What the user named to get here: the file itself, or the folder or archive around it.
    """

    scan: Scan
    volumes: int = 1
    timing: Timing = field(default_factory=Timing)
    volume: int = 0
    again: Callable[[int], Opened] | None = None
    chosen: Path | None = None


@dataclass(frozen=True, eq=False)
class Offer:
    """One scan that can be opened, or one that cannot, with the reason.

    Parameters
    ----------
    path
        What the user named: a file, or the folder or archive it was found in.
    series
        Key of the series in a DICOM folder or archive; empty for a NIfTI file.
    title
        Words of the protocol, or the name of the file.
    number
        Number of the series, or empty.
    kind
        Sequence type in words, or empty where the header does not say.
    fast_spin_echo
        None where the header does not say.
    timing
        TR, TE, TI in ms as far as stated, and where each was read.
    shape
        Columns, rows, slices of one volume.
    voxel_size
        mm.
    plane
        ``"axial"`` and the like, or empty.
    volumes
        How many volumes it holds.
    refusal, remedy
        Why it cannot be used and what would help; empty when it can.
    read
        Reads the voxels; raises `crl_core.errors.CRLError`.
    thumbnail
        Makes a small picture, 0 to 1, upright; None where there is none to be had.
    maker
        Manufacturer of the scanner.
    """

    path: Path
    title: str
    timing: Timing
    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    read: Callable[[], Opened]
    series: str = ""
    number: str = ""
    kind: str = ""
    fast_spin_echo: bool | None = None
    plane: str = ""
    volumes: int = 1
    refusal: str = ""
    remedy: str = ""
    thumbnail: Callable[[], FloatArray] | None = None
    maker: str = ""

    @property
    def usable(self) -> bool:
        """Whether it can be opened."""
        return not self.refusal

    @property
    def line(self) -> str:
        """One line that names the scan and says why it cannot be opened."""
        return str(CRLError(self._named(self.refusal), path=self.path, remedy=self.remedy))

    def refused(self, error: CRLError) -> str:
        """Return one line that names the scan and says what went wrong with it."""
        told = self.series and self.series not in error.problem.split()
        problem = self._named(error.problem) if told else error.problem
        return str(CRLError(problem, path=error.path or self.path, remedy=error.remedy))

    def _named(self, problem: str) -> str:
        if not self.series:
            return problem
        words = f" ({self.title})" if self.title and self.title != self.number else ""
        return f"series {self.series}{words}: {problem}"

    @property
    def grid(self) -> tuple[object, ...]:
        """What two scans on one grid have in common, as far as a listing tells."""
        return (self.shape, tuple(round(v, 3) for v in self.voxel_size), self.plane)


class Value(NamedTuple):
    """How one of TR, TE and TI is written in a list."""

    text: str
    remark: str = ""
    doubtful: bool = False


def value_of(offer: Offer, name: str) -> Value:
    """Return how ``"tr"``, ``"te"`` or ``"ti"`` of an offer is written, in ms.

    A value the file does not state is a dash with the words for it, a nominal or estimated one
    says so, an inversion time of 0 reads ``off``.
    """
    if name not in offer.timing.values:
        return Value("\N{EM DASH}", NOT_STATED)
    value = offer.timing.values[name]
    text = "off" if name == "ti" and value == 0 else milliseconds(value)
    origin = offer.timing.origins.get(name)
    doubt = origin.certainty if origin and origin.certainty in ("nominal", "estimated") else ""
    return Value(text, doubt, bool(doubt))


def kind_text(offer: Offer) -> str:
    """Return the sequence type beside the badge that already says fast spin echo."""
    if offer.fast_spin_echo:
        return offer.kind.replace("fast spin echo", "").strip()
    if not offer.kind or offer.kind == "unknown":
        return "sequence type not stated"
    return offer.kind


def grid_text(offer: Offer) -> str:
    """Write matrix and slices: ``320 × 320 × 36``."""
    return " × ".join(number(n) for n in offer.shape)


def voxel_text(offer: Offer) -> str:
    """Write the voxel size: ``0.72 × 0.72 × 4 mm``."""
    return " × ".join(trimmed(v, 2) for v in offer.voxel_size) + " mm"


def tip_of(offer: Offer) -> str:
    """Say everything a row has no room for: the whole name, and where each time was read."""
    lines = [offer.title]
    if offer.refusal:
        lines.append(f"{offer.refusal.rstrip('.')}. {offer.remedy}".strip())
    lines += strings.origin_lines(offer.timing.values, offer.timing.origins)
    extras = strings.extras_line(offer.timing.extras)
    return "\n".join(filter(None, (*lines, extras, offer.maker)))


def spoken_of(offer: Offer) -> str:
    """Say a row for a screen reader."""
    words = [offer.title]
    if offer.fast_spin_echo:
        words.append("fast spin echo")
    words.append(kind_text(offer))
    for name in NAMES:
        value = value_of(offer, name)
        plain = value.text if value.remark != NOT_STATED else ""
        words.append(" ".join(filter(None, (name.upper(), plain, value.remark))))
    words += [grid_text(offer), voxel_text(offer), offer.plane]
    if offer.refusal:
        words.append(f"cannot be used: {offer.refusal}")
    return ", ".join(filter(None, words)).replace("\N{THIN SPACE}", "")


def matches(offer: Offer, typed: str) -> bool:
    """Return whether every typed word stands in what is said of an offer."""
    series = f"series {offer.series or offer.number}"
    hay = f"{spoken_of(offer)} {series} {offer.path.name}".lower()
    return all(word in hay for word in typed.lower().split())


def ticked_line(ticked: Sequence[Offer], hidden: int) -> str:
    """Say what the ticked offers have in store: hidden ones, and grids that differ."""
    if not ticked:
        return "Tick what is to be opened; a double click opens one alone."
    words = []
    if hidden:
        words.append(f"{hidden} of them hidden by the filter.")
    grids = len({offer.grid for offer in ticked})
    if grids > 1:
        words.append(f"{grids} different grids: the others are resampled to the source.")
    return " ".join(words)


def preselected(offers: Sequence[Offer]) -> list[int]:
    """Return which offers are ticked to begin with.

    The largest group of usable fast spin echo scans on one grid, when there are two or more of
    it; else all usable ones, when they are few; else whatever is fast spin echo, or the first
    usable one.
    """
    usable = [i for i, o in enumerate(offers) if o.usable and not _PART.match(o.series)]
    turbo = [i for i in usable if offers[i].fast_spin_echo]
    groups: dict[tuple[object, ...], list[int]] = {}
    for i in turbo:
        groups.setdefault(offers[i].grid, []).append(i)
    largest = max(groups.values(), key=len, default=[])
    if len(largest) >= 2:
        return largest[:MOST_TICKED]
    if len(usable) <= FEW:
        return usable
    return (turbo or usable[:1])[:MOST_TICKED]
