"""Reads a training run's log, previews and settings; for a worker thread, never the window's."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crl_core.checkpoint import read_card
from crl_core.errors import CRLError, InputError
from crl_core.evaluation.metrics import least_squares_gain, reference_peak
from crl_core.geometry import SlicePlane
from crl_core.sequence import SequenceParameters
from crl_core.training import events
from crl_core.training.events import HELD_BACK, Event
from crl_core.training.folder import (
    BEST,
    CONFIG,
    DATA,
    ENVIRONMENT,
    MODEL,
    PREVIEWS,
    STATE,
    Log,
    RunFolder,
)
from crl_core.training.history import History, Series
from crl_viewer.state.training_run import (
    Column,
    Curve,
    LogLine,
    Preview,
    RunReport,
    RunState,
    Slice,
    block_labels,
    duration,
    flattened,
    in_order,
    loss_label,
)
from crl_viewer.state.training_setup import names_of
from crl_viewer.strings import number, parameters_line

MEMORY = 0.97
"""How much of the running average of the loss stays at each point."""

KEPT_LINES = 400

ENOUGH_PROGRESS = 0.02
"""From then on the number of steps of a run by the clock can be told from those done."""

FIXED = "fixed.npz"

LONGEST_FACT, LONGEST_NAME = 80, 18

_SCORES = {
    "validation PSNR, dB": ("PSNR", "dB", 1.0),
    "validation SSIM": ("SSIM", "%", 100.0),
    f"{HELD_BACK}: PSNR, dB": ("PSNR on people trained on", "dB", 1.0),
    f"{HELD_BACK}: SSIM": ("SSIM on people trained on", "%", 100.0),
}
"""Entries of a card's metrics: what they are called here, unit, factor."""

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


class RunReader:
    """Follows one run: each look reads what the log holds more.

    Parameters
    ----------
    path
        The run's folder.

    Raises
    ------
    InputError
        When it holds no run.
    """

    def __init__(self, path: Path) -> None:
        self.folder = RunFolder(path)
        self.folder.check_run()
        self.log = Log(self.folder)
        self.history = History()
        self.previews = PreviewReader(self.folder)
        self.minutes: list[tuple[int, float]] = []
        self._config = self.folder.read_json(CONFIG)
        self._start = _start_name(self.folder.read_json(DATA).get("start"))
        self._curves: dict[str, _Growing] = {}
        self._told = 0.0
        self._rested = False
        self._last: RunState | None = None

    def poll(self) -> RunState | None:
        """Return where the run stands now, or None when nothing has changed."""
        # Whether a process is there is asked first: one that ends in between leaves its last
        # words in the log, and they are read below.
        alive = self.folder.alive()
        told = self.log.poll()
        self.history.take(told)
        self._note_times(told)
        standing = self._standing(alive)
        last = self._last
        if last is not None and not told and standing == last.standing:
            return None
        self._last = self._state(standing, 0 if last is None else last.version + 1)
        return self._last

    def _note_times(self, told: Iterable[tuple[float, Event]]) -> None:
        for time, event in told:
            if isinstance(event, events.Started):
                self._rested = False
                while self.minutes and self.minutes[-1][0] > event.step:
                    self.minutes.pop()
            elif isinstance(event, events.Stepped):
                self._told = time
                self.minutes.append((event.step, event.seconds / 60))

    def _standing(self, alive: bool) -> Any:
        """Add to the log's word whether anybody is at work.

        A process that comes to a run at rest first reads its data; one that has just said its
        last word takes a moment to go.
        """
        standing = self.history.standing
        self._rested = self._rested or not alive
        if alive and (self._rested or standing == "empty"):
            return "starting"
        if not alive and standing in ("running", "paused"):
            return "interrupted"
        return standing

    def _state(self, standing: Any, version: int) -> RunState:
        history, last, started = self.history, self.history.last, self.history.started
        remaining = last.remaining if last is not None else 0.0
        best = history.best
        return RunState(
            folder=self.folder.path,
            network=str(self._config.get("preset", "")),
            start=self._start,
            standing=standing,
            step=history.step,
            total=self._total(standing),
            by_time=self._config.get("minutes") is not None,
            progress=1.0 if standing == "finished" else last.progress if last is not None else 0.0,
            seconds=last.seconds if last is not None else started.seconds if started else 0.0,
            remaining=remaining,
            ends=self._told + remaining if remaining > 0 else 0.0,
            pairs_per_second=last.pairs_per_second if last is not None else 0.0,
            busy_percent=last.busy_percent if last is not None else 0.0,
            memory_mb=last.memory_mb if last is not None else 0.0,
            device=started.device if started is not None else "",
            precision=started.precision if started is not None else "",
            data=started.data if started is not None else "",
            validated_on=started.validated_on if started is not None else "",
            failure=history.failure,
            has_network=self.folder.newest_network() is not None,
            saved_step=history.saves[-1] if history.saves else None,
            best_step=best.step if best is not None else None,
            best_score=best.score if best is not None else math.nan,
            loss=self._set("loss", history.loss, loss_label, averaged=True),
            psnr=self._set("psnr", history.psnr, block_labels(history.psnr).get),
            ssim=self._set("ssim", history.ssim, block_labels(history.ssim).get),
            rate=self._set("rate", {"rate": history.rate}, lambda _: "learning rate"),
            pace=self._set("pace", {"pace": history.pace}, lambda _: "pairs per second"),
            previews=tuple(sorted(set(self.folder.preview_steps()) & set(history.previews))),
            lines=tuple(_line(*line) for line in history.lines[-KEPT_LINES:]),
            version=version,
        )

    def _total(self, standing: Any) -> int:
        """Return how many steps it will be; 0 where that cannot be known yet.

        Where the clock ends a run its settings hold a number of steps that is out of reach; how
        many it will be is seen from those done so far.
        """
        history, last = self.history, self.history.last
        if standing == "finished":
            return history.step
        if self._config.get("minutes") is None:
            return history.started.total if history.started is not None else 0
        if last is None or last.progress < ENOUGH_PROGRESS:
            return 0
        return max(history.step, _rounded(history.step / last.progress))

    def _set(
        self, group: str, series: Mapping[str, Series], label: Any, *, averaged: bool = False
    ) -> tuple[Curve, ...]:
        found = []
        for name in in_order(series):
            if series[name].steps:
                growing = self._curves.setdefault(f"{group} {name}", _Growing(averaged))
                found.append(growing.curve(name, label(name), series[name]))
        return tuple(found)


