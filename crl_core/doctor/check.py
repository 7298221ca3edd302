"""The examination of a dataset, from its files to the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from crl_core.doctor.cohort import check_cohort
from crl_core.doctor.files import Dossier, Log, open_dossier
from crl_core.doctor.findings import Mend, Report, ScanRow, command
from crl_core.doctor.flips import Orientations, compare_subject, report_flips
from crl_core.doctor.geometry import check_geometry, slices_of
from crl_core.doctor.intensities import check_intensities
from crl_core.doctor.parameters import check_parameters
from crl_core.errors import Cancelled, CRLError, InputError
from crl_core.io.bids import SubjectFiles, find_subjects, read_json


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
    files = _subjects(root)

    def stop() -> None:
        if cancelled():
            raise Cancelled("the check was cancelled")

    log = Log(root)
    scans, turned = _read(root, files, quick, progress, stop)
    for scan in scans:
        if scan.broken:
            action = Mend("leave-out", scan.file, sure=False)
            log.add("error", "damaged", f"it {scan.broken}", about=scan, action=action)
    check_parameters(scans, log)
    check_geometry(scans, log)
    check_intensities(scans, log)
    report_flips(turned, scans, log, root)
    check_cohort(root, scans, log)
    rows = tuple(_row(scan, log) for scan in scans)
    return Report(root, rows, log.sorted(), prepared=is_prepared(root), quick=quick)


def _subjects(root: Path) -> list[SubjectFiles]:
    """List the subjects; say in one line what a folder without any holds instead."""
    try:
        return find_subjects(root)
    except InputError as error:
        if not root.is_dir():
            raise
        from crl_core.io.dicom import is_dicom

        if is_dicom(root):
            raise InputError(
                "holds DICOM files, not a BIDS dataset",
                path=root,
                remedy=f"See what they are with: {command('inspect', root, ())}",
            ) from error
        if any(root.rglob("*.nii")) or any(root.rglob("*.nii.gz")):
            raise InputError(
                "holds images, but not as sub-01/anat/sub-01_T2w.nii.gz",
                path=root,
                remedy="Sort them as BIDS does; crl inspect FILE tells what one of them is",
            ) from error
        raise


def _read(
    root: Path,
    files: list[SubjectFiles],
    quick: bool,
    progress: Callable[[int, int], None] | None,
    stop: Callable[[], None],
) -> tuple[list[Dossier], list[Orientations]]:
    """Read the scans subject by subject, so that small copies of one subject are held at a time."""
    total = sum(len(subject.images) for subject in files)
    scans: list[Dossier] = []
    turned: list[Orientations] = []
    for subject in files:
        own: list[Dossier] = []
        for path in subject.images:
            stop()
            own.append(open_dossier(root, subject.label, path, quick=quick))
            if progress is not None:
                progress(len(scans) + len(own), total)
        turned.append(compare_subject(own, stop))
        for scan in own:
            scan.forget_small()
        scans += own
    return scans, turned


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
        slices_of(scan),
        ", ".join(codes) or "ok",
    )
