"""One scan of a dataset as the doctor sees it, and the log the findings go into."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nibabel import orientations
from numpy.typing import NDArray

from crl_core.doctor.findings import Finding, Mend, Severity, Value, command
from crl_core.doctor.looks import Looks
from crl_core.errors import CRLError
from crl_core.io import nifti
from crl_core.io.bids import read_json, scan_name, sidecars_of
from crl_core.io.image_file import ORIENTATION_FIELD, SYNTHETIC_FIELD, SYNTHETIC_MARK


@dataclass(eq=False)
class Dossier:
    """What was read of one image file.

    Parameters
    ----------
    root
        The dataset.
    subject
        Label of the subject (and session).
    path
        The image.
    sidecars
        The readable JSON files that apply to it, the closest one last.
    fields
        Their fields merged, as they stand in the files.
    came_from
        For each field the JSON file that gave it.
    broken
        Why the image cannot be read; empty where it can.
    header, affine, stated, shape, volumes
        Geometry of the image, where it can be read.
    looks
        What the voxels look like; None where they were not read.
    values
        TR, TE and TI that are known after units were put right, by ``"tr"``, ``"te"``, ``"ti"``.
    """

    root: Path
    subject: str
    path: Path
    sidecars: list[Path] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    came_from: dict[str, Path] = field(default_factory=dict)
    bad_sidecars: list[tuple[Path, str]] = field(default_factory=list)
    broken: str = ""
    header: Any = None
    affine: NDArray[Any] | None = None
    stated: bool = False
    shape: tuple[int, int, int] | None = None
    volumes: int = 1
    looks: Looks | None = None
    values: dict[str, Value] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """The image relative to the dataset, with forward slashes."""
        return relative(self.path, self.root)

    @property
    def name(self) -> str:
        """Short name for tables."""
        return scan_name(self.path)

    @property
    def acquisition(self) -> str:
        """The entities that make it the same acquisition in every subject, and the suffix."""
        *entities, suffix = nifti.stem(self.path).split("_")
        kept = [e for e in entities if not e.startswith(("sub-", "ses-", "run-"))]
        return "_".join([*kept, suffix])

    @property
    def suffix(self) -> str:
        """The BIDS suffix, such as ``T2w``."""
        return nifti.stem(self.path).rsplit("_", 1)[-1]

    @property
    def synthetic(self) -> bool:
        """Whether this program made the image up."""
        text = b"" if self.header is None else bytes(self.header["descrip"])
        return self.fields.get(SYNTHETIC_FIELD) is True or text.startswith(SYNTHETIC_MARK.encode())

    @property
    def codes(self) -> str:
        """Letters of the ends the axes run to, such as ``RAS``; empty where that is a guess."""
        if self.affine is None or not self.stated:
            return ""
        letters: Any = orientations.aff2axcodes
        return "".join(letters(self.affine))

    @property
    def voxel_size(self) -> tuple[float, float, float] | None:
        """Edge lengths of a voxel, mm."""
        if self.affine is None:
            return None
        x, y, z = ((self.affine[:3, a] ** 2).sum() ** 0.5 for a in range(3))
        return (float(x), float(y), float(z))

    def forget_small(self) -> None:
        """Let go of the small copy once orientations were compared."""
        if self.looks is not None:
            self.looks = replace(self.looks, small=None)


def relative(path: Path, root: Path) -> str:
    """Return `path` relative to the dataset, with forward slashes on every system."""
    return path.relative_to(root).as_posix()


def open_dossier(root: Path, subject: str, path: Path, *, quick: bool) -> Dossier:
    """Read sidecars, header and, unless `quick`, the voxels of one image; never raises for them."""
    found = Dossier(root, subject, path)
    for sidecar in sidecars_of(path):
        try:
            fields = read_json(sidecar)
        except CRLError as error:
            found.bad_sidecars.append((sidecar, error.problem))
            continue
        found.sidecars.append(sidecar)
        found.fields |= fields
        found.came_from |= dict.fromkeys(fields, sidecar)
    try:
        _read_image(found, quick)
    except CRLError as error:
        found.broken = error.problem
    return found


def _read_image(found: Dossier, quick: bool) -> None:
    if quick:
        found.header, found.affine, found.stated = nifti.read_header(found.path)
    else:
        volume = nifti.read(found.path)
        found.header, found.affine, found.stated = volume.header, volume.affine, volume.stated
        found.looks = Looks.of(volume)
    found.stated = found.stated and found.fields.get(ORIENTATION_FIELD, True) is not False
    shape = [int(n) for n in found.header.get_data_shape()]
    x, y, z = [*shape[:3], 1][:3]
    found.shape = (x, y, z)
    for n in shape[3:]:
        found.volumes *= n


class Log:
    """Collects findings, each once, and writes the command beside them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._found: dict[tuple[str, ...], Finding] = {}

    def add(
        self,
        severity: Severity,
        code: str,
        problem: str,
        *,
        about: Dossier | None = None,
        subject: str = "",
        file: str = "",
        action: Mend | None = None,
        mend: str = "",
    ) -> None:
        """Keep a finding unless the same was said of the same file before."""
        subject = about.subject if about is not None and not subject else subject
        file = about.file if about is not None and not file else file
        if action is not None:
            mend = command("mend", self.root, action.words)
        found = Finding(severity, subject, file, code, problem, mend, action)
        self._found.setdefault((code, file or subject, problem), found)

    def sorted(self) -> tuple[Finding, ...]:
        """Errors first, then warnings, then notes; each by file."""
        order = ("error", "warning", "note")
        return tuple(
            sorted(self._found.values(), key=lambda f: (order.index(f.severity), f.subject, f.file))
        )

    def of(self, file: str) -> list[Finding]:
        """Return the errors and warnings about one file."""
        return [f for f in self._found.values() if f.file == file and f.severity != "note"]
