"""From numbers to colours: the grey of an image, and the colours of the error map.

Negative differences are blue, positive ones orange, and lightness grows with the size of the
difference on both sides. No difference is a dark grey, so that it is never mistaken for the
black outside the mask, where nothing was judged.
"""

from __future__ import annotations

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
    at = np.linspace(-1.0, 1.0, N_COLOURS)
    positions = [p for p, _ in _STOPS]
    table = np.full(N_COLOURS, BLACK, np.uint32)
    for shift in (16, 8, 0):
        channel = np.interp(at, positions, [(c >> shift) & 0xFF for _, c in _STOPS])
        table |= np.rint(channel).astype(np.uint32) << np.uint32(shift)
    table.setflags(write=False)
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
