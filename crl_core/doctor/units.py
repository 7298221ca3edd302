"""Times in the wrong unit: milliseconds in a field of seconds, and the reverse mistake.

Fast spin echo leaves wide gaps between the units. Echo times run from 5 to some 300 ms, so a
field in seconds holds 0.005 to 0.3, the same in milliseconds 5 to 300, and divided by 1000 once
too often 0.000005 to 0.0003: no value belongs to two of them. The same holds for TI (20 to
5000 ms). A TR of a few milliseconds exists in gradient echo, so it needs a second sign.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from crl_core.io.timing import FIELDS, LONGEST_S, NAMES

SHORTEST_S: Mapping[str, float] = {"tr": 0.03, "te": 0.001, "ti": 0.01}
"""Below these a number of seconds was divided by 1000 once too often; TR needs a second sign."""

FIELD_OF = {key: name for name in NAMES for key in FIELDS[name]}

UNITS: Mapping[str, tuple[float, float]] = {
    **{key: (SHORTEST_S[name], LONGEST_S[name]) for key, name in FIELD_OF.items()},
    "EchoSpacing": (0.0005, 1.0),
}
"""For each field in seconds: below the first it was divided once too often, above the second it
is in milliseconds."""


def suspected(key: str, fields: Mapping[str, Any]) -> str:
    """Return ``"milliseconds"``, ``"thousandth"`` or nothing for one BIDS field.

    Parameters
    ----------
    key
        Name of the field, one of `UNITS`.
    fields
        All fields of the scan, in seconds as BIDS has them.
    """
    kind = wrong_unit(key, fields.get(key))
    if kind != "thousandth":
        return kind
    if gradient_echo(fields):
        return ""
    if FIELD_OF.get(key) != "tr" or "SE" in str(fields.get("ScanningSequence", "")):
        return kind
    # A TR of a few ms is that of a gradient echo unless something else speaks against it.
    shortest = min(v for v in numbers(fields[key]) if v > 0)
    echo = [v for v in numbers(fields.get("EchoTime")) if v > 0]
    inverted = [v for v in numbers(fields.get("InversionTime")) if v > 0]
    also = any(wrong_unit(k, fields.get(k)) == kind for k in ("EchoTime", "InversionTime"))
    return kind if also or any(shortest <= v for v in (*echo, *inverted)) else ""


def wrong_unit(key: str, value: Any) -> str:
    """Return ``"milliseconds"``, ``"thousandth"`` or nothing for the value of a field alone."""
    low, high = UNITS[key]
    values = [v for v in numbers(value) if v > 0]
    if values and all(v > high and low <= v / 1000.0 <= high for v in values):
        return "milliseconds"
    if values and all(v < low and low <= v * 1000.0 <= high for v in values):
        return "thousandth"
    return ""


def numbers(value: Any) -> list[float]:
    """Return the finite numbers a field holds, alone or in a list."""
    items = value if isinstance(value, list) else [value]
    return [
        float(v)
        for v in items
        if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)
    ]


def first_ms(value: Any) -> float:
    """Return the first number of a field, in ms."""
    return float(f"{1000.0 * numbers(value)[0]:.9g}")


def scaled(value: Any, factor: float) -> Any:
    """Return a number, or every number of a list, times a power of ten, without rounding dust."""
    if isinstance(value, list):
        return [scaled(v, factor) for v in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return float(f"{value * factor:.12g}")


def gradient_echo(fields: Mapping[str, Any]) -> bool:
    """Return whether a sidecar says gradient echo and not spin echo."""
    listed = str(fields.get("ScanningSequence", "")).upper()
    return "GR" in listed and "SE" not in listed
