"""Everything that decides how a run goes, in one value that is saved with the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from crl_core.errors import InputError, ParameterError
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters

PlanName = Literal["quick", "time", "paper", "fine-tune"]
PLANS: tuple[PlanName, ...] = get_args(PlanName)
"""What a user can wish for; `crl_core.training.plan` makes settings of it."""

QUICK_MINUTES, FINE_TUNE_MINUTES = 5.0, 12.0


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of a run.

    Parameters
    ----------
    preset
        Name of the network's preset.
    architecture
        Entries of the preset to replace.
    steps
        Number of optimiser steps; with `minutes` given, an upper bound.
    minutes
        Wall-clock budget. The schedule then follows the time used, not the steps, so that the
        learning rate has decayed when the time is up.
    batch
        Crops in a step.
    crop
        Side of a crop, pixels.
    contrasts
        Sequences of a subject in a step; every one of them is a target.
    source_share
        Probability of 1, 2, 3, ... sources for networks that take several.
    encoded
        Sources encoded separately in a step by networks that take only one.
    identity
        Whether a source is also a target of its own. The authors' loop leaves that pair out.
    learning_rate, warmup, schedule
        Adam's peak rate, steps to reach it, and how it falls: ``"cosine"`` to a hundredth,
        ``"halving"`` after every fifth of the run, as in the paper, or ``"plateau"``: not at all
        in the first half and linearly to zero in the second.
    optimiser
        ``"adam"``, ``"muon"`` (orthogonal steps for convolutions, at ten times Adam's rate) or
        ``"auto"``: muon for networks that render through the signal equation, where it was
        measured to learn several times faster, adam for those of the paper and of others.
    clip
        Largest norm of the gradient; 0 for any.
    average
        Decay of the running average of the weights, which is what a checkpoint holds; 0 for the
        weights themselves.
    air_weight
        Weight of a voxel outside the head in the L1 term, relative to one inside.
    gradient_loss, squared_loss, doubt_loss, intensity_loss, structure_loss
        Weights of the terms beside L1: first differences, root mean square (for networks that
        fuse sources), the likelihood of the expected errors (for networks that give them; the
        image is not pulled by it, but it counts in the norm that is clipped), what intensities
        alone say (for networks that start from that), and structure. The
        structural term compares what single-source networks make of two sources of one subject;
        networks that fuse sources have no such pair and train without it.
    structure_pairs
        Which pairs of sources that term compares: ``"all"``, or ``"consecutive"`` as the authors'
        code does.
    random_sequences
        Share of sequences drawn over the whole parameter space rather than from `sequences`.
    wide
        Share of subjects whose tissues are drawn wider than published ranges.
    ramp
        Part of the run, as a fraction, over which the two shares above grow from zero.
    sequences
        Numbers of the paper's sequences to train on.
    jitter
        Relative spread around those sequences.
    seed
        Every random choice follows from it.
    rehearse
        Share of steps on digital subjects of the shipped anatomy, so that a network that is
        fine-tuned on a few settings does not forget the others.
    accumulate
        Parts a batch is computed in, one after the other; the gradient is the same and memory is
        saved.
    save_seconds, validate_steps
        How often to save the state and to validate.
    precision
        ``"bf16"`` or ``"fp32"`` for convolutions; ``"auto"`` takes what a short measurement at
        the start finds faster.
    compile
        Compile the network first; pays on a GPU and in long runs.
    pair
        For networks that learn one pair of contrasts: source and target, as two numbers of the
        paper's sequences or as TR, TE, TI of both, ms. Empty for networks that learn all.
    adversarial
        Entries of `crl_core.training.adversarial.AdversarialSettings` to replace, for networks
        that are trained against a critic.
    perceptual_weights
        File with the weights of the network that such a training compares features of; without
        it that term is left out.
    """

    preset: str = "crl-plus"
    architecture: dict[str, Any] = field(default_factory=dict)
    steps: int = 20_000
    minutes: float | None = None
    batch: int = 6
    crop: int = 96
    contrasts: int = 5
    source_share: tuple[float, ...] = (0.5, 0.3, 0.2)
    encoded: int = 2
    identity: bool = True
    learning_rate: float = 1e-3
    warmup: int = 200
    schedule: str = "cosine"
    optimiser: str = "auto"
    clip: float = 0.5
    average: float = 0.999
    air_weight: float = 0.15
    gradient_loss: float = 0.5
    squared_loss: float = 1.0
    doubt_loss: float = 0.05
    intensity_loss: float = 0.5
    structure_loss: float = 0.1
    structure_pairs: str = "all"
    random_sequences: float = 0.5
    wide: float = 0.5
    ramp: float = 0.3
    sequences: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8, 9)
    jitter: float = 0.06
    seed: int = 1
    rehearse: float = 0.0
    accumulate: int = 1
    save_seconds: float = 30.0
    validate_steps: int = 1000
    precision: str = "auto"
    compile: bool = False
    pair: tuple[float, ...] = ()
    adversarial: dict[str, Any] = field(default_factory=dict)
    perceptual_weights: str = ""

    def intensity_rule(self) -> str:
        """Return how the network to be trained wants its images scaled."""
        from crl_core.models import architecture_of, intensity_rule

        return intensity_rule(architecture_of(self.preset, self.architecture))

    def chosen_optimiser(self) -> str:
        """Return ``"adam"`` or ``"muon"``."""
        from crl_core.models import architecture_of, optimiser_of

        if self.optimiser != "auto":
            return self.optimiser
        return optimiser_of(architecture_of(self.preset, self.architecture))

    def knows_up(self) -> bool:
        """Return whether slices are turned for the network to be trained."""
        from crl_core.models import architecture_of, knows_up

        return knows_up(architecture_of(self.preset, self.architecture))

    def __post_init__(self) -> None:
        """Refuse values that no run could start with."""
        for name, low in _LEAST.items():
            if getattr(self, name) < low:
                raise InputError(f"the training setting '{name}' must be at least {low}")
        for name, allowed in WORDS.items():
            if getattr(self, name) not in allowed:
                raise InputError(
                    f"the training setting '{name}' must be one of {', '.join(allowed)}"
                )
        for name in ("random_sequences", "wide", "ramp", "average", "air_weight", "rehearse"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"the training setting '{name}' must lie between 0 and 1")
        if self.minutes is not None and not self.minutes > 0:
            raise InputError("the training setting 'minutes' must be above 0")
        if not self.learning_rate > 0:
            raise InputError("the training setting 'learning_rate' must be above 0")
        if not self.sequences or not set(self.sequences) <= set(PAPER_SEQUENCES):
            raise InputError("the training setting 'sequences' must name some of 1 to 9")
        share = self.source_share
        if not share or min(share) < 0 or not share[0] > 0:
            raise InputError(
                "the training setting 'source_share' needs a share above 0 for one source"
            )
        self.pair_settings()

    def pair_settings(self) -> tuple[SequenceParameters, SequenceParameters] | None:
        """Return the source and the target of `pair`; None for networks that learn all.

        Raises
        ------
        InputError
            When `pair` names no two different settings.
        """
        if not self.pair:
            return None
        named = self.pair
        try:
            if len(named) == 2:
                source, target = (PAPER_SEQUENCES[int(number)] for number in named)
            else:
                a, b, c, d, e, f = named
                source, target = SequenceParameters(a, b, c), SequenceParameters(d, e, f)
        except (KeyError, ValueError, ParameterError):
            raise _no_pair() from None
        if source.triple == target.triple or (len(named) == 2 and any(n % 1 for n in named)):
            raise _no_pair()
        return source, target

    def to_json(self) -> str:
        """Return the settings as indented JSON."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_dict(cls, values: dict[str, Any], path: Path | None = None) -> TrainingConfig:
        """Build settings from plain values.

        What is not named is as usual, or, for a network of others, as it was published
        (`PUBLISHED_TRAINING`), for images of the size of a crop.

        Raises
        ------
        InputError
            When an entry is unknown or a value has the wrong type.
        """
        defaults = {f.name: getattr(cls(), f.name) for f in fields(cls)}
        chosen: dict[str, Any] = {}
        for name, value in values.items():
            if name not in defaults:
                raise InputError(
                    f"the training settings have an unknown entry '{name}'",
                    path=path,
                    remedy=f"Known entries are {', '.join(sorted(defaults))}",
                )
            chosen[name] = _typed(name, value, defaults[name], path)
        return cls(**_as_published(chosen))

    @classmethod
    def load_begun(cls, path: Path) -> TrainingConfig:
        """Read the settings of a run: what they do not tell is what it was when the run began."""
        return cls.load(path, _BEFORE)

    @classmethod
    def load(cls, path: Path, untold: Mapping[str, Any] = MappingProxyType({})) -> TrainingConfig:
        """Read settings from a JSON file; `untold` replaces the usual for what it leaves out."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError("there is no such file", path=path) from None
        except (OSError, ValueError) as error:
            raise InputError(f"it is not readable JSON ({error})", path=path) from None
        if not isinstance(values, dict):
            raise InputError("the settings must be one JSON object", path=path)
        return cls.from_dict({**untold, **values}, path)


