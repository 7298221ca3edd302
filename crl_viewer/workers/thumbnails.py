"""Small grey pictures of a demo, for its card on the welcome page."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crl_core.geometry import SlicePlane
from crl_core.scan import Scan

COUNT = 3


def thumbnails(make: Callable[[], list[Scan]]) -> list[NDArray[np.uint8]]:
    """Return the middle slice of the first, a middle and the last scan, in display orientation.

    Each is windowed from zero to its own 99.5th percentile and cropped to the head.
    """
    scans = make()
    chosen = [scans[i] for i in sorted({0, len(scans) // 3, 2 * len(scans) // 3})][:COUNT]
    return [_picture(scan) for scan in chosen]


def _picture(scan: Scan) -> NDArray[np.uint8]:
    plane = SlicePlane(scan.affine, scan.shape, scan.slice_axis)
    index = scan.n_slices // 2
    shown = plane.to_display(scan.slice(index))
    inside = plane.to_display(np.take(scan.mask, index, axis=scan.slice_axis))
    if inside.any():
        rows = np.flatnonzero(inside.any(axis=1))
        cols = np.flatnonzero(inside.any(axis=0))
        shown = shown[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    grey = np.clip(shown / scan.scale.scale, 0, 1) * 255
    return np.ascontiguousarray(grey.astype(np.uint8))
