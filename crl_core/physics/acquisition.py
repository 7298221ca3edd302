"""From the signal of tissue to the magnitude image a scanner would show.

A slice is acquired in k-space: the plane simulated on a fine grid is transformed, the centre that
the matrix covers is kept, and along the phase encoding axis every line is weighted by the echo it
is acquired at. Each kind of tissue is transformed on its own, because its decay along the train is
its own, fat is off resonance, and only fluid and blood pulsate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crl_core.physics.epg import EchoTrain, echo_amplitudes
from crl_core.physics.realism import Realism
from crl_core.physics.slab import SequenceSignal, Voxels
from crl_core.physics.tissues import GROUPS, Group
from crl_core.scan import FloatArray

PHASE, READOUT = 0, 1
"""Axes of a plane (x, y): phase encoding runs from right to left, as usual for axial heads."""

_TYPICAL: dict[Group, tuple[float, float]] = {
    "solid": (1100.0, 80.0),
    "fluid": (4200.0, 1900.0),
    "blood": (1650.0, 150.0),
    "fat": (375.0, 120.0),
}
"""T1 and T2 by which a kind of tissue decays along the train, ms."""

_ROLL_OFF = 0.25
"""Share of the half width of k-space over which the filter against ringing falls off."""

REFERENCE_MM3 = 5.0
"""Volume of the voxel that `Realism.noise` refers to: 1 x 1 x 5 mm."""


@dataclass(frozen=True)
class Matrix:
    """Grid of the simulation and of the image.

    Parameters
    ----------
    fine
        Pixels of the simulated plane along x and y.
    image
        Pixels of the image, covering the same field.
    """

    fine: tuple[int, int]
    image: tuple[int, int]


@dataclass(frozen=True)
class Displacement:
    """Where a contrast lies against the subject's true place.

    Parameters
    ----------
    shift
        Along x and y, pixels of the image.
    through
        Along z, mm.
    angle
        Rotation in the plane, radians.
    """

    shift: tuple[float, float] = (0.0, 0.0)
    through: float = 0.0
    angle: float = 0.0

    @classmethod
    def draw(cls, rng: np.random.Generator, largest: float, voxel_mm: float) -> Displacement:
        """Draw a rigid displacement of at most `largest` pixels along each axis and at the rim."""
        x, y, z, turn = (float(v) for v in largest * rng.uniform(-1.0, 1.0, size=4))
        return cls((x, y), z * voxel_mm, turn / 90.0)


def slice_profile(offsets: FloatArray, thickness: float) -> FloatArray:
    """Return the weight of planes at offsets from the middle of a slice, summing to 1.

    A rectangle with soft shoulders, full width at half maximum `thickness`: between 90 % and 10 %
    it falls over a quarter of the thickness, as that of the pulses of 2-D sequences does. The
    shape is assumed.

    Parameters
    ----------
    offsets
        Distance of the planes from the middle, mm.
    thickness
        Nominal slice thickness, mm.
    """
    far = np.abs(2.0 * np.asarray(offsets, dtype=np.float64) / thickness)
    weight = np.exp(-np.log(2.0) * far**6)
    return np.asarray(weight / max(float(weight.sum()), 1e-12), dtype=np.float32)


def group_planes(voxels: Voxels, signal: Any, profile: FloatArray) -> dict[Group, Any]:
    """Sum the signed signal of each kind of tissue over the slice; (rows, columns) each."""
    planes: dict[Group, Any] = {}
    for group in GROUPS:
        low, high = voxels.group(group)
        if high == low:
            continue
        slab = voxels.spread(signal[low:high], low, high)
        plane = slab[0] * float(profile[0])
        for k in range(1, len(profile)):
            if profile[k] > 1e-4:
                plane += slab[k] * float(profile[k])
        planes[group] = plane
    return planes


def decay_over_kspace(train: EchoTrain, te: float, group: Group, count: int) -> FloatArray:
    """Return the weight of each phase encoding line by the decay of the train, (count,).

    The echo closest to TE fills the centre, where the weight is 1. Later echoes fill one side;
    the other is filled by earlier ones where there are enough of them, else by later ones too, as
    in sequences with a short TE. The steps between echoes are smoothed.

    Parameters
    ----------
    train, te
        The echo train and TE, ms.
    group
        Whose relaxation times to take.
    count
        Number of lines, lowest frequency in the middle.
    """
    t1, t2 = _TYPICAL[group]
    echoes = echo_amplitudes(t1, t2, train)
    centre = train.echo(te)
    k = (np.arange(count) - count // 2) / max(count / 2, 1.0)
    last = train.length - centre
    first = 1 - centre if centre - 1 >= train.length / 4 else last
    number = centre + np.where(k >= 0, k * last, -k * first)
    weight = np.interp(number, np.arange(1, train.length + 1), echoes)
    return np.asarray(weight / max(float(echoes[centre - 1]), 1e-9), dtype=np.float32)


def acquire(
    planes: Mapping[Group, Any],
    sequence: SequenceSignal,
    matrix: Matrix,
    realism: Realism,
    sensitivities: Any,
    noise: Any,
    *,
    where: Displacement | None = None,
    beat: tuple[float, float] = (0.25, 0.0),
) -> Any:
    """Return the magnitude image of one slice, (x, y), in units of pure water's signal.

    Parameters
    ----------
    planes
        Signed signal of each kind of tissue on the fine grid, see `group_planes`.
    sequence
        The sequence, for its echo train.
    matrix
        Grids of the simulation and of the image.
    realism
        Blur, ghosts and chemical shift.
    sensitivities
        Of the receive channels on the image's grid, (channels, x, y), complex.
    noise
        Complex noise of every channel in k-space, same shape, of the standard deviation wanted in
        real and imaginary part of the image; None for none.
    where
        Displacement of the contrast.
    beat
        Displacement of the ghosts as a fraction of the field of view, and their phase.
    """
    xp = _space(sensitivities)
    total = None
    for group, plane in planes.items():
        part = _transform(xp, plane, matrix)
        part *= _lines(sequence, group, matrix, realism, beat, plane)
        if group == "fat" and realism.fat_shift:
            part *= _ramp(matrix.image[READOUT], realism.fat_shift, READOUT, plane)
        total = part if total is None else total + part
    shape = matrix.image
    if total is None:
        total = sensitivities[0] * 0.0
    where = where or Displacement()
    # A pixel of the image is centred on the fine pixels it covers, not on the first of them.
    for axis in (PHASE, READOUT):
        ratio = matrix.fine[axis] / shape[axis]
        shift = where.shift[axis] - (ratio - 1.0) / (2.0 * ratio)
        total = total * _ramp(shape[axis], shift, axis, plane_like=sensitivities)
    window = _window(shape, realism.blur, sensitivities)
    image = xp.fft.ifft2(total * window) * float(np.prod(shape) / np.prod(matrix.fine))
    if where.angle:
        image = _rotated(xp, image, where.angle)
    channels = image * sensitivities
    if noise is not None:
        # White over the whole of k-space before the filter.
        channels = channels + xp.fft.ifft2(noise * window) * float(np.sqrt(np.prod(shape)))
    squared = channels.real**2 + channels.imag**2
    return xp.sqrt(squared.sum(0))


def _space(array: Any) -> Any:
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def _as(like: Any, values: NDArray[Any]) -> Any:
    """Return values in single precision on the device of another array."""
    single = np.complex64 if np.iscomplexobj(values) else np.float32
    values = np.ascontiguousarray(values, dtype=single)
    if isinstance(like, np.ndarray):
        return values
    import torch

    return torch.from_numpy(values).to(like.device)


def _transform(xp: Any, plane: Any, matrix: Matrix) -> Any:
    """Return the part of the k-space of a fine plane that the matrix covers."""
    rows = _central(xp, xp.fft.fft(plane, None, READOUT), matrix.image[READOUT], READOUT)
    found = _central(xp, xp.fft.fft(rows, None, PHASE), matrix.image[PHASE], PHASE)
    return _as(plane, found) if isinstance(found, np.ndarray) else found


def _central(xp: Any, spectrum: Any, count: int, axis: int) -> Any:
    """Keep the lowest frequencies along an axis; they lie at both of its ends."""
    n = spectrum.shape[axis]
    if count >= n:
        return spectrum
    low, high = (count + 1) // 2, n - count // 2
    if axis == PHASE:
        return xp.concatenate((spectrum[:low], spectrum[high:]), 0)
    return xp.concatenate((spectrum[:, :low], spectrum[:, high:]), 1)


def _along(values: NDArray[Any], axis: int) -> NDArray[Any]:
    return values[:, None] if axis == 0 else values[None, :]


def _lines(
    sequence: SequenceSignal,
    group: Group,
    matrix: Matrix,
    realism: Realism,
    beat: tuple[float, float],
    like: Any,
) -> Any:
    """Return the weight of the phase encoding lines of one kind of tissue."""
    count = matrix.image[PHASE]
    weight = decay_over_kspace(sequence.train, sequence.parameters.te, group, count)
    if group in ("fluid", "blood") and realism.ghost:
        strength = realism.ghost * (3.0 if group == "blood" else 1.0)
        turns = np.arange(count) * beat[0]
        weight = weight * (1.0 + 2.0 * strength * np.cos(2.0 * np.pi * turns + beat[1]))
    return _as(like, _along(np.fft.ifftshift(weight), PHASE))


def _ramp(count: int, shift: float, axis: int, plane_like: Any) -> Any:
    """Return the phase that moves an image by `shift` pixels along an axis."""
    ramp = np.exp(-2j * np.pi * np.fft.fftfreq(count) * shift)
    return _as(plane_like, _along(ramp, axis))


def _window(shape: tuple[int, int], blur: float, like: Any) -> Any:
    """Return the filter of the reconstruction: flat, falling off at the rim of k-space."""
    total = np.ones(shape)
    for axis, count in enumerate(shape):
        far = np.abs(2.0 * np.fft.fftfreq(count))
        edge = np.clip((far - 1.0 + _ROLL_OFF) / _ROLL_OFF, 0.0, 1.0)
        falls = 0.5 * (1.0 + np.cos(np.pi * edge))
        falls = falls * np.exp(-2.0 * (np.pi * blur * np.fft.fftfreq(count)) ** 2)
        total = total * _along(falls, axis)
    return _as(like, total)


def _rotated(xp: Any, image: Any, angle: float) -> Any:
    """Rotate about the middle by three shears, each a phase ramp: nothing is blurred."""
    for axis, slope in ((0, -np.tan(angle / 2.0)), (1, np.sin(angle)), (0, -np.tan(angle / 2.0))):
        other = image.shape[1 - axis]
        moves = slope * (np.arange(other) - (other - 1) / 2.0)
        turns = -2j * np.pi * np.fft.fftfreq(image.shape[axis])
        phase = turns[:, None] * moves[None, :] if axis == 0 else moves[:, None] * turns[None, :]
        spectrum = xp.fft.fft(image, None, axis) * _as(image, np.exp(phase))
        image = xp.fft.ifft(spectrum, None, axis)
    return image