def _start_name(start: object) -> str:
    """Return what to call the network a run went on from: its name, or that of its file."""
    if not isinstance(start, str) or not start:
        return ""
    path = Path(start)
    # A network that lies in a run's folder is called like the run.
    return path.parent.name if path.name in (MODEL, STATE, BEST) else path.stem


def _rounded(steps: float) -> int:
    """Return a number of steps with two digits that count, so that it stands still for a while.

    >>> _rounded(2137.0), _rounded(48.2)
    (2100, 48)
    """
    digits = max(0, math.floor(math.log10(max(1.0, steps))) - 1)
    return int(round(steps, -digits))


def _line(time: float, text: str, loud: bool) -> LogLine:
    """Return a line with its numbers written as the window writes them."""
    return LogLine(time, _THOUSANDS.sub("\N{THIN SPACE}", text), loud)


class _Growing:
    """Keeps a curve as arrays that grow, so that a long log is not gone through at each look."""

    def __init__(self, averaged: bool) -> None:
        self._rows = np.empty((3, 256))
        self._count = 0
        self._averaged = averaged
        self._sums = (0.0, 0.0)

    def curve(self, name: str, label: str, series: Series) -> Curve:
        """Return the curve of a series that may have grown, or have been cut and grown anew."""
        count = self._count
        if count > len(series.steps) or (count and self._rows[0, count - 1] != self._at(series)):
            self._count, self._sums = 0, (0.0, 0.0)
        for k in range(self._count, len(series.steps)):
            self._add(series.steps[k], series.values[k])
        # Rows below the count are never written to again; a cut starts with fresh ones.
        x, y, smooth = self._rows[:, : self._count]
        return Curve(name, label, x, y, smooth if self._averaged else None)

    def _at(self, series: Series) -> float:
        return float(series.steps[self._count - 1])

    def _add(self, step: int, value: float) -> None:
        at = self._count
        if at == 0 or at == self._rows.shape[1]:
            larger = np.empty((3, max(256, 2 * at)))
            larger[:, :at] = self._rows[:, :at]
            self._rows = larger
        total, weight = self._sums
        if math.isfinite(value):
            total, weight = MEMORY * total + (1 - MEMORY) * value, MEMORY * weight + 1 - MEMORY
            self._sums = (total, weight)
        self._rows[:, at] = (step, value, total / weight if weight else value)
        self._count += 1


