"""``crl mend``: what ``crl check`` proposes, done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crl_core.cli.common import refuse_missing

if TYPE_CHECKING:
    from crl_core.doctor import Mend
    from crl_core.doctor.findings import MendKind

Files = list[str] | None


def mend(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A BIDS dataset.")],
    milliseconds: Annotated[
        Files,
        typer.Option(metavar="FILE", help="Times in its sidecar were written in ms: to seconds."),
    ] = None,
    thousandth: Annotated[
        Files,
        typer.Option(metavar="FILE", help="Times were divided by 1000 once too often: back."),
    ] = None,
    params: Annotated[
        Files, typer.Option(metavar="FILE=TR,TE,TI", help="Write these, in ms, to its sidecar.")
    ] = None,
    flip: Annotated[
        Files,
        typer.Option(metavar="FILE[:x]", help="Mirror its voxels along x, y or z of the patient."),
    ] = None,
    geometry: Annotated[
        Files,
        typer.Option(metavar="FILE=OTHER", help="Give it the place and orientation of OTHER."),
    ] = None,
    leave_out: Annotated[
        Files, typer.Option("--leave-out", metavar="FILE", help="Move it out of the dataset.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All mends crl check proposes that need no decision.")
    ] = False,
) -> None:
    """Mend what crl check found.

    Each option may be given several times; FILE is relative to DATASET. Files are kept as they
    were in DATASET/sourcedata/mended, and the sidecar notes what was done.
    """
    refuse_missing([dataset])
    given: dict[MendKind, Files] = {
        "milliseconds": milliseconds,
        "thousandth": thousandth,
        "params": params,
        "flip": flip,
        "geometry": geometry,
        "leave-out": leave_out,
    }
    from crl_core.doctor.mend import KEPT, mend_dataset, parse_mend

    wanted = [parse_mend(kind, text) for kind, texts in given.items() for text in texts or ()]
    if not wanted and not everything:
        raise typer.BadParameter("name a mend, or give --all; crl check prints what there is")
    wanted += _proposed(dataset) if everything else []
    done = mend_dataset(dataset, wanted)
    for line in done:
        typer.echo(line)
    if done:
        typer.echo(f"Files as they were: {dataset / KEPT}")
    else:
        typer.echo("There is nothing to mend that needs no decision.")


def _proposed(dataset: Path) -> list[Mend]:
    from crl_core.cli.checking import examine

    return [f.action for f in examine(dataset).findings if f.action is not None and f.action.sure]
