"""Digital subjects: label maps turned into fast spin echo scans with known truth.

A subject is an anatomy plus one draw of every tissue's PD, T1 and T2, texture inside tissues, a
coil profile shared by all its contrasts, and lesions. An acquisition adds partial volume across
the slice, blur in the plane, noise and the scanner's gain. Everything follows from one seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crl_core.errors import InputError
from crl_core.physics.tissues import (
    LABEL_TISSUES,
    Table,
    draw_table,
    labels_to_tissues,
    tissue_index,
)
from crl_core.scan import FloatArray
from crl_core.sequence import SequenceParameters

Tissues = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Realism:
    """How far a digital subject departs from a piecewise constant phantom.

    Parameters
    ----------
    texture
        Standard deviation of the smooth variation of T1 and T2 inside tissues, fraction;
        PD varies by a third of it.
    bias
        Depth of the coil profile, fraction from darkest to brightest over the field of view.
    noise
        Standard deviation of the complex noise as a fraction of the brightest signal of the
        sequence (98th percentile).
    blur
        Width (sigma) of the point spread in the plane, pixels.
    lesions
        Expected number of lesions in a slab.
    wide
        Spread of the tissue table beyond published ranges, 0 to 1.
    echo_mismatch
        Largest relative departure of the decay seen from exp(-TE/T2), as stimulated echoes cause.
    """

    texture: float = 0.06
    bias: float = 0.25
    noise: float = 0.012
    blur: float = 0.6
    lesions: float = 1.0
    wide: float = 0.0
    echo_mismatch: float = 0.08

    @classmethod
    def draw(cls, rng: np.random.Generator, wide: float) -> Realism:
        """Draw the realism of one subject over the range seen on scanners."""
        return cls(
            texture=float(rng.uniform(0.02, 0.11)),
            bias=float(rng.uniform(0.0, 0.45)),
            noise=float(rng.uniform(0.003, 0.025)),
            blur=float(rng.uniform(0.35, 0.85)),
            lesions=float(rng.choice([0.0, 1.5, 4.0])),
            wide=wide,
            echo_mismatch=0.10,
        )


@dataclass(frozen=True)
class TissueMaps:
    """True maps of a slab before acquisition, each (sub-slices, rows, columns)."""

    pd: FloatArray
    t1: FloatArray
    t2: FloatArray
    flow_void: FloatArray
    """Fraction of signal that moving blood keeps on a long echo, 1 elsewhere."""
    coil: FloatArray
    """Receive profile in the plane, (rows, columns)."""


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, ...], sigmas: Sequence[float]
) -> FloatArray:
    """Return a random field of unit variance mixed from several correlation lengths (pixels)."""
    total = np.zeros(shape, dtype=np.float32)
    for sigma in sigmas:
        # Long wavelengths are drawn coarse and enlarged: the same statistics for less work.
        step = max(1, int(sigma / 2))
        coarse = [max(2, -(-n // step) + 2) for n in shape[-2:]]
        noise = rng.standard_normal((*shape[:-2], *coarse), dtype=np.float32)
        within = (0.0,) * (len(shape) - 2) + (sigma / step,) * 2
        noise = ndimage.gaussian_filter(noise, within)
        if step > 1:
            zoom = (1.0,) * (len(shape) - 2) + (step, step)
            noise = ndimage.zoom(noise, zoom, order=1)
        noise = noise[..., : shape[-2], : shape[-1]]
        total += noise / max(float(noise.std()), 1e-6)
    return np.asarray(total / max(float(total.std()), 1e-6), dtype=np.float32)


def draw_maps(
    rng: np.random.Generator, tissues: Tissues, table: Table, realism: Realism
) -> TissueMaps:
    """Turn a slab of tissue indices into PD, T1 and T2 maps with texture and lesions.

    Parameters
    ----------
    rng
        Source of every random choice.
    tissues
        Rows of the tissue table, (sub-slices, rows, columns).
    table
        PD, T1, T2 per tissue, (n, 3).
    realism
        How much texture, bias and how many lesions.
    """
    tissues = add_lesions(rng, tissues, realism.lesions)
    pd, t1, t2 = (table[:, k][tissues] for k in range(3))
    plane = tissues.shape[1:]
    # Water content moves PD, T1 and T2 together; a second field moves T2 alone.
    water = smooth_field(rng, plane, (1.5, 4.0, 12.0)) * realism.texture
    iron = smooth_field(rng, plane, (1.5, 6.0)) * realism.texture * 0.5
    fluid = tissues == tissue_index("cerebrospinal fluid")
    calm = np.where(fluid, 0.15, 1.0).astype(np.float32)
    pd = pd * (1.0 + 0.33 * water * calm)
    t1 = t1 * np.exp(water * calm)
    t2 = t2 * np.exp((0.8 * water + iron) * calm)
    blood = tissues == tissue_index("venous blood")
    keep = float(rng.uniform(0.0, 0.9)) if rng.random() < 0.7 else 1.0
    flow = np.where(blood, keep, 1.0).astype(np.float32)
    return TissueMaps(pd, t1, t2, flow, coil_profile(rng, plane, realism.bias))


def coil_profile(rng: np.random.Generator, shape: tuple[int, ...], depth: float) -> FloatArray:
    """Return a smooth positive receive profile with mean 1 over the plane, (rows, columns)."""
    y, x = np.meshgrid(np.linspace(-1, 1, shape[0]), np.linspace(-1, 1, shape[1]), indexing="ij")
    c = rng.standard_normal(5)
    field = c[0] * x + c[1] * y + c[2] * x * y + c[3] * (x**2 - 0.33) + c[4] * (y**2 - 0.33)
    field = field / max(float(np.ptp(field)), 1e-6) * depth
    profile = np.exp(field)
    return np.asarray(profile / profile.mean(), dtype=np.float32)


def add_lesions(rng: np.random.Generator, tissues: Tissues, expected: float) -> Tissues:
    """Replace round-ish pieces of white matter by lesion tissue; returns a new array."""
    count = int(rng.poisson(expected)) if expected > 0 else 0
    white = tissues == tissue_index("white matter")
    middle = np.argwhere(white[tissues.shape[0] // 2])
    if count == 0 or len(middle) < 50:
        return tissues
    result = tissues.copy()
    rows, cols = np.ogrid[: tissues.shape[1], : tissues.shape[2]]
    wobble = smooth_field(rng, tissues.shape[1:], (2.0,))
    for row, col in middle[rng.integers(len(middle), size=count)]:
        radius = rng.uniform(1.5, 6.0)
        stretch = rng.uniform(0.6, 1.6)
        apart = np.sqrt(((rows - row) * stretch) ** 2 + ((cols - col) / stretch) ** 2)
        blob = apart < radius * (1.0 + 0.25 * wobble)
        result[:, blob] = np.where(
            white[:, blob], tissue_index("white matter lesion"), result[:, blob]
        )
    return result


def acquire(
    rng: np.random.Generator,
    maps: TissueMaps,
    parameters: SequenceParameters,
    realism: Realism,
    decay: tuple[float, float] = (1.0, 1.0),
    profile: FloatArray | None = None,
) -> FloatArray:
    """Return the magnitude image of one slice.

    The signal of each sub-slice is summed with its sign over the slice profile before the
    magnitude is taken, so that voxels holding nulled and inverted tissue show the dark rims of
    a real scan.

    Parameters
    ----------
    rng
        Source of the noise.
    maps
        True maps of the slab.
    parameters
        The sequence.
    realism
        Blur and noise.
    decay
        (factor on TE, factor on the last echo) with which this subject's scanner departs from
        the formula.
    profile
        Weight of each sub-slice; uniform by default.

    Returns
    -------
    image
        (rows, columns), float32, arbitrary gain 1.
    """
    tr, te, ti = parameters.triple
    last = min(parameters.last_echo_time * decay[1], tr - ti - 1.0)
    mz = 1.0 - np.exp(-np.float32(tr - last) / maps.t1)
    if parameters.inverted:
        mz = 2.0 * (1.0 - np.exp(-np.float32(ti) / maps.t1)) - mz
    signal = maps.pd * mz * np.exp(-np.float32(te * decay[0]) / maps.t2)
    # Moving blood leaves the slice between excitation and echo: the longer the echo, the darker.
    signal *= maps.flow_void ** np.float32(min(te / 30.0, 2.0))
    if profile is None:
        plane = signal.mean(axis=0)
    else:
        plane = np.tensordot(profile / profile.sum(), signal, axes=1)
    plane = ndimage.gaussian_filter(plane.astype(np.float32), realism.blur) * maps.coil
    sigma = realism.noise * float(np.percentile(np.abs(plane), 98))
    real = plane + sigma * rng.standard_normal(plane.shape, dtype=np.float32)
    imaginary = sigma * rng.standard_normal(plane.shape, dtype=np.float32)
    return np.asarray(np.hypot(real, imaginary), dtype=np.float32)


def draw_decay(rng: np.random.Generator, realism: Realism) -> tuple[float, float]:
    """Draw how one scanner's echo decay departs from the formula (see `acquire`)."""
    factor = 1.0 - realism.echo_mismatch * float(rng.uniform(0.0, 1.0))
    return factor, float(rng.uniform(0.9, 1.1))


