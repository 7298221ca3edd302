"""A head mask from intensities alone, without a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float32]


def otsu_threshold(values: NDArray[np.float32], bins: int = 256) -> float:
    """Return the threshold that best separates two classes of values.

    The between-class variance is maximised over a histogram (Otsu, IEEE Trans. Syst. Man
    Cybern. 9:62, 1979).
    """
    counts, edges = np.histogram(values, bins=bins)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts).astype(float)
    above = below[-1] - below
    total_below = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_below = total_below / below
        mean_above = (total_below[-1] - total_below) / above
        variance = below * above * (mean_below - mean_above) ** 2
    variance[~np.isfinite(variance)] = -1.0
    return float(centres[int(np.argmax(variance))])


def head_mask(data: FloatArray, slice_axis: int = 2) -> BoolArray:
    """Return the foreground of a head scan: the head with its cavities, without the air around.

    A threshold below Otsu's on the square root of the magnitude, smoothed in the plane so that
    dark bone and nulled fluid inside the head are bridged, the largest connected piece, and
    every hole within a slice filled.

    Parameters
    ----------
    data
        Intensities, (x, y, z).
    slice_axis
        The axis along which slices were acquired; holes are filled within slices, because a
        head cut by the field of view is open along this axis.

    Returns
    -------
    mask
        Boolean, the shape of `data`; empty where the image holds one single value.
    """
    magnitude = np.abs(data)
    top = float(np.percentile(magnitude, 99.5))
    if top <= 0:
        return np.zeros(data.shape, dtype=bool)
    sigma = [0.0 if axis == slice_axis else 1.2 for axis in range(3)]
    clipped = ndimage.gaussian_filter(np.minimum(magnitude, top), sigma)
    # Otsu splits bright tissue from dark tissue as readily as tissue from air. On the square root
    # bright fluid weighs less, and 0.7 of the threshold keeps the dark brain of a long echo while
    # it still lies above the noise floor of an ordinary scan.
    root = np.sqrt(clipped)
    raw = root > 0.7 * otsu_threshold(root)
    moved = np.moveaxis(raw, slice_axis, 0)
    closed = np.stack([_close_plane(plane) for plane in moved])
    labels, count = ndimage.label(closed)
    if count == 0:
        return np.zeros(data.shape, dtype=bool)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest = labels == int(np.argmax(sizes))
    filled = np.stack([_finish_plane(plane) for plane in largest])
    return np.ascontiguousarray(np.moveaxis(filled, 0, slice_axis))


def _close_plane(plane: BoolArray) -> BoolArray:
    """Drop specks and ghosts beside the head, then bridge the dark ring of the skull."""
    opened = ndimage.binary_opening(plane, iterations=2)
    padded = np.pad(opened, 6)
    closed = ndimage.binary_closing(padded, iterations=5)[6:-6, 6:-6]
    return np.asarray(ndimage.binary_fill_holes(closed), dtype=bool)


def _finish_plane(plane: BoolArray) -> BoolArray:
    """Fill holes and cut off what is narrow: pulsation ghosts beside the head, cables, noise."""
    filled = ndimage.binary_fill_holes(plane)
    # About 4 % of the image is wider than a ghost that touches the head and narrower than a nose.
    radius = max(1, round(0.04 * max(plane.shape)))
    # An opening by a disc, through distances: the cost does not grow with the radius.
    padded = np.pad(filled, radius + 1)
    core = ndimage.distance_transform_edt(padded) > radius
    if not core.any():
        return np.asarray(filled, dtype=bool)
    opened = ndimage.distance_transform_edt(~core) <= radius
    return np.asarray(opened[radius + 1 : -radius - 1, radius + 1 : -radius - 1], dtype=bool)
