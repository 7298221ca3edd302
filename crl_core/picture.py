"""A small picture of a scan, for lists."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from crl_core.geometry import SlicePlane
from crl_core.scan import FloatArray, Scan


def middle_slice(scan: Scan, longest: int) -> FloatArray:
    """Return the middle slice as on screen, with square pixels.

    Parameters
    ----------
    scan
        Any scan.
    longest
        Pixels along the longer side.

    Returns
    -------
    picture
        (rows, columns), float32, from 0 to 1 between the 1st and the 99.5th percentile.
    """
    plane = SlicePlane(scan.affine, scan.shape, scan.slice_axis)
    shown = plane.to_display(scan.slice(scan.n_slices // 2))
    width, height = plane.size_mm
    side = max(width, height)
    size = (max(1, round(longest * height / side)), max(1, round(longest * width / side)))
    factors = [wanted / had for wanted, had in zip(size, shown.shape, strict=True)]
    blurred = ndimage.gaussian_filter(shown, [max(0.0, 0.4 / f - 0.4) for f in factors])
    small = ndimage.zoom(blurred, factors, order=1)
    low, high = np.percentile(small, [1, 99.5])
    top = high if high > low else low + 1.0
    return np.asarray(np.clip((small - low) / (top - low), 0, 1), dtype=np.float32)
