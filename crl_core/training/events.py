"""What a training run tells whoever started it, and how that is written into its log.

The log is one JSON object a line, so that a window can follow a run it did not start and find
everything again after a crash.
"""

from __future__ import annotations

import json
import math
import types
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

HELD_BACK = "settings held back, on people trained on"
"""What is judged where nobody is left to validate on; stands in `Started.validated_on`."""


@dataclass(frozen=True, slots=True)
class Started:
    """The run begins or goes on at `step`; everything told of later steps before is void.

    `total` is the number of steps, an estimate where the run is planned by time. `held_back`
    names settings nobody trains on.
    """

    step: int
    data: str
    n_parameters: int
    total: int = 0
    seconds: float = 0.0
    device: str = ""
    precision: str = ""
    validated_on: str = ""
    held_back: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stepped:
    """One optimiser step is done.

    `seconds` is the time used so far, all sittings together; `remaining` the time still to go by
    the pace of the last minute. `pairs_per_second` counts source-target pairs; `memory_mb` is what
    the process holds, on a GPU what torch has taken there.
    """

    step: int
    progress: float
    loss: float
    parts: dict[str, float]
    learning_rate: float
    seconds: float
    pairs_per_second: float = 0.0
    remaining: float = 0.0
    memory_mb: float = 0.0
    busy_percent: float = 0.0


@dataclass(frozen=True, slots=True)
class Validated:
    """Metrics on people that are never trained on, by block.

    `metrics` is PSNR in dB and `ssim` runs from -1 to 1, both in the head mask after one
    least-squares gain. Blocks are ``seen``, ``to <setting>`` for each setting held back,
    ``from 2`` and ``from 3`` sources, and ``identity``.
    """

    step: int
    metrics: dict[str, float]
    ssim: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Previewed:
    """The fixed slices were rendered by the network of this step and lie in the folder."""

    step: int


@dataclass(frozen=True, slots=True)
class Saved:
    """The state is on disk; `cost` is the time that took, s."""

    step: int
    path: Path
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Improved:
    """The network of this step is the best so far; it is on disk with its card."""

    step: int
    score: float


@dataclass(frozen=True, slots=True)
class Skipped:
    """A step was left out because its loss was not a number."""

    step: int
    text: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Something a user should know, in one line; the run goes on."""

    step: int
    text: str
    level: Literal["note", "warning"] = "warning"


@dataclass(frozen=True, slots=True)
class Paused:
    """The run waits in memory until it is told to continue."""

    step: int


@dataclass(frozen=True, slots=True)
class Continued:
    """The run goes on after a pause."""

    step: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run was ended early with its state on disk."""

    step: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is complete; `path` is the checkpoint, of the weights of step `best`."""

    step: int
    path: Path
    best: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """The run ended with an error, in one line."""

    step: int
    text: str


Event: TypeAlias = (
    Started
    | Stepped
    | Validated
    | Previewed
    | Saved
    | Improved
    | Skipped
    | Noted
    | Paused
    | Continued
    | Stopped
    | Finished
    | Failed
)

_KINDS: dict[str, type[Any]] = {kind.__name__.lower(): kind for kind in get_args(Event)}
_HINTS = {kind: get_type_hints(kind) for kind in _KINDS.values()}


def to_line(event: Event, time: float) -> str:
    """Return an event as one line of JSON without its end.

    Parameters
    ----------
    event
        The event.
    time
        Seconds since 1970.
    """
    values: dict[str, Any] = {"kind": type(event).__name__.lower(), "time": round(time, 3)}
    for name, value in asdict(event).items():
        values[name] = _plain(value)
    line = json.dumps(values, ensure_ascii=False, allow_nan=False)
    # A file name may hold bytes that are no text; written as JSON escapes they survive.
    return line.encode("utf-8", "backslashreplace").decode("utf-8")


def from_line(line: str) -> tuple[float, Event] | None:
    """Read what `to_line` wrote; None for a line that is torn, or of a newer program."""
    try:
        values = json.loads(line)
        kind = _KINDS[values.pop("kind")]
        time = float(values.pop("time"))
        known = {f.name: _HINTS[kind][f.name] for f in fields(kind)}
        given = {name: _typed(values[name], known[name]) for name in values if name in known}
        return time, kind(**given)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None


def _plain(value: Any) -> Any:
    """Make a value fit for JSON, which knows no infinity."""
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return None if math.isnan(value) else math.copysign(1e300, value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value.name if isinstance(value, Path) else value


def _typed(value: Any, hint: Any) -> Any:
    """Bring a value of JSON to the kind a field has.

    Raises
    ------
    TypeError, ValueError
        When it cannot be one.
    """
    origin = get_origin(hint)
    if hint is float:
        return math.nan if value is None else float(value)
    if hint is int or hint is str:
        if not isinstance(value, hint) or isinstance(value, bool):
            raise TypeError(hint)
        return value
    if hint is Path:
        return Path(str(value))
    if origin is dict:
        return {str(k): _typed(v, get_args(hint)[1]) for k, v in dict(value).items()}
    if origin is tuple:
        return tuple(_typed(v, get_args(hint)[0]) for v in value)
    if origin is Literal and value in get_args(hint):
        return value
    if isinstance(hint, types.UnionType) and any(isinstance(value, k) for k in get_args(hint)):
        return value
    raise TypeError(hint)
