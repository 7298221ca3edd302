"""``crl simulate``: digital subjects from label maps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from crl_core.cli.common import check_device, notice, parse_option, progress_bar, refuse_missing
from crl_core.sequence import PAPER_SEQUENCES, PRESETS, SequenceParameters


def _list_tissues(wanted: bool) -> None:
    if wanted:
        from crl_core.physics.tissues import table_text

        typer.echo(table_text())
        raise typer.Exit


def simulate(
    labels: Annotated[
        list[Path], typer.Argument(metavar="LABELS", help="Label maps, NIfTI or MATLAB.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DATASET", help="Folder of the new dataset.")
    ],
    sequences: Annotated[
        str,
        typer.Option(help="paper, none, or names such as T1w,T2-FLAIR, separated by commas."),
    ] = "",
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="TR,TE,TI", help="A sequence in ms; may be given several times."),
    ] = None,
    random: Annotated[
        int, typer.Option(min=0, max=200, metavar="N", help="Add N sequences of random times.")
    ] = 0,
    random_per: Annotated[
        str, typer.Option(help="Draw random times once per 'subject' or per 'dataset'.")
    ] = "subject",
    subjects: Annotated[int, typer.Option(min=1, help="Subjects to make of each map.")] = 1,
    lesions: Annotated[
        list[str] | None,
        typer.Option(help="ms, oedema, tumour or none; several, by commas or repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
    slices: Annotated[int, typer.Option(min=1, help="Axial slices, centred on the brain.")] = 25,
    thickness: Annotated[float, typer.Option(min=0.5, help="Slice thickness, mm.")] = 5.0,
    voxel: Annotated[
        float | None, typer.Option(help="Pixel size in the plane, mm; that of the map by default.")
    ] = None,
    field: Annotated[float, typer.Option(help="Field strength, 1.5 or 3 tesla.")] = 3.0,
    engine: Annotated[
        str, typer.Option(help="epg follows stimulated echoes; closed refocuses ideally.")
    ] = "epg",
    refocusing: Annotated[
        str, typer.Option(metavar="DEG", help="Refocusing angle, or a range to draw from.")
    ] = "120-170",
    fat_suppression: Annotated[
        bool, typer.Option("--fat-suppression", help="Suppress fat in every sequence.")
    ] = False,
    noise: Annotated[
        float | None,
        typer.Option(help="Noise as a fraction of water's signal at 1x1x5 mm; drawn by default."),
    ] = None,
    coils: Annotated[int, typer.Option(min=1, max=64, help="Receive channels.")] = 1,
    tissues: Annotated[
        Path | None,
        typer.Option(metavar="MAP.json", help="Label to tissue name, for maps of your own."),
    ] = None,
    maps: Annotated[
        bool, typer.Option("--maps", help="Write the true T1, T2, PD and field maps too.")
    ] = False,
    name: Annotated[
        str, typer.Option("--dataset-name", help="Name written into the dataset.")
    ] = "Digital subjects",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes; one per processor core by default.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu or cuda; a CUDA device is used where there is one."),
    ] = None,
    _list: Annotated[
        bool,
        typer.Option(
            "--list-tissues",
            is_eager=True,
            callback=_list_tissues,
            help="Show the tissues, their values and where each comes from.",
        ),
    ] = False,
) -> None:
    """Make a BIDS dataset of digital subjects.

    Sequences are the nine of the paper where none is named. The same seed gives the same files on
    the processor, however many processes share the work.
    """
    chosen = choose_sequences(sequences, at or [], random)
    for parameters in chosen.values():
        parameters.check_order()
    if random_per not in ("subject", "dataset"):
        raise typer.BadParameter("choose subject or dataset", param_hint="--random-per")
    refuse_missing([*labels, *([tissues] if tissues else [])])
    check_device(device)
    from crl_core.parallel import processor_count
    from crl_core.physics.dataset import SimulationOptions, simulate_dataset
    from crl_core.physics.labels import read_meaning

    options = SimulationOptions(
        lesions=_lesions(lesions or []),
        engine=_engine(engine),
        refocusing=_range(refocusing),
        fat_suppression=fat_suppression,
        noise=noise,
        coils=coils,
        random=random,
        random_per="subject" if random_per == "subject" else "dataset",
        maps=maps,
        voxel_mm=voxel,
        meaning=read_meaning(tissues) if tissues else None,
        name=name,
        device=device or _usual_device(),
    )
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
            options=options,
            jobs=jobs or processor_count(),
            progress=show,
            notice=notice,
        )
    typer.echo(f"{len(written)} scans in {output}")


def choose_sequences(names: str, at: list[str], random: int = 0) -> dict[str, SequenceParameters]:
    """Return what to simulate, by name; the paper's nine sequences where nothing is named.

    Parameters
    ----------
    names
        Words separated by commas; ``none`` adds nothing.
    at
        TR,TE,TI triples.
    random
        How many random sequences come on top; with some, nothing else need be named.

    Raises
    ------
    typer.BadParameter
        When a name is unknown or a text is no TR,TE,TI.
    """
    paper = {f"paper{number}": p for number, p in PAPER_SEQUENCES.items()}
    known = {name.lower(): (name, p) for name, p in {**paper, **PRESETS}.items()}
    chosen: dict[str, SequenceParameters] = {}
    for word in names.split(",") if names else [] if at or random else ["paper"]:
        key = word.strip().lower()
        if key == "paper":
            chosen |= paper
        elif key in known:
            chosen[known[key][0]] = known[key][1]
        elif key != "none":
            raise typer.BadParameter(
                f"'{word.strip()}' is not known; choose from paper, none, {', '.join(PRESETS)}",
                param_hint="--sequences",
            )
    for text in at:
        parameters = parse_option("--at", text)
        tr, te, ti = parameters.triple
        # BIDS labels hold no dot.
        fat = "fs" if parameters.fat_suppression else ""
        chosen[f"tr{tr:g}te{te:g}ti{ti:g}{fat}".replace(".", "p")] = parameters
    return chosen


def _lesions(words: list[str]) -> Any:
    from crl_core.physics.lesions import KINDS

    chosen = [w.strip().lower() for word in words for w in word.split(",")]
    for word in chosen:
        if word not in (*KINDS, "none"):
            raise typer.BadParameter(
                f"'{word}' is not known; choose from {', '.join(KINDS)}, none",
                param_hint="--lesions",
            )
    return tuple(kind for kind in KINDS if kind in chosen)


def _engine(word: str) -> Any:
    from crl_core.physics.slab import ENGINES

    if word not in ENGINES:
        raise typer.BadParameter(f"choose {' or '.join(ENGINES)}", param_hint="--engine")
    return word


def _range(text: str) -> tuple[float, float]:
    """Read ``120`` or ``120-170``."""
    low, _, high = text.partition("-")
    try:
        return float(low), float(high or low)
    except ValueError:
        raise typer.BadParameter(
            f"'{text}' is no angle and no range such as 120-170", param_hint="--refocusing"
        ) from None


def _usual_device() -> str:
    """Return cuda where there is one. Loading torch to ask takes seconds, so look first."""
    if not (Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi")):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
