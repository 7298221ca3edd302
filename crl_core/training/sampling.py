"""Where training batches come from.

A batch is a pure function of the seed and the step, so that a resumed run sees exactly what an
uninterrupted one would have seen, and any number of processes can prepare batches ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crl_core.errors import InputError
from crl_core.physics.labels import Tissues
from crl_core.physics.protocols import (
    RANDOM_TE,
    RANDOM_TI,
    RANDOM_TR,
    RANDOM_TR_INVERTED,
    random_sequence,
)
from crl_core.physics.quick import draw_slice
from crl_core.physics.realism import Realism
from crl_core.physics.tissues import draw_table
from crl_core.scan import FloatArray, Scan, Subject
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters
from crl_core.training.anatomy import LEAST_HEAD, SLAB_SIZE, check_size, cut_slab
from crl_core.training.config import TrainingConfig
from crl_core.trust import MAX_POINTS, ParameterBox, TrainingCoverage


@dataclass(frozen=True)
class Batch:
    """Crops of several contrasts of the same anatomy.

    Parameters
    ----------
    images
        (B, P, H, W), each contrast in its own model units.
    scales
        (B, P): what one model unit of each contrast is worth in a unit shared by the subject.
    parameters
        (B, P, 3) ms.
    mask
        (B, H, W), 1 in the head and 0 in air.
    """

    images: FloatArray
    scales: FloatArray
    parameters: FloatArray
    mask: FloatArray


class Sampler(Protocol):
    """Anything that can produce the batch of a step.

    Attributes
    ----------
    voxel_mm
        In-plane voxel size of the batches, mm.
    """

    voxel_mm: float | None

    def batch(self, step: int, progress: float) -> Batch:
        """Return the batch of a step; `progress` in [0, 1] drives ramps."""
        ...

    def describe(self) -> str:
        """Say in one sentence what the data are."""
        ...

    def coverage(self) -> TrainingCoverage:
        """Return the part of the parameter space that batches come from."""
        ...


class DigitalSampler:
    """Fresh digital subjects in every step.

    Parameters
    ----------
    anatomies
        Tissue volumes in RAS order at 1 mm, see `crl_core.training.anatomy.load_anatomy`.
    config
        The run's settings.
    split
        Mixed into the seed, so that validation never repeats a training draw.
    """

    def __init__(
        self, anatomies: Sequence[Tissues], config: TrainingConfig, split: int = 0
    ) -> None:
        if config.crop > SLAB_SIZE:
            raise InputError(
                f"crops of {config.crop} pixels do not fit into digital slices of {SLAB_SIZE}",
                remedy=f"Set crop to {SLAB_SIZE} or less",
            )
        for anatomy in anatomies:
            check_size(anatomy)
        self.rule = config.intensity_rule()
        self.anatomies = list(anatomies)
        self.voxel_mm: float | None = 1.0
        self.config = config
        self.split = split

    def describe(self) -> str:
        """Say what the data are."""
        return f"digital subjects simulated from {len(self.anatomies)} anatomies"

    def coverage(self) -> TrainingCoverage:
        """Return the neighbourhood of the named sequences, or the box of random ones."""
        c = self.config
        points = tuple(PAPER_SEQUENCES[n] for n in c.sequences)
        held = tuple(p for n, p in PAPER_SEQUENCES.items() if n not in c.sequences)
        box = RANDOM_BOX if c.random_sequences > 0 else None
        return TrainingCoverage(points=points, box=box, held_out=held, data="digital subjects")

    def batch(self, step: int, progress: float) -> Batch:
        """Simulate the batch of a step; two crops share a subject to share its cost."""
        c = self.config
        rng = np.random.default_rng([c.seed, self.split, step])
        ramp = min(1.0, progress / c.ramp) if c.ramp > 0 else 1.0
        crops: list[tuple[FloatArray, FloatArray, FloatArray, FloatArray]] = []
        while len(crops) < c.batch:
            images, scales, parameters, mask = self._subject(rng, ramp)
            for _ in range(min(2, c.batch - len(crops))):
                where = _random_window(rng, mask, c.crop)
                flip = rng.integers(0, 2, size=3)
                crops.append(
                    (
                        _turn(images[(slice(None), *where)], flip),
                        scales,
                        parameters,
                        _turn(mask[where], flip),
                    )
                )
        parts = [np.stack(part).astype(np.float32) for part in zip(*crops, strict=True)]
        return Batch(*parts)

    def _subject(
        self, rng: np.random.Generator, ramp: float
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Simulate all contrasts of one slice of one fresh subject."""
        c = self.config
        wide = float(rng.uniform(0.3, 1.0)) if rng.random() < c.wide * ramp else 0.0
        field_strength = float(rng.choice([1.5, 3.0, 3.0]))
        realism = Realism.draw(rng, wide, field_strength)
        anatomy = self.anatomies[rng.integers(len(self.anatomies))]
        slab, voxel = cut_slab(rng, anatomy)
        while np.count_nonzero(slab) < LEAST_HEAD * slab.size:  # hardly in the head
            slab, voxel = cut_slab(rng, anatomy)
        table = draw_table(rng, field_strength, wide=wide)
        subject = draw_slice(rng, slab, table, realism, voxel)
        protocols = [self._protocol(rng, ramp) for _ in range(c.contrasts)]
        head = np.asarray((slab > 0).any(axis=0))
        images, scales = [], []
        for protocol in protocols:
            # The noise of a session is one; its sequences differ in bandwidth and averages.
            noise = realism.noise * float(rng.uniform(0.6, 1.6))
            noisy = replace(subject, realism=replace(realism, noise=noise))
            image = noisy.acquire(rng, protocol)
            scaled, scale = _scaled(rng, image, head, self.rule)
            images.append(scaled)
            scales.append(scale)
        parameters = np.array([p.triple for p in protocols], dtype=np.float32)
        return (
            np.stack(images),
            np.array(scales, dtype=np.float32),
            parameters,
            head.astype(np.float32),
        )

    def _protocol(self, rng: np.random.Generator, ramp: float) -> SequenceParameters:
        protocol = self._times(rng, ramp)
        # Fat is often suppressed where fluid is nulled, rarely elsewhere.
        share = FAT_SUPPRESSED[protocol.ti > 1200.0]
        return replace(protocol, fat_suppression=bool(rng.random() < share))

    def _times(self, rng: np.random.Generator, ramp: float) -> SequenceParameters:
        c = self.config
        if rng.random() < c.random_sequences * ramp:
            return random_sequence(rng)
        base = PAPER_SEQUENCES[int(rng.choice(c.sequences))]
        if c.random_sequences == 0:
            factors = np.ones(3)
        else:
            factors = np.exp(rng.normal(0.0, c.jitter, size=3))
        spacing = float(rng.uniform(8.5, 12.0))
        return SequenceParameters(
            base.tr * factors[0],
            base.te * factors[1],
            base.ti * factors[2],
            echo_spacing=spacing,
            echo_train_length=int(rng.integers(4, 20)),
        )


