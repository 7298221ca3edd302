"""``crl benchmark``: networks and analytic baselines by the paper's protocol."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crl_core.cli.common import check_device, find_checkpoint, notice, progress_bar, refuse_missing

if TYPE_CHECKING:
    from crl_core.evaluation.benchmark.plan import Entry, Plan, Unit
    from crl_core.evaluation.benchmark.results import Results
    from crl_core.evaluation.benchmark.units import UnitJob

STOPPED = 3
"""Exit code of a benchmark that ended before its time; the same command goes on with it."""


def benchmark(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A prepared BIDS dataset.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where results go.")
    ],
    methods: Annotated[
        str,
        typer.Option(
            help="Networks to train, such as crl-code,crl-plus. All analytic baselines are measured"
            " too; naming some here measures only those."
        ),
    ] = "",
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(help="A checkpoint to measure as it is; may be given several times."),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Groups of people; 5 by default, fewer with fewer people.")
    ] = None,
    fold: Annotated[
        list[int] | None, typer.Option(help="Only this fold, counted from 1; several times.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=20, help="Trainings of each network.")] = 1,
    config: Annotated[
        Path | None,
        typer.Option(help="JSON file of training settings, or of such settings by network."),
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Time for each training.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of each training.")] = None,
    hold_back: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|TR,TE,TI|none",
            help="A contrast that no training sees; several times. 4 and 6 by default where the"
            " nine sequences of the paper are there.",
        ),
    ] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME+NAME|none", help="Sources used together; several times."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps; best by default.")] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Units side by side; one, or one for each CUDA device."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Measure networks and baselines on a dataset by the paper's protocol.

    People are shared out into folds; each method learns from the training people of a fold and is
    measured once on its test people: all ordered pairs of contrasts, and several sources at once.
    Prints the paper's tables for these data and writes JSON, CSV, figures and an HTML report.
    The same command goes on after an interruption, and torchrun shares the work among machines.
    Exit codes: 0 finished, 1 refused or failed, 2 wrong usage, 3 stopped early.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if minutes is not None and steps is not None:
        raise typer.BadParameter("give --minutes or --steps, not both", param_hint="--steps")
    if minutes is not None and not minutes > 0:
        raise typer.BadParameter("must be above 0", param_hint="--minutes")
    share = Share.taken()
    refuse_missing([dataset])
    from crl_core.evaluation.benchmark.plan import Plan, open_folder

    plan = Plan(
        dataset=dataset,
        folder=output,
        entries=_entries(methods, checkpoint or []),
        fold_count=folds,
        hold_back=_words(hold_back),
        groups=_groups(sources),
        only_folds=tuple(fold or ()),
        seeds=tuple(range(1, seeds + 1)),
        training=_training(config, methods),
        minutes=minutes,
        steps=steps,
    )
    units = plan.units()
    if any(entry.source != "analytic" for entry in plan.entries):
        check_device(device)
    open_folder(plan)
    for unit in units:
        plan.measured(unit)  # another checkpoint of the same name is refused before any work
    if not _measure(plan, share.of(units), device, jobs):
        raise typer.Exit(STOPPED)
    _report(plan, units, as_json)


_TOGETHER = (
    "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "ROLE_WORLD_SIZE",
    "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID",
)  # fmt: skip
"""What makes a training look for others to join; the place on this machine is kept."""


# what is asked ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """The place of this process among those that ``torchrun`` started."""

    rank: int = 0
    count: int = 1

    @classmethod
    def taken(cls) -> Share:
        """Read the place of this process and clear it away.

        Units are shared, not the steps of a training: each training belongs to one process, which
        must not wait for others to join it.
        """
        try:
            found = cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
        except ValueError:
            found = cls()
        for name in _TOGETHER:
            os.environ.pop(name, None)
        return found

    def of(self, units: Sequence[Unit]) -> list[Unit]:
        """Return the units of this process."""
        return list(units[self.rank :: self.count])


def _entries(methods: str, checkpoints: Sequence[str]) -> tuple[Entry, ...]:
    from crl_core.evaluation.benchmark.methods import ANALYTIC
    from crl_core.evaluation.benchmark.plan import Entry

    words = [w.strip() for w in methods.split(",") if w.strip()]
    named = [w for w in words if w in ANALYTIC]
    presets = [w for w in words if w not in ANALYTIC]
    if presets:
        _check_presets(presets, tuple(ANALYTIC))
    found = [Entry(name, "analytic") for name in named or ANALYTIC]
    found += [Entry(name, "preset") for name in presets]
    found += [_checkpoint_entry(text) for text in checkpoints]
    names = [entry.name for entry in found]
    for name in names:
        if names.count(name) > 1:
            raise typer.BadParameter(f"'{name}' is named twice", param_hint="--methods")
    return tuple(found)


def _check_presets(presets: Sequence[str], others: Sequence[str]) -> None:
    from crl_core import models

    known = (*models.PRESET_NAMES, *models.BASELINE_NAMES)
    for name in presets:
        if name not in known:
            raise typer.BadParameter(
                f"'{name}' is not known; choose from {', '.join((*known, *others))}",
                param_hint="--methods",
            )


def _checkpoint_entry(text: str) -> Entry:
    from crl_core import models
    from crl_core.checkpoint import bundled_checkpoints, load_checkpoint
    from crl_core.evaluation.benchmark.methods import ANALYTIC
    from crl_core.evaluation.benchmark.plan import Entry

    path = find_checkpoint(text)
    card = load_checkpoint(path).card
    shipped = path == bundled_checkpoints().get(text)
    place = path if path.is_dir() or path.stem not in ("model", "best", "last") else path.parent
    name = f"shipped {text}" if shipped else place.name.removesuffix(".safetensors")
    if name in (*models.PRESET_NAMES, *models.BASELINE_NAMES, *ANALYTIC):
        name = f"{name} as given"  # not to be mixed with one that is trained here
    return Entry(name, "checkpoint", path.absolute(), card.sha256)


def _words(given: list[str] | None) -> tuple[str, ...] | None:
    """Return what was given several times; ``none`` means nothing at all."""
    if given is None:
        return None
    return tuple(word for word in given if word != "none")


def _groups(given: list[str] | None) -> tuple[tuple[str, ...], ...] | None:
    words = _words(given)
    if words is None:
        return None
    groups = []
    for word in words:
        keys = tuple(part.strip() for part in word.split("+"))
        if len(keys) < 2 or len(set(keys)) < len(keys) or "" in keys:
            raise typer.BadParameter(f"'{word}' is not NAME+NAME", param_hint="--sources")
        groups.append(keys)
    return tuple(groups)


def _training(path: Path | None, methods: str) -> str:
    """Read training settings and refuse, before any work, what no training could start with."""
    from crl_core.evaluation.benchmark.plan import by_method, settings_of
    from crl_core.io.bids import read_json
    from crl_core.training.config import TrainingConfig

    if path is None:
        return "{}"
    refuse_missing([path])
    found = read_json(path)
    names = [w.strip() for w in methods.split(",")]
    for name in {*names, *by_method(found)}:
        TrainingConfig.from_dict(settings_of(found, name), path)
    return json.dumps(found, sort_keys=True)


# doing ------------------------------------------------------------------------------------------


def _measure(plan: Plan, units: Sequence[Unit], device: str | None, jobs: int | None) -> bool:
    """Measure units here or in several processes; returns whether nothing stopped it."""
    from crl_core.cli.training_show import polite
    from crl_core.evaluation.benchmark.networks import Stopped
    from crl_core.evaluation.benchmark.units import UnitJob
    from crl_core.parallel import run_jobs

    left = [unit for unit in units if not plan.measured(unit)]
    devices = _devices(device) if any(u.entry.source != "analytic" for u in left) else ["cpu"]
    workers = jobs or len(devices)
    if workers > 1:
        # Processes that each take all cores only wait for each other.
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    work = [UnitJob(plan, unit, devices[(n + local) % len(devices)]) for n, unit in enumerate(left)]
    try:
        with polite(), progress_bar("Units") as show:
            run_jobs(measure_and_tell, work, workers=workers, progress=show)
    except (KeyboardInterrupt, Stopped):
        typer.echo(f"Stopped; the same command goes on with it: {plan.folder}", err=True)
        return False
    return True


def measure_and_tell(job: UnitJob, watch: Callable[[], None]) -> bool:
    """Measure a unit and say on stderr how it goes; see `measure_unit`."""
    from crl_core.evaluation.benchmark.units import measure_unit

    return measure_unit(job, watch, lambda text: notice(f"{job.unit.name}: {text}"))


def _devices(device: str | None) -> list[str]:
    if device is not None and device != "cuda":
        return [device]
    import torch

    if torch.cuda.is_available():
        return [f"cuda:{n}" for n in range(torch.cuda.device_count())]
    return ["mps" if torch.backends.mps.is_available() else "cpu"]


def _report(plan: Plan, units: Sequence[Unit], as_json: bool) -> None:
    """Write and print the report where all is measured; say what is left elsewhere."""
    from crl_core.evaluation.benchmark.plan import found_units
    from crl_core.evaluation.benchmark.report import report_path, write_report

    left = [unit for unit in units if not plan.measured(unit)]
    if left:
        notice(f"{len(left)} units are still being measured by other processes; the last one"
               " writes the report")  # fmt: skip
        return
    results = write_report(plan, found_units(plan))
    if as_json:
        typer.echo(json.dumps(results.summary(), allow_nan=False))
    else:
        typer.echo(_tables(results))
        typer.echo(f"\nReport: {report_path(plan.folder)}")


def _tables(results: Results) -> str:
    from crl_core.evaluation.benchmark import tables as t
    from crl_core.evaluation.benchmark.report import caption

    main, several = t.main_blocks(results)
    shown: list[Any] = [t.table_2(results)]
    shown += [t.table_3(results, method) for method in results.whole_networks]
    shown += [t.block_table(results, "psnr_gain", main)]
    shown += [t.skill_table(results, "psnr_gain_brain", main)]
    if several:
        shown.append(t.block_table(results, "psnr_gain", several))
    shown += [t.comparison_table(results, main), t.duel_table(results)]
    texts = [table.text() for table in shown if table.rows]
    return "\n\n".join([*texts, "\n".join(caption(results))])
