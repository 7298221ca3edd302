"""PSNR, SSIM and mean absolute error inside a mask, as they are and after one gain.

Nothing is normalised here. The caller brings both images to one unit, gives the mask and the
peak, and the numbers state them. Two readings stand side by side: *as is*, and after the
synthesised image was multiplied with one least-squares factor (*gain*), which takes out the
receiver gain that no network can know. An image is never scaled by its own minimum or maximum:
one hot voxel would then cost 20 dB.

SSIM follows Wang et al., IEEE Trans. Image Process. 13:600 (2004): Gaussian window of 11x11
with sigma 1.5, K1 = 0.01, K2 = 0.03, population covariance, borders mirrored. The value
reported is the mean of the SSIM map over the mask. A volume is judged slice by slice, with
two-dimensional windows, because its slices were acquired one by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

PEAK_PERCENTILE = 99.5
"""The percentile of the reference inside the mask that counts as the peak."""

_K1, _K2 = 0.01, 0.03
_SIGMA, _RADIUS = 1.5, 5


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a synthesised image differs from the acquired reference.

    Parameters
    ----------
    psnr, ssim, mae_percent
        As is: dB against `peak`, -1 to 1, and per cent of `peak`. All are NaN where the mask is
        empty; PSNR is infinite where the images are equal.
    gain
        The one factor on the synthesised image that fits it best to the reference.
    psnr_gain, ssim_gain, mae_percent_gain
        The same three after that factor.
    n_voxels
        Voxels inside the mask.
    n_slices
        Slices that hold at least one of them.
    peak
        The intensity that counts as full range, in the unit of both images.
    mask_name
        What the mask is, as the start of a sentence.
    """

    psnr: float
    ssim: float
    mae_percent: float
    gain: float
    psnr_gain: float
    ssim_gain: float
    mae_percent_gain: float
    n_voxels: int
    n_slices: int = 1
    peak: float = 1.0
    mask_name: str = "Head mask"

    @property
    def range_text(self) -> str:
        """The range the numbers refer to, such as ``range 0–0.93 (p99.5 of the reference)``."""
        return f"range 0–{self.peak:.3g} (p{PEAK_PERCENTILE:g} of the reference)"

    @property
    def gain_text(self) -> str:
        """The head of the fitted column, such as ``gain 1.03``."""
        return f"gain {self.gain:.2f}"

    @property
    def statement(self) -> str:
        """One line that says what the numbers were made with."""
        return f"{self.mask_name} · {self.range_text} · gain: one factor, least squares"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a report; numbers that are not finite become None."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }


def reference_peak(reference: ArrayLike, mask: ArrayLike) -> float:
    """Return the 99.5th percentile of the reference inside the mask.

    Parameters
    ----------
    reference
        Acquired intensities, any shape and unit.
    mask
        Boolean, same shape; where it is empty the whole image counts.

    Returns
    -------
    float
        Above zero; 1 where the image holds no signal, so that nothing divides by zero.
    """
    image, inside = np.asarray(reference), np.asarray(mask, dtype=bool)
    values = image[inside] if inside.any() else image.ravel()
    values = values[np.isfinite(values)]
    top = float(np.percentile(values, PEAK_PERCENTILE)) if values.size else 0.0
    return top if top > 0 else 1.0


def psnr(image: ArrayLike, reference: ArrayLike, mask: ArrayLike, peak: float) -> float:
    """Return the peak signal-to-noise ratio inside the mask, dB.

    ``20 log10(peak) - 10 log10(mean squared difference)``; infinite for equal images, NaN for
    an empty mask. Background is left out, as its zero error would add several dB.
    """
    x, y = _inside(image, reference, mask)
    return _psnr_of(x - y, _checked_peak(peak))


def mae(image: ArrayLike, reference: ArrayLike, mask: ArrayLike) -> float:
    """Return the mean absolute difference inside the mask, in the unit of the images."""
    x, y = _inside(image, reference, mask)
    return _mean(np.abs(x - y))


def least_squares_gain(image: ArrayLike, reference: ArrayLike, mask: ArrayLike) -> float:
    """Return the factor on `image` that brings it closest to `reference` inside the mask.

    Returns
    -------
    float
        ``sum(image * reference) / sum(image**2)``, or 1 where the image is zero throughout.
    """
    return _gain_of(*_inside(image, reference, mask))


