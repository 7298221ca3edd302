"""What a training run tells whoever started it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Started:
    """The run begins or goes on at `step`."""

    step: int
    data: str
    n_parameters: int


@dataclass(frozen=True, slots=True)
class Stepped:
    """One optimiser step is done.

    `seconds` is the time used so far, all sittings together.
    """

    step: int
    progress: float
    loss: float
    parts: dict[str, float]
    learning_rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Validated:
    """Metrics on subjects that are never trained on: name to value, PSNR in dB."""

    step: int
    metrics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Saved:
    """The state is on disk."""

    step: int
    path: Path


@dataclass(frozen=True, slots=True)
class Skipped:
    """A step was left out because its loss was not a number."""

    step: int
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is complete; `path` is the checkpoint."""

    step: int
    path: Path


Event: TypeAlias = Started | Stepped | Validated | Saved | Skipped | Finished
