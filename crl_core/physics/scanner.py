"""One digital subject in one scanner: what all its contrasts share, slice after slice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from crl_core.physics.acquisition import (
    REFERENCE_MM3,
    Displacement,
    Matrix,
    acquire,
    group_planes,
    slice_profile,
)
from crl_core.physics.fields import Axes, Coils, SmoothVolume, TransmitField
from crl_core.physics.labels import Tissues
from crl_core.physics.lesions import Inclusions
from crl_core.physics.slab import SequenceSignal, Voxels, make_voxels
from crl_core.scan import FloatArray
from crl_core.sequence import SequenceParameters

if TYPE_CHECKING:
    from crl_core.physics.subjects import DigitalSubject

T = TypeVar("T", bound=np.generic)

TEXTURE_MM = (1.5, 4.0, 12.0)
IRON_MM = (1.5, 6.0)
"""Correlation lengths of the two textures, mm."""

_FINE_ENOUGH = 0.6
"""A map whose voxels are below this share of the image's pixels is simulated on its own grid."""

_PROFILE_REACH = 1.3
"""Planes up to this multiple of half the thickness from the middle add to a slice."""

Watch = Callable[[], None]
"""Called between slices; raising from it stops the work."""


@dataclass(frozen=True)
class TrueMaps:
    """What a subject really is on the grid of its images.

    Parameters
    ----------
    pd
        Fraction of pure water, averaged over the voxel.
    t1, t2
        Means weighted with proton density, ms; 0 in air.
    b1
        Transmit field, fraction of nominal.
    receive
        Receive profile of the channels together, 1 in the middle of the head.
    inclusions
        Row of the tissue table where an inclusion makes up half of a voxel or more, else 0.
    """

    pd: FloatArray
    t1: FloatArray
    t2: FloatArray
    b1: FloatArray
    receive: FloatArray
    inclusions: NDArray[np.uint8]