def ssim_map(
    image: ArrayLike, reference: ArrayLike, data_range: float, slice_axis: int | None = None
) -> FloatArray:
    """Return the structural similarity around every pixel.

    Parameters
    ----------
    image, reference
        Two images of one shape and unit, 2-D or 3-D.
    data_range
        The intensity that counts as full range; fixed, never taken from the images.
    slice_axis
        The axis along which slices were acquired; needed for 3-D arrays.

    Returns
    -------
    ndarray of float32
        Same shape, -1 to 1.
    """
    x, y = _pair(image, reference)
    peak = _checked_peak(data_range)
    out = np.empty(x.shape, np.float32)
    axis = _slice_axis(x, slice_axis)
    for x2, y2, out2 in _slices(axis, x, y, out):
        whole = (slice(0, x2.shape[0]), slice(0, x2.shape[1]))
        out2[...] = _similarity(_moments(x2, y2, peak, whole), 1.0)
    return out


def ssim(
    image: ArrayLike,
    reference: ArrayLike,
    mask: ArrayLike,
    data_range: float,
    slice_axis: int | None = None,
) -> float:
    """Return the mean of `ssim_map` over the mask; windows may reach beyond the mask."""
    x, y = _pair(image, reference)
    inside = _mask_like(mask, x)
    return _mean_ssim(x, y, inside, _checked_peak(data_range), (1.0,), slice_axis)[0][0]


def compare(
    image: ArrayLike,
    reference: ArrayLike,
    mask: ArrayLike,
    peak: float,
    *,
    slice_axis: int | None = None,
    mask_name: str = "Head mask",
) -> Comparison:
    """Compare a synthesised image with the acquired one.

    Parameters
    ----------
    image
        Synthesised, 2-D or 3-D, in the unit of `reference`.
    reference
        Acquired, same shape.
    mask
        Boolean, same shape.
    peak
        Full range for PSNR, SSIM and per cent: `reference_peak` of the *volume*, so that all
        its slices share one range.
    slice_axis
        The axis along which slices were acquired; needed for 3-D arrays.
    mask_name
        What the mask is, for the line under the numbers.

    Raises
    ------
    ValueError
        When shapes differ, the peak is not above zero, or a 3-D array comes without its axis.
    """
    x, y = _pair(image, reference)
    inside = _mask_like(mask, x)
    peak = _checked_peak(peak)
    x_in, y_in = x[inside], y[inside]
    gain = _gain_of(x_in, y_in)
    difference, fitted = x_in - y_in, np.float32(gain) * x_in - y_in
    (plain_ssim, gain_ssim), n_slices = _mean_ssim(x, y, inside, peak, (1.0, gain), slice_axis)
    return Comparison(
        psnr=_psnr_of(difference, peak),
        ssim=plain_ssim,
        mae_percent=100.0 * _mean(np.abs(difference)) / peak,
        gain=gain,
        psnr_gain=_psnr_of(fitted, peak),
        ssim_gain=gain_ssim,
        mae_percent_gain=100.0 * _mean(np.abs(fitted)) / peak,
        n_voxels=int(x_in.size),
        n_slices=n_slices,
        peak=peak,
        mask_name=mask_name,
    )


def _gaussian() -> FloatArray:
    x = np.arange(-_RADIUS, _RADIUS + 1)
    weights = np.exp(-0.5 * (x / _SIGMA) ** 2)
    return np.asarray(weights / weights.sum(), dtype=np.float32)


_WINDOW = _gaussian()


def _smooth(image: FloatArray, axis: int) -> FloatArray:
    """Convolve along `axis` with the window, keeping only where it fits entirely.

    Adding shifted views of one map at a time stays inside the processor's cache and is several
    times faster here than a general convolution.
    """
    n = image.shape[axis] - 2 * _RADIUS

    def shifted(start: int) -> FloatArray:
        where = slice(start, start + n)
        return image[where] if axis == 0 else image[:, where]

    out: FloatArray = shifted(_RADIUS) * _WINDOW[_RADIUS]
    pair = np.empty_like(out)
    for k in range(1, _RADIUS + 1):
        np.add(shifted(_RADIUS - k), shifted(_RADIUS + k), out=pair)
        pair *= _WINDOW[_RADIUS + k]
        out += pair
    return out


