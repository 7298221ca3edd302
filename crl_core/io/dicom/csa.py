"""Siemens' own headers: the CSA elements and the protocol text they carry.

A CSA header is a list of tags, each a name, a type and items of text (described in nibabel's
documentation). A count or length that leads beyond the end ends the reading; what was read
until then is kept. The protocol is text of the form ``alTR[0] = 8000000``, times in
microseconds, between two marks; older scanners keep it in the CSA series header, those from
XA on in an element of their own.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crl_core.io.dicom import values

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CSA = "SIEMENS CSA HEADER"
_MR_HEADER = "SIEMENS MR HEADER"
_SERIES_DATA = "SIEMENS MR SDS 01"
_MAX_TAGS, _MAX_ITEMS, _MAX_SLICES = 1024, 4096, 4096
_PROTOCOL = re.compile(rb"### ASCCONV BEGIN[^\n]*###[ \t]*\r?\n(.*?)### ASCCONV END", re.DOTALL)
_LINE = re.compile(r"^([A-Za-z_][\w.\[\]]*)\s*=\s*(.*?)\s*$")
_MAX_PROTOCOL = 4 * 2**20


@dataclass(frozen=True)
class Mosaic:
    """Slices stored side by side in one image.

    Parameters
    ----------
    count
        How many slices there are; the rest of the image is empty.
    normal
        Direction from slice to slice as stored (LPS).
    """

    count: int
    normal: tuple[float, float, float]


def is_mosaic(dataset: Dataset) -> bool:
    """Return whether the image type says that slices lie side by side."""
    return "MOSAIC" in values.texts(dataset, "ImageType")


def mosaic(dataset: Dataset) -> Mosaic | None:
    """Return how the slices of a mosaic lie, or None where the header does not say."""
    tags = image_header(dataset)
    count = _integer(tags.get("NumberOfImagesInMosaic", ()))
    if count is None:
        for tag in values.private(dataset, 0x0019, _MR_HEADER, 0x0A):
            count = values.whole(dataset, tag, "US")
    normal = _floats(tags.get("SliceNormalVector", ()))
    if count is None or not 1 <= count <= _MAX_SLICES or len(normal) != 3:
        return None
    return Mosaic(count, (normal[0], normal[1], normal[2]))


def image_header(dataset: Dataset) -> Mapping[str, tuple[str, ...]]:
    """Return the CSA image header, by name; empty where there is none."""
    return _csa(dataset, 0x10)


def _csa(dataset: Dataset, element: int) -> Mapping[str, tuple[str, ...]]:
    for tag in values.private(dataset, 0x0029, _CSA, element):
        found = values.raw(dataset, tag, "OB")
        if found is not None:
            return parse(found[1])
    return {}


def parse(data: bytes) -> dict[str, tuple[str, ...]]:
    """Read a CSA header: names to the texts of their items, empty items left out."""
    second = data[:4] == b"SV10"
    start = 8 if second else 0
    if len(data) < start + 8:
        return {}
    (count,) = struct.unpack_from("<I", data, start)
    at, tags = start + 8, {}
    first_items = 0
    for number in range(min(count, _MAX_TAGS)):
        if at + 84 > len(data):
            break
        name, _vm, _vr, _type, n_items, _mark = struct.unpack_from("<64si4s3i", data, at)
        first_items = n_items if number == 0 else first_items
        at += 84
        items, at = _items(data, at, n_items, None if second else first_items)
        tags[name.split(b"\0")[0].decode("latin-1")] = items
        if at < 0:
            break
    return tags


def _items(
    data: bytes, at: int, count: int, first_items: int | None
) -> tuple[tuple[str, ...], int]:
    """Read the items of one tag; a negative position where they lead beyond the end.

    The older version of the format adds the number of items of the very first tag to every
    length, hence `first_items`.
    """
    found: list[str] = []
    for _ in range(min(max(count, 0), _MAX_ITEMS)):
        if at + 16 > len(data):
            return tuple(found), -1
        lengths = struct.unpack_from("<4i", data, at)
        length = lengths[1] if first_items is None else lengths[0] - first_items
        at += 16
        if length < 0 or at + length > len(data):
            return tuple(found), -1
        if length:
            text = data[at : at + length].split(b"\0")[0].decode("latin-1").strip()
            if text:
                found.append(text)
        at += (length + 3) // 4 * 4
    return tuple(found), at


def protocol(dataset: Dataset) -> dict[str, str]:
    """Return the protocol text as names to values; empty where there is none."""
    for data in _protocol_texts(dataset):
        found = _PROTOCOL.search(data[:_MAX_PROTOCOL])
        if found is None:
            continue
        lines = (_LINE.match(line) for line in found[1].decode("latin-1").splitlines())
        return {line[1]: line[2].strip('"') for line in lines if line is not None}
    return {}


def _protocol_texts(dataset: Dataset) -> list[bytes]:
    tags = values.private(dataset, 0x0029, _CSA, 0x20)
    texts = [values.raw(dataset, tag, "OB") for tag in tags]
    shared = values.first_item(dataset, "SharedFunctionalGroupsSequence")
    for place in (dataset, shared):
        if place is None:
            continue
        texts.extend(
            values.raw(place, tag, "OB")
            for tag in values.private(place, 0x0021, _SERIES_DATA, 0x19)
        )
        for tag in values.private(place, 0x0021, _SERIES_DATA, 0xFE):
            for item in values.items(place, tag):
                texts.extend(
                    values.raw(item, inner, "OB")
                    for inner in values.private(item, 0x0021, _SERIES_DATA, 0x19)
                )
    return [found[1] for found in texts if found is not None]


def _integer(texts: tuple[str, ...]) -> int | None:
    try:
        return int(float(texts[0])) if texts else None
    except (ValueError, OverflowError):
        return None


def _floats(texts: tuple[str, ...]) -> list[float]:
    try:
        return [float(text) for text in texts]
    except ValueError:
        return []
