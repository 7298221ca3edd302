"""Findings on grids: what differs within a subject, or from the rest of the dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np
from nibabel import orientations
from numpy.typing import NDArray

from crl_core.doctor.files import Dossier, Log
from crl_core.doctor.findings import Mend, command
from crl_core.doctor.looks import slice_axis
from crl_core.preprocess.resample import gap_mm
from crl_core.scan import Scan

T = TypeVar("T", bound=Hashable)

_ALIKE = 0.05
"""Voxel sizes of one acquisition that differ by less than this share need no word."""

_SMALLEST_MM, _LARGEST_MM = 30.0, 600.0
"""Field of view (its longest side) that a head scan may have."""


def check_geometry(scans: Sequence[Dossier], log: Log) -> None:
    """Log what headers say of grids; unreadable images are skipped."""
    known = [scan for scan in scans if scan.affine is not None]
    for scan in known:
        _one(scan, [s for s in known if s.subject == scan.subject], log)
    for subject in dict.fromkeys(scan.subject for scan in known):
        _subject([s for s in known if s.subject == subject and not s.synthetic], log)
    for name in dict.fromkeys(scan.acquisition for scan in known):
        _acquisition([s for s in known if s.acquisition == name], log)


def slices_of(scan: Dossier) -> int | None:
    """Return the number of slices along the axis they were acquired."""
    if scan.shape is None or scan.affine is None:
        return None
    return scan.shape[slice_axis(scan.shape, scan.affine)]


def _one(scan: Dossier, subject: Sequence[Dossier], log: Log) -> None:
    if not scan.stated:
        twin = next((s for s in subject if s.stated and s.shape == scan.shape), None)
        action = None if twin is None else Mend("geometry", scan.file, twin.file, sure=False)
        log.add(
            "warning",
            "orientation-unknown",
            "its header states no orientation: left and right are a guess",
            about=scan,
            action=action,
        )
    if scan.volumes > 1:
        log.add(
            "warning",
            "volumes",
            f"it holds {scan.volumes} volumes, of which the first is used",
            about=scan,
        )
    if slices_of(scan) == 1:
        log.add("note", "single-slice", "it holds one single slice", about=scan)
    _header_contradictions(scan, log)
    assert scan.shape is not None
    assert scan.voxel_size is not None
    extent = max(n * size for n, size in zip(scan.shape, scan.voxel_size, strict=True))
    if not _SMALLEST_MM <= extent <= _LARGEST_MM:
        log.add(
            "warning",
            "voxel-size",
            f"its field of view is {extent:.3g} mm: the voxel size "
            f"{_sizes(scan.voxel_size)} mm is hardly right",
            about=scan,
        )


def _header_contradictions(scan: Dossier, log: Log) -> None:
    header, affine = scan.header, scan.affine
    assert affine is not None
    edges = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.abs(edges.T @ edges - np.eye(3)).max() > 0.02:
        log.add("warning", "sheared", "the axes of its affine are not at right angles", about=scan)
    if int(header["qform_code"]) <= 0 or int(header["sform_code"]) <= 0:
        return
    try:
        qform = np.array(header.get_qform(), dtype=float)
    except ValueError:
        log.add("warning", "qform", "its qform is damaged; the sform is used", about=scan)
        return
    sform = np.array(header.get_sform(), dtype=float)
    corners = np.array(np.meshgrid(*([0, n - 1] for n in scan.shape or ()))).reshape(3, -1)
    apart = np.linalg.norm((qform - sform)[:3, :3] @ corners + (qform - sform)[:3, 3:], axis=0)
    if apart.max() <= 1.0:
        return
    letters: Any = orientations.aff2axcodes
    says = "".join(letters(qform)), "".join(letters(sform))
    also = f" and turn it differently ({says[0]} and {says[1]})" if says[0] != says[1] else ""
    spacing = np.linalg.norm(qform[:3, :3], axis=0), np.linalg.norm(sform[:3, :3], axis=0)
    if not np.allclose(*spacing, rtol=0.01):
        also += f"; one says {_sizes(spacing[0])} mm voxels, the other {_sizes(spacing[1])} mm"
    log.add(
        "warning",
        "qform-sform",
        f"its qform and sform lie up to {apart.max():.1f} mm apart{also}; the sform is used",
        about=scan,
    )


def _subject(scans: Sequence[Dossier], log: Log) -> None:
    grids: list[list[Dossier]] = []
    for scan in scans:
        for grid in grids:
            if same_grid(scan, grid[0]):
                grid.append(scan)
                break
        else:
            grids.append([scan])
    if len(grids) < 2:
        return
    grids.sort(key=len, reverse=True)
    main = grids[0][0]
    remedy = prepare_command(log.root)
    odd = [scan for grid in grids[1:] for scan in grid]
    for scan in odd:
        text = _difference(scan, main, len(grids[0]))
        code = "apart" if "apart" in text else "slices" if "slices" in text else "grid"
        log.add("warning", code, text, about=scan, mend=remedy)


def prepare_command(root: Path) -> str:
    """Return the command that brings the scans of each subject onto one grid."""
    named = root if root.name else root.absolute()  # "." has no name to build on
    return command("prepare", root, ["-o", f"{named}_prepared"])


def _difference(scan: Dossier, main: Dossier, alike: int) -> str:
    """Say how the grid of a scan differs from that of the others."""
    others = f"the {alike} other scans" if alike > 1 else main.name
    gap = gap_mm(_as_scan(scan), _as_scan(main))
    if gap > 0:
        return f"its field of view lies {gap:.0f} mm apart from that of {others}"
    assert scan.voxel_size is not None
    assert main.voxel_size is not None
    if np.allclose(scan.voxel_size, main.voxel_size, rtol=0.01):
        mine, theirs = slices_of(scan), slices_of(main)
        if mine != theirs and scan.codes == main.codes:
            return f"{mine} slices, {theirs} in {others}"
        if scan.shape != main.shape:
            return f"{_times(scan.shape)} voxels, {_times(main.shape)} in {others}"
        if scan.codes != main.codes:
            return f"its axes run {scan.codes or 'unknown'}, those of {others} {main.codes}"
        return f"the same voxels as {others}, but in another place"
    return (
        f"voxels of {_sizes(scan.voxel_size)} mm, {_sizes(main.voxel_size)} mm in {others}: "
        "the grids differ"
    )


def _acquisition(scans: Sequence[Dossier], log: Log) -> None:
    """Compare the same acquisition in different subjects."""
    if len(scans) < 3:
        return
    name = scans[0].name
    usual_codes = _usual(scans, lambda s: s.codes)
    usual_size = _usual_size(scans)
    extents = [_slab_mm(scan) for scan in scans]
    for scan, extent in zip(scans, extents, strict=True):
        if usual_codes and scan.codes and scan.codes != usual_codes:
            hand = _handed(scan.codes) != _handed(usual_codes)
            log.add(
                "warning",
                "orientation",
                f"its axes run {scan.codes}, those of the other scans named {name} {usual_codes}"
                + (": a left-right flip if the data were not turned with them" if hand else ""),
                about=scan,
            )
        if usual_size is not None and not np.allclose(_size(scan), usual_size, rtol=_ALIKE):
            log.add(
                "warning",
                "voxel-size",
                f"voxels of {_sizes(_size(scan))} mm, {_sizes(usual_size)} mm in the "
                f"other scans named {name}",
                about=scan,
            )
        elif extent < 0.7 * median(extents):
            log.add(
                "warning",
                "coverage",
                f"its slices cover {extent:.0f} mm, {median(extents):.0f} mm in the other scans "
                f"named {name}",
                about=scan,
            )


def _usual(scans: Sequence[Dossier], key: Callable[[Dossier], T]) -> T | None:
    """Return what more than half of the scans share, if anything."""
    value, count = Counter(key(scan) for scan in scans).most_common(1)[0]
    return value if count > len(scans) / 2 else None


def _size(scan: Dossier) -> NDArray[Any]:
    """Return the edges of a voxel, mm, the shortest first: whichever way the axes run."""
    return np.sort(np.array(scan.voxel_size))


def _usual_size(scans: Sequence[Dossier]) -> NDArray[Any] | None:
    """Return the voxel size of the scans where more than half of them share one."""
    sizes = np.stack([_size(scan) for scan in scans])
    usual = np.median(sizes, axis=0)
    share = np.isclose(sizes, usual, rtol=_ALIKE).all(axis=1).mean()
    return np.asarray(usual) if share > 0.5 else None


def _handed(codes: str) -> bool:
    """Return whether axes with these letters form a right-handed frame as R, A, S do."""
    world = [next(i for i, pair in enumerate(("LR", "PA", "IS")) if c in pair) for c in codes]
    matrix = np.zeros((3, 3))
    for column, (row, letter) in enumerate(zip(world, codes, strict=True)):
        matrix[row, column] = 1 if letter in "RAS" else -1
    return bool(np.linalg.det(matrix) > 0)


def _slab_mm(scan: Dossier) -> float:
    if scan.shape is None or scan.affine is None or scan.voxel_size is None:
        return 0.0
    axis = slice_axis(scan.shape, scan.affine)
    return scan.shape[axis] * scan.voxel_size[axis]


def same_grid(a: Dossier, b: Dossier) -> bool:
    """Return whether two scans have the same voxels in the same places, to 0.01 mm."""
    return _as_scan(a).same_grid(_as_scan(b), tolerance_mm=0.01)


def _as_scan(scan: Dossier) -> Scan:
    assert scan.shape is not None
    assert scan.affine is not None
    return Scan(np.broadcast_to(np.float32(0), scan.shape), scan.affine, scan.name)


def _sizes(values: Sequence[float] | NDArray[Any]) -> str:
    return " x ".join(f"{v:.3g}" for v in values)


def _times(shape: Sequence[int] | None) -> str:
    return " x ".join(str(n) for n in shape or ())
