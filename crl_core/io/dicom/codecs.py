"""Compressed frames: who decodes what, and what is checked before a decoder sees them.

Run-length encoding is undone here, JPEG 2000 by pylibjpeg. Lossless JPEG, JPEG-LS and baseline JPEG
go through the GDCM that SimpleITK carries, in a process of its own: native decoders of damaged
data may crash or hang, and neither may reach the user.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crl_core.errors import InputError
from crl_core.io.dicom import gdcm
from crl_core.io.dicom.files import DAMAGED, MAX_OBJECT
from crl_core.io.dicom.frames import Instance

RLE = "1.2.840.10008.1.2.5"
JPEG_2000 = {f"1.2.840.10008.1.2.4.{n}" for n in (90, 91, 201, 202, 203)}
JPEG = {f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70, 80, 81)}

_MAX_TILES = 4096

_BATCH = 500
"""Frames that one process of GDCM decodes."""


def decodable(syntax: str) -> bool:
    """Return whether something here decodes this transfer syntax."""
    return syntax == RLE or syntax in JPEG_2000 or syntax in JPEG


def frames(
    wanted: Sequence[tuple[Instance, Sequence[int]]],
) -> Iterator[tuple[Instance, int, NDArray[np.generic]]]:
    """Yield decoded frames: of which object, which one, whole numbers in (rows, columns).

    Parameters
    ----------
    wanted
        Objects and which of their frames, counted from 0.

    Raises
    ------
    InputError
        When a frame is damaged, or is not of the size the header declares.
    """
    for syntax in dict.fromkeys(instance.syntax for instance, _ in wanted):
        jobs = [job for job in wanted if job[0].syntax == syntax]
        yield from _by_gdcm(jobs) if syntax in JPEG else _one_by_one(jobs)


def _one_by_one(
    wanted: Sequence[tuple[Instance, Sequence[int]]],
) -> Iterator[tuple[Instance, int, NDArray[np.generic]]]:
    for instance, indices in wanted:
        encoded = encoded_frames(instance)
        for index in indices:
            yield instance, index, _decode(encoded[index], instance)


def _by_gdcm(
    wanted: Sequence[tuple[Instance, Sequence[int]]],
) -> Iterator[tuple[Instance, int, NDArray[np.generic]]]:
    """Decode many frames in one process, because to start it takes longer than to decode."""
    jobs: list[tuple[Instance, int, bytes]] = []
    for instance, indices in wanted:
        encoded = encoded_frames(instance)
        jobs += [(instance, index, encoded[index]) for index in indices]
    for instance, _, data in jobs:
        if not gdcm.fits(data, instance):
            raise _damaged(instance)
    for start in range(0, len(jobs), _BATCH):
        batch = jobs[start : start + _BATCH]
        decoded = gdcm.decode([(instance, data) for instance, _, data in batch])
        if decoded is None:
            raise _damaged(batch[0][0])
        for (instance, index, _), array in zip(batch, decoded, strict=True):
            yield instance, index, array


def _decode(data: bytes, instance: Instance) -> NDArray[np.generic]:
    try:
        if instance.syntax == RLE:
            return _run_length(data, instance)
        return _jpeg_2000(data, instance)
    except InputError:
        raise
    except Exception as error:  # the decoders raise what they like
        raise _damaged(instance) from error


def _damaged(instance: Instance) -> InputError:
    return InputError(
        "its compressed pixels are truncated or damaged",
        path=instance.item.path,
        remedy="Copy or export the file again",
    )


def _run_length(data: bytes, instance: Instance) -> NDArray[np.generic]:
    """Decode one frame of run-length encoding (PS3.5, annex G).

    Written here because the decoder of pylibjpeg aborts, loudly, on damaged data.
    """
    pixels, width = instance.rows * instance.columns, instance.allocated // 8
    count, *offsets = struct.unpack_from("<16I", data)
    # Two bytes stand for at most 128: what is declared cannot be larger than that allows.
    if count != width or pixels * width > 64 * len(data):
        raise _damaged(instance)
    ends = [*offsets[1:count], len(data)]
    planes = np.empty((pixels, width), dtype=np.uint8)
    for segment, (start, end) in enumerate(zip(offsets[:count], ends, strict=True)):
        planes[:, segment] = _unpacked(data[start:end], pixels)
    return planes.view(f">u{width}").reshape(instance.rows, instance.columns)


def _unpacked(segment: bytes, length: int) -> NDArray[np.uint8]:
    """Undo the packing of one segment: a count below 128 copies, one above repeats."""
    parts: list[bytes] = []
    at = done = 0
    while done < length:
        head = segment[at]
        if head < 128:
            part = segment[at + 1 : at + 2 + head]
            at += 2 + head
        elif head > 128:
            part = segment[at + 1 : at + 2] * (257 - head)
            at += 2
        else:
            part = b""
            at += 1
        parts.append(part)
        done += len(part)
    return np.frombuffer(b"".join(parts)[:length], np.uint8)


@dataclass(frozen=True)
class Jpeg2000Size:
    """What the size marker of a JPEG 2000 codestream declares (ISO 15444-1, A.5.1)."""

    columns: int
    rows: int
    tiles: int
    components: int
    precision: int

    @classmethod
    def read(cls, data: bytes) -> Jpeg2000Size | None:
        """Read it, or return None where there is none."""
        at = data[:8192].find(b"\xff\x4f\xff\x51")
        if at < 0 or len(data) < at + 46:
            return None
        x, y, x0, y0, tile_x, tile_y, tile_x0, tile_y0, components = struct.unpack_from(
            ">8IH", data, at + 8
        )
        if not tile_x or not tile_y or tile_x0 > x or tile_y0 > y:
            return None
        tiles = -(-(x - tile_x0) // tile_x) * -(-(y - tile_y0) // tile_y)
        return cls(x - x0, y - y0, tiles, components, (data[at + 42] & 0x7F) + 1)


def _jpeg_2000(data: bytes, instance: Instance) -> NDArray[np.generic]:
    from openjpeg.utils import decode

    size = Jpeg2000Size.read(data)
    fits = size is not None and (size.rows, size.columns) == (instance.rows, instance.columns)
    if size is None or not fits or size.components != 1 or size.tiles > _MAX_TILES:
        raise _damaged(instance)
    found = np.asarray(decode(data))
    return found.reshape(instance.rows, instance.columns)


def encoded_frames(instance: Instance) -> list[bytes]:
    """Return the encoded frames of an object, put together from their fragments.

    Raises
    ------
    InputError
        When they are damaged or fewer than declared.
    """
    try:
        data = instance.item.bytes_at(instance.offset, min(instance.item.size, MAX_OBJECT))
    except DAMAGED as error:
        raise _damaged(instance) from error
    fragments, starts = _fragments(data)
    if not fragments:
        raise _damaged(instance)
    table, fragments, starts = fragments[0], fragments[1:], starts[1:]
    if instance.frames == 1:
        return [b"".join(fragments)]
    if len(fragments) == instance.frames:
        return fragments
    if len(fragments) < instance.frames:
        raise _damaged(instance)
    offsets = list(struct.unpack_from(f"<{len(table) // 4}I", table))
    first = starts[0] if starts else 0
    found: list[list[bytes]] = []
    for fragment, start in zip(fragments, starts, strict=True):
        begins = start - first in offsets if offsets else fragment[:2] in (b"\xff\xd8", b"\xff\x4f")
        if begins or not found:
            found.append([])
        found[-1].append(fragment)
    if len(found) < instance.frames:
        raise _damaged(instance)
    return [b"".join(parts) for parts in found]


def _fragments(data: bytes) -> tuple[list[bytes], list[int]]:
    """Return the items of encapsulated pixel data and where each began."""
    found, starts, at = [], [], 0
    while at + 8 <= len(data):
        group, element, length = struct.unpack_from("<HHI", data, at)
        if (group, element) != (0xFFFE, 0xE000):
            break
        if at + 8 + length > len(data):
            break
        found.append(data[at + 8 : at + 8 + length])
        starts.append(at)
        at += 8 + length
    return found, starts
