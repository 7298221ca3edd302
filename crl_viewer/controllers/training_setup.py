"""Behind the Set-up page: looks at the data, keeps what is chosen, measures what it will take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject

from crl_core.errors import CRLError, InputError, ParameterError
from crl_core.scan import Scan
from crl_core.training.config import PLANS
from crl_viewer.controllers.training_setup_costs import Costs
from crl_viewer.controllers.training_setup_pictures import Pictures
from crl_viewer.controllers.training_setup_view import SetupView
from crl_viewer.state.training_setup import (
    USES,
    Phase,
    Setup,
    with_held,
    with_left_out,
    with_reports,
    with_suggested_plan,
    with_use,
)
from crl_viewer.state.training_setup_findings import blocked, issues, mends
from crl_viewer.state.training_setup_plan import Job, parse_minutes
from crl_viewer.state.training_setup_rows import Issue
from crl_viewer.state.training_setup_values import (
    ValueAnswer,
    ValueQuestion,
    arrange_question,
    files_left_out,
    mend_question,
    nominal_contrasts,
    value_mends,
)
from crl_viewer.workers import surveying
from crl_viewer.workers.bridge import Bridge
from crl_viewer.workers.estimating import Estimator
from crl_viewer.workers.surveying import Arrangement, Survey, Surveyor
from crl_viewer.workers.tasks import Task, Tasks

CHECKING, LOOKING = "Checking {name}…", "Looking into {name}…"
MENDING, ARRANGING, PREPARING = "Mending…", "Copying images…", "Preparing {name}…"
PREPARE_ASKS = "Prepare registers and resamples each person's scans into a new dataset beside it."
PREPARE_LATER = "Mend or leave out what is marked red first; then the data can be prepared."
NOT_PLANNED = "Settings were changed: training can start once the plan has been measured."
NO_SCANS = "No scan is open in the main window."


class TrainingSetupController(QObject):
    """Keeps a page in step with what is chosen on it.

    Parameters
    ----------
    view
        The page.
    start
        Gets the job and the folder of the run when the user starts it.
    surveyor, estimator
        What looks at data and what measures; tests put in their own.
    """

    def __init__(
        self,
        view: SetupView,
        start: Callable[[Job, Path], None],
        *,
        surveyor: Surveyor | None = None,
        estimator: Callable[[Callable[[Callable[[], None]], None]], Estimator] = Estimator,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._view, self._start = view, start
        self._surveyor = surveyor or Surveyor()
        self._bridge = Bridge(self)
        self._tasks = Tasks(self._bridge.post)
        self._costs = Costs(view, estimator(self._bridge.post), lambda: self.setup, self)
        self._pictures = Pictures(view, self._tasks)
        self._work: Task | None = None
        self._pending: list[Path] = []
        self._scans: list[Scan] = []
        self._arrangement: Arrangement | None = None
        self._question: ValueQuestion | None = None
        self._open = True
        self.setup = Setup()
        self._wire(view)
        self._show()
        self._tasks.start(lambda task: surveying.run_folder(), self._folder_found)
        self._tasks.start(lambda task: surveying.networks(), self._networks_found)

    def _wire(self, view: SetupView) -> None:
        view.foldersChosen.connect(lambda paths: self.dataset(paths, add=True))
        view.openScansChosen.connect(self.use_open_scans)
        view.clearRequested.connect(lambda: self.dataset(()))
        view.useChosen.connect(self.use)
        view.mendAllRequested.connect(lambda: self._mend(mends(self.setup)))
        view.linkFollowed.connect(self.follow)
        view.answered.connect(self._answered)
        view.questionLeft.connect(self._question_left)
        view.settingToggled.connect(self.hold_back)
        view.planChosen.connect(self.plan)
        view.minutesTyped.connect(self.minutes)
        view.networkChosen.connect(self.network)
        view.settingsChanged.connect(self.settings)
        view.folderTyped.connect(self.folder)
        view.stopRequested.connect(self.stop)
        view.startRequested.connect(self.start)

    @property
    def settled(self) -> bool:
        """Whether everything that is to be measured was asked for."""
        return self._costs.settled

    def closed(self) -> None:
        """Let go of everything; to be called when the dialog goes."""
        if self._open:
            self._open = False
            self._bridge.close()
            self._costs.close()
            self._tasks.close()

    # data --------------------------------------------------------------------------------------

    def dataset(self, paths: Sequence[Path], *, add: bool = False) -> None:
        """Take folders: datasets as they are, others once they are arranged as one.

        Parameters
        ----------
        paths
            The folders.
        add
            Keep what was chosen before.
        """
        self._stop_work()
        if not add:
            self.setup = with_reports(replace(self.setup, touched=False), ())
        self._pending = [Path(path) for path in paths]
        self.setup = replace(self.setup, notice="")
        self._look_at_next()

    def scans(self, scans: Sequence[Scan]) -> None:
        """Tell which scans are open in the main window; the page offers them."""
        self._scans = list(scans)
        self._view.set_open_scans(len(self._scans))

    def use_open_scans(self) -> None:
        """Write the scans that are open as a dataset and take it."""
        if not self._scans:
            self._tell(NO_SCANS)
            return
        scans, surveyor = self._scans, self._surveyor

        def write(task: Task) -> Any:
            root = surveying.new_folder(surveying.documents() / "training" / "open-scans", "")
            return surveyor.arrange_scans(scans, root, task)

        self._begin(ARRANGING, write, self._report_came)

    def _look_at_next(self) -> None:
        if not self._pending:
            self._rest()
            return
        folder = self._pending.pop(0)

        def look(task: Task) -> Survey:
            def early(report: Any) -> None:
                task.deliver(lambda: self._headers_came(report))

            return self._surveyor.look(folder, task, early)

        self._begin(CHECKING.format(name=folder.name), look, partial(self._looked, folder))

    def _headers_came(self, report: Any) -> None:
        """Show what headers say while voxels are still looked at."""
        self.setup = replace(self._with_report(report), phase="working")
        self._show()
        self._pictures.draw(self.setup)

    def _looked(self, folder: Path, survey: Survey) -> None:
        if survey.arrangement is None:
            self._report_came(survey.report)
            return
        self._arrangement = survey.arrangement
        self._begin(
            LOOKING.format(name=folder.name),
            lambda task: surveying.new_folder(folder, "_bids"),
            self._ask_to_arrange,
        )

    def _ask_to_arrange(self, root: Path) -> None:
        assert self._arrangement is not None
        self._question = question = arrange_question(list(self._arrangement.images), root)
        self._change(replace(self.setup, phase="asking", activity="", share=-1.0))
        self._view.ask_values(question)

    def _report_came(self, report: Any) -> None:
        self.setup = self._with_report(report)
        self._look_at_next()

    def _with_report(self, report: Any) -> Setup:
        roots = [r.root for r in self.setup.reports]
        if report.root in roots:
            return with_reports(self.setup, _replaced(self.setup.reports, report.root, report))
        return with_reports(self.setup, [*self.setup.reports, report])

    def _answered(self, answer: ValueAnswer) -> None:
        self._view.end_question()
        arrangement, self._arrangement = self._arrangement, None
        if arrangement is None:
            there = issues(self.setup)
            wanted = value_mends(there, answer)
            left = files_left_out(there, answer)
            self._change(with_left_out(self._rested(), left, True))
            self._mend(wanted)
            return
        assert self._question is not None
        nominal = nominal_contrasts(self._question, answer)
        root = Path(answer.folder).expanduser()
        write = partial(self._surveyor.arrange, arrangement, answer.values, nominal, root)
        self._begin(ARRANGING, write, self._report_came)

    def _question_left(self) -> None:
        self._view.end_question()
        if self._arrangement is not None:
            self._arrangement = None
            self._look_at_next()
        else:
            self._rest()

    # findings ----------------------------------------------------------------------------------

    def follow(self, issue: Issue) -> None:
        """Do what the link of a finding says, after a question where it decides something."""
        if self.setup.phase == "working":
            return  # one thing at a time: the data are about to be known better
        if issue.kind == "value":
            self._change(replace(self.setup, phase="asking", notice=""))
            self._view.ask_values(mend_question(issues(self.setup)))
        elif issue.kind == "mend":
            self._mend({issue.dataset: _actions(issue)})
        elif issue.kind == "prepare":
            self._ask_to_prepare(issue.dataset)
        elif issue.kind == "left":
            self._choose(with_left_out(self.setup, issue.files, False))
        elif issue.kind == "decide":
            self._decide(issue)

    def _decide(self, issue: Issue) -> None:
        actions = _actions(issue)
        if any(action.kind == "leave-out" for action in actions):
            self._choose(with_left_out(self.setup, issue.files, True))
            return
        what = "Mirror" if actions[0].kind == "flip" else "Take over"
        question = f"{issue.findings[0]}. The file as it was is kept in sourcedata/mended."
        out = lambda: self._choose(with_left_out(self.setup, issue.files, True))  # noqa: E731
        mend = lambda: self._mend({issue.dataset: actions})  # noqa: E731
        answers = [(what, mend), ("Leave it out", out), ("Not now", _nothing)]
        self._view.ask(question, answers)

    def _mend(self, wanted: Mapping[Path, Sequence[Any]]) -> None:
        if wanted and self.setup.phase != "working":
            self._begin(MENDING, partial(self._surveyor.mend, dict(wanted)), self._mended)

    def _mended(self, reports: Sequence[Any]) -> None:
        for report in reports:
            self.setup = self._with_report(report)
        self._rest()

    def _ask_to_prepare(self, dataset: Path) -> None:
        if any(issue.severity == "error" for issue in issues(self.setup)):
            self._tell(PREPARE_LATER)
            return
        self._choose(self.setup)
        answers = [("Prepare", lambda: self._prepare(dataset)), ("Not now", _nothing)]
        self._view.ask(PREPARE_ASKS, answers)

    def _prepare(self, dataset: Path) -> None:
        prepare = partial(self._surveyor.prepare_anew, dataset)
        self._begin(PREPARING.format(name=dataset.name), prepare, partial(self._prepared, dataset))

    def _prepared(self, dataset: Path, report: Any) -> None:
        self.setup = with_reports(self.setup, _replaced(self.setup.reports, dataset, report))
        self._rest()

    # choices -----------------------------------------------------------------------------------

    def use(self, person: str, use: str) -> None:
        """Give a person another use."""
        found = next((u for u in USES if u == use), None)
        if found is not None:
            self._choose(with_use(self.setup, person, found))

    def hold_back(self, triple: tuple[float, float, float], held: bool) -> None:
        """Hold a setting back, or train on it again."""
        self._change(with_held(self.setup, triple, held))

    def plan(self, name: str) -> None:
        """Choose a plan."""
        found = next((p for p in PLANS if p == name), None)
        if found is None:
            return
        self.setup = replace(self.setup, planned=True)
        if found != self.setup.plan:
            self._change(replace(self.setup, plan=found, changes={}, notice=""))

    def minutes(self, text: str) -> None:
        """Take the time that was typed, and the plan it belongs to."""
        try:
            value = parse_minutes(text)
        except ParameterError as refusal:
            self._tell(str(refusal))
            return
        changes = self.setup.changes if self.setup.plan == "time" else {}
        chosen = replace(self.setup, minutes=value, plan="time", planned=True)
        self._change(replace(chosen, changes=changes, notice=""))

    def network(self, start: str) -> None:
        """Choose the network to fine-tune: a bundled name or a path."""
        chosen = replace(self.setup, start=start, plan="fine-tune", planned=True)
        self._change(replace(chosen, changes={}, notice=""))

    def loaded(self, checkpoint: Path | None) -> None:
        """Tell which checkpoint the main window has loaded; that is the one to fine-tune."""
        if checkpoint is not None:
            self._change(with_suggested_plan(replace(self.setup, start=str(checkpoint))))

    def settings(self, changes: Mapping[str, Any]) -> None:
        """Take training settings that differ from the plan's."""
        self._change(replace(self.setup, changes=dict(changes), planned=True, notice=""))

    def folder(self, text: str) -> None:
        """Take the folder that was typed, if nothing lies there."""
        if not text.strip():
            self._change(replace(self.setup, folder=None))
            return
        path = Path(text.strip()).expanduser()
        self.setup = replace(self.setup, folder=path)
        self._tasks.start(lambda task: surveying.refuse_taken(path), self._folder_checked)

    def _folder_checked(self, future: Future[Path]) -> None:
        refusal = future.exception()
        if isinstance(refusal, CRLError):
            self._change(replace(self.setup, notice=str(refusal)))
        elif refusal is not None:
            raise refusal
        elif future.result() == self.setup.folder:
            self._change(replace(self.setup, notice=""))

    def _folder_found(self, future: Future[Path]) -> None:
        if self.setup.folder is None:
            self._change(replace(self.setup, folder=future.result()))

    def _networks_found(self, future: Future[tuple[str, ...]]) -> None:
        names = future.result()
        self._view.set_networks(names)
        if names and not self.setup.start:
            self._change(with_suggested_plan(replace(self.setup, start=names[0])))

    # start -------------------------------------------------------------------------------------

    def job(self) -> Job:
        """Return the run as it was set up."""
        return self._costs.job()

    def start(self) -> None:
        """Start the run, unless something is in its way; the page says what."""
        folder = self.setup.folder
        if blocked(self.setup) or folder is None:
            return
        if not self._costs.complete:
            self._tell(NOT_PLANNED)
            return
        self._tasks.start(lambda task: surveying.refuse_taken(folder), self._start_there)

    def _start_there(self, future: Future[Path]) -> None:
        try:
            folder = future.result()
            job = self.job()
        except CRLError as refusal:
            self._tell(str(refusal))
            return
        self._costs.rest()
        self._start(job, folder)
        self._propose_folder()

    def _propose_folder(self) -> None:
        """Propose another folder, for the run after this one."""
        self.setup = replace(self.setup, folder=None)
        self._tasks.start(lambda task: surveying.run_folder(), self._folder_found)

    # work and what shows -----------------------------------------------------------------------

    def stop(self) -> None:
        """Give up what is going on."""
        self._pending.clear()
        self._stop_work()
        self._rest()

    def _stop_work(self) -> None:
        if self._work is not None:
            self._work.cancel()
            self._work = None

    def _begin(
        self, activity: str, job: Callable[[Task], Any], done: Callable[[Any], None]
    ) -> None:
        """Do something away from the GUI thread; its result goes to `done`, a refusal is told."""
        self._stop_work()
        self._change(replace(self.setup, phase="working", activity=activity, share=-1.0, notice=""))
        self._work = self._tasks.start(job, partial(self._ended, done), self._progress)

    def _progress(self, text: str | None, done: int, total: int) -> None:
        if total:
            self.setup = replace(self.setup, share=done / total)
            self._view.set_setup(self.setup)

    def _ended(self, done: Callable[[Any], None], future: Future[Any]) -> None:
        self._work = None
        try:
            result = future.result()
        except (CRLError, OSError) as refusal:
            told = refusal if isinstance(refusal, CRLError) else _os_refusal(refusal)
            self._arrangement = None
            self._look_at_next()
            self._tell(str(told))
            return
        done(result)

    def _rested(self) -> Setup:
        phase: Phase = "ready" if self.setup.reports else "empty"
        return replace(self.setup, phase=phase, activity="", share=-1.0)

    def _rest(self) -> None:
        self._change(self._rested())
        self._pictures.draw(self.setup)

    def _tell(self, text: str) -> None:
        self._change(replace(self.setup, notice=text))

    def _change(self, setup: Setup) -> None:
        self.setup = setup
        self._show()
        self._costs.changed()

    def _choose(self, setup: Setup) -> None:
        """Take what was chosen; what was told before is settled by that."""
        self._change(replace(setup, notice=""))

    def _show(self) -> None:
        self._view.set_setup(self.setup)
        self._costs.show()


def _replaced(reports: Sequence[Any], root: Path, new: Any) -> list[Any]:
    return [new if report.root == root else report for report in reports]


def _actions(issue: Issue) -> list[Any]:
    return [finding.action for finding in issue.findings if finding.action is not None]


def _nothing() -> None:
    """Do nothing: the way back from a question."""


def _os_refusal(error: OSError) -> CRLError:
    why = (error.strerror or type(error).__name__).lower()
    return InputError(f"cannot be used: {why}", path=error.filename)