def _moments(
    x: FloatArray, y: FloatArray, peak: float, box: tuple[slice, slice]
) -> tuple[FloatArray, ...]:
    """Return the local means of x, y, xx, yy, xy over `box`, in units of the peak."""
    crop, pad = [], []
    for where, length in zip(box, x.shape, strict=True):
        low, high = where.start - _RADIUS, where.stop + _RADIUS
        crop.append(slice(max(low, 0), min(high, length)))
        pad.append((max(-low, 0), max(high - length, 0)))
    scale = np.float32(1.0 / peak)
    a = np.pad(x[tuple(crop)], pad, mode="symmetric") * scale
    b = np.pad(y[tuple(crop)], pad, mode="symmetric") * scale
    return tuple(_smooth(_smooth(m, 0), 1) for m in (a, b, a * a, b * b, a * b))


def _similarity(moments: tuple[FloatArray, ...], gain: float) -> FloatArray:
    """Return the SSIM of gain * x against y. Both readings share one set of moments."""
    g, two = np.float32(gain), np.float32(2.0)
    c1, c2 = np.float32(_K1**2), np.float32(_K2**2)
    mx, my, xx, yy, xy = moments
    # In place, as fresh arrays cost more here than the arithmetic.
    product = mx * (two * g) * my
    squares = mx * mx
    squares *= g * g
    squares += my * my
    structure = xy * (two * g)
    structure -= product
    variances = xx * (g * g)
    variances += yy
    variances -= squares
    product += c1
    squares += c1
    structure += c2
    variances += c2
    product *= structure
    squares *= variances
    product /= squares
    return product


def _mean_ssim(
    x: FloatArray,
    y: FloatArray,
    inside: BoolArray,
    peak: float,
    gains: tuple[float, ...],
    slice_axis: int | None,
) -> tuple[list[float], int]:
    """Return the masked mean for each gain, and the number of slices the mask touches."""
    totals, count, n_slices = [0.0] * len(gains), 0, 0
    for x2, y2, m2 in _slices(_slice_axis(x, slice_axis), x, y, inside):
        box = _bounding_box(m2)
        if box is None:
            continue
        where = np.flatnonzero(m2[box])
        moments = tuple(m.ravel()[where] for m in _moments(x2, y2, peak, box))
        n_slices += 1
        count += where.size
        for i, gain in enumerate(gains):
            totals[i] += float(_similarity(moments, gain).sum(dtype=np.float64))
    return [t / count if count else math.nan for t in totals], n_slices


def _bounding_box(mask: BoolArray) -> tuple[slice, slice] | None:
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)


def _slice_axis(array: FloatArray, axis: int | None) -> int | None:
    if array.ndim == 2:
        return None
    if array.ndim != 3:
        raise ValueError(f"images have 2 or 3 dimensions, not {array.ndim}")
    if axis is None:
        if 1 not in array.shape:
            raise ValueError("give slice_axis for a volume")
        return array.shape.index(1)
    return axis


def _slices(axis: int | None, *arrays: NDArray[Any]) -> Iterator[tuple[NDArray[Any], ...]]:
    if axis is None:
        yield arrays
        return
    moved = [np.moveaxis(a, axis, 0) for a in arrays]
    for index in range(moved[0].shape[0]):
        yield tuple(a[index] for a in moved)


def _pair(image: ArrayLike, reference: ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, y = np.asarray(image, dtype=np.float32), np.asarray(reference, dtype=np.float32)
    if x.shape != y.shape:
        raise ValueError(f"the image is {x.shape} and the reference {y.shape}")
    return x, y


def _mask_like(mask: ArrayLike, image: FloatArray) -> BoolArray:
    inside = np.asarray(mask, dtype=bool)
    if inside.shape != image.shape:
        raise ValueError(f"the mask is {inside.shape} and the image {image.shape}")
    return inside


def _inside(
    image: ArrayLike, reference: ArrayLike, mask: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    x, y = _pair(image, reference)
    inside = _mask_like(mask, x)
    return x[inside], y[inside]


def _checked_peak(peak: float) -> float:
    if not (math.isfinite(peak) and peak > 0):
        raise ValueError(f"the peak is {peak}, it must be above zero")
    return float(peak)


def _mean(values: FloatArray) -> float:
    return float(values.mean(dtype=np.float64)) if values.size else math.nan


def _psnr_of(difference: FloatArray, peak: float) -> float:
    if not difference.size:
        return math.nan
    mse = _mean(np.square(difference * np.float32(1.0 / peak)))
    return math.inf if mse == 0 else -10.0 * math.log10(mse)


def _gain_of(x: FloatArray, y: FloatArray) -> float:
    # Products of 12-bit intensities summed over a volume need more than single precision.
    wide = x.astype(np.float64)
    power = float(wide @ wide)
    return float(wide @ y.astype(np.float64)) / power if power > 0 else 1.0
