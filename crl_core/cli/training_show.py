"""What ``crl train`` shows while a run goes on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from crl_core.errors import InputError

if TYPE_CHECKING:
    from crl_core.training.events import Event

LINES_EVERY_SECONDS = 10.0


def follow(events: Generator[Event, None, None], run: Path, *, tensorboard: bool = False) -> bool:
    """Show a run until its end; returns whether it finished.

    Ctrl+C and a polite kill stop it with its state saved.
    """
    from crl_core.training.events import Finished

    finished = False
    with ExitStack() as stack:
        write = stack.enter_context(_tensorboard(run)) if tensorboard else None
        show = stack.enter_context(_shown())
        stack.enter_context(polite())
        try:
            for event in events:
                finished = isinstance(event, Finished)
                show(event)
                if write is not None:
                    write(event)
        except KeyboardInterrupt:
            typer.echo(f"Stopped; go on with: crl train --resume -o {run}")
        finally:
            events.close()
    return finished


@contextmanager
def polite() -> Iterator[None]:
    """Take a request to end, as the system sends at shut-down, like Ctrl+C."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _shown() -> Iterator[Callable[[Event], None]]:
    """Give what shows an event: a bar below the lines on a terminal, lines elsewhere."""
    lines = EventLines()
    if os.environ.get("RANK", "0") != "0":  # one of several processes speaks for all
        yield lambda event: None
        return
    if not sys.stderr.isatty():
        yield lambda event: _echo(lines.line(event))
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    share, now = TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.fields[now]}")
    with Progress(BarColumn(), share, now, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=1.0, now="")

        def show(event: Event) -> None:
            from crl_core.training.events import Stepped

            if isinstance(event, Stepped):
                now = f"step {event.step:,}  loss {event.loss:.4f}  {_left(event.remaining)} left"
                bar.update(task, completed=event.progress, now=now)
                return
            text = lines.line(event)
            if text:
                bar.console.print(text, markup=False, highlight=False)

        yield show


def _echo(text: str) -> None:
    if text:
        typer.echo(text)


def _left(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


class EventLines:
    """Turns events into lines, not more often than a person reads."""

    def __init__(self) -> None:
        self._shown_at = float("-inf")

    def line(self, event: Event) -> str:
        """Return what to print for an event; empty where nothing is worth saying."""
        from crl_core.training import events
        from crl_core.training.history import line_of

        match event:
            case events.Stepped():
                if event.seconds - self._shown_at < LINES_EVERY_SECONDS:
                    return ""
                self._shown_at = event.seconds
                return (
                    f"step {event.step}  {100 * event.progress:5.1f} %  loss {event.loss:.4f}  "
                    f"rate {event.learning_rate:.2e}  {event.pairs_per_second:.0f} pairs/s  "
                    f"{_left(event.remaining)} left"
                )
            case events.Validated():
                found = ", ".join(f"{n} {v:.2f} dB" for n, v in event.metrics.items())
                return f"step {event.step}  validation: {found}"
            case events.Saved():
                return ""
            case events.Finished():
                return f"Finished after {event.step} steps: {event.path} (step {event.best})"
            case _:
                return line_of(event)[0]


@contextmanager
def _tensorboard(run: Path) -> Iterator[Callable[[Event], None]]:
    """Give what writes events for TensorBoard into ``RUN/tensorboard``."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "TensorBoard is not installed", remedy="Run pip install 'crl-explorer[tensorboard]'"
        ) from None
    from crl_core.training import events

    writer: Any = None

    def write(event: Event) -> None:
        nonlocal writer
        if writer is None:
            writer = SummaryWriter(str(run / "tensorboard"))
        match event:
            case events.Stepped():
                for name, value in {"loss": event.loss, **event.parts}.items():
                    writer.add_scalar(f"loss/{name}", value, event.step)
                writer.add_scalar("learning rate", event.learning_rate, event.step)
                writer.add_scalar("pairs per second", event.pairs_per_second, event.step)
            case events.Validated():
                for name, value in event.metrics.items():
                    writer.add_scalar(f"psnr/{name}", value, event.step)
                for name, value in event.ssim.items():
                    writer.add_scalar(f"ssim/{name}", value, event.step)
            case _:
                pass

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()



