"""What the Set-up page lists: one row per person and visit, with what the doctor found there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from crl_core.doctor.findings import Finding, Report, ScanRow, Value
from crl_core.training.data_config import person_of
from crl_viewer.strings import listed

Kind = Literal["mend", "value", "prepare", "decide", "know", "left"]
"""What becomes of a finding: mended at a click, with a value of the user's, by preparing the
dataset, after a decision, or nothing at all. ``"left"`` is no finding: scans the user left out."""

Tone = Literal["ok", "warn", "bad", "text2"]

TIMES = ("TR", "TE", "TI")
_GUESSED = ("nominal", "estimated")


@dataclass(frozen=True)
class Issue:
    """Findings of one kind about one visit, or about the dataset as a whole.

    Parameters
    ----------
    dataset
        Folder of the dataset.
    subject
        Label of the visit; empty for the dataset.
    code
        The doctor's word for the kind of finding.
    kind
        What becomes of it.
    text
        A few words for the table.
    link
        What can be done about it; empty where nothing can.
    """

    dataset: Path
    subject: str
    code: str
    kind: Kind
    severity: str
    text: str
    link: str
    findings: tuple[Finding, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The images it is about, relative to the dataset."""
        return tuple(f.file for f in self.findings if f.file)


@dataclass(frozen=True)
class VisitRow:
    """One line of the table.

    Parameters
    ----------
    dataset, label, person
        Folder of the dataset, label of the visit and the person it is of; both labels are empty
        for the row about a dataset as a whole.
    title, visit
        What to call the person and the visit.
    files
        Its images, relative to the dataset.
    names
        Short names of the images.
    grid, times, times_tone
        Voxels, and how certain TR, TE and TI are.
    issues
        What was found, worst first.
    pending
        Whether voxels are still to be looked at.
    """

    dataset: Path
    label: str
    person: str
    title: str
    visit: str
    files: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    grid: str = ""
    times: str = ""
    times_tone: Tone = "text2"
    issues: tuple[Issue, ...] = ()
    pending: bool = False

    @property
    def finding(self) -> str:
        """What stands in the column of findings."""
        if self.issues:
            return self.issues[0].text
        return "Being checked" if self.pending else "Ready"

    @property
    def link(self) -> str:
        """What can be done about the first finding."""
        return self.issues[0].link if self.issues else ""

    @property
    def tone(self) -> Tone:
        """Its colour."""
        if not self.issues:
            return "text2" if self.pending else "ok"
        if self.issues[0].kind == "left":
            return "text2"
        return "bad" if self.issues[0].severity == "error" else "warn"

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where its images lie."""
        return tuple(self.dataset / file for file in self.files)

    @property
    def tip(self) -> str:
        """Everything that was found, one line each."""
        lines = [f"{self.label}   {self.grid}".strip(), ", ".join(self.names)]
        for issue in self.issues:
            lines += [sentence(str(f.problem), name_of(f.file)) for f in issue.findings]
        return "\n".join(filter(None, lines))


def visit_rows(report: Report, *, tell_dataset: bool = False) -> list[VisitRow]:
    """Return one row per visit of a report, behind a row about the dataset where it needs one.

    Parameters
    ----------
    report
        What the doctor said.
    tell_dataset
        Name the dataset in each row, because there are several.
    """
    issues = issues_of(report)
    by_subject: dict[str, list[Issue]] = {}
    for issue in issues:
        by_subject.setdefault(issue.subject, []).append(issue)
    rows = []
    if "" in by_subject:
        about = tuple(by_subject[""])
        rows.append(VisitRow(report.root, "", "", "Dataset", report.root.name, issues=about))
    for label in report.labels:
        own = [row for row in report.subjects if row.subject == label]
        where = report.root.name if tell_dataset else ""
        rows.append(_row(report.root, label, own, by_subject.get(label, ()), where))
    if report.quick:
        rows = [replace(row, pending=True) for row in rows]
    return rows


def _row(
    root: Path, label: str, scans: Sequence[ScanRow], issues: Iterable[Issue], where: str
) -> VisitRow:
    person = person_of(label)
    many = "1 scan" if len(scans) == 1 else f"{len(scans)} scans"
    visit = f"visit {label.split('_ses-')[1]}" if "_ses-" in label else ""
    times, tone = certainty(scans)
    return VisitRow(
        dataset=root,
        label=label,
        person=person,
        title=person_name(person),
        visit=", ".join(filter(None, (where, visit, many))),
        files=tuple(scan.file for scan in scans),
        names=tuple(scan_name(scan) for scan in scans),
        grid=_grid(scans),
        times=times,
        times_tone=tone,
        issues=tuple(issues),
    )


def person_name(person: str) -> str:
    """Write a person as in running text.

    >>> person_name("sub-01")
    'Person 01'
    """
    return f"Person {person.removeprefix('sub-')}"


def person_count(count: int) -> str:
    """Write how many people there are.

    >>> person_count(1), person_count(11), person_count(0)
    ('1 person', '11 people', 'No people')
    """
    return "1 person" if count == 1 else f"{count if count else 'No'} people"


def _grid(scans: Sequence[ScanRow]) -> str:
    """Write the voxels of a visit, those of most scans where they differ."""
    shapes = [scan.shape for scan in scans if scan.shape is not None]
    if not shapes:
        return "\N{EN DASH}"
    usual = max(dict.fromkeys(shapes), key=shapes.count)
    return " × ".join(str(n) for n in usual)


def certainty(scans: Sequence[ScanRow]) -> tuple[str, Tone]:
    """Say how certain TR, TE and TI of some scans are: ``exact``, ``nominal``, ``TI missing``."""
    missing = [name for name in TIMES if any(getattr(scan, name.lower()) is None for scan in scans)]
    if missing:
        return (f"{listed(missing)} missing" if len(missing) < 3 else "missing"), "bad"
    known: list[tuple[str, Value]] = [
        (name, getattr(scan, name.lower())) for scan in scans for name in TIMES
    ]
    told = {value.certainty for name, value in known if _counts(name, value)}
    for word in _GUESSED:
        if word in told:
            return word, "warn"
    return ("given" if "given" in told else "exact"), "text2"


def _counts(name: str, value: Value) -> bool:
    """Return whether a guess matters; no TI in plain spin echo is none."""
    return not (name == "TI" and value.ms == 0)


def scan_name(scan: ScanRow) -> str:
    """Return the short name of a scan: ``T1w``, ``paper4 PDw``."""
    return scan.name.replace("acq-", "").replace("_", " ")


def name_of(file: str) -> str:
    """Return a short name for a file of a dataset."""
    stem = file.rsplit("/", 1)[-1].removesuffix(".gz").rsplit(".", 1)[0]
    parts = [p for p in stem.split("_") if not p.startswith(("sub-", "ses-"))]
    return " ".join(parts).replace("acq-", "") or stem


# issues -----------------------------------------------------------------------------------------


def issues_of(report: Report) -> list[Issue]:
    """Gather errors and warnings of a report: one issue for each visit, code and kind."""
    groups: dict[tuple[str, str, Kind, str], list[Finding]] = {}
    for finding in (*report.errors, *report.warnings):
        key = (finding.subject, finding.code, kind_of(finding), finding.severity)
        groups.setdefault(key, []).append(finding)
    made = []
    for (subject, code, kind, severity), found in groups.items():
        if code == "nothing-usable" and len(report.errors) > 1:
            continue  # follows from the other errors, which can be mended
        names = [name_of(f.file) for f in found if f.file]
        text, link = _text(code, found, names), _link(kind, found)
        made.append(Issue(report.root, subject, code, kind, severity, text, link, tuple(found)))
    lacking = {i.subject for i in made if i.severity == "error"}
    return [i for i in made if i.code != "too-few" or i.subject not in lacking]


def kind_of(finding: Finding) -> Kind:
    """Return what becomes of a finding."""
    action = finding.action
    if action is None:
        return "prepare" if finding.mend.startswith("crl prepare ") else "know"
    if action.sure:
        return "mend"
    return "value" if action.kind == "params" else "decide"


def missing_times(finding: Finding) -> list[str]:
    """Return which of TR, TE and TI have to be entered for a finding."""
    action = finding.action
    if action is None or action.kind != "params":
        return []
    return [part for part in action.value.split(",") if part in TIMES]


def known_times(finding: Finding) -> dict[str, float]:
    """Return the times a finding proposes, ms, by ``"tr"``, ``"te"`` and ``"ti"``."""
    action = finding.action
    if action is None or action.kind != "params":
        return {}
    pairs = zip(TIMES, action.value.split(","), strict=False)
    return {name.lower(): float(part) for name, part in pairs if part not in TIMES}


def _link(kind: Kind, found: Sequence[Finding]) -> str:
    first = found[0]
    if kind == "prepare":
        return "Prepare…"
    if kind == "value":
        missing = missing_times(first)
        return f"Enter {', '.join(missing)}…" if missing else "Check TR, TE, TI…"
    if first.action is None:
        return ""
    if kind == "decide":
        return _DECIDE.get(first.action.kind, "Leave it out")
    return _MEND.get(first.action.kind, "Mend")


_DECIDE = {"flip": "Mirror it…", "geometry": "Take over the geometry…", "leave-out": "Leave it out"}
_MEND = {
    "milliseconds": "Turn into seconds",
    "thousandth": "Turn into seconds",
    "params": "Take the values of the header",
    "flip": "Mirror it back",
    "geometry": "Take over the geometry",
}


def _text(code: str, found: Sequence[Finding], names: Sequence[str]) -> str:
    """Say in a few words what was found."""
    who = listed(names) if len(names) <= 2 else f"{len(names)} scans"
    is_, has = ("is", "has") if len(names) == 1 else ("are", "have")
    first = found[0]
    missing = missing_times(first)
    if missing and code != "impossible":
        # The column before names the times, and so does the link below.
        return f"{who} {has} no {listed(missing) if len(missing) < 3 else 'times'}"
    said = {
        "milliseconds": f"Times of {who} in ms, not s",
        "thousandth": f"Times of {who} 1000 times too short",
        "flip": f"{who} {is_} mirrored",
        "flip-pair": f"{who} may be mirrored",
        "damaged": f"{who} cannot be read",
        "too-few": "Fewer than two usable scans",
        "copy-across-subjects": f"{who}: same scan as another person's",
        "nothing-usable": "Nobody has two usable scans",
    }
    if code in said:
        return said[code]
    if code == "voxel-size":
        sizes = _SIZES.search(first.problem)
        if sizes and sizes[1] == sizes[3]:
            return f"Slices {sizes[2]} mm, others {sizes[4]} mm"
    return sentence(re.split(r"[;:]", first.problem)[0], who)


_SIZES = re.compile(r"voxels of (\S+ x \S+) x (\S+) mm, (\S+ x \S+) x (\S+) mm")


def sentence(problem: str, who: str = "") -> str:
    """Put the scan in place of the pronoun a problem begins with.

    >>> sentence("it holds one single slice", "T2w"), sentence("36 slices, 46 in FLAIR", "T2w")
    ('T2w holds one single slice', 'T2w: 36 slices, 46 in FLAIR')
    """
    if not who:
        return problem[:1].upper() + problem[1:]
    if problem.startswith("it "):
        return f"{who} {problem.removeprefix('it ')}"
    return f"{who}: {problem.removeprefix('its ')}"
