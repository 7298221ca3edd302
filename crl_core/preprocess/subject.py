"""The scans of one person brought onto one grid."""

from __future__ import annotations

from crl_core.errors import GridError
from crl_core.io import load
from crl_core.io.bids import SubjectFiles
from crl_core.preprocess.resample import resample_to
from crl_core.scan import Scan, Subject


def usable_subject(files: SubjectFiles) -> tuple[Subject, list[str]]:
    """Load what can be compared or learnt from, on the grid of the first such scan.

    Scans are brought together by their affines alone; nothing is registered.

    Parameters
    ----------
    files
        The images of one person.

    Returns
    -------
    subject
        Acquired scans with playable TR, TE and TI; may hold none.
    left_out
        The others, each with the reason.

    Raises
    ------
    InputError
        When a file is damaged.
    """
    kept: list[Scan] = []
    left_out: list[str] = []
    for path in files.images:
        scan = load(path)
        reason = why_unusable(scan)
        if not reason and kept and not scan.same_grid(kept[0]):
            try:
                scan = resample_to(scan, kept[0])
            except GridError:
                reason = "its field of view is another"
        if reason:
            left_out.append(f"{files.label}: {scan.name}, {reason}")
        else:
            kept.append(scan)
    return Subject(files.label, kept), left_out


def why_unusable(scan: Scan) -> str:
    """Return why a scan cannot take part; empty when it can."""
    if scan.synthetic:
        return "it is synthetic"
    if scan.parameters is None:
        return "TR, TE or TI is not known"
    if scan.parameters.tr < scan.parameters.ti + scan.parameters.te:
        return "TR cannot hold TI and TE"
    return ""
