"""Training from the main window: starting, going on, trying, using, and leaving."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QPushButton

from crl_core.checkpoint import default_checkpoint
from crl_core.training import events
from crl_core.training.config import TrainingConfig
from crl_core.training.data_config import DataConfig
from crl_core.training.folder import DATA, MODEL, STATE, RunFolder
from crl_viewer.controllers.training import NEVER_BEGAN, Launch
from crl_viewer.controllers.trying import GONE
from crl_viewer.settings import MAX_RUNS, Settings, load_settings, save_settings
from crl_viewer.state.training_setup_plan import Job
from crl_viewer.views.training.dialog import TrainingDialog
from crl_viewer.workers import training_process
from crl_viewer.workers.engine import open_synthesizer
from crl_viewer.workers.looking_at_runs import scans_to_try
from tests.viewer.training_data import at_work, write_previews, write_run
from tests.viewer.window import Opened

LEFT = Qt.MouseButton.LeftButton

TINY = TrainingConfig(
    preset="crl-plus",
    architecture={"widths": [6, 8], "code_width": 8, "residual_width": 4, "atoms": 8, "entries": 8},
    steps=100_000,
    batch=2,
    crop=32,
    contrasts=3,
    warmup=2,
    validate_steps=20,
    save_seconds=0.5,
    precision="fp32",
)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that was interrupted, with a network that can be loaded."""
    folder = write_run(tmp_path / "run", last=400, total=4000, previews=False)
    shutil.copy(default_checkpoint(), folder / STATE)
    return folder


