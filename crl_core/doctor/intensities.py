"""Findings on the voxels of a scan: clipped, quantised, rescaled, damaged or copied."""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from pathlib import Path

from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from crl_core.doctor.files import Dossier, Log
from crl_core.doctor.findings import Mend
from crl_core.doctor.looks import Looks
from crl_core.doctor.voxels import raw_header

_CLIPPED = 0.001
"""Share of the head's voxels at the maximum from which an image counts as clipped."""

_PILE = 0.5
"""At the maximum this many times the voxels of the 2 % below it: a pile, not a tail."""

_NEGATIVE = 0.002
_BYTE_LEVELS = 256
_LABELS = 16
"""Fewer distinct values in the head than this look like a segmentation."""


def check_intensities(scans: Sequence[Dossier], log: Log) -> None:
    """Log what the voxels show; scans whose voxels were not read are skipped."""
    for scan in scans:
        if scan.looks is not None:
            _values(scan, scan.looks, log)
            _slices(scan, scan.looks, log)
        if not scan.broken:
            _slope(scan, log)
    _copies(scans, log)


def _values(scan: Dossier, looks: Looks, log: Log) -> None:
    if looks.constant:
        what = "nothing but zeros" if looks.high == 0 else f"one single value, {looks.high:g}"
        log.add("error", "empty", f"it holds {what}", about=scan, action=_leave_out(scan))
        return
    if looks.replaced:
        voxels = "voxel is" if looks.replaced == 1 else "voxels are"
        log.add(
            "warning",
            "not-finite",
            f"{looks.replaced} {voxels} not a finite number and taken as 0",
            about=scan,
        )
    if looks.negative > _NEGATIVE:
        log.add(
            "warning",
            "negative",
            f"{100 * looks.negative:.1f} % of its voxels are negative, which a magnitude image "
            "cannot be",
            about=scan,
        )
    if looks.levels < _LABELS:
        log.add(
            "error",
            "labels",
            f"it holds only {looks.levels} different values, like a segmentation",
            about=scan,
            action=_leave_out(scan),
        )
        return
    clipped = looks.clipped > _CLIPPED and looks.pile_up > _PILE
    if clipped and not looks.per_slice:
        log.add(
            "warning",
            "clipped",
            f"{100 * looks.clipped:.1f} % of the head lies at the maximum, {looks.high:g}: "
            "bright tissue was cut off",
            about=scan,
            action=_leave_out(scan),
        )
    if looks.levels <= _BYTE_LEVELS:
        log.add(
            "warning",
            "eight-bit",
            f"it holds only {looks.levels} different values: it was stored with 8 bits, perhaps "
            "after windowing",
            about=scan,
        )


def _slices(scan: Dossier, looks: Looks, log: Log) -> None:
    if looks.per_slice:
        log.add(
            "warning",
            "scaled-per-slice",
            f"every slice reaches the same maximum, {looks.high:g}: each was scaled on its own, so "
            "that brightness means nothing from slice to slice",
            about=scan,
            action=_leave_out(scan),
        )
    for numbers, code, what in (
        (looks.empty, "slice-empty", "empty although slices on both sides are not"),
        (looks.dark, "slice-dark", "nearly without signal, unlike both neighbours"),
        (looks.repeated, "slice-repeated", "equal to the slice before"),
    ):
        if numbers:
            log.add(
                "error" if code == "slice-empty" else "warning",
                code,
                f"{_list_slices(numbers)} {what}",
                about=scan,
                action=_leave_out(scan),
            )


def _list_slices(numbers: Sequence[int]) -> str:
    listed = ", ".join(str(n) for n in numbers[:6]) + (" ..." if len(numbers) > 6 else "")
    if len(numbers) == 1:
        return f"slice {listed} (counted from 0) is"
    return f"slices {listed} (counted from 0) are"


def _slope(scan: Dossier, log: Log) -> None:
    """Look at the scale of stored values, which the format keeps beside them."""
    slope, intercept = stored_scale(scan.path)
    if math.isfinite(slope) and slope < 0:
        log.add(
            "warning",
            "slope",
            f"its header scales stored values by {slope:g}: bright and dark are exchanged",
            about=scan,
        )
    elif not math.isfinite(intercept) or math.isinf(slope):
        log.add(
            "warning",
            "slope",
            f"the scale in its header, {slope:g} and {intercept:g}, is no number and is ignored",
            about=scan,
        )


def stored_scale(path: Path) -> tuple[float, float]:
    """Return scl_slope and scl_inter as they stand in a NIfTI header; 1 and 0 where unreadable."""
    with path.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if compressed else path.open("rb") as stream:
            header = raw_header(stream.read(540))
    except (OSError, EOFError, WrapStructError, HeaderDataError):
        return 1.0, 0.0
    return float(header["scl_slope"]), float(header["scl_inter"])


def _copies(scans: Sequence[Dossier], log: Log) -> None:
    """Find the same voxels under two names."""
    seen: dict[str, Dossier] = {}
    for scan in scans:
        if scan.looks is None or scan.looks.constant:
            continue
        first = seen.setdefault(scan.looks.digest, scan)
        if first is scan:
            continue
        person, other = scan.subject.split("_")[0], first.subject.split("_")[0]
        if person != other:
            log.add(
                "warning",
                "copy-across-subjects",
                f"its voxels equal those of {first.file}: the same scan in two subjects leaks from "
                "training into testing",
                about=scan,
                action=_leave_out(scan),
            )
            continue
        different = _triple(scan) != _triple(first)
        log.add(
            "error" if different else "warning",
            "copy",
            f"its voxels equal those of {first.file}"
            + (", but TR, TE or TI differ: one of the two is wrong" if different else ""),
            about=scan,
            action=_leave_out(scan),
        )


def _triple(scan: Dossier) -> dict[str, float]:
    return {name: value.ms for name, value in scan.values.items()}


def _leave_out(scan: Dossier) -> Mend:
    return Mend("leave-out", scan.file, sure=False)  # only a person gives up a scan
