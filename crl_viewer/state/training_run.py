"""What the training dialog shows of a run, as values. No Qt, no files.

The arrays belong to whoever reads them last: a state is made off the GUI thread, handed over
once and never written to again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crl_viewer.strings import number

Standing = Literal[
    "empty", "starting", "running", "paused", "stopped", "finished", "failed", "interrupted"
]
"""As the log has it; ``"interrupted"`` is a run that says nothing of an end and has no process."""

AT_WORK = ("starting", "running", "paused")

FloatArray = NDArray[np.float64]

NOTHING: FloatArray = np.zeros(0)
NOTHING.setflags(write=False)


@dataclass(frozen=True, eq=False)
class Curve:
    """One curve.

    Parameters
    ----------
    name
        Its key in the log.
    label
        What to call it.
    x, y
        Points, x rising.
    smooth
        A running average of `y`, or None where the points themselves are to be drawn.
    """

    name: str
    label: str
    x: FloatArray = field(default_factory=lambda: NOTHING)
    y: FloatArray = field(default_factory=lambda: NOTHING)
    smooth: FloatArray | None = None

    @property
    def shown(self) -> FloatArray:
        """What is read out: the average where there is one."""
        return self.y if self.smooth is None else self.smooth

    def at(self, x: float) -> float:
        """Return the value at the last point not beyond `x`; NaN before the first."""
        index = int(np.searchsorted(self.x, x, side="right")) - 1
        return float(self.shown[index]) if index >= 0 else math.nan


@dataclass(frozen=True)
class LogLine:
    """One line of the log; `loud` ones are warnings."""

    time: float
    text: str
    loud: bool = False


@dataclass(frozen=True, eq=False)
class RunState:
    """Where a run stands and everything it told.

    Parameters
    ----------
    folder
        Where it lies.
    network, start
        Name of the preset it trains, and of the network it went on from, if any.
    total, by_time
        Steps planned; where the run is planned by time an estimate, 0 until there is one.
    ends
        When it will be done, seconds since 1970; 0 where nobody knows.
    has_network
        Whether there is a network to try or use.
    saved_step
        When the network was last written.
    previews
        Steps with pictures, ascending.
    version
        Rises with every change of the log.
    """

    folder: Path
    network: str = ""
    start: str = ""
    standing: Standing = "empty"
    step: int = 0
    total: int = 0
    by_time: bool = False
    progress: float = 0.0
    seconds: float = 0.0
    remaining: float = 0.0
    ends: float = 0.0
    pairs_per_second: float = 0.0
    busy_percent: float = 0.0
    memory_mb: float = 0.0
    device: str = ""
    precision: str = ""
    data: str = ""
    validated_on: str = ""
    failure: str = ""
    has_network: bool = False
    saved_step: int | None = None
    best_step: int | None = None
    best_score: float = math.nan
    loss: tuple[Curve, ...] = ()
    psnr: tuple[Curve, ...] = ()
    ssim: tuple[Curve, ...] = ()
    rate: tuple[Curve, ...] = ()
    pace: tuple[Curve, ...] = ()
    previews: tuple[int, ...] = ()
    lines: tuple[LogLine, ...] = ()
    version: int = 0

    @property
    def at_work(self) -> bool:
        """Whether a process is at work on it."""
        return self.standing in AT_WORK

    @property
    def span(self) -> int:
        """Steps that the x axes span."""
        return max(self.total, self.step, 1)


# pictures --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Column:
    """One target of a preview.

    Parameters
    ----------
    name, setting
        What it is called, and its TR, TE and TI.
    held
        Whether nobody trains on that setting.
    psnr, ssim
        dB, and -1 to 1; NaN where nothing was measured.
    made, target
        (rows, columns) as on the screen, 0 black to 1 white.
    error
        Synthesised minus acquired after one gain, percent of the range; NaN outside the head.
    """

    name: str
    setting: str
    held: bool
    psnr: float
    ssim: float
    made: NDArray[np.float32]
    target: NDArray[np.float32]
    error: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Slice:
    """One fixed slice of a preview; `source` names what it was made from."""

    about: str
    source: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, eq=False)
class Preview:
    """The fixed slices as the network of one step makes them."""

    step: int
    slices: tuple[Slice, ...]


# runs beside each other ------------------------------------------------------------------------


@dataclass(frozen=True)
class KnownRun:
    """A run that can be looked at again; `when` is in seconds since 1970."""

    folder: Path
    name: str
    when: float = 0.0


@dataclass(frozen=True, eq=False)
class RunReport:
    """One run to be compared.

    Parameters
    ----------
    state
        What it told.
    minutes
        (steps, minutes used by then).
    settings
        Group ("Settings", "Data", "Machine") to names and values as text.
    facts
        (name, value) from the card of the finished model; empty where there is none.
    refusal
        Why it cannot be shown, in one line; the rest is empty then.
    """

    state: RunState
    minutes: tuple[FloatArray, FloatArray] = (NOTHING, NOTHING)
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    facts: tuple[tuple[str, str], ...] = ()
    refusal: str = ""

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.state.folder.name

    def over_time(self, curve: Curve) -> Curve:
        """Return a curve against minutes instead of steps."""
        steps, minutes = self.minutes
        if not len(steps):
            return Curve(curve.name, curve.label)
        x = np.interp(curve.x, steps, minutes)
        return Curve(curve.name, curve.label, x, curve.y, curve.smooth)


@dataclass(frozen=True)
class CompareRow:
    """One row of the table: a value of every run, and whether they differ."""

    group: str
    name: str
    values: tuple[str, ...]
    differs: bool


def outcome_rows(reports: Sequence[RunReport]) -> list[CompareRow]:
    """Return what came of each run."""
    columns = [_outcome(report.state) for report in reports]
    names = columns[0].keys() if columns else ()
    return [_row("Outcome", name, [c[name] for c in columns]) for name in names]


def setting_rows(reports: Sequence[RunReport], *, every: bool = False) -> list[CompareRow]:
    """Return the settings that differ between runs, or all of them.

    Parameters
    ----------
    reports
        The runs, in the order of the columns.
    every
        Whether rows that are equal belong to it too. With one run all do.
    """
    rows = []
    for group in dict.fromkeys(g for r in reports for g in r.settings):
        tables = [r.settings.get(group, {}) for r in reports]
        for name in dict.fromkeys(n for t in tables for n in t):
            row = _row(group, name, [t.get(name, "\N{EN DASH}") for t in tables])
            if every or row.differs or len(reports) == 1:
                rows.append(row)
    return rows


def flattened(values: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Return nested plain values as one level of names and texts.

    >>> flattened({"learning_rate": 0.001, "architecture": {"width": 64}})
    {'learning rate': '0.001', 'architecture, width': '64'}
    """
    found: dict[str, str] = {}
    for key, value in values.items():
        name = f"{before}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            found.update(flattened(value, f"{name}, "))
        else:
            found[name] = plain_text(value)
    return found


