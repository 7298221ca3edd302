"""``crl prepare``: bias field, registration, grid and scale of a whole dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from crl_core.cli.common import notice, progress_bar, refuse_missing


def prepare(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A BIDS dataset.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="NEW", help="Folder of the new dataset.")
    ],
    grid: Annotated[
        str, typer.Option(help="Pixels in the plane, such as 192x192, or native.")
    ] = "192x192",
    to: Annotated[
        str, typer.Option(metavar="NAME", help="Part of the name of the scan others come to.")
    ] = "",
    registration: Annotated[
        Literal["rigid", "affine", "none"], typer.Option(help="Within each subject.")
    ] = "rigid",
    bias: Annotated[
        Literal["n4", "n4-shared", "none"],
        typer.Option(help="A bias field for each scan, or one for all of a subject."),
    ] = "n4",
    intensity: Annotated[
        Literal["robust", "minmax"],
        typer.Option(help="99.5th percentile in the head, or the paper's minimum to maximum."),
    ] = "robust",
    backend: Annotated[
        Literal["simpleitk", "ants"], typer.Option(help="Library for N4 and registration.")
    ] = "simpleitk",
    subjects: Annotated[
        list[str] | None, typer.Option("--subject", help="Only this one; may be repeated.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped run.")] = False,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0 is one per core.")] = 0,
) -> None:
    """Prepare a dataset for training.

    N4 bias field, registration within each subject, one resampling, one intensity scale. The
    dataset is checked first, as crl check does; errors stop before anything is written. Every step
    is in the sidecars; crl synth --grid source leads back to the grid a scan was acquired on.
    """
    size = parse_grid(grid)
    refuse_missing([dataset])
    from crl_core.cli.checking import refuse_unmended

    refuse_unmended([dataset])
    from crl_core.parallel import processor_count
    from crl_core.preprocess.pipeline import Recipe
    from crl_core.preprocess.prepare import prepare_dataset

    recipe = Recipe(size, registration, bias, intensity, backend, to)
    try:
        with progress_bar("Subjects") as show:
            done = prepare_dataset(
                dataset,
                output,
                recipe,
                subjects=subjects or (),
                resume=resume,
                jobs=jobs or processor_count(),
                progress=show,
            )
    except KeyboardInterrupt:
        notice(f"Stopped; go on with --resume -o {output}")
        raise typer.Exit(130) from None
    for person in done:
        for reason in person.left_out:
            notice(f"left out: {reason}")
    images = sum(len(person.images) for person in done)
    typer.echo(f"{images} scans of {len(done)} subjects in {output}")


def parse_grid(text: str) -> tuple[int, int] | None:
    """Read ``192x192`` or ``native`` (None).

    Raises
    ------
    typer.BadParameter
        When it is neither.
    """
    if text.strip().lower() == "native":
        return None
    parts = text.lower().split("x")
    if len(parts) == 2 and all(part.strip().isdigit() for part in parts):
        first, second = (int(part) for part in parts)
        if min(first, second) >= 16 and max(first, second) <= 2048:
            return first, second
    raise typer.BadParameter(
        f"'{text}' is no grid; give pixels from 16 to 2048 as in 192x192, or native",
        param_hint="--grid",
    )
