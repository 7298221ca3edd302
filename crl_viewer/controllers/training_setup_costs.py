"""What a run will take: asked of a child process, kept, and shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from PySide6.QtCore import QObject, QTimer

from crl_core.training.config import PLANS, PlanName
from crl_viewer.state.training_setup import Setup
from crl_viewer.state.training_setup_findings import blocked
from crl_viewer.state.training_setup_plan import Estimate, Job, job_of, worth_measuring
from crl_viewer.workers.estimating import Estimator

SETTLE_MS = 400
"""Changes that follow each other this fast are measured once."""


class CostsView(Protocol):
    """Where costs show."""

    def set_costs(
        self, costs: Mapping[PlanName, Estimate], planned: Mapping[str, Any], waiting: bool
    ) -> None:
        """Show what the plans take; `planned` are the settings of the chosen one."""


class Costs(QObject):
    """Keeps what the plans take in step with what is chosen.

    Parameters
    ----------
    view
        Where they show.
    estimator
        What measures.
    setup
        Returns what is chosen.
    parent
        Owner.
    """

    def __init__(
        self,
        view: CostsView,
        estimator: Estimator,
        setup: Callable[[], Setup],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._view, self._estimator, self._setup = view, estimator, setup
        self._found: dict[str, Estimate] = {}
        self._asked: list[str] = []
        self._settle = QTimer(self, singleShot=True, interval=SETTLE_MS)
        self._settle.timeout.connect(self._measure)

    def changed(self) -> None:
        """Measure anew once nothing has changed for a moment; what was refused is tried again."""
        self._found = {key: e for key, e in self._found.items() if not e.refusal}
        self._settle.start()

    @property
    def settled(self) -> bool:
        """Whether everything that is to be measured was asked for."""
        return not self._settle.isActive()

    def rest(self) -> None:
        """Measure nothing until something changes, such as while a run starts."""
        self._settle.stop()
        self._asked = []
        self._estimator.cancel()

    def close(self) -> None:
        """Let go of everything."""
        self._settle.stop()
        self._estimator.close()

    @property
    def complete(self) -> bool:
        """Whether the job is known: what the user changed is laid over a plan that is known."""
        return not self._setup().changes or self._planned() is not None

    def job(self) -> Job:
        """Return the job that is set up."""
        return job_of(self._setup(), planned=self._planned())

    def show(self) -> None:
        """Show what is known."""
        setup = self._setup()
        found: dict[PlanName, Estimate] = {}
        for plan in PLANS:
            job = self.job() if plan == setup.plan else job_of(setup, plan)
            if job.key in self._found:
                found[plan] = self._found[job.key]
        waiting = not blocked(setup) and setup.plan not in found
        self._view.set_costs(found, self._planned() or {}, waiting)

    def _planned(self) -> Mapping[str, Any] | None:
        """Return the settings of the chosen plan, once they are known."""
        found = self._found.get(job_of(self._setup()).key)
        return None if found is None or found.refusal else found.config

    def _measure(self) -> None:
        """Ask for what is not known yet, the chosen plan first; what is under way goes on."""
        setup = self._setup()
        wanted = [job_of(setup, plan) for plan in worth_measuring(setup)]
        if wanted and setup.changes and self._planned() is not None:
            wanted.insert(0, self.job())
        missing = [job for job in wanted if job.key not in self._found]
        keys = [job.key for job in missing]
        if keys and keys == [key for key in self._asked if key not in self._found]:
            return
        self._asked = keys
        if missing:
            self._estimator.ask(missing, self._measured)
        else:
            self._estimator.cancel()
        self.show()

    def _measured(self, job: Job, estimate: Estimate) -> None:
        self._found[job.key] = estimate
        self.show()
        if self._setup().changes:
            self._measure()
