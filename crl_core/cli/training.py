"""``crl train``: train a network on a dataset or on digital subjects."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crl_core.cli.common import check_device, find_checkpoint, notice, refuse_missing, table
from crl_core.cli.training_show import follow
from crl_core.errors import CRLError

if TYPE_CHECKING:
    from crl_core.checkpoint import Checkpoint
    from crl_core.training.config import TrainingConfig
    from crl_core.training.data_config import DataConfig
    from crl_core.training.plan import Estimate

STOPPED = 3
"""Exit code of a run that ended before its time with its state saved."""


def train(
    datasets: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DATASET", help="BIDS datasets; label maps with --digital."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="RUN", help="Folder of the run.")
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(help="quick, time (with --minutes), paper, or fine-tune (with --from)."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Time to use; size and schedule are planned for it.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Network, such as crl-small.")] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="CHECKPOINT", help="Trained network to go on from."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Number of steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random choice.")] = None,
    config: Annotated[Path | None, typer.Option(help="JSON file of training settings.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="JSON file that says what to learn from, as data.json.")
    ] = None,
    hold_back: Annotated[
        list[str] | None,
        typer.Option(metavar="TR,TE,TI", help="A setting never trained on; several times."),
    ] = None,
    validate: Annotated[
        list[str] | None, typer.Option(metavar="sub-01", help="A person to validate on.")
    ] = None,
    test: Annotated[
        list[str] | None, typer.Option(metavar="sub-01", help="A person who is never touched.")
    ] = None,
    digital: Annotated[
        bool, typer.Option("--digital", help="Simulate fresh subjects from label maps.")
    ] = False,
    rehearse_on: Annotated[
        list[Path] | None,
        typer.Option(metavar="LABELS", help="A label map to rehearse on; several times."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in RUN.")] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="Have RUN write its finished network now.")
    ] = False,
    pause: Annotated[bool, typer.Option("--pause", help="Have RUN wait in memory.")] = False,
    go_on: Annotated[bool, typer.Option("--continue", help="End a pause of RUN.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Have RUN save its state and end.")] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Measure and say what it would take; no training.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the estimate as JSON.")] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write TensorBoard event files into RUN.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps; best by default.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that prepare data.")] = 1,
) -> None:
    """Train a network, or steer a training in another terminal.

    Datasets are checked first, as crl check does; errors stop before anything is written.
    Ctrl+C stops with the state saved; --resume goes on from there, also after a crash.
    Exit codes: 0 finished, 1 refused or failed, 2 wrong usage, 3 stopped early with its state
    saved.
    """
    # Threads that wait for each other must not keep a processor busy: beside a window, or another
    # training, that costs more than it gains. Read when torch is imported, so it is set before.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    asked = {"pause": pause, "continue": go_on, "stop": stop, "finish": finish}
    commands = [name for name, wanted in asked.items() if wanted]
    if len(commands) > 1:
        raise typer.BadParameter(f"choose one of --{' and --'.join(commands)}")
    if run is None and not estimate:
        raise typer.BadParameter("name the folder of the run", param_hint="-o")
    if commands:
        assert run is not None
        _steer(run, commands[0])
        return
    changes = {"preset": preset, "steps": steps, "seed": seed}
    given = {name: value for name, value in changes.items() if value is not None}
    if resume:
        fixed = (*given.values(), config, data, plan, minutes, start, hold_back, validate, test,
                 rehearse_on)  # fmt: skip
        if any(value is not None for value in fixed):
            raise typer.BadParameter("a resumed run keeps its settings", param_hint="--resume")
    _check_plan(plan, minutes, steps)
    check_device(device)
    device = device or _best_device()
    if resume:
        assert run is not None
        _resume(run, datasets or [], device, workers, tensorboard)
        return
    source = _source(datasets or [], data, digital, start, hold_back, validate, test,
                     rehearse_on)  # fmt: skip
    settings = _settings(config, given)
    network = None if source.start is None else _network(source.start)
    if run is not None and not estimate:
        from crl_core.training.folder import RunFolder

        RunFolder(run).check_free()
    _examine(source, as_json)
    _begin(run, plan, settings, source, network, minutes, device, workers, tensorboard,
           estimate_only=estimate, as_json=as_json)  # fmt: skip


# what is asked ----------------------------------------------------------------------------------


def _check_plan(plan: str | None, minutes: float | None, steps: int | None) -> None:
    from crl_core.training.config import PLANS

    if plan is not None and plan not in PLANS:
        raise typer.BadParameter("choose quick, time, paper or fine-tune", param_hint="--plan")
    if minutes is not None and not minutes > 0:
        raise typer.BadParameter("must be above 0", param_hint="--minutes")
    if minutes is not None and steps is not None:
        raise typer.BadParameter("give --minutes or --steps, not both", param_hint="--steps")


def _source(
    datasets: list[Path],
    data: Path | None,
    digital: bool,
    start: str | None,
    hold_back: list[str] | None,
    validate: list[str] | None,
    test: list[str] | None,
    rehearse_on: list[Path] | None,
) -> DataConfig:
    from crl_core.cli.common import parse_option
    from crl_core.training.data_config import DataConfig

    source = DataConfig() if data is None else DataConfig.load(data)
    changes: dict[str, Any] = {}
    if datasets:
        changes["datasets"] = tuple(str(d.absolute()) for d in datasets)
    if digital:
        changes["digital"] = True
    if start is not None:
        changes["start"] = start
    if hold_back:
        changes["hold_back"] = tuple(parse_option("--hold-back", t).triple for t in hold_back)
    if validate:
        changes["validate"] = tuple(validate)
    if test:
        changes["test"] = tuple(test)
    if rehearse_on:
        refuse_missing(rehearse_on)
        changes["rehearsal"] = tuple(str(p.absolute()) for p in rehearse_on)
    source = replace(source, **changes)
    if not source.datasets:
        raise typer.BadParameter("name a dataset", param_hint="DATASET")
    refuse_missing([Path(d) for d in source.datasets])
    return source


def _settings(config: Path | None, given: dict[str, Any]) -> TrainingConfig:
    from crl_core.training.config import TrainingConfig

    chosen = TrainingConfig() if config is None else TrainingConfig.load(config)
    return replace(chosen, **given)


def _network(name: str) -> Checkpoint:
    from crl_core.checkpoint import load_checkpoint

    return load_checkpoint(find_checkpoint(name))


def _examine(source: DataConfig, quiet: bool) -> None:
    """Have the doctor look at datasets that were not left out of."""
    if source.digital or quiet:
        return
    from crl_core.cli.checking import refuse_unmended

    refuse_unmended([Path(d) for d in source.datasets], without=source.leave_out)


# running ----------------------------------------------------------------------------------------


def _begin(
    run: Path | None,
    plan: Any,
    settings: TrainingConfig,
    source: DataConfig,
    network: Checkpoint | None,
    minutes: float | None,
    device: str,
    workers: int,
    tensorboard: bool,
    *,
    estimate_only: bool,
    as_json: bool,
) -> None:
    from crl_core.training.loop import Job
    from crl_core.training.plan import open_and_settle

    if not as_json:
        notice("Reading the data and measuring this machine…")
    settings, data, found = open_and_settle(
        plan, settings, source, device, minutes=minutes,
        start=None if network is None else network.card,
    )  # fmt: skip
    if estimate_only:
        typer.echo(json.dumps(found.as_dict()) if as_json else _words(found))
        return
    assert run is not None
    job = Job(settings, data, run, source, network, device, workers)
    _follow(job, resume=False, tensorboard=tensorboard)


def _resume(
    run: Path, datasets: list[Path], device: str, workers: int, tensorboard: bool
) -> None:
    from crl_core.training.config import TrainingConfig
    from crl_core.training.data import open_data
    from crl_core.training.data_config import DataConfig
    from crl_core.training.folder import CONFIG, DATA, STATE, RunFolder
    from crl_core.training.loop import Job

    folder = RunFolder(run)
    folder.check_run()
    settings = TrainingConfig.load_begun(folder / CONFIG)
    source = DataConfig.load(folder / DATA)
    if datasets:
        # The data may have moved; what they are is the user's to say.
        source = replace(source, datasets=tuple(str(d.absolute()) for d in datasets))
    refuse_missing([Path(d) for d in source.datasets])
    # The card of the network it began from is part of what this one is.
    network = None
    if source.start is not None:
        try:
            network = _network(source.start)
        except CRLError:
            # Moved or gone; the run has its own weights by now.
            if not (folder / STATE).exists():
                raise
    data = open_data(source, settings)
    job = Job(settings, data, run, source, network, device, workers)
    _follow(job, resume=True, tensorboard=tensorboard)


def _follow(job: Any, *, resume: bool, tensorboard: bool) -> None:
    from crl_core.training.loop import train as train_events

    if not follow(train_events(job, resume=resume), job.folder, tensorboard=tensorboard):
        raise typer.Exit(STOPPED)


def _steer(run: Path, command: Any) -> None:
    from crl_core.training.folder import RunFolder

    folder = RunFolder(run)
    folder.check_run()
    if command == "finish" and not folder.alive():
        from crl_core.training.finish import finish_at_rest

        typer.echo(f"Finished: {finish_at_rest(run)}")
        return
    folder.send(command)
    done = {"pause": "It pauses after this step.", "continue": "It goes on.",
            "stop": "It saves its state and ends.",
            "finish": "It writes its finished network and ends."}  # fmt: skip
    typer.echo(done[command])


def _words(found: Estimate) -> str:
    hours, left = divmod(round(found.seconds / 60), 60)
    memory = "memory" if "CPU" in found.device else "GPU memory"
    return table(
        [
            ("network", f"{found.network}, {found.n_parameters:,} parameters, {found.precision}"),
            ("people", ", ".join(f"{n} to {what}" for what, n in found.people.items() if n)),
            ("time", f"{hours} h {left:02d} min" if hours else f"{max(left, 1)} min"),
            ("steps", f"{found.steps:,}"),
            ("pace", f"{found.pairs_per_second:.0f} pairs per second on {found.device}"),
            (memory, f"{found.memory_mb / 1000:.1f} GB"),
            ("disk", f"{found.disk_mb:.0f} MB"),
        ]
    )


def _best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
