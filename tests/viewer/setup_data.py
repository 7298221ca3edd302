"""Reports as the doctor writes them, without files behind them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from crl_core.doctor.findings import Finding, Mend, Report, ScanRow, Severity, Value

ROOT = Path("studies/ms-2026")
T1, T2, PD, FLAIR = (600, 10, 0), (5000, 100, 0), (5000, 12, 0), (9000, 100, 2500)
CONTRASTS = {"T1w": T1, "T2w": T2, "FLAIR": FLAIR}


def scan(label: str, suffix: str, times: tuple | None, certainty: str = "stated") -> ScanRow:
    """One scan; `times` may hold None where a value is missing."""
    tr, te, ti = (
        None if ms is None else Value(ms, "the sidecar", certainty)
        for ms in times or (None, None, None)
    )
    folder = label.replace("_", "/")
    file = f"{folder}/anat/{label}_{suffix}.nii.gz"
    return ScanRow(
        label, file, suffix, suffix.rsplit("_")[-1], tr, te, ti, (320, 320, 36), (0.7, 0.7, 3.0),
        "RAS", 36,
    )  # fmt: skip


def visits(labels: Sequence[str], contrasts: dict = CONTRASTS, **how) -> list[ScanRow]:
    return [
        scan(label, name, times, **how) for label in labels for name, times in contrasts.items()
    ]


def people(count: int, **how) -> list[ScanRow]:
    return visits([f"sub-{n:02d}" for n in range(1, count + 1)], **how)


def report(rows: Sequence[ScanRow], findings: Sequence[Finding] = (), root: Path = ROOT) -> Report:
    return Report(root, tuple(rows), tuple(findings))


def finding(
    label: str,
    suffix: str,
    code: str,
    problem: str = "it is odd",
    severity: Severity = "warning",
    action: Mend | None = None,
    mend: str = "",
) -> Finding:
    file = f"{label.replace('_', '/')}/anat/{label}_{suffix}.nii.gz" if suffix else ""
    return Finding(severity, label, file, code, problem, mend, action)


def no_ti(label: str, suffix: str = "FLAIR", value: str = "9000,100,TI") -> Finding:
    """An error: a scan without TI."""
    made = finding(label, suffix, "missing", "neither sidecar nor header states TI", "error")
    return Finding(
        "error", label, made.file, "missing", made.problem, "crl mend", Mend(
            "params", made.file, value, sure=False)
    )  # fmt: skip


def mirrored(label: str, suffix: str = "T1w", *, sure: bool = True) -> Finding:
    made = finding(label, suffix, "flip", "it is mirrored left-right against T2w", "error")
    action = Mend("flip", made.file, "x", sure)
    return Finding("error", label, made.file, "flip", made.problem, "crl mend", action)


def shifted(label: str, suffix: str = "T2w") -> Finding:
    """A warning that goes when the data are prepared."""
    problem = "36 slices, 46 in the 2 other scans"
    return finding(label, suffix, "slices", problem, mend="crl prepare studies -o studies_prepared")
