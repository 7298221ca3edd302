"""Inclusions in the brain: lesions of multiple sclerosis, tumour and vasogenic oedema.

Shapes are made in three dimensions and in mm, so they do not depend on the grid. An inclusion has
a weight between 0 and 1 in every voxel: 1 is the inclusion itself, less is the transition to the
tissue it lies in. They replace tissue and push none of it aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crl_core.physics.fields import Axes, SmoothVolume
from crl_core.physics.labels import Tissues
from crl_core.physics.tissues import tissue_index
from crl_core.scan import FloatArray

LesionKind = Literal["ms", "oedema", "tumour"]
KINDS: tuple[LesionKind, ...] = get_args(LesionKind)
"""What ``--lesions`` can ask for."""

Voxel = Sequence[float] | NDArray[np.float64]
_PERIVENTRICULAR = 0.6
"""Share of lesions seeded by their closeness to the ventricles; the rest lie anywhere."""


@dataclass
class Inclusions:
    """What lies in the brain that does not belong there.

    Parameters
    ----------
    kind
        Row of the tissue table in every voxel, 0 where there is none.
    weight
        How much of the voxel it is, 0 to 1.
    """

    kind: NDArray[np.uint8]
    weight: FloatArray

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> Inclusions:
        """Return a volume without any."""
        return cls(np.zeros(shape, np.uint8), np.zeros(shape, np.float32))

    def put(self, box: tuple[slice, ...], weight: FloatArray, name: str) -> None:
        """Add one inclusion in a box; where two meet, the one with more weight stays."""
        kind, old = self.kind[box], self.weight[box]
        more = weight > old
        kind[more] = tissue_index(name)
        old[more] = weight[more]

    @property
    def any(self) -> bool:
        """Whether there is any inclusion."""
        return bool(self.kind.any())


def add_inclusions(
    rng: np.random.Generator, tissues: Tissues, voxel: Voxel, kinds: Sequence[LesionKind]
) -> Inclusions:
    """Draw the inclusions of one subject.

    Parameters
    ----------
    rng
        Source of every random choice.
    tissues
        Rows of the tissue table, (x, y, z).
    voxel
        Size of a voxel along each axis, mm.
    kinds
        Which to draw; a tumour comes with oedema around it.
    """
    found = Inclusions.none(tissues.shape)
    if "ms" in kinds:
        add_ms(rng, tissues, voxel, found, count=int(rng.integers(12, 45)))
    if "oedema" in kinds:
        add_mass(rng, tissues, voxel, found, solid=False)
    if "tumour" in kinds:
        add_mass(rng, tissues, voxel, found)
    return found


def add_ms(
    rng: np.random.Generator, tissues: Tissues, voxel: Voxel, found: Inclusions, count: int
) -> None:
    """Add lesions of white matter, preferring the surroundings of the ventricles.

    Each is one to four ellipsoids of 1.5 to 7 mm half axis that flow together; those beside a
    ventricle are drawn out away from it, as Dawson's fingers are.
    """
    white = tissues == tissue_index("white matter")
    places = np.argwhere(white)
    if len(places) < 50 or count == 0:
        return
    mm = np.asarray(voxel, dtype=np.float64)
    ventricles = _Ventricles(tissues, mm)
    near = np.exp(-ventricles.away(places) / 5.0)
    chance = _PERIVENTRICULAR * near / max(float(near.mean()), 1e-9) + 1.0 - _PERIVENTRICULAR
    chosen = places[rng.choice(len(places), size=count, p=chance / chance.sum())]
    for place, away in zip(chosen, ventricles.away(chosen), strict=True):
        beside = float(away) < 8.0
        axis = ventricles.outward(place) if beside else rng.standard_normal(3)
        _one_lesion(rng, white, mm, found, place, axis, stretched=beside)


def _one_lesion(
    rng: np.random.Generator,
    white: NDArray[np.bool_],
    mm: NDArray[np.float64],
    found: Inclusions,
    place: NDArray[np.intp],
    axis: NDArray[np.float64],
    *,
    stretched: bool,
) -> None:
    size = float(np.exp(rng.normal(np.log(2.6), 0.42)))
    blobs = int(rng.choice([1, 2, 3, 4], p=[0.55, 0.25, 0.13, 0.07]))
    reach = 2.2 * size * (1.0 + 0.5 * (blobs - 1)) * (1.5 if stretched else 1.0)
    box, axes = _box(place, reach, mm, white.shape)
    wobble = SmoothVolume(rng, [2.2 * reach] * 3, (2.0,), finest=1.0).at(_from_corner(axes))
    nearest = np.full(wobble.shape, np.inf, dtype=np.float32)
    offset = np.zeros(3)
    for _ in range(blobs):
        half = np.clip(size * rng.uniform(0.7, 1.3), 1.2, 7.0)
        ratio = float(rng.uniform(1.3, 2.2)) if stretched else float(rng.uniform(1.0, 1.5))
        nearest = np.minimum(nearest, _ellipsoid(axes, offset, axis, half, ratio))
        offset = offset + rng.normal(0.0, 1.1 * size, size=3)
    weight = np.clip((1.25 + 0.22 * wobble - nearest) / 0.5, 0.0, 1.0)
    found.put(box, weight * white[box], "white matter lesion")


def add_mass(
    rng: np.random.Generator,
    tissues: Tissues,
    voxel: Voxel,
    found: Inclusions,
    *,
    solid: bool = True,
) -> None:
    """Add one tumour with oedema, or oedema alone.

    The tumour is a wavy ball of 9 to 22 mm radius of uneven composition, with a necrotic core when
    it is large; oedema follows the white matter around it, which gives it its fingers, and spares
    the cortex.
    """
    white = tissues == tissue_index("white matter")
    places = np.argwhere(white)
    if len(places) < 500:
        return
    mm = np.asarray(voxel, dtype=np.float64)
    place = places[rng.integers(len(places))]
    radius = float(rng.uniform(9.0, 22.0)) if solid else float(rng.uniform(2.0, 5.0))
    spread = float(rng.uniform(8.0, 22.0))
    box, axes = _box(place, 1.5 * radius + 1.4 * spread, mm, white.shape)
    span = [float(np.ptp(a)) + 2.0 for a in axes]
    corner = _from_corner(axes)
    shape = SmoothVolume(rng, span, (4.0, 9.0), finest=1.5).at(corner)
    grain = SmoothVolume(rng, span, (2.0, 5.0), finest=1.0).at(corner)
    brain = white[box] | np.isin(
        tissues[box], [tissue_index(n) for n in ("cortical grey matter", "striatum", "thalamus")]
    )
    distance = _ellipsoid(axes, np.zeros(3), rng.standard_normal(3), 1.0, rng.uniform(1.0, 1.4))
    margin = distance - radius * (1.0 + 0.14 * shape)  # mm outside the tumour
    seep = np.clip((spread * (1.0 + 0.45 * shape) - margin) / (0.35 * spread), 0.0, 1.0)
    found.put(box, (0.95 * seep * white[box]).astype(np.float32), "oedema")
    if not solid:
        return
    mass = np.clip(0.5 - margin / 1.5, 0.0, 1.0) * np.clip(0.9 + 0.16 * grain, 0.45, 1.0)
    _over(found, box, mass * brain, "glioma")
    if radius > 12.0:
        core = np.clip((-margin - 0.35 * radius - 1.5 * grain) / 2.0, 0.0, 1.0)
        _over(found, box, core * brain, "necrosis")


def _over(found: Inclusions, box: tuple[slice, ...], weight: FloatArray, name: str) -> None:
    """Put an inclusion over what is there, wherever it makes up a good part of the voxel."""
    kind, old = found.kind[box], found.weight[box]
    here = weight > 0.35
    kind[here] = tissue_index(name)
    old[here] = weight[here]


class _Ventricles:
    """How far a voxel is from the ventricles, and which way leads away from them.

    Worked out on a grid of about 3 mm. Without any ventricle everything is far from them.
    """

    def __init__(self, tissues: Tissues, mm: NDArray[np.float64]) -> None:
        self.step = [
            max(1, round(3.0 / m)) if n > 24 else 1 for m, n in zip(mm, tissues.shape, strict=True)
        ]
        a, b, c = self.step
        inside = tissues[::a, ::b, ::c] == tissue_index("ventricular fluid")
        self.mm = mm * np.array(self.step)
        self.distance = (
            ndimage.distance_transform_edt(~inside, sampling=self.mm)
            if inside.any()
            else np.full(inside.shape, 1e3)
        )

    def away(self, places: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the distance of voxels, (n, 3), mm."""
        return np.asarray(self.distance[tuple(self._coarse(places).T)])

    def outward(self, place: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the direction away from the ventricles at a voxel."""
        index = self._coarse(place)
        slope = np.empty(3)
        for axis in range(3):
            ahead, behind = index.copy(), index.copy()
            ahead[axis] = min(index[axis] + 2, self.distance.shape[axis] - 1)
            behind[axis] = max(index[axis] - 2, 0)
            rise = self.distance[tuple(ahead)] - self.distance[tuple(behind)]
            slope[axis] = rise / (max(int(ahead[axis] - behind[axis]), 1) * self.mm[axis])
        return slope

    def _coarse(self, places: NDArray[np.intp]) -> NDArray[np.intp]:
        top = np.array(self.distance.shape) - 1
        return np.asarray(np.minimum(places // np.array(self.step), top))


def _box(
    place: NDArray[np.intp], reach: float, mm: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], Axes]:
    """Return the part of the grid within reach of a voxel and its coordinates from there, mm."""
    box, axes = [], []
    for axis in range(3):
        half = int(np.ceil(reach / mm[axis]))
        low, high = max(0, int(place[axis]) - half), min(shape[axis], int(place[axis]) + half + 1)
        box.append(slice(low, high))
        axes.append(((np.arange(low, high) - place[axis]) * mm[axis]).astype(np.float32))
    return tuple(box), (axes[0], axes[1], axes[2])


def _from_corner(
    axes: Axes,
) -> Axes:
    x, y, z = (a - a[0] for a in axes)
    return x, y, z


def _ellipsoid(
    axes: Axes,
    offset: NDArray[np.float64],
    axis: NDArray[np.float64],
    half: float,
    ratio: float,
) -> FloatArray:
    """Return the distance from a centre in units of `half`, shorter along the axis by `ratio`."""
    unit = (axis / max(float(np.linalg.norm(axis)), 1e-9)).astype(np.float32)
    x, y, z = (a - np.float32(o) for a, o in zip(axes, offset, strict=True))
    x, y, z = x[:, None, None], y[None, :, None], z[None, None, :]
    along = unit[0] * x + unit[1] * y + unit[2] * z
    squared = x * x + y * y + z * z
    round_ = squared - along * along * np.float32(1.0 - 1.0 / ratio**2)
    return np.asarray(np.sqrt(np.maximum(round_, 0.0)) / np.float32(half), dtype=np.float32)
