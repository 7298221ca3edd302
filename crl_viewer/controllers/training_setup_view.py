"""What the controller of the Set-up page needs of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from PySide6.QtCore import SignalInstance

from crl_core.scan import FloatArray
from crl_core.training.config import PlanName
from crl_viewer.state.training_setup import Setup
from crl_viewer.state.training_setup_plan import Estimate
from crl_viewer.state.training_setup_values import ValueQuestion

Answers = Sequence[tuple[str, Callable[[], None]]]


class SetupView(Protocol):
    """The page: signals of what the user does, setters for what shows."""

    foldersChosen: SignalInstance
    openScansChosen: SignalInstance
    clearRequested: SignalInstance
    useChosen: SignalInstance
    mendAllRequested: SignalInstance
    linkFollowed: SignalInstance
    answered: SignalInstance
    questionLeft: SignalInstance
    settingToggled: SignalInstance
    planChosen: SignalInstance
    minutesTyped: SignalInstance
    networkChosen: SignalInstance
    settingsChanged: SignalInstance
    folderTyped: SignalInstance
    stopRequested: SignalInstance
    startRequested: SignalInstance

    def set_setup(self, setup: Setup) -> None:
        """Show what is chosen."""

    def set_costs(
        self, costs: Mapping[PlanName, Estimate], planned: Mapping[str, Any], waiting: bool
    ) -> None:
        """Show what the plans take; `planned` are the settings of the chosen one."""

    def set_picture(self, path: Path, picture: FloatArray | None) -> None:
        """Give a scan its picture."""

    def set_networks(self, names: Sequence[str]) -> None:
        """Offer networks to fine-tune."""

    def set_open_scans(self, count: int) -> None:
        """Offer the scans that are open in the main window."""

    def ask_values(self, question: ValueQuestion) -> None:
        """Ask for times in the place of the table."""

    def end_question(self) -> None:
        """Show the table again."""

    def ask(self, question: str, answers: Answers) -> None:
        """Ask in one line; the last answer is the way back."""
