"""``crl arrange``: a plain folder of images as a BIDS dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crl_core.cli.common import notice, parse_option, progress_bar

if TYPE_CHECKING:
    from crl_core.io.arrange import ArrangedImage, Arrangement
    from crl_core.sequence import SequenceParameters


def arrange(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="NIfTI images, any depth.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DATASET", help="Folder of the new dataset."),
    ] = None,
    params: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONTRAST=TR,TE,TI",
            help="Times in ms where the files state none; may be given several times.",
        ),
    ] = None,
    nominal: Annotated[
        bool, typer.Option("--nominal", help="These are usual values, not those of the protocol.")
    ] = False,
    only_list: Annotated[
        bool, typer.Option("--list", help="Show what would be written; write nothing.")
    ] = False,
) -> None:
    """Turn a plain folder of NIfTI images into a dataset that crl check and crl train take.

    Person, visit and contrast are read in the names of files and folders. The dataset knows people
    by numbers; their names and free text of headers are not written. Voxels are copied unchanged.
    """
    if output is None and not only_list:
        raise typer.BadParameter("name the folder of the new dataset", param_hint="-o")
    typed = parse_params(params or ())
    from crl_core.io.arrange import propose, write

    with progress_bar("Files") as show:
        arrangement = propose(folder, progress=show)
    arrangement = arrangement.with_parameters(typed, "nominal" if nominal else "given")
    for contrast in typed:
        if not arrangement.uses_typed(contrast):
            notice(f"{contrast}: the files state TR, TE and TI, which are kept")
    if only_list or output is None:
        typer.echo(words(arrangement))
        return
    with progress_bar("Images") as show:
        write(arrangement, output, progress=show)
    for image in arrangement.images:
        if image.why_left_out:
            notice(f"left out: {image.path.relative_to(folder)}, {image.why_left_out}")
    typer.echo(f"{summary(arrangement)} in {output}")


def parse_params(texts: Sequence[str]) -> dict[str, SequenceParameters]:
    """Read ``T1W=600,15,0``, several to one option where spaces part them.

    Raises
    ------
    typer.BadParameter
        When a text is something else, or names a contrast twice.
    """
    typed: dict[str, SequenceParameters] = {}
    for text in (part for one in texts for part in one.split()):
        contrast, equals, triple = text.partition("=")
        if not contrast or not equals:
            raise typer.BadParameter(
                f"'{text}' is not CONTRAST=TR,TE,TI, as in T1W=600,15,0", param_hint="--params"
            )
        if contrast in typed:
            raise typer.BadParameter(f"'{contrast}' is given twice", param_hint="--params")
        typed[contrast] = parse_option("--params", triple)
    return typed


def summary(arrangement: Arrangement) -> str:
    """Return how many scans of how many people and visits take part."""
    kept = arrangement.kept
    visits = len({(image.person, image.visit) for image in kept})
    people = len(arrangement.people)
    return f"{_count(len(kept), 'scan')} of {_people(people)}, {_count(visits, 'visit')}"


def words(arrangement: Arrangement) -> str:
    """Return what would be written, what is left out and what is still needed, as text."""
    targets = arrangement.targets()
    head = ("file", "person", "visit", "contrast", "TR ms", "TE ms", "TI ms", "known", "becomes")
    rows = [
        _cells(arrangement, image, Path(targets[image.path]).name) for image in arrangement.kept
    ]
    parts = [_table([head, *rows])] if rows else []
    out = [
        f"  {image.path.relative_to(arrangement.folder)}: {image.why_left_out}"
        for image in arrangement.images
        if image.why_left_out
    ]
    if out:
        parts.append("\n".join(["Left out", *out]))
    missing = arrangement.missing()
    if missing:
        options = [f"  --params {contrast}=TR,TE,TI" for contrast in missing]
        parts.append("\n".join(["Needed, in ms", *options]))
    parts.append(summary(arrangement))
    return "\n\n".join(parts)


def _cells(arrangement: Arrangement, image: ArrangedImage, target: str) -> tuple[str, ...]:
    times = ["?", "?", "?"]
    for i, name in enumerate(("tr", "te", "ti")):
        value = None if image.parameters is None else image.parameters.triple[i]
        if value is None:
            value = image.stated.values.get(name)
        if value is not None:
            times[i] = "off" if name == "ti" and not value else f"{value:.6g}"
    kinds = list(dict.fromkeys(origin.certainty for origin in image.origins.values()))
    known = "no" if image.parameters is None else ", ".join(kinds)
    where = str(image.path.relative_to(arrangement.folder))
    return (where, image.person, image.visit or "-", image.contrast, *times, known, target)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _people(number: int) -> str:
    return "1 person" if number == 1 else f"{number} people"
