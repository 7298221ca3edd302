"""Headers of DICOM objects, read up to the pixels, whatever state they are in.

pydicom does the parsing. Around it stand the checks it leaves to its callers: no length is
believed beyond the end of the file, a deflated header is inflated as far as it is needed, and
whatever a damaged header makes the parser raise ends as one `InputError`.
"""

from __future__ import annotations

import io
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from crl_core.errors import InputError
from crl_core.io.dicom import values
from crl_core.io.dicom.files import DAMAGED, MAX_HEADER, Item, Unrolled, Window, starts_as_dicom

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED_LITTLE = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"

_PIXELS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: ""}
_LONG_LENGTH = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT"}
_UNDEFINED = 0xFFFFFFFF

_DAMAGED = "begins as DICOM but its header is truncated or damaged"

_START = 1 << 17
"""Bytes that hold the whole header of nearly every object with one slice."""

_quiet = threading.RLock()


@contextmanager
def quietly() -> Iterator[None]:
    """Keep pydicom's remarks on damaged headers away; our own refusals say what matters.

    Python keeps its list of warnings for all threads, so only one at a time may do this.
    """
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True, eq=False)
class Header:
    """What stands before the pixels of one DICOM object, and where those begin.

    Parameters
    ----------
    item
        Where it lies.
    dataset
        The elements, undecoded; see `crl_core.io.dicom.values`.
    syntax
        UID of the transfer syntax; guessed where the file states none.
    pixel_offset, pixel_length
        Where the pixel data begin in the (inflated) file and how many bytes they take; no
        length where they are encapsulated, no offset where there are none.
    body_at
        Where the dataset begins in the file, after the file meta group.
    float_pixels
        Whether the pixels are floating-point numbers.
    """

    item: Item
    dataset: Dataset
    syntax: str
    little_endian: bool = True
    pixel_offset: int | None = None
    pixel_length: int | None = None
    body_at: int = 0
    float_pixels: bool = False
    sop_class: str = ""

    @property
    def deflated(self) -> bool:
        """Whether the file after its meta group is one deflated stream."""
        return self.syntax == DEFLATED_LITTLE

    @property
    def compressed(self) -> bool:
        """Whether each frame is compressed and wrapped in items."""
        native = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED_LITTLE, EXPLICIT_BIG)
        return self.syntax not in native and self.pixel_length is None


def name_of(uid: str) -> str:
    """Return what the standard calls a UID, ``""`` where it does not know it."""
    from pydicom.uid import UID

    with quietly():
        name = str(UID(uid).name)
    return "" if name == uid else name


def read_header(item: Item) -> Header | None:
    """Read the header of one file.

    Returns
    -------
    Header or None
        None where the file is of another kind.

    Raises
    ------
    InputError
        When it begins as DICOM but cannot be read.
    """
    try:
        with item.opened() as stream, quietly():
            start = stream.read(_START)
            if not starts_as_dicom(start[:140]):
                return None
            return _from_start(item, start) or _parse(item, stream, start[:140])
    except InputError:
        raise
    except (*DAMAGED, RuntimeError, MemoryError) as error:
        raise _damaged(item, _kind(error)) from error
    except Exception as error:  # a damaged header may make pydicom raise anything at all
        raise _damaged(item) from error


def _from_start(item: Item, start: bytes) -> Header | None:
    """Parse the first bytes alone, which is faster; None where the header goes on behind them."""
    try:
        header = _parse(item, io.BytesIO(start), start[:140])
    except Exception:  # pydicom may raise anything where the header is merely cut off here
        if len(start) == item.size:
            raise
        return None
    return header if header.pixel_offset is not None or len(start) == item.size else None


def _kind(error: BaseException) -> str:
    if isinstance(error, PermissionError):
        return "may not be read (no permission)"
    if isinstance(error, RuntimeError) and not isinstance(error, RecursionError):
        return "lies in an archive that is encrypted"
    return _DAMAGED


