"""What a run's log comes to: curves, marks and where the run stands. No torch, no Qt."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from crl_core.training import events
from crl_core.training.events import Event
from crl_core.training.folder import Log, RunFolder

Standing = Literal["empty", "running", "paused", "stopped", "finished", "failed"]


@dataclass
class Series:
    """Points of one curve, in the order of the steps."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, step: int, value: float) -> None:
        """Append a point."""
        self.steps.append(step)
        self.values.append(value)

    def cut(self, step: int) -> None:
        """Forget what lies after `step`."""
        while self.steps and self.steps[-1] > step:
            self.steps.pop()
            self.values.pop()

    def smoothed(self, memory: float = 0.9) -> list[float]:
        """Return a running average without the drag of its first value."""
        total, weight, result = 0.0, 0.0, []
        for value in self.values:
            if value == value:
                total = memory * total + (1 - memory) * value
                weight = memory * weight + (1 - memory)
            result.append(total / weight if weight else value)
        return result


@dataclass
class History:
    """Everything a run has told.

    A run that was killed goes on from its last saved step; what it had told of later steps is
    forgotten here when it does.
    """

    started: events.Started | None = None
    last: events.Stepped | None = None
    loss: dict[str, Series] = field(default_factory=dict)
    psnr: dict[str, Series] = field(default_factory=dict)
    ssim: dict[str, Series] = field(default_factory=dict)
    rate: Series = field(default_factory=Series)
    pace: Series = field(default_factory=Series)
    saves: list[int] = field(default_factory=list)
    previews: list[int] = field(default_factory=list)
    best: events.Improved | None = None
    lines: list[tuple[float, str, bool]] = field(default_factory=list)
    standing: Standing = "empty"
    finished: events.Finished | None = None
    failure: str = ""

    @classmethod
    def read(cls, folder: str | Path) -> History:
        """Read the whole log of a run."""
        history = cls()
        history.take(Log(RunFolder(folder)).poll())
        return history

    def take(self, told: Iterable[tuple[float, Event]]) -> None:
        """Add what came since."""
        for time, event in told:
            self._take(time, event)

    @property
    def step(self) -> int:
        """The last step told of."""
        if self.last is not None:
            return self.last.step
        return self.started.step if self.started is not None else 0

    def _take(self, time: float, event: Event) -> None:
        match event:
            case events.Started():
                self._start(event)
            case events.Stepped():
                self._step(event)
            case events.Validated():
                for name, value in event.metrics.items():
                    self.psnr.setdefault(name, Series()).add(event.step, value)
                for name, value in event.ssim.items():
                    self.ssim.setdefault(name, Series()).add(event.step, value)
            case events.Previewed():
                self.previews.append(event.step)
            case events.Saved():
                self.saves.append(event.step)
            case events.Improved():
                self.best = event
            case events.Paused():
                self.standing = "paused"
            case events.Continued():
                self.standing = "running"
            case events.Stopped():
                self.standing = "stopped"
            case events.Finished():
                self.standing, self.finished = "finished", event
            case events.Failed():
                self.standing, self.failure = "failed", event.text
            case _:
                pass
        words, loud = line_of(event)
        if words:
            self.lines.append((time, words, loud))

    def _start(self, event: events.Started) -> None:
        self.started, self.standing, self.failure = event, "running", ""
        self.finished = None
        curves = [*self.loss.values(), *self.psnr.values(), *self.ssim.values()]
        for series in [*curves, self.rate, self.pace]:
            series.cut(event.step)
        self.saves = [s for s in self.saves if s <= event.step]
        self.previews = [s for s in self.previews if s <= event.step]
        if self.last is not None and self.last.step > event.step:
            self.last = None

    def _step(self, event: events.Stepped) -> None:
        self.last, self.standing = event, "running"
        for name, value in {"loss": event.loss, **event.parts}.items():
            self.loss.setdefault(name, Series()).add(event.step, value)
        self.rate.add(event.step, event.learning_rate)
        if event.pairs_per_second > 0:
            self.pace.add(event.step, event.pairs_per_second)


def line_of(event: Event) -> tuple[str, bool]:
    """Return one sentence for the log of a window or terminal, and whether it is a warning."""
    match event:
        case events.Started(step=0):
            return f"Started: {event.n_parameters:,} parameters, {event.data}.", False
        case events.Started():
            return f"Going on from step {event.step:,}.", False
        case events.Saved():
            return f"State saved at step {event.step:,}.", False
        case events.Improved():
            return f"Best so far at step {event.step:,}: {event.score:.2f} dB.", False
        case events.Skipped() | events.Noted():
            loud = not (isinstance(event, events.Noted) and event.level == "note")
            return event.text, loud
        case events.Paused():
            return f"Paused at step {event.step:,}; kept in memory.", False
        case events.Continued():
            return f"Continued at step {event.step:,}.", False
        case events.Stopped():
            return f"Stopped at step {event.step:,}; the state is saved.", False
        case events.Finished():
            return f"Finished: {event.path.name} holds step {event.best:,}.", False
        case events.Failed():
            return event.text, True
        case _:
            return "", False
