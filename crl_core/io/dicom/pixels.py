"""Stored pixels to intensities, frame by frame.

What a header declares was compared with the bytes there before anything is read
(`crl_core.io.dicom.frames`); compressed frames are checked again by `crl_core.io.dicom.codecs`.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from crl_core.errors import InputError
from crl_core.io.dicom import codecs
from crl_core.io.dicom.files import DAMAGED, MAX_INFLATED
from crl_core.io.dicom.frames import Frame, Instance
from crl_core.io.dicom.headers import DEFLATED_LITTLE
from crl_core.scan import FloatArray


def planes(frames: Sequence[Frame]) -> Iterator[tuple[int, FloatArray]]:
    """Yield the intensities of frames, in the order in which they are cheapest to read.

    Yields
    ------
    int, array
        Which of `frames` it is, and its intensities, float32, (rows, columns).

    Raises
    ------
    InputError
        When the pixels are damaged or nothing here decodes them; names the file.
    """
    numbers: dict[tuple[int, int], list[int]] = defaultdict(list)
    indices: dict[int, set[int]] = defaultdict(set)
    instances: dict[int, Instance] = {}
    for number, frame in enumerate(frames):
        key = id(frame.instance)
        instances[key] = frame.instance
        indices[key].add(frame.index)
        numbers[key, frame.index].append(number)
    jobs = [(instance, sorted(indices[key])) for key, instance in instances.items()]
    for instance, index, stored in _stored(jobs):
        used = _used_bits(stored, instance)
        for number in numbers[id(instance), index]:
            yield number, _intensities(frames[number], used)


def _stored(
    jobs: Sequence[tuple[Instance, Sequence[int]]],
) -> Iterator[tuple[Instance, int, NDArray[np.generic]]]:
    """Yield stored images as whole numbers, (rows, columns)."""
    yield from codecs.frames([job for job in jobs if job[0].compressed])
    for instance, indices in jobs:
        if instance.compressed:
            continue
        kind = np.dtype(f"{'i' if instance.signed else 'u'}{instance.allocated // 8}")
        kind = kind.newbyteorder(">" if instance.big_endian else "<")
        for index, data in _native(instance, indices):
            yield instance, index, np.frombuffer(data, kind).reshape(instance.rows, -1)


def _native(instance: Instance, indices: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    item, size = instance.item, instance.frame_bytes
    try:
        if instance.syntax == DEFLATED_LITTLE:
            data = _inflate(instance, instance.offset + size * (indices[-1] + 1))
            for index in indices:
                yield index, _exactly(data[instance.offset + index * size :][:size], instance)
        elif item.archive is not None:
            start = indices[0] * size
            span = (indices[-1] + 1) * size - start
            data = item.bytes_at(instance.offset + start, span)
            for index in indices:
                yield index, _exactly(data[index * size - start :][:size], instance)
        else:
            for index in indices:
                data = item.bytes_at(instance.offset + index * size, size)
                yield index, _exactly(data, instance)
    except DAMAGED as error:
        raise damaged(instance) from error


def _exactly(data: bytes, instance: Instance) -> bytes:
    if len(data) != instance.frame_bytes:
        raise damaged(instance)
    return data


def _inflate(instance: Instance, length: int) -> bytes:
    """Return the first bytes of a deflated dataset, no more than are needed."""
    if length > MAX_INFLATED:
        raise damaged(instance)
    packed = instance.item.bytes_at(instance.deflated_at, instance.item.size)
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, length)


def damaged(instance: Instance) -> InputError:
    """Return the refusal for pixels that are not what the header promises."""
    return InputError(
        "its pixel data are truncated or damaged",
        path=instance.item.path,
        remedy="Copy or export the file again",
    )


def _used_bits(array: NDArray[np.generic], instance: Instance) -> NDArray[np.generic]:
    """Keep the bits that are stored, with their sign; the others may hold anything."""
    stored, shift = instance.stored, instance.high_bit + 1 - instance.stored
    if stored == instance.allocated and array.dtype.kind == ("i" if instance.signed else "u"):
        return array
    bits = (array.astype(np.int64) >> shift) & ((1 << stored) - 1)
    if instance.signed:
        bits -= (bits >> (stored - 1)) << stored
    return bits


def _intensities(frame: Frame, stored: NDArray[np.generic]) -> FloatArray:
    """Apply the rescale slope and intercept; MONOCHROME1 counts from white to black."""
    row, column, rows, columns = frame.tile
    found = stored[row : row + rows, column : column + columns].astype(np.float64)
    if frame.instance.inverted:
        bits = frame.instance.stored
        found = (-1.0 if frame.instance.signed else 2.0**bits - 1.0) - found
    return (found * frame.slope + frame.intercept).astype(np.float32)
