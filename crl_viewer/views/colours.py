"""From numbers to colours: the grey of an image, and the colours of the error map.

Negative differences are blue, positive ones orange, and lightness grows with the size of the
difference on both sides. No difference is a dark grey, so that it is never mistaken for the
black outside the mask, where nothing was judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

N_COLOURS = 255
"""An odd number, so that one entry is exactly zero."""

BLACK = np.uint32(0xFF000000)

_STOPS = (
    (-1.0, 0x9ECDFF),
    (-0.6, 0x3A7ED2),
    (-0.22, 0x34445C),
    (0.0, 0x363638),
    (0.22, 0x604830),
    (0.6, 0xDE7C28),
    (1.0, 0xFFD696),
)


@cache
def signed_table() -> NDArray[np.uint32]:
    """Return the 255 colours from -limit to +limit as 0xFFRRGGBB, the memory of RGB32."""
    table = _ramp(np.linspace(-1.0, 1.0, N_COLOURS), _STOPS)
    table.setflags(write=False)
    return table


_SIZES = ((0.0, 0x000000), (0.35, 0x1B4A46), (0.75, 0x4DB6AC), (1.0, 0xD6F2EE))


@cache
def size_table() -> NDArray[np.uint32]:
    """Return the 255 colours from nothing to the limit: black to the accent and beyond."""
    table = _ramp(np.linspace(0.0, 1.0, N_COLOURS), _SIZES)
    table.setflags(write=False)
    return table


def size_picture(percent: NDArray[np.float32], limit: float) -> NDArray[np.uint32]:
    """Colour a size that has no sign, percent; larger ones than `limit` take the last colour."""
    position = np.nan_to_num(percent * np.float32((N_COLOURS - 1) / limit), nan=0.0)
    picture = size_table()[np.rint(np.clip(position, 0, N_COLOURS - 1)).astype(np.int16)]
    return np.ascontiguousarray(picture)


def _ramp(
    at: NDArray[np.float64], stops: Sequence[tuple[float, int]]
) -> NDArray[np.uint32]:
    positions = [p for p, _ in stops]
    table = np.full(len(at), BLACK, np.uint32)
    for shift in (16, 8, 0):
        channel = np.interp(at, positions, [(c >> shift) & 0xFF for _, c in stops])
        table |= np.rint(channel).astype(np.uint32) << np.uint32(shift)
    return table


def signed_picture(percent: NDArray[np.float32], limit: float) -> NDArray[np.uint32]:
    """Colour a signed difference.

    Parameters
    ----------
    percent
        2-D, difference in percent; NaN where it was not judged.
    limit
        The difference at the ends of the table, percent; larger ones take the end colours.

    Returns
    -------
    2-D array of 0xFFRRGGBB, black where `percent` is NaN.
    """
    half = N_COLOURS // 2
    position = percent * np.float32(half / limit)
    outside = np.isnan(position)
    position[outside] = 0
    np.clip(position, -half, half, out=position)
    np.rint(position, out=position)
    picture = signed_table()[position.astype(np.int16) + half]
    picture[outside] = BLACK
    # Indexing keeps the order of memory, and Qt reads rows.
    return np.ascontiguousarray(picture)


def windowed(image: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """Map intensities to grey, `low` to black and `high` to white; NaN becomes black."""
    span = high - low
    if span == 0:
        span = 1e-12
    with np.errstate(over="ignore"):
        grey = (image - np.float32(low)) * np.float32(255.0 / span)
    np.fmax(grey, 0, out=grey)
    np.fmin(grey, 255, out=grey)
    grey += np.float32(0.5)
    return np.ascontiguousarray(grey).astype(np.uint8)