_BEFORE: Mapping[str, Any] = {"optimiser": "adam"}
"""What settings were before there was an entry for them."""

_LEAST: Mapping[str, float] = {
    "steps": 1, "batch": 1, "crop": 16, "contrasts": 2, "encoded": 1, "validate_steps": 1,
    "seed": 0, "warmup": 0, "clip": 0, "accumulate": 1, "save_seconds": 0,
    "gradient_loss": 0, "squared_loss": 0, "doubt_loss": 0, "intensity_loss": 0,
    "structure_loss": 0, "jitter": 0,
}  # fmt: skip

WORDS: Mapping[str, tuple[str, ...]] = {
    "precision": ("auto", "bf16", "fp32"),
    "optimiser": ("auto", "adam", "muon"),
    "schedule": ("cosine", "halving", "plateau"),
    "structure_pairs": ("all", "consecutive"),
}
"""Settings that are one of a few words."""


_COMMON: Mapping[str, Any] = {
    "crop": 192, "contrasts": 2, "encoded": 1, "identity": False, "learning_rate": 2e-4,
    "warmup": 0, "schedule": "plateau", "optimiser": "adam", "clip": 0.0, "average": 0.0,
    "air_weight": 1.0,
    "gradient_loss": 0.0, "squared_loss": 0.0, "doubt_loss": 0.0, "intensity_loss": 0.0,
    "structure_loss": 0.0, "random_sequences": 0.0, "jitter": 0.0,
}  # fmt: skip

