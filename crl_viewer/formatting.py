"""How values are written on the controls, and how typed ones are read.

Thousands are set apart by a thin space, the minus is a true one, and the unit follows after a
space. `crl_viewer.strings` writes running text; here are the short forms of fields and ticks.
"""

from __future__ import annotations

import math
import re

from crl_core.errors import ParameterError
from crl_core.sequence import SequenceParameters
from crl_viewer.strings import number

__all__ = [
    "DASH",
    "clock",
    "field_text",
    "milliseconds",
    "number",
    "parse_ms",
    "short_setting",
    "spoken",
    "tick_text",
    "trimmed",
]

DASH = "\N{EN DASH}"
"""Stands where there is no value; a tooltip says why."""

_TYPED = re.compile(r"([0-9]*\.?[0-9]+|[0-9]+\.)\s*(ms|s)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+(?!\d)")
_HOW = "Type a time as 98, 98 ms or 1.2 s"


def trimmed(value: float, digits: int) -> str:
    """Write a number with at most `digits` decimals, without trailing zeros.

    >>> trimmed(10.42, 2), trimmed(90.0, 2)
    ('10.42', '90')
    """
    text = number(value, digits)
    return text.rstrip("0").rstrip(".") if "." in text else text


def milliseconds(value: float) -> str:
    """Write a time in ms: two decimals below 100, one below 1 000, none above."""
    return trimmed(value, 2 if abs(value) < 100 else 1 if abs(value) < 1000 else 0)


def field_text(name: str, value: float) -> str:
    """Write the value of a slider's field, with its unit.

    >>> field_text("te", 98.0), field_text("ti", 0.0)
    ('98 ms', 'off')
    """
    return "off" if name == "ti" and value == 0 else f"{milliseconds(value)} ms"


def spoken(name: str, value: float, remark: str = "") -> str:
    """Write a value for a screen reader.

    >>> spoken("te", 98, "extrapolating")
    'TE 98 milliseconds, extrapolating'
    """
    plain = trimmed(value, 2).replace("\N{THIN SPACE}", "")
    words = f"{name.upper()} off" if name == "ti" and value == 0 else (
        f"{name.upper()} {plain} milliseconds"
    )
    return f"{words}, {remark}" if remark else words


def short_setting(p: SequenceParameters) -> str:
    """Write the three times in the usual order, without units.

    >>> short_setting(SequenceParameters(600, 10))
    'TR 600  TE 10  TI off'
    """
    ti = milliseconds(p.ti) if p.inverted else "off"
    return f"TR {milliseconds(p.tr)}  TE {milliseconds(p.te)}  TI {ti}"


def tick_text(value: float) -> str:
    """Write a tick number in the least space: 500, 1k, 2.5k.

    >>> tick_text(500), tick_text(10_000), tick_text(2_500)
    ('500', '10k', '2.5k')
    """
    return f"{trimmed(value / 1000, 1)}k" if value >= 1000 else trimmed(value, 1)


def clock(seconds: float) -> str:
    """Write a duration in minutes and seconds.

    >>> clock(150), clock(42.4)
    ('2 min 30 s', '42 s')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def parse_ms(text: str, *, off: bool = False) -> float:
    """Read a typed time in ms; ``98``, ``98 ms``, ``1.2 s`` and ``8 142`` are understood.

    Parameters
    ----------
    text
        What was typed. A comma stands for thousands in ``8,142`` and else for the decimal
        point.
    off
        Whether ``off``, ``none`` and 0 are allowed and mean 0.

    Raises
    ------
    ParameterError
        When it is not a time.
    """
    bare = re.sub(r"[\s_\u2009\u202f\u00a0']", "", text.strip().lower())
    if off and bare in ("off", "none", "-", DASH):
        return 0.0
    head = _THOUSANDS.match(bare)
    bare = bare.replace(",", "") if head else bare.replace(",", ".")
    found = _TYPED.fullmatch(bare)
    if found is None:
        raise ParameterError(f"'{text.strip()}' is not a time", remedy=_HOW)
    value = float(found[1]) * (1000.0 if found[2] == "s" else 1.0)
    if not math.isfinite(value) or (value == 0 and not off):
        raise ParameterError(f"'{text.strip()}' is not above zero", remedy=_HOW)
    return value
