"""What was found in the data, what becomes of it, and what keeps training from starting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from crl_core.doctor.findings import Mend
from crl_core.training.data_config import person_of
from crl_viewer.state.training_setup import (
    LEAST_SETTINGS,
    Setup,
    counts,
    people,
    rows,
    sequences,
)
from crl_viewer.state.training_setup_rows import Issue, person_count, person_name


def issues(setup: Setup) -> list[Issue]:
    """Return everything that was found about what takes part."""
    return [issue for row in rows(setup) for issue in row.issues if issue.kind != "left"]


def mends(setup: Setup) -> dict[Path, list[Mend]]:
    """Return what can be mended without a decision, by dataset."""
    found: dict[Path, list[Mend]] = {}
    for issue in issues(setup):
        if issue.kind == "mend":
            actions = [f.action for f in issue.findings if f.action is not None]
            found.setdefault(issue.dataset, []).extend(actions)
    return found


def mend_count(setup: Setup) -> int:
    """Return how many findings a click on Mend settles."""
    return sum(issue.kind == "mend" for issue in issues(setup))


def findings_sentence(setup: Setup) -> tuple[str, str]:
    """Say how many findings there are, and what becomes of them.

    Returns
    -------
    count, rest
        ``3 findings.`` and ``Two can be mended now, one needs a value from you. 11 people are
        ready.``
    """
    found = issues(setup)
    ready = _ready_words(setup)
    if not found:
        return "", f"Nothing to mend. {ready}".strip()
    many = {kind: sum(i.kind == kind for i in found) for kind in _BECOMES}
    parts = [_becomes(kind, many[kind], len(found)) for kind in _BECOMES if many[kind]]
    said = ", ".join(parts)
    head = "1 finding." if len(found) == 1 else f"{len(found)} findings."
    return head, f"{said[:1].upper()}{said[1:]}. {ready}".strip()


_BECOMES: Mapping[str, tuple[str, str]] = {
    "mend": ("can be mended now", "can be mended now"),
    "value": ("needs a value from you", "need a value from you"),
    "decide": ("is yours to decide", "are yours to decide"),
    "prepare": ("goes with preparing", "go with preparing"),
    "know": ("needs nothing from you", "need nothing from you"),
}
"""What becomes of one finding and of several, by kind."""


def _becomes(kind: str, many: int, of: int) -> str:
    one, several = _BECOMES[kind]
    if of == 1:
        return f"it {one}"
    return f"{in_words(many)} {one if many == 1 else several}"


_SMALL = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve",
)  # fmt: skip


def in_words(count: int) -> str:
    """Write a small number as a word.

    >>> in_words(2), in_words(40)
    ('two', '40')
    """
    return _SMALL[count] if count < len(_SMALL) else str(count)


def _ready_words(setup: Setup) -> str:
    taking_part = [person for person in people(setup) if setup.uses.get(person) != "out"]
    flawed: dict[str, bool] = {}
    for row in rows(setup):
        found = [issue for issue in row.issues if issue.kind != "left"]
        if found and row.person:
            bad = any(issue.severity == "error" for issue in found)
            flawed[row.person] = flawed.get(row.person, False) or bad
    ready = sum(person not in flawed for person in taking_part)
    fit = sum(flawed.get(person) is False for person in taking_part)
    if not ready and fit:
        return f"{person_count(fit)} can be used as {'it is' if fit == 1 else 'they are'}."
    words = f"{person_count(ready)} {'is' if ready == 1 else 'are'} ready"
    return f"{words}, {in_words(fit)} can be used with findings." if fit else f"{words}."


# what keeps it from starting --------------------------------------------------------------------


def blocked(setup: Setup) -> str:
    """Say why training cannot start, or return an empty text."""
    if setup.phase == "working":
        return "Training can start once this is done."
    if setup.phase == "asking":
        return "Training can start once this question is answered."
    if not setup.reports:
        return "Choose the data to train on."
    errors = [issue for issue in issues(setup) if issue.severity == "error"]
    if errors:
        return _errors_block(errors)
    if not counts(setup)["train"]:
        return "Nobody is left to train on. Set the use of a person to Train."
    if sum(not s.held for s in sequences(setup)) < LEAST_SETTINGS:
        return "Training needs two settings of TR, TE and TI or more."
    if setup.plan == "fine-tune" and not setup.start:
        return "Choose the network to fine-tune."
    if setup.folder is None:
        return "Name a folder for the run."
    return ""


def _errors_block(errors: Sequence[Issue]) -> str:
    first = errors[0]
    who = person_name(person_of(first.subject)) if first.subject else first.dataset.name
    rest = len(errors) - 1
    more = "" if not rest else f", and {in_words(rest)} more"
    what = first.text.rstrip(".")
    return f"Not ready: {who}: {what}{more}. Mend or leave out what is marked red."
