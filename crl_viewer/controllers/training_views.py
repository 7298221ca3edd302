"""What the controllers of training need of the dialog."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from PySide6.QtCore import SignalInstance

from crl_viewer.controllers.training_run import RunView
from crl_viewer.controllers.training_setup_view import SetupView
from crl_viewer.state.training_run import KnownRun


class DialogView(RunView, Protocol):
    """The training dialog."""

    tryRequested: SignalInstance
    useRequested: SignalInstance
    resumeRequested: SignalInstance
    openFolderRequested: SignalInstance
    left: SignalInstance
    destroyed: SignalInstance

    def show(self) -> None:
        """Show the window."""

    def raise_(self) -> None:
        """Bring it before the others."""

    def activateWindow(self) -> None:
        """Give it the keys."""

    def close(self) -> bool:
        """Close it."""

    def show_page(self, page: str) -> None:
        """Turn to a page."""

    def set_recent_runs(self, runs: Sequence[KnownRun]) -> None:
        """Offer runs to compare with."""


class SetupPageView(SetupView, Protocol):
    """Its first page."""

    cancelRequested: SignalInstance
