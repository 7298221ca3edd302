"""``crl inspect``: what a file is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from crl_core.cli.common import table


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A scan or a checkpoint.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what a scan or a checkpoint is.

    For a scan: TR, TE and TI and where each was read.
    """
    from crl_core.io.inspect import describe

    found = describe(file)
    if as_json:
        typer.echo(json.dumps(found, indent=2, allow_nan=False))
    else:
        typer.echo(table(_rows(found)))


def _rows(found: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in found.items():
        name = prefix + key.replace("_", " ")
        if key.endswith(("_origin", "_certainty")) or value == "":
            continue
        if f"{key}_origin" in found:
            rows.append((name.removesuffix(" ms"), _parameter(key, value, found)))
        elif isinstance(value, dict):
            rows.extend(_rows(value, f"{name}: "))
        else:
            rows.append((name, _words(value)))
    return rows


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
