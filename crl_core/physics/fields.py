"""Smooth fields over the head: texture of tissue, transmit field, receive coils."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crl_core.scan import FloatArray

Complex = NDArray[np.complex64]
Axes = tuple[FloatArray, FloatArray, FloatArray]
"""Coordinates along each axis of a grid, mm."""


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, int], sigmas: Sequence[float]
) -> FloatArray:
    """Return a random field in the plane, of unit variance, mixed from several correlation lengths.

    Parameters
    ----------
    rng
        Source of the field.
    shape
        (rows, columns).
    sigmas
        Correlation lengths, pixels.
    """
    total = np.zeros(shape, dtype=np.float32)
    for sigma in sigmas:
        # Long wavelengths are drawn coarse and enlarged: the same statistics for less work.
        step = max(1, int(sigma / 2))
        coarse = [max(2, -(-n // step) + 2) for n in shape]
        noise = rng.standard_normal(coarse, dtype=np.float32)
        noise = ndimage.gaussian_filter(noise, sigma / step, truncate=3.0)
        if step > 1:
            for axis, n in enumerate(shape):
                where = np.arange(n, dtype=np.float32) / np.float32(step)
                noise = _interpolated(noise, where, axis)
        noise = noise[: shape[0], : shape[1]]
        total += noise / np.float32(max(float(noise.std()), 1e-6))
    return np.asarray(total / np.float32(max(float(total.std()), 1e-6)), dtype=np.float32)


class SmoothVolume:
    """A random field in space, isotropic in mm, that can be looked up on any grid of its box.

    Parameters
    ----------
    rng
        Source of the field.
    size_mm
        Extent of the box along each axis.
    sigmas
        Correlation lengths mixed in equal shares, mm.
    finest
        Spacing below which nothing is resolved, mm.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        size_mm: Sequence[float],
        sigmas: Sequence[float],
        finest: float = 1.0,
    ) -> None:
        self._parts: list[tuple[float, FloatArray]] = []
        for sigma in sigmas:
            step = max(finest, sigma / 2.0)
            counts = [int(np.ceil(extent / step)) + 2 for extent in size_mm]
            noise = rng.standard_normal(counts, dtype=np.float32)
            noise = ndimage.gaussian_filter(noise, sigma / step, mode="wrap")
            noise /= max(float(noise.std()), 1e-6)
            self._parts.append((step, noise / np.float32(np.sqrt(len(sigmas)))))

    def at(self, axes: Axes) -> FloatArray:
        """Return the field, close to unit variance, at the grid of the coordinates, (x, y, z)."""
        total = np.zeros(tuple(len(a) for a in axes), dtype=np.float32)
        for step, part in self._parts:
            # The thinnest axis first, so that the larger ones are interpolated for few planes.
            for axis in sorted(range(3), key=lambda k: len(axes[k]) / part.shape[k]):
                part = _interpolated(part, axes[axis] / np.float32(step), axis)
            total += part
        return total


def _interpolated(part: FloatArray, where: FloatArray, axis: int) -> FloatArray:
    where = np.clip(where, 0.0, part.shape[axis] - 1.001)
    low = where.astype(np.intp)
    share = (where - low).astype(np.float32)
    share = share.reshape([-1 if k == axis else 1 for k in range(part.ndim)])
    first = part.take(low, axis)
    return np.asarray(first + share * (part.take(low + 1, axis) - first))


def smooth_volume(
    rng: np.random.Generator,
    shape: Sequence[int],
    voxel: Sequence[float] | NDArray[np.float64],
    sigmas: Sequence[float],
) -> FloatArray:
    """Return a `SmoothVolume` on a whole grid of that shape and voxel size (mm)."""
    size = [n * float(v) for n, v in zip(shape, voxel, strict=True)]
    field = SmoothVolume(rng, size, sigmas, finest=float(min(voxel)))
    return field.at(grid_axes(shape, voxel))


def grid_axes(shape: Sequence[int], voxel: Sequence[float] | NDArray[np.float64]) -> Axes:
    """Return the coordinates of voxel centres from the lower corner of the grid, mm."""
    x, y, z = (
        (np.arange(n, dtype=np.float32) + np.float32(0.5)) * np.float32(v)
        for n, v in zip(shape, voxel, strict=True)
    )
    return x, y, z


