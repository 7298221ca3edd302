"""One frame's view of a header: which element speaks for it, and where it stands.

A classic object says everything at the top level. An enhanced object says it in functional
groups, per frame or shared by all; converted objects keep classic elements in sequences of
"unassigned" attributes, and Philips keeps a classic header of each frame in a private sequence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from crl_core.io.dicom import values
from crl_core.io.dicom.headers import Header

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_PHILIPS = "Philips MR Imaging DD 005"
_SIEMENS = re.compile(r"SIEMENS MR SD[IS] \d\d")
_UNASSIGNED = (
    "UnassignedPerFrameConvertedAttributesSequence",
    "UnassignedSharedConvertedAttributesSequence",
)


@dataclass(frozen=True, eq=False)
class FrameView:
    """Where to look for what concerns one frame, the closest place first.

    Parameters
    ----------
    top
        The dataset.
    shared, own
        Items of the shared and of the frame's own functional groups, where there are any.
    common
        View of what all frames of the object share, so that it is worked out once.
    """

    top: Dataset
    shared: Dataset | None = None
    own: Dataset | None = None
    common: FrameView | None = None

    @property
    def _levels(self) -> tuple[Dataset | None, ...]:
        """The places that are this view's own business; the rest is in `common`."""
        return (self.own,) if self.common is not None else (self.shared, self.top)

    def macro(self, name: str) -> Iterator[Dataset]:
        """Yield the items of a functional group that apply: own, shared, at the top."""
        for place in (self.own, self.shared, self.top):
            item = values.first_item(place, name)
            if item is not None:
                yield item

    @cached_property
    def classic(self) -> tuple[tuple[Dataset, str], ...]:
        """Places that hold elements as a classic object does, and what to call them."""
        places: list[tuple[Dataset, str]] = []
        for level in self._levels:
            unassigned = (values.first_item(level, name) for name in _UNASSIGNED)
            places += [(item, "converted attributes, ") for item in unassigned if item is not None]
            if level is self.top:
                places.append((level, ""))
            places += [(item, "Philips private frame header, ") for item in _philips(level)]
        return (*places, *(self.common.classic if self.common is not None else ()))

    @cached_property
    def _siemens(self) -> tuple[tuple[Dataset, int], ...]:
        """Private datasets of Siemens from XA on, each with the block of its elements."""
        found: list[tuple[Dataset, int]] = []
        for level in self._levels:
            if level is None:
                continue
            for block in values.blocks(level, 0x0021, _SIEMENS):
                found += [
                    (item, inner)
                    for item in values.items(level, 0x0021_00FE | block)
                    for inner in values.blocks(item, 0x0021, _SIEMENS)
                ]
            item = values.first_item(level, "MRImageFrameTypeSequence")
            if item is not None:
                found += [(item, block) for block in values.blocks(item, 0x0021, _SIEMENS)]
        return (*found, *(self.common._siemens if self.common is not None else ()))

    def siemens(self, element: int) -> list[str]:
        """Return the texts of a private element of Siemens XA, given its low byte."""
        for dataset, block in self._siemens:
            found = values.texts(dataset, 0x0021_0000 | block | element)
            if any(found):
                return found
        return []

    def siemens_number(self, element: int) -> tuple[float, str] | None:
        """Return a number of a private element of Siemens XA and where it was read."""
        for dataset, block in self._siemens:
            tag = 0x0021_0000 | block | element
            found = values.number(dataset, tag, "FD")
            if found is not None:
                return found, f"DICOM private {values.label(tag)} of Siemens"
        return None

    def number(self, name: str, macro: str = "") -> tuple[float, str] | None:
        """Return a finite number and where it was read, or None."""
        for dataset, where in self.places(name, macro):
            found = values.number(dataset, name)
            if found is not None:
                return found, where
        return None

    def texts(self, name: str, macro: str = "") -> list[str]:
        """Return the values of a text element from the first place that has some."""
        for dataset, _ in self.places(name, macro):
            found = values.texts(dataset, name)
            if any(found):
                return found
        return []

    def text(self, name: str, macro: str = "") -> str:
        """Return the first value of a text element, or ``""``."""
        return next(iter(self.texts(name, macro)), "")

    def finite(self, name: str, count: int, macro: str = "") -> tuple[float, ...] | None:
        """Return exactly `count` finite numbers, or None."""
        for dataset, _ in self.places(name, macro):
            found = values.finite(dataset, name, count)
            if found is not None:
                return found
        return None

    def places(self, name: str, macro: str = "") -> Iterator[tuple[Dataset, str]]:
        """Yield each dataset that holds an element, and the words for that place."""
        if macro:
            for item in self.macro(macro):
                if values.has(item, name):
                    yield item, f"DICOM functional group {macro}, {name}"
        for dataset, words in self.classic:
            if values.has(dataset, name):
                yield dataset, f"DICOM {words}{values.label(name)}"


def _philips(place: Dataset | None) -> list[Dataset]:
    """Return the classic headers that Philips keeps in private sequences."""
    if place is None:
        return []
    found = []
    for element in (0x0E, 0x0F):
        for tag in values.private(place, 0x2005, _PHILIPS, element):
            found += values.items(place, tag)[:1]
    return found


def views(header: Header) -> list[FrameView]:
    """Return one view per frame; a classic object has one."""
    dataset = header.dataset
    own = values.items(dataset, "PerFrameFunctionalGroupsSequence")
    shared = values.first_item(dataset, "SharedFunctionalGroupsSequence")
    common = FrameView(dataset, shared)
    return [FrameView(dataset, shared, item, common) for item in own] or [common]
