"""The examination of a dataset, from its files to the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from crl_core.doctor.files import Dossier, Log, open_dossier
from crl_core.doctor.findings import Report, ScanRow
from crl_core.doctor.parameters import check_parameters
from crl_core.errors import Cancelled, CRLError
from crl_core.io.bids import find_subjects, read_json


def check_dataset(
    root: str | Path,
    *,
    quick: bool = False,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Report:
    """Examine a BIDS dataset; nothing is written.

    Parameters
    ----------
    root
        The dataset.
    quick
        Look at sidecars and headers only: no voxel is read, so flips, intensities and
        duplicates stay unseen.
    progress
        Called with how many scans of how many were read.
    cancelled
        Asked before each scan; when it returns True, `Cancelled` is raised.

    Returns
    -------
    Report
        One row per scan, and the findings with the command that mends each.

    Raises
    ------
    InputError
        When the folder is no dataset.
    Cancelled
        When `cancelled` said so.
    """
    root = Path(root)
    found = find_subjects(root)
    total = sum(len(files.images) for files in found)
    log = Log(root)
    scans: list[Dossier] = []
    for files in found:
        for path in files.images:
            if cancelled():
                raise Cancelled("the check was cancelled")
            scans.append(open_dossier(root, files.label, path, quick=quick))
            if progress is not None:
                progress(len(scans), total)
    for scan in scans:
        if scan.broken:
            log.add("error", "damaged", scan.broken, about=scan)
    check_parameters(scans, log)
    rows = tuple(_row(scan, log) for scan in scans)
    return Report(root, rows, log.sorted(), prepared=is_prepared(root), quick=quick)


def is_prepared(root: Path) -> bool:
    """Return whether `crl prepare` of this program wrote the dataset."""
    try:
        about = read_json(root / "dataset_description.json")
    except CRLError:
        return False
    makers = about.get("GeneratedBy")
    names = (
        [m.get("Name") for m in makers if isinstance(m, dict)] if isinstance(makers, list) else []
    )
    return about.get("DatasetType") == "derivative" and "CRL Explorer" in names


def _row(scan: Dossier, log: Log) -> ScanRow:
    codes = dict.fromkeys(finding.code for finding in log.of(scan.file))
    size = scan.voxel_size
    slices = None
    if scan.shape is not None and size is not None:
        slices = scan.shape[2]
    return ScanRow(
        scan.subject,
        scan.file,
        scan.name,
        scan.suffix,
        scan.values.get("tr"),
        scan.values.get("te"),
        scan.values.get("ti"),
        scan.shape,
        size,
        scan.codes,
        slices,
        ", ".join(codes) or "ok",
    )
