"""Values out of a DICOM dataset, none of them trusted.

Elements are decoded here from their raw bytes: a value that cannot be decoded reads as absent,
and nothing is looked at that was not asked for, so that a damaged element nobody needs does no
harm. Elements are named by their DICOM keyword, or by number where they are private.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Name = str | int
"""A DICOM keyword, or a tag as a number."""

_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_ANY = re.compile(r".*", re.DOTALL)
_MAX_TEXT = 4096
"""Most bytes of one text element that are looked at."""


@cache
def tag_of(name: Name) -> int:
    """Return the tag of a keyword as a number."""
    if isinstance(name, int):
        return name
    from pydicom.datadict import tag_for_keyword

    found = tag_for_keyword(name)
    if found is None:
        raise ValueError(f"{name} is no keyword of the DICOM dictionary")
    return int(found)


@cache
def _representation(tag: int) -> str:
    from pydicom.datadict import dictionary_VR

    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "UN"


def label(name: Name) -> str:
    """Write an element as people cite it, such as ``(0018,0081) EchoTime``."""
    tag = tag_of(name)
    number = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    return f"{number} {name}" if isinstance(name, str) else number


def has(dataset: Dataset, name: Name) -> bool:
    """Return whether the element is there, empty or not."""
    return tag_of(name) in dataset


def raw(dataset: Dataset, name: Name, vr: str = "") -> tuple[str, bytes, bool] | None:
    """Return value representation, bytes and whether little endian, or None where absent.

    Parameters
    ----------
    vr
        What a private element is known to be, for files that do not say.
    """
    tag = tag_of(name)
    try:
        element: Any = dataset.get_item(tag)
    except Exception:  # pydicom decodes empty elements, and refuses damaged ones its own way
        return None
    value = getattr(element, "value", None)
    if not isinstance(value, bytes | bytearray):
        return None
    stated = str(element.VR or "UN")
    if stated == "UN":
        stated = vr or _representation(tag)
    return stated[:2], bytes(value), bool(getattr(element, "is_little_endian", True))


def texts(dataset: Dataset, name: Name) -> list[str]:
    """Return the values of a text element, stripped; empty where absent."""
    found = raw(dataset, name)
    if found is None:
        return []
    words = found[1][:_MAX_TEXT].decode("latin-1").replace("\0", " ").strip()
    return [part.strip() for part in words.split("\\")] if words else []


def text(dataset: Dataset, name: Name) -> str:
    """Return the first value of a text element, or ``""``."""
    return next(iter(texts(dataset, name)), "")


def words(dataset: Dataset, name: Name) -> str:
    """Return free text in the character set the file names, or ``""``."""
    found = raw(dataset, name)
    if found is None:
        return ""
    from pydicom.charset import convert_encodings, decode_bytes

    try:
        sets = convert_encodings(texts(dataset, "SpecificCharacterSet") or [""])
        decoded = decode_bytes(found[1][:_MAX_TEXT], sets, set())
    except (LookupError, ValueError, TypeError, AttributeError):
        decoded = found[1][:_MAX_TEXT].decode("latin-1")
    return str(decoded).replace("\0", " ").strip()


def numbers(dataset: Dataset, name: Name, vr: str = "") -> list[float]:
    """Return the values of a numeric element; empty where absent or not numeric.

    A float32 is given the digits it was written with: 519.5226, not 519.5225830078125.
    """
    found = raw(dataset, name, vr)
    if found is None:
        return []
    kind, value, little = found
    try:
        if kind in _BINARY:
            code = _BINARY[kind]
            count = min(len(value) // struct.calcsize(code), _MAX_TEXT)
            unpacked = struct.unpack_from(f"{'<' if little else '>'}{count}{code}", value)
            if kind == "FL":
                return [float(str(np.float32(v))) for v in unpacked]
            return [float(v) for v in unpacked]
        parts = value[: 4 * _MAX_TEXT].decode("ascii").replace("\0", " ").split("\\")
        return [float(part) for part in parts if part.strip()]
    except (ValueError, OverflowError, struct.error):
        return []


def number(dataset: Dataset, name: Name, vr: str = "") -> float | None:
    """Return the first value of a numeric element where it is finite, else None."""
    found = numbers(dataset, name, vr)
    return found[0] if found and math.isfinite(found[0]) else None


def whole(dataset: Dataset, name: Name, vr: str = "") -> int | None:
    """Return a whole number of at most 32 bits, or None."""
    found = number(dataset, name, vr)
    return int(found) if found is not None and abs(found) < 2**32 else None


def finite(dataset: Dataset, name: Name, count: int) -> tuple[float, ...] | None:
    """Return exactly `count` finite numbers, or None."""
    found = numbers(dataset, name)
    ok = len(found) == count and all(math.isfinite(v) and abs(v) < 1e7 for v in found)
    return tuple(found) if ok else None


def items(dataset: Dataset, name: Name) -> list[Dataset]:
    """Return the items of a sequence; empty where absent or damaged."""
    from pydicom.dataset import Dataset as PydicomDataset

    tag = tag_of(name)
    if tag not in dataset:
        return []
    try:
        found = dataset[tag].value
        return [item for item in found if isinstance(item, PydicomDataset)]
    except Exception:  # a damaged sequence may make pydicom raise anything at all
        return []


def first_item(dataset: Dataset | None, name: Name) -> Dataset | None:
    """Return the first item of a sequence, or None."""
    return next(iter(items(dataset, name)), None) if dataset is not None else None


def blocks(dataset: Dataset, group: int, creator: str | re.Pattern[str]) -> list[int]:
    """Return where a private creator keeps its elements, as numbers such as 0x1000.

    Parameters
    ----------
    group
        The (odd) group.
    creator
        Name of the creator, such as ``Philips MR Imaging DD 001``, or a pattern for it.
    """
    found = []
    # Arithmetic, because pydicom's tags compare slowly; keys, because items would be decoded.
    for tag in dataset.keys():  # noqa: SIM118
        if tag >> 8 == group << 8 and tag & 0xFF >= 0x10:
            name = text(dataset, int(tag))
            if name == creator if isinstance(creator, str) else creator.fullmatch(name):
                found.append((tag & 0xFF) << 8)
    return found


_ONE_OWNER = (0x0029, 0x2001, 0x2005)
"""Private groups that one vendor of MR scanners each fills (Siemens, Philips, Philips)."""


def private(dataset: Dataset, group: int, creator: str, element: int) -> Iterator[int]:
    """Yield the tags where a private element, given its low byte, is there.

    Some programs that remove names from headers drop the names of private creators as well;
    in groups that have one owner only, the usual place is looked at then.
    """
    found = blocks(dataset, group, creator)
    if not found and group in _ONE_OWNER and not blocks(dataset, group, _ANY):
        found = [0x1000]
    for block in found:
        tag = group << 16 | block | element
        if tag in dataset:
            yield tag