# pictures --------------------------------------------------------------------------------------


class PreviewReader:
    """Turns the arrays of a preview into slices to show.

    Parameters
    ----------
    folder
        The run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._fixed: dict[str, NDArray[Any]] = {}

    def read(self, step: int) -> Preview:
        """Read the preview of a step.

        Raises
        ------
        InputError
            When its file is missing or damaged.
        """
        if not self._fixed:
            self._fixed = arrays_of(
                self._folder / PREVIEWS / FIXED,
                ("targets", "mask", "parameters", "source_parameters", "held", "names", "about"),
                optional=("affine", "axis"),
            )
        path = self._folder.preview_path(step)
        made = arrays_of(path, ("images", "psnr", "ssim"))
        if made["images"].shape != self._fixed["targets"].shape:
            raise InputError("does not belong to this run's slices", path=path)
        count = len(self._fixed["about"])
        return Preview(step, tuple(self._slice(made, n) for n in range(count)))

    def _slice(self, made: Mapping[str, NDArray[Any]], n: int) -> Slice:
        fixed = self._fixed
        mask = fixed["mask"][n].astype(bool)
        window = _head(mask)
        names = _short_names([str(v) for v in fixed["names"][n]], fixed["parameters"][n])
        affine = fixed["affine"][n] if "affine" in fixed else np.eye(4)
        axis = int(fixed["axis"][n]) if "axis" in fixed else 2
        turn = partial(_shown, affine=affine, axis=axis, window=window)
        columns = tuple(
            self._column(made, n, t, name, mask, turn)
            for t, name in enumerate(names)
            if name
        )
        return Slice(str(fixed["about"][n]), _setting(fixed["source_parameters"][n]), columns)

    def _column(
        self,
        made: Mapping[str, NDArray[Any]],
        n: int,
        t: int,
        name: str,
        mask: NDArray[np.bool_],
        turn: Callable[[NDArray[Any]], NDArray[np.float32]],
    ) -> Column:
        fixed = self._fixed
        image = made["images"][n, t].astype(np.float32)
        target = fixed["targets"][n, t].astype(np.float32)
        # One value that is no number must not blank the whole row.
        image = np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)
        peak, gain = _peak(target, mask), _gain(image, target, mask)
        error = np.where(mask, (image * gain - target) * (100 / peak), np.nan)
        return Column(
            name=name,
            setting=_setting(fixed["parameters"][n, t]),
            held=bool(fixed["held"][n, t]),
            psnr=float(made["psnr"][n, t]),
            ssim=float(made["ssim"][n, t]),
            made=turn(image * (gain / peak)),
            target=turn(target / peak),
            error=turn(error),
        )


def _short_names(names: list[str], parameters: NDArray[Any]) -> list[str]:
    """Return names that fit above a picture; long ones give way to what tells settings apart."""
    there = [i for i, name in enumerate(names) if name]
    if all(len(names[i]) <= LONGEST_NAME for i in there):
        return names
    suffixes = [names[i].split()[-1] for i in there]
    triples = [(float(tr), float(te), float(ti)) for tr, te, ti in parameters[there]]
    short = dict(zip(there, names_of(triples, suffixes), strict=True))
    return [short.get(i, "") for i in range(len(names))]


def arrays_of(
    path: Path, names: Iterable[str], optional: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:
    """Read arrays of a preview; those that are optional only where they are there.

    Raises
    ------
    InputError
        When the file is missing or damaged.
    """
    try:
        # Opened here, because numpy leaves a file it cannot read open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as found:
            there = [name for name in optional if name in found]
            return {name: found[name] for name in (*names, *there)}
    except FileNotFoundError:
        raise InputError("the preview is not there any more", path=path) from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError("the preview cannot be read", path=path) from error


def _peak(target: NDArray[np.float32], mask: NDArray[np.bool_]) -> np.float32:
    try:
        return np.float32(reference_peak(target, mask) or 1.0)
    except CRLError:
        return np.float32(1.0)


def _gain(
    image: NDArray[np.float32], target: NDArray[np.float32], mask: NDArray[np.bool_]
) -> np.float32:
    try:
        gain = least_squares_gain(image, target, mask)
    except CRLError:
        gain = 1.0
    return np.float32(gain if math.isfinite(gain) and gain > 0 else 1.0)


def _shown(
    image: NDArray[Any], affine: NDArray[Any], axis: int, window: tuple[slice, slice]
) -> NDArray[np.float32]:
    """Cut a slice to the head and turn it as the panes of the main window do."""
    part = image[window]
    shape = [*part.shape]
    shape.insert(axis, 1)
    plane = SlicePlane(affine, (shape[0], shape[1], shape[2]), axis)
    return np.ascontiguousarray(plane.to_display(part), dtype=np.float32)


def _head(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the head with some air around it, in array order."""
    if not mask.any():
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    edges = []
    for axis in (0, 1):
        inside = np.flatnonzero(mask.any(axis=1 - axis))
        air = max(2, round(0.04 * (inside[-1] - inside[0])))
        edges.append(slice(max(0, inside[0] - air), min(mask.shape[axis], inside[-1] + air + 1)))
    return edges[0], edges[1]


