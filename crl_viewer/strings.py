"""Texts of the window, and how numbers are written in it.

Thin spaces separate thousands, the minus sign is a true one, parameters always stand in the
order TR TE TI.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from crl_core.card import Card
from crl_core.scan import Origin, Scan
from crl_core.sequence import SequenceParameters

APP_NAME = "CRL Explorer"
NOT_CLINICAL = "For research. Not for clinical use."
WELCOME = "Move TR, TE and TI of a fast spin echo scan and see the contrast change."
DROP_HINT = "Or drop DICOM folders, zip archives, NIfTI files or a BIDS dataset on this window."
DROP_HERE = "Drop to open"
LOADING_MODEL = "Loading the network…"
LOADING_FILES = "Reading {name}…"
LOOKING = "Looking into {name}…"
LISTING = "Reading the headers of {name}…"
CHOOSE_TITLE = "Choose scans"
REGISTERING = "Registering {moving} to {fixed}…"
REGISTERED = "Registered to the source, {kind}"
NO_REFERENCE = "Choose an acquired scan to compare with"
NO_SOURCE = "Open a scan to begin"
RENDERING = "Synthesising…"
NOMINAL = "Nominal values: the file carries none."
ESTIMATED = "Some values are estimated."
NO_VOLUME = "This scan is a single slice."
SOURCE_OUTSIDE = "Source settings outside the trained range"
TYPE_TIMES = "Type TR, TE and TI of {scan} first"
EXPECTED_LINE = "mean error the network expects of itself"
EXPECTED_TIP = (
    "Learnt on digital heads. A voxel's figure says little about structures: a lesion that is "
    "missed is missed with confidence."
)
FAT = "Fat"
FAT_CHOICES = ("as it is", "suppressed")
FAT_TIP = "Synthesise as if fat were suppressed, as is usual in FLAIR and STIR (F)."
FAT_UNKNOWN = "This network was never told which scans had their fat suppressed."
LEFT_OUT = "{scan} (left out: compared with)"
REFERENCE_IS_SOURCE = "Acquired is the source itself"
SYNTHETIC = "SYNTHETIC"
KEPT = "{name} belongs to a scan that is open. Choose another name."
REPLACE = "Replace"
KEEP = "Keep"

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
    fat = "  fat suppressed" if parameters.fat_suppression else ""
    return f"TR {milliseconds(parameters.tr)}  TE {milliseconds(parameters.te)} ms  {ti}{fat}"


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
    fat = "  fat suppressed" if scan.parameters.fat_suppression else ""
    return "  ".join(words) + " ms" + fat


def contradicts(name: str, psnr: float) -> str:
    """Name a source that does not fit the others."""
    fit = number(min(psnr, 99.0), 0)
    return f"{name} contradicts the other sources ({fit} dB) and counts less."


def needs_times(name: str) -> str:
    """Say which source the network cannot read."""
    return f"TR, TE and TI of {name} are needed to synthesise"


def too_many(limit: int, names: Sequence[str]) -> str:
    """Say how many sources a network takes, and which are none any more.

    >>> too_many(1, ["T1"])
    'This network takes one source: T1 is no longer used.'
    """
    many = "one source" if limit == 1 else f"up to {limit} sources"
    verb = "is" if len(names) == 1 else "are"
    return f"This network takes {many}: {listed(names)} {verb} no longer used."


def open_already(names: Sequence[str]) -> str:
    """Say that scans were not opened a second time."""
    return f"{listed(names)} {'is' if len(names) == 1 else 'are'} open already"


def replaces(names: Sequence[str]) -> str:
    """Ask whether files may be replaced.

    >>> replaces(["T2.nii.gz", "T2.json"])
    'T2.nii.gz and T2.json exist already. Replace them?'
    """
    verb, what = ("exists", "it") if len(names) == 1 else ("exist", "them")
    return f"{listed(names)} {verb} already. Replace {what}?"


def given_back(name: str, psnr: float) -> str:
    """Say how well the network gives a source back from all of them."""
    return f"{name} is given back from the sources at {number(min(psnr, 99.0), 1)} dB"


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


def origin_lines(values: Mapping[str, float], origins: Mapping[str, Origin]) -> list[str]:
    """Say of TR, TE and TI what they are and where each was read, one line each.

    Parameters
    ----------
    values
        ms, by ``"tr"``, ``"te"``, ``"ti"``; what is missing is not stated.
    origins
        Where each was read.
    """
    lines = []
    for name in ("tr", "te", "ti"):
        if name not in values:
            lines.append(f"{name.upper()}: not stated")
            continue
        off = name == "ti" and values[name] == 0
        what = f"{name.upper()} off" if off else f"{name.upper()} {milliseconds(values[name])} ms"
        origin = origins.get(name)
        if origin is not None:
            doubt = f", {origin.certainty}" if origin.certainty in _DOUBTS else ""
            what += f"{doubt}: {origin.where}"
        lines.append(what)
    return lines


def extras_line(extras: Mapping[str, object]) -> str:
    """Say what else is known of the sequence: ``Echo train 12, echo spacing 9.1 ms, 3 T``."""
    words = []
    if extras.get("echo_train_length") is not None:
        words.append(f"echo train {extras['echo_train_length']}")
    spacing = extras.get("echo_spacing")
    if isinstance(spacing, int | float):
        words.append(f"echo spacing {milliseconds(spacing)} ms")
    field = extras.get("field_strength")
    if isinstance(field, int | float):
        words.append(f"{field:.3g} T")
    suppressed = extras.get("fat_suppression")
    if suppressed is not None:
        words.append("fat suppressed" if suppressed else "no fat suppression")
    line = ", ".join(words)
    return line[:1].upper() + line[1:]


def scan_tip(scan: Scan) -> str:
    """Say where TR, TE and TI of a scan were read, and what else is known of its sequence."""
    if scan.parameters is None:
        return f"{scan.name}\n{acquired_line(scan)}"
    values = dict(zip(("tr", "te", "ti"), scan.parameters.triple, strict=True))
    lines = [scan.name, *origin_lines(values, scan.origins), extras_line(_extras(scan.parameters))]
    return "\n".join(filter(None, lines))


def scan_groups(scan: Scan, volumes: int = 1) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return what is known of a scan, as headings with (name, value) rows."""
    times = []
    for name in ("tr", "te", "ti"):
        origin = scan.origins.get(name)
        if scan.parameters is None:
            value = "not known"
        else:
            ms = float(getattr(scan.parameters, name))
            value = "off" if name == "ti" and ms == 0 else f"{milliseconds(ms)} ms"
        doubt = f", {origin.certainty}" if origin and origin.certainty in _DOUBTS else ""
        where = f"\n{origin.where}" if origin else ""
        times.append((name.upper(), f"{value}{doubt}{where}"))
    extras = extras_line(_extras(scan.parameters)) if scan.parameters is not None else ""
    sizes = " × ".join(f"{size:.3g}" for size in scan.voxel_size)
    grid = [
        ("Voxels", " × ".join(number(n) for n in scan.shape)),
        ("Voxel size", f"{sizes} mm"),
        ("Slices", f"{scan.n_slices} along {'xyz'[scan.slice_axis]}"),
    ]
    if volumes > 1:
        grid.append(("Volumes", str(volumes)))
    if not scan.orientation_stated:
        grid.append(("Orientation", "not stated by the file"))
    file = [("Opened from", scan.path.name if scan.path is not None else "the demo")]
    file += [("Series", scan.series)] if scan.series else []
    file += [("Remarks", scan.note)] if scan.note else []
    sequence = [*times, ("Also", extras)] if extras else times
    return [("Acquired with", sequence), ("Grid", grid), ("File", file)]


