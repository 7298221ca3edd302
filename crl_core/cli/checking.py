"""``crl check``: what is wrong with a dataset, and what mends it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crl_core.cli.common import notice, progress_bar
from crl_core.errors import OutputError

if TYPE_CHECKING:
    from crl_core.doctor import Finding, Report, ScanRow


def check(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A BIDS dataset.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.svg", help="Draw which TR, TE and TI the dataset holds."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Sidecars and headers only; no flips, no intensities.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older plot.")] = False,
) -> None:
    """Look for mistakes in a dataset before it is trained on.

    Nothing is written but the plot. Ends with exit code 1 when there are errors; the command that
    mends each is printed below it.
    """
    from crl_core.io.atomic import atomic_path, check_writable

    if plot is not None:
        if plot.suffix.lower() != ".svg":
            raise OutputError("is not a name for a drawing", path=plot, remedy="End it with .svg")
        check_writable(plot, overwrite=overwrite)
    report = examine(dataset, quick=quick)
    from crl_core.doctor.coverage import coverage_svg, settings_of

    settings = settings_of(report)
    if plot is not None:
        with atomic_path(plot, overwrite=overwrite) as temporary:
            temporary.write_text(coverage_svg(settings), encoding="utf-8")
    if as_json:
        coverage = [{"tr_ms": s.tr, "te_ms": s.te, "ti_ms": s.ti} for s in settings]
        counts = [{"subjects": s.subjects, "scans": s.scans} for s in settings]
        found = report.as_dict() | {
            "coverage": [a | b for a, b in zip(coverage, counts, strict=True)]
        }
        typer.echo(json.dumps(found, indent=2, allow_nan=False))
    else:
        typer.echo(words(report))
    if report.errors:
        raise typer.Exit(1)


def examine(dataset: Path, *, quick: bool = False, quiet: bool = False) -> Report:
    """Check a dataset with progress on stderr; when `quiet`, only where that is a terminal."""
    from crl_core.doctor import check_dataset

    if quiet and not sys.stderr.isatty():
        return check_dataset(dataset, quick=quick)
    with progress_bar("Scans") as show:
        return check_dataset(dataset, quick=quick, progress=show)


def refuse_unmended(datasets: Sequence[Path], without: Sequence[str] = ()) -> None:
    """Stop before anything is written when the doctor finds errors; one line each on stderr.

    Errors of visits and files that are to be left out, named in `without`, do not count.

    Datasets that ``crl prepare`` made were checked with all their voxels before; of these only
    sidecars and headers are looked at again.

    Raises
    ------
    InputError
        When a folder is no dataset.
    typer.Exit
        With code 1, when there are errors.
    """
    from crl_core.doctor import is_prepared

    reports = [examine(d, quick=is_prepared(d), quiet=True) for d in datasets]
    reports = [_without(report, without) for report in reports]
    for report in reports:
        print_errors(report)
    if any(report.errors for report in reports):
        raise typer.Exit(1)
    for report in reports:
        typer.echo(f"{report.root}: {report.summary}")


def _without(report: Report, names: Sequence[str]) -> Report:
    def counts(finding: Finding) -> bool:
        label = finding.subject
        return not {label, label.split("_ses-")[0], finding.file} & set(names)

    return replace(report, findings=tuple(f for f in report.findings if counts(f)))


def print_errors(report: Report) -> None:
    """Print the errors of a report on stderr, one line each, with the command that mends it."""
    for finding in report.errors:
        where = report.root / finding.file if finding.file else report.root
        mend = f" Mend it with: {finding.mend}" if finding.mend else ""
        notice(f"{where}: {finding.problem}.{mend}")
    if report.errors:
        notice(f"Nothing was written. All findings: {_command(report)}")


def _command(report: Report, program: str = "check", *words: str) -> str:
    from crl_core.doctor.findings import command

    return command(program, report.root, words)


# words ------------------------------------------------------------------------------------------


def words(report: Report) -> str:
    """Return a report as text: tables, coverage, findings with their mends, one line at the end."""
    from crl_core.doctor.coverage import coverage_table, settings_of

    parts = [_table(subject, report) for subject in report.labels]
    parts.append("Coverage\n" + _indented(coverage_table(settings_of(report))))
    for title, findings in (
        ("Errors", report.errors),
        ("Warnings", report.warnings),
        ("Notes", report.notes),
    ):
        if findings:
            parts.append(title + "\n" + "\n".join(_finding(finding) for finding in findings))
    automatic = [f for f in report.findings if f.action is not None and f.action.sure]
    if automatic:
        line = _command(report, "mend", "--all")
        parts.append(f"What needs no decision ({len(automatic)}) can be mended at once\n    {line}")
    parts.append(report.summary)
    return "\n\n".join(parts)


def _table(subject: str, report: Report) -> str:
    head = ("scan", "TR ms", "TE ms", "TI ms", "read in", "voxels", "mm", "axes", "slices", "found")
    rows = [_cells(row) for row in report.subjects if row.subject == subject]
    widths = [max(len(cells[i]) for cells in [head, *rows]) for i in range(len(head))]
    right = {1, 2, 3, 8}
    lines = [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in [head, *rows]
    ]
    return subject + "\n" + _indented("\n".join(lines))


def _cells(row: ScanRow) -> tuple[str, ...]:
    times = [
        "?" if value is None else "off" if name == "ti" and not value.ms else f"{value.ms:.6g}"
        for name, value in (("tr", row.tr), ("te", row.te), ("ti", row.ti))
    ]
    shape = "?" if row.shape is None else "x".join(str(n) for n in row.shape)
    size = "?" if row.voxel_size is None else "x".join(f"{v:.3g}" for v in row.voxel_size)
    slices = "?" if row.slices is None else str(row.slices)
    found = (row.name, *times, _origins(row), shape, size, row.orientation or "guess", slices)
    return (*found, row.verdict)


def _origins(row: ScanRow) -> str:
    """Return where TR, TE and TI were read, in a word where it is the same place."""
    places = {}
    for name, value in (("TR", row.tr), ("TE", row.te), ("TI", row.ti)):
        if value is None or (name == "TI" and not value.ms):
            continue  # what is absent is written nowhere
        place = "header" if value.where.startswith("NIfTI header") else "sidecar"
        doubt = "" if value.certainty == "stated" else f" ({value.certainty})"
        places[name] = place + doubt
    if len(set(places.values())) <= 1:
        return next(iter(places.values()), "nowhere")
    return ", ".join(f"{name} {place}" for name, place in places.items())


def _finding(finding: Finding) -> str:
    text = f"  {finding}"
    return f"{text}\n      {finding.mend}" if finding.mend else text


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
