"""What a label map leaves out of a head, filled in at random from its seed.

Segmentations stop at "soft tissue" under the skin, hold specks of nothing inside bone and have no
vessels but the largest. The shapes made here are plausible, not measured: no person's anatomy is
claimed beyond the label map.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from crl_core.physics.fields import smooth_volume
from crl_core.physics.labels import LabelMap, Tissues
from crl_core.physics.tissues import tissue_index

Mask = NDArray[np.bool_]

_BRAIN = (
    "white matter",
    "cortical grey matter",
    "striatum",
    "thalamus",
    "pallidum",
    "brain stem",
    "white matter lesion",
)
_SPECK_MM3 = 60.0
_LEFT = (2, 3, 7, 8, 10, 11, 12, 13, 17, 18, 26)
_RIGHT = (41, 42, 46, 47, 49, 50, 51, 52, 53, 54, 58)
"""Labels of the two hemispheres in FreeSurfer's numbering."""


def detailed(found: LabelMap, rng: np.random.Generator) -> Tissues:
    """Return the tissues of a label map with soft tissue told apart, a falx and small vessels.

    Parameters
    ----------
    found
        The map. Only where its scheme says that a label is fat and muscle alike is that label
        split; the hemispheres are told apart in FreeSurfer's numbering only.
    rng
        Source of every random choice.

    Returns
    -------
    tissues
        A new array of the shape of the map.
    """
    tissues = found.tissues.copy()
    voxel = np.linalg.norm(found.affine[:3, :3], axis=0)
    _fill_specks(tissues, voxel)
    if found.soft.any():
        _split_soft(tissues, found.soft, voxel, rng)
    if found.scheme.soft is not None:
        _falx(tissues, found.labels)
    _vessels(tissues, voxel, rng)
    return tissues


def refined(tissues: Tissues, rng: np.random.Generator) -> Tissues:
    """Return the tissues on a grid twice as fine along x and y, boundaries smoothed.

    Every fine voxel takes the tissue that has most of its surroundings (a Gaussian of 0.6 voxels).
    Membranes and vessels, a voxel wide, would lose everywhere and so count more. The borders of
    deep grey matter are frayed at random, for they are no sharp lines in a brain.

    Parameters
    ----------
    tissues
        (x, y, z).
    rng
        Source of the fraying.

    Returns
    -------
    fine
        (2 x, 2 y, z).
    """
    x, y, z = tissues.shape
    best = np.zeros((2 * x, 2 * y, z), dtype=np.float32)
    fine = np.zeros((2 * x, 2 * y, z), dtype=np.uint8)
    thin = {tissue_index("dura and fascia"): 1.4}
    thin |= dict.fromkeys((tissue_index("arterial blood"), tissue_index("venous blood")), 2.3)
    frayed = {tissue_index(n) for n in ("striatum", "thalamus", "pallidum", "brain stem")}
    boxes = ndimage.find_objects(tissues + np.uint8(1))
    for row, found in enumerate(boxes):
        if found is None:
            continue
        box = tuple(
            slice(max(0, s.start - 2), min(n, s.stop + 2))
            for s, n in zip(found, tissues.shape, strict=True)
        )
        deep = row in frayed
        share = (tissues[box] == row).astype(np.float32)
        share = ndimage.gaussian_filter(share, 1.2 if deep else 0.6, truncate=3.0)
        if deep:
            share *= 1.0 + 0.35 * rng.standard_normal(share.shape, dtype=np.float32)
        share *= np.float32(thin.get(row, 1.0))
        place = (slice(2 * box[0].start, 2 * box[0].stop), slice(2 * box[1].start, 2 * box[1].stop))
        for i in range(2):
            along = _quarter(share, 0, i)
            for j in range(2):
                value = _quarter(along, 1, j)
                old = best[place[0], place[1], box[2]][i::2, j::2]
                more = value > old
                np.copyto(old, value, where=more)
                fine[place[0], place[1], box[2]][i::2, j::2][more] = row
    return fine


def _quarter(share: NDArray[np.float32], axis: int, half: int) -> NDArray[np.float32]:
    """Interpolate linearly at the centre of the lower or the upper half of every voxel."""
    edge: list[slice | list[int]] = [slice(None)] * 3
    rest = list(edge)
    edge[axis] = [0] if half == 0 else [-1]
    rest[axis] = slice(None, -1) if half == 0 else slice(1, None)
    parts = (share[tuple(edge)], share[tuple(rest)])
    beside = np.concatenate(parts if half == 0 else parts[::-1], axis)
    beside -= share
    beside *= np.float32(0.25)
    beside += share
    return beside


def brain_mask(tissues: Tissues) -> Mask:
    """Return where brain tissue is, lesions included."""
    return np.asarray(np.isin(tissues, [tissue_index(name) for name in _BRAIN]))


def _fill_specks(tissues: Tissues, voxel: NDArray[np.float64]) -> None:
    """Give specks of nothing inside the head the tissue beside them; sinuses stay."""
    parts, count = ndimage.label(tissues == 0)
    if count < 2:
        return
    sizes = np.bincount(parts.ravel(), minlength=count + 1) * float(voxel.prod())
    boxes = ndimage.find_objects(parts)
    for number in np.flatnonzero(sizes < _SPECK_MM3):
        if number == 0:
            continue
        box = tuple(
            slice(max(0, s.start - 1), s.stop + 1) for s in boxes[number - 1] or (slice(0, 0),) * 3
        )
        around = tissues[box]
        hole = parts[box] == number
        rim = ndimage.binary_dilation(hole) & ~hole
        around[hole] = np.bincount(around[rim], minlength=1).argmax()


