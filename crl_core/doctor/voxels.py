"""Changes to a NIfTI file that leave every byte but the meant ones as they are.

Stored values, their type, scale and byte order, header extensions and the compression all stay:
reading a file and writing it anew with a library would change some of them.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

from crl_core.io import nifti
from crl_core.io.atomic import atomic_path

_GEOMETRY = (
    "qform_code",
    "sform_code",
    *(f"quatern_{letter}" for letter in "bcd"),
    *(f"qoffset_{letter}" for letter in "xyz"),
    *(f"srow_{letter}" for letter in "xyz"),
)


def array_axis(affine: NDArray[Any], world: str) -> int:
    """Return the array axis closest to a world axis, one to one.

    Parameters
    ----------
    affine
        4x4, voxel indices to RAS+ mm.
    world
        ``"x"``, ``"y"`` or ``"z"``: right, anterior, superior.
    """
    matched = orientations.io_orientation(affine)[:, 0]
    return int(np.flatnonzero(matched == "xyz".index(world))[0])


def mirror(path: Path, axes: Sequence[int]) -> None:
    """Reverse the order of the voxels along array axes, in place; the affine stays.

    Raises
    ------
    InputError
        When the image is damaged.
    OutputError
        When the file cannot be written.
    """
    nifti.read(path)  # refuses damage in one line
    raw, compressed = _unpacked(path)
    header = raw_header(raw)
    shape = tuple(int(n) for n in header.get_data_shape())
    dtype = header.get_data_dtype()
    start = int(header["vox_offset"])
    end = start + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    data = np.frombuffer(raw[start:end], dtype=dtype).reshape(shape, order="F")
    flipped = np.flip(data, tuple(axis for axis in axes if axis < data.ndim))
    _write(path, [raw[:start], flipped.tobytes(order="F"), raw[end:]], compressed)


def take_geometry(path: Path, other: Path) -> None:
    """Give an image the qform, sform and voxel size of another one with as many voxels.

    Raises
    ------
    InputError
        When an image is damaged.
    OutputError
        When the file cannot be written.
    """
    for image in (path, other):
        nifti.read_header(image)
    raw, compressed = _unpacked(path)
    header, source = raw_header(raw), raw_header(_unpacked(other)[0])
    for name in _GEOMETRY:
        header[name] = source[name]
    header["pixdim"][:4] = source["pixdim"][:4]
    times = int(header["xyzt_units"]) & ~0x07
    header["xyzt_units"] = times | (int(source["xyzt_units"]) & 0x07)
    block = header.binaryblock
    _write(path, [block, raw[len(block) :]], compressed)


def _unpacked(path: Path) -> tuple[bytes, bool]:
    content = path.read_bytes()
    compressed = content[:2] == b"\x1f\x8b"
    return (gzip.decompress(content) if compressed else content), compressed


def raw_header(raw: bytes) -> Any:
    """Return the header at the start of an unpacked NIfTI file, as it stands."""
    second = raw[344:348] != b"n+1\x00"
    kind: Any = nib.Nifti2Header if second else nib.Nifti1Header
    return kind.from_fileobj(io.BytesIO(raw), check=False)


def _write(path: Path, parts: Iterable[bytes], compressed: bool) -> None:
    content = b"".join(parts)
    with atomic_path(path, overwrite=True) as temporary:
        # Without a time stamp the same change gives the same bytes.
        temporary.write_bytes(gzip.compress(content, 6, mtime=0) if compressed else content)
