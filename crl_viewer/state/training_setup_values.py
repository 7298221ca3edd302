"""Questions about TR, TE and TI that the files do not answer, asked once per contrast."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from crl_core.doctor.findings import Finding, Mend
from crl_core.errors import ParameterError
from crl_core.sequence import SequenceParameters
from crl_viewer.formatting import parse_ms
from crl_viewer.state.training_setup_plan import usual_values
from crl_viewer.state.training_setup_rows import Issue, known_times, name_of
from crl_viewer.strings import listed, number

NAMES = ("tr", "te", "ti")

NOMINAL = "Usual values are filled in. Type what your protocol says; what you leave is nominal."


@dataclass(frozen=True)
class Contrast:
    """One contrast whose times are asked for.

    Parameters
    ----------
    name, count
        What it is called, and how many images have it.
    proposed
        Times to begin with, ms, by name.
    """

    name: str
    count: int
    proposed: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ValueQuestion:
    """What is asked before a dataset can be used.

    Parameters
    ----------
    title, sentence
        What it is about.
    contrasts
        One row each.
    folder
        Where a new dataset is written; empty where none is.
    go
        What the button says.
    may_leave_out
        Whether a contrast can be left out instead.
    """

    title: str
    sentence: str
    contrasts: tuple[Contrast, ...]
    folder: str = ""
    go: str = "Use these values"
    may_leave_out: bool = False


@dataclass(frozen=True)
class ValueAnswer:
    """What was typed: times by contrast, contrasts to leave out, and the folder."""

    values: Mapping[str, SequenceParameters]
    left_out: frozenset[str] = frozenset()
    folder: str = ""


class Image(Protocol):
    """An image of a plain folder."""

    person: str
    visit: str
    contrast: str
    parameters: SequenceParameters | None
    why_left_out: str


def arrange_question(images: Sequence[Image], folder: Path) -> ValueQuestion:
    """Ask how a plain folder of images is to be arranged.

    Parameters
    ----------
    images
        What was found in it.
    folder
        Where the dataset is to be written.
    """
    kept = [image for image in images if not image.why_left_out]
    left_out = [image.why_left_out for image in images if image.why_left_out]
    people = {image.person for image in kept}
    visits = {(image.person, image.visit) for image in kept}
    unknown: dict[str, int] = {}
    for image in kept:
        if image.parameters is None:
            unknown[image.contrast] = unknown.get(image.contrast, 0) + 1
    many = f"{number(len(kept))} image{'s' * (len(kept) != 1)} of "
    many += "1 person" if len(people) == 1 else f"{len(people)} people"
    many += f" at {len(visits)} visits." if len(visits) > len(people) else "."
    said = f"{many} They are copied into a new BIDS dataset; your files stay as they are."
    if left_out:
        more = "" if len(left_out) == 1 else f" and {len(left_out) - 1} more"
        said += f" Left out: {left_out[0]}{more}."
    if unknown:
        said += f" The files do not say TR, TE and TI. {NOMINAL}"
    contrasts = tuple(Contrast(n, count, _usual(n)) for n, count in unknown.items())
    return ValueQuestion("These images are no dataset yet", said, contrasts, str(folder), "Arrange")


def _usual(contrast: str) -> dict[str, float]:
    values = usual_values(contrast)
    return {} if values is None else dict(zip(NAMES, values.triple, strict=True))


def nominal_contrasts(question: ValueQuestion, answer: ValueAnswer) -> frozenset[str]:
    """Return the contrasts whose proposed values were left as they are."""
    return frozenset(
        contrast.name
        for contrast in question.contrasts
        if contrast.name in answer.values
        and dict(contrast.proposed)
        == dict(zip(NAMES, answer.values[contrast.name].triple, strict=True))
    )


def value_findings(issues: Iterable[Issue]) -> dict[str, list[tuple[Path, Finding]]]:
    """Return the findings that need a value, by contrast, with their dataset."""
    found: dict[str, list[tuple[Path, Finding]]] = {}
    for issue in issues:
        if issue.kind == "value":
            for finding in issue.findings:
                found.setdefault(name_of(finding.file), []).append((issue.dataset, finding))
    return found


def mend_question(issues: Iterable[Issue]) -> ValueQuestion:
    """Ask for the times that the doctor misses."""
    contrasts, guessed = [], False
    for name, found in value_findings(issues).items():
        known = {k: v for _, f in reversed(found) for k, v in known_times(f).items()}
        guessed |= bool(_usual(name).keys() - known.keys())
        contrasts.append(Contrast(name, len(found), {**_usual(name), **known}))
    names = listed([c.name for c in contrasts])
    said = (
        f"The times of {names} are written into the sidecars as given by you. The files as they "
        "were are kept in sourcedata/mended."
    )
    if guessed:
        said = f"Usual values are filled in: type what your protocol says. {said}"
    return ValueQuestion("Values that are needed", said, tuple(contrasts), may_leave_out=True)


def value_mends(issues: Iterable[Issue], answer: ValueAnswer) -> dict[Path, list[Mend]]:
    """Return the mends that write what was typed."""
    mends: dict[Path, list[Mend]] = {}
    for name, found in value_findings(issues).items():
        values = answer.values.get(name)
        if values is None:
            continue
        text = ",".join(f"{ms:.9g}" for ms in values.triple)
        for dataset, finding in found:
            mends.setdefault(dataset, []).append(Mend("params", finding.file, text, sure=False))
    return mends


def files_left_out(issues: Iterable[Issue], answer: ValueAnswer) -> frozenset[str]:
    """Return the images of the contrasts that are left out."""
    found = value_findings(issues)
    return frozenset(f.file for name in answer.left_out for _, f in found.get(name, ()))


def read_times(name: str, texts: Mapping[str, str]) -> SequenceParameters:
    """Read the three fields of a contrast.

    Raises
    ------
    ParameterError
        One clear line that names the contrast.
    """
    try:
        tr, te, ti = (parse_ms(texts[key] or "", off=key == "ti") for key in NAMES)
        parameters = SequenceParameters(tr, te, ti)
        parameters.check_order()
    except ParameterError as refusal:
        empty = [key.upper() for key in NAMES if not texts[key].strip()]
        if empty:
            raise ParameterError(
                f"{name}: {listed(empty)} {'is' if len(empty) == 1 else 'are'} missing"
            ) from None
        raise ParameterError(f"{name}: {refusal.problem}", remedy=refusal.remedy) from None
    return parameters
