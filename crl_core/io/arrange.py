"""A plain folder of images, or scans already open, as a BIDS dataset to train on.

`propose` looks and writes nothing; `write` makes the dataset of what it found. Names of people
stay out: the dataset knows people by numbers, and where a file came from is not written down.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from crl_core.errors import Cancelled, CRLError, InputError, OutputError, ParameterError
from crl_core.io import nifti
from crl_core.io.arrange_files import (
    Found,
    copy_image,
    fields_of,
    list_files,
    look,
    why_not_by_name,
)
from crl_core.io.arrange_names import Place, contrast_of, place_all
from crl_core.io.arrange_plan import ArrangedImage, Arrangement, suffix_by
from crl_core.io.atomic import atomic_folder
from crl_core.io.bids import (
    find_subjects,
    read_sidecar,
    sidecar_path,
    write_dataset_description,
    write_json,
    write_participants,
)
from crl_core.io.image_file import SIMULATED_FIELD, SIMULATED_MARK, is_simulated
from crl_core.io.timing import NAMES
from crl_core.scan import Scan
from crl_core.sequence import SequenceParameters

__all__ = ["ArrangedImage", "Arrangement", "from_scans", "propose", "why_left_out", "write"]

Progress = Callable[[int, int], None]


def propose(
    folder: str | Path,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Arrangement:
    """Look at a folder of NIfTI images of any depth; nothing is written.

    Every image is read to its end, so that masks and damage show.

    Raises
    ------
    InputError
        When the folder is missing, holds no NIfTI image, is a BIDS dataset already or DICOM.
    Cancelled
        When `cancelled` says so.
    """
    folder = Path(folder)
    _refuse(folder)
    files = list_files(folder)
    relative = [path.relative_to(folder).with_name(nifti.stem(path)).as_posix() for path in files]
    found: list[Found] = []
    for done, (path, name) in enumerate(zip(files, relative, strict=True)):
        if cancelled is not None and cancelled():
            raise Cancelled("looking at the folder was cancelled")
        reason = why_not_by_name(path, name)
        found.append(Found(why_left_out=reason) if reason else look(path))
        if progress is not None:
            progress(done + 1, len(files))
    if not any(nifti.is_nifti_name(path) for path in files):
        raise _nothing_here(folder)
    usable = [i for i, one in enumerate(found) if not one.why_left_out]
    places = dict(zip(usable, place_all([relative[i] for i in usable]), strict=True))
    nowhere = Place("", "", "")
    return Arrangement(
        folder,
        tuple(_image(path, places.get(i, nowhere), found[i]) for i, path in enumerate(files)),
    )


def write(
    arrangement: Arrangement,
    root: str | Path,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Path:
    """Write an arrangement as a BIDS dataset, whole or not at all.

    Parameters
    ----------
    arrangement
        What to write; every contrast in use needs its parameters.
    root
        Folder of the dataset, new or empty, outside the folder the images come from.
    progress
        Called with how many of how many images are written.
    cancelled
        Asked before each image.

    Returns
    -------
    Path
        The dataset.

    Raises
    ------
    InputError
        When there is nothing to write, or an image can no longer be read.
    ParameterError
        When a contrast lacks its parameters; names the option that gives them.
    OutputError
        When the folder is not empty or cannot be written.
    Cancelled
        When `cancelled` says so; nothing is left behind.
    """
    root = _new_folder(root)
    if root.resolve().is_relative_to(arrangement.folder.resolve()):
        raise OutputError(
            "lies inside the folder of the images", path=root, remedy="Name a folder beside it"
        )
    _check(arrangement)
    targets = arrangement.targets()
    simulated: list[bool] = []
    with atomic_folder(root) as made:
        for done, image in enumerate(arrangement.kept):
            if cancelled is not None and cancelled():
                raise Cancelled("arranging the images was cancelled")
            target = made / targets[image.path]
            about = copy_image(image.path, target)
            simulated.append(about["simulated"])
            assert image.parameters is not None
            fields = fields_of(image.parameters, image.origins, target.name, **about)
            write_json(sidecar_path(target), fields)
            if progress is not None:
                progress(done + 1, len(targets))
        _describe(made, "Arranged for CRL", arrangement.people, simulated)
    return root


# scans already open -----------------------------------------------------------------------------


def why_left_out(scan: Scan) -> str:
    """Return why a scan that is open cannot be trained on; empty when it can."""
    return "synthetic, not acquired" if scan.synthetic else ""


def from_scans(
    scans: Sequence[Scan],
    root: str | Path,
    name: str = "Scans open in the window",
    *,
    notice: Callable[[str], None] | None = None,
) -> Path:
    """Write scans that are open as a BIDS dataset of one person.

    Parameters
    ----------
    scans
        Scans of one person; their parameters stay as certain as they are.
    root
        Folder of the dataset, new or empty.
    name
        Name of the dataset in its description; must not name a person.
    notice
        Called with a line for each scan that is left out.

    Raises
    ------
    InputError
        When no scan is left.
    ParameterError
        When TR, TE or TI of a scan is not known.
    OutputError
        When the folder is not empty or cannot be written.
    """
    root = _new_folder(root)
    kept: list[Scan] = []
    for scan in scans:
        reason = why_left_out(scan)
        if reason and notice is not None:
            notice(f"left out: {scan.name}, {reason}")
        if not reason:
            kept.append(scan)
    if not kept:
        raise InputError("no acquired scan is open", remedy="Open the scans to train on")
    images = [
        ArrangedImage(Path(str(number)), "01", "", contrast, _known(scan))
        for number, (scan, contrast) in enumerate(zip(kept, _contrasts(kept), strict=True))
    ]
    targets = Arrangement(Path(), tuple(images)).targets()
    digital = [_is_digital(scan) for scan in kept]
    with atomic_folder(root) as made:
        for image, scan, simulated in zip(images, kept, digital, strict=True):
            _write_scan(scan, made / targets[image.path], simulated)
        _describe(made, name, ("01",), digital)
    return root


def _contrasts(scans: Sequence[Scan]) -> list[str]:
    """Return words of contrast from the scans' names, with the times where several share them."""
    words = [contrast_of(scan.name, suffix_by(_known(scan))) for scan in scans]
    counts = Counter(word.lower() for word in words)
    return [
        word
        if counts[word.lower()] == 1
        else "-".join([word, *(f"{n}{t:.0f}" for n, t in zip(NAMES, p.triple, strict=True) if t)])
        for word, p in zip(words, map(_known, scans), strict=True)
    ]


