"""``crl inspect``: what a file is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from crl_core.cli.common import table

KEYS = {"tr": "repetition_time_ms", "te": "echo_time_ms", "ti": "inversion_time_ms"}


def inspect(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A scan, a DICOM folder or zip, or a checkpoint.")
    ],
    series: Annotated[
        str | None, typer.Option(metavar="KEY", help="Which scan of several in DICOM.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what a scan or a checkpoint is.

    For a scan: TR, TE and TI and where each was read. For DICOM that holds several scans: a
    list of them.
    """
    from crl_core.io.inspect import describe

    found = describe(file, series)
    if as_json:
        typer.echo(json.dumps(found, indent=2, allow_nan=False))
    else:
        typer.echo(table(_rows(found)))


def _rows(found: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    several = found.get("kind") == "dicom"
    for key, value in found.items():
        name = prefix + key.replace("_", " ")
        if key.endswith(("_origin", "_certainty")) or value == "":
            continue
        if key == "series":
            rows.extend(_series_row(entry) for entry in value if several)
        elif several and key in KEYS.values():
            continue
        elif f"{key}_origin" in found:
            rows.append((name.removesuffix(" ms"), _parameter(key, value, found)))
        elif isinstance(value, dict):
            rows.extend(_rows(value, f"{name}: "))
        else:
            rows.append((name, _words(value)))
    return rows


def _series_row(entry: dict[str, Any]) -> tuple[str, str]:
    """One line for one of several scans: what it is, or why it cannot be used."""
    name = f"series {entry['key']}"
    words = [entry["description"]] if entry["description"] else []
    if entry["refusal"]:
        return name, "; ".join([*words, f"cannot be used: {entry['refusal']}"])
    words.append(str(entry["sequence_type"]))
    times = [
        f"{short.upper()} {'unknown' if entry[key] is None else f'{entry[key]:g}'}"
        for short, key in KEYS.items()
    ]
    size = " x ".join(str(n) for n in entry["shape"])
    return name, "; ".join([*words, " ".join(times) + " ms", f"{entry['plane']}, {size}"])


def _parameter(key: str, value: float | None, found: dict[str, Any]) -> str:
    if value is None:
        return "unknown"
    number = "off (no inversion)" if key.startswith("inversion") and not value else f"{value:g} ms"
    certainty = found[f"{key}_certainty"]
    doubt = "" if certainty == "stated" else f", {certainty}"
    return f"{number}  ({found[f'{key}_origin']}{doubt})"


def _words(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join(_words(item) for item in value)
    return str(value)