PUBLISHED_TRAINING: Mapping[str, Mapping[str, Any]] = {
    "pgan": {**_COMMON, "batch": 1},
    "ptnet": {**_COMMON, "batch": 4},
    "resvit": {**_COMMON, "batch": 1},
}
"""How networks of others were trained (`crl_core.training.adversarial` has their losses)."""


def _as_published(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the settings of a network of others."""
    preset = str(chosen.get("preset"))
    if preset not in PUBLISHED_TRAINING:
        return dict(chosen)
    whole = {**PUBLISHED_TRAINING[preset], **chosen}
    if preset != "pgan":
        whole["architecture"] = {"size": whole["crop"], **whole.get("architecture", {})}
    return whole


def _no_pair() -> InputError:
    return InputError(
        "the training setting 'pair' must name two different settings",
        remedy="Give two numbers of the paper's sequences, or TR, TE and TI of both in ms",
    )


def _typed(name: str, value: Any, example: Any, path: Path | None) -> Any:
    if isinstance(example, tuple):
        if isinstance(value, list | tuple) and all(isinstance(v, int | float) for v in value):
            return tuple(value)
    elif isinstance(example, bool) or isinstance(value, bool):
        if isinstance(example, bool) and isinstance(value, bool):
            return value
    elif example is None:
        if value is None or isinstance(value, int | float):
            return value
    elif isinstance(example, float):
        if isinstance(value, int | float):
            return float(value)
    elif isinstance(value, type(example)):
        return value
    raise InputError(f"the training setting '{name}' has the wrong type", path=path)
