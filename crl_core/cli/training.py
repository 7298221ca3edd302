"""``crl train``: train a network on a dataset or on digital subjects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crl_core.cli.common import check_device, find_checkpoint, refuse_missing

if TYPE_CHECKING:
    from crl_core.training.config import TrainingConfig
    from crl_core.training.events import Event

LINES_EVERY_SECONDS = 10.0


def train(
    datasets: Annotated[
        list[Path],
        typer.Argument(metavar="DATASET", help="BIDS datasets; label maps with --digital."),
    ],
    run: Annotated[Path, typer.Option("-o", "--output", metavar="RUN", help="Folder of the run.")],
    preset: Annotated[str | None, typer.Option(help="Network, such as crl-small.")] = None,
    config: Annotated[Path | None, typer.Option(help="JSON file of training settings.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Number of steps.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Stop when this time is used up.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random choice.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in RUN.")] = False,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="CHECKPOINT", help="Trained network to go on from."),
    ] = None,
    digital: Annotated[
        bool, typer.Option("--digital", help="Simulate fresh subjects from label maps.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps; best by default.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare data.")] = 1,
) -> None:
    """Train a network.

    Datasets are checked first, as crl check does; errors stop before anything is written.
    Ctrl+C stops it with its state saved; --resume goes on from there.
    """
    changes = {"preset": preset, "steps": steps, "minutes": minutes, "seed": seed}
    given = {name: value for name, value in changes.items() if value is not None}
    if resume and (given or config is not None):
        raise typer.BadParameter("a resumed run keeps its settings", param_hint="--resume")
    if resume and start is not None:
        raise typer.BadParameter("a resumed run goes on from its own state", param_hint="--from")
    settings = _settings(run, config, given, resume)
    refuse_missing(datasets)
    check_device(device)
    if not digital:
        from crl_core.cli.checking import refuse_unmended

        refuse_unmended(datasets)
    _run(datasets, run, settings, resume, start, digital, device, workers)


def _settings(
    run: Path, config: Path | None, given: dict[str, Any], resume: bool
) -> TrainingConfig:
    from crl_core.training.config import TrainingConfig

    if resume:
        return TrainingConfig.load(run / "config.json")
    chosen = TrainingConfig() if config is None else TrainingConfig.load(config)
    return replace(chosen, **given)


def _run(
    datasets: list[Path],
    run: Path,
    settings: TrainingConfig,
    resume: bool,
    start: str | None,
    digital: bool,
    device: str | None,
    workers: int,
) -> None:
    from crl_core.checkpoint import load_checkpoint
    from crl_core.training.data import open_digital, open_subjects
    from crl_core.training.loop import train as train_events

    open_data = open_digital if digital else open_subjects
    sampler, validation = open_data(datasets, settings)
    events = train_events(
        settings,
        sampler,
        validation,
        run,
        resume=resume,
        start=None if start is None else load_checkpoint(find_checkpoint(start)).model,
        device=device or _best_device(),
        workers=workers,
    )
    show = EventLines()
    try:
        for event in events:
            line = show.line(event)
            if line:
                typer.echo(line)
    except KeyboardInterrupt:
        typer.echo(f"Stopped; go on with --resume -o {run}")
    finally:
        events.close()


class EventLines:
    """Turns events into lines, not more often than a person reads."""

    def __init__(self) -> None:
        self._shown_at = float("-inf")

    def line(self, event: Event) -> str:
        """Return what to print for an event; empty where nothing is worth saying."""
        from crl_core.training import events

        match event:
            case events.Started(step, data, n_parameters):
                return f"From step {step}: {n_parameters:,} parameters, {data}"
            case events.Stepped(step, progress, loss, _, rate, seconds):
                if seconds - self._shown_at < LINES_EVERY_SECONDS:
                    return ""
                self._shown_at = seconds
                return (
                    f"step {step}  {100 * progress:5.1f} %  loss {loss:.4f}  "
                    f"rate {rate:.2e}  {seconds / 60:.1f} min"
                )
            case events.Validated(step, metrics):
                found = ", ".join(f"{name} {value:.2f} dB" for name, value in metrics.items())
                return f"step {step}  validation: {found}"
            case events.Skipped(step, text):
                return f"step {step}  {text}"
            case events.Finished(step, path):
                return f"Finished after {step} steps: {path}"
            case _:
                return ""


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