@pytest.fixture
def working() -> Iterator[ExitStack]:
    """Where runs are held as their processes would hold them."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def children(opened: Opened) -> Iterator[None]:
    """Nothing that a test started goes on after it, whatever became of the test."""
    started: list[training_process.TrainingProcess] = []

    def kept(launch):
        def begin(*what):
            started.append(launch(*what))
            return started[-1]

        return begin

    control = training(opened)
    control._launch = Launch(kept(control._launch.start), kept(control._launch.resume))
    yield
    for process in started:
        if not process.ended:
            process._child.kill()
            process._child.wait()
        process.tidy()


def vars_of(config: TrainingConfig) -> dict:
    return json.loads(config.to_json())


def training(opened: Opened):
    return opened.viewer.controllers.training


def show_run(opened: Opened, run: RunFolder) -> TrainingDialog:
    control = training(opened)
    control.open_run(run.path)
    opened.until(lambda: control.run.state is not None)
    return control.dialog


def standing(opened: Opened) -> str:
    control = training(opened)
    state = None if control.run is None else control.run.state
    return "" if state is None else state.standing


def press(button: QPushButton, qtbot) -> None:
    assert button.isVisible()
    assert button.isEnabled()
    qtbot.mouseClick(button, LEFT)


def answer(opened: Opened, text: str, qtbot) -> None:
    row = opened.window.question
    opened.until(row.isVisible)
    (button,) = (b for b in row.buttons if b.text() == text)
    press(button, qtbot)


# remembered -----------------------------------------------------------------------------------


def test_runs_are_remembered_newest_first_once_and_few(tmp_path) -> None:
    settings = Settings(training=(1000, 700))
    for n in [*range(MAX_RUNS + 3), 7]:
        settings = settings.with_run(f"run{n}")
    assert len(settings.runs) == len(set(settings.runs)) == MAX_RUNS
    assert settings.runs[0] == "run7"
    save_settings(settings, tmp_path / "viewer.json")
    assert load_settings(tmp_path / "viewer.json") == settings


def test_runs_and_sizes_that_make_no_sense_are_left_out(tmp_path) -> None:
    path = tmp_path / "viewer.json"
    path.write_text('{"runs": ["a", 3, null], "training": [10, "x"]}')
    assert load_settings(path) == Settings(runs=("a",))


# opening --------------------------------------------------------------------------------------


def test_the_menu_opens_the_set_up_page_and_the_open_scans_are_offered(opened, qtbot) -> None:
    opened.demo()
    action = opened.window.actions_by_id["train"]
    assert action.shortcut().toString() == "Ctrl+T"
    action.trigger()
    dialog = training(opened).dialog
    assert dialog.isVisible()
    assert dialog.page == "setup"
    action.trigger()
    assert training(opened).dialog is dialog
    asked = []
    training(opened).setup._view.set_open_scans = asked.append
    opened.viewer.controllers.scans.close_all()
    assert asked == [0]


def test_a_run_at_work_is_found_again_by_the_next_window(opened, run, working) -> None:
    working.enter_context(at_work(run))
    gone = run.path.parent / "gone"
    settings = opened.viewer.settings.with_run(str(run.path)).with_run(str(gone))
    opened.viewer.change_settings(settings)
    opened.window.actions_by_id["train"].trigger()
    opened.until(lambda: standing(opened) == "running" or standing(opened) == "starting")
    dialog = training(opened).dialog
    assert dialog.page == "run"
    assert training(opened).run.folder == run.path
    assert opened.viewer.settings.runs[0] == str(run.path)


def test_a_run_at_rest_does_not_take_the_set_up_page_away(opened, run) -> None:
    opened.viewer.change_settings(opened.viewer.settings.with_run(str(run.path)))
    opened.window.actions_by_id["train"].trigger()
    dialog = training(opened).dialog
    listed = []
    dialog.result_page.set_recent = listed.extend
    opened.until(lambda: bool(listed))
    assert [known.folder for known in listed] == [run.path]
    assert dialog.page == "setup"


def test_a_run_opened_by_hand_is_remembered(opened, run, monkeypatch) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: str(run.path))
    opened.window.actions_by_id["open_run"].trigger()
    opened.until(lambda: standing(opened) == "interrupted")
    assert training(opened).dialog.page == "run"
    assert load_settings(opened.folder / "viewer.json").runs == (str(run.path),)


def test_a_folder_without_a_run_gives_one_line(opened, tmp_path) -> None:
    control = training(opened)
    control.open_run(tmp_path)
    opened.until(lambda: "holds no training run" in control.dialog.run_footer._notice)
    assert opened.viewer.settings.runs == ()


def test_the_dialog_keeps_its_size(opened, run) -> None:
    dialog = show_run(opened, run)
    dialog.resize(1010, 690)
    dialog.close()
    assert training(opened).dialog is None
    assert opened.viewer.settings.training == (1010, 690)
    training(opened).open()
    size = training(opened).dialog.size()
    assert (size.width(), size.height()) == (1010, 690)


# trying ---------------------------------------------------------------------------------------


def newer_network(run: RunFolder) -> None:
    part = run / "part"
    shutil.copy(default_checkpoint(), part)
    part.replace(run / STATE)


def test_sliders_follow_a_run_without_blanking_or_moving(opened, run, working, qtbot) -> None:
    opened.demo()
    working.enter_context(at_work(run))
    dialog = show_run(opened, run)
    press(dialog.run_footer.primary, qtbot)
    opened.until(lambda: opened.store.state.checkpoint == run.path and opened.at_rest())
    assert opened.opener.opened[-1] == run.path
    before, loads = opened.store.state, len(opened.opener.opened)
    seen = []
    opened.store.changed.connect(lambda old, new: seen.append(new))
    newer_network(run)
    training(opened).run.saved.emit(run.path)
    opened.until(lambda: len(opened.opener.opened) > loads and opened.at_rest())
    opened.until(lambda: opened.store.state.frame.request.refreshed > before.refreshed)
    after = opened.store.state
    assert opened.opener.opened[loads:] == [run.path]
    assert all(s.current_frame is not None and s.model_phase == "ready" for s in seen)
    assert (after.parameters, after.window) == (before.parameters, before.window)
    # Without a dialog the sliders follow too.
    dialog.close()
    loads = len(opened.opener.opened)
    newer_network(run)
    opened.until(lambda: len(opened.opener.opened) > loads)
    # Another network ends the following.
    opened.window.actions_by_id["bundled_checkpoint"].trigger()
    assert training(opened).trying.run is None


def learns_from(run: RunFolder, dataset: Path, **how) -> None:
    (run / DATA).write_text(DataConfig((str(dataset),), **how).to_json())


def test_without_a_scan_one_of_the_runs_own_people_is_opened(opened, run, dataset, qtbot) -> None:
    learns_from(run, dataset, validate=("sub-02",))
    dialog = show_run(opened, run)
    press(dialog.run_footer.primary, qtbot)
    opened.until(lambda: len(opened.store.state.scans) == 3 and opened.at_rest())
    state = opened.store.state
    assert {s.path.parts[-3] for s in state.scans} == {"sub-02"}
    assert state.checkpoint == run.path
    assert state.current_frame is not None
    # With scans open they stay.
    press(dialog.run_footer.primary, qtbot)
    opened.until(opened.at_rest)
    assert opened.store.state.scans == state.scans


@pytest.mark.parametrize(
    ("how", "person"),
    [
        ({}, "sub-01"),
        ({"validate": ("sub-03",)}, "sub-03"),
        ({"test": ("sub-01",)}, "sub-02"),
        ({"leave_out": ("sub-01",)}, "sub-02"),
        ({"digital": True}, None),
    ],
)
def test_whom_a_network_is_tried_on(run, dataset, how, person) -> None:
    learns_from(run, dataset, **how)
    found = scans_to_try(run.path)
    assert {p.parts[-3] for p in found} == ({person} if person else set())


def test_people_of_several_datasets_are_not_mixed_up(run, dataset, tmp_path) -> None:
    """Each has a sub-01; the one of the first is for the test, that of the second validates."""
    second = tmp_path / "second"
    shutil.copytree(dataset, second)
    both = DataConfig((str(dataset), str(second)), test=("1/sub-01",), validate=("2/sub-01",))
    (run / DATA).write_text(both.to_json())
    found = scans_to_try(run.path)
    assert {p.relative_to(second).parts[0] for p in found} == {"sub-01"}
    only = DataConfig((str(dataset), str(second)), test=("1/sub-01", "1/sub-02"))
    (run / DATA).write_text(only.to_json())
    assert {p.relative_to(dataset).parts[0] for p in scans_to_try(run.path)} == {"sub-03"}


def test_people_the_seed_chose_to_validate_on_come_first(run, dataset) -> None:
    learns_from(run, dataset)
    write_previews(run, [400])
    assert {p.parts[-3] for p in scans_to_try(run.path)} == {"sub-03"}


def test_files_left_out_are_not_tried_on_and_lost_data_are_no_matter(run, dataset) -> None:
    left = "sub-01/anat/sub-01_acq-paper5_PDw.nii.gz"
    learns_from(run, dataset, leave_out=(left,))
    assert [p.name[13:] for p in scans_to_try(run.path)] == ["per1_T1w.nii.gz", "per7_T2w.nii.gz"]
    shutil.rmtree(dataset)
    assert scans_to_try(run.path) == ()


def test_numbers_of_the_volume_wait_until_nobody_is_at_work(opened, run, dataset, working) -> None:
    learns_from(run, dataset)
    working.enter_context(at_work(run))
    training(opened).trying.try_run(run.path)
    opened.until(lambda: len(opened.store.state.scans) == 3 and opened.at_rest())
    if opened.store.state.reference is None:
        opened.viewer.controllers.scans.choose_reference(1)
    opened.until(lambda: opened.store.state.compared is not None and opened.at_rest())
    assert opened.store.state.learning
    assert opened.store.state.volume is None
    # A run that pauses changes nothing meanwhile.
    run.log(events.Paused(400))
    opened.until(lambda: opened.store.state.volume is not None)
    assert not opened.store.state.learning
    run.log(events.Continued(400))
    opened.until(lambda: opened.store.state.learning)
    working.close()
    opened.until(lambda: not opened.store.state.learning)


def test_a_tried_run_that_goes_away_gives_one_line_and_keeps_the_network(opened, run) -> None:
    opened.demo()
    training(opened).trying.try_run(run.path)
    opened.until(lambda: opened.store.state.checkpoint == run.path and opened.at_rest())
    shutil.rmtree(run.path)
    opened.until(lambda: bool(opened.store.state.banner))
    state = opened.store.state
    assert state.banner == GONE.format(name="run")
    assert state.current_frame is not None
    assert state.model_phase == "ready"


def test_newer_weights_that_are_damaged_give_one_line_and_keep_the_older(opened, run) -> None:
    opened.demo()
    bad = run.path.rename(run.path.with_name("bad run"))
    opened.opener.__class__ = type("Second", (type(opened.opener),), {"__call__": _bad_later})
    training(opened).trying.try_run(bad)
    opened.until(lambda: opened.store.state.checkpoint == bad and opened.at_rest())
    frame = opened.store.state.current_frame
    opened.opener.spoilt = True
    newer_network(RunFolder(bad))
    opened.until(lambda: bool(opened.store.state.banner))
    assert opened.store.state.banner.endswith("bad run: is damaged. Copy it again.")
    assert opened.store.state.model_phase == "ready"
    assert opened.store.state.current_frame is not None
    assert frame.request.scene[0] == bad


def _bad_later(opener, path, notice):
    if getattr(opener, "spoilt", False):
        return type(opener).__base__.__call__(opener, path, notice)
    return type(opener).__base__.__call__(opener, Path("good"), notice)


def test_a_damaged_run_gives_one_line_and_the_network_before_stays(opened, run) -> None:
    opened.demo()
    loads = len(opened.opener.opened)
    # A file whose header says nothing is refused before anything changes.
    (run / STATE).write_bytes(b"not the weights of anything")
    training(opened).trying.try_run(run.path)
    opened.until(lambda: bool(opened.store.state.banner))
    assert "last.safetensors" in opened.store.state.banner
    assert opened.store.state.checkpoint is None
    assert len(opened.opener.opened) == loads
    # One whose weights turn out to be no weights is left again.
    newer_network(run)
    opened.store.update(banner="")
    bad = run.path.rename(run.path.with_name("bad run"))
    training(opened).trying.try_run(bad)
    opened.until(lambda: bool(opened.store.state.banner) and opened.store.state.checkpoint is None)
    opened.until(lambda: opened.at_rest() and opened.store.state.model_phase == "ready")
    assert opened.store.state.banner.endswith("bad run: is damaged. Copy it again.")
    assert training(opened).trying.run is None


def test_a_run_without_a_network_says_so(opened, run) -> None:
    (run / STATE).unlink()
    training(opened).trying.use(run.path)
    opened.until(lambda: "holds no network yet" in opened.store.state.banner)


def test_the_finished_network_is_used_else_the_last_saved(opened, run, qtbot) -> None:
    dialog = show_run(opened, run)
    press(dialog.run_footer.primary, qtbot)  # the run is at rest: "Use this network"
    opened.until(lambda: opened.store.state.checkpoint == run.path)
    shutil.copy(default_checkpoint(), run / MODEL)
    press(dialog.run_footer.primary, qtbot)
    opened.until(lambda: opened.store.state.checkpoint == run / MODEL)
    assert training(opened).trying.run is None


# leaving --------------------------------------------------------------------------------------


def test_without_a_run_at_work_the_window_closes_at_once(opened, run) -> None:
    show_run(opened, run)
    opened.window.close()
    assert not opened.window.isVisible()
    assert training(opened).dialog is None


def test_closing_the_window_asks_and_cancel_keeps_it(opened, run, working, qtbot) -> None:
    working.enter_context(at_work(run))
    show_run(opened, run)
    opened.until(lambda: standing(opened) == "starting" or standing(opened) == "running")
    for _ in range(2):
        opened.window.close()
        assert opened.window.isVisible()
        opened.until(opened.window.question.isVisible)
        assert "run is being trained" in opened.window.question.words.text
        answer(opened, "Cancel", qtbot)
        assert not opened.window.question.isVisible()
    assert opened.window.isVisible()
    assert run.take_command() is None


def test_escape_answers_the_question_with_cancel(opened, run, working, qtbot) -> None:
    working.enter_context(at_work(run))
    show_run(opened, run)
    opened.window.close()
    row = opened.window.question
    opened.until(row.isVisible)
    qtbot.keyClick(row.buttons[-1], Qt.Key.Key_Escape)
    assert not row.isVisible()
    assert opened.window.isVisible()


def test_keep_running_closes_the_windows_and_leaves_the_run_alone(
    opened, run, working, qtbot
) -> None:
    working.enter_context(at_work(run))
    dialog = show_run(opened, run)
    dialog.close()  # alone this asks nothing and stops nothing
    assert opened.window.isVisible()
    opened.window.close()
    assert opened.window.isVisible()
    answer(opened, "Keep running", qtbot)
    assert not opened.window.isVisible()
    assert run.take_command() is None


def test_stop_has_the_run_save_and_end(opened, run, working, qtbot) -> None:
    working.enter_context(at_work(run))
    show_run(opened, run)
    opened.window.close()
    answer(opened, "Stop", qtbot)
    opened.until(lambda: not opened.window.isVisible())
    assert training(opened).dialog is None
    assert run.take_command() == "stop"


def test_a_run_that_ended_meanwhile_needs_no_question(opened, run, working) -> None:
    held = working.enter_context(ExitStack())
    held.enter_context(at_work(run))
    show_run(opened, run)
    training(opened).dialog.close()
    held.close()
    opened.window.close()
    opened.until(lambda: not opened.window.isVisible())
    assert not opened.window.question.isVisible()


# real processes -------------------------------------------------------------------------------


def wait(opened: Opened, condition: Callable[[], bool]) -> None:
    """Wait as long as a process may take to begin on a busy machine."""
    opened.wait(condition, timeout=90_000)


def test_a_run_that_cannot_begin_says_why(opened, children, tmp_path) -> None:
    control = training(opened)
    control.open()
    missing = tmp_path / "nowhere"
    control.start(Job(vars_of(TINY), DataConfig((str(missing),)), None), tmp_path / "new")
    wait(opened, lambda: control.dialog.page == "run")
    wait(opened, lambda: "nowhere" in control.dialog.run_footer._notice)
    assert control.run.folder is None
    assert not (tmp_path / "new").exists()
    opened.window.close()
    assert not opened.window.isVisible()  # nothing is left to be asked about


def test_a_run_is_stopped_before_it_has_a_folder(
    opened, children, dataset, tmp_path, qtbot
) -> None:
    control = training(opened)
    control.open()
    control.start(Job(vars_of(TINY), DataConfig((str(dataset),)), None), tmp_path / "new")
    wait(opened, lambda: bool(control._processes) and control.dialog.page == "run")
    footer = control.dialog.run_footer
    press(footer.stop, qtbot)
    press(footer._answers[0], qtbot)
    wait(opened, lambda: footer._notice == NEVER_BEGAN)
    assert control.run.folder is None
    assert not (tmp_path / "new").exists()


def test_a_run_that_cannot_go_on_says_why(opened, children, run, qtbot) -> None:
    # Its data are not there any more.
    dialog = show_run(opened, run)
    press(dialog.run_footer.resume, qtbot)
    assert not dialog.run_footer.resume.isVisible()
    wait(opened, lambda: "studies" in dialog.run_footer._notice)
    assert dialog.run_footer.resume.isVisible()
    assert training(opened).run.folder == run.path


def test_from_start_to_the_sliders(opened, children, dataset, tmp_path, qtbot) -> None:
    control, place = training(opened), tmp_path / "trained"
    opened.demo()
    control.open()
    control.start(Job(vars_of(TINY), DataConfig((str(dataset),)), None), place)
    wait(opened, lambda: standing(opened) == "running")
    footer = control.dialog.run_footer
    assert opened.viewer.settings.runs == (str(place),)
    # Its process is one of its own, behind the window.
    (process,) = control._processes.values()
    if hasattr(training_process.os, "getsid"):
        assert training_process.os.getsid(process.pid) == process.pid
        if sys.platform == "linux":
            assert os.sched_getscheduler(process.pid) == os.SCHED_IDLE
        else:
            assert os.getpriority(os.PRIO_PROCESS, process.pid) > 0
    # Tried while it learns: the sliders are refreshed as states are saved.
    wait(opened, lambda: control.run.state.has_network)
    press(footer.primary, qtbot)
    wait(opened, lambda: opened.store.state.checkpoint == place and opened.at_rest())
    loads = len(opened.opener.opened)
    wait(opened, lambda: len(opened.opener.opened) > loads + 1)
    # Stopped, and gone on with.
    control.run.send("stop")
    wait(opened, lambda: standing(opened) == "stopped" and not control._processes)
    stopped = control.run.state.step
    press(footer.resume, qtbot)
    assert not footer.resume.isVisible()
    wait(opened, lambda: standing(opened) == "running" and control.run.state.step > stopped)
    # Finished now, and used.
    press(footer.finish, qtbot)
    wait(opened, lambda: standing(opened) == "finished")
    wait(opened, lambda: not control._processes)
    press(footer.primary, qtbot)
    wait(opened, lambda: opened.store.state.checkpoint == place / MODEL)
    opened.window.close()
    assert not opened.window.isVisible()
    assert open_synthesizer(place / MODEL, lambda text: None)[1].card is not None
