"""``crl evaluate``: how a checkpoint does on a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from crl_core.cli.common import check_device, find_checkpoint, notice, progress_bar, table


def evaluate(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A BIDS dataset.")],
    checkpoint: Annotated[
        str | None, typer.Option(help="A checkpoint file, or the name of a bundled one.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--json", metavar="OUT.json", help="Where to write all pairs.")
    ] = None,
    subject: Annotated[
        list[str] | None, typer.Option(help="Only this subject; may be given several times.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps; best by default.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an older file.")] = False,
) -> None:
    """Measure a checkpoint on a dataset.

    Synthesises every scan of every subject from every other one and compares.
    """
    from crl_core.io.atomic import check_writable

    if output is not None:
        check_writable(output, overwrite=overwrite)
    found = _evaluate(dataset, find_checkpoint(checkpoint), subject or [], device)
    if output is not None:
        from crl_core.io.bids import write_json

        write_json(output, found, overwrite=overwrite)
    for name in found["left_out"]:
        notice(f"Left out, parameters unknown: {name}")
    typer.echo(_words(found["summary"]))


def _evaluate(
    dataset: Path, checkpoint: Path, subjects: list[str], device: str | None
) -> dict[str, Any]:
    from crl_core.io.bids import find_subjects

    find_subjects(dataset)  # refuse a wrong folder before the network is loaded
    from crl_core.checkpoint import load_checkpoint
    from crl_core.evaluation.dataset import evaluate_dataset
    from crl_core.synthesis import Synthesizer

    check_device(device)
    loaded = load_checkpoint(checkpoint)
    synthesizer = Synthesizer(loaded, device=device, notice=notice)
    with progress_bar("Pairs") as show:
        found = evaluate_dataset(dataset, synthesizer, subjects=subjects, progress=show)
    card = loaded.card
    model = {"name": card.name, "preset": card.preset, "sha256": card.sha256}
    return {"checkpoint": model, **found}


def _words(summary: dict[str, dict[str, Any]]) -> str:
    rows: list[tuple[str, str]] = []
    for group, means in summary.items():
        rows.append((f"{group.replace('_', ' ')}", f"{means['n_pairs']} pairs"))
        rows.append(("  PSNR, SSIM, MAE", _triple(means, "")))
        rows.append(("  after one gain", _triple(means, "_gain")))
        baselines = [
            f"{key.split('_')[1]} {value:.2f}"
            for key, value in means.items()
            if key.startswith("baseline_") and value is not None
        ]
        rows.append(("  baselines, gain", ", ".join(baselines) + " dB"))
    return table(rows)


def _triple(means: dict[str, Any], ending: str) -> str:
    numbers = [means[f"{key}{ending}"] for key in ("psnr", "ssim", "mae_percent")]
    if None in numbers:
        return "not defined"
    return f"{numbers[0]:.2f} dB, {numbers[1]:.4f}, {numbers[2]:.2f} %"