@dataclass(frozen=True)
class DigitalSubject:
    """An anatomy with one draw of its tissues, ready to be scanned.

    Parameters
    ----------
    tissues
        Rows of the tissue table, (x, y, z) with z along the slices.
    affine
        4x4 to RAS+ mm.
    table
        PD, T1, T2 per tissue.
    realism
        See `Realism`.
    seed
        Seed of textures, noise and lesions.
    """

    tissues: Tissues
    affine: NDArray[np.float64]
    table: Table
    realism: Realism
    seed: int

    @classmethod
    def from_labels(
        cls,
        labels: NDArray[np.integer],
        affine: NDArray[np.float64],
        seed: int,
        *,
        field_strength: float = 3.0,
        realism: Realism | None = None,
    ) -> DigitalSubject:
        """Draw a subject from a label map in any orientation; it is turned to RAS first."""
        labels, affine = to_ras(labels, affine)
        rng = np.random.default_rng(seed)
        table = draw_table(rng, field_strength, wide=realism.wide if realism else 0.0)
        return cls(labels_to_tissues(labels), affine, table, realism or Realism(), seed)

    def scan(
        self,
        parameters: Sequence[SequenceParameters],
        slices: Sequence[int],
        thickness: int,
        gain: float = 1000.0,
    ) -> list[FloatArray]:
        """Acquire several sequences of the same slices.

        Parameters
        ----------
        parameters
            One entry a sequence.
        slices
            First z index of each slab.
        thickness
            Sub-slices in a slab.
        gain
            Scanner gain, the same for all sequences.

        Returns
        -------
        volumes
            One (x, y, len(slices)) float32 array a sequence.
        """
        volumes = [np.zeros((*self.tissues.shape[:2], len(slices)), np.float32) for _ in parameters]
        decay = draw_decay(np.random.default_rng([self.seed, 1]), self.realism)
        coil_rng = np.random.default_rng([self.seed, 2])
        coil = coil_profile(coil_rng, self.tissues.shape[:2], self.realism.bias)
        for k, start in enumerate(slices):
            rng = np.random.default_rng([self.seed, 3, k])
            slab = np.moveaxis(self.tissues[:, :, start : start + thickness], 2, 0)
            maps = draw_maps(rng, slab, self.table, self.realism)
            maps = TissueMaps(maps.pd, maps.t1, maps.t2, maps.flow_void, coil)
            for volume, sequence in zip(volumes, parameters, strict=True):
                volume[:, :, k] = gain * acquire(rng, maps, sequence, self.realism, decay)
        return volumes


