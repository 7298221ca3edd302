"""``crl synth``: one or several scans in, synthesised contrasts out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from crl_core.cli.common import check_device, find_checkpoint, notice, parse_option, progress_bar
from crl_core.errors import InputError, OutputError, ParameterError
from crl_core.sequence import SequenceParameters

if TYPE_CHECKING:
    from crl_core.preprocess.record import Record
    from crl_core.scan import Scan


def synth(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE", help="Scans of one person, NIfTI or DICOM.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="OUT.nii.gz, or a folder for several contrasts.")
    ],
    tr: Annotated[float | None, typer.Option(help="Repetition time to synthesise, ms.")] = None,
    te: Annotated[float | None, typer.Option(help="Echo time, ms.")] = None,
    ti: Annotated[float | None, typer.Option(help="Inversion time, ms; 0 is none.")] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TR,TE,TI[,fs]",
            help="One contrast, ms, with fs for suppressed fat; may be given several times.",
        ),
    ] = None,
    fat_suppression: Annotated[
        bool, typer.Option("--fat-suppression", help="Suppress fat in what is synthesised.")
    ] = False,
    checkpoint: Annotated[
        str | None, typer.Option(help="A checkpoint file, or the name of a bundled one.")
    ] = None,
    source_params: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TR,TE,TI[,fs]",
            help="Once per SOURCE, in order, for files that carry none, ms.",
        ),
    ] = None,
    series: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="Once per SOURCE of DICOM that holds several scans, in order; see crl inspect.",
        ),
    ] = None,
    units: Annotated[
        Literal["model", "source"], typer.Option(help="Intensities of the result.")
    ] = "model",
    grid: Annotated[
        Literal["scan", "source"],
        typer.Option(help="For a prepared SOURCE: its own grid, or that it was acquired on."),
    ] = "scan",
    volume: Annotated[
        int | None, typer.Option(min=0, help="Which volume of 4-D sources, counted from 0.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps; best by default.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace older results.")] = False,
    expected_error: Annotated[
        bool,
        typer.Option("--expected-error", help="Write how far off the network expects to be, too."),
    ] = False,
) -> None:
    """Synthesise contrasts from scans.

    Writes float32 NIfTI with the grid of the first source, never clipped, and a sidecar.
    """
    targets = _targets(tr, te, ti, at, fat_suppression)
    for target in targets:
        target.check_order()
    given = [parse_option("--source-params", text) for text in source_params or ()]
    scans = load_sources(sources, given, volume, series or ())
    paths = _outputs(output, targets, sources, overwrite)
    for scan in scans:
        if scan.note:
            notice(f"{scan.path}: {scan.note}")
    back = _way_back(scans[0]) if grid == "source" else None
    beside = _beside(paths, sources, overwrite) if expected_error else []
    chosen = find_checkpoint(checkpoint)
    _run(scans, targets, paths, beside, chosen, units, device, overwrite, back)


def _run(
    scans: list[Scan],
    targets: list[SequenceParameters],
    paths: list[Path],
    beside: list[Path],
    checkpoint: Path,
    units: Literal["model", "source"],
    device: str | None,
    overwrite: bool,
    back: Record | None,
) -> None:
    from crl_core.checkpoint import load_checkpoint
    from crl_core.io.export import save_synthetic
    from crl_core.physics.determinacy import undetermined
    from crl_core.synthesis import Synthesizer

    check_device(device)
    loaded = load_checkpoint(checkpoint)
    if any(t.fat_suppression for t in targets) and not loaded.model.knows_fat:
        raise ParameterError(
            f"'{loaded.card.name}' was never told of fat suppression",
            remedy="Ask without it, or choose another checkpoint",
        )
    synthesizer = Synthesizer(loaded, device=device, notice=notice)
    synthesizer.set_sources(scans)
    for scan in scans:
        if scan.parameters is not None and not loaded.card.coverage.inside(scan.parameters):
            notice(f"{scan.path}: acquired outside the settings the network was trained on")
    if beside and not loaded.model.knows_doubt:
        notice(f"{loaded.card.name} does not tell how far off it is: no expected errors")
        beside = []
    for number, (target, path) in enumerate(zip(targets, paths, strict=True)):
        if not loaded.card.coverage.inside(target):
            notice(f"{target}: {loaded.card.coverage.sentence(target)}")
        known = [s.parameters for s in scans if s.parameters]
        doubt = undetermined(known, target, known[0].field_strength or 3.0)
        if doubt is not None:
            notice(f"{target}: {doubt}")
        with progress_bar(str(target)) as show:
            volume = synthesizer.render_volume(target, progress=show)
        results = [(path, volume)]
        far = synthesizer.expected_volume(target) if beside else None
        if far is not None:
            results.append((beside[number], far))
        for place, data in results:
            like = scans[0]
            if back is not None:
                like = back.to_source(replace(like, data=data))
                data = like.data
            save_synthetic(
                data,
                like,
                place,
                target,
                loaded.card,
                synthesizer.scale,
                units,
                sources=scans,
                overwrite=overwrite,
                expected_error=place is not path,
            )
            typer.echo(str(place))


def _beside(paths: list[Path], sources: list[Path], overwrite: bool) -> list[Path]:
    """Return where expected errors go, refused now rather than after minutes of work."""
    found = [_error_path(path) for path in paths]
    _check_results(found, sources, overwrite)
    return found


def _error_path(path: Path) -> Path:
    """Return where the expected error of a synthesised image goes."""
    ending = ".nii.gz" if path.name.endswith(".nii.gz") else path.suffix
    return path.with_name(path.name.removesuffix(ending) + "_expected-error" + ending)


def _way_back(scan: Scan) -> Record:
    """Return how a prepared scan came from the one acquired.

    Raises
    ------
    InputError
        When its sidecar does not say.
    """
    from crl_core.io.bids import read_sidecar
    from crl_core.preprocess.record import Record

    record = None if scan.path is None else Record.from_fields(read_sidecar(scan.path)[0])
    if record is None:
        raise InputError(
            "does not say which grid it was acquired on",
            path=scan.path,
            remedy="Use --grid source with images that crl prepare wrote",
        )
    return record


def _targets(
    tr: float | None, te: float | None, ti: float | None, at: list[str] | None, suppress: bool
) -> list[SequenceParameters]:
    """Return what to synthesise; either --tr, --te and --ti or any number of --at."""
    fat = {"fat_suppression": True} if suppress else {}
    if at:
        if (tr, te, ti) != (None, None, None):
            raise typer.BadParameter("give either --at or --tr, --te and --ti, not both")
        targets = [replace(parse_option("--at", text), **fat) for text in at]
        if len(set(targets)) < len(targets):
            raise typer.BadParameter("the same contrast is asked for twice", param_hint="--at")
        return targets
    if tr is None or te is None:
        raise typer.BadParameter("give --tr and --te, or --at TR,TE,TI")
    return [replace(SequenceParameters(tr, te, ti or 0.0), **fat)]


def load_sources(
    paths: list[Path],
    given: list[SequenceParameters],
    volume: int | None = None,
    series: Sequence[str] = (),
) -> list[Scan]:
    """Load the sources on the grid of the first, each with its parameters.

    Parameters come from the line or from the file; the affines say what lies where.

    Parameters
    ----------
    paths
        The files, or DICOM folders and archives.
    given
        None, one for every file, or one for every file that carries no parameters, in order.
    volume
        Which volume of 4-D files.
    series
        None, one for every DICOM source, or one for every DICOM source that holds several
        usable scans, in order.

    Raises
    ------
    ParameterError
        When a source has no parameters, or impossible ones.
    InputError
        When a file cannot be read.
    GridError
        When the fields of view of two sources do not overlap.
    """
    from crl_core.preprocess.resample import resample_to

    readers = _readers(paths, series)
    if given and len(given) == len(paths):
        scans = [read(volume=volume, parameters=q) for read, q in zip(readers, given, strict=True)]
    else:
        scans = [read(volume=volume) for read in readers]
        lacking = [i for i, scan in enumerate(scans) if scan.parameters is None]
        if given and len(given) != len(lacking):
            raise typer.BadParameter(
                f"{len(given)} given for {len(paths)} sources of which {len(lacking)} "
                "carry no parameters",
                param_hint="--source-params",
            )
        for i, parameters in zip(lacking, given, strict=False):
            scans[i] = readers[i](volume=volume, parameters=parameters)
    for scan in scans:
        scan.playable_parameters()
    # The scans of one session lie on grids of their own more often than not.
    return [scans[0], *(resample_to(scan, scans[0]) for scan in scans[1:])]


def _readers(paths: list[Path], keys: Sequence[str]) -> list[Callable[..., Scan]]:
    """Return one function per source that reads it; keys go to the DICOM sources in order."""
    from crl_core.io import holds_dicom, load

    dicom = [path for path in paths if holds_dicom(path)]
    if not dicom:
        if keys:
            raise typer.BadParameter("no source is DICOM", param_hint="--series")
        return [partial(load, path) for path in paths]
    from crl_core.io.dicom import choose_series, find_series, read_series

    listed = {path: find_series(path) for path in dict.fromkeys(dicom)}
    several = [p for p in dicom if sum(not found.refusal for found in listed[p]) > 1]
    takers = dicom if len(keys) == len(dicom) else several
    if keys and len(keys) != len(takers):
        raise typer.BadParameter(
            f"{len(keys)} given for {len(dicom)} DICOM sources of which {len(several)} "
            "hold several scans",
            param_hint="--series",
        )
    left = list(keys)
    readers: list[Callable[..., Scan]] = []
    for path in paths:
        if path not in listed:
            readers.append(partial(load, path))
            continue
        key = left.pop(0) if left and path in takers else None
        readers.append(partial(read_series, choose_series(listed[path], key, path)))
    return readers


def _outputs(
    output: Path, targets: list[SequenceParameters], sources: list[Path], overwrite: bool
) -> list[Path]:
    """Return one path per target, refused now rather than after minutes of work."""
    from crl_core.io.nifti import is_nifti_name

    if is_nifti_name(output):
        if len(targets) > 1:
            raise typer.BadParameter(
                "several contrasts need a folder, not one file", param_hint="--output"
            )
        paths = [output]
    elif output.is_file():
        raise OutputError(
            "is neither a folder nor a name for an image",
            path=output,
            remedy="End it with .nii.gz or name a folder",
        )
    else:
        paths = [output / f"{_name(target)}.nii.gz" for target in targets]
    _check_results(paths, sources, overwrite)
    return paths


def _check_results(paths: list[Path], sources: list[Path], overwrite: bool) -> None:
    """Refuse results that exist, or that would take the place of a source or its sidecar."""
    from crl_core.io.atomic import check_writable
    from crl_core.io.bids import sidecar_path

    originals = {source.resolve() for source in sources}
    # a.nii and a.nii.gz share one sidecar: writing the other would relabel the acquired scan.
    originals |= {sidecar_path(source).resolve() for source in sources}
    for path in paths:
        if path.resolve() in originals or sidecar_path(path).resolve() in originals:
            raise OutputError(
                "would overwrite a source or its sidecar", path=path, remedy="Choose another name"
            )
        check_writable(path, overwrite=overwrite)
        check_writable(sidecar_path(path), overwrite=overwrite)


def _name(target: SequenceParameters) -> str:
    tr, te, ti = target.triple
    fat = "_fs" if target.fat_suppression else ""
    return f"synthetic_tr{tr:g}_te{te:g}_ti{ti:g}{fat}"
