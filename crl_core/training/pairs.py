"""The data of a network that learns one pair of contrasts: source and target, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from crl_core.errors import InputError
from crl_core.physics.labels import Tissues
from crl_core.scan import FloatArray
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters, distance
from crl_core.training.batch import Batch, Sampler, WholeSlice, setting_name
from crl_core.training.config import TrainingConfig
from crl_core.training.data import TrainingData
from crl_core.training.data_config import SAME
from crl_core.training.digital import DigitalSampler
from crl_core.training.files import SubjectSampler
from crl_core.trust import TrainingCoverage

Pair = tuple[SequenceParameters, SequenceParameters]


def paired(data: TrainingData, config: TrainingConfig) -> TrainingData:
    """Return the same data, of which batches and slices hold the pair alone.

    Parameters
    ----------
    data
        The opened data.
    config
        The run's settings; without a pair the data come back as they are.

    Raises
    ------
    InputError
        When nobody has both contrasts, or the data are rehearsed.
    """
    pair = config.pair_settings()
    if pair is None:
        return data
    notes = list(data.notes)
    train = _sampler(data.train, pair, config, notes)
    validate = data.validate
    if validate is not None:
        validate = _sampler(validate, pair, config, notes)
    return replace(data, train=train, validate=validate, notes=tuple(notes))


def _sampler(inner: Sampler, pair: Pair, config: TrainingConfig, notes: list[str]) -> PairSampler:
    if isinstance(inner, PairSampler):
        return inner
    if config.rehearse > 0:
        raise InputError("a single pair of contrasts cannot be rehearsed", remedy="Set rehearse 0")
    if isinstance(inner, DigitalSampler):
        inner = _digital(inner, pair)
    elif isinstance(inner, SubjectSampler):
        notes += _keep_pair(inner, pair)
    return PairSampler(inner, pair)


class PairSampler:
    """Batches and slices of another sampler, cut down to source and target.

    Parameters
    ----------
    inner
        A sampler whose batches hold both settings in every row.
    pair
        Source and target.
    """

    def __init__(self, inner: Sampler, pair: Pair) -> None:
        self.inner, self.pair = inner, pair
        self.voxel_mm = inner.voxel_mm

    def batch(self, step: int, progress: float, rows: range | None = None) -> Batch:
        """Return the batch of a step: (B, 2, H, W), the source first."""
        whole = self.inner.batch(step, progress, rows)
        # Rows may hold the two in any order.
        chosen = np.array([_places(row, self.pair) for row in whole.parameters])
        row = np.arange(len(chosen))[:, None]
        return replace(
            whole,
            images=whole.images[row, chosen],
            scales=whole.scales[row, chosen],
            parameters=whole.parameters[row, chosen],
        )

    def slices(self, count: int) -> list[WholeSlice]:
        """Return slices in both contrasts, to be rendered from the first."""
        return [self._cut(one) for one in self.inner.slices(count)]

    def describe(self) -> str:
        """Say what the data are."""
        source, target = (setting_name(p) for p in self.pair)
        return f"{self.inner.describe()}, from {source} to {target} alone"

    def coverage(self) -> TrainingCoverage:
        """Return the two settings."""
        return TrainingCoverage(points=self.pair, data=self.inner.coverage().data)

    def _cut(self, one: WholeSlice) -> WholeSlice:
        some = _places(one.parameters, self.pair)
        return replace(
            one,
            images=one.images[some],
            scales=one.scales[some],
            parameters=one.parameters[some],
            held=np.zeros(2, dtype=bool),
            names=tuple(one.names[k] for k in some),
            source=0,
        )


def _places(parameters: FloatArray, pair: Pair) -> list[int]:
    """Return where source and target are among settings, (P, 3 or more) ms."""
    found = []
    for wanted in pair:
        apart = [
            distance(SequenceParameters(float(row[0]), float(row[1]), float(row[2])), wanted)
            for row in parameters
        ]
        nearest = int(np.argmin(apart))
        if apart[nearest] >= SAME:
            raise InputError(f"the data hold no images with {setting_name(wanted)}")
        found.append(nearest)
    return found


# digital subjects -------------------------------------------------------------------------------


class _PairOfDigital(DigitalSampler):
    """Digital subjects in two sequences of the paper, one after the other."""

    def __init__(
        self, anatomies: Sequence[Tissues], config: TrainingConfig, split: int,
        order: tuple[int, int],
    ) -> None:  # fmt: skip
        super().__init__(anatomies, config, split)
        # A subject is drawn in as many sequences as the settings say, here two: in turn.
        self._each = [replace(config, sequences=(number,)) for number in order]
        self._turn = 0

    def _protocol(self, rng: np.random.Generator, ramp: float) -> SequenceParameters:
        whole = self.config
        self.config, self._turn = self._each[self._turn], 1 - self._turn
        try:
            drawn = super()._protocol(rng, ramp)
        finally:
            self.config = whole
        # Which of them have suppressed fat is nothing that this network is told.
        return replace(drawn, fat_suppression=False)


def _digital(inner: DigitalSampler, pair: Pair) -> DigitalSampler:
    numbers = [n for p in pair for n, known in PAPER_SEQUENCES.items() if known.triple == p.triple]
    if len(numbers) != 2 or not set(numbers) <= set(inner.config.sequences):
        trained = ", ".join(str(n) for n in inner.config.sequences)
        raise InputError(
            "the pair is not among the sequences that are trained on",
            remedy=f"Set pair to two of {trained}",
        )
    source, target = numbers
    config = replace(
        inner.config, contrasts=2, random_sequences=0.0, jitter=0.0,
        sequences=(source, target),
    )  # fmt: skip
    return _PairOfDigital(inner.anatomies, config, inner.split, (source, target))


# subjects from files ----------------------------------------------------------------------------


def _keep_pair(sampler: SubjectSampler, pair: Pair) -> list[str]:
    """Let a sampler draw the two settings alone, and leave out who has not both."""
    kept, notes = [], []
    for one in sampler.subjects:
        try:
            places = _places(one.parameters, pair)
        except InputError:
            notes.append(f"{one.name} is left out: it has not both contrasts of the pair.")
            continue
        if set(places) <= set(one.trained.tolist()):
            kept.append(replace(one, trained=np.array(places)))
        else:
            notes.append(f"{one.name} is left out: a contrast of the pair is held back.")
    if not kept:
        raise InputError(
            "nobody has both contrasts of the pair to train on",
            remedy="Look at what there is with crl inspect",
        )
    sampler.subjects, sampler.contrasts = kept, 2
    return notes
