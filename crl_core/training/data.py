"""From files to samplers, shared out by person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from crl_core.errors import CRLError, InputError
from crl_core.io.bids import SubjectFiles, read_sidecar
from crl_core.io.image_file import SIMULATED_FIELD
from crl_core.preprocess.subject import usable_subject
from crl_core.scan import Subject
from crl_core.sequence import SequenceParameters
from crl_core.training.anatomy import load_anatomy
from crl_core.training.batch import Batch, Sampler, WholeSlice
from crl_core.training.config import TrainingConfig
from crl_core.training.coverage import merged
from crl_core.training.data_config import DataConfig, prefix_of
from crl_core.training.digital import DigitalSampler
from crl_core.training.files import SubjectSampler
from crl_core.training.visits import clusters_of, visits
from crl_core.trust import TrainingCoverage

T = TypeVar("T")


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from and is judged on.

    Parameters
    ----------
    train
        Where batches come from.
    validate
        Draws on other people; None where there is only one.
    people
        How many are trained on, validated on and left for testing.
    notes
        What was left out and why, a line each.
    """

    train: Sampler
    validate: Sampler | None
    people: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def open_data(data: DataConfig, config: TrainingConfig) -> TrainingData:
    """Open what a run learns from.

    Raises
    ------
    InputError
        When nothing in it can be used.
    """
    if not data.datasets:
        raise InputError("no dataset is named", remedy="Name the folder that holds sub-01 to ...")
    if data.rehearsal and not config.rehearse > 0:
        raise InputError(
            "label maps to rehearse on are named, but no share of the steps rehearses",
            remedy="Set rehearse above 0 in the training settings, or plan to fine-tune",
        )
    from crl_core.training.pairs import paired

    return paired((_digital if data.digital else _subjects)(data, config), config)


# digital subjects -------------------------------------------------------------------------------


def _digital(data: DataConfig, config: TrainingConfig) -> TrainingData:
    """Open label maps; the last tenth of them, at least one of two, is for validation only."""
    train, held = _split([Path(d) for d in data.datasets])
    sampler = _fresh(train, config, data)
    validate = _fresh(held, config, data, split=1) if held else None
    people = {"train": len(train), "validate": len(held), "test": 0}
    return TrainingData(sampler, validate, people)


def _fresh(
    maps: Sequence[Path], config: TrainingConfig, data: DataConfig, split: int = 0
) -> DigitalSampler:
    held = [SequenceParameters(*triple) for triple in data.hold_back]
    return DigitalSampler([load_anatomy(p) for p in maps], config, split, held)


# subjects from files ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Visit:
    person: str
    subject: Subject
    simulated: bool


def _subjects(data: DataConfig, config: TrainingConfig) -> TrainingData:
    readable, notes = _readable(data)
    people = list(dict.fromkeys(v.person for v in readable))
    _check_names(data, people)
    test = set(data.test)
    others = [p for p in people if p not in test]
    brains = _brains(data, people)
    chosen = data.validate
    held = _chosen(others, brains, config.seed) if chosen is None else list(chosen)
    notes += _shared_brains(held, others, brains)
    learnt = [v for v in readable if v.person in others and v.person not in held]
    train = [v.subject for v in learnt]
    validate = [v.subject for v in readable if v.person in held]
    if not train:
        raise InputError(
            "nobody is left to train on",
            path=data.datasets[0],
            remedy="Add subjects with two scans of known TR, TE and TI, or validate on fewer",
        )
    trainable, left = _with_enough_left(train, data, 2)
    if not trainable:
        raise InputError(
            "too many settings are held back: nobody has two left to train on",
            remedy="Hold back fewer",
        )
    # A held-back setting may be judged there that no second trained one stands beside.
    validate, unused = _with_enough_left(validate, data, 1)
    notes += left + unused
    simulated = all(v.simulated for v in learnt)
    sampler: Sampler = SubjectSampler(trainable, config, data=data, simulated=simulated)
    if config.rehearse > 0:
        sampler = Rehearsing(sampler, _rehearsed(data, config), config)
    return TrainingData(
        sampler,
        SubjectSampler(validate, config, split=1, data=data) if validate else None,
        {
            "train": len(others) - len(set(held) & set(others)),
            "validate": len(set(held) & set(people)),
            "test": len(test & set(people)),
        },
        tuple(notes),
    )


def _readable(data: DataConfig) -> tuple[list[_Visit], list[str]]:
    """Read every visit that is not left out; what is damaged is noted and left out too."""
    readable: list[_Visit] = []
    notes: list[str] = []
    for visit in visits(data):
        label = visit.files.label
        try:
            subject, _ = usable_subject(visit.files)
        except CRLError as refusal:
            notes.append(f"{label} is left out: {_without_path(refusal)}")
            continue
        if len(subject.scans) >= 2:
            readable.append(_Visit(visit.person, subject, _simulated(visit.files)))
        else:
            notes.append(f"{label} is left out: fewer than two scans can be used.")
    if not readable:
        raise InputError(
            notes[0].rstrip(".") if len(notes) == 1 else "no subject has two scans with known"
            " TR, TE and TI",
            path=data.datasets[0],
            remedy="Look at it with crl check",
        )
    return readable, notes


