"""Subjects read from files to train on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from crl_core.models.turning import Turn
from crl_core.scan import FloatArray, Scan, Subject
from crl_core.sequence import SequenceParameters
from crl_core.training.batch import (
    Batch,
    Row,
    WholeSlice,
    random_flip,
    random_window,
    stacked,
    turned,
)
from crl_core.training.config import TrainingConfig
from crl_core.training.coverage import of_people
from crl_core.training.data_config import DataConfig
from crl_core.training.digital import RANDOM_BOX
from crl_core.trust import TrainingCoverage

ANYWHERE = 0.125
"""Share of crops that may lie outside the head; without them fine-tuning made air grey."""


class SubjectSampler:
    """Crops of acquired or simulated subjects that were read from files.

    Parameters
    ----------
    subjects
        Each with at least two scans that carry parameters and are trained on, on one grid.
    config
        The run's settings.
    split
        Mixed into the seed; 0 for the people who are trained on.
    data
        Says which settings are held back: batches are free of them.
    simulated
        Whether the files show digital subjects, so that nobody takes them for people.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        config: TrainingConfig,
        split: int = 0,
        data: DataConfig | None = None,
        *,
        simulated: bool = False,
    ) -> None:
        self.config = config
        self.simulated = simulated
        self.split = split
        rule, self.knows_up = config.intensity_rule(), config.knows_up()
        held = (data or DataConfig()).held
        # Never larger than an image: a network shown mostly air learns to draw nothing.
        self.crop = max(16, min(config.crop, *(min(_plane(s.scans[0])) for s in subjects)))
        # Head masks take most of it, in code that leaves other threads free.
        with ThreadPoolExecutor() as pool:
            preparing = partial(
                _prepared, crop=self.crop, rule=rule, held=held, knows_up=self.knows_up
            )
            self.subjects = list(pool.map(preparing, subjects))
        # No more contrasts than anybody has: a repeated one teaches nothing.
        most = max(len(s.trained) for s in self.subjects)
        self.contrasts = max(2, min(config.contrasts, most))
        sizes = [_in_plane_mm(s.scans[0]) for s in subjects]
        self.voxel_mm: float | None = float(np.median(sizes))

    def describe(self) -> str:
        """Say what the data are."""
        count = len(self.subjects)
        kind = "digital subject" if self.simulated else "subject"
        return f"{count} {kind}{'s' if count != 1 else ''} read from files"

    def coverage(self) -> TrainingCoverage:
        """Return the settings the subjects were acquired with."""
        points = [_settings(s.parameters[s.trained]) for s in self.subjects]
        held = [_settings(np.delete(s.parameters, s.trained, axis=0)) for s in self.subjects]
        rehearsed = self.config.rehearse > 0 and self.config.random_sequences > 0
        return TrainingCoverage(
            points=of_people(points, RANDOM_BOX if rehearsed else None),
            held_out=of_people(held),
            data="digital subjects" if self.simulated else "subjects read from files",
        )

    def batch(self, step: int, progress: float, rows: range | None = None) -> Batch:
        """Cut the batch of a step; subjects with few scans repeat some."""
        c = self.config
        found: list[Row] = []
        for row in range(c.batch) if rows is None else rows:
            rng = np.random.default_rng([c.seed, 7 + self.split, step, row])
            prepared = self.subjects[rng.integers(len(self.subjects))]
            some = rng.permutation(np.resize(rng.permutation(prepared.trained), self.contrasts))
            z = int(rng.choice(prepared.slices))
            mask = prepared.mask[z]
            where = random_window(rng, mask, self.crop, ANYWHERE)
            flip = random_flip(rng, self.knows_up)
            found.append(
                (
                    turned(prepared.images[(some, z, *where)], flip),
                    prepared.scales[some],
                    prepared.parameters[some],
                    turned(mask[where], flip),
                )
            )
        return stacked(found)

    def slices(self, count: int) -> list[WholeSlice]:
        """Return slices near the middle of the head, of as many people as there are."""
        found: list[WholeSlice] = []
        taken = set()
        for number in range(min(count, 2 * len(self.subjects))):
            one = self.subjects[number % len(self.subjects)]
            # Of a second slice of the same person, one well away from the first.
            share = 0.5 if number < len(self.subjects) else 0.68
            z = int(one.slices[int(share * (len(one.slices) - 1))])
            if (number % len(self.subjects), z) in taken:
                continue  # somebody with a single slice
            taken.add((number % len(self.subjects), z))
            whose = "never trained on" if self.split else "trained on"
            as_in_file = partial(_through, one.turn.back)
            held = np.ones(len(one.scales), dtype=bool)
            held[one.trained] = False
            found.append(
                WholeSlice(
                    as_in_file(one.images[:, z]),
                    one.scales,
                    one.parameters,
                    as_in_file(one.mask[z]) > 0,
                    held,
                    one.names,
                    f"{one.name}, {whose}",
                    one.affine,
                    one.axis,
                    one.turn,
                )
            )
        return found


