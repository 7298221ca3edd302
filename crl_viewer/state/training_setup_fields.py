"""The fields of the training settings: what each means, its value, and how typed text is read."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from crl_core.errors import CRLError, InputError
from crl_core.training.config import WORDS, TrainingConfig


@dataclass(frozen=True)
class Field:
    """One setting.

    Parameters
    ----------
    name
        As in ``config.json``.
    meaning
        What it does, from the description of the settings.
    default
        Its value where nobody says otherwise.
    choices
        Words it may be; empty where any text is read.
    """

    name: str
    meaning: str
    default: Any
    choices: tuple[str, ...] = ()


@cache
def settings_fields() -> tuple[Field, ...]:
    """Return all settings in the order they are described in."""
    meanings = parse_meanings(TrainingConfig.__doc__ or "")
    plain = TrainingConfig()
    found = []
    for field in fields(TrainingConfig):
        default = getattr(plain, field.name)
        choices = ("off", "on") if isinstance(default, bool) else WORDS.get(field.name, ())
        found.append(Field(field.name, meanings.get(field.name, ""), default, choices))
    return tuple(found)


def parse_meanings(text: str) -> dict[str, str]:
    """Return the meaning of each parameter that a numpy-style description names."""
    body = inspect.cleandoc(text).partition("Parameters\n----------\n")[2]
    body = re.split(r"\n\n\w+\n-{3,}", body)[0]
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in body.splitlines():
        if line and not line[0].isspace():
            names = [name.strip() for name in line.split(":")[0].split(",")]
        elif line.strip():
            for name in names:
                meanings[name] = f"{meanings.get(name, '')} {line.strip()}".strip()
    return {name: meaning.replace("`", "").replace('"', "") for name, meaning in meanings.items()}


def field_text(value: Any) -> str:
    """Write a value for its field.

    >>> field_text((0.5, 0.3)), field_text(None), field_text(True), field_text(0.001)
    ('0.5, 0.3', '', 'on', '0.001')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple | list):
        return ", ".join(field_text(v) for v in value)
    if isinstance(value, dict):
        return json.dumps(value) if value else ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_field(field: Field, text: str) -> Any:
    """Read what was typed.

    Raises
    ------
    InputError
        When it cannot be meant.
    """
    bare, example = text.strip(), field.default
    try:
        if isinstance(example, bool):
            return {"on": True, "off": False}[bare.lower()]
        if isinstance(example, dict):
            value = json.loads(bare or "{}")
            if not isinstance(value, dict):
                raise ValueError(value)
            return value
        if isinstance(example, tuple):
            return tuple(_number(part) for part in re.split(r"[,;\s]+", bare) if part)
        if example is None:
            return float(bare) if bare else None
        if isinstance(example, int):
            return int(re.sub(r"[\s\u2009]", "", bare))
        if isinstance(example, float):
            return float(bare.replace(",", "."))
    except (KeyError, ValueError):
        raise InputError(f"'{bare}' is no value for '{field.name}'", remedy=_how(field)) from None
    return bare


def _number(text: str) -> float:
    return int(text) if re.fullmatch(r"-?\d+", text) else float(text)


def _how(field: Field) -> str:
    if isinstance(field.default, int) and not isinstance(field.default, bool):
        return "Type a whole number"
    if isinstance(field.default, dict):
        return 'Type entries of the preset as JSON, such as {"features": 32}'
    return "Type numbers, apart by commas" if isinstance(field.default, tuple) else "Type a number"


def changed_values(
    typed: Mapping[str, str], base: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what differs from the plan, and what is refused.

    Parameters
    ----------
    typed
        The text of each field.
    base
        What the plan says; the defaults stand in for what it does not name.

    Returns
    -------
    changes, refusals
        Values by name, and one line for each field that cannot be used. Settings that are only
        refused together stand under the empty name.
    """
    changes: dict[str, Any] = {}
    refusals: dict[str, str] = {}
    values: dict[str, Any] = {}
    for field in settings_fields():
        start = base.get(field.name, field.default)
        start = tuple(start) if isinstance(start, list) else start
        text = typed.get(field.name, field_text(start))
        if text.strip() == field_text(start):
            values[field.name] = start
            continue
        try:
            value = read_field(field, text)
            TrainingConfig.from_dict({field.name: value})
        except CRLError as refusal:
            refusals[field.name] = str(refusal)
            continue
        values[field.name] = value
        if value != start:
            changes[field.name] = value
    if not refusals:
        try:
            TrainingConfig.from_dict(values)
        except CRLError as refusal:
            refusals[""] = str(refusal)
    return changes, refusals
