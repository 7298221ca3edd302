"""Texts of the window, and how numbers are written in it.

Thin spaces separate thousands, the minus sign is a true one, parameters always stand in the
order TR TE TI.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from crl_core.card import Card
from crl_core.scan import Scan
from crl_core.sequence import SequenceParameters

APP_NAME = "CRL Explorer"
NOT_CLINICAL = "For research. Not for clinical use."
WELCOME = "Move TR, TE and TI of a fast spin echo scan and see the contrast change."
DROP_HINT = "Or drop NIfTI files (.nii, .nii.gz) anywhere on this window."
LOADING_MODEL = "Loading the network…"
LOADING_FILES = "Reading {name}…"
NO_REFERENCE = "Choose an acquired scan to compare with"
NO_SOURCE = "Open a scan to begin"
RENDERING = "Synthesising…"
NOMINAL = "Nominal values: the file carries none."
ESTIMATED = "Some values are estimated."
NO_VOLUME = "This scan is a single slice."
SOURCE_OUTSIDE = "Source settings outside the trained range"
NEEDS_TIMES = "TR, TE and TI are needed to synthesise"
REFERENCE_IS_SOURCE = "Acquired is the source itself"

ROLE_TITLES = {
    "source": "Source",
    "synthesised": "Synthesised",
    "acquired": "Acquired",
    "error": "Error",
}

SAME_MS = 0.05
"""Two times closer than this count as the same setting, ms."""

_THIN = "\u2009"
_MINUS = "\u2212"


def number(value: float, digits: int = 0, *, sign: bool = False) -> str:
    """Write a number with thin spaces and a true minus.

    >>> number(8142)
    '8 142'
    """
    text = f"{value:{'+' if sign else ''},.{digits}f}".replace(",", _THIN)
    return text.replace("-", _MINUS)


def milliseconds(value: float, *, sign: bool = False) -> str:
    """Write a time with as many digits as the field uses: whole from 100 ms, else up to two."""
    digits = 0 if abs(value) >= 100 else 2
    text = number(value, digits, sign=sign)
    return text.rstrip("0").rstrip(".") if "." in text else text


def parameters_line(parameters: SequenceParameters) -> str:
    """Write a setting as on the panes: ``TR 5 000  TE 98 ms  TI off``."""
    ti = f"TI {milliseconds(parameters.ti)} ms" if parameters.inverted else "TI off"
    return f"TR {milliseconds(parameters.tr)}  TE {milliseconds(parameters.te)} ms  {ti}"


def acquired_line(scan: Scan) -> str:
    """Write the setting of an acquired scan, marking each value that the file did not state."""
    if scan.parameters is None:
        return "TR, TE, TI not known"
    words = []
    for name in ("tr", "te", "ti"):
        value = getattr(scan.parameters, name)
        if name == "ti" and value == 0:
            continue
        origin = scan.origins.get(name)
        doubt = origin.certainty if origin and origin.certainty in _DOUBTS else ""
        words.append(f"{name.upper()} {milliseconds(value)}" + (f" {doubt}" if doubt else ""))
    return "  ".join(words) + " ms"


_DOUBTS = ("nominal", "estimated")


_TIMES_GUESSED = re.compile(r"T[REI]\b.* (estimated|nominal)")


def remarks(note: str) -> tuple[str, ...]:
    """Return the first two sentences of a scan's note as short lines, without brackets.

    What it says about guessed times stands with the times already.

    >>> remarks("Registered to the first (1.9 px). TE estimated. Pixel size assumed (1 mm).")
    ('Registered to the first', 'Pixel size assumed')
    """
    bare = re.sub(r"\s*\([^)]*\)", "", note).strip().removesuffix(".")
    parts = [part.strip() for part in bare.split(". ") if part.strip()]
    return tuple(part for part in parts if not _TIMES_GUESSED.match(part))[:2]


def scan_title(scan: Scan) -> str:
    """One line for a menu: the name and what it was acquired with."""
    if scan.parameters is None or _names_setting(scan):
        return scan.name
    return f"{scan.name}   {parameters_line(scan.parameters)}"


def _names_setting(scan: Scan) -> bool:
    """Return whether the name already tells TE or TI."""
    return any(f" {word} " in f" {scan.name} " for word in ("TE", "TI"))


def deviation(current: SequenceParameters, acquired: SequenceParameters) -> str:
    """Say by how much the sliders differ from an acquisition, or return an empty text.

    >>> deviation(SequenceParameters(5000, 98), SequenceParameters(5000, 90))
    'TE +8 ms'
    """
    parts = []
    for name in ("tr", "te", "ti"):
        now, then = getattr(current, name), getattr(acquired, name)
        if abs(now - then) <= SAME_MS:
            continue
        if name == "ti" and 0 in (now, then):
            parts.append("TI off" if now == 0 else "TI on")
        else:
            parts.append(f"{name.upper()} {_difference(now - then)}")
    unit = "" if not parts or parts[-1] in ("TI off", "TI on") else " ms"
    return ", ".join(parts) + unit


def _difference(value: float) -> str:
    """Write how far two times lie apart: whole from 10 ms, else one digit, below 1 ms two."""
    digits = 0 if abs(value) >= 10 else 1 if abs(value) >= 1 else 2
    text = number(value, digits, sign=True)
    return text.rstrip("0").rstrip(".") if "." in text else text


def listed(names: Sequence[str]) -> str:
    """Join names as in running text: ``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def card_groups(card: Card) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return what a model card says, as headings with (name, value) rows."""
    size = "the scan's own grid" if card.in_plane_mm is None else f"{card.in_plane_mm:g} mm"
    first = [("Preset", card.preset), ("Trained at", size), ("Intensities", card.intensity_rule)]
    trained = [parameters_line(p) for p in card.coverage.points]
    settings = [(str(n), line) for n, line in enumerate(trained, start=1)]
    groups = [
        ("Network", first),
        ("Training", _rows(card.training)),
        ("Measured", _rows(card.metrics)),
        ("Trained settings", settings),
    ]
    return [(heading, rows) for heading, rows in groups if rows]


def _rows(values: Mapping[str, object], before: str = "") -> list[tuple[str, str]]:
    """Flatten nested plain values into rows."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{before}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            rows += _rows(value, f"{name}, ")
        elif isinstance(value, float):
            rows.append((name, f"{value:.4g}".replace("-", _MINUS)))
        elif isinstance(value, list | tuple):
            rows.append((name, ", ".join(str(v) for v in value)))
        else:
            rows.append((name, str(value)))
    return rows
