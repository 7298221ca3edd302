"""What is chosen on the Set-up page of the training dialog, as one value. No Qt, no files."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from crl_core.doctor.coverage import settings_of
from crl_core.doctor.findings import Finding, Report
from crl_core.training.config import PlanName
from crl_core.training.data_config import DataConfig, Triple, person_of, prefix_of
from crl_viewer.state.training_setup_rows import (
    Issue,
    VisitRow,
    name_of,
    person_count,
    visit_rows,
)
from crl_viewer.strings import number

Use = Literal["train", "validate", "test", "out"]
USES: tuple[Use, ...] = ("train", "validate", "test", "out")
USE_WORDS: Mapping[Use, str] = MappingProxyType(
    {"train": "Train", "validate": "Validate", "test": "Test", "out": "Leave out"}
)

Phase = Literal["empty", "working", "asking", "ready"]

LEAST_SETTINGS = 2
TEST_FROM = 10
"""From so many people on a fifth is kept for testing."""

ONE_PERSON = "One person: nobody to validate on; the last weights are kept."
SAME_SIDE = "All visits of one person stay on the same side."
FEW_PEOPLE = 4
"""With so many people or fewer to train on, going on from a trained network is proposed."""

ONE_PERSON_HELD = "One person: what is held back is judged; the last weights are kept."
AT_LEAST_TWO = "At least two settings must stay to train on."

_SEED = 1


@dataclass(frozen=True)
class Setup:
    """Everything that was chosen.

    Parameters
    ----------
    reports
        What the doctor said of each dataset.
    uses
        What each person is for.
    touched
        Whether the user changed that.
    left_out
        Images that take no part, relative to their dataset.
    held
        Settings never to be trained on, TR, TE, TI in ms.
    plan, minutes
        The plan, and the time for the one that asks for it.
    planned
        Whether the user chose the plan; else it follows the data (`with_suggested_plan`).
    start
        Checkpoint to fine-tune: a path or the name of a bundled one.
    changes
        Training settings that differ from the plan's.
    folder
        Where the run goes.
    phase, activity, share
        What the page shows, what is going on and how far it is (0 to 1, below 0 unknown).
    notice
        One line about what could not be done.
    """

    reports: tuple[Report, ...] = ()
    uses: Mapping[str, Use] = field(default_factory=dict)
    touched: bool = False
    left_out: frozenset[str] = frozenset()
    held: frozenset[Triple] = frozenset()
    plan: PlanName = "time"
    minutes: float = 120.0
    planned: bool = False
    start: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    phase: Phase = "empty"
    activity: str = ""
    share: float = -1.0
    notice: str = ""

    @property
    def datasets(self) -> tuple[Path, ...]:
        """The folders that were chosen."""
        return tuple(report.root for report in self.reports)


# people -----------------------------------------------------------------------------------------


def rows(setup: Setup) -> tuple[VisitRow, ...]:
    """Return the lines of the table; what is left out has no findings any more."""
    several = len(setup.reports) > 1
    return tuple(
        _without_left_out(row, setup) for report in setup.reports for row in _rows(report, several)
    )


@lru_cache(maxsize=8)
def _rows_of(key: _Same, several: bool) -> tuple[VisitRow, ...]:
    return tuple(visit_rows(key.report, tell_dataset=several))


@dataclass(frozen=True, eq=False)
class _Same:
    """A report that is compared by being the same one: its hash would walk through all of it."""

    report: Report

    def __hash__(self) -> int:
        return id(self.report)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.report is self.report


def _rows(report: Report, several: bool) -> tuple[VisitRow, ...]:
    return _rows_of(_Same(report), several)


def _without_left_out(row: VisitRow, setup: Setup) -> VisitRow:
    if row.person and setup.uses.get(row.person) == "out":
        return replace(row, issues=())
    gone = [file for file in row.files if file in setup.left_out]
    kept = [issue for issue in row.issues if not _settled(issue, setup.left_out)]
    if gone:
        kept.append(_left(row, gone))
    return replace(row, issues=tuple(kept))


def _settled(issue: Issue, left_out: frozenset[str]) -> bool:
    """Return whether everything an issue is about is left out."""
    return bool(issue.files) and set(issue.files) <= left_out


def _left(row: VisitRow, gone: Sequence[str]) -> Issue:
    names = [name_of(file) for file in gone]
    text = f"{names[0] if len(names) == 1 else f'{len(names)} scans'} left out"
    found = tuple(Finding("note", row.label, file, "left-out", "it is left out") for file in gone)
    link = f"Take {'it' if len(gone) == 1 else 'them'} back"
    return Issue(row.dataset, row.label, "left-out", "left", "note", text, link, found)


def people(setup: Setup) -> tuple[str, ...]:
    """Return the labels of all people, in the order of the table."""
    return _people(setup.reports)


def _people(reports: Iterable[Report]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(person_of(label) for r in reports for label in r.labels))


def _most_scans(report: Report) -> dict[str, int]:
    """Return how many scans the best visit of each person has."""
    found: dict[str, int] = {}
    for label in report.labels:
        many = sum(row.subject == label for row in report.subjects)
        found[person_of(label)] = max(found.get(person_of(label), 0), many)
    return found


def default_uses(reports: Sequence[Report]) -> dict[str, Use]:
    """Share people out: a tenth validates, a fifth of ten or more tests, the rest trains.

    Someone with fewer than two scans cannot be learnt from and is left out. The choice is drawn
    with a fixed seed, so that the same dataset is always shared out alike.
    """
    scans: dict[str, int] = {}
    for report in reports:
        for person, many in _most_scans(report).items():
            scans[person] = max(scans.get(person, 0), many)
    uses: dict[str, Use] = dict.fromkeys(_people(reports), "train")
    for person, many in scans.items():
        if many < LEAST_SETTINGS:
            uses[person] = "out"
    usable = sorted(person for person, use in uses.items() if use == "train")
    random.Random(_SEED).shuffle(usable)
    count = len(usable)
    tested = round(count / 5) if count >= TEST_FROM else 0
    validated = max(1, round(count / 10)) if count > 1 else 0
    for person in usable[:validated]:
        uses[person] = "validate"
    for person in usable[validated : validated + tested]:
        uses[person] = "test"
    return uses


def with_reports(setup: Setup, reports: Sequence[Report]) -> Setup:
    """Take new reports; what the user chose for people, files and settings that remain stays."""
    uses = default_uses(reports)
    if setup.touched:
        uses |= {person: use for person, use in setup.uses.items() if person in uses}
    files = {row.file for report in reports for row in report.subjects}
    made = replace(
        setup,
        reports=tuple(reports),
        uses=uses,
        left_out=setup.left_out & files,
        phase="ready" if reports else "empty",
    )
    known = {s.triple for s in sequences(made)}
    return with_suggested_plan(replace(made, held=setup.held & known))


def with_suggested_plan(setup: Setup) -> Setup:
    """Propose what suits the data until the user chooses a plan.

    A handful of people do not teach a network from nothing, but they do teach one that knows the
    physics already.
    """
    if setup.planned or not setup.reports or not setup.start:
        return setup
    return replace(setup, plan="fine-tune" if has_few_people(setup) else "time")


def has_few_people(setup: Setup) -> bool:
    """Return whether there are so few people to train on that fine-tuning serves them best."""
    return 0 < counts(setup)["train"] <= FEW_PEOPLE


def with_use(setup: Setup, person: str, use: Use) -> Setup:
    """Give a person, with all visits, another use."""
    if person not in setup.uses:
        return setup
    uses = {**setup.uses, person: use}
    return with_suggested_plan(replace(setup, uses=uses, touched=True))


def counts(setup: Setup) -> dict[Use, int]:
    """Return how many people there are of each use."""
    given = list(setup.uses.values())
    return {use: given.count(use) for use in USES}


def split_sentence(setup: Setup) -> str:
    """Say what the split means."""
    many = counts(setup)
    taking_part = sum(many[use] for use in USES[:3])
    said = []
    if taking_part == 1:
        said.append(ONE_PERSON_HELD if setup.held else ONE_PERSON)
    elif many["train"] and not many["validate"]:
        said.append("Nobody validates: the last weights are kept.")
    elif taking_part:
        said.append(SAME_SIDE)
    if many["out"]:
        said.append(f"{many['out']} left out.")
    return " ".join(said)


def with_left_out(setup: Setup, files: Iterable[str], gone: bool) -> Setup:
    """Leave images out, or take them back."""
    changed = setup.left_out | set(files) if gone else setup.left_out - set(files)
    return replace(setup, left_out=frozenset(changed))


def title_sentence(setup: Setup) -> str:
    """Say below the title what was chosen."""
    safe = "A new run folder is made; nothing is overwritten."
    if not setup.reports:
        return safe
    scans = sum(len(report.subjects) for report in setup.reports)
    return f"{person_count(len(people(setup)))}, {number(scans)} scans. {safe}"


# settings to train on ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Sequence3:
    """One setting of TR, TE and TI that the data hold.

    Parameters
    ----------
    number, name
        Its place in the list, and a short name.
    triple
        TR, TE, TI in ms.
    scans
        How many scans have it.
    """

    number: int
    name: str
    triple: Triple
    scans: int
    held: bool


def sequences(setup: Setup) -> tuple[Sequence3, ...]:
    """Return the settings of everybody who takes part, with a name that tells them apart."""
    out = frozenset(person for person, use in setup.uses.items() if use == "out")
    found = _settings(tuple(_Same(r) for r in setup.reports), out, setup.left_out)
    return tuple(
        Sequence3(number, name, triple, scans, triple in setup.held)
        for number, (name, triple, scans) in enumerate(found, start=1)
    )


@lru_cache(maxsize=8)
def _settings(
    keys: tuple[_Same, ...], out: frozenset[str], left_out: frozenset[str]
) -> tuple[tuple[str, Triple, int], ...]:
    """Return name, times and number of scans of each setting; asked for at every change."""
    scans = [
        row
        for key in keys
        for row in key.report.subjects
        if person_of(row.subject) not in out and row.file not in left_out
    ]
    if not scans:
        return ()
    found = settings_of(Report(keys[0].report.root, tuple(scans), ()))
    triples = [(s.tr, s.te, s.ti) for s in found]
    suffixes: dict[Triple, list[str]] = {triple: [] for triple in triples}
    for row in scans:
        if row.tr and row.te and row.ti:
            suffixes.get((row.tr.ms, row.te.ms, row.ti.ms), []).append(row.suffix)
    named = names_of(triples, [max(s, key=s.count, default="") for s in suffixes.values()])
    return tuple((n, t, s.scans) for n, t, s in zip(named, triples, found, strict=True))


def names_of(triples: Sequence[Triple], suffixes: Sequence[str]) -> list[str]:
    """Name settings by their suffix; where several share one, by the time that differs.

    >>> names_of([(600, 10, 0), (5000, 10, 0), (5000, 100, 0)], ["T1w", "PDw", "PDw"])
    ['T1w', 'TE 10', 'TE 100']
    """
    made = []
    for triple, suffix in zip(triples, suffixes, strict=True):
        alike = [t for t, s in zip(triples, suffixes, strict=True) if s == suffix]
        made.append(_name_among(triple, suffix, alike))
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    return [f"{name} {next(letters, '')}".strip() if made.count(name) > 1 else name
            for name in made]  # fmt: skip


def _name_among(triple: Triple, suffix: str, alike: Sequence[Triple]) -> str:
    """Name a setting among those of its suffix."""
    if suffix and (len(alike) == 1 or (not triple[2] and sum(not t[2] for t in alike) == 1)):
        return suffix
    for index, name in ((2, "TI"), (1, "TE"), (0, "TR")):
        value = triple[index]
        shared = [t for t in alike if abs(t[index] - value) <= 0.05 * max(value, t[index])]
        if len(shared) == 1 and value > 0:
            return f"{name} {value:.0f}"
    return suffix or f"TE {triple[1]:.0f}"


def with_held(setup: Setup, triple: Triple, held: bool) -> Setup:
    """Hold a setting back or train on it again; two at least stay, else a notice says so."""
    there = sequences(setup)
    if triple not in {s.triple for s in there}:
        return setup
    kept = [s for s in there if not s.held and s.triple != triple]
    if held and len(kept) < LEAST_SETTINGS:
        return replace(setup, notice=AT_LEAST_TWO)
    changed = setup.held | {triple} if held else setup.held - {triple}
    return replace(setup, held=changed, notice="")


def sequence_sentence(setup: Setup) -> str:
    """Say how many settings are trained on and held back."""
    there = sequences(setup)
    if not there:
        return "The settings stand here once the data are known."
    held = sum(s.held for s in there)
    if not held:
        return f"All {len(there)} are trained on; hold some back to test unseen settings"
    return f"{len(there) - held} to train on, {held} held back to test unseen settings"


def _named(setup: Setup, use: Use) -> tuple[str, ...]:
    """Return the people of a use as a run names them; of several datasets each has its own.

    The table gives all who bear one label one use; a dataset in which such a person has nothing
    to learn from is passed over.
    """
    roots = [str(path) for path in setup.datasets]
    return tuple(
        prefix_of(roots, number) + person
        for number, report in enumerate(setup.reports)
        for person, many in _most_scans(report).items()
        if setup.uses.get(person) == use and many >= LEAST_SETTINGS
    )


def data_config(setup: Setup) -> DataConfig:
    """Return what the run learns from."""
    out = {person for person, use in setup.uses.items() if use == "out"}
    visits = [
        label for report in setup.reports for label in report.labels if person_of(label) in out
    ]
    return DataConfig(
        datasets=tuple(str(path) for path in setup.datasets),
        validate=_named(setup, "validate"),
        test=_named(setup, "test"),
        leave_out=tuple(dict.fromkeys([*visits, *sorted(setup.left_out)])),
        hold_back=tuple(s.triple for s in sequences(setup) if s.held),
        start=(setup.start or None) if setup.plan == "fine-tune" else None,
    )
