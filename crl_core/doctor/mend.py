"""The changes the doctor proposes, made on request and so that they can be undone.

The file as it was goes to ``sourcedata/mended`` of the dataset first, under the path it had; what
already lies there is never replaced. New files appear complete or not at all, and the sidecar of
the image notes what was done.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crl_core import __version__
from crl_core.doctor import voxels
from crl_core.doctor.findings import Mend, MendKind
from crl_core.doctor.units import UNITS, scaled, wrong_unit
from crl_core.errors import CRLError, InputError, OutputError, ParameterError
from crl_core.io import nifti
from crl_core.io.atomic import atomic_path
from crl_core.io.bids import read_json, read_sidecar, sidecar_path, sidecars_of, write_json
from crl_core.io.image_file import ORIENTATION_FIELD
from crl_core.io.timing import NAMES, to_fields
from crl_core.scan import Origin
from crl_core.sequence import SequenceParameters, parse_parameters

KEPT = Path("sourcedata") / "mended"
"""Where files go as they were, relative to the dataset."""

MENDED_FIELD = "Mended"
"""Sidecar field: a list of what was done to the image or to its sidecar."""


@dataclass(frozen=True)
class _Change:
    """A mend that was looked at and can be made."""

    mend: Mend
    apply: Callable[[], str]


def parse_mend(kind: MendKind, text: str) -> Mend:
    """Read what follows an option of ``crl mend``.

    Parameters
    ----------
    kind
        The option.
    text
        ``FILE``, ``FILE=TR,TE,TI``, ``FILE:x`` or ``FILE=OTHER``, as `Mend.words` writes them.

    Raises
    ------
    InputError
        When a part is missing.
    """
    if kind == "flip":
        file, _, axes = text.rpartition(":")
        if file and re.fullmatch("[xyz]+", axes):
            return Mend(kind, file, axes)
        return Mend(kind, text, "x")
    if kind in ("params", "geometry"):
        file, _, value = text.rpartition("=")
        if not file or not value:
            form = "FILE=TR,TE,TI" if kind == "params" else "FILE=OTHER"
            raise InputError(f"'{text}' is not {form}", remedy=f"Write --{kind} {form}")
        return Mend(kind, file, value)
    return Mend(kind, text)


def mend_dataset(root: str | Path, mends: Iterable[Mend]) -> list[str]:
    """Make changes to a dataset.

    All of them are looked at before the first is made, so that a slip of the pen in the last
    leaves the dataset as it was.

    Parameters
    ----------
    root
        The dataset.
    mends
        What to change; files are relative to the dataset, or paths into it.

    Returns
    -------
    lines
        What was done, one sentence per change.

    Raises
    ------
    CRLError
        When a file is not part of the dataset, or a change makes no sense for it.
    """
    root = Path(root)
    wanted = list(dict.fromkeys(mends))
    # What is left out goes last, so that it takes the other changes along.
    wanted.sort(key=lambda mend: mend.kind == "leave-out")
    changes = [_plan(root, mend) for mend in wanted]
    return [f"{change.mend.file}: {change.apply()}" for change in changes]


def _plan(root: Path, mend: Mend) -> _Change:
    path = _inside(root, mend.file)
    if mend.kind in ("milliseconds", "thousandth"):
        return _Change(mend, _plan_units(root, path, mend))
    if not nifti.is_nifti_name(path):
        raise InputError("is no image", path=path, remedy="Name a .nii or .nii.gz file")
    if mend.kind == "params":
        return _Change(mend, _plan_parameters(root, path, mend.value))
    if mend.kind == "flip":
        return _Change(mend, _plan_flip(root, path, mend.value))
    if mend.kind == "geometry":
        return _Change(mend, _plan_geometry(root, path, _inside(root, mend.value)))
    return _Change(mend, lambda: _leave_out(root, path))


def _inside(root: Path, file: str) -> Path:
    """Return a file of the dataset, named relative to it or by a path into it."""
    path = root / file
    if not path.is_file():
        path = Path(file)
    if not path.is_file():
        raise InputError("does not exist", path=root / file, remedy="Check the name of the file")
    place, top = _absolute(path), _absolute(root)
    if not place.is_relative_to(top) or place.is_relative_to(top / "sourcedata"):
        raise InputError(
            "is not part of the dataset", path=path, remedy=f"Name a file inside {root}"
        )
    return root / place.relative_to(top)


def _absolute(path: Path) -> Path:
    """Return where a name lies, without following a link the file itself may be."""
    return path.parent.resolve() / path.name


# units ------------------------------------------------------------------------------------------


def _plan_units(root: Path, path: Path, mend: Mend) -> Callable[[], str]:
    sidecar = path if path.suffix == ".json" else sidecar_path(path)
    fields = read_json(sidecar) if sidecar.is_file() else {}
    keys = [key for key in UNITS if wrong_unit(key, fields.get(key)) == mend.kind]
    if not keys:
        raise InputError(
            f"no field of it looks like {_describe(mend.kind)}", path=sidecar, remedy=_above(path)
        )
    factor = 0.001 if mend.kind == "milliseconds" else 1000.0

    def apply() -> str:
        before = read_json(sidecar)
        after = dict(before) | {key: scaled(before[key], factor) for key in keys}
        said = ", ".join(f"{key} {before[key]} is now {after[key]}" for key in keys)
        was = {key: before[key] for key in keys}
        _write_sidecar(root, sidecar, after, f"{_describe(mend.kind)}, now in seconds", was)
        return said

    return apply


def _describe(kind: str) -> str:
    return "milliseconds" if kind == "milliseconds" else "seconds divided by 1000 once too often"


def _above(path: Path) -> str:
    """Point to the sidecar further up that may hold the field."""
    others = [] if path.suffix == ".json" else sidecars_of(path)[:-1]
    if others:
        return f"If it comes from {others[-1].name}, name that file"
    return "Look at its sidecar with crl inspect"


# parameters -------------------------------------------------------------------------------------


def _plan_parameters(root: Path, image: Path, text: str) -> Callable[[], str]:
    if any(name.upper() in text.upper() for name in NAMES):
        raise ParameterError(
            f"'{text}' still holds a name where a number belongs",
            path=image,
            remedy="Write TR,TE,TI in ms, such as 8000,100,0",
        )
    parameters = parse_parameters(text)
    parameters.check_order()

    def apply() -> str:
        sidecar = sidecar_path(image)
        before = _readable(sidecar)
        after = _with_parameters(image, before, parameters)
        was = {key: before[key] for key in UNITS if key in before}
        _write_sidecar(root, sidecar, after, "TR, TE and TI given by hand", was)
        return f"its sidecar now says {parameters}"

    return apply


def _readable(sidecar: Path) -> dict[str, Any]:
    """Return the fields of a sidecar, none where it is missing or damaged."""
    try:
        return read_json(sidecar) if sidecar.is_file() else {}
    except CRLError:
        return {}


def _with_parameters(
    image: Path, before: Mapping[str, Any], parameters: SequenceParameters
) -> dict[str, Any]:
    given = dict.fromkeys(NAMES, Origin("given by the user", "given"))
    after = {key: value for key, value in before.items() if key != "InversionTime"}
    after |= to_fields(parameters, given)
    try:
        inherited = read_sidecar(image)[0]
    except CRLError:
        inherited = {}
    if not parameters.inverted and "InversionTime" in {**inherited, **before}:
        after["InversionTime"] = 0.0  # silences a value that a file further up gives
    return after


# images -----------------------------------------------------------------------------------------


def _plan_flip(root: Path, image: Path, axes: str) -> Callable[[], str]:
    _, affine, _ = nifti.read_header(image)

    def apply() -> str:
        _keep(root, image)
        numbers = [voxels.array_axis(affine, axis) for axis in axes]
        voxels.mirror(image, numbers)
        what = f"voxels mirrored along {' and '.join(axes)} (array axis {_list(numbers)})"
        _note(root, image, what, {})
        return what

    return apply


def _plan_geometry(root: Path, image: Path, other: Path) -> Callable[[], str]:
    mine, theirs = (nifti.read_header(path)[0].get_data_shape()[:3] for path in (image, other))
    if tuple(mine) != tuple(theirs):
        raise InputError(
            f"has {_times(mine)} voxels, {other.name} has {_times(theirs)}",
            path=image,
            remedy="Take the geometry of a scan with the same voxels",
        )

    def apply() -> str:
        _, before, _ = nifti.read_header(image)
        _keep(root, image)
        voxels.take_geometry(image, other)
        what = f"qform and sform taken from {other.name}"
        _note(root, image, what, {"Affine": before.tolist()}, drop=ORIENTATION_FIELD)
        return what

    return apply


def _leave_out(root: Path, image: Path) -> str:
    """Move an image and its own sidecar out of the dataset."""
    moved = [path for path in (image, sidecar_path(image)) if path.is_file()]
    targets = [_free(root / KEPT / path.relative_to(root)) for path in moved]
    for path, target in zip(moved, targets, strict=True):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(path, target)
        except OSError as error:
            raise OutputError(
                f"cannot be moved ({error.strerror})", path=path, remedy="Check the permissions"
            ) from error
    return f"moved to {targets[0].relative_to(root).as_posix()}"


def _free(path: Path) -> Path:
    """Return the path, or with a number where a file of that name exists."""
    number, free = 2, path
    while free.exists():
        free = path.with_name(f"{number}_{path.name}")
        number += 1
    return free


# keeping and noting -----------------------------------------------------------------------------


def _keep(root: Path, path: Path) -> None:
    """Copy a file to where originals are kept, unless an older original lies there."""
    target = root / KEPT / path.relative_to(root)
    if not target.exists():
        with atomic_path(target) as temporary:
            shutil.copyfile(path, temporary)


def _note(
    root: Path, image: Path, what: str, was: Mapping[str, Any], *, drop: str | None = None
) -> None:
    sidecar = sidecar_path(image)
    fields = {key: value for key, value in _readable(sidecar).items() if key != drop}
    _write_sidecar(root, sidecar, fields, what, was)


def _write_sidecar(
    root: Path, sidecar: Path, fields: Mapping[str, Any], what: str, was: Mapping[str, Any]
) -> None:
    """Write a sidecar with one more entry in its list of mends; keep the older file."""
    if sidecar.is_file():
        _keep(root, sidecar)
    older = fields.get(MENDED_FIELD)
    entry = {"What": what, **({"Was": dict(was)} if was else {}), "By": f"crl mend {__version__}"}
    mends = [*(older if isinstance(older, list) else []), entry]
    write_json(sidecar, {**fields, MENDED_FIELD: mends}, overwrite=True)


def _list(numbers: Sequence[int]) -> str:
    return " and ".join(str(n) for n in numbers)


def _times(shape: Sequence[int]) -> str:
    return " x ".join(str(n) for n in shape)