def _simulated(files: SubjectFiles) -> bool:
    return all(read_sidecar(path)[0].get(SIMULATED_FIELD) is True for path in files.images)


def _without_path(refusal: CRLError) -> str:
    """Return what is wrong with a file by its name alone; folders may name a person."""
    where = f"{refusal.path.name}: " if refusal.path is not None else ""
    return f"{where}{refusal.problem.rstrip('.')}."


def _check_names(data: DataConfig, people: Sequence[str]) -> None:
    for name in (*(data.validate or ()), *data.test):
        if name not in people:
            raise InputError(
                f"there is no usable person '{name}'",
                path=data.datasets[0],
                remedy=f"There are {', '.join(people[:12])}" + (" and more" * (len(people) > 12)),
            )


def _with_enough_left(
    subjects: Sequence[Subject], data: DataConfig, least: int
) -> tuple[list[Subject], list[str]]:
    """Leave out who has fewer scans than that once settings are held back."""
    kept, notes = [], []
    few = {1: "none of their settings is", 2: "fewer than two settings are"}[least]
    for subject in subjects:
        count = sum(s.parameters is not None and not data.held(s.parameters) for s in subject.scans)
        if count >= least:
            kept.append(subject)
        else:
            notes.append(f"{subject.name} is left out: {few} trained on.")
    return kept, notes


def _brains(data: DataConfig, people: Sequence[str]) -> dict[str, str]:
    """Return whose brain each person has: digital subjects of one anatomy share one.

    Anatomies of one name in two datasets count as one, which can only keep more apart.
    """
    found: dict[str, str] = {}
    for number, root in enumerate(data.datasets):
        prefix = prefix_of(data.datasets, number)
        own = [p.removeprefix(prefix) for p in people if p.startswith(prefix)]
        for person, brain in clusters_of(own, Path(root)).items():
            found[prefix + person] = prefix + person if brain == person else brain
    return found


def _chosen(people: Sequence[str], brains: dict[str, str], seed: int) -> list[str]:
    """Choose a tenth for validation, whole brains where there are several."""
    groups: dict[str, list[str]] = {}
    for person in people:
        groups.setdefault(brains[person], []).append(person)
    if len(groups) == 1:
        groups = {person: [person] for person in people}
    names = list(groups)
    order = np.random.default_rng([seed, 23]).permutation(len(names))
    _, held = _split([names[int(i)] for i in order])
    return [person for name in held for person in groups[name]]


def _shared_brains(held: Sequence[str], people: Sequence[str], brains: dict[str, str]) -> list[str]:
    trained = {brains[p]: p for p in people if p not in held}
    return [
        f"{p} is validated on and {trained[brains[p]]} trained on, of one anatomy: the figures"
        " will look better than those of a new brain."
        for p in held
        if brains.get(p) in trained
    ]


def _split(items: list[T]) -> tuple[list[T], list[T]]:
    """Hold back the last tenth, at least one of two or more."""
    if len(items) < 2:
        return items, []
    held = max(1, round(0.1 * len(items)))
    return items[:-held], items[-held:]


# rehearsal --------------------------------------------------------------------------------------


class Rehearsing:
    """Batches of one sampler with some of another between them.

    A network that is fine-tuned on three settings alone forgets the rest of the parameter space,
    and the sliders go wrong between them.

    Parameters
    ----------
    main, other
        What is learnt, and what must not be forgotten.
    config
        The run's settings; `rehearse` is the share of steps taken from `other`.
    """

    def __init__(self, main: Sampler, other: Sampler, config: TrainingConfig) -> None:
        self.main, self.other, self.config = main, other, config
        self.voxel_mm = main.voxel_mm

    def batch(self, step: int, progress: float, rows: range | None = None) -> Batch:
        """Return the batch of a step, of one sampler or the other."""
        rng = np.random.default_rng([self.config.seed, 31, step])
        chosen = self.other if rng.random() < self.config.rehearse else self.main
        return chosen.batch(step, progress, rows)

    def slices(self, count: int) -> list[WholeSlice]:
        """Return slices of the data that are learnt."""
        return self.main.slices(count)

    def describe(self) -> str:
        """Say what the data are."""
        share = round(100 * self.config.rehearse)
        return f"{self.main.describe()}, and {self.other.describe()} in {share} % of the steps"

    def coverage(self) -> TrainingCoverage:
        """Return both parts together."""
        return merged(self.main.coverage(), self.other.coverage())


def _rehearsed(data: DataConfig, config: TrainingConfig) -> Sampler:
    from crl_core.demo import label_map

    maps = [Path(p) for p in data.rehearsal] or [label_map()]
    # No ramp: a network that is fine-tuned knows the whole parameter space from its first step.
    return _fresh(maps, replace(config, ramp=0.0), data, split=2)