def _known(scan: Scan) -> SequenceParameters:
    if scan.parameters is None:
        raise ParameterError(
            f"TR, TE and TI of '{scan.name}' are not known",
            path=scan.path,
            remedy="Enter them, or leave the scan out",
        )
    return scan.parameters


def _write_scan(scan: Scan, target: Path, simulated: bool) -> None:
    mark = SIMULATED_MARK if simulated else ""
    stated = scan.orientation_stated
    nifti.write(target, scan.data, scan.affine, stated=stated, description=mark)
    parameters = _known(scan)
    fields = fields_of(parameters, scan.origins, target.name, stated=stated, simulated=simulated)
    write_json(sidecar_path(target), fields)


def _is_digital(scan: Scan) -> bool:
    """Return whether a scan shows a digital subject, by its file or by what was said of it."""
    if scan.note.startswith("Simulated"):
        return True
    if scan.path is None or not scan.path.is_file() or not nifti.is_nifti_name(scan.path):
        return False
    try:
        return is_simulated(read_sidecar(scan.path)[0], nifti.read_header(scan.path)[0])
    except CRLError:
        return False  # it was readable when it was opened


# helpers ----------------------------------------------------------------------------------------


def _refuse(folder: Path) -> None:
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise InputError(what, path=folder, remedy="Name the folder that holds the images")
    try:
        find_subjects(folder)
    except InputError:
        return
    raise InputError(
        "is a BIDS dataset already", path=folder, remedy="Use it as it is, with crl check first"
    )


def _nothing_here(folder: Path) -> InputError:
    from crl_core.io.dicom.listing import is_dicom

    if is_dicom(folder):
        return InputError(
            "holds DICOM, not NIfTI",
            path=folder,
            remedy="Run crl inspect on it to see its scans, and convert them with dcm2niix first",
        )
    return InputError(
        "holds no NIfTI image", path=folder, remedy="Name a folder with .nii or .nii.gz files"
    )


def _image(path: Path, place: Place, found: Found) -> ArrangedImage:
    timing = found.timing
    return ArrangedImage(
        path,
        place.person,
        place.visit,
        place.contrast,
        timing.parameters,
        found.why_left_out,
        dict(timing.origins),
        timing,
    )


def _check(arrangement: Arrangement) -> None:
    if not arrangement.kept:
        raise InputError("holds no image to arrange", path=arrangement.folder)
    missing = arrangement.missing()
    if missing:
        names = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
        options = " ".join(f"--params {contrast}=TR,TE,TI" for contrast in missing)
        raise ParameterError(
            f"TR, TE and TI of {names} are not known",
            path=arrangement.folder,
            remedy=f"Give them in ms with {options}",
        )
    if not all(re.fullmatch(r"[0-9]+", label) for label in arrangement.people):
        raise InputError("a label of a person is no number", path=arrangement.folder)


def _new_folder(root: str | Path) -> Path:
    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise OutputError("the folder is not empty", path=root, remedy="Name a new folder")
    return root


def _describe(made: Path, name: str, people: Sequence[str], simulated: Sequence[bool]) -> None:
    extra: dict[str, Any] = {}
    if all(simulated):
        extra[SIMULATED_FIELD] = "simulated, no person was scanned"
    write_dataset_description(made, name, extra=extra)
    write_participants(made, [{"participant_id": f"sub-{label}"} for label in people])
