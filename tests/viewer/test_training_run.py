"""A run folder read, followed and shown: what a user of the training dialog sees."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QAbstractButton, QApplication, QWidget

from crl_core.errors import InputError
from crl_core.models import build_model
from crl_core.scan import Origin, Scan, Subject
from crl_core.sequence import SequenceParameters
from crl_core.training import events
from crl_core.training.config import TrainingConfig
from crl_core.training.data_config import DataConfig
from crl_core.training.events import to_line
from crl_core.training.files import SubjectSampler
from crl_core.training.folder import DATA, EVENTS, PREVIEWS, RunFolder
from crl_core.training.validation import Judge
from crl_viewer import theme
from crl_viewer.controllers.training_run import KEPT_PREVIEWS, TrainingRunController
from crl_viewer.state.training_run import KnownRun, setting_rows, step_words
from crl_viewer.strings import number
from crl_viewer.views.training.dialog import NO_RUN, TrainingDialog
from crl_viewer.views.training.replay import LIVE
from crl_viewer.workers.following_runs import (
    MEMORY,
    PreviewReader,
    RunReader,
    _short_names,
    read_report,
)
from tests.viewer.training_data import SETTINGS, START, at_work, write_previews, write_run

Key = Qt.Key
LEFT = Qt.MouseButton.LeftButton
FINISHED = events.Finished(3000, Path("model.safetensors"), 3000)


@pytest.fixture
def show(qtbot, themed):
    """A dialog on the screen with what follows the run, and an end for both."""
    made: list[TrainingRunController] = []

    def on_screen() -> tuple[TrainingDialog, TrainingRunController]:
        dialog = TrainingDialog()
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose, False)
        qtbot.addWidget(dialog)
        controller = TrainingRunController(dialog)
        made.append(controller)
        dialog.show_page("run")
        dialog.show()
        dialog.activateWindow()
        qtbot.waitUntil(dialog.isActiveWindow)
        return dialog, controller

    yield on_screen
    for controller in made:
        controller.closed()


def shown_step(dialog: TrainingDialog) -> int:
    preview = dialog.run_page.grid._preview
    return 0 if preview is None else preview.step


def press(button: QAbstractButton, qtbot) -> None:
    assert button.isVisible()
    assert button.isEnabled()
    qtbot.mouseClick(button, LEFT)


# reading --------------------------------------------------------------------------------------


def test_reading_a_run_needs_no_torch() -> None:
    code = (
        "import sys, crl_viewer.views.training.dialog, crl_viewer.controllers.training_run;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_folder_without_a_run_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="holds no training run"):
        RunReader(tmp_path)


def test_a_reader_tells_only_what_is_new(tmp_path) -> None:
    folder = write_run(tmp_path / "run", last=2000, total=4000, previews=False)
    reader = RunReader(folder.path)
    with at_work(folder):
        first = reader.poll()
        assert (first.standing, first.step, first.total) == ("running", 2000, 4000)
        assert first.ends == pytest.approx(START + 0.18 * 4000, abs=0.1)
        assert reader.poll() is None
        folder.log(events.Paused(2000))
        assert reader.poll().standing == "paused"
    assert reader.poll().standing == "interrupted"


def test_the_steps_of_a_run_by_the_clock_are_told_from_those_done(tmp_path) -> None:
    timed = TrainingConfig(steps=8492, minutes=12.0)
    folder = write_run(tmp_path / "run", last=20, total=8492, previews=False, config=timed)
    reader = RunReader(folder.path)
    with at_work(folder):
        # The number in the settings is only out of reach, and one step tells nothing.
        assert step_words(reader.poll()) == "Step 20"
        folder.log(events.Stepped(273, 0.125, 0.1, {}, 1e-4, 90.0))
        assert step_words(reader.poll()) == f"Step 273 of about {number(2200)}"
        folder.log(events.Finished(513, folder / "model.safetensors", 513))
    state = reader.poll()
    assert (state.total, state.span) == (273, 273)


@pytest.mark.parametrize(
    ("start", "title"),
    [(None, "Training crl-small on a CPU"), ("crl-plus", "Fine-tuning crl-plus on a CPU"),
     ("/home/me/mine.safetensors", "Fine-tuning mine on a CPU")],
)  # fmt: skip
def test_the_title_says_what_is_done_to_which_network(tmp_path, show, start, title) -> None:
    folder = write_run(tmp_path / "run", last=400, total=4000, previews=False)
    (folder / DATA).write_text(DataConfig(("d",), start=start).to_json())
    folder.log(events.Started(400, "data", 10, 4000, device="a CPU"))
    reader = RunReader(folder.path)
    dialog, _ = show()
    with at_work(folder):
        dialog.set_run(reader.poll())
    assert dialog.windowTitle() == title


def test_without_anybody_to_validate_on_the_page_says_so(tmp_path, show, qtbot) -> None:
    folder = write_run(tmp_path / "run", last=0, total=4000, previews=False)
    (folder / EVENTS).write_text("")
    folder.log(events.Started(0, "d", 10, 4000, validated_on="nobody"))
    dialog, controller = show()
    with at_work(folder):
        controller.open(folder.path)
        plot = dialog.run_page.validation
        qtbot.waitUntil(lambda: "Nobody to validate on" in plot.message)
        folder.log(events.Validated(20, {"seen": 20.0}, {"seen": 0.7}))
        qtbot.waitUntil(lambda: plot.message == "")


def test_a_run_nobody_was_validated_in_is_compared_by_its_loss(tmp_path, show, qtbot) -> None:
    timed = TrainingConfig(steps=9999, minutes=12.0)
    folder = write_run(tmp_path / "run", last=0, total=4000, previews=False, config=timed)
    (folder / EVENTS).write_text("")
    folder.log(events.Started(0, "d", 10, 4000))
    folder.log(events.Stepped(20, 0.5, 0.3, {}, 1e-4, 10.0))
    dialog, _ = show()
    page = dialog.result_page
    dialog.compare([folder.path])
    qtbot.waitUntil(lambda: len(page.reports) == 1)
    assert "Nobody was left to validate on" in page.plot.message
    press(page.what.buttons[1], qtbot)
    assert page.plot.message == ""
    assert page.reports[0].settings["Settings"]["steps"] == "as many as fit"


def test_long_names_of_scans_give_way_to_what_tells_settings_apart() -> None:
    names = ["FLAIRtr15000te15ti2000 FLAIR", "PDwtr5000te10 PDw", "PDwtr5000te50 PDw", ""]
    times = np.array([(15000, 15, 2000), (5000, 10, 0), (5000, 50, 0), (0, 0, 0)], float)
    assert _short_names(names, times) == ["FLAIR", "TE 10", "TE 50", ""]
    assert _short_names(["T1w", "T2w", "", ""], times) == ["T1w", "T2w", "", ""]


def test_a_process_that_comes_to_a_resting_run_is_starting_until_it_says_so(tmp_path) -> None:
    folder = write_run(tmp_path / "run", last=400, total=4000, end=events.Stopped(400))
    reader = RunReader(folder.path)
    assert reader.poll().standing == "stopped"
    with at_work(folder):
        assert reader.poll().standing == "starting"
        folder.log(events.Started(400, "data", 10, 4000))
        assert reader.poll().standing == "running"
        folder.log(events.Stopped(400))
        # The process has said its last word and is only tidying up.
        assert reader.poll().standing == "stopped"


def test_curves_go_on_from_the_step_a_killed_run_goes_on_from(tmp_path) -> None:
    folder = write_run(tmp_path / "run", last=2000, total=4000, previews=False)
    reader = RunReader(folder.path)
    before = reader.poll()
    kept = before.loss[0].y.copy()
    folder.log(events.Started(1000, "data", 10, 4000))
    folder.log(events.Stepped(1020, 0.25, 9.0, {"l1": 8.0}, 1e-3, 100.0))
    after = reader.poll()
    total = after.loss[0]
    assert list(total.x[-2:]) == [1000, 1020]
    assert total.y[-1] == 9.0
    assert np.all(np.diff(total.x) > 0)
    # What was handed over before is not written to.
    np.testing.assert_array_equal(before.loss[0].y, kept)
    expected = [MEMORY ** (len(total.x) - 1 - k) for k in range(len(total.x))]
    assert total.smooth[-1] == pytest.approx(np.average(total.y, weights=expected))


def test_a_loss_that_is_no_number_leaves_the_average_alone(tmp_path) -> None:
    folder = write_run(tmp_path / "run", last=400, total=4000, previews=False)
    reader = RunReader(folder.path)
    before = reader.poll().loss[0].smooth[-1]
    folder.log(events.Stepped(420, 0.1, math.nan, {}, 1e-3, 100.0))
    after = reader.poll().loss[0]
    assert math.isnan(after.y[-1])
    assert after.smooth[-1] == before


def test_a_preview_is_turned_cut_and_judged_as_the_panes_do(tmp_path) -> None:
    folder = write_run(tmp_path / "run", last=2000, total=4000)
    reader = RunReader(folder.path)
    preview = reader.previews.read(2000)
    assert len(preview.slices) == 4
    first = preview.slices[0]
    assert first.about == "sub-03, never trained on"
    assert [c.name for c in first.columns] == list(SETTINGS)
    assert [c.held for c in first.columns] == [False, True, False, True, False, False]
    fluid = first.columns[3].target  # TE 150: fluid is bright
    rows, cols = fluid.shape
    assert rows > cols, "the head is longer than wide, and its length runs down the screen"
    # The lesson lies at high x and y: right and front in RAS, so left and top on the screen.
    lesion = fluid[round(0.2 * rows) : round(0.4 * rows)]
    near_left, near_right = lesion[:, : cols // 3], lesion[:, -cols // 3 :]
    assert (near_left > 0.9).sum() > (near_right > 0.9).sum() + 10
    judged = ~np.isnan(first.columns[0].error)
    assert judged.any()
    assert not judged[0, 0]
    assert 0.5 < np.nanmax(np.abs(first.columns[0].error)) < 100


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_a_preview_stands_as_the_panes_show_the_volume(tmp_path, axes, flips) -> None:
    """The same head stored in another order of axes is shown the same way up."""
    turned = np.zeros((4, 4))
    turned[3, 3] = 1.0
    for array_axis, world in enumerate(axes):
        # Slices along what is the long way through the body, whichever array axis that is.
        turned[world, array_axis] = flips[array_axis] * (5.0 if world == 2 else 1.0)
    subject = _stored(turned, axes, flips)
    sampler = SubjectSampler([subject], TrainingConfig(crop=16, contrasts=2), split=1)
    folder = write_run(tmp_path / "run", last=20, total=20, previews=False)
    (folder / PREVIEWS).mkdir()
    judge = Judge(sampler, unseen=True)
    judge.write_fixed(folder / PREVIEWS / "fixed.npz")
    judge.write_preview(build_model("crl-plus", widths=[6, 8], code_width=8, residual_width=4),
                        folder.preview_path(20))  # fmt: skip
    shown = PreviewReader(folder).read(20).slices[0].columns[0].target
    # The side of the nose is bright and at the top, the patient's left is bright and at the right.
    height, width = shown.shape
    assert shown[: height // 2].mean() > 1.3 * shown[height // 2 :].mean()
    assert shown[:, width // 2 :].mean() > 1.15 * shown[:, : width // 2].mean()


def _stored(affine: np.ndarray, axes: tuple[int, ...], flips: tuple[int, ...]) -> Subject:
    """A head in RAS with a bright front and a bright left, stored in other axes."""
    x, y, z = np.meshgrid(np.linspace(-1, 1, 40), np.linspace(-1, 1, 48), np.arange(6),
                          indexing="ij")  # fmt: skip
    inside = np.hypot(x / 0.8, y / 0.9) < 1
    ras = np.where(inside, 100 * (1.6 + 0.8 * y) * (1.2 - 0.4 * x) + z, 0.0)
    stored = ras.transpose(axes)[tuple(slice(None, None, flip) for flip in flips)]
    origins = dict.fromkeys(("tr", "te", "ti"), Origin("made for a test"))
    return Subject(
        "sub-01",
        tuple(
            Scan((stored * factor).astype(np.float32), affine, name, times, origins)
            for name, factor, times in (
                ("T2w", 1.0, SequenceParameters(5000.0, 90.0)),
                ("PDw", 0.8, SequenceParameters(5000.0, 12.0)),
            )
        ),
    )


def test_a_damaged_preview_is_one_clear_line(tmp_path) -> None:
    folder = write_run(tmp_path / "run", last=2000, total=4000)
    folder.preview_path(1000).write_bytes(b"PK\x03\x04 cut off")
    reader = RunReader(folder.path)
    with pytest.raises(InputError, match="cannot be read"):
        reader.previews.read(1000)
    with pytest.raises(InputError, match="not there any more"):
        reader.previews.read(1500)


def test_only_what_differs_is_compared_unless_all_is_wanted(tmp_path) -> None:
    first = write_run(tmp_path / "a", last=1000, total=2000, previews=False)
    slower = TrainingConfig(preset="crl-small", steps=2000, learning_rate=5e-4)
    other = write_run(tmp_path / "b", last=1000, total=2000, previews=False, config=slower)
    reports = [read_report(first.path), read_report(other.path)]
    assert [(r.name, r.values) for r in setting_rows(reports)] == [
        ("learning rate", ("0.001", "0.0005"))
    ]
    rows = setting_rows(reports, every=True)
    assert {"Settings", "Data", "Machine"} == {r.group for r in rows}
    assert ("hardware", ("NVIDIA H200",) * 2) in [(r.name, r.values) for r in rows]


# following ------------------------------------------------------------------------------------


def test_a_running_run_shows_progress_end_and_newest_pictures(tmp_path, show, qtbot) -> None:
    folder = write_run(tmp_path / "run", last=3000, total=4000)
    dialog, controller = show()
    with at_work(folder):
        controller.open(folder.path)
        qtbot.waitUntil(lambda: shown_step(dialog) == 3000)
        left, right = dialog.run_page.progress.texts
        assert left == "Step 3\u2009000 of 4\u2009000"
        assert right.startswith("3 min left, ends ")
        assert dialog.run_page.progress.share == pytest.approx(0.75)
        assert "crl-small" in dialog.title.text
        assert dialog.run_page.numbers.texts[1:] == ["94 % processors", "6.1 GB GPU memory"]
        assert dialog.run_footer.primary.text() == "Try it now"
        assert dialog.run_page.replay.words() == "step 3\u2009000, live"


def test_new_previews_come_by_themselves_while_live(tmp_path, show, qtbot) -> None:
    folder = write_run(tmp_path / "run", last=2000, total=4000)
    dialog, controller = show()
    with at_work(folder):
        controller.open(folder.path)
        qtbot.waitUntil(lambda: shown_step(dialog) == 2000)
        write_previews(folder, [3000])
        folder.log(events.Previewed(3000))
        qtbot.waitUntil(lambda: shown_step(dialog) == 3000)
        dialog.run_page.replay.setFocus()
        qtbot.keyClick(dialog.run_page.replay, Key.Key_Home)
        qtbot.waitUntil(lambda: shown_step(dialog) == 1000)
        assert dialog.run_page.what.text == "What it could do at step 1\u2009000"
        write_previews(folder, [3500])
        folder.log(events.Previewed(3500))
        qtbot.waitUntil(lambda: dialog.run_page.replay.maximum() == 3)
        assert shown_step(dialog) == 1000, "who looks back is not torn away"
        qtbot.keyClick(dialog.run_page.replay, Key.Key_End)
        qtbot.waitUntil(lambda: shown_step(dialog) == 3500)


def test_dragging_over_many_previews_keeps_a_small_cache_and_the_last_place(
    tmp_path, show, qtbot
) -> None:
    folder = write_run(tmp_path / "run", last=40_000, total=40_000, every=200)
    dialog, controller = show()
    controller.open(folder.path)
    qtbot.waitUntil(lambda: shown_step(dialog) == 40_000)
    for step in (*range(1000, 36_000, 1000), 5000):
        dialog.previewRequested.emit(step)
        QApplication.processEvents()
    qtbot.waitUntil(lambda: shown_step(dialog) == 5000)
    assert len(controller._cache) <= KEPT_PREVIEWS
    dialog.previewRequested.emit(LIVE)
    qtbot.waitUntil(lambda: shown_step(dialog) == 40_000)


def test_a_run_whose_process_has_yet_to_make_the_folder_is_waited_for(
    tmp_path, show, qtbot
) -> None:
    dialog, controller = show()
    controller.open(tmp_path / "run", starting=True)
    assert dialog.run_page.progress.texts[1] == "Starting…"
    folder = write_run(tmp_path / "run", last=1000, total=4000)
    qtbot.waitUntil(lambda: shown_step(dialog) == 1000, timeout=10_000)
    assert controller.folder == folder.path


def test_a_folder_that_holds_no_run_says_so(tmp_path, show, qtbot) -> None:
    dialog, controller = show()
    controller.open(tmp_path)
    qtbot.waitUntil(lambda: "holds no training run" in dialog.run_page.grid.message)
    assert "holds no training run" in dialog.run_footer.sentence.text


@pytest.mark.parametrize(("button", "command"), [("pause", "pause"), ("finish", "finish")])
def test_buttons_reach_the_run(tmp_path, show, qtbot, button: str, command: str) -> None:
    folder = write_run(tmp_path / "run", last=1000, total=4000)
    dialog, controller = show()
    with at_work(folder):
        controller.open(folder.path)
        qtbot.waitUntil(lambda: shown_step(dialog) == 1000)
        press(getattr(dialog.run_footer, button), qtbot)
        qtbot.waitUntil(lambda: (folder / "command.json").exists())
        assert folder.take_command() == command


def test_pause_turns_into_continue_without_changing_its_width(tmp_path, show, qtbot) -> None:
    folder = write_run(tmp_path / "run", last=1000, total=4000)
    dialog, controller = show()
    with at_work(folder):
        controller.open(folder.path)
        qtbot.waitUntil(lambda: shown_step(dialog) == 1000)
        pause = dialog.run_footer.pause
        width = pause.width()
        press(pause, qtbot)
        assert not pause.isEnabled(), "it has been asked for already"
        folder.log(events.Paused(1000))
        qtbot.waitUntil(lambda: pause.text() == "Continue")
        assert dialog.run_page.progress.texts[1].startswith("Paused after 3 min")
        QApplication.processEvents()
        assert pause.width() == width
        press(pause, qtbot)
        qtbot.waitUntil(lambda: folder.take_command() == "continue")


def test_stop_asks_in_place_before_it_is_sent(tmp_path, show, qtbot) -> None:
    folder = write_run(tmp_path / "run", last=1000, total=4000)
    dialog, controller = show()
    stops: list[None] = []
    dialog.stopRequested.connect(lambda: stops.append(None))
    footer = dialog.run_footer
    with at_work(folder):
        controller.open(folder.path)
        qtbot.waitUntil(lambda: shown_step(dialog) == 1000)
        press(footer.stop, qtbot)
        assert footer.asking
        assert "Stop now?" in footer.sentence.text
        assert not footer.pause.isVisible()
        qtbot.keyClick(footer._answers[-1], Key.Key_Escape)
        assert not footer.asking
        assert dialog.isVisible()
        assert stops == []
        press(footer.stop, qtbot)
        press(footer._answers[0], qtbot)
        assert len(stops) == 1
        qtbot.waitUntil(lambda: folder.take_command() == "stop")
        folder.log(events.Stopped(1000))
    qtbot.waitUntil(lambda: footer.resume.isVisible())
    assert footer.primary.text() == "Use this network"


def test_a_command_that_reaches_nobody_is_told(tmp_path, show, qtbot) -> None:
    folder = write_run(tmp_path / "run", last=1000, total=4000)
    dialog, controller = show()
    with at_work(folder):
        controller.open(folder.path)
        qtbot.waitUntil(lambda: shown_step(dialog) == 1000)
        controller._timer.stop()
    press(dialog.run_footer.finish, qtbot)
    qtbot.waitUntil(lambda: "not being trained now" in dialog.run_footer.sentence.text)


@pytest.mark.parametrize(
    ("end", "resume", "words"),
    [
        (FINISHED, False, "Finished after"),
        (events.Stopped(3000), True, "Stopped after"),
        (events.Failed(3000, "The disk is full."), True, "Failed after"),
        (None, True, "Interrupted after"),
    ],
)
def test_an_ended_run_offers_what_can_still_be_done(
    tmp_path, show, qtbot, end, resume: bool, words: str
) -> None:
    folder = write_run(tmp_path / "run", last=3000, total=4000, end=end)
    dialog, controller = show()
    told: list[tuple[str, Path]] = []
    for name in ("useRequested", "resumeRequested", "openFolderRequested"):
        getattr(dialog, name).connect(lambda path, n=name: told.append((n, path)))
    controller.open(folder.path)
    qtbot.waitUntil(lambda: shown_step(dialog) == 3000)
    footer = dialog.run_footer
    assert footer.resume.isVisible() == resume
    assert not footer.pause.isVisible()
    assert not footer.stop.isVisible()
    assert dialog.run_page.progress.texts[1].startswith(words)
    assert dialog.run_page.replay.words() == "step 3\u2009000, last"
    press(footer.folder, qtbot)
    press(footer.primary, qtbot)
    assert told == [("openFolderRequested", folder.path), ("useRequested", folder.path)]
    if isinstance(end, events.Failed):
        assert dialog.sentence.text == "The disk is full."


def test_a_newer_network_is_announced_for_trying(tmp_path, show, qtbot) -> None:
    folder = write_run(tmp_path / "run", last=1000, total=4000)
    dialog, controller = show()
    saved: list[Path] = []
    controller.saved.connect(saved.append)
    with at_work(folder):
        controller.open(folder.path)
        qtbot.waitUntil(lambda: shown_step(dialog) == 1000)
        assert saved == []
        folder.log(events.Stepped(1020, 0.3, 0.1, {}, 1e-3, 200.0))
        folder.log(events.Saved(1020, Path("last.safetensors")))
        qtbot.waitUntil(lambda: saved == [folder.path])


def test_another_run_leaves_nothing_of_the_first(tmp_path, show, qtbot) -> None:
    first = write_run(tmp_path / "a", last=3000, total=4000)
    second = write_run(tmp_path / "b", last=600, total=1000, previews=False)
    dialog, controller = show()
    with at_work(first):
        controller.open(first.path)
        qtbot.waitUntil(lambda: shown_step(dialog) == 3000)
        dialog.run_footer.ask_stop()
        controller.open(second.path)
        assert not dialog.run_footer.asking
        qtbot.waitUntil(lambda: dialog.run_page.progress.texts[0].startswith("Step 600"))
        assert dialog.run_page.grid.message == "This run has left no pictures."
        assert dialog.run_page.loss.span == 1000
        assert not dialog.run_page.replay.isEnabled()
    controller.leave()
    assert dialog.run_page.grid.message == NO_RUN


# the pictures ---------------------------------------------------------------------------------


def test_held_back_settings_are_named_and_all_is_called_synthetic(tmp_path, show, qtbot) -> None:
    folder = write_run(tmp_path / "run", last=1000, total=4000)
    dialog, controller = show()
    controller.open(folder.path)
    grid = dialog.run_page.grid
    qtbot.waitUntil(lambda: shown_step(dialog) == 1000)
    said = grid.accessibleDescription()
    assert said.startswith("Synthetic images.")
    assert "TE 50, held back, " in said
    grid.setFocus()
    qtbot.keyClick(grid, Key.Key_Right)
    qtbot.keyClick(grid, Key.Key_Right)
    assert dialog.run_page.about.text == (
        "TE 50: TR 5\u2009000  TE 50 ms  TI off, held back from training"
    )
    qtbot.mouseClick(dialog.run_page.slices.buttons[2], LEFT)
    assert grid.shown.about == "sub-04, never trained on"


def test_the_badge_is_drawn_beside_both_rows_made_by_the_network(tmp_path, show, qtbot) -> None:
    folder = write_run(tmp_path / "run", last=1000, total=4000)
    dialog, controller = show()
    controller.open(folder.path)
    grid = dialog.run_page.grid
    qtbot.waitUntil(lambda: shown_step(dialog) == 1000)
    picture = grid.grab().toImage()
    accent = theme.current().accent.rgb()

    def badge(row: int) -> int:
        top = int(grid.cell(row, 0).top())
        places = [(x, y) for x in range(78) for y in range(top + 18, top + 40)]
        return sum(picture.pixel(x, y) == accent for x, y in places)

    assert badge(0) > 60
    assert badge(2) > 60
    assert badge(1) == 0


def test_pictures_are_of_one_grey_scale_and_the_error_is_black_outside(
    tmp_path, show, qtbot
) -> None:
    folder = write_run(tmp_path / "run", last=3000, total=4000)
    dialog, controller = show()
    controller.open(folder.path)
    grid = dialog.run_page.grid
    qtbot.waitUntil(lambda: shown_step(dialog) == 3000)
    made, target, error = (grid.picture(row, 2) for row in range(3))
    assert error.pixelColor(0, 0).name() == "#000000"
    inside = [(x, y) for x in range(20, 60) for y in range(20, 60)]
    mean = [sum(p.pixelColor(x, y).red() for x, y in inside) / len(inside) for p in (made, target)]
    assert mean[0] == pytest.approx(mean[1], rel=0.15)


# the log --------------------------------------------------------------------------------------


def test_the_newest_line_stands_on_top_and_warnings_are_said_to_be(tmp_path, show, qtbot) -> None:
    folder = write_run(tmp_path / "run", last=6000, total=8000, previews=False)
    dialog, controller = show()
    with at_work(folder):
        controller.open(folder.path)
        log = dialog.run_page.log
        qtbot.waitUntil(lambda: log.count() > 0)
        assert "One batch skipped" in log.texts()[0]
        told = log.item(0).data(Qt.ItemDataRole.AccessibleTextRole)
        assert "Warning: " in told
        assert "Warning: " not in log.item(1).data(Qt.ItemDataRole.AccessibleTextRole)
        assert any("step 6\u2009000" in text for text in log.texts())
        log.verticalScrollBar().setValue(40)
        folder.log(events.Noted(6000, "The disk is nearly full."))
        qtbot.waitUntil(lambda: "nearly full" in log.texts()[0])
        assert log.verticalScrollBar().value() > 40, "who has scrolled down keeps the place"


def test_lines_that_are_too_old_go_at_the_bottom(qtbot, themed) -> None:
    from crl_viewer.state.training_run import LogLine
    from crl_viewer.views.training.run_log import RunLog

    log = RunLog()
    qtbot.addWidget(log)
    lines = [LogLine(START + k, f"line {k}") for k in range(30)]
    log.set_lines(lines[:20])
    kept = log.item(0)
    log.set_lines(lines[5:25])
    assert [t.split("  ")[1] for t in log.texts()] == [f"line {k}" for k in range(24, 4, -1)]
    assert log.row(kept) == 5, "lines that stay are not made anew"
    log.selectAll()
    event = QKeyEvent(QEvent.Type.KeyPress, Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    log.keyPressEvent(event)
    assert QApplication.clipboard().text().splitlines() == log.texts()


# comparing ------------------------------------------------------------------------------------


def test_runs_are_laid_over_each_other_by_step_and_by_minute(tmp_path, show, qtbot) -> None:
    first = write_run(tmp_path / "first", last=3000, total=4000, previews=False)
    slower = TrainingConfig(preset="crl-small", steps=4000, batch=12)
    other = write_run(
        tmp_path / "other", last=2000, total=4000, previews=False, config=slower, seed=2
    )
    dialog, _ = show()
    page = dialog.result_page
    dialog.set_recent_runs([KnownRun(f.path, f.path.name, START) for f in (first, other)])
    dialog.compare([first.path, other.path])
    assert dialog.page == "result"
    qtbot.waitUntil(lambda: len(page.reports) == 2)
    assert page.plot.span == 3000
    assert [text.split()[0] for text in page.plot.legend()] == ["first", "other"]
    cells = page.table.texts()
    assert ["batch", "6", "12"] in cells
    assert ["steps", "3\u2009000", "2\u2009000"] in cells
    assert not any(row[0] == "crop" for row in cells)
    page.every.click()
    assert ["crop", "96", "96"] in page.table.texts()
    qtbot.mouseClick(page.against.buttons[1], LEFT)
    assert page.plot.span == pytest.approx(0.18 * 3000 / 60)
    assert not dialog.use.isVisible(), "it would be unclear whose network"
    qtbot.mouseClick(page.what.buttons[1], LEFT)
    assert page.head.title.text == "Loss"
    assert all(not text.endswith("\N{EN DASH}") for text in page.plot.legend())


def test_ticking_with_the_space_bar_asks_for_the_runs(tmp_path, show, qtbot) -> None:
    folder = write_run(tmp_path / "first", last=1000, total=4000, previews=False, end=FINISHED)
    dialog, _ = show()
    dialog.show_page("result")
    dialog.set_recent_runs([KnownRun(folder.path, "first", START)])
    page = dialog.result_page
    used: list[Path] = []
    dialog.useRequested.connect(used.append)
    page.runs.setCurrentRow(0)
    page.runs.setFocus()
    qtbot.keyClick(page.runs, Key.Key_Space)
    qtbot.waitUntil(lambda: len(page.reports) == 1)
    press(dialog.use, qtbot)
    assert used == [folder.path]
    item = page.runs.visualItemRect(page.runs.item(0)).center()
    qtbot.mouseClick(page.runs.viewport(), LEFT, pos=item)
    qtbot.waitUntil(lambda: page.reports == ())


def test_a_finished_model_shows_its_card(tmp_path, show, qtbot) -> None:
    folder = write_run(tmp_path / "run", last=3000, total=4000, previews=False, end=FINISHED)
    shipped = Path(__file__).parents[2] / "resources" / "checkpoints"
    (folder / "model.safetensors").write_bytes((shipped / "crl-small.safetensors").read_bytes())
    (folder / "model.json").write_bytes((shipped / "crl-small.json").read_bytes())
    dialog, _ = show()
    dialog.compare([folder.path])
    page = dialog.result_page
    qtbot.waitUntil(lambda: len(page.reports) == 1)
    facts = dict(page.reports[0].facts)
    assert facts["Network"] == "crl-small"
    assert "9 settings" in facts["Trained on"]
    assert "not for clinical use" in facts["Note"]
    assert page.facts_head.title.text == "Model of run"


def test_a_folder_that_was_added_by_mistake_is_refused_in_one_line(tmp_path, show, qtbot) -> None:
    dialog, _ = show()
    dialog.show_page("result")
    dialog.result_page.add_run(tmp_path)
    qtbot.waitUntil(lambda: "holds no training run" in dialog.result_page.message.text)
    assert dialog.result_page.message.isVisible()
    assert dialog.result_page.reports == ()


# the shell ------------------------------------------------------------------------------------


def test_the_result_page_begins_with_the_run_at_hand(tmp_path, show, qtbot) -> None:
    first = write_run(tmp_path / "first", last=400, total=4000, previews=False)
    other = write_run(tmp_path / "other", last=400, total=4000, previews=False, seed=2)
    dialog, controller = show()
    dialog.set_recent_runs([KnownRun(other.path, "other"), KnownRun(first.path, "first")])
    controller.open(first.path)
    qtbot.waitUntil(lambda: controller.state is not None)
    press(dialog.page_words["result"], qtbot)
    qtbot.waitUntil(lambda: [r.name for r in dialog.result_page.reports] == ["first"])
    # What the user unticks stays so.
    dialog.result_page.choose([])
    press(dialog.page_words["run"], qtbot)
    press(dialog.page_words["result"], qtbot)
    assert dialog.result_page.chosen() == []


def test_a_pressed_button_that_is_greyed_hands_the_focus_to_nobody_else(
    tmp_path, show, qtbot
) -> None:
    folder = write_run(tmp_path / "run", last=400, total=4000, previews=False)
    dialog, controller = show()
    footer = dialog.run_footer
    with at_work(folder):
        controller.open(folder.path)
        qtbot.waitUntil(lambda: controller.state is not None)
        press(footer.pause, qtbot)
        assert not footer.stop.hasFocus()
        folder.log(events.Paused(400))
        qtbot.waitUntil(lambda: footer.pause.text() == "Continue")
        assert footer.pause.hasFocus()


def test_a_setup_page_and_its_footer_go_with_each_other(show, qtbot) -> None:
    dialog, _ = show()
    page, footer = QWidget(), QWidget()
    dialog.set_setup_page(page, footer)
    assert not page.isVisible()
    qtbot.mouseClick(dialog.page_words["setup"], LEFT)
    assert page.isVisible()
    assert footer.isVisible()
    assert not dialog.run_footer.isVisible()
    dialog.set_title("Train a network", "14 people, 120 scans.", "setup")
    assert dialog.sentence.text == "14 people, 120 scans."
    dialog.page_words["setup"].setFocus()
    qtbot.keyClick(dialog.page_words["setup"], Key.Key_Right)
    assert dialog.page == "run"
    assert dialog.page_words["run"].hasFocus()


def test_closing_can_be_held_up_by_a_question(show, qtbot) -> None:
    dialog, _ = show()
    answers = [False, True]
    sizes: list[tuple[int, int]] = []
    dialog.left.connect(lambda w, h: sizes.append((w, h)))
    dialog.may_close = lambda: answers.pop(0)
    qtbot.keyClick(dialog, Key.Key_Escape)
    assert dialog.isVisible()
    dialog.reject()
    assert not dialog.isVisible()
    assert sizes == [(dialog.width(), dialog.height())]


def test_it_fits_a_small_screen_and_every_control_has_a_name(tmp_path, show, qtbot) -> None:
    folder = write_run(tmp_path / "run", last=3000, total=4000)
    dialog, controller = show()
    with at_work(folder):
        controller.open(folder.path)
        qtbot.waitUntil(lambda: shown_step(dialog) == 3000)
        dialog.resize(1000, 640)
        assert (dialog.width(), dialog.height()) == (1000, 640)
        for page in ("run", "result"):
            dialog.show_page(page)
            QApplication.processEvents()
            assert dialog.width() <= 1000
            assert dialog.height() <= 640
            for widget in dialog.findChildren(QWidget):
                focusable = widget.focusPolicy() & Qt.FocusPolicy.TabFocus
                if widget.isVisible() and focusable and not widget.objectName().startswith("qt_"):
                    text = widget.accessibleName() or getattr(widget, "text", lambda: "")()
                    assert text, f"{type(widget).__name__} has no name"


def test_nothing_on_the_page_moves_while_values_change(tmp_path, show, qtbot) -> None:
    folder = write_run(tmp_path / "run", last=3000, total=4000)
    dialog, controller = show()
    page = dialog.run_page
    with at_work(folder):
        controller.open(folder.path)
        qtbot.waitUntil(lambda: shown_step(dialog) == 3000)
        watched = (page.grid, page.loss, page.validation, page.pace, page.numbers, page.log)
        QApplication.processEvents()
        before = [w.geometry() for w in watched]
        ranges = page.loss.y_range
        folder.log(events.Stepped(3020, 0.755, 0.2, {"l1": 0.1}, 1e-3, 999.0, 98_765.4, 1.0))
        qtbot.waitUntil(lambda: "3\u2009020" in page.progress.texts[0])
        qtbot.waitUntil(lambda: page.pace.legend()[0].endswith("98\u2009765"))
        assert [w.geometry() for w in watched] == before
        assert page.loss.y_range == ranges


def test_a_long_log_is_read_and_drawn_in_good_time(tmp_path, show, qtbot) -> None:
    folder = write_run(tmp_path / "run", last=1000, total=100_000, previews=False)
    rng = np.random.default_rng(0)
    noise = np.exp(0.2 * rng.standard_normal(60_000)) * 0.03
    lines = [
        to_line(events.Stepped(1000 + k, 0.5, float(v), {"l1": float(v)}, 1e-3, 1.0 * k), START + k)
        for k, v in enumerate(noise, 1)
    ]
    with (folder / EVENTS).open("a", encoding="utf-8") as stream:
        stream.write("\n".join(lines) + "\n")
    dialog, controller = show()
    controller.open(folder.path)
    plot = dialog.run_page.loss
    qtbot.waitUntil(lambda: bool(plot._curves), timeout=20_000)
    times = []
    for _ in range(5):
        plot._forget()
        began = time.perf_counter()
        plot.grab()
        times.append(time.perf_counter() - began)
    assert min(times) < 0.1, "a hundred thousand points cost no more than a blink"


def test_previews_left_by_a_part_of_the_run_that_was_lost_are_not_offered(tmp_path) -> None:
    folder = write_run(tmp_path / "run", last=3000, total=4000)
    folder.log(events.Started(1500, "data", 10, 4000))
    assert RunReader(folder.path).poll().previews == (1000,)
    assert RunFolder(folder.path).preview_steps() == [1000, 2000, 3000]
    assert (folder / PREVIEWS / "fixed.npz").exists()


def test_both_themes_paint_the_whole_dialog(tmp_path, show, qtbot) -> None:
    folder = write_run(tmp_path / "run", last=3000, total=4000)
    dialog, controller = show()
    controller.open(folder.path)
    qtbot.waitUntil(lambda: shown_step(dialog) == 3000)
    corner = QPoint(4, 4)
    grounds = {}
    for name in ("dark", "light"):
        theme.apply_theme(QApplication.instance(), name)
        QApplication.processEvents()
        picture = dialog.grab().toImage()
        grounds[name] = picture.pixelColor(corner).name()
        cell = dialog.run_page.grid.cell(1, 0)
        place = dialog.run_page.grid.mapTo(dialog, cell.topLeft().toPoint() + QPoint(1, 1))
        assert picture.pixelColor(place).name() == "#000000", "pictures stand on black"
    assert grounds == {"dark": theme.DARK.panel.name(), "light": theme.LIGHT.panel.name()}
