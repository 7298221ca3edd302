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
    from crl_core.picture import small_picture

    usable(series)
    middle = series.shape[2] // 2
    if series.converted is not None:
        plane = series.converted.voxels(0, series.path)[:, :, middle]
    else:
        plane = next(_planes(series, [series.frames[0][middle]]))[1].T
    return small_picture(SlicePlane(series.affine, series.shape, 2), plane, size)
