"""Small pictures of scans, for lists."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from crl_core.geometry import SlicePlane
from crl_core.scan import FloatArray, Scan


def middle_slice(scan: Scan, longest: int) -> FloatArray:
    """Return a small picture of the middle slice of a scan; see `small_picture`."""
    plane = SlicePlane(scan.affine, scan.shape, scan.slice_axis)
    return small_picture(plane, scan.slice(scan.n_slices // 2), longest)


def small_picture(plane: SlicePlane, pixels: FloatArray, longest: int) -> FloatArray:
    """Return a slice as on screen, small and with square pixels.

    Parameters
    ----------
    plane
        How slices of the volume lie.
    pixels
        The slice, as `SlicePlane.to_display` takes it.
    longest
        Pixels along the longer side.

    Returns
    -------
    picture
        (rows, columns), float32, from 0 to 1 between the 0.5th and the 99.5th percentile; what
        falls into one pixel is averaged.
    """
    shown = plane.to_display(pixels)
    (width, height), side = plane.size_mm, max(plane.size_mm)
    target = max(round(longest * height / side), 1), max(round(longest * width / side), 1)
    step = [max(old / new, 1.0) for old, new in zip(shown.shape, target, strict=True)]
    smooth = ndimage.uniform_filter(shown, [round(s) for s in step], mode="nearest")
    at = [
        (np.arange(new) + 0.5) * old / new - 0.5
        for old, new in zip(shown.shape, target, strict=True)
    ]
    grid = np.meshgrid(*at, indexing="ij")
    picture = ndimage.map_coordinates(smooth, grid, order=1, mode="nearest")
    low, high = np.percentile(picture, (0.5, 99.5))
    scaled = (picture - low) / (high - low) if high > low else np.zeros_like(picture)
    return np.asarray(np.clip(scaled, 0.0, 1.0), dtype=np.float32)
