"""NIfTI in and out, with the geometry left as it is.

The array keeps the order of the file; orientation lives in the affine, which maps voxel
indices to RAS+ millimetres (the sform where the file states one, else the qform). A file
that states neither gets the affine the format defines for that case and is marked, because
its left and right are then a guess.

Everything a header declares is compared with the size of the file before memory is asked
for, and every refusal says what is wrong in one line.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import nibabel as nib
import numpy as np
from nibabel import imageglobals
from nibabel.fileholders import FileHolder
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray

from crl_core.errors import InputError, OutputError
from crl_core.io.atomic import atomic_path
from crl_core.scan import FloatArray

ENDINGS = (".nii.gz", ".nii")

MAX_VOXELS = 2**30
"""Most voxels of one volume that are read: 4 GiB as float32."""

_DEFLATE_LIMIT = 1032
"""The deflate format cannot expand one byte to more than this (zlib technical notes)."""

_NIFTI1: Any = nib.Nifti1Image
_NIFTI2: Any = nib.Nifti2Image
_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
_MM_PER_UNIT = {1: 1000.0, 3: 0.001}
"""Codes of the format for metres and micrometres; anything else is taken as millimetres."""

_DAMAGED = (
    OSError,
    EOFError,
    zlib.error,
    ValueError,
    OverflowError,
    HeaderDataError,
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.ImageDataError,
    WrapStructError,
)


@dataclass(frozen=True, eq=False)
class Volume:
    """One volume of a NIfTI file.

    Parameters
    ----------
    data
        float32, (x, y, z); a 2-D image gets a third axis of length 1.
    affine
        4x4, voxel indices to RAS+ millimetres.
    stated
        Whether the file states an orientation.
    header
        The nibabel header.
    index, count
        Which volume of how many this is, counted from 0.
    replaced
        How many voxels held no finite number and were set to 0.
    """

    data: FloatArray
    affine: NDArray[np.float64]
    stated: bool
    header: Any
    index: int
    count: int
    replaced: int


def stem(path: str | Path) -> str:
    """Return the file name without ``.nii`` or ``.nii.gz``."""
    name = Path(path).name
    for ending in ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return Path(name).stem


def is_nifti_name(path: str | Path) -> bool:
    """Return whether the name ends as NIfTI files do."""
    return Path(path).name.lower().endswith(ENDINGS)


def read(path: str | Path, volume: int | None = None) -> Volume:
    """Read one volume of a NIfTI-1 or NIfTI-2 file, compressed or not.

    Parameters
    ----------
    path
        The file.
    volume
        Which volume of a file with more than three dimensions, counted from 0; None takes
        the first.

    Raises
    ------
    InputError
        When the file is missing, truncated, no NIfTI file, without a usable geometry, or
        holds complex numbers, colours or no finite number at all.
    """
    source = _existing_file(path)
    try:
        with _opened(source) as stream, _quiet(), np.errstate(all="ignore"):
            image = _read_header(stream, source)
            count = _check_declared(image, source)
            index = _choose(volume, count, source)
            affine, stated = _geometry(image.header, source)
            raw = _voxels(image, index)
            _drain(stream)
    except _DAMAGED as error:
        raise InputError(
            _reason(error), path=source, remedy="Copy or export the file again"
        ) from error
    except MemoryError as error:
        raise InputError(
            "is larger than this computer's memory", path=source, remedy="Crop the image first"
        ) from error
    data, replaced = _finite(raw, source)
    return Volume(data, affine, stated, image.header, index, count, replaced)


def read_header(path: str | Path) -> tuple[Any, NDArray[np.float64], bool]:
    """Return the nibabel header, the affine and whether it is stated; no voxel is read.

    Raises
    ------
    InputError
        As `read` does for what a header alone shows.
    """
    source = _existing_file(path)
    try:
        with _opened(source) as stream, _quiet(), np.errstate(all="ignore"):
            image = _read_header(stream, source)
            _check_declared(image, source)
            return (image.header, *_geometry(image.header, source))
    except _DAMAGED as error:
        raise InputError(
            _reason(error), path=source, remedy="Copy or export the file again"
        ) from error


def write(
    path: str | Path,
    data: FloatArray,
    affine: NDArray[np.float64],
    *,
    stated: bool = True,
    description: str = "",
    overwrite: bool = False,
) -> None:
    """Write a volume as float32 NIfTI-1, atomically.

    The affine goes into the sform, and into the qform too where that can hold it. Where the
    orientation is a guess and the format's own default gives the same affine, both codes are
    zero, so that no other program takes the guess for a fact.

    Raises
    ------
    OutputError
        When the name is not that of a NIfTI file, or the file cannot be written.
    """
    if not is_nifti_name(path):
        raise OutputError(
            "is not a name for an image", path=path, remedy="End it with .nii or .nii.gz"
        )
    image: Any = _NIFTI1(np.asarray(data, dtype=np.float32), None)
    header = image.header
    header.set_xyzt_units("mm", "sec")
    header["descrip"] = description.encode("ascii", "replace")[:79]
    header.set_zooms(np.sqrt((affine[:3, :3] ** 2).sum(axis=0)))
    if stated or not np.allclose(header.get_base_affine(), affine, rtol=1e-5, atol=1e-4):
        _state_orientation(header, affine)
    with atomic_path(path, overwrite=overwrite) as temporary:
        image.to_filename(temporary)


def _state_orientation(header: Any, affine: NDArray[np.float64]) -> None:
    header.set_sform(affine, code="aligned")
    header.set_qform(affine, code="aligned", strip_shears=True)
    extent = max(header.get_data_shape())
    if np.abs(header.get_qform() - affine).max() * extent > 0.01:
        header.set_qform(None, code="unknown")  # a shear; quaternions cannot hold it


def _existing_file(path: str | Path) -> Path:
    source = Path(path)
    if source.is_dir():
        raise InputError(
            "is a folder, not an image", path=source, remedy="Name a .nii or .nii.gz file in it"
        )
    if not source.is_file():
        raise InputError("does not exist", path=source, remedy="Check the name and the folder")
    if source.stat().st_size == 0:
        raise InputError("is empty", path=source, remedy="Copy or export the file again")
    return source


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep nibabel's remarks on odd headers off the terminal; a refusal is one line of ours."""
    logger = imageglobals.logger
    before = logger.disabled
    logger.disabled = True  # without handlers, logging itself would still print warnings
    try:
        yield
    finally:
        logger.disabled = before


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open by content, not by name: a renamed or doubly suffixed file still opens."""
    with path.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not compressed:
            yield raw
            return
        with gzip.GzipFile(fileobj=raw, mode="rb") as stream:
            yield cast(BinaryIO, stream)


def _read_header(stream: BinaryIO, path: Path) -> Any:
    start = stream.read(352)
    stream.seek(0)
    size = {int.from_bytes(start[:4], order) for order in _ORDERS}
    if 348 in size and start[344:348] == b"n+1\x00":
        kind = _NIFTI1
    elif 540 in size and start[4:8] == b"n+2\x00":
        kind = _NIFTI2
    else:
        raise InputError(
            "is neither a NIfTI nor a DICOM image",
            path=path,
            remedy="Name a scan, a zip archive or a folder",
        )
    holder = FileHolder(fileobj=cast(Any, stream))
    return kind.from_file_map({"header": holder, "image": holder}, keep_file_open=True)


def _check_declared(image: Any, path: Path) -> int:
    """Compare what the header declares with what the file can hold; return the volumes."""
    shape = tuple(int(n) for n in image.header.get_data_shape())
    if len(shape) < 2 or min(shape) < 1:
        raise InputError(
            f"declares an image of {_times(shape)} voxels",
            path=path,
            remedy="Name a 2-D, 3-D or 4-D image",
        )
    dtype = image.header.get_data_dtype()
    if dtype.fields is not None or dtype.kind == "V":
        raise InputError(
            "holds colours (RGB), not intensities",
            path=path,
            remedy="Export the scan itself, not a screenshot",
        )
    if dtype.kind == "c":
        raise InputError("holds complex numbers", path=path, remedy="Save the magnitude image")
    voxels = 1
    for n in shape:
        voxels *= n
    needed = voxels * dtype.itemsize
    size = path.stat().st_size
    with path.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
    held = size * _DEFLATE_LIMIT if compressed else size - int(image.dataobj.offset)
    if needed > held:
        raise InputError(
            f"declares {_times(shape)} voxels ({needed} bytes), more than its {size} bytes hold: "
            "it is truncated or its header is damaged",
            path=path,
            remedy="Copy or export the file again",
        )
    count = 1
    for n in shape[3:]:
        count *= n
    if voxels // count > MAX_VOXELS:
        raise InputError(
            f"is too large ({_times(shape)} voxels)", path=path, remedy="Crop the image first"
        )
    return count


def _choose(volume: int | None, count: int, path: Path) -> int:
    index = 0 if volume is None else volume
    if not 0 <= index < count:
        raise InputError(
            f"has no volume {index}: it holds {count}",
            path=path,
            remedy=f"Choose a volume from 0 to {count - 1}",
        )
    return index


def _geometry(header: Any, path: Path) -> tuple[NDArray[np.float64], bool]:
    affine = np.array(header.get_best_affine(), dtype=np.float64)
    stated = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    if not np.isfinite(affine).all():
        raise InputError(
            "its affine holds values that are not finite",
            path=path,
            remedy="Repair the sform and qform of the header",
        )
    affine[:3] *= _MM_PER_UNIT.get(int(header["xyzt_units"]) & 0x07, 1.0)
    sizes = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if sizes.min() <= 0:
        raise InputError(
            "its voxel size is zero", path=path, remedy="Repair pixdim and the sform of the header"
        )
    if abs(np.linalg.det(affine[:3, :3] / sizes)) < 1e-4:
        raise InputError(
            "its affine squeezes the volume flat",
            path=path,
            remedy="Repair the sform of the header",
        )
    return affine, stated


def _voxels(image: Any, index: int) -> NDArray[Any]:
    """Return the chosen volume, scaled by slope and intercept, as (x, y, z)."""
    shape = image.shape
    if len(shape) > 3:
        at = np.unravel_index(index, shape[3:], order="F")
        return np.asarray(image.dataobj[(..., *(int(i) for i in at))])
    data = np.asarray(image.dataobj)
    return data[..., np.newaxis] if data.ndim == 2 else data


def _drain(stream: BinaryIO) -> None:
    """Read to the end, where a compressed file carries its length and checksum."""
    if isinstance(stream, gzip.GzipFile):
        while stream.read(1 << 20):
            pass


def _finite(raw: NDArray[Any], path: Path) -> tuple[FloatArray, int]:
    with np.errstate(over="ignore", invalid="ignore"):
        data = np.array(raw, dtype=np.float32)
    bad = ~np.isfinite(data)
    replaced = int(np.count_nonzero(bad))
    if replaced == data.size:
        raise InputError("holds no finite number at all", path=path, remedy="Choose another scan")
    if replaced:
        data[bad] = 0.0
    return data, replaced


def _reason(error: BaseException) -> str:
    if isinstance(error, EOFError) or "end-of-stream" in str(error):
        return "is truncated: the compressed data end too early"
    if isinstance(error, PermissionError):
        return "may not be read (no permission)"
    if isinstance(error, (zlib.error, gzip.BadGzipFile)):
        return "is damaged: its compressed data do not check"
    return f"cannot be read as NIfTI ({error})"


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)
