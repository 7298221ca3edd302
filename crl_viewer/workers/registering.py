"""Registers one scan to another for the window."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from crl_core.scan import Scan
from crl_viewer import strings
from crl_viewer.state.model import Aligned

if TYPE_CHECKING:
    from crl_core.preprocess.alignment import Alignment


def register_rigidly(moving: Scan, fixed: Scan, cancelled: Callable[[], bool]) -> Aligned:
    """Move a scan rigidly onto another and sample it on the grid of that one.

    Raises
    ------
    GridError
        When the two cannot be the same head.
    Cancelled
        When `cancelled` says so.
    """
    # Imported when first used: the window opens without it.
    from crl_core.preprocess.registration3d import register_scan

    found = register_scan(moving, fixed, kind="rigid", cancelled=cancelled)
    scan = found.scan
    _ = scan.mask, scan.scale  # worked out here, off the thread of the window
    return Aligned(scan, found.covered, registered=how_moved(found.alignment))


def how_moved(found: Alignment) -> str:
    """Say in a few words how a scan was moved.

    Parameters
    ----------
    found
        What the registration came to.
    """
    if found.kind == "none":
        return f"not moved: {found.remark}" if found.remark else "not moved"
    mean, _ = found.moved_mm
    return f"{found.kind}, {strings.number(found.rotation, 1)}°, {strings.number(mean, 1)} mm"