def _setting(times: NDArray[Any]) -> str:
    try:
        return parameters_line(SequenceParameters(*(float(v) for v in times)))
    except CRLError:
        return ""


# runs beside each other ------------------------------------------------------------------------


def read_report(path: Path) -> RunReport:
    """Read a whole run for comparing; one that cannot be read says so in the report."""
    try:
        reader = RunReader(path)
        state = reader.poll() or RunState(path)
        groups = {
            "Settings": flattened(_as_planned(reader.folder.read_json(CONFIG))),
            "Data": flattened(reader.folder.read_json(DATA)),
            "Machine": flattened(reader.folder.read_json(ENVIRONMENT)),
        }
        points = np.array(reader.minutes, dtype=float).reshape(-1, 2)
        facts = _facts(reader.folder / MODEL)
    except (CRLError, OSError) as refusal:
        return RunReport(RunState(path), refusal=str(refusal))
    return RunReport(state, (points[:, 0], points[:, 1]), groups, facts)


def _as_planned(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without the number of steps where the clock decides: it is out of reach."""
    timed = config.get("minutes") is not None
    return {k: "as many as fit" if timed and k == "steps" else v for k, v in config.items()}


def _facts(path: Path) -> tuple[tuple[str, str], ...]:
    """Return the chief facts of a finished model's card."""
    if not path.is_file():
        return ()
    card = read_card(path)
    rows = [("Name", card.name), ("Network", card.preset)]
    if card.in_plane_mm:
        rows.append(("Pixel", f"{card.in_plane_mm:.3g} mm"))
    coverage = card.coverage
    rows.append(("Trained on", f"{number(len(coverage.points))} settings, {coverage.data}"))
    if coverage.held_out:
        rows.append(("Held back", f"{number(len(coverage.held_out))} settings"))
    # The settings stand in the table; what is left is what the run came to.
    training = {k: v for k, v in card.training.items() if not isinstance(v, dict)}
    hours = training.pop("hours", None)
    if isinstance(hours, int | float):
        training["time"] = duration(3600 * hours)
    metrics = dict(card.metrics)
    scores = [_score_rows(metrics.pop(name, None), *words) for name, words in _SCORES.items()]
    for name, value in (flattened(training) | flattened(metrics)).items():
        if len(value) < LONGEST_FACT:
            rows.append((f"{name[:1].upper()}{name[1:]}", value))
    return (*rows, *chain(*scores), ("Note", card.note), ("SHA-256", card.sha256[:16]))


def _score_rows(values: object, name: str, unit: str, factor: float) -> list[tuple[str, str]]:
    """Return a row for each block of the validation."""
    if not isinstance(values, dict):
        return []
    names = block_labels(values)
    return [
        (f"{name}, {names[block]}", f"{factor * values[block]:.1f} {unit}")
        for block in in_order(values)
        if isinstance(values[block], int | float)
    ]