def _settings(parameters: FloatArray) -> list[SequenceParameters]:
    return [SequenceParameters(*row[:3]) for row in sorted(parameters.tolist())]


@dataclass(frozen=True)
class _Prepared:
    images: FloatArray  # (P, Z, H, W) in model units, turned for the network
    scales: FloatArray
    parameters: FloatArray
    mask: FloatArray  # (Z, H, W)
    slices: NDArray[np.int64]
    trained: NDArray[np.int64]  # which of the P are not held back
    names: tuple[str, ...]
    name: str
    affine: NDArray[np.float64]
    axis: int
    turn: Turn


def _plane(scan: Scan) -> tuple[int, ...]:
    """Return the pixels of a slice along both of its axes."""
    return tuple(n for axis, n in enumerate(scan.shape) if axis != scan.slice_axis)


def _in_plane_mm(scan: Scan) -> float:
    """Return the mean in-plane voxel size, mm."""
    sizes = [v for axis, v in enumerate(scan.voxel_size) if axis != scan.slice_axis]
    return float(np.mean(sizes))


def _through(turning: Callable[[torch.Tensor], torch.Tensor], image: FloatArray) -> FloatArray:
    """Turn the last two axes of an array."""
    return np.ascontiguousarray(turning(torch.from_numpy(image)).numpy())


def _prepared(
    subject: Subject,
    crop: int,
    rule: str,
    held: Callable[[SequenceParameters], bool],
    knows_up: bool,
) -> _Prepared:
    scans: list[Scan] = [s for s in subject.scans if s.parameters is not None]
    axis = scans[0].slice_axis
    mask = np.moveaxis(scans[0].mask, axis, 0).astype(np.float32)
    robust = rule == "robust"
    scales = [s.scale if robust else s.range_scale for s in scans]
    images = np.stack(
        [np.moveaxis(k.to_model(s.data), axis, 0) for s, k in zip(scans, scales, strict=True)]
    )
    turn = Turn.of(scans[0]) if knows_up else Turn()
    images, mask = _through(turn.there, images), _through(turn.there, mask)
    filled = mask.mean(axis=(1, 2))
    # Images smaller than a crop get air around them.
    extra = [max(0, crop - n) for n in mask.shape[1:]]
    around = [(e // 2, e - e // 2) for e in extra]
    images = np.pad(images, [(0, 0), (0, 0), *around])
    mask = np.pad(mask, [(0, 0), *around])
    return _Prepared(
        images,
        np.array([k.scale if robust else 1.0 for k in scales], dtype=np.float32),
        np.array([s.parameters.numbers for s in scans if s.parameters], dtype=np.float32),
        mask,
        np.flatnonzero(filled > 0.3 * filled.max()),
        np.flatnonzero([s.parameters is not None and not held(s.parameters) for s in scans]),
        tuple(s.name for s in scans),
        subject.name,
        scans[0].affine,
        axis,
        turn,
    )