def _extras(parameters: SequenceParameters) -> dict[str, object]:
    names = ("echo_train_length", "echo_spacing", "field_strength", "fat_suppression")
    return {name: getattr(parameters, name) for name in names}


def person(label: str) -> str:
    """Write a person and visit of a dataset: ``sub-01, ses-02``."""
    return label.replace("_", ", ")


def choice_sentence(places: Sequence[str], scans: int, usable: int) -> str:
    """Say how many scans were found where, and how many of them are of use.

    >>> choice_sentence(["study"], 5, 4)
    'study holds 5 scans. One cannot be opened; the reason stands below its name.'
    """
    where = f"{places[0]} holds" if len(places) == 1 else f"The {len(places)} things opened hold"
    bad = scans - usable
    if not bad:
        return f"{where} {scans} scans."
    if not usable:
        return f"{where} {scans} scans. None can be opened; the reason stands below each name."
    many = "One" if bad == 1 else str(bad)
    whose = "its name" if bad == 1 else "each name"
    return f"{where} {scans} scans. {many} cannot be opened; the reason stands below {whose}."


def dataset_sentence(name: str, people: int) -> str:
    """Say what is to be chosen in a BIDS dataset."""
    if people == 1:
        return f"{name} is a BIDS dataset of one person."
    return f"{name} is a BIDS dataset of {people} visits. Choose one, then its scans."


def no_series(path: Path, missing: Sequence[str], there: Sequence[str]) -> str:
    """Say that keys are not there, and which are."""
    held = f"It holds {listed(list(there))}." if there else ""
    return f"{path}: there is no series {listed(list(missing))}. {held}".strip()


def recent_title(path: str, series: Sequence[str]) -> str:
    """Write a recent opening: the last part of the path and the keys of the series.

    >>> recent_title("/data/study.zip", ["5", "7"])
    'study.zip   series 5 and 7'
    """
    keys = f"   series {listed(list(series))}" if series else ""
    return f"{Path(path).name or path}{keys}"


def scan_title(scan: Scan) -> str:
    """One line for a menu: the name and what it was acquired with."""
    if scan.parameters is None or _names_setting(scan):
        return scan.name
    return f"{scan.name}   {parameters_line(scan.parameters)}"


def source_title(scan: Scan, left_out: bool) -> str:
    """One line for a menu of sources; `left_out` for one that waits while it is compared with."""
    title = scan_title(scan)
    return LEFT_OUT.format(scan=title) if left_out else title


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
    # What a file does not say of fat is no difference.
    if acquired.fat_suppression is not None:
        suppressed = current.fat_suppression is True
        if suppressed != acquired.fat_suppression:
            fat = "fat suppressed" if suppressed else "fat not suppressed"
            return f"{', '.join(parts)}{unit}, {fat}" if parts else fat
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
