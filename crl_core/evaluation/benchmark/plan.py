"""What a benchmark is asked to do, and its folder, in which that must not change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from crl_core.errors import InputError, OutputError
from crl_core.evaluation.benchmark.learnt import needs_held_back
from crl_core.evaluation.benchmark.protocol import Protocol, open_protocol, slug
from crl_core.io.atomic import TEMPORARY, atomic_path
from crl_core.io.bids import read_json, write_json

SETTINGS, UNITS, RUNS = "benchmark.json", "units", "runs"

Source = Literal["analytic", "checkpoint", "preset"]


@dataclass(frozen=True)
class Entry:
    """A method to be measured.

    Parameters
    ----------
    name
        What it is called in the table.
    source
        ``"analytic"``, a ``"checkpoint"`` evaluated as it is, or a ``"preset"`` to be trained.
    path
        The checkpoint's file.
    sha256
        Fingerprint of the checkpoint's weights, so that no other takes its place.
    """

    name: str
    source: Source
    path: Path | None = None
    sha256: str = ""


@dataclass(frozen=True)
class Unit:
    """What is measured once: a method on the test people of a fold."""

    entry: Entry
    fold: int
    seed: int | None = None

    @property
    def name(self) -> str:
        """The name of its files, such as ``crl-plus_fold-1_seed-1``."""
        seed = "" if self.seed is None else f"_seed-{self.seed}"
        return f"{slug(self.entry.name)}_fold-{self.fold}{seed}"


@dataclass(frozen=True)
class Plan:
    """Everything that decides the figures, and what of it is to be done now.

    Parameters
    ----------
    dataset, folder
        What is measured on, and where results go.
    entries
        The methods.
    fold_count, hold_back, groups
        As `open_protocol` takes them.
    only_folds
        Folds to be done now; all where empty.
    seeds
        Seeds of the trainings.
    training
        JSON object of training settings for every preset, or of such objects by method.
    minutes, steps
        Budget of each training.
    """

    dataset: Path
    folder: Path
    entries: tuple[Entry, ...]
    fold_count: int | None = None
    hold_back: tuple[str, ...] | None = None
    groups: tuple[tuple[str, ...], ...] | None = None
    only_folds: tuple[int, ...] = ()
    seeds: tuple[int, ...] = (1,)
    training: str = "{}"
    minutes: float | None = None
    steps: int | None = None

    @cached_property
    def protocol(self) -> Protocol:
        """The people and tasks, read from the dataset once."""
        return open_protocol(
            self.dataset, folds=self.fold_count, hold_back=self.hold_back, groups=self.groups
        )

    def units(self) -> list[Unit]:
        """Return what is to be measured, fold by fold, so that a fold's scans are read once."""
        known = [fold.number for fold in self.protocol.folds]
        for number in self.only_folds:
            if number not in known:
                raise InputError(
                    f"there is no fold {number}", remedy=f"Give --fold 1 to {known[-1]}"
                )
        found = []
        for number in self.only_folds or known:
            for entry in self.entries:
                if needs_held_back(entry.name, self.protocol):
                    continue
                seeds: tuple[int | None, ...] = self.seeds if entry.source == "preset" else (None,)
                found += [Unit(entry, number, seed) for seed in seeds]
        return found

    def settings(self) -> dict[str, Any]:
        """Return what must stay the same in a folder."""
        protocol = self.protocol
        return {
            "what": "crl benchmark",
            "data": protocol.fingerprint,
            "contrasts": {k: list(p.triple) for k, p in protocol.contrasts.items()},
            "held back": list(protocol.held_back),
            "several sources": ["+".join(group) for group in protocol.groups],
            "folds": [
                {"train": list(f.train), "validate": list(f.validate), "test": list(f.test)}
                for f in protocol.folds
            ],
            "training": {
                entry.name: {
                    "settings": settings_for(self, entry.name),
                    "minutes": self.minutes,
                    "steps": self.steps,
                }
                for entry in self.entries
                if entry.source == "preset"
            },
        }

    def unit_path(self, unit: Unit) -> Path:
        """Return where the figures of a unit lie once it is measured."""
        return self.folder / UNITS / f"{unit.name}.json"

    def measured(self, unit: Unit) -> bool:
        """Return whether a unit is done.

        Raises
        ------
        OutputError
            When it was done with another checkpoint of that name.
        """
        path = self.unit_path(unit)
        if not path.is_file():
            return False
        found = read_json(path).get("sha256", "")
        if unit.entry.source == "checkpoint" and found != unit.entry.sha256:
            raise OutputError(
                f"was measured with another checkpoint named '{unit.entry.name}'",
                path=path,
                remedy="Name a new folder, or remove that file",
            )
        return True