def plain_text(value: Any) -> str:
    """Write a value of a settings file as one reads it."""
    if value is None or value == "" or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return number(value)
    if isinstance(value, float):
        return number(value) if value.is_integer() and abs(value) >= 1 else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(plain_text(v) if not isinstance(v, list) else
                         " / ".join(plain_text(w) for w in v) for v in value)  # fmt: skip
    return str(value)


def _row(group: str, name: str, values: Iterable[str]) -> CompareRow:
    kept = tuple(values)
    return CompareRow(group, name, kept, len(set(kept)) > 1)


def _outcome(state: RunState) -> dict[str, str]:
    known = state.best_step is not None
    none = "none yet" if state.at_work else "none"
    return {
        "best score": f"{state.best_score:.2f} dB" if known else none,
        "at step": number(state.best_step or 0) if known else none,
        "steps": number(state.step),
        "time": duration(state.seconds),
        "device": state.device or "not known",
        "standing": STANDING[state.standing].lower(),
    }


# words -----------------------------------------------------------------------------------------

STANDING: Mapping[Standing, str] = {
    "empty": "No run",
    "starting": "Starting",
    "running": "Running",
    "paused": "Paused",
    "stopped": "Stopped",
    "finished": "Finished",
    "failed": "Failed",
    "interrupted": "Interrupted",
}

