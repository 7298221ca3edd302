"""From files to samplers, split by subject."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from crl_core.errors import InputError
from crl_core.io.bids import find_subjects
from crl_core.preprocess.subject import usable_subject
from crl_core.scan import Subject
from crl_core.training.anatomy import load_anatomy
from crl_core.training.config import TrainingConfig
from crl_core.training.sampling import (
    DigitalSampler,
    Sampler,
    SubjectSampler,
)

T = TypeVar("T")


def open_digital(paths: Sequence[Path], config: TrainingConfig) -> tuple[Sampler, Sampler | None]:
    """Open label maps to simulate fresh subjects from.

    The last tenth of the maps, at least one, is for validation only; with a single map there is
    no validation.
    """
    train, held = _split(list(paths), keep_order=True, seed=config.seed)
    sampler = DigitalSampler([load_anatomy(p) for p in train], config)
    if not held:
        return sampler, None
    return sampler, DigitalSampler([load_anatomy(p) for p in held], config, split=1)


def open_subjects(roots: Sequence[Path], config: TrainingConfig) -> tuple[Sampler, Sampler | None]:
    """Open the subjects of BIDS datasets that have at least two scans with known parameters.

    A tenth of the subjects, at least one, is for validation only; with a single subject there
    is no validation.

    Raises
    ------
    InputError
        When no subject can be used.
    """
    subjects = [s for root in roots for s in _usable(root)]
    if not subjects:
        raise InputError(
            "no subject has two scans with known TR, TE and TI",
            path=roots[0] if roots else None,
            remedy="Add the parameters to the sidecars",
        )
    train, held = _split(subjects, keep_order=False, seed=config.seed)
    sampler = SubjectSampler(train, config)
    return sampler, SubjectSampler(held, config, split=1) if held else None


def _usable(root: Path) -> list[Subject]:
    loaded = (usable_subject(files)[0] for files in find_subjects(root))
    return [subject for subject in loaded if len(subject.scans) >= 2]


def _split(items: list[T], *, keep_order: bool, seed: int) -> tuple[list[T], list[T]]:
    """Hold back a tenth, at least one of two or more."""
    if len(items) < 2:
        return items, []
    order = list(range(len(items)))
    if not keep_order:
        order = [int(i) for i in np.random.default_rng([seed, 23]).permutation(len(items))]
    held = max(1, round(0.1 * len(items)))
    return [items[i] for i in order[:-held]], [items[i] for i in order[-held:]]
