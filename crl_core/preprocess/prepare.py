"""A whole dataset prepared: every person through the pipeline, written as a BIDS derivative.

A person's files appear together or not at all, and nothing appears while the data doctor has errors
to report. What was written says how it was made, so that a stopped run can go on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crl_core.errors import Cancelled, InputError, OutputError
from crl_core.io import load, nifti, save
from crl_core.io.atomic import TEMPORARY, atomic_folder
from crl_core.io.bids import (
    SubjectFiles,
    find_subjects,
    read_json,
    read_sidecar,
    write_dataset_description,
    write_participants,
)
from crl_core.io.image_file import MASK_FIELD, SIMULATED_FIELD, SIMULATED_MARK, is_simulated
from crl_core.io.nifti import stem
from crl_core.parallel import Progress, run_jobs
from crl_core.preprocess.pipeline import Pipeline, Prepared, Recipe
from crl_core.preprocess.subject import why_unusable
from crl_core.scan import Scan

RECIPE_FIELD = "CRLPreparation"
"""Field of ``dataset_description.json`` that holds the recipe."""

_DESCRIPTION = "dataset_description.json"


@dataclass(frozen=True)
class PersonJob:
    """One person to prepare; plain values that travel to another process."""

    files: SubjectFiles
    source: Path
    folder: Path
    recipe: Recipe


@dataclass(frozen=True)
class PersonDone:
    """What became of a person: images written, and what was left out with the reason."""

    label: str
    images: tuple[Path, ...]
    left_out: tuple[str, ...]


def prepare_dataset(
    source: Path,
    output: Path,
    recipe: Recipe | None = None,
    *,
    subjects: Sequence[str] = (),
    resume: bool = False,
    jobs: int = 1,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> list[PersonDone]:
    """Prepare the scans of a BIDS dataset for training, and write them as a new one.

    The caller makes sure that the data doctor finds no error (`crl_core.doctor`).

    Parameters
    ----------
    source
        The dataset.
    output
        Folder of the new dataset; must be new or empty, unless `resume`.
    recipe
        The choices.
    subjects
        Labels of the subjects to prepare; all by default.
    resume
        Go on with a stopped run of the same recipe; finished subjects are kept.
    jobs
        Processes to share the subjects. The result is the same for any number.
    progress
        Called with (subjects done, subjects in all).
    cancelled
        Asked now and then; what is finished stays, what is not leaves nothing.

    Returns
    -------
    list
        One entry per subject prepared now.

    Raises
    ------
    OutputError
        When the output holds something else, or cannot be written.
    InputError
        When no subject has a usable scan.
    Cancelled
        When `cancelled` said so.
    """
    recipe = recipe or Recipe()
    Pipeline(recipe)  # an unknown or missing library is refused before anything is written
    found = _chosen(source, subjects)
    _check_output(source, output, recipe, resume)
    # What a killed run left unfinished is taken up anew.
    for stale in (*output.glob(f"{TEMPORARY}*"), *output.glob(f"sub-*/{TEMPORARY}*")):
        shutil.rmtree(stale, ignore_errors=True)
    left = [files for files in found if not _folder(output, files).exists()]
    started = not output.exists()
    work = [PersonJob(files, source, output, recipe) for files in left]
    try:
        done = run_jobs(prepare_person, work, workers=jobs, progress=progress, cancelled=cancelled)
    finally:
        _describe(source, output, recipe, found, new=started)
    if not any(_folder(output, files).exists() for files in found):
        raise InputError(
            "no subject has a scan that can be prepared",
            path=source,
            remedy="See what crl check says of it",
        )
    return done


def prepare_person(job: PersonJob, watch: Callable[[], None]) -> PersonDone:
    """Prepare one person; `watch` raises when the work is to stop."""
    scans: list[Scan] = []
    left_out: list[str] = []
    for path in job.files.images:
        watch()
        scan = load(path)
        reason = why_unusable(scan)
        if reason:
            left_out.append(f"{job.files.label}: {scan.name}, {reason}")
        else:
            scans.append(scan)
    if not scans:
        return PersonDone(job.files.label, (), tuple(left_out))

    def stopped() -> bool:
        try:
            watch()
        except Cancelled:
            return True
        return False

    person = Pipeline(job.recipe).run(scans, cancelled=stopped)
    left_out += [f"{job.files.label}: {reason}" for reason in person.left_out]
    watch()
    images = _write_person(job, person.scans)
    return PersonDone(job.files.label, images, tuple(left_out))


def _write_person(job: PersonJob, prepared: Sequence[Prepared]) -> tuple[Path, ...]:
    """Write all files of a person, so that they appear together."""
    target = _folder(job.folder, job.files)
    mask_name = f"{job.files.label}_desc-head_mask.nii.gz"
    names = []
    with atomic_folder(target) as folder:
        first = prepared[0].scan
        mask = np.asarray(first.mask, dtype=np.float32)
        stated = first.orientation_stated
        nifti.write(folder / "anat" / mask_name, mask, first.affine, stated=stated)
        for one in prepared:
            assert one.source_path is not None
            name = _prepared_name(one.source_path)
            fields, mark = _fields(one, mask_name), ""
            # A simulated head stays one, whatever is done to it.
            header, *_ = nifti.read_header(one.source_path)
            if is_simulated(read_sidecar(one.source_path)[0], header):
                fields[SIMULATED_FIELD], mark = True, SIMULATED_MARK
            save(one.scan, folder / "anat" / name, sidecar=fields, description=mark)
            names.append(name)
    return tuple(target / "anat" / name for name in names)


def _fields(one: Prepared, mask_name: str) -> dict[str, Any]:
    return {"SkullStripped": False, MASK_FIELD: mask_name, **one.record.as_fields()}


def _prepared_name(path: Path) -> str:
    """Return the name of a derivative: the same entities, and ``desc-preproc``."""
    *entities, suffix = stem(path).split("_")
    kept = [entity for entity in entities if not entity.startswith("desc-")]
    return "_".join([*kept, "desc-preproc", suffix]) + ".nii.gz"


def _folder(output: Path, files: SubjectFiles) -> Path:
    """Return the folder of a person (and session) in the new dataset."""
    return output.joinpath(*files.label.split("_"))


def _chosen(source: Path, wanted: Sequence[str]) -> list[SubjectFiles]:
    every = find_subjects(source)
    if not wanted:
        return every
    labels = [w if w.startswith("sub-") else f"sub-{w}" for w in wanted]
    found = [f for f in every if f.label in labels or f.label.split("_")[0] in labels]
    known = {f.label for f in found} | {f.label.split("_")[0] for f in found}
    for label in labels:
        if label not in known:
            raise InputError(
                f"has no subject '{label}'", path=source, remedy="Look at its sub-* folders"
            )
    return found


def _check_output(source: Path, output: Path, recipe: Recipe, resume: bool) -> None:
    """Refuse to mix a new run with anything else."""
    if output.resolve() == source.resolve():
        raise OutputError("is the dataset itself", path=output, remedy="Name a new folder")
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not output.is_dir():
        raise OutputError("is a file, not a folder", path=output, remedy="Name a new folder")
    if not resume:
        raise OutputError(
            "the folder is not empty",
            path=output,
            remedy="Name a new folder, or go on with a stopped run with --resume",
        )
    about = output / _DESCRIPTION
    before = read_json(about).get(RECIPE_FIELD) if about.is_file() else None
    if before != recipe.as_dict():
        raise OutputError(
            "holds no run of the same recipe to go on with",
            path=output,
            remedy="Name a new folder, or give the options of the stopped run",
        )


def _describe(
    source: Path, output: Path, recipe: Recipe, found: Sequence[SubjectFiles], *, new: bool
) -> None:
    """Say what the dataset is; take the folder away again where nobody was finished."""
    people = [files for files in found if _folder(output, files).exists()]
    if not people:
        if new:
            shutil.rmtree(output, ignore_errors=True)
        return
    extra: dict[str, Any] = {
        "DatasetType": "derivative",
        RECIPE_FIELD: recipe.as_dict(),
    }
    simulated = _about(source).get(SIMULATED_FIELD)
    if simulated:
        extra[SIMULATED_FIELD] = simulated
    write_dataset_description(output, "Prepared for CRL", extra=extra, overwrite=True)
    labels = sorted({files.label.split("_")[0] for files in people})
    write_participants(output, [{"participant_id": label} for label in labels], overwrite=True)


def _about(source: Path) -> Mapping[str, Any]:
    about = source / _DESCRIPTION
    return read_json(about) if about.is_file() else {}
