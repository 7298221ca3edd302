"""BIDS: sidecars beside images, and datasets of many subjects.

A sidecar is a JSON file with the name of the image. Files higher up in a dataset apply too
when their name holds no entity that the image lacks (the inheritance principle of BIDS);
the closest file wins. Times are in seconds here and nowhere else.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crl_core import __version__
from crl_core.errors import InputError
from crl_core.io.atomic import atomic_path
from crl_core.io.nifti import is_nifti_name, stem
from crl_core.scan import Subject

BIDS_VERSION = "1.10.0"

_MAX_SIDECAR_BYTES = 16 * 2**20
_NOT_SCANS = {"dseg", "probseg", "mask", "T1map", "T2map", "PDmap", "R1map", "R2map", "defacemask"}
"""Suffixes of files in ``anat`` that are no scans."""


@dataclass(frozen=True)
class SubjectFiles:
    """The images of one person at one visit.

    Parameters
    ----------
    label
        ``sub-01``, or ``sub-01_ses-02`` where the dataset has sessions.
    images
        Paths of the anatomical images, sorted by name.
    """

    label: str
    images: tuple[Path, ...]


def sidecar_path(image: str | Path) -> Path:
    """Return where the sidecar of an image lies."""
    image = Path(image)
    return image.with_name(stem(image) + ".json")


def sidecars_of(image: str | Path) -> list[Path]:
    """Return the JSON files that apply to an image, the closest one last."""
    image = Path(image)
    return [path for path in [*_inherited(image), sidecar_path(image)] if path.is_file()]


def read_sidecar(image: str | Path) -> tuple[dict[str, Any], str]:
    """Return the fields that apply to an image, and what to call the place they come from.

    Raises
    ------
    InputError
        When a sidecar is damaged or no JSON object.
    """
    fields: dict[str, Any] = {}
    names: list[str] = []
    for path in sidecars_of(image):
        fields.update(read_json(path))
        names.append(path.name)
    return fields, "BIDS sidecar " + " and ".join(reversed(names)) if names else "no sidecar"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file of reasonable size.

    Raises
    ------
    InputError
        When it is damaged, huge, or holds something else.
    """
    remedy = "Repair or remove the file"
    try:
        if path.stat().st_size > _MAX_SIDECAR_BYTES:
            raise InputError("is too large for a JSON file of ours", path=path, remedy=remedy)
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError("is not readable JSON", path=path, remedy=remedy) from error
    if not isinstance(found, dict):
        raise InputError("holds no JSON object", path=path, remedy=remedy)
    return found


def write_json(path: str | Path, fields: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Write a JSON object, atomically, with a newline at the end."""
    text = json.dumps(fields, indent=2, allow_nan=False) + "\n"
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def scan_name(image: str | Path) -> str:
    """Return what to call an image on screen: for BIDS names without the person's label."""
    text = stem(image)
    if not text.startswith("sub-"):
        return text
    *entities, suffix = text.split("_")
    kept = [e.split("-", 1)[-1] for e in entities if not e.startswith(("sub-", "ses-", "desc-"))]
    return " ".join([*kept, suffix])


def find_subjects(root: str | Path) -> list[SubjectFiles]:
    """List the subjects of a dataset, sorted, with their anatomical images.

    Raises
    ------
    InputError
        When the folder is missing or holds no ``sub-*/anat`` with NIfTI images.
    """
    root = Path(root)
    remedy = "Name the folder that holds sub-01, sub-02 and so on"
    if not root.is_dir():
        what = "is a file, not a dataset" if root.exists() else "does not exist"
        raise InputError(what, path=root, remedy=remedy)
    found: list[SubjectFiles] = []
    for folder in sorted((*root.glob("sub-*/anat"), *root.glob("sub-*/ses-*/anat"))):
        images = tuple(sorted(p for p in folder.iterdir() if _is_scan(p)))
        if images:
            label = "_".join(folder.relative_to(root).parts[:-1])
            found.append(SubjectFiles(label, images))
    if not found:
        raise InputError("holds no sub-*/anat with NIfTI images", path=root, remedy=remedy)
    return sorted(found, key=lambda files: files.label)


def load_subject(root: str | Path, label: str) -> Subject:
    """Load all scans of one subject.

    Parameters
    ----------
    root
        The dataset.
    label
        As listed by `find_subjects`; ``01`` means ``sub-01``.

    Raises
    ------
    InputError
        When there is no such subject, or one of its files is damaged.
    GridError
        When its scans do not share one grid.
    """
    from crl_core.io import load

    wanted = label if label.startswith("sub-") else f"sub-{label}"
    for files in find_subjects(root):
        if files.label == wanted:
            return Subject(wanted, tuple(load(path) for path in files.images))
    raise InputError(f"has no subject '{label}'", path=root, remedy="Look at its sub-* folders")


def image_path(root: str | Path, subject: str, acquisition: str, suffix: str) -> Path:
    """Return ``sub-<subject>/anat/sub-<subject>_acq-<acquisition>_<suffix>.nii.gz``.

    Characters that BIDS does not allow in a label are dropped.
    """
    who = "sub-" + re.sub(r"[^A-Za-z0-9]", "", subject.removeprefix("sub-"))
    acq = re.sub(r"[^A-Za-z0-9]", "", acquisition)
    return Path(root) / who / "anat" / f"{who}_acq-{acq}_{suffix}.nii.gz"


def write_dataset_description(
    root: str | Path,
    name: str,
    *,
    extra: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write ``dataset_description.json`` for a dataset this program made."""
    fields = {
        "Name": name,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": "CRL Explorer", "Version": __version__}],
        **(extra or {}),
    }
    write_json(Path(root) / "dataset_description.json", fields, overwrite=overwrite)


def write_participants(
    root: str | Path, rows: Sequence[Mapping[str, object]], *, overwrite: bool = False
) -> None:
    """Write ``participants.tsv``; each row needs ``participant_id``, absent values read n/a."""
    columns = list(dict.fromkeys(["participant_id", *(key for row in rows for key in row)]))
    with (
        atomic_path(Path(root) / "participants.tsv", overwrite=overwrite) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([[row.get(key, "n/a") for key in columns] for row in rows])


def _is_scan(path: Path) -> bool:
    suffix = stem(path).rsplit("_", 1)[-1]
    hidden = path.name.startswith(".")
    return path.is_file() and is_nifti_name(path) and not hidden and suffix not in _NOT_SCANS


def _inherited(image: Path) -> list[Path]:
    """Sidecars of the folders above, the dataset's root first."""
    image = image.absolute()
    if not image.name.startswith("sub-"):
        return []
    above = list(image.parents)[:4]
    depth = next((i for i, f in enumerate(above) if (f / "dataset_description.json").is_file()), -1)
    *entities, suffix = stem(image).split("_")
    found: list[Path] = []
    for folder in reversed(above[: depth + 1]):
        for path in sorted(folder.glob(f"*{suffix}.json")):
            *needed, kind = path.stem.split("_")
            if kind == suffix and set(needed) <= set(entities) and path != sidecar_path(image):
                found.append(path)
    return found
