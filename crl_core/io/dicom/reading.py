"""A series to a scan, and to a small picture of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from crl_core.errors import InputError
from crl_core.geometry import SlicePlane
from crl_core.io.dicom.files import all_open
from crl_core.io.dicom.frames import Frame
from crl_core.io.dicom.pixels import planes
from crl_core.io.dicom.series import Series, usable
from crl_core.io.timing import NAMES
from crl_core.scan import FloatArray, Origin, Scan
from crl_core.sequence import SequenceParameters


def read_series(
    series: Series, *, volume: int | None = None, parameters: SequenceParameters | None = None
) -> Scan:
    """Read the voxels of one volume.

    Parameters
    ----------
    series
        As listed by `find_series`.
    volume
        Which volume, counted from 0; None takes the first and says so.
    parameters
        What the user states; the header's own values are then not used.

    Returns
    -------
    Scan
        (columns, rows, slices), as stored, not flipped; slices in ascending order along
        the normal.

    Raises
    ------
    InputError
        When the series cannot be used, has no such volume, or its pixels are damaged.
    """
    usable(series)
    index = 0 if volume is None else volume
    if not 0 <= index < series.volumes:
        raise InputError(
            f"series {series.key} has no volume {index}: it holds {series.volumes}",
            path=series.path,
            remedy=f"Choose a volume from 0 to {series.volumes - 1}",
        )
    notes = list(series.notes)
    if series.volumes > 1:
        notes.append(f"Volume {index} of {series.volumes}, counted from 0.")
    if parameters is not None:
        origins = {name: Origin("given by the user", "given") for name in NAMES}
    else:
        parameters, origins = series.timing.parameters, series.timing.origins
        if parameters is None:
            notes.append(f"The header does not state {series.timing.missing}.")
    return Scan(
        data=_voxels(series, index),
        affine=series.affine.copy(),
        name=series.name,
        parameters=parameters,
        origins=origins,
        path=series.path,
        note=" ".join(notes),
        series=series.key,
    )


def _voxels(series: Series, index: int) -> FloatArray:
    if series.converted is not None:
        return series.converted.voxels(index, series.path)
    columns, rows, slices = series.shape
    try:
        data = np.empty((slices, rows, columns), dtype=np.float32)
    except MemoryError as error:
        raise _too_large(series) from error
    for number, plane in _planes(series, series.frames[index]):
        data[number] = plane
    return data.T


def _too_large(series: Series) -> InputError:
    return InputError(
        "is larger than this computer's memory", path=series.path, remedy="Export fewer slices"
    )


def _planes(series: Series, frames: Sequence[Frame]) -> Iterator[tuple[int, FloatArray]]:
    """Yield intensities; refusals name what the user named, not a file inside."""
    try:
        with all_open([frame.instance.item for frame in frames]):
            yield from planes(frames)
    except InputError as error:
        raise InputError(error.problem, path=series.path, remedy=error.remedy) from error
    except MemoryError as error:
        raise _too_large(series) from error


def thumbnail(series: Series, size: int = 96) -> FloatArray:
    """Return a small picture of the middle slice, upright as on the screen.

    Parameters
    ----------
    series
        As listed by `find_series`.
    size
        Most rows and columns.

    Returns
    -------
    array
        float32, (rows, columns), 0 to 1, in the proportions of the slice in millimetres.

    Raises
    ------
    InputError
        When the series cannot be used or its pixels are damaged.
    """
    usable(series)
    middle = series.shape[2] // 2
    if series.converted is not None:
        plane = series.converted.voxels(0, series.path)[:, :, middle]
    else:
        plane = next(_planes(series, [series.frames[0][middle]]))[1].T
    shown = SlicePlane(series.affine, series.shape, 2)
    picture = _fitted(shown.to_display(plane), shown.spacing, size)
    low, high = np.percentile(picture, (0.5, 99.5))
    scaled = (picture - low) / (high - low) if high > low else np.zeros_like(picture)
    return np.clip(scaled, 0.0, 1.0).astype(np.float32)


def _fitted(picture: FloatArray, spacing: tuple[float, float], size: int) -> FloatArray:
    """Resample so that the longer side has `size` pixels, averaging what falls into one."""
    from scipy import ndimage

    rows, columns = picture.shape
    height, width = rows * spacing[1], columns * spacing[0]
    scale = size / max(height, width)
    target = max(round(height * scale), 1), max(round(width * scale), 1)
    step = [max(old / new, 1.0) for old, new in zip(picture.shape, target, strict=True)]
    smooth = ndimage.uniform_filter(picture, [round(s) for s in step], mode="nearest")
    at = [
        (np.arange(new) + 0.5) * old / new - 0.5
        for old, new in zip((rows, columns), target, strict=True)
    ]
    grid = np.meshgrid(*at, indexing="ij")
    found = ndimage.map_coordinates(smooth, grid, order=1, mode="nearest")
    return np.asarray(found, dtype=np.float32)