@dataclass(frozen=True)
class TransmitField:
    """B1 over the head as a fraction of nominal: a dome with a tilt.

    Dielectric effects raise the field in the middle of the head and lower it at the rim, at 3 T by
    some 10 to 20 %; at 1.5 T it is nearly flat (Sled and Pike, IEEE Trans Med Imaging
    1998;17:653). The shape is assumed, the size drawn.

    Parameters
    ----------
    centre, radii
        Middle and half axes of the head, mm.
    base, dome, tilt
        Value in the middle, fall from there to the rim, and linear change along each axis.
    """

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    base: float = 1.0
    dome: float = 0.0
    tilt: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        centre: tuple[float, float, float],
        radii: tuple[float, float, float],
        spread: float,
    ) -> TransmitField:
        """Draw a field whose departure from 1 is of the order of `spread`."""
        tilt = tuple(float(t) for t in spread * rng.uniform(-0.15, 0.15, size=3))
        dome = spread * float(rng.uniform(0.7, 1.3))
        base = 1.0 + 0.4 * dome + spread * float(rng.uniform(-0.2, 0.2))
        return cls(centre, radii, base, dome, (tilt[0], tilt[1], tilt[2]))

    def at(self, axes: Axes) -> FloatArray:
        """Return the field on a grid, (x, y, z)."""
        total = np.full(tuple(len(a) for a in axes), self.base, dtype=np.float32)
        for axis, coordinates in enumerate(axes):
            u = np.clip((coordinates - self.centre[axis]) / self.radii[axis], -1.3, 1.3)
            share = self.tilt[axis] * u - self.dome * u**2 / 1.5
            total += share.astype(np.float32).reshape([-1 if k == axis else 1 for k in range(3)])
        return np.maximum(total, np.float32(0.3))


@dataclass(frozen=True)
class Coils:
    """Receive elements around the head.

    Parameters
    ----------
    places
        Centres of the elements, mm, (n, 3); a single element stands for a body or birdcage coil
        and has the polynomial profile `bias` instead.
    phases
        Phase of each, radians.
    reach
        Radius of an element, mm: sensitivity falls with distance as the field on the axis of a
        loop does.
    depth
        How much of the shading the scanner's own normalisation leaves, 0 to 1.
    bias
        Coefficients of the single element's profile.
    centre, radii
        Middle and half axes of the head, mm.
    """

    places: NDArray[np.float64]
    phases: NDArray[np.float64]
    reach: float
    depth: float
    bias: NDArray[np.float64]
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        count: int,
        depth: float,
        centre: tuple[float, float, float],
        radii: tuple[float, float, float],
    ) -> Coils:
        """Draw `count` elements on a helmet, in two rings where there are more than six."""
        rings = 2 if count > 6 else 1
        ring = np.arange(count) % rings
        angle = 2 * np.pi * (np.arange(count) // rings + 0.5 * ring) / max(count // rings, 1)
        angle = angle + rng.uniform(0, 2 * np.pi)
        height = np.where(ring == 0, 0.45, -0.35) if rings == 2 else np.zeros(count)
        unit = np.stack([1.25 * np.cos(angle), 1.25 * np.sin(angle), height], axis=1)
        places = np.array(centre) + unit * np.array(radii)
        return cls(
            places,
            rng.uniform(0, 2 * np.pi, size=count),
            float(rng.uniform(60.0, 90.0)),
            depth,
            rng.standard_normal(8),
            centre,
            radii,
        )

    def at(self, axes: Axes) -> Complex:
        """Return the sensitivities on one slice of a grid, (n, x, y); z has one coordinate.

        Their root sum of squares is near 1 in the middle of the head.
        """
        x, y = axes[0][:, None], axes[1][None, :]
        z = float(axes[2][0])
        if len(self.places) == 1:
            return self._single(x, y, z)[None].astype(np.complex64)
        squared = [
            (x - p[0]) ** 2 + (y - p[1]) ** 2 + np.float32((z - p[2]) ** 2) for p in self.places
        ]
        middle = ((self.places - np.array(self.centre)) ** 2).sum(axis=1)
        level = np.sqrt((self._falls(middle) ** 2).sum())
        profile = self._falls(np.stack(squared)) / np.float32(level)
        total = np.sqrt((profile**2).sum(axis=0))
        # The scanner divides by most of the shading, and by the same in every element.
        profile = profile * np.maximum(total, 1e-3) ** np.float32(self.depth - 1.0)
        turned = self.phases[:, None, None] + np.stack(squared) / 4e4
        return np.asarray(profile * np.exp(1j * turned), dtype=np.complex64)

    def _falls(self, squared: NDArray[np.floating]) -> NDArray[np.floating]:
        """Field on the axis of a loop of radius `reach` at squared distances, 1 in its middle."""
        return np.asarray((1.0 + squared / self.reach**2) ** -1.5)

    def _single(self, x: FloatArray, y: FloatArray, z: float) -> FloatArray:
        u, v = (x - self.centre[0]) / self.radii[0], (y - self.centre[1]) / self.radii[1]
        w = np.float32((z - self.centre[2]) / self.radii[2])
        c = self.bias.astype(np.float32)
        field = c[0] * u + c[1] * v + c[2] * w + c[3] * u * v + c[4] * u**2 + c[5] * v**2
        # A polynomial of this kind spans about 3 over the head.
        return np.asarray(np.exp(np.float32(self.depth / 3.0) * np.clip(field, -4, 4)))
