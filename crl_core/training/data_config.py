"""What a run learns from, in one value that is saved with it. No torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crl_core.errors import InputError, ParameterError
from crl_core.sequence import SequenceParameters, distance

Triple = tuple[float, float, float]

SAME = 0.03
"""Settings this close are one: three per cent in TR or TE."""


@dataclass(frozen=True)
class DataConfig:
    """The data of a run and how they are shared out.

    Parameters
    ----------
    datasets
        BIDS datasets; label maps where `digital`.
    digital
        Simulate fresh subjects instead of reading scans.
    validate, test
        People (``sub-01``) for validation, and people who are never touched. None chooses a tenth
        for validation, at least one of two or more, by the seed.
    leave_out
        Visits (``sub-01_ses-2``) or files, relative to their dataset, that take no part.
    hold_back
        TR, TE, TI in ms of settings that are validated on but never trained on.
    start
        Checkpoint to go on from, a path or the name of a shipped one.
    rehearsal
        Label maps that rehearsed digital subjects are made of; empty for the shipped one.
    """

    datasets: tuple[str, ...] = ()
    digital: bool = False
    validate: tuple[str, ...] | None = None
    test: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    hold_back: tuple[Triple, ...] = ()
    start: str | None = None
    rehearsal: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a person on two sides and settings that are none."""
        both = set(self.validate or ()) & set(self.test)
        if both:
            raise InputError(f"{min(both)} is to validate and to test; a person has one side")
        try:
            for triple in self.hold_back:
                SequenceParameters(*triple)
        except (ParameterError, TypeError) as error:
            raise InputError(f"a setting to hold back is none ({error})") from None

    def held(self, parameters: SequenceParameters) -> bool:
        """Return whether a setting is held back."""
        return any(distance(parameters, SequenceParameters(*t)) < SAME for t in self.hold_back)

    def to_json(self) -> str:
        """Return the value as indented JSON."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_dict(cls, values: dict[str, Any], path: Path | None = None) -> DataConfig:
        """Build it from plain values.

        Raises
        ------
        InputError
            When an entry is unknown or of the wrong kind.
        """
        known: dict[str, Any] = {}
        for name, value in values.items():
            try:
                known[name] = _READ[name](value)
            except KeyError:
                raise InputError(
                    f"the data settings have an unknown entry '{name}'",
                    path=path,
                    remedy=f"Known entries are {', '.join(sorted(_READ))}",
                ) from None
            except (TypeError, ValueError):
                raise InputError(
                    f"the data setting '{name}' has the wrong type", path=path
                ) from None
        return cls(**known)

    @classmethod
    def load(cls, path: Path) -> DataConfig:
        """Read it from a JSON file."""
        from crl_core.io.bids import read_json

        if not path.exists():
            raise InputError("there is no such file", path=path)
        return cls.from_dict(read_json(path), path)


def prefix_of(datasets: Sequence[str], number: int) -> str:
    """Return what stands before the names of people of a dataset.

    Two datasets may both have a sub-01, and these are two people: ``1/sub-01`` and ``2/sub-01``.
    """
    return f"{number + 1}/" if len(datasets) > 1 else ""


def person_of(label: str) -> str:
    """Return the person of a visit: ``sub-01`` of ``sub-01_ses-2``."""
    return label.split("_ses-")[0]


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise TypeError(value)
    return tuple(value)


def _triples(value: Any) -> tuple[Triple, ...]:
    found = []
    for entry in value:
        tr, te, ti = (float(v) for v in entry)
        found.append((tr, te, ti))
    return tuple(found)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


_READ: dict[str, Any] = {
    "datasets": _texts,
    "digital": _flag,
    "validate": lambda v: None if v is None else _texts(v),
    "test": _texts,
    "leave_out": _texts,
    "hold_back": _triples,
    "rehearsal": _texts,
    "start": lambda v: None if v is None else _texts([v])[0],
}
