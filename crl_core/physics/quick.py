"""One slice of one subject in image space, for training: most of the realism at little cost.

Against `crl_core.physics.scanner` the point spread is a Gaussian instead of k-space, the transmit
field is the same everywhere, there is one receive channel, and ghosts move by whole pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from crl_core.physics.acquisition import group_planes
from crl_core.physics.fields import smooth_field
from crl_core.physics.labels import Tissues
from crl_core.physics.lesions import Inclusions, add_mass, add_ms
from crl_core.physics.realism import Realism
from crl_core.physics.slab import SequenceSignal, Voxels, make_voxels
from crl_core.physics.tissues import Table
from crl_core.scan import FloatArray
from crl_core.sequence import SequenceParameters

TUMOUR_SHARE = 0.06
"""Share of subjects with inclusions at all that have a tumour or oedema in the slice."""


@dataclass(frozen=True)
class QuickSlice:
    """A slice ready to be acquired any number of times.

    Parameters
    ----------
    voxels
        Its tissue, see `crl_core.physics.slab`.
    coil
        Receive profile, (rows, columns).
    realism
        Of the subject and the session.
    phase
        Axis of phase encoding, the same for all sequences of a session as a rule.
    """

    voxels: Voxels
    coil: FloatArray
    realism: Realism
    phase: int = 0

    def acquire(
        self,
        rng: np.random.Generator,
        parameters: SequenceParameters,
        profile: FloatArray | None = None,
    ) -> FloatArray:
        """Return the magnitude image in units of pure water's signal, (rows, columns).

        The signal of each sub-slice is summed with its sign before the magnitude is taken, so
        that voxels holding nulled and inverted tissue show the dark rims of a real scan.

        Parameters
        ----------
        rng
            Source of noise, displacement and ghosts.
        parameters
            The sequence.
        profile
            Weight of each sub-slice; uniform by default.
        """
        r = self.realism
        voxels = self.voxels
        count = voxels.shape[0]
        if profile is None:
            profile = np.full(count, 1.0 / count, dtype=np.float32)
        sequence = SequenceSignal(parameters, voxels.table, r, varied=False)
        planes = group_planes(voxels, sequence.of(voxels), profile)
        phase = self.phase
        pulsates = r.ghost > 0 and rng.random() < 0.5
        total = np.zeros(voxels.shape[1:], dtype=np.float32)
        for group, plane in planes.items():
            if group == "fat" and r.fat_shift:
                plane = _moved(plane, r.fat_shift, 1 - phase)
            total += plane
            if pulsates and group in ("fluid", "blood"):
                _ghost(rng, total, plane, r.ghost, phase)
        image = self._blurred(rng, total, phase) * self.coil
        if not r.noise:
            return np.asarray(np.abs(image))
        noise = rng.standard_normal((2, *image.shape), dtype=np.float32)
        noise *= np.float32(r.noise)
        image += noise[0]
        return np.asarray(np.sqrt(image * image + noise[1] * noise[1]))

    def _blurred(self, rng: np.random.Generator, plane: FloatArray, phase: int) -> FloatArray:
        """Blur, more along the phase axis, and displace by a fraction of a pixel in one go."""
        r = self.realism
        if not r.blur:
            return plane
        shift = r.motion * rng.uniform(-1.0, 1.0, size=2)
        wider = r.blur * float(rng.uniform(1.0, 1.5))
        for axis in (0, 1):
            sigma = wider if axis == phase else r.blur
            taps = np.arange(-3, 4) - shift[axis]
            kernel = np.exp(-0.5 * (taps / sigma) ** 2)
            plane = ndimage.convolve1d(plane, kernel / kernel.sum(), axis, mode="nearest")
        return plane


def draw_slice(
    rng: np.random.Generator,
    tissues: Tissues,
    table: Table,
    realism: Realism,
    voxel: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> QuickSlice:
    """Give a slab of tissue texture, inclusions and a receive profile.

    Parameters
    ----------
    rng
        Source of every random choice.
    tissues
        Rows of the tissue table, (sub-slices, rows, columns).
    table
        PD, T1, T2 per tissue, (n, 3).
    realism
        How much of everything.
    voxel
        Size along each axis of the slab, mm.
    """
    plane = (tissues.shape[1], tissues.shape[2])
    inclusions = _inclusions(rng, tissues, realism, voxel)
    water = iron = None
    if realism.texture:
        # Water content moves PD, T1 and T2 together; a second field moves T2 alone.
        water = smooth_field(rng, plane, (1.5, 4.0, 12.0)) * np.float32(realism.texture)
        iron = smooth_field(rng, plane, (1.5, 6.0)) * np.float32(0.5 * realism.texture)
    voxels = make_voxels(tissues, table, water=water, iron=iron, inclusions=inclusions)
    # Mostly from right to left, as in axial heads; `crl_core.physics.scanner` knows no other.
    phase = int(rng.random() < 0.2)
    return QuickSlice(voxels, coil_profile(rng, plane, realism.bias), realism, phase)


def _inclusions(
    rng: np.random.Generator,
    tissues: Tissues,
    realism: Realism,
    voxel: tuple[float, float, float],
) -> Inclusions | None:
    count = int(rng.poisson(realism.lesions)) if realism.lesions > 0 else 0
    if count == 0:
        return None
    found = Inclusions.none(tissues.shape)
    if rng.random() < TUMOUR_SHARE:
        add_mass(rng, tissues, voxel, found, solid=bool(rng.random() < 0.7))
    else:
        add_ms(rng, tissues, voxel, found, count)
    return found


def coil_profile(rng: np.random.Generator, shape: tuple[int, int], depth: float) -> FloatArray:
    """Return a smooth positive receive profile with mean 1 over the plane, (rows, columns).

    `depth` is the logarithm of the ratio between its largest and its smallest value.
    """
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    c = rng.standard_normal(5).astype(np.float32)
    field = c[0] * x + c[1] * y + c[2] * x * y + c[3] * x**2 + c[4] * y**2
    field *= np.float32(depth / max(float(np.ptp(field)), 1e-6))
    profile = np.exp(field)
    return np.asarray(profile / profile.mean(), dtype=np.float32)


def _moved(plane: FloatArray, shift: float, axis: int) -> FloatArray:
    """Displace by a positive number of pixels, linearly interpolated."""
    whole = int(shift)
    part = np.float32(shift - whole)
    near = np.roll(plane, whole, axis)
    return np.asarray(near + part * (np.roll(near, 1, axis) - near))


def _ghost(
    rng: np.random.Generator, total: FloatArray, plane: FloatArray, strength: float, axis: int
) -> None:
    """Add displaced copies of a pulsating part of the image along the phase axis, in place."""
    shift = int(rng.integers(plane.shape[axis] // 8, plane.shape[axis] // 2))
    level = np.float32(strength * rng.uniform(0.3, 1.5))
    total += level * (np.roll(plane, shift, axis) + np.roll(plane, -shift, axis))
