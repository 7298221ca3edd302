"""The Set-up page and what stands behind it, with a doctor and a measure of our own."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PySide6.QtCore import QMimeData, QPoint, QPointF, QRectF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QImage
from PySide6.QtTest import QTest

from crl_core.doctor.findings import Report
from crl_core.errors import Cancelled, InputError
from crl_core.sequence import PAPER_SEQUENCES
from crl_core.training.data_config import DataConfig
from crl_viewer import theme
from crl_viewer.controllers.training_setup import (
    NO_SCANS,
    NOT_PLANNED,
    PREPARE_LATER,
    TrainingSetupController,
)
from crl_viewer.state.training_setup import AT_LEAST_TWO, rows, sequences
from crl_viewer.state.training_setup_findings import issues
from crl_viewer.state.training_setup_plan import Estimate, Job
from crl_viewer.views.lines import in_two
from crl_viewer.views.segments import width_of
from crl_viewer.views.training.setup_page import SetupPage
from crl_viewer.views.training.setup_people_rows import link_box, use_box
from crl_viewer.views.training.setup_settings import NOT_YET, SettingsSheet
from crl_viewer.views.training.setup_space import hull_of, place_names
from crl_viewer.workers import surveying
from crl_viewer.workers.estimating import Estimator, read_estimate
from crl_viewer.workers.surveying import Arranging, Surveyor
from tests.conftest import tiny_scan
from tests.viewer import setup_data as made

PATIENCE = 20_000
PLANNED = {"batch": 6, "crop": 96, "minutes": 120.0}


class FakeEstimator:
    """Answers at once, or when it is told to."""

    def __init__(self, post: Callable) -> None:
        self.asked: list[list[Job]] = []
        self.done: Callable = lambda job, estimate: None
        self.cancelled = self.closed = 0
        self.at_once = True
        self.refusal = ""

    def ask(self, jobs: list[Job], done: Callable) -> None:
        self.asked.append(list(jobs))
        self.done = done
        if self.at_once:
            for job in jobs:
                self.answer(job)

    def answer(self, job: Job) -> None:
        seconds = 31 * 3600.0 if job.plan == "paper" else 7080.0
        self.done(
            job,
            Estimate(PLANNED, 900, seconds, 312.0, 6100.0, 480.0, "NVIDIA H200", "crl-plus",
                     self.refusal),
        )  # fmt: skip

    def cancel(self) -> None:
        self.cancelled += 1

    def close(self) -> None:
        self.closed += 1


@dataclass
class Doctor:
    """Says of each folder what it was told to; can be held up."""

    reports: dict[Path, Report] = field(default_factory=dict)
    prepared: list[tuple[Path, Path]] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)
    refusal: str = ""

    def check(self, folder: Path, *, quick=False, progress=None, cancelled=lambda: False):
        if quick:
            return replace(self.reports[folder], quick=True, findings=())
        while not self.go.wait(0.01):
            if cancelled():
                raise Cancelled("the check was cancelled")
        if self.refusal:
            raise InputError(self.refusal, path=folder)
        if progress is not None:
            progress(1, 1)
        return self.reports[folder]

    def prepare(self, source: Path, output: Path, **how) -> None:
        self.prepared.append((source, output))
        self.reports[output] = replace(self.reports[source], root=output, findings=())


@dataclass
class Setting:
    page: SetupPage
    control: TrainingSetupController
    doctor: Doctor
    estimator: FakeEstimator
    started: list[tuple[Job, Path]]
    wait: Callable

    def until(self, condition: Callable[[], bool]) -> None:
        self.wait(condition, timeout=PATIENCE)

    def add(self, folder: Path, report: Report) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.doctor.reports[folder] = replace(report, root=folder)

    def open(self, folder: Path, report: Report) -> None:
        self.add(folder, report)
        self.control.dataset([folder])
        self.until(self.at_rest)

    def at_rest(self) -> bool:
        return self.control.setup.phase != "working" and self.control.settled


@pytest.fixture
def setting(qtbot, themed, monkeypatch) -> Iterator[Setting]:
    real = surveying.is_dataset
    monkeypatch.setattr(
        surveying, "is_dataset", lambda f: "plain" not in f.name and (f.is_dir() or real(f))
    )
    monkeypatch.setattr(surveying, "networks", lambda: ("crl-plus", "crl-small"))
    page, doctor, started = SetupPage(), Doctor(), []
    doctor.go.set()
    qtbot.addWidget(page)
    qtbot.addWidget(page.footer)
    kept: list[FakeEstimator] = []

    def estimator(post):
        kept.append(FakeEstimator(post))
        return kept[0]

    control = TrainingSetupController(
        page,
        lambda job, folder: started.append((job, folder)),
        surveyor=Surveyor(check=doctor.check, prepare=doctor.prepare, arranging=lambda: None),
        estimator=estimator,
    )
    page.resize(1200, 660)
    page.show()
    made_here = Setting(page, control, doctor, kept[0], started, qtbot.waitUntil)
    made_here.until(lambda: control.setup.folder is not None and bool(control.setup.start))
    yield made_here
    doctor.go.set()
    control.closed()


# choosing data ----------------------------------------------------------------------------------


def test_a_dataset_is_checked_and_its_people_are_listed(setting: Setting, tmp_path) -> None:
    assert not setting.page.nothing.isHidden()
    assert not setting.page.footer.start.isEnabled()
    setting.open(tmp_path / "ms", made.report(made.people(14), [made.mirrored("sub-01")]))
    model = setting.page.people.people
    assert model.rowCount() == 14
    assert model.data(model.index(0), Qt.ItemDataRole.AccessibleTextRole).startswith(
        "Person 01, 3 scans, 320 × 320 × 36, TR, TE, TI exact, T1w is mirrored, Mirror it back"
    )
    assert setting.page.head.sentence.text == (
        "1 finding. It can be mended now. 13 people are ready."
    )
    assert setting.page.head.mend.text() == "Mend 1"
    assert setting.page.split.texts == ["Train 10", "Validate 1", "Test 3"]
    assert setting.page.sentence.startswith("14 people, 42 scans.")


def test_headers_show_while_voxels_are_still_looked_at(setting: Setting, tmp_path) -> None:
    setting.doctor.go.clear()
    setting.add(tmp_path / "ms", made.report(made.people(3), [made.mirrored("sub-01")]))
    setting.control.dataset([tmp_path / "ms"])
    setting.until(lambda: setting.page.people.people.rowCount() == 3)
    assert setting.page.people.people.row(0).finding == "Being checked"
    assert setting.page.head.sentence.text == "Checking ms…"
    assert setting.page.footer.says.text == "Training can start once this is done."
    setting.doctor.go.set()
    setting.until(setting.at_rest)
    assert setting.page.people.people.row(0).finding == "T1w is mirrored"


def test_a_check_can_be_stopped(setting: Setting, tmp_path) -> None:
    setting.doctor.go.clear()
    setting.add(tmp_path / "ms", made.report(made.people(2)))
    setting.control.dataset([tmp_path / "ms"])
    setting.until(lambda: not setting.page.head.stop.isHidden())
    setting.page.head.stop.click()
    assert setting.control.setup.phase != "working"


def test_a_folder_that_is_refused_is_one_line_and_the_next_one_is_taken(
    setting: Setting, tmp_path
) -> None:
    setting.add(tmp_path / "good", made.report(made.people(2)))
    setting.control.dataset([tmp_path / "nowhere", tmp_path / "good"])
    setting.until(lambda: setting.page.people.people.rowCount() == 2 and setting.at_rest())
    assert setting.control.setup.datasets == (tmp_path / "good",)
    assert "nowhere: there is no such folder." in setting.page.footer.says.text


def test_a_second_dataset_is_added_and_start_over_clears(setting: Setting, tmp_path) -> None:
    setting.open(tmp_path / "a", made.report(made.people(2)))
    setting.add(tmp_path / "b", made.report(made.visits(["sub-07", "sub-08"])))
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(tmp_path / "b"))])
    setting.page.dropEvent(
        QDropEvent(
            QPointF(5, 5), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
    )  # fmt: skip
    setting.until(lambda: setting.page.people.people.rowCount() == 4 and setting.at_rest())
    assert setting.page.head.where.text.endswith("b")
    setting.page.clearRequested.emit()
    assert setting.page.people.people.rowCount() == 0
    assert not setting.page.nothing.isHidden()


def test_open_scans_are_offered_and_written_as_a_dataset(setting: Setting, tmp_path) -> None:
    setting.control.use_open_scans()
    assert setting.page.footer.says.text == NO_SCANS
    written = []

    def from_scans(scans, root):
        written.append((list(scans), root))
        setting.add(root, made.report(made.people(1)))
        return root

    setting.control._surveyor = replace(
        setting.control._surveyor, arranging=lambda: SimpleNamespace(from_scans=from_scans)
    )
    setting.control.scans(["one", "two"])
    assert setting.page.nothing.scans.text() == "The 2 scans that are open"
    setting.page.nothing.scans.click()
    setting.until(lambda: bool(setting.control.setup.reports) and setting.at_rest())
    assert written[0][0] == ["one", "two"]
    assert setting.page.split_says.text.startswith("One person: nobody to validate on")


# a plain folder ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class FakeArrangement:
    images: tuple
    typed: tuple = ()

    def with_parameters(self, mapping, certainty="nominal"):
        return replace(self, typed=(*self.typed, (certainty, tuple(sorted(mapping)))))


def plain(setting: Setting, folder: Path, written: list) -> None:
    images = tuple(
        SimpleNamespace(person=p, visit="1", contrast=c, parameters=None, why_left_out="")
        for p in ("01", "12")
        for c in ("T1W", "T2W")
    )

    def write(arrangement, root, progress=None, cancelled=None):
        written.append((arrangement.typed, root))
        setting.add(root, made.report(made.people(2, certainty="nominal")))
        return root

    arranging = Arranging(lambda folder, **how: FakeArrangement(images), write, lambda *a: None)
    setting.control._surveyor = replace(setting.control._surveyor, arranging=lambda: arranging)
    folder.mkdir()
    setting.control.dataset([folder])
    setting.until(lambda: setting.control.setup.phase == "asking")


def test_a_plain_folder_is_asked_about_and_arranged(setting: Setting, tmp_path) -> None:
    written: list = []
    plain(setting, tmp_path / "plain", written)
    form = setting.page.form
    assert not form.isHidden()
    assert form.sentence.text().startswith("4 images of 2 people.")
    assert form.fields["T2W"]["tr"].text() == "5000"
    form.fields["T2W"]["te"].setText("90")
    form.go.click()
    setting.until(setting.at_rest)
    [(typed, root)] = written
    assert typed == (("nominal", ("T1W",)), ("given", ("T2W",)))
    assert root == tmp_path / "plain_bids"
    assert form.isHidden()
    assert setting.page.people.people.row(0).times == "nominal"


def test_a_gap_in_the_answer_is_told_and_nothing_is_written(setting: Setting, tmp_path) -> None:
    written: list = []
    plain(setting, tmp_path / "plain", written)
    form = setting.page.form
    form.fields["T1W"]["tr"].clear()
    QTest.keyClick(form, Qt.Key.Key_Return)
    assert form.refusal.text == "T1W: TR is missing."
    form.fields["T1W"]["tr"].setText("600")
    form.folder.clear()
    form.go.click()
    assert form.refusal.text == "Name a folder for the new dataset."
    QTest.keyClick(form, Qt.Key.Key_Escape)
    assert written == []
    assert setting.control.setup.phase == "empty"
    assert form.isHidden()


# findings ---------------------------------------------------------------------------------------


def mends_into(setting: Setting, monkeypatch, after: Report, folder: Path) -> list:
    done: list = []

    def mend(root, wanted):
        done.extend(wanted)
        setting.doctor.reports[folder] = replace(after, root=folder)
        return []

    monkeypatch.setattr("crl_core.doctor.mend.mend_dataset", mend)
    return done


def test_one_click_mends_what_needs_no_decision(setting: Setting, tmp_path, monkeypatch) -> None:
    found = [made.mirrored("sub-01"), made.mirrored("sub-02", sure=False)]
    setting.open(tmp_path / "ms", made.report(made.people(3), found))
    done = mends_into(setting, monkeypatch, made.report(made.people(3)), tmp_path / "ms")
    setting.page.head.mend.click()
    setting.until(lambda: bool(done) and setting.at_rest())
    assert [m.file for m in done] == ["sub-01/anat/sub-01_T1w.nii.gz"]
    assert setting.page.head.sentence.text == "Nothing to mend. 3 people are ready."
    assert setting.page.footer.start.isEnabled()


def test_a_link_is_followed_by_mouse_and_by_key(setting: Setting, tmp_path, monkeypatch) -> None:
    setting.open(tmp_path / "ms", made.report(made.people(3), [made.mirrored("sub-02")]))
    done = mends_into(setting, monkeypatch, made.report(made.people(3)), tmp_path / "ms")
    view = setting.page.people
    box = QRectF(view.visualRect(view.people.index(1)))
    at = link_box(box, view.people.row(1)).center().toPoint()
    assert view.part_at(QPointF(at)) == (1, "link")
    QTest.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=at)
    setting.until(lambda: len(done) == 1 and setting.at_rest())

    setting.open(tmp_path / "ms", made.report(made.people(3), [made.mirrored("sub-02")]))
    view.setCurrentIndex(view.people.index(1))
    QTest.keyClick(view, Qt.Key.Key_Return)
    setting.until(lambda: len(done) == 2 and setting.at_rest())


def test_a_missing_value_is_asked_for(setting: Setting, tmp_path, monkeypatch) -> None:
    found = [made.no_ti("sub-01"), made.no_ti("sub-02")]
    setting.open(tmp_path / "ms", made.report(made.people(3), found))
    assert "FLAIR has no TI" in setting.page.footer.says.text
    done = mends_into(setting, monkeypatch, made.report(made.people(3)), tmp_path / "ms")
    setting.control.follow(issues(setting.control.setup)[0])
    form = setting.page.form
    assert list(form.fields) == ["FLAIR"]
    form.fields["FLAIR"]["ti"].setText("2300")
    form.go.click()
    setting.until(lambda: bool(done) and setting.at_rest())
    assert [m.value for m in done] == ["9000,100,2300"] * 2


def test_a_scan_without_a_value_can_be_left_out_instead(setting: Setting, tmp_path) -> None:
    setting.open(tmp_path / "ms", made.report(made.people(3), [made.no_ti("sub-01")]))
    setting.control.follow(issues(setting.control.setup)[0])
    form = setting.page.form
    form.outs["FLAIR"].setChecked(True)
    assert not form.fields["FLAIR"]["ti"].isEnabled()
    form.go.click()
    setting.until(setting.at_rest)
    assert setting.control.job().data.leave_out == ("sub-01/anat/sub-01_FLAIR.nii.gz",)
    assert setting.page.footer.start.isEnabled()
    assert setting.page.people.people.row(0).link == "Take it back"
    setting.page.linkFollowed.emit(setting.page.people.people.row(0).issues[0])
    assert not setting.page.footer.start.isEnabled()


def test_a_doubtful_mirror_is_asked_about_first(setting: Setting, tmp_path, monkeypatch) -> None:
    found = [made.mirrored("sub-01", sure=False)]
    setting.open(tmp_path / "ms", made.report(made.people(3), found))
    assert setting.page.head.mend.isHidden()
    done = mends_into(setting, monkeypatch, made.report(made.people(3)), tmp_path / "ms")
    setting.control.follow(issues(setting.control.setup)[0])
    head = setting.page.head
    assert "kept in sourcedata/mended" in head.sentence.text
    assert [c.text() for c in head.answers] == ["Mirror", "Leave it out", "Not now"]
    head.answers[2].click()
    assert done == []
    assert head.sentence.text.startswith("1 finding.")
    setting.control.follow(issues(setting.control.setup)[0])
    head.answers[0].click()
    setting.until(lambda: len(done) == 1 and setting.at_rest())


def test_preparing_makes_a_new_dataset_and_uses_it(setting: Setting, tmp_path) -> None:
    setting.open(tmp_path / "ms", made.report(made.people(3), [made.shifted("sub-01")]))
    setting.control.follow(issues(setting.control.setup)[0])
    setting.page.head.answers[0].click()
    setting.until(lambda: bool(setting.doctor.prepared) and setting.at_rest())
    assert setting.doctor.prepared == [(tmp_path / "ms", tmp_path / "ms_prepared")]
    assert setting.control.setup.datasets == (tmp_path / "ms_prepared",)
    assert setting.page.head.sentence.text == "Nothing to mend. 3 people are ready."


def test_preparing_waits_for_errors(setting: Setting, tmp_path) -> None:
    found = [made.no_ti("sub-02"), made.shifted("sub-01")]
    setting.open(tmp_path / "ms", made.report(made.people(3), found))
    grid = next(i for i in issues(setting.control.setup) if i.kind == "prepare")
    setting.control.follow(grid)
    assert setting.page.footer.says.text == PREPARE_LATER
    assert setting.doctor.prepared == []


# uses and settings ------------------------------------------------------------------------------


def test_the_use_of_a_person_changes_for_all_visits(setting: Setting, tmp_path) -> None:
    labels = ["sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1", "sub-03_ses-1"]
    setting.open(tmp_path / "ms", made.report(made.visits(labels)))
    setting.control.use("sub-01", "train")
    view = setting.page.people
    view.setCurrentIndex(view.people.index(0))
    QTest.keyClick(view, Qt.Key.Key_Right)
    assert [view.people.use(n) for n in (0, 1)] == ["validate", "validate"]
    at = use_box(QRectF(view.visualRect(view.people.index(1)))).center().toPoint()
    QTest.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert view.menu is not None
    assert [a.text() for a in view.menu.actions()] == ["Train", "Validate", "Test", "Leave out"]
    assert [a.isChecked() for a in view.menu.actions()] == [False, True, False, False]
    view.menu.actions()[2].trigger()
    view.menu.close()
    assert "sub-01" in setting.control.job().data.test
    assert "Test 1" in setting.page.split.texts


def test_settings_are_held_back_by_chip_and_by_mark(setting: Setting, tmp_path) -> None:
    contrasts = {**made.CONTRASTS, "PDw": made.PD}
    setting.open(tmp_path / "ms", made.report(made.people(3, contrasts=contrasts)))
    chips, space = setting.page.chips, setting.page.space
    assert [c.text() for c in chips.chips] == ["1", "2", "3", "4"]
    chips.chips[1].click()
    held = [s.name for s in sequences(setting.control.setup) if s.held]
    assert held == ["PDw"]
    assert not chips.chips[1].isChecked()
    assert setting.page.space_says.text.startswith("3 to train on, 1 held back")
    at = space.place(sequences(setting.control.setup)[0]).toPoint()
    QTest.mouseClick(space, Qt.MouseButton.LeftButton, pos=at)
    assert len(setting.control.job().data.hold_back) == 2
    chips.chips[2].click()
    assert setting.page.footer.says.text == AT_LEAST_TWO
    assert chips.chips[2].isChecked()


def test_chips_are_one_stop_with_arrows_inside(setting: Setting, tmp_path) -> None:
    setting.open(tmp_path / "ms", made.report(made.people(3)))
    chips = setting.page.chips.chips
    stops = [c for c in chips if c.focusPolicy() == Qt.FocusPolicy.StrongFocus]
    assert stops == [chips[0]]
    QTest.keyClick(chips[0], Qt.Key.Key_Right)
    assert chips[1].focusPolicy() == Qt.FocusPolicy.StrongFocus
    assert chips[1].accessibleName() == "Setting 2, T2w"
    assert chips[1].accessibleDescription() == "trained on"


def test_names_in_the_plot_cover_neither_marks_nor_each_other() -> None:
    places = [QPointF(100, 100), QPointF(104, 102), QPointF(150, 100), QPointF(295, 10)]
    texts = ["T1w", "TE 62", "PDw", "FLAIR"]
    frame = QRectF(0, 0, 300, 200)
    boxes = place_names(places, texts, range(4), frame)
    assert set(boxes) == {0, 1, 2, 3}
    for i, box in boxes.items():
        assert frame.contains(box)
        for k, other in boxes.items():
            assert i == k or not box.intersects(other)
        for k, at in enumerate(places):
            assert i == k or not box.contains(at)
    assert place_names([QPointF(5, 5)], ["much too long a name"], [0], QRectF(0, 0, 20, 20)) == {}


def test_the_hull_goes_around_everything_once() -> None:
    corners = [(0.0, 0.0), (4.0, 0.0), (4.0, 3.0), (0.0, 3.0)]
    assert sorted(hull_of([*corners, (2.0, 1.0), (2.0, 0.0)])) == sorted(corners)
    assert hull_of([(1.0, 1.0), (1.0, 1.0)]) == [(1.0, 1.0)]


# plans and costs --------------------------------------------------------------------------------


def test_what_it_takes_is_shown_once_it_is_measured(setting: Setting, tmp_path) -> None:
    setting.estimator.at_once = False
    setting.open(tmp_path / "ms", made.report(made.people(10)))
    page = setting.page
    setting.until(lambda: bool(setting.estimator.asked))
    assert [job.plan for job in setting.estimator.asked[-1]] == ["time", "paper"]
    assert page.numbers.texts[0] == "… time"
    assert page.plans.rows["paper"].words.time == "measuring…"
    assert page.footer.says.text == "Measuring how fast this machine is…"
    for job in setting.estimator.asked[-1]:
        setting.estimator.answer(job)
    assert page.numbers.texts[:3] == ["1 h 58 time", "6.1 GB GPU memory", "480 MB disk"]
    assert page.plans.rows["paper"].words.time == "about 31 h"
    assert page.footer.says.text == "Measured here: 312 pairs per second on NVIDIA H200"


def test_what_is_known_is_not_measured_again(setting: Setting, tmp_path) -> None:
    setting.open(tmp_path / "ms", made.report(made.people(10)))
    setting.until(lambda: len(setting.estimator.asked) == 1)
    setting.control.minutes("60")
    setting.until(lambda: len(setting.estimator.asked) == 2)
    assert [job.minutes for job in setting.estimator.asked[1]] == [60.0]
    setting.control.minutes("120")
    setting.until(lambda: setting.control.settled)
    assert len(setting.estimator.asked) == 2


def test_the_plan_follows_the_data_until_one_is_chosen(setting: Setting, tmp_path) -> None:
    setting.open(tmp_path / "few", made.report(made.people(3)))
    assert setting.control.setup.plan == "fine-tune"
    assert setting.page.plans.rows["fine-tune"].isChecked()
    setting.open(tmp_path / "many", made.report(made.people(10)))
    assert setting.control.setup.plan == "time"
    setting.control.plan("quick")
    setting.open(tmp_path / "few", made.report(made.people(3)))
    assert setting.control.setup.plan == "quick"


def test_a_refused_measure_is_said_and_does_not_block(setting: Setting, tmp_path) -> None:
    setting.estimator.refusal = "No memory is left."
    setting.open(tmp_path / "ms", made.report(made.people(3)))
    setting.until(lambda: setting.page.footer.says.text == "No memory is left.")
    assert setting.page.footer.start.isEnabled()
    assert setting.page.plans.rows["paper"].words.time == "not measured"


def test_plans_are_chosen_by_key_and_a_time_is_typed(setting: Setting) -> None:
    plans = setting.page.plans
    QTest.keyClick(plans.rows["time"], Qt.Key.Key_Up)
    assert setting.control.setup.plan == "quick"
    assert plans.rows["quick"].isChecked()
    plans.minutes.setFocus()
    plans.minutes.selectAll()
    QTest.keyClicks(plans.minutes, "1 h 30 min")
    QTest.keyClick(plans.minutes, Qt.Key.Key_Return)
    assert (setting.control.setup.plan, setting.control.setup.minutes) == ("time", 90.0)
    plans.minutes.selectAll()
    QTest.keyClicks(plans.minutes, "soon")
    QTest.keyClick(plans.minutes, Qt.Key.Key_Return)
    assert "'soon' is no time" in setting.page.footer.says.text
    assert setting.control.setup.minutes == 90.0


def test_the_network_to_fine_tune_is_chosen(setting: Setting, tmp_path) -> None:
    plans = setting.page.plans
    assert plans.rows["fine-tune"].words.name == "Fine-tune crl-plus"
    plans.list_networks()
    names = [a.text() for a in plans.menu.actions() if a.text()]
    assert names == ["crl-plus", "crl-small", "Network file…"]
    plans.menu.actions()[1].trigger()
    plans.menu.close()
    assert (setting.control.setup.plan, setting.control.setup.start) == ("fine-tune", "crl-small")
    setting.control.loaded(tmp_path / "mine.safetensors")
    assert plans.rows["fine-tune"].words.name == "Fine-tune mine.safetensors"


def test_changed_settings_make_a_job_of_their_own(setting: Setting, tmp_path) -> None:
    setting.open(tmp_path / "ms", made.report(made.people(3)))
    setting.until(lambda: bool(setting.page._planned))
    setting.page.open_settings()
    sheet = setting.page.sheet
    assert sheet.values["batch"].text() == "6"
    sheet.values["batch"].setText("3")
    sheet.apply.click()
    job = setting.control.job()
    assert job.plan is None
    assert job.config == {"batch": 3, "crop": 96, "minutes": 120.0}
    setting.until(lambda: any(j.plan is None for js in setting.estimator.asked for j in js))
    setting.control.plan("quick")
    assert setting.control.job().config == {}


def test_changed_settings_wait_for_the_plan(setting: Setting, tmp_path) -> None:
    setting.estimator.at_once = False
    setting.open(tmp_path / "ms", made.report(made.people(3)))
    setting.control.settings({"batch": 3})
    setting.page.footer.start.click()
    assert setting.page.footer.says.text == NOT_PLANNED
    assert setting.started == []


def test_the_sheet_refuses_in_one_line(qtbot, themed) -> None:
    sheet = SettingsSheet({"batch": 4}, {"crop": 64})
    qtbot.addWidget(sheet)
    changed: list[dict] = []
    sheet.changed.connect(changed.append)
    assert sheet.refusal.text == "1 changed."
    sheet.values["batch"].setText("many")
    assert sheet.refusal.text == "'many' is no value for 'batch'. Type a whole number."
    assert not sheet.apply.isEnabled()
    sheet.reset.click()
    assert sheet.values["crop"].text() == "96"
    sheet.values["schedule"].setCurrentText("halving")
    sheet.apply.click()
    assert changed == [{"schedule": "halving"}]


def test_the_sheet_says_when_the_plan_is_not_known(qtbot, themed) -> None:
    sheet = SettingsSheet({}, {})
    qtbot.addWidget(sheet)
    assert NOT_YET in [
        label.text() for label in sheet.findChildren(type(sheet.body.itemAt(0).widget()))
    ]


# start ------------------------------------------------------------------------------------------


def test_start_hands_over_the_job_and_a_new_folder(setting: Setting, tmp_path) -> None:
    setting.open(tmp_path / "ms", made.report(made.people(10)))
    proposed = setting.control.setup.folder
    assert not proposed.exists()
    assert setting.page.footer.folder.text() == str(proposed)
    setting.page.footer.start.click()
    setting.until(lambda: bool(setting.started))
    job, folder = setting.started[0]
    assert folder == proposed
    assert (job.plan, job.minutes) == ("time", 120.0)
    assert job.data.datasets == (str(tmp_path / "ms"),)
    assert setting.estimator.cancelled > 0


def test_a_folder_that_exists_is_refused(setting: Setting, tmp_path) -> None:
    setting.open(tmp_path / "ms", made.report(made.people(3)))
    field_ = setting.page.footer.folder
    field_.selectAll()
    QTest.keyClicks(field_, str(tmp_path))
    QTest.keyClick(field_, Qt.Key.Key_Return)
    setting.until(lambda: "something already" in setting.page.footer.says.text)
    setting.page.footer.start.click()
    setting.until(lambda: not setting.control._tasks.busy)
    assert setting.started == []
    field_.selectAll()
    QTest.keyClicks(field_, str(tmp_path / "run"))
    QTest.keyClick(field_, Qt.Key.Key_Return)
    setting.until(lambda: "something already" not in setting.page.footer.says.text)
    setting.page.footer.start.click()
    setting.until(lambda: bool(setting.started))
    assert setting.started[0][1] == tmp_path / "run"


def test_cancel_is_passed_on(setting: Setting, qtbot) -> None:
    with qtbot.waitSignal(setting.page.cancelRequested):
        setting.page.footer.cancel.click()


# what shows -------------------------------------------------------------------------------------


def test_pictures_fill_in_and_the_page_is_painted_in_both_themes(
    setting: Setting, tmp_path, qapp
) -> None:
    report = made.report(made.people(3), [made.no_ti("sub-02")])
    setting.open(tmp_path / "ms", report)
    page = setting.page
    path = page.people.people.row(0).paths[0]
    picture = np.zeros((40, 30), np.float32)
    picture[5:35, 5:25] = 1.0
    page.set_picture(path, picture)
    grounds = []
    for name in ("dark", "light"):
        theme.apply_theme(qapp, name)
        shot = page.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
        grounds.append(shot.pixelColor(2, 2).name())
        box = page.people.visualRect(page.people.people.index(0))
        at = page.people.viewport().mapTo(page, box.topLeft() + QPoint(8 + 144 + 17, 24))
        assert shot.pixelColor(at).lightness() > 200
    assert grounds[0] != grounds[1]


def test_a_real_dataset_gives_rows_and_pictures(qtbot, themed, dataset) -> None:
    page = SetupPage()
    qtbot.addWidget(page)
    qtbot.addWidget(page.footer)
    control = TrainingSetupController(page, lambda job, run: None, estimator=FakeEstimator)
    try:
        control.dataset([dataset])
        paths = [dataset / f"sub-0{n}/anat" for n in (1, 2, 3)]
        wanted = [p for folder in paths for p in sorted(folder.glob("*.nii.gz"))]
        model = page.people.people
        qtbot.waitUntil(lambda: all(model.picture(p) is not None for p in wanted), timeout=PATIENCE)
        qtbot.waitUntil(lambda: control.setup.phase == "ready", timeout=PATIENCE)
        assert [r.title for r in rows(control.setup)] == ["Person 01", "Person 02", "Person 03"]
        assert [s.triple[1] for s in sequences(control.setup)] == [10.42, 104.2, 9.62]
    finally:
        control.closed()


def test_a_real_folder_of_images_becomes_a_dataset(qtbot, themed, tmp_path) -> None:
    plain_folder = tmp_path / "loose"
    plain_folder.mkdir()
    for number in (1, 2):
        for key, name in ((1, "T1W"), (7, "T2W")):
            scan = tiny_scan(PAPER_SEQUENCES[key], seed=number)
            image = nib.Nifti1Image(scan.data, scan.affine)
            nib.save(image, plain_folder / f"patient0{number}_study1_{name}.nii.gz")
    page = SetupPage()
    qtbot.addWidget(page)
    qtbot.addWidget(page.footer)
    control = TrainingSetupController(page, lambda job, run: None, estimator=FakeEstimator)
    try:
        control.dataset([plain_folder])
        qtbot.waitUntil(lambda: not page.form.isHidden(), timeout=PATIENCE)
        assert sorted(page.form.fields) == ["T1W", "T2W"]
        page.form.go.click()
        qtbot.waitUntil(lambda: control.setup.phase == "ready", timeout=PATIENCE)
        assert control.setup.datasets == (tmp_path / "loose_bids",)
        assert {row.times for row in rows(control.setup)} == {"nominal"}
    finally:
        control.closed()


# the child process ------------------------------------------------------------------------------

ANSWER = {
    "config": {"batch": 6}, "steps": 10, "seconds": 60.0, "pairs_per_second": 5.0,
    "memory_mb": 100.0, "disk_mb": 10.0, "device": "cpu", "precision": "fp32", "network": "crl",
    "n_parameters": 3, "people": {"train": 1, "validate": 0, "test": 0},
}  # fmt: skip


class Window:
    """Runs what is posted where it is told to."""

    def __init__(self) -> None:
        self.calls: list[Callable] = []
        self.came = threading.Condition()

    def post(self, call: Callable) -> None:
        with self.came:
            self.calls.append(call)
            self.came.notify_all()

    def take(self) -> None:
        with self.came:
            assert self.came.wait_for(lambda: bool(self.calls), 30)
            calls, self.calls = self.calls, []
        for call in calls:
            call()


def job(minutes: float = 5.0, **config) -> Job:
    return Job(config, DataConfig(datasets=("somewhere",)), None if config else "time", minutes)


def child(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_child_is_asked_and_its_answer_read() -> None:
    window, heard = Window(), []
    code = (
        "import json,sys;a=sys.argv[1:];d=json.load(open(a[a.index('--data')+1]));"
        "c=json.load(open(a[a.index('--config')+1]));"
        f"answer={ANSWER!r};answer['network']=d['datasets'][0];answer['config']=c;"
        "print(json.dumps(answer))"
    )
    estimator = Estimator(window.post, child(code))
    estimator.ask([job(batch=3)], lambda asked, found: heard.append(found))
    window.take()
    estimator.close()
    assert (heard[0].network, heard[0].config, heard[0].seconds) == ("somewhere", {"batch": 3}, 60)


def test_what_the_child_refuses_is_one_line() -> None:
    window, heard = Window(), []
    code = "import sys;sys.stderr.write('noise\\nscan.nii.gz ends early.\\n');sys.exit(1)"
    estimator = Estimator(window.post, child(code))
    estimator.ask([job()], lambda asked, found: heard.append(found.refusal))
    window.take()
    estimator.close()
    assert heard == ["scan.nii.gz ends early."]


def test_the_newest_request_wins_and_the_old_child_is_ended(tmp_path) -> None:
    window, heard = Window(), []
    code = (
        "import json,sys,time,pathlib;a=sys.argv[1:];"
        f"slow=a[a.index('--minutes')+1]=='5';p=pathlib.Path({str(tmp_path / 'began')!r});"
        "p.touch() if slow else None;time.sleep(600) if slow else None;"
        f"print(json.dumps({ANSWER!r}))"
    )
    estimator = Estimator(window.post, child(code))
    estimator.ask([job(5.0)], lambda asked, found: heard.append(asked.minutes))
    began = threading.Event()

    def look() -> None:
        while not (tmp_path / "began").exists() and not began.wait(0.02):
            pass
        began.set()

    watcher = threading.Thread(target=look)
    watcher.start()
    assert began.wait(30)
    watcher.join()
    estimator.ask([job(9.0)], lambda asked, found: heard.append(asked.minutes))
    while not heard:
        window.take()
    estimator.close()
    assert heard == [9.0]


def test_closing_ends_the_child() -> None:
    window, heard = Window(), []
    estimator = Estimator(window.post, child("import time;time.sleep(600)"))
    estimator.ask([job()], lambda asked, found: heard.append(found))
    estimator.close()
    for call in window.calls:
        call()
    assert heard == []


@pytest.mark.parametrize("said", ["", "no json", "[]", json.dumps({"config": {}})])
def test_an_answer_that_is_none(said: str) -> None:
    assert read_estimate(said).refusal


def test_a_command_that_is_not_there_is_told() -> None:
    window, heard = Window(), []
    estimator = Estimator(window.post, ["/nowhere/at/all"])
    estimator.ask([job()], lambda asked, found: heard.append(found.refusal))
    window.take()
    estimator.close()
    assert heard == ["The time could not be measured here."]


# files ------------------------------------------------------------------------------------------


def test_a_new_folder_is_never_an_old_one(tmp_path, monkeypatch) -> None:
    (tmp_path / "ms").mkdir()
    (tmp_path / "ms_prepared").mkdir()
    assert surveying.new_folder(tmp_path / "ms", "_prepared") == tmp_path / "ms_prepared-2"
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setattr(surveying, "documents", lambda: tmp_path / "docs")
    elsewhere = surveying.new_folder(tmp_path / "ms", "_prepared")
    assert elsewhere == tmp_path / "docs" / "training" / "ms_prepared"


def test_a_damaged_scan_gives_no_picture(tmp_path, dataset) -> None:
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"nothing")
    assert surveying.picture_of(bad) is None
    good = next(dataset.rglob("*.nii.gz"))
    picture = surveying.picture_of(good)
    assert picture.max() <= 1.0
    assert max(picture.shape) == surveying.PICTURE


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.text("abcxyz:", min_size=1, max_size=12), min_size=1, max_size=9),
       room=st.floats(10, 400))  # fmt: skip
def test_a_sentence_is_broken_at_a_word_and_nothing_of_it_is_lost(words, room, qapp) -> None:
    font, text = theme.font(12, 400), " ".join(words)
    first, second = in_two(text, font, room)
    assert " ".join(filter(None, (first, second))) == text
    if second:
        assert width_of(first, 12, 400) <= room