def check_labels(data: FloatArray, path: Path | None = None) -> None:
    """Refuse an image that is no label map.

    Raises
    ------
    InputError
        When values are not whole numbers, or most of the labels mean nothing here.
    """
    inside = data[data != 0]
    if inside.size == 0 or not np.array_equal(inside, np.rint(inside)):
        raise InputError(
            "is no label map: its values are not whole numbers above 0",
            path=path,
            remedy="Give a segmentation with FreeSurfer-style labels",
        )
    known = np.isin(inside.astype(np.int64), list(LABEL_TISSUES))
    if known.mean() < 0.5:
        raise InputError(
            f"holds no tissue this program knows in {100 * (1 - known.mean()):.0f} % of its labels",
            path=path,
            remedy="Give a segmentation with FreeSurfer-style labels",
        )


def to_ras(
    labels: NDArray[np.integer], affine: NDArray[np.float64]
) -> tuple[NDArray[np.integer], NDArray[np.float64]]:
    """Reorder a volume so that its axes run right, anterior, superior; nothing is resampled."""
    from nibabel import orientations

    turn = orientations.io_orientation(affine)
    turned = orientations.apply_orientation(labels, turn)
    back = orientations.inv_ornt_aff(turn, labels.shape)
    return np.asarray(turned), np.asarray(affine @ back, dtype=np.float64)
