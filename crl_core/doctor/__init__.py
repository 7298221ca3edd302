"""The data doctor: what is wrong with a dataset, and what mends it.

`check_dataset` looks and never writes; `crl_core.doctor.mend` makes the changes it proposes.
"""

from __future__ import annotations

from crl_core.doctor.check import check_dataset, is_prepared
from crl_core.doctor.findings import Finding, Mend, Report, ScanRow, Value

__all__ = ["Finding", "Mend", "Report", "ScanRow", "Value", "check_dataset", "is_prepared"]
