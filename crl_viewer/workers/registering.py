"""Registers one scan to another for the window."""

from __future__ import annotations

from collections.abc import Callable

from crl_core.scan import Scan
from crl_viewer.state.model import Aligned


def register_rigidly(moving: Scan, fixed: Scan, cancelled: Callable[[], bool]) -> Aligned:
    """Move a scan rigidly onto another and sample it on the grid of that one.

    Raises
    ------
    CRLError
        When the two cannot be registered.
    Cancelled
        When `cancelled` says so.
    """
    from crl_core.preprocess.registration3d import register_scan

    scan = register_scan(moving, fixed, kind="rigid", cancelled=cancelled)
    return Aligned(scan, scan.data > 0, registered="rigid")
