"""``crl simulate``: digital subjects from label maps."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crl_core.cli.common import parse_option, progress_bar, refuse_missing
from crl_core.sequence import PAPER_SEQUENCES, PRESETS, SequenceParameters


def simulate(
    labels: Annotated[list[Path], typer.Argument(metavar="LABELS", help="Label maps, NIfTI.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DATASET", help="Folder of the new dataset.")
    ],
    sequences: Annotated[
        str, typer.Option(help="paper, or names such as T1w,T2-FLAIR, separated by commas.")
    ] = "",
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="TR,TE,TI", help="A sequence in ms; may be given several times."),
    ] = None,
    subjects: Annotated[int, typer.Option(min=1, help="Subjects to make of each map.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
    slices: Annotated[
        int, typer.Option(min=1, help="Axial slices, from the top of the neck.")
    ] = 25,
    thickness: Annotated[float, typer.Option(min=0.5, help="Slice thickness, mm.")] = 5.0,
    field: Annotated[float, typer.Option(help="Field strength, 1.5 or 3 tesla.")] = 3.0,
) -> None:
    """Make a BIDS dataset of digital subjects.

    Sequences are the nine of the paper where none is named.
    """
    chosen = choose_sequences(sequences, at or [])
    for parameters in chosen.values():
        parameters.check_order()
    refuse_missing(labels)
    from crl_core.physics.dataset import simulate_dataset

    with progress_bar("Subjects") as show:
        written = simulate_dataset(
            labels,
            output,
            chosen,
            subjects=subjects,
            seed=seed,
            n_slices=slices,
            thickness_mm=thickness,
            field_strength=field,
            progress=show,
        )
    typer.echo(f"{len(written)} scans in {output}")


def choose_sequences(names: str, at: list[str]) -> dict[str, SequenceParameters]:
    """Return what to simulate, by name; the paper's nine sequences where nothing is named.

    Raises
    ------
    typer.BadParameter
        When a name is unknown or a text is no TR,TE,TI.
    """
    paper = {f"paper{number}": p for number, p in PAPER_SEQUENCES.items()}
    known = {name.lower(): (name, p) for name, p in {**paper, **PRESETS}.items()}
    chosen: dict[str, SequenceParameters] = {}
    for word in names.split(",") if names else [] if at else ["paper"]:
        key = word.strip().lower()
        if key == "paper":
            chosen |= paper
        elif key in known:
            chosen[known[key][0]] = known[key][1]
        else:
            raise typer.BadParameter(
                f"'{word.strip()}' is not known; choose from paper, {', '.join(PRESETS)}",
                param_hint="--sequences",
            )
    for text in at:
        parameters = parse_option("--at", text)
        tr, te, ti = parameters.triple
        # BIDS labels hold no dot.
        chosen[f"tr{tr:g}te{te:g}ti{ti:g}".replace(".", "p")] = parameters
    return chosen
