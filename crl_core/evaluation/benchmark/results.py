"""All measured units together: figures by method, block and person."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from crl_core.evaluation.benchmark.measure import METRICS
from crl_core.evaluation.benchmark.plan import Plan, Unit
from crl_core.evaluation.benchmark.protocol import Protocol, Task
from crl_core.evaluation.benchmark.statistics import Difference, Spread, difference, skill, spread
from crl_core.evaluation.calibration import Calibration
from crl_core.io.bids import read_json, read_sidecar
from crl_core.io.image_file import SIMULATED_FIELD

Cell = tuple[str, Task]
"""A person and what was asked of them."""

HEADLINE = "psnr_gain"
"""The figure that methods are ranked by: PSNR in the head after one gain."""


@dataclass(frozen=True)
class MethodRows:
    """Everything measured of one method.

    Parameters
    ----------
    name, title, kind
        As of the method.
    units
        Its units as written, rows included.
    """

    name: str
    title: str
    kind: str
    units: tuple[dict[str, Any], ...]

    @property
    def covered(self) -> tuple[str, ...]:
        """Held-back contrasts within what a checkpoint was trained on elsewhere."""
        found = (u["training"].get("covers held back", ()) for u in self.units)
        return tuple(next(found, ()))

    @cached_property
    def calibration(self) -> Calibration | None:
        """How expected errors agree with those made; None for methods that expect none."""
        parts = [u["calibration"] for u in self.units if u.get("calibration")]
        return Calibration.of(parts) if parts else None

    @property
    def folds(self) -> tuple[int, ...]:
        """The folds it was measured on."""
        return tuple(sorted({int(u["fold"]) for u in self.units}))

    @cached_property
    def by_task(self) -> dict[Task, list[dict[str, Any]]]:
        """Rows by task, each with its seed."""
        found: dict[Task, list[dict[str, Any]]] = defaultdict(list)
        for unit in self.units:
            for row in unit["rows"]:
                task = Task(tuple(row["sources"]), row["target"])
                found[task].append({**row, "fold": unit["fold"], "seed": unit["seed"]})
        return dict(found)

    @cached_property
    def answers(self) -> frozenset[Cell]:
        """Whom it answered what; an image of NaN is no answer."""
        return frozenset(
            (row["person"], task)
            for task, rows in self.by_task.items()
            for row in rows
            if any(row.get(metric) is not None for metric in (HEADLINE, "ssim"))
        )

    def cells(self, metric: str, tasks: Iterable[Task]) -> dict[Cell, float]:
        """Return one figure a person and task, the mean over visits and seeds.

        Errors in per cent enter by their size.
        """
        sizes: Callable[[float], float] = abs if metric.endswith("_percent") else float
        each: dict[Cell, list[float]] = defaultdict(list)
        for task in tasks:
            for row in self.by_task.get(task, ()):
                if row[metric] is not None:
                    each[row["person"], task].append(sizes(row[metric]))
        return {cell: float(np.mean(values)) for cell, values in each.items()}

    def people(self, metric: str, tasks: Iterable[Task]) -> dict[str, float]:
        """Return one figure a person, the mean of its cells."""
        return over_people(self.cells(metric, tasks))


def over_people(cells: Mapping[Cell, float]) -> dict[str, float]:
    """Average over the tasks of each person."""
    found: dict[str, list[float]] = defaultdict(list)
    for (person, _), value in cells.items():
        found[person].append(value)
    return {person: float(np.mean(values)) for person, values in sorted(found.items())}


def _rows(units: Sequence[dict[str, Any]]) -> MethodRows:
    first = units[0]
    return MethodRows(first["method"], first["title"], first["kind"], tuple(units))


class Results:
    """What was measured, and the tables made of it.

    Tables take the folds that every method was measured on (`folds`); what only some were
    (`left_out`) is in the long table alone. Where no fold is shared each method keeps its own.

    Parameters
    ----------
    plan
        The benchmark; its protocol says which blocks there are.
    units
        The units to be read.

    Raises
    ------
    InputError
        When a file is damaged.
    """

    def __init__(self, plan: Plan, units: Sequence[Unit]) -> None:
        self.plan = plan
        self._units = tuple(units)
        self.protocol: Protocol = plan.protocol
        grouped: dict[str, list[dict[str, Any]]] = {}
        for unit in units:
            grouped.setdefault(unit.entry.name, []).append(read_json(plan.unit_path(unit)))
        folds = [{int(u["fold"]) for u in found} for found in grouped.values()]
        self.folds = tuple(sorted(set.intersection(*folds) if folds else ()))
        self.left_out = tuple(sorted(set().union(*folds) - set(self.folds)))
        self._everything = {name: _rows(found) for name, found in grouped.items()}
        # Means over other people do not stand side by side.
        self.methods = {
            name: _rows([u for u in found if not self.folds or u["fold"] in self.folds])
            for name, found in grouped.items()
        }

    @property
    def networks(self) -> list[MethodRows]:
        """The methods with a network."""
        return [m for m in self.methods.values() if m.kind == "network"]

    @property
    def whole_networks(self) -> list[MethodRows]:
        """The networks that answer every pair; those of one pair a model are left out."""
        return [n for n in self.networks if self.answered(n, self.tasks["seen to seen"])]

    def units_of(self, name: str) -> list[Unit]:
        """Return the units of a method."""
        return [unit for unit in self._units if unit.entry.name == name]

    @cached_property
    def simulated(self) -> bool:
        """Whether the scans show digital subjects, by the sidecar of the first."""
        first = self.protocol.visits[0].files.images[0]
        return bool(read_sidecar(first)[0].get(SIMULATED_FIELD))

    @cached_property
    def tasks(self) -> dict[str, list[Task]]:
        """The tasks of each block that has some, in the order of the table."""
        found: dict[str, list[Task]] = {name: [] for name in self.protocol.block_names()}
        for task in self.protocol.tasks(self.protocol.contrasts):
            for block in self.protocol.blocks(task):
                found[block].append(task)
        return {name: tasks for name, tasks in found.items() if tasks}

    def answered(self, method: MethodRows, tasks: Sequence[Task]) -> bool:
        """Return whether a method answered all tasks for all its people, as others did.

        Only then is its mean that of the others.
        """
        wanted = set(tasks)
        people = {person for person, _ in method.answers}
        missing = self._possible - method.answers
        return bool(people) and not any(p in people and t in wanted for p, t in missing)

    @cached_property
    def _possible(self) -> frozenset[Cell]:
        return frozenset().union(*(m.answers for m in self.methods.values()))

    def spread(self, name: str, metric: str, tasks: Sequence[Task]) -> Spread | None:
        """Summarise a method over people; None where it did not answer all tasks."""
        method = self.methods[name]
        if not self.answered(method, tasks):
            return None
        return spread(list(method.people(metric, tasks).values()))

    def best_baseline(self, tasks: Sequence[Task], metric: str = HEADLINE) -> str | None:
        """Return the baseline with the highest mean; what is fitted on the answer is none."""
        found = {
            name: s.mean
            for name, m in self.methods.items()
            if m.kind == "baseline" and (s := self.spread(name, metric, tasks)) is not None
        }
        return max(found, key=lambda name: found[name]) if found else None

    def against(
        self, name: str, other: str, tasks: Sequence[Task], metric: str = HEADLINE
    ) -> Difference | None:
        """Compare two methods where both answered; None where that leaves out a whole task."""
        both = self._shared([self.methods[name], self.methods[other]], metric, tasks)
        return difference(*both) if both else None

    def skill(self, name: str, tasks: Sequence[Task], metric: str = HEADLINE) -> float | None:
        """Return where a method lies between table and oracle, where all three answered."""
        three = [self.methods[n] for n in (name, "table", "oracle") if n in self.methods]
        people = self._shared(three, metric, tasks) if len(three) == 3 else []
        return skill(*(float(np.mean(list(p.values()))) for p in people)) if people else None

    def _shared(
        self, methods: Sequence[MethodRows], metric: str, tasks: Sequence[Task]
    ) -> list[dict[str, float]]:
        """Return one figure a person for each method, of the cells that all of them have.

        A method must not gain by failing where it is hard. Nothing where a task that anybody
        answered would be left out for everybody.
        """
        each = [method.cells(metric, tasks) for method in methods]
        both = set.intersection(*(set(cells) for cells in each))
        asked = {t for _, t in self._possible if t in set(tasks)}
        if not both or asked - {t for _, t in both}:
            return []
        return [over_people({c: v for c, v in cells.items() if c in both}) for cells in each]

    # for files ---------------------------------------------------------------------------------

    def summary(self) -> dict[str, Any]:
        """Return figures by block and method, each with spread and comparison."""
        blocks: dict[str, Any] = {}
        for block, tasks in self.tasks.items():
            best = self.best_baseline(tasks)
            methods: dict[str, Any] = {}
            for name in self.methods:
                if self.spread(name, "ssim", tasks) is not None:
                    methods[name] = self._entry(name, tasks, best)
            blocks[block] = {
                "tasks": [t.name for t in tasks], "best baseline": best, "methods": methods,
            }  # fmt: skip
        return blocks

    def _entry(self, name: str, tasks: Sequence[Task], best: str | None) -> dict[str, Any]:
        entry: dict[str, Any] = {}
        for metric in METRICS:
            found = self.spread(name, metric, tasks)
            if found is not None:
                entry[metric] = {"mean": found.mean, "sd": found.sd, "people": found.n}
        entry["skill"] = self.skill(name, tasks)
        entry["skill in brain tissue"] = self.skill(name, tasks, "psnr_gain_brain")
        versus = self.against(name, best, tasks) if best is not None and best != name else None
        if versus is not None:
            entry["against the best baseline"] = {
                "dB": versus.mean, "95 % from": versus.low, "to": versus.high,
                "wilcoxon p": versus.p, "people": versus.n,
            }  # fmt: skip
        return entry

    def long_rows(self) -> tuple[list[str], list[list[Any]]]:
        """Return head and rows of the long table: one row a method, seed, visit and task."""
        head = ["method", "kind", "fold", "seed", "person", "visit", "sources", "target", "block",
                "tissues", *METRICS]  # fmt: skip
        rows = []
        for method in self._everything.values():
            for task, found in method.by_task.items():
                block = self.protocol.blocks(task)[0]
                for row in found:
                    known = [row["fold"], "" if row["seed"] is None else row["seed"]]
                    place = [row["person"], row["visit"], "+".join(task.sources), task.target]
                    numbers = ["" if row[m] is None else _rounded(row[m]) for m in METRICS]
                    rows.append([method.name, method.kind, *known, *place, block,
                                 row["tissues"], *numbers])  # fmt: skip
        return head, rows

    @cached_property
    def tissues(self) -> set[str]:
        """How the tissue masks of the people were had."""
        return {row["tissues"] for m in self.methods.values() for u in m.units for row in u["rows"]}

    @cached_property
    def people(self) -> list[str]:
        """Everybody who was tested."""
        return sorted({p for m in self.methods.values() for u in m.units for p in u["test"]})


def _rounded(value: float) -> float:
    return round(value, 6) if math.isfinite(value) else value
