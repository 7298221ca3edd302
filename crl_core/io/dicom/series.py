"""One scan in a folder, a file or an archive of DICOM objects, and the choice of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crl_core.errors import InputError
from crl_core.io.dicom.fallback import Converted
from crl_core.io.dicom.frames import Frame
from crl_core.io.timing import Timing


@dataclass(frozen=True, eq=False)
class Series:
    """One thing that opens as one scan.

    A DICOM series that holds two echo times, or magnitude and phase, gives several.

    Parameters
    ----------
    key
        Short and unique within one listing: ``"5"``, ``"5e2"`` (second echo), ``"5p"`` (phase).
    number
        Series number, where there is one.
    description
        Words of the protocol, ``""`` where there are none.
    kind
        ``"fast spin echo"``, ``"inversion recovery fast spin echo"``, ``"spin echo"``,
        ``"inversion recovery"``, ``"gradient echo"``, ``"echo planar"`` or ``"unknown"``.
    fast_spin_echo
        None where the header does not say.
    timing
        TR, TE, TI in ms with their origins, and further sequence parameters.
    shape
        Columns, rows, slices of one volume.
    voxel_size
        Edge lengths of a voxel along those axes, mm.
    plane
        ``"axial"``, ``"oblique coronal"`` and the like; ``""`` where unusable.
    volumes
        How many volumes cover the same places.
    manufacturer
        As the header names it.
    refusal, remedy
        Why it cannot be used and what to do about it; ``""`` where it can.
    path
        The file, folder or archive it was found in.
    notes
        Sentences a viewer should show beside the scan.
    affine
        4x4, (column, row, slice) to RAS+ millimetres.
    frames
        For each volume, its slices in order; empty where unusable or read by dcm2niix.
    converted
        What dcm2niix made of it, where this reader could not read it.
    """

    key: str
    number: int | None
    description: str
    kind: str
    fast_spin_echo: bool | None
    timing: Timing
    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    plane: str
    volumes: int
    manufacturer: str
    refusal: str
    remedy: str
    path: Path
    notes: tuple[str, ...] = ()
    affine: NDArray[np.float64] = field(default_factory=lambda: np.eye(4), repr=False)
    frames: tuple[tuple[Frame, ...], ...] = field(default=(), repr=False)
    converted: Converted | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """What to call the scan on screen; never a patient's name."""
        if self.description:
            return self.description
        return f"series {self.key}"


def choose_series(found: list[Series], wanted: str | None, path: Path) -> Series:
    """Return the scan of a key, or the only usable one.

    Raises
    ------
    InputError
        When there is no such key, when several are usable and none was named, or when the
        chosen one cannot be used.
    """
    if wanted is not None:
        for series in found:
            if series.key == wanted.strip():
                return usable(series)
        raise InputError(
            f"holds no series '{wanted}'",
            path=path,
            remedy=f"Choose one with --series: {_listed(found)}",
        )
    good = [series for series in found if not series.refusal]
    if len(good) == 1:
        return good[0]
    if not good:
        if len(found) == 1:
            return usable(found[0])
        reasons = "; ".join(f"{s.key}: {s.refusal}" for s in found[:4])
        raise InputError(
            f"holds {len(found)} scans, none of which can be used ({reasons})",
            path=path,
            remedy=found[0].remedy,
        )
    raise InputError(
        f"holds {len(good)} scans",
        path=path,
        remedy=f"Choose one with --series: {_listed(good)}",
    )


def _listed(found: Sequence[Series]) -> str:
    shown = [f"{s.key} ({s.name})" if s.description else s.key for s in found[:8]]
    return ", ".join(shown) + (" and more" if len(found) > 8 else "")


def usable(series: Series) -> Series:
    """Return the series, or refuse it with its own reason.

    Raises
    ------
    InputError
        When it cannot be used.
    """
    if series.refusal:
        raise InputError(
            f"series {series.key} cannot be used: {series.refusal}",
            path=series.path,
            remedy=series.remedy,
        )
    return series