def _split_soft(
    tissues: Tissues, soft: Mask, voxel: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Tell fat, muscle and fascia apart by depth under the skin and place on the head."""
    fat, muscle = tissue_index("fat"), tissue_index("muscle")
    fascia = tissue_index("dura and fascia")
    depth = _distance(tissues != 0, voxel)
    shape = tissues.shape
    wave = smooth_volume(rng, shape, voxel, (14.0,))
    grain = smooth_volume(rng, shape, voxel, (2.5, 6.0))
    layer = float(rng.uniform(4.5, 7.0)) + 1.2 * wave
    deep = soft & (depth > layer)
    tissues[soft] = fat
    brain = brain_mask(tissues)
    if not brain.any():
        return
    level = np.flatnonzero(brain.any(axis=(0, 1)))
    up = (np.arange(shape[2]) - level[0]) / max(int(np.ptp(level)), 1)
    # Muscle reaches up to the temporal lines at the sides, further down it is all around.
    sides = np.abs(np.arange(shape[0]) - shape[0] / 2)[:, None, None]
    side = sides > 0.30 * np.ptp(np.flatnonzero(brain.any(axis=(1, 2))))
    reach = up[None, None, :] + 0.05 * wave
    meaty = deep & ((reach < 0.22) | (side & (reach < 0.66)))
    tissues[meaty & (grain < 1.0)] = muscle
    # Elsewhere what lies deep is the thin layer of fascia on the bone.
    bone = tissues == tissue_index("compact bone")
    tissues[deep & ~meaty & ndimage.binary_dilation(bone)] = fascia
    eyes = tissues == tissue_index("vitreous humour")
    if eyes.any():
        orbit = _distance(~eyes, voxel) < 20.0
        tissues[soft & orbit] = fat


def _distance(inside: Mask, voxel: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the distance of every voxel inside to the outside, mm, from a grid half as fine."""
    step = tuple(2 if n > 24 else 1 for n in inside.shape)
    coarse = inside[:: step[0], :: step[1], :: step[2]]
    distance = ndimage.distance_transform_edt(coarse, sampling=voxel * np.array(step))
    zoomed = ndimage.zoom(distance.astype(np.float32), step, order=1, grid_mode=False)
    room = [max(0, n - m) for n, m in zip(inside.shape, zoomed.shape, strict=True)]
    zoomed = np.pad(zoomed, [(0, r) for r in room], mode="edge")
    return np.asarray(zoomed[tuple(slice(n) for n in inside.shape)])


def _falx(tissues: Tissues, labels: NDArray[np.int32]) -> None:
    """Put a membrane into the fluid halfway between the hemispheres."""
    fluid = tissues == tissue_index("cerebrospinal fluid")
    left, right = np.isin(labels, _LEFT), np.isin(labels, _RIGHT)
    if not (left.any() and right.any() and fluid.any()):
        return
    for _ in range(6):
        free = fluid & ~left & ~right
        left = left | (ndimage.binary_dilation(left) & free)
        free &= ~left
        right = right | (ndimage.binary_dilation(right) & free)
    meeting = fluid & left & ndimage.binary_dilation(right & fluid)
    tissues[meeting] = tissue_index("dura and fascia")


def _vessels(tissues: Tissues, voxel: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Let thin vessels wander through the fluid around the brain."""
    fluid = tissues == tissue_index("cerebrospinal fluid")
    places = np.argwhere(fluid)
    volume = len(places) * float(voxel.prod())
    mm = float(voxel.mean())
    # One start for every 1.5 ml; on coarse grids, where they come out thick, fewer.
    count = int(volume / (1500.0 * max(1.0, mm**2)))
    if count == 0:
        return
    at = places[rng.integers(len(places), size=count)].astype(np.float64)
    heading = rng.standard_normal((count, 3))
    artery = rng.random(count) < 0.6
    alive = np.ones(count, dtype=bool)
    kind = np.where(artery, tissue_index("arterial blood"), tissue_index("venous blood"))
    wide = rng.random(count) < (0.35 if mm < 1.5 else 0.0)
    length = rng.integers(15, 70, size=count)
    top = np.array(tissues.shape) - 1
    for step in range(int(length.max())):
        heading /= np.linalg.norm(heading, axis=1, keepdims=True)
        moved = alive & (step < length)
        done = ~moved
        for _ in range(6):
            way = heading + 0.7 * rng.standard_normal((count, 3))
            way /= np.linalg.norm(way, axis=1, keepdims=True)
            ahead = at + way * (1.0 / voxel)
            index = np.clip(np.rint(ahead).astype(int), 0, top)
            free = fluid[tuple(index.T)] & ~done
            at[free], heading[free] = ahead[free], way[free]
            done |= free
        alive &= done
        index = np.clip(np.rint(at[moved]).astype(int), 0, top)
        tissues[tuple(index.T)] = kind[moved]
        thick = index[wide[moved]]
        for offset in np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)]):
            beside = np.clip(thick + offset, 0, top)
            inside = fluid[tuple(beside.T)]
            tissues[tuple(beside[inside].T)] = kind[moved][wide[moved]][inside]