def _damaged(item: Item, what: str = _DAMAGED) -> InputError:
    return InputError(what, path=item.path, remedy="Copy or export the file again")


def _parse(item: Item, stream: BinaryIO, head: bytes) -> Header:
    from pydicom.filereader import read_dataset

    start = 132 if head[128:132] == b"DICM" else 4 if head[:4] == b"DICM" else 0
    syntax, sop_class = "", ""
    stream.seek(start)
    if stream.read(2) == b"\x02\x00":
        stream.seek(start)
        meta = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _n: tag >> 16 != 2)
        syntax = values.text(meta, "TransferSyntaxUID")
        sop_class = values.text(meta, "MediaStorageSOPClassUID")
        length = values.whole(meta, "FileMetaInformationGroupLength")
        if syntax == DEFLATED_LITTLE and length is not None:
            stream.seek(start + 12 + length)
    else:
        stream.seek(start)
    body_at = stream.tell()
    body = _inflated(stream) if syntax == DEFLATED_LITTLE else _window(item, stream)
    implicit, little = _encoding(body, syntax)
    dataset = read_dataset(body, implicit, little, stop_when=lambda tag, _vr, _n: tag in _PIXELS)
    if not syntax:
        syntax = IMPLICIT_LITTLE if implicit else EXPLICIT_LITTLE if little else EXPLICIT_BIG
    sop_class = values.text(dataset, "SOPClassUID") or sop_class
    return _with_pixels(
        Header(item, dataset, syntax, little, body_at=body_at, sop_class=sop_class), body
    )


def _window(item: Item, stream: BinaryIO) -> BinaryIO:
    """Return the same stream, cut off where no header reaches."""
    size = min(item.size, stream.tell() + MAX_HEADER)
    return stream if item.size <= MAX_HEADER else cast(BinaryIO, Window(stream, size))


def _inflated(stream: BinaryIO) -> BinaryIO:
    """Return a deflated dataset, inflated as far as it is read."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    def more(count: int) -> bytes:
        while not inflater.eof:
            packed = inflater.unconsumed_tail or stream.read(1 << 14)
            found = inflater.decompress(packed, count)
            if found or not packed:
                return found
        return b""

    return cast(BinaryIO, Unrolled(more, MAX_HEADER))


def _encoding(body: BinaryIO, syntax: str) -> tuple[bool, bool]:
    """Return whether implicit and whether little endian; the bytes outweigh what is stated."""
    at = body.tell()
    head = body.read(8)
    body.seek(at)
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    big = head[:1] == b"\0" and head[1:2] != b"\0"
    if syntax == EXPLICIT_BIG or (not syntax and explicit and big):
        return False, False
    return not explicit, True


def _with_pixels(header: Header, body: BinaryIO) -> Header:
    """Add where the pixels are; the stream stands at their element, or at the end."""
    encoding: Any = header.dataset.original_encoding
    implicit = bool(encoding[0])
    order = "<" if header.little_endian else ">"
    head = body.read(12)
    if len(head) < 8:
        return header
    tag, length, value_at = _element(head, implicit, order)
    if tag not in _PIXELS:
        return header
    start = body.tell() - len(head) + value_at
    return replace(
        header,
        pixel_offset=start,
        pixel_length=None if length == _UNDEFINED else length,
        float_pixels=bool(_PIXELS[tag]),
    )


def _element(head: bytes, implicit: bool, order: str) -> tuple[int, int, int]:
    """Return tag, length, and where the value begins."""
    name = "little" if order == "<" else "big"

    def integer(at: int, size: int) -> int:
        return int.from_bytes(head[at : at + size], name)  # type: ignore[arg-type]

    tag = integer(0, 2) << 16 | integer(2, 2)
    kind = head[4:6]
    if implicit or not kind.isalpha():
        return tag, integer(4, 4), 8
    if kind in _LONG_LENGTH:
        return tag, integer(8, 4), 12
    return tag, integer(6, 2), 8