def found_units(plan: Plan) -> list[Unit]:
    """Return every unit that is measured in a folder, also those of an earlier start.

    Analytic methods come first, in their order, then networks in the order of their names.
    """
    from crl_core.evaluation.benchmark.methods import ANALYTIC

    found = []
    for path in sorted((plan.folder / UNITS).glob("*.json")):
        about = read_json(path)
        name = str(about["method"])
        source: Source = "analytic" if name in ANALYTIC else "preset"
        found.append(Unit(Entry(name, source), int(about["fold"]), about["seed"]))
    order = {name: n for n, name in enumerate(ANALYTIC)}
    asked = {entry.name: len(order) + n for n, entry in enumerate(plan.entries)}
    place = {**asked, **order}
    return sorted(found, key=lambda u: (place.get(u.entry.name, 999), u.entry.name, u.fold))


def settings_of(settings: Mapping[str, Any], preset: str) -> dict[str, Any]:
    """Return the training settings of a preset: those under its name, else those for all."""
    names = by_method(settings)
    shared = {k: v for k, v in settings.items() if k not in names}
    return {**shared, **settings[preset]} if preset in names else shared


def settings_for(plan: Plan, preset: str) -> dict[str, Any]:
    """Return the training settings of a preset in a plan; see `settings_of`."""
    return settings_of(json.loads(plan.training), preset)


def by_method(settings: Mapping[str, Any]) -> set[str]:
    """Return the names of methods that have training settings of their own."""
    from crl_core.training.config import TrainingConfig

    known = {f.name for f in fields(TrainingConfig)}
    return {k for k, v in settings.items() if isinstance(v, dict) and k not in known}


def open_folder(plan: Plan) -> None:
    """Make the folder, or refuse one that holds something else or other settings.

    Raises
    ------
    OutputError
        Naming the first setting that differs.
    """
    path = plan.folder / SETTINGS
    wanted = plan.settings()
    if not path.is_file():
        _check_free(plan.folder)
        try:
            write_json(path, wanted)
            return
        except OutputError:
            # Another process may have been first.
            if not path.is_file():
                raise
    found = read_json(path)
    trained = found.get("training")
    known = trained if isinstance(trained, dict) else {}
    for name, value in wanted.items():
        if name != "training" and found.get(name) != value:
            raise _other(plan, name)
    for name, value in wanted["training"].items():
        if known.get(name, value) != value:
            raise _other(plan, f"training of {name}")
    if set(wanted["training"]) - set(known):
        # Networks may join later, each with settings of its own.
        joined = {**found, "training": {**known, **wanted["training"]}}
        write_json(path, joined, overwrite=True)


def _other(plan: Plan, what: str) -> OutputError:
    return OutputError(
        f"holds a benchmark with other settings ({what})",
        path=plan.folder,
        remedy="Name a new folder, or give the same dataset and options as before",
    )


def _check_free(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise OutputError("is a file, not a folder", path=folder, remedy="Name a new folder")
    if folder.exists() and any(not p.name.startswith(TEMPORARY) for p in folder.iterdir()):
        raise OutputError(
            "the folder is not empty and holds no benchmark",
            path=folder,
            remedy="Name a new folder",
        )


def write_text(path: Path, text: str) -> None:
    """Write a text file, replacing an older one."""
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text(text, encoding="utf-8")
