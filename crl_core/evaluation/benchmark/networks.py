"""Networks as methods: checkpoints as they are, and presets trained for a fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crl_core.evaluation.benchmark.folds import Fold
from crl_core.evaluation.benchmark.people import Case, Training
from crl_core.evaluation.benchmark.plan import RUNS, Plan, Unit, settings_for
from crl_core.evaluation.benchmark.protocol import PAPER_PAIRS, Task, slug
from crl_core.scan import FloatArray

if TYPE_CHECKING:
    from crl_core.evaluation.benchmark.methods import Kind
    from crl_core.synthesis import Synthesizer
    from crl_core.training.config import TrainingConfig
    from crl_core.training.events import Event

Say = Callable[[str], None]

EVERY_SECONDS = 30.0
"""How often a training says how it goes."""


class Stopped(Exception):
    """A training was told to stop; its state is saved."""


class Network:
    """A network, or one for each pair of contrasts.

    Parameters
    ----------
    name, title
        As in the table.
    checkpoints
        The file for each task, or one file under None for all tasks.
    device
        A torch device name; the best by default.
    """

    kind: Kind = "network"

    def __init__(
        self, name: str, title: str, checkpoints: Mapping[Task | None, Path], device: str | None
    ) -> None:
        self.name, self.title = name, title
        self._checkpoints = dict(checkpoints)
        self._device = device
        self._open: tuple[Path, Synthesizer] | None = None
        self._set: tuple[str, tuple[str, ...]] | None = None

    def fit(self, training: Training) -> None:
        """Learn nothing more."""

    def predict(self, case: Case) -> FloatArray | None:
        """Render the target.

        At the source's own parameters the network alone is measured, without the carried residual,
        which would give the source back exactly.
        """
        path = self._checkpoints.get(case.task, self._checkpoints.get(None))
        if path is None:
            return None
        synthesizer = self._synthesizer(path)
        if len(case.task.sources) > synthesizer.checkpoint.model.max_sources:
            return None
        key = (case.visit.label, case.task.sources)
        if self._set != key:
            synthesizer.set_sources(case.sources)
            self._set = key
        if case.task.target in case.task.sources:
            planes = [
                synthesizer.raw_slice(case.parameters, k) for k in range(synthesizer.n_slices)
            ]
            image = np.stack(planes, axis=synthesizer.slice_axis)
        else:
            image = synthesizer.render_volume(case.parameters)
        if synthesizer.checkpoint.card.intensity_rule == "robust":
            return image
        # These networks give each contrast its own range, minimum to maximum, as published. Only
        # the acquired target knows it: their absolute readings are given that much.
        return case.sources[0].scale.to_model(case.answer.range_scale.to_source(image))

    def expected(self, case: Case) -> FloatArray | None:
        """Return how far off each voxel of the last prediction was expected to be, in its units.

        None where the network does not tell, and at the source's own parameters.
        """
        path = self._checkpoints.get(case.task, self._checkpoints.get(None))
        if path is None or case.task.target in case.task.sources:
            return None
        return self._synthesizer(path).expected_volume(case.parameters)

    def _synthesizer(self, path: Path) -> Synthesizer:
        if self._open is None or self._open[0] != path:
            from crl_core.checkpoint import load_checkpoint
            from crl_core.synthesis import Synthesizer

            self._open = path, Synthesizer(load_checkpoint(path), device=self._device)
            self._set = None
        return self._open[1]


def needs_pair(preset: str, architecture: Mapping[str, Any] | None = None) -> bool:
    """Return whether a preset learns one pair of contrasts, so that each pair needs its own."""
    from crl_core.models import architecture_of, learns_one_pair

    return learns_one_pair(architecture_of(preset, architecture or {}))


def trained_network(
    plan: Plan, unit: Unit, device: str, say: Say, watch: Callable[[], None]
) -> tuple[Network, dict[str, Any]]:
    """Train what a unit needs, or take what was trained before.

    Parameters
    ----------
    plan, unit
        What is measured.
    device
        A torch device name.
    say
        Called with lines on how training goes.
    watch
        Called after every event of a training; when it raises, the state is saved first.

    Returns
    -------
    network
        The method, ready to predict.
    about
        Steps, hours, hardware and size of what was trained, for the report.

    Raises
    ------
    Stopped
        When a training was told to stop.
    """
    name = unit.entry.name
    settings = _settings(plan, unit)
    fold = next(f for f in plan.protocol.folds if f.number == unit.fold)
    pairs: list[Task | None] = [None]
    if needs_pair(name, settings.architecture):
        pairs = list(pair_tasks(plan))
    found: dict[Task | None, Path] = {}
    cards = []
    for task in pairs:
        where = plan.folder / RUNS / unit.name
        if task is not None:
            where = where / slug(task.name.replace(">", "-to-"))
        config = settings if task is None else replace(settings, pair=_numbers(plan, task))
        found[task] = _trained(plan, fold, config, where, device, say, watch)
        cards.append(_told(found[task]))
    about = {
        "trainings": len(cards),
        "n_parameters": _n_parameters(found[pairs[0]]),
        "steps": sum(int(c["done"]) for c in cards),
        "best steps": [int(c.get("steps", 0)) for c in cards],
        "seconds": round(sum(float(c["seconds"]) for c in cards), 1),
        "hardware": cards[0].get("hardware", ""),
        "settings": settings_for(plan, name),
        "remarks": _remarks(cards),
    }
    return Network(name, f"{name}, trained on the people of the fold", found, device), about


def _remarks(cards: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what the trainings say of themselves, each sentence once."""
    found = [str(text) for card in cards for text in card.get("remarks") or ()]
    return list(dict.fromkeys(found))


