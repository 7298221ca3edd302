"""Measuring units: once each, by any number of processes, resumable after any interruption."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from crl_core.evaluation.benchmark.folds import Fold
from crl_core.evaluation.benchmark.gallery import Gallery, gallery_tasks
from crl_core.evaluation.benchmark.measure import as_row, calibrate
from crl_core.evaluation.benchmark.methods import Method, analytic
from crl_core.evaluation.benchmark.networks import Network, trained_network
from crl_core.evaluation.benchmark.people import Case, Training, Visit, load_visit
from crl_core.evaluation.benchmark.plan import Plan, Unit
from crl_core.evaluation.calibration import Calibration
from crl_core.io.bids import write_json
from crl_core.training.coverage import ancestors_saw, near, trained_on

Say = Callable[[str], None]


@dataclass(frozen=True)
class UnitJob:
    """A unit and where to compute it; travels to other processes."""

    plan: Plan
    unit: Unit
    device: str


class FoldData:
    """What the units of one fold have in common: its test visits, and whom to learn from."""

    def __init__(self, plan: Plan, number: int) -> None:
        self.protocol = plan.protocol
        self.fold: Fold = next(f for f in self.protocol.folds if f.number == number)
        self.training = Training(self.protocol, self.fold.train)

    @cached_property
    def visits(self) -> list[Visit]:
        """The test people's visits, all in memory."""
        files = self.protocol.visits_of(self.fold.test)
        return [load_visit(self.protocol.dataset, one) for one in files]


@lru_cache(maxsize=1)
def fold_data(plan: Plan, number: int) -> FoldData:
    """Return the data of a fold; the last one asked for is kept."""
    return FoldData(plan, number)


def measure_unit(job: UnitJob, watch: Callable[[], None], say: Say = lambda text: None) -> bool:
    """Measure a unit and write its figures, unless that was done or another process does it.

    Parameters
    ----------
    job
        What to measure.
    watch
        Called between images; raising from it stops the work.
    say
        Called with lines on how it goes.

    Returns
    -------
    bool
        Whether the figures are there now.
    """
    plan, unit = job.plan, job.unit
    if plan.measured(unit):
        return True
    path = plan.unit_path(unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _claimed(path.with_suffix(".lock")) as mine:
        if not mine:
            say(f"{unit.name} is being measured by another process")
            return False
        if not plan.measured(unit):
            _measure(job, watch, say)
    return True


@contextmanager
def _claimed(path: Path) -> Iterator[bool]:
    """Hold a unit; the system lets go when the process dies."""
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _measure(job: UnitJob, watch: Callable[[], None], say: Say) -> None:
    plan, unit = job.plan, job.unit
    began = time.monotonic()
    method, about = _method(job, watch, say)
    data = fold_data(plan, unit.fold)
    method.fit(data.training)
    rows: list[dict[str, Any]] = []
    gallery = Gallery()
    calibration = Calibration()
    shown = set(gallery_tasks(data.protocol))
    for number, visit in enumerate(data.visits):
        for task in data.protocol.tasks(visit.scans):
            watch()
            case = Case(visit, task)
            image = method.predict(case)
            if image is None:
                continue
            rows.append(as_row(case, image))
            expected = method.expected(case) if isinstance(method, Network) else None
            if expected is not None:
                calibrate(calibration, case, image, expected)
            if number == 0 and task in shown:
                gallery.add(case, image)
    gallery.write(plan.unit_path(unit).with_suffix(".npz"))
    _write(
        plan.unit_path(unit),
        {
            "method": unit.entry.name,
            "title": method.title,
            "kind": method.kind,
            "fold": unit.fold,
            "seed": unit.seed,
            "sha256": unit.entry.sha256,
            "test": list(data.fold.test),
            "seconds": round(time.monotonic() - began, 2),
            "processor": platform.machine(),
            "training": about,
            "calibration": calibration.as_dict() if calibration.voxels else None,
            "rows": rows,
        },
    )


def _method(job: UnitJob, watch: Callable[[], None], say: Say) -> tuple[Method, dict[str, Any]]:
    """Return the method of a unit, trained where it has to be."""
    entry = job.unit.entry
    if entry.source == "analytic":
        return analytic(entry.name), {}
    if entry.source == "checkpoint":
        assert entry.path is not None
        title = f"{entry.name}, evaluated as it is"
        return Network(entry.name, title, {None: entry.path}, job.device), _of_card(
            job.plan, entry.path
        )
    return trained_network(job.plan, job.unit, job.device, say, watch)


def _of_card(plan: Plan, path: Path) -> dict[str, Any]:
    from crl_core.checkpoint import load_checkpoint

    found = load_checkpoint(path)
    known = {k: found.card.training.get(k) for k in ("steps", "hours", "hardware", "data")}
    protocol = plan.protocol
    coverage = found.card.coverage
    before = list(ancestors_saw(found.card.training))
    covered = [
        key
        for key in protocol.held_back
        if trained_on(coverage, protocol.contrasts[key]) or near(protocol.contrasts[key], before)
    ]
    return {"n_parameters": found.model.n_parameters, "covers held back": covered, **known}


def _write(path: Path, values: Mapping[str, Any]) -> None:
    write_json(path, json.loads(json.dumps(values, default=_plain)))


def _plain(value: object) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return str(value)
