"""The card of a checkpoint: what a network is, what it was trained on and how good it is.

A card is plain JSON and read without torch. Nothing in it is believed: every entry is checked
for its kind and range, unknown entries are refused, and text never names a class to import.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NoReturn

from crl_core.errors import CheckpointError
from crl_core.trust import TrainingCoverage

VERSION = 1
"""Version of the card's format; a higher one is refused."""

NOTE = (
    "For research and teaching, not for clinical use: a synthesised image is an estimate, "
    "not a measurement."
)

INTENSITY_RULES = ("robust", "minmax")

MAX_CARD_BYTES = 1 << 20
"""Longest card that is read, bytes."""

_MAX_DEPTH = 12
_MAX_NUMBER = 1e6
_SHA256 = re.compile(r"[0-9a-f]{64}|")


@dataclass(frozen=True)
class Card:
    """What a checkpoint says about itself.

    Parameters
    ----------
    name
        Short name, shown to users and written into exports.
    preset
        The preset the network started from.
    architecture
        Its entries with their values, ``kind`` included; enough to build the network.
    intensity_rule
        ``"robust"`` or ``"minmax"``: how inputs are scaled (`crl_core.scan.IntensityScale`).
    in_plane_mm
        In-plane voxel size it was trained at, mm; ``None`` runs on a scan's own grid.
    coverage
        The settings it was trained on.
    training
        Data, steps, seconds, hardware, seed, settings: plain values, no NaN or infinity.
    metrics
        What was measured, on what and against which baselines; plain values as above.
    note
        What a user must know.
    sha256
        Hash of the weights, 64 hexadecimal digits; filled in when saved.
    version
        Format of the card.

    Raises
    ------
    CheckpointError
        When an entry is of the wrong kind or out of range.
    """

    name: str
    preset: str
    architecture: dict[str, Any]
    intensity_rule: str
    in_plane_mm: float | None
    coverage: TrainingCoverage
    training: dict[str, Any]
    metrics: dict[str, Any]
    note: str = NOTE
    sha256: str = ""
    version: int = VERSION

    def __post_init__(self) -> None:
        if type(self.version) is not int or not 1 <= self.version <= VERSION:
            raise CheckpointError(
                f"its card has the format {str(self.version)[:20]}, this program reads {VERSION}",
                remedy="Install a newer version of the program",
            )
        for name, limit in (("name", 100), ("preset", 100), ("note", 4000)):
            _check_text(getattr(self, name), name, limit)
        if self.intensity_rule not in INTENSITY_RULES:
            _refuse(f"intensity_rule is neither {' nor '.join(INTENSITY_RULES)}")
        if not isinstance(self.coverage, TrainingCoverage):
            _refuse("coverage is not a training coverage")
        if not isinstance(self.sha256, str) or _SHA256.fullmatch(self.sha256) is None:
            _refuse("sha256 is not a hash of 64 hexadecimal digits")
        object.__setattr__(self, "in_plane_mm", _voxel_size(self.in_plane_mm))
        for name in ("architecture", "training", "metrics"):
            if not isinstance(getattr(self, name), dict):
                _refuse(f"{name} is not a set of named values")
            object.__setattr__(self, name, _plain(getattr(self, name), name))
        _check_architecture(self.architecture)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**values, "coverage": self.coverage.as_dict()}

    def to_json(self, *, indent: int | None = None) -> str:
        """Return the card as JSON text."""
        return json.dumps(self.as_dict(), indent=indent, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_dict(cls, values: object) -> Card:
        """Read what `as_dict` wrote.

        Raises
        ------
        CheckpointError
            When anything is missing, unknown, of the wrong kind or out of range.
        """
        names = [f.name for f in fields(cls)]
        if not isinstance(values, dict):
            _refuse("it is not a set of named values")
        version = values.get("version")
        if type(version) is int and version > VERSION:
            # A newer format may have other entries; its number says more than their names.
            names = [n for n in names if n in values]
            values = {n: values[n] for n in names}
        for missing in sorted(set(names) - set(values)):
            _refuse(f"the entry '{missing}' is missing")
        for unknown in sorted(set(values) - set(names)):
            _refuse(f"the entry '{str(unknown)[:40]}' is unknown")
        given = dict(values)
        if "coverage" in given:
            given["coverage"] = TrainingCoverage.from_dict(given["coverage"])
        return cls(**given)

    @classmethod
    def from_json(cls, text: str) -> Card:
        """Read what `to_json` wrote; errors as in `from_dict`."""
        if len(text) > MAX_CARD_BYTES:
            _refuse(f"it is longer than {MAX_CARD_BYTES} characters")
        return cls.from_dict(parse_json(text, _refuse))


def parse_json(text: str | bytes, refuse: Callable[[str], NoReturn]) -> Any:
    """Parse JSON text; `refuse` is called with what is wrong with it."""

    def constant(name: str) -> NoReturn:
        refuse(f"it holds {name}, which is not a number")

    try:
        return json.loads(text, parse_constant=constant)
    except (ValueError, RecursionError):
        refuse("it is not JSON")


def _refuse(problem: str) -> NoReturn:
    raise CheckpointError(
        f"its card cannot be used: {problem}", remedy="Use the checkpoint as it was written"
    )


def _check_text(value: object, name: str, limit: int) -> None:
    if not isinstance(value, str) or len(value) > limit or (not value.strip() and name != "note"):
        _refuse(f"{name} is not a text of 1 to {limit} characters")


def _voxel_size(value: object) -> float | None:
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0.05 <= value <= 20.0:  # type: ignore[operator]
        _refuse("in_plane_mm is neither null nor between 0.05 and 20 mm")
    return float(value)  # type: ignore[arg-type]


def _plain(value: object, name: str, depth: int = 0) -> Any:
    """Return a copy made of JSON's own kinds only, tuples as lists."""
    if depth > _MAX_DEPTH:
        _refuse(f"{name} is nested too deeply")
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            _refuse(f"{name} has a name that is not a text")
        return {key: _plain(item, f"{name}.{key[:40]}", depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, name, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        _refuse(f"{name} is not a finite number")
    if value is not None and not isinstance(value, str | int | float):
        _refuse(f"{name} holds a {type(value).__name__}, which JSON cannot hold")
    return value


def _check_architecture(architecture: dict[str, Any]) -> None:
    """Refuse what no network could be built from; names and sizes are checked when building."""
    if not isinstance(architecture.get("kind"), str):
        _refuse("architecture.kind is missing")
    for name, value in architecture.items():
        for item in value if isinstance(value, list) else [value]:
            if not isinstance(item, str | int | float):
                _refuse(f"architecture.{name[:40]} is neither text nor numbers")
            if not isinstance(item, str) and abs(item) > _MAX_NUMBER:
                _refuse(f"architecture.{name[:40]} is out of range")
