"""What the rendering thread reports, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crl_viewer.state.model import ModelFacts
from crl_viewer.state.requests import RenderRequest
from crl_viewer.state.results import Agreed, Compared, Curve, Frame, VolumeCompared


@dataclass(frozen=True, slots=True)
class ModelLoading:
    """The checkpoint is being read; `facts` are what its card already tells."""

    path: Path | None
    facts: ModelFacts | None = None


@dataclass(frozen=True, slots=True)
class ModelReady:
    """The checkpoint is loaded."""

    path: Path | None
    facts: ModelFacts


@dataclass(frozen=True, slots=True)
class ModelFailed:
    """The checkpoint was refused, in one line."""

    path: Path | None
    message: str


@dataclass(frozen=True, slots=True)
class ModelKept:
    """Newer weights of the same checkpoint were refused, in one line; the older ones stay."""

    path: Path | None
    message: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that cannot be met, in one line."""

    request: RenderRequest
    message: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the engine did of its own accord, such as going on in tiles."""

    text: str


@dataclass(frozen=True, slots=True)
class Exported:
    """A synthesised volume was written."""

    path: Path


@dataclass(frozen=True, slots=True)
class ExportFailed:
    """A synthesised volume could not be written, in one line."""

    message: str


ModelEvent = ModelLoading | ModelReady | ModelFailed | ModelKept
Event = (
    ModelEvent | Frame | Compared | VolumeCompared | Curve | Agreed | Refused | Notice
    | Exported | ExportFailed
)  # fmt: skip