RANDOM_BOX = ParameterBox(
    tr=RANDOM_TR,
    te=RANDOM_TE,
    ti=RANDOM_TI,
    no_inversion=True,
    tr_inverted=RANDOM_TR_INVERTED,
)
"""The part of the parameter space that random sequences fill."""

FAT_SUPPRESSED = {True: 0.3, False: 0.03}
"""Share of sequences with suppressed fat, with a long inversion time and without."""


def _scaled(
    rng: np.random.Generator, image: FloatArray, head: NDArray[np.bool_], rule: str
) -> tuple[FloatArray, float]:
    """Bring a simulated slice to model units; returns it and what one unit is worth.

    Under the robust rule the scale wavers, because a slice's percentile is not its volume's.
    Under the minimum-maximum rule every contrast has its own range and units do not compare.
    """
    if rule == "minmax":
        low, high = float(image.min()), float(image.max())
        return (image - np.float32(low)) / np.float32(max(high - low, 1e-6)), 1.0
    scale = float(np.percentile(image[head], 99.5)) * float(rng.uniform(0.87, 1.15))
    return image / np.float32(scale), scale


def _random_window(rng: np.random.Generator, mask: FloatArray, crop: int) -> tuple[slice, slice]:
    """Choose a window around a random point of the head."""
    points = np.argwhere(mask > 0)
    centre = points[rng.integers(len(points))] if len(points) else np.array(mask.shape) // 2
    top, left = (
        int(np.clip(middle - crop // 2, 0, size - crop))
        for middle, size in zip(centre, mask.shape, strict=True)
    )
    return slice(top, top + crop), slice(left, left + crop)


def _turn(image: FloatArray, flip: NDArray[np.int64]) -> FloatArray:
    """Mirror and transpose the last two axes at random; anatomy has no preferred side here."""
    if flip[0]:
        image = image[..., ::-1]
    if flip[1]:
        image = image[..., ::-1, :]
    if flip[2]:
        image = image.swapaxes(-1, -2)
    return image


class SubjectSampler:
    """Crops of acquired or simulated subjects that were read from files.

    Parameters
    ----------
    subjects
        Each with at least two scans that carry parameters, on one grid.
    config
        The run's settings.
    split
        Mixed into the seed.
    """

    def __init__(self, subjects: Sequence[Subject], config: TrainingConfig, split: int = 0) -> None:
        self.config = config
        self.split = split
        rule = config.intensity_rule()
        self.subjects = [_prepared(s, config.crop, rule) for s in subjects]
        sizes = [_in_plane_mm(s.scans[0]) for s in subjects]
        self.voxel_mm: float | None = float(np.median(sizes))

    def describe(self) -> str:
        """Say what the data are."""
        return f"{len(self.subjects)} subjects read from files"

    def coverage(self) -> TrainingCoverage:
        """Return the settings the subjects were acquired with."""
        triples = {tuple(row.tolist()) for s in self.subjects for row in s.parameters}
        points = tuple(SequenceParameters(t[0], t[1], t[2]) for t in sorted(triples))
        return TrainingCoverage(points=points[:MAX_POINTS], data="subjects read from files")

    def batch(self, step: int, progress: float) -> Batch:
        """Cut the batch of a step; subjects with few scans repeat some."""
        c = self.config
        rng = np.random.default_rng([c.seed, 7 + self.split, step])
        rows: list[tuple[FloatArray, FloatArray, FloatArray, FloatArray]] = []
        for _ in range(c.batch):
            prepared = self.subjects[rng.integers(len(self.subjects))]
            count = len(prepared.scales)
            some = rng.permutation(np.resize(rng.permutation(count), c.contrasts))
            z = int(rng.choice(prepared.slices))
            mask = prepared.mask[z]
            where = _random_window(rng, mask, c.crop)
            flip = rng.integers(0, 2, size=3)
            rows.append(
                (
                    _turn(prepared.images[(some, z, *where)], flip),
                    prepared.scales[some],
                    prepared.parameters[some],
                    _turn(mask[where], flip),
                )
            )
        return Batch(*(np.stack(part).astype(np.float32) for part in zip(*rows, strict=True)))


@dataclass(frozen=True)
class _Prepared:
    images: FloatArray  # (P, Z, H, W) in model units
    scales: FloatArray
    parameters: FloatArray
    mask: FloatArray  # (Z, H, W)
    slices: NDArray[np.int64]


def _in_plane_mm(scan: Scan) -> float:
    """Return the mean in-plane voxel size, mm."""
    sizes = [v for axis, v in enumerate(scan.voxel_size) if axis != scan.slice_axis]
    return float(np.mean(sizes))


def _prepared(subject: Subject, crop: int, rule: str) -> _Prepared:
    scans: list[Scan] = [s for s in subject.scans if s.parameters is not None]
    axis = scans[0].slice_axis
    mask = np.moveaxis(scans[0].mask, axis, 0).astype(np.float32)
    robust = rule == "robust"
    scales = [s.scale if robust else s.range_scale for s in scans]
    images = np.stack(
        [np.moveaxis(k.to_model(s.data), axis, 0) for s, k in zip(scans, scales, strict=True)]
    )
    filled = mask.mean(axis=(1, 2))
    # Images smaller than a crop get air around them.
    extra = [max(0, crop - n) for n in mask.shape[1:]]
    around = [(e // 2, e - e // 2) for e in extra]
    images = np.pad(images, [(0, 0), (0, 0), *around])
    mask = np.pad(mask, [(0, 0), *around])
    return _Prepared(
        images,
        np.array([k.scale if robust else 1.0 for k in scales], dtype=np.float32),
        np.array([s.parameters.triple for s in scans if s.parameters], dtype=np.float32),
        mask,
        np.flatnonzero(filled > 0.3 * filled.max()),
    )