class Scanner:
    """One subject in one scanner.

    Parameters
    ----------
    subject
        Whom to scan.
    thickness
        Slice thickness in planes of the anatomy.
    in_plane_mm
        Pixel size, mm; None for the anatomy's own.
    device
        Where to compute.
    """

    def __init__(
        self, subject: DigitalSubject, thickness: int, in_plane_mm: float | None, device: str
    ) -> None:
        self.subject = subject
        self.thickness = thickness
        self.device = device
        self.voxel = np.linalg.norm(subject.affine[:3, :3], axis=0)
        shape = subject.tissues.shape
        wanted = in_plane_mm or float(self.voxel[:2].mean())
        self.image = (
            max(2, round(shape[0] * float(self.voxel[0]) / wanted)),
            max(2, round(shape[1] * float(self.voxel[1]) / wanted)),
        )
        finer = float(self.voxel[:2].max()) > _FINE_ENOUGH * wanted
        self.factor = 2 if finer else 1
        self.matrix = Matrix((shape[0] * self.factor, shape[1] * self.factor), self.image)
        self._draw_session()

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Pixel size of the images along x and y, mm."""
        size = np.array(self.subject.tissues.shape[:2]) * self.voxel[:2] / np.array(self.image)
        return float(size[0]), float(size[1])

    def _draw_session(self) -> None:
        """Draw what all contrasts share."""
        subject, realism = self.subject, self.subject.realism
        extent = [n * float(v) for n, v in zip(subject.tissues.shape, self.voxel, strict=True)]
        centre, radii = _head_axes(subject.tissues, self.voxel)
        rng = np.random.default_rng([subject.seed, 2])
        self.coils = Coils.draw(rng, realism.coils, realism.bias, centre, radii)
        self.transmit = TransmitField.draw(rng, centre, radii, realism.transmit)
        self.beat = (float(rng.uniform(0.12, 0.45)), float(rng.uniform(0.0, 2 * np.pi)))
        rng = np.random.default_rng([subject.seed, 3])
        finest = float(min(self.voxel))
        self.water = SmoothVolume(rng, extent, TEXTURE_MM, finest) if realism.texture else None
        self.iron = SmoothVolume(rng, extent, IRON_MM, finest) if realism.texture else None

    def scan(
        self,
        parameters: Sequence[SequenceParameters],
        slices: Sequence[int],
        gain: float,
        watch: Watch | None = None,
    ) -> list[FloatArray]:
        """See `DigitalSubject.scan`."""
        subject, realism = self.subject, self.subject.realism
        volumes = [np.zeros((*self.image, len(slices)), np.float32) for _ in parameters]
        sequences = [
            SequenceSignal(p, subject.table, realism, engine=subject.engine) for p in parameters
        ]
        places = [self._place(n) for n in range(len(parameters))]
        for k, start in enumerate(slices):
            planes, voxels = self._slab(start)
            voxels = voxels if self.device == "cpu" else voxels.on(self.device)
            coils = self._on_device(self.coils.at(self._image_axes(start)))
            for n, (volume, sequence) in enumerate(zip(volumes, sequences, strict=True)):
                if watch is not None:
                    watch()
                profile = self._profile(start, planes, places[n].through)
                signal = group_planes(voxels, sequence.of(voxels), profile)
                noise = self._noise(k, n)
                image = acquire(
                    signal, sequence, self.matrix, realism, coils, noise,
                    where=places[n], beat=self.beat,
                )  # fmt: skip
                image = image if self.device == "cpu" else image.cpu().numpy()
                volume[:, :, k] = np.float32(gain) * image
        return volumes

    def maps(self, slices: Sequence[int]) -> TrueMaps:
        """See `DigitalSubject.maps`."""
        shape = (*self.image, len(slices))
        found = [np.zeros(shape, np.float32) for _ in range(5)]
        kinds = np.zeros(shape, dtype=np.uint8)
        for k, start in enumerate(slices):
            planes, voxels = self._slab(start)
            profile = self._profile(start, planes, 0.0)
            pd, t1, t2 = (self._averaged(v, voxels, profile) for v in
                          (voxels.pd, voxels.pd * voxels.t1, voxels.pd * voxels.t2))  # fmt: skip
            found[0][:, :, k] = pd
            for n, total in ((1, t1), (2, t2)):
                found[n][:, :, k] = np.divide(total, pd, out=np.zeros_like(pd), where=pd > 1e-3)
            axes = self._image_axes(start)
            found[3][:, :, k] = self.transmit.at(axes)[:, :, 0]
            found[4][:, :, k] = np.sqrt((np.abs(self.coils.at(axes)) ** 2).sum(axis=0))
            kinds[:, :, k] = self._inclusions(planes, profile)
        return TrueMaps(found[0], found[1], found[2], found[3], found[4], kinds)

    def _place(self, number: int) -> Displacement:
        largest = self.subject.realism.motion
        if not largest:
            return Displacement()
        rng = np.random.default_rng([self.subject.seed, 4, number])
        return Displacement.draw(rng, largest, float(np.mean(self.pixel_mm)))

    def _middle(self, start: int) -> float:
        """Return where the middle of a slice lies along z, in planes."""
        return start + (self.thickness - 1) / 2.0

    def _slab(self, start: int) -> tuple[range, Voxels]:
        """Return the planes that a slice touches and their voxels."""
        subject, realism = self.subject, self.subject.realism
        reach = 0.5 * self.thickness * _PROFILE_REACH if self.thickness > 1 else 0.0
        first = max(0, int(np.ceil(self._middle(start) - reach)))
        last = min(subject.tissues.shape[2] - 1, int(np.floor(self._middle(start) + reach)))
        planes = range(first, last + 1)
        cut = slice(first, last + 1)
        source = subject.fine if self.factor == 2 else subject.tissues
        tissues = np.moveaxis(source[:, :, cut], 2, 0)
        axes = self._map_axes(planes)
        water = self._fine_field(self.water, axes, realism.texture)
        iron = self._fine_field(self.iron, axes, 0.5 * realism.texture)
        b1 = None
        if realism.transmit and subject.engine == "epg":
            b1 = self._enlarged(self.transmit.at(axes))
        inclusions = None
        if subject.inclusions is not None:
            inclusions = Inclusions(
                self._enlarged(subject.inclusions.kind[:, :, cut]),
                self._enlarged(subject.inclusions.weight[:, :, cut]),
            )
        return planes, make_voxels(
            np.ascontiguousarray(tissues), subject.table,
            water=water, iron=iron, inclusions=inclusions, b1=b1,
        )  # fmt: skip

    def _fine_field(
        self, volume: SmoothVolume | None, axes: Axes, strength: float
    ) -> FloatArray | None:
        if volume is None:
            return None
        return self._enlarged(volume.at(axes) * np.float32(strength))

    def _enlarged(self, values: NDArray[T]) -> NDArray[T]:
        """Bring (x, y, planes) of the anatomy's grid to (planes, x, y) of the fine one."""
        turned = np.moveaxis(values, 2, 0)
        if self.factor == 1:
            return np.ascontiguousarray(turned)
        return turned.repeat(2, axis=1).repeat(2, axis=2)

    def _map_axes(self, planes: range) -> Axes:
        shape = self.subject.tissues.shape
        x, y, z = (
            (np.asarray(a, dtype=np.float32) + np.float32(0.5)) * np.float32(v)
            for a, v in zip(
                (np.arange(shape[0]), np.arange(shape[1]), planes), self.voxel, strict=True
            )
        )
        return x, y, z

    def _image_axes(self, start: int) -> Axes:
        x, y = (
            (np.arange(n, dtype=np.float32) + np.float32(0.5)) * np.float32(size)
            for n, size in zip(self.image, self.pixel_mm, strict=True)
        )
        z = np.array([(self._middle(start) + 0.5) * self.voxel[2]], dtype=np.float32)
        return x, y, z

    def _profile(self, start: int, planes: range, shift_mm: float) -> FloatArray:
        step = float(self.voxel[2])
        offsets = (np.array(planes) - self._middle(start)) * step - shift_mm
        return slice_profile(offsets.astype(np.float32), self.thickness * step)

    def _noise(self, k: int, number: int) -> Any:
        """Draw the noise of one slice of one sequence; always on the processor."""
        level = self.subject.realism.noise
        if not level:
            return None
        volume = float(np.prod(self.pixel_mm)) * self.thickness * float(self.voxel[2])
        rng = np.random.default_rng([self.subject.seed, 6, number, k])
        parts = rng.standard_normal((2, self.subject.realism.coils, *self.image), dtype=np.float32)
        parts *= np.float32(level * REFERENCE_MM3 / volume)
        return self._on_device(parts[0] + 1j * parts[1])

    def _on_device(self, values: NDArray[np.complex64]) -> Any:
        if self.device == "cpu":
            return values
        import torch

        return torch.from_numpy(values).to(self.device)

    def _averaged(self, values: FloatArray, voxels: Voxels, profile: FloatArray) -> FloatArray:
        """Average over the slice and the pixels of the image."""
        slab = voxels.spread(values, 0, len(values))
        plane = np.tensordot(profile, slab, axes=1)
        return self._to_image(plane)

    def _to_image(self, plane: FloatArray) -> FloatArray:
        """Average a fine plane over the pixels of the image."""
        for axis in (0, 1):
            edges = np.linspace(0, plane.shape[axis], self.image[axis] + 1)
            total = np.cumsum(plane, axis=axis, dtype=np.float64)
            total = np.concatenate([np.zeros_like(total.take([0], axis)), total], axis)
            upto = _at(total, edges, axis)
            plane = np.diff(upto, axis=axis) / (edges[1] - edges[0])
        return np.asarray(plane, dtype=np.float32)

    def _inclusions(self, planes: range, profile: FloatArray) -> NDArray[np.uint8]:
        found = self.subject.inclusions
        kinds = np.zeros(self.image, dtype=np.uint8)
        if found is None:
            return kinds
        cut = slice(planes.start, planes.stop)
        kind = self._enlarged(found.kind[:, :, cut])
        weight = self._enlarged(found.weight[:, :, cut])
        for row in np.unique(kind[kind > 0]):
            share = np.tensordot(profile, np.where(kind == row, weight, 0), axes=1)
            kinds[self._to_image(share) >= 0.5] = row
        return kinds


def _at(total: NDArray[np.float64], edges: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Interpolate a running sum at fractional edges."""
    low = np.minimum(edges.astype(int), total.shape[axis] - 2)
    share = (edges - low).reshape([-1 if k == axis else 1 for k in range(2)])
    first, second = total.take(low, axis), total.take(low + 1, axis)
    return np.asarray(first + share * (second - first))


def _head_axes(
    tissues: Tissues, voxel: NDArray[np.float64]
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Return the middle and the half axes of the box around the head, mm."""
    centre, radii = [], []
    for axis in range(3):
        other = tuple(a for a in range(3) if a != axis)
        inside = np.flatnonzero((tissues > 0).any(axis=other))
        low, high = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 1)
        centre.append(0.5 * (low + high) * float(voxel[axis]))
        radii.append(max(0.5 * (high - low) * float(voxel[axis]), 1.0))
    return (centre[0], centre[1], centre[2]), (radii[0], radii[1], radii[2])