def pair_tasks(plan: Plan) -> list[Task]:
    """Return the pairs that methods of one pair are trained for.

    Those of Table 2 where their contrasts are there, else all seen pairs.
    """
    seen = plan.protocol.seen
    paper = [Task((s,), t) for s, t in PAPER_PAIRS if s in seen and t in seen]
    return paper or [Task((s,), t) for s in seen for t in seen if s != t]


def _numbers(plan: Plan, task: Task) -> tuple[float, ...]:
    contrasts = plan.protocol.contrasts
    return (*contrasts[task.sources[0]].triple, *contrasts[task.target].triple)


def _settings(plan: Plan, unit: Unit) -> TrainingConfig:
    from crl_core.training.config import TrainingConfig

    changes: dict[str, Any] = {**settings_for(plan, unit.entry.name), "preset": unit.entry.name}
    if unit.seed is not None:
        changes["seed"] = unit.seed
    if plan.steps is not None:
        changes["steps"] = plan.steps
    if plan.minutes is not None:
        changes["minutes"] = plan.minutes
    return TrainingConfig.from_dict(changes)


def _trained(
    plan: Plan,
    fold: Fold,
    config: TrainingConfig,
    where: Path,
    device: str,
    say: Say,
    watch: Callable[[], None],
) -> Path:
    """Train one network in its run folder, or go on with it, or find it finished."""
    from crl_core.training.config import TrainingConfig
    from crl_core.training.data import open_data
    from crl_core.training.data_config import DataConfig
    from crl_core.training.events import Finished
    from crl_core.training.folder import CONFIG, MODEL, RunFolder
    from crl_core.training.loop import Job, train
    from crl_core.training.plan import open_and_settle

    folder = RunFolder(where)
    if (folder / MODEL).is_file():
        return folder / MODEL
    protocol = plan.protocol
    source = DataConfig(
        (str(protocol.dataset.absolute()),),
        validate=fold.validate,
        test=fold.test,
        hold_back=tuple(p.triple for p in protocol.held_settings),
    )
    if folder.exists:
        config = TrainingConfig.load_begun(folder / CONFIG)
        data = open_data(source, config)
    else:
        config, data, _ = open_and_settle(None, config, source, device, minutes=config.minutes)
    lines, finished = Lines(), False
    told = train(Job(config, data, where, source, None, device, workers=0), resume=folder.exists)
    try:
        for event in told:
            finished = isinstance(event, Finished)
            watch()
            text = lines.of(event)
            if text:
                say(text)
    finally:
        told.close()
    if not finished:
        raise Stopped
    return folder / MODEL


class Lines:
    """Turns events of a training into lines, a step every half minute."""

    def __init__(self) -> None:
        self._next = 0.0

    def of(self, event: Event) -> str:
        """Return what to say of an event; empty where nothing is worth saying."""
        from crl_core.training import events
        from crl_core.training.history import line_of

        match event:
            case events.Stepped():
                if event.seconds < self._next:
                    return ""
                self._next = event.seconds + EVERY_SECONDS
                done = f"step {event.step}  {100 * event.progress:.0f} %"
                return f"{done}  loss {event.loss:.4f}  {event.remaining / 60:.0f} min left"
            case events.Validated():
                found = ", ".join(f"{n} {v:.2f} dB" for n, v in event.metrics.items())
                return f"step {event.step}  validation: {found}"
            case events.Saved():
                return ""
            case _:
                return line_of(event)[0]


def _told(path: Path) -> dict[str, Any]:
    """Return what a finished network's card says of its training, and what the whole run took.

    The card tells of the step that was best; the budget went into all of them.
    """
    from crl_core.checkpoint import read_card
    from crl_core.training.history import History

    last = History.read(path.parent).last
    done, seconds = (0, 0.0) if last is None else (last.step, last.seconds)
    return {**read_card(path).training, "done": done, "seconds": seconds}


def _n_parameters(path: Path) -> int:
    from crl_core.checkpoint import load_checkpoint

    return load_checkpoint(path).model.n_parameters
