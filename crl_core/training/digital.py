"""Digital subjects to train on, fresh in every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

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
    with_train,
)
from crl_core.physics.quick import draw_slice
from crl_core.physics.realism import Realism
from crl_core.physics.tissues import draw_table
from crl_core.scan import FloatArray
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters, distance
from crl_core.training.anatomy import LEAST_HEAD, SLAB_SIZE, check_size, cut_slab
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
from crl_core.training.coverage import distinct, near
from crl_core.trust import ParameterBox, TrainingCoverage

NEAR = 0.15
"""Random sequences stay this far from settings held back, in units of the logarithm."""


class DigitalSampler:
    """Fresh digital subjects in every step.

    Sequences of the paper that the settings leave out are held back, as are those named: what is
    drawn keeps away from them.

    Parameters
    ----------
    anatomies
        Tissue volumes in RAS order at 1 mm, see `crl_core.training.anatomy.load_anatomy`.
    config
        The run's settings.
    split
        Mixed into the seed, so that validation never repeats a training draw.
    held_back
        Further settings to keep away from.

    Raises
    ------
    InputError
        When crops do not fit into slices, an anatomy is too small, or fewer than two sequences
        are left.
    """

    def __init__(
        self,
        anatomies: Sequence[Tissues],
        config: TrainingConfig,
        split: int = 0,
        held_back: Sequence[SequenceParameters] = (),
    ) -> None:
        if config.crop > SLAB_SIZE:
            raise InputError(
                f"crops of {config.crop} pixels do not fit into digital slices of {SLAB_SIZE}",
                remedy=f"Set crop to {SLAB_SIZE} or less",
            )
        for anatomy in anatomies:
            check_size(anatomy)
        self.rule, self.knows_up = config.intensity_rule(), config.knows_up()
        self.anatomies = list(anatomies)
        self.voxel_mm: float | None = 1.0
        self.split = split
        held = [p for n, p in PAPER_SEQUENCES.items() if n not in config.sequences]
        self.held_out = tuple(distinct((*held, *held_back)))
        left = tuple(n for n in config.sequences if not near(PAPER_SEQUENCES[n], self.held_out))
        if len(left) < 2:
            raise InputError("fewer than two sequences are left to train on")
        self.config = replace(config, sequences=left)

    def describe(self) -> str:
        """Say what the data are."""
        count = len(self.anatomies)
        return f"digital subjects simulated from {count} anatom{'ies' if count != 1 else 'y'}"

    def coverage(self) -> TrainingCoverage:
        """Return the neighbourhood of the named sequences, or the box of random ones."""
        c = self.config
        points = tuple(PAPER_SEQUENCES[n] for n in c.sequences)
        held = self.held_out
        box = RANDOM_BOX if c.random_sequences > 0 else None
        return TrainingCoverage(points=points, box=box, held_out=held, data="digital subjects")

    def batch(self, step: int, progress: float, rows: range | None = None) -> Batch:
        """Simulate the batch of a step; two crops share a subject to share its cost."""
        c = self.config
        wanted = range(c.batch) if rows is None else rows
        ramp = min(1.0, progress / c.ramp) if c.ramp > 0 else 1.0
        found: list[Row] = []
        for pair in sorted({row // 2 for row in wanted}):
            rng = np.random.default_rng([c.seed, self.split, step, pair])
            images, scales, parameters, mask = self._subject(
                rng, ramp, [self._protocol(rng, ramp) for _ in range(c.contrasts)]
            )
            for row in (2 * pair, 2 * pair + 1):
                where = random_window(rng, mask, c.crop)
                flip = random_flip(rng, self.knows_up)
                if row in wanted:
                    crop = turned(images[(slice(None), *where)], flip)
                    found.append((crop, scales, parameters, turned(mask[where], flip)))
        return stacked(found)

    def slices(self, count: int) -> list[WholeSlice]:
        """Simulate slices of fresh subjects in the nine sequences of the paper."""
        protocols = [with_train(p) for p in PAPER_SEQUENCES.values()]
        held = np.array([n not in self.config.sequences for n in PAPER_SEQUENCES])
        names = tuple(f"Sequence {n}, TE {p.te:.3g}" for n, p in PAPER_SEQUENCES.items())
        found = []
        for number in range(count):
            rng = np.random.default_rng([self.config.seed, self.split, 3, number])
            images, scales, parameters, mask = self._subject(rng, 0.0, protocols)
            about = f"digital subject {number + 1}, " + (
                "never trained on" if self.split else "of an anatomy that is trained on"
            )
            found.append(
                WholeSlice(images, scales, parameters, mask > 0, held, names, about)
            )
        return found

    def _subject(
        self, rng: np.random.Generator, ramp: float, protocols: Sequence[SequenceParameters]
    ) -> Row:
        """Simulate contrasts of one slice of one fresh subject."""
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
        head = np.asarray((slab > 0).any(axis=0))
        images, scales = [], []
        common = float(rng.uniform(0.9, 1.1))
        for protocol in protocols:
            # The noise of a session is one; its sequences differ in bandwidth and averages.
            noise = realism.noise * float(rng.uniform(0.6, 1.6))
            noisy = replace(subject, realism=replace(realism, noise=noise))
            image = noisy.acquire(rng, protocol)
            scaled, scale = _scaled(rng, image, head, self.rule, common)
            images.append(scaled)
            scales.append(scale)
        parameters = np.array([p.numbers for p in protocols], dtype=np.float32)
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
            drawn = random_sequence(rng)
            while near(drawn, self.held_out, NEAR):
                drawn = random_sequence(rng)
            return drawn
        base = PAPER_SEQUENCES[int(rng.choice(c.sequences))]
        drawn = self._around(rng, base)
        # One that lies beside a held-back setting itself may come no closer.
        away = min([NEAR, *(0.9 * distance(base, p) for p in self.held_out)])
        while near(drawn, self.held_out, away):
            drawn = self._around(rng, base)
        return drawn

    def _around(self, rng: np.random.Generator, base: SequenceParameters) -> SequenceParameters:
        c = self.config
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
    rng: np.random.Generator,
    image: FloatArray,
    head: NDArray[np.bool_],
    rule: str,
    common: float,
) -> tuple[FloatArray, float]:
    """Bring a simulated slice to model units; returns it and what one unit is worth.

    Under the robust rule the scale wavers, because a slice's percentile is not its volume's: most
    of that is `common` to all contrasts. Over volumes, percentiles of two contrasts were found to
    give their relative gain within 2 to 5 %.
    Under the minimum-maximum rule every contrast has its own range and units do not compare.
    """
    if rule == "minmax":
        low, high = float(image.min()), float(image.max())
        return (image - np.float32(low)) / np.float32(max(high - low, 1e-6)), 1.0
    scale = float(np.percentile(image[head], 99.5)) * common * float(np.exp(rng.normal(0.0, 0.04)))
    return image / np.float32(scale), scale