_LABELS = {"loss": "total", "l1": "L1", "air": "L1 in air"}
_FIRST = ("loss", "l1", "L1", "seen")


def loss_label(name: str) -> str:
    """Return what to call a part of the loss."""
    return _LABELS.get(name.lower(), name.replace("_", " "))


def block_label(name: str) -> str:
    """Return what to call a block of the validation; held-back settings carry a diamond.

    >>> block_label("to TR 8000 TE 50"), block_label("from 2")
    ('◇ TR 8000 TE 50', '2 sources')
    """
    if name.startswith("from "):
        return f"{name.removeprefix('from ')} sources"
    return f"◇ {name.removeprefix('to ')}" if name.startswith("to ") else name


def block_labels(names: Iterable[str]) -> dict[str, str]:
    """Return what to call blocks beside each other: what held-back settings share is left out.

    >>> block_labels(["seen", "to TR 8000 TE 50", "to TR 8000 TE 90"])
    {'seen': 'seen', 'to TR 8000 TE 50': '◇ TE 50', 'to TR 8000 TE 90': '◇ TE 90'}
    """
    names = list(names)
    held = [n.split()[1:] for n in names if n.startswith("to ")]
    times = [dict(zip(words[::2], words[1::2], strict=False)) for words in held]
    shared = {
        key for key in ("TR", "TI") if len(times) > 1 and len({one.get(key) for one in times}) == 1
    }
    found = {}
    for name in names:
        words = name.split()[1:]
        pairs = zip(words[::2], words[1::2], strict=False)
        short = " ".join(f"{k} {v}" for k, v in pairs if k not in shared)
        found[name] = f"◇ {short}" if name.startswith("to ") and short else block_label(name)
    return found


def in_order(names: Iterable[str]) -> list[str]:
    """Return names of curves with the chief one first and `identity`, which says least, last."""

    def place(name: str) -> tuple[int, int]:
        chief = _FIRST.index(name) if name in _FIRST else len(_FIRST)
        return (chief, int(name == "identity"))

    return sorted(names, key=place)


def duration(seconds: float) -> str:
    """Write a duration in the two largest units that matter.

    >>> duration(3870), duration(750), duration(42)
    ('1 h 04 min', '12 min 30 s', '42 s')
    """
    if not math.isfinite(seconds) or seconds < 0:
        return "\N{EN DASH}"
    whole = round(seconds)
    if whole >= 3600:
        minutes = round(seconds / 60)
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def time_left(state: RunState, now: float | None = None) -> str:
    """Say how long a run has still to go and when it ends, or how it stands."""
    if state.standing == "running" and state.remaining > 0:
        left = _coarse(state.remaining)
        return f"{left} left, ends {clock_time(state.ends, now)}" if state.ends else f"{left} left"
    used = f"after {duration(state.seconds)}" if state.seconds > 0 else ""
    said = {"running": "Almost done", "starting": "Starting…", "empty": ""}
    if state.standing in said:
        return said[state.standing] if state.step or state.standing != "running" else "Starting…"
    return f"{STANDING[state.standing]} {used}".strip()


def _coarse(seconds: float) -> str:
    """Write a duration that is only an estimate: no seconds once minutes count."""
    return duration(seconds) if seconds < 60 or seconds >= 3600 else f"{round(seconds / 60)} min"


def clock_time(moment: float, now: float | None = None) -> str:
    """Write a moment as a time of day, with the day when it is not today."""
    there, here = time.localtime(moment), time.localtime(now)
    text = time.strftime("%H:%M", there)
    return text if there[:3] == here[:3] else f"{time.strftime('%a', there)} {text}"


def step_words(state: RunState) -> str:
    """Say how many of the steps are done."""
    if not state.total:
        return f"Step {number(state.step)}" if state.step else ""
    about = "about " if state.by_time and state.standing not in ("finished",) else ""
    return f"Step {number(state.step)} of {about}{number(state.total)}"


def memory_text(megabytes: float) -> str:
    """Write an amount of memory.

    >>> memory_text(6120), memory_text(480)
    ('6.1 GB', '480 MB')
    """
    if megabytes <= 0:
        return "\N{EN DASH}"
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.0f} MB"
