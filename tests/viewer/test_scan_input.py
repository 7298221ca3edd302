"""From a folder, an archive or a dataset on disk to pictures in the real window."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QMimeData, QPoint, QSize, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDragLeaveEvent, QHelpEvent
from PySide6.QtWidgets import QApplication, QFileDialog, QLabel, QMenu, QToolTip, QWidget

from crl_core import demo
from crl_core.errors import Cancelled
from crl_core.io import save
from crl_core.scan import Scan
from crl_core.sequence import SequenceParameters
from crl_viewer.__main__ import parser
from crl_viewer.settings import Recent, load_settings
from crl_viewer.state import Aligned
from crl_viewer.views.dialogs import ScanQuestion, Table
from crl_viewer.views.series_dialog import SeriesDialog
from crl_viewer.workers.finding import Found
from tests.viewer.dicom_files import SECRETS, write_series, write_study, zipped
from tests.viewer.fakes import make_scan
from tests.viewer.window import Opened, drop

Key = Qt.Key


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return write_study(tmp_path / "study")


def chooser(opened: Opened) -> SeriesDialog:
    """Wait for the chooser and return it."""
    opened.until(lambda: bool(choosers(opened)))
    dialog = choosers(opened)[-1]
    opened.until(lambda: bool(dialog.model.offers()))
    return dialog


def choosers(opened: Opened) -> list[SeriesDialog]:
    return [d for d in opened.window.findChildren(SeriesDialog) if d.isVisible()]


def questions(opened: Opened) -> list[ScanQuestion]:
    return [q for q in opened.window.findChildren(ScanQuestion) if q.isVisible()]


def names(opened: Opened) -> list[str]:
    return [scan.name for scan in opened.store.state.scans]


def idle(opened: Opened) -> bool:
    return not opened.viewer.busy


# folders and archives -------------------------------------------------------------------------


def test_a_dropped_folder_is_chosen_from_by_keyboard_and_shows(
    opened: Opened, study: Path, qtbot
) -> None:
    drop(opened, study)
    dialog = chooser(opened)
    assert not dialog.isModal()
    assert "study holds 4 scans" in " ".join(w.text() for w in dialog.findChildren(QLabel))
    assert dialog.go.text() == "Open 2 scans"  # the two fast spin echo scans on one grid
    opened.until(lambda: not any(dialog.model.pending(row) for row in range(3)))
    assert dialog.model.picture(0) is not None
    qtbot.keyClick(dialog.list, Key.Key_Return)
    opened.until(opened.at_rest)
    assert names(opened) == ["t1_tse", "t2_tse"]
    source = opened.window.panes.source
    assert source.words().lines[0] == "t2_tse"
    assert source.image() is not None
    assert opened.window.panes.acquired.words().lines[0] == "t1_tse"


def test_the_picture_on_the_pane_is_the_one_in_the_files(opened: Opened, tmp_path: Path) -> None:
    write_series(tmp_path / "d", 3, "t2_tse")
    drop(opened, tmp_path / "d")
    opened.until(opened.at_rest)
    assert not choosers(opened)
    pane = opened.window.panes.source
    assert pane.plane is not None
    assert pane.words().letters["left"] == "R"
    shown, columns = pane.image(), pane.plane.shape_display[1]
    # The files have the brighter half at the patient's left, which is the right of the screen.
    assert shown[:, columns // 2 :].mean() > shown[:, : columns // 2].mean()


def test_an_archive_opens_like_its_folder_from_the_command_line_too(
    opened: Opened, study: Path, tmp_path: Path
) -> None:
    archive = zipped(study, tmp_path / "study.zip")
    options = parser().parse_args([str(archive), "--series", "4"])
    opened.viewer.controllers.opening.open_paths(options.files, series=options.series)
    opened.until(opened.at_rest)
    assert names(opened) == ["t2_tse"]
    assert not choosers(opened)


def test_folder_and_files_have_actions_of_their_own(
    opened: Opened, study: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a, **k: str(study / "1"))
    opened.window.actions_by_id["open_folder"].trigger()
    opened.until(lambda: names(opened) == ["t1_tse"])
    image = tmp_path / "t2.nii.gz"
    save(make_scan("t2", SequenceParameters(4500, 90), shape=(24, 20, 6)), image)
    picked = [str(p) for p in (*sorted((study / "2").iterdir()), image)]
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *a, **k: (picked, ""))
    opened.window.actions_by_id["open_files"].trigger()
    opened.until(lambda: names(opened) == ["t1_tse", "t2_tse", "t2"])


def test_a_mix_is_one_list_and_what_holds_nothing_one_line(
    opened: Opened, study: Path, tmp_path: Path, qtbot
) -> None:
    image = tmp_path / "mine.nii.gz"
    save(make_scan("mine", SequenceParameters(4500, 90)), image)
    notes = tmp_path / "notes.txt"
    notes.write_text("words")
    drop(opened, image, study, notes)
    dialog = chooser(opened)
    titles = [offer.title for offer in dialog.model.offers()]
    assert titles == ["mine", "t1_tse", "t2_tse", "flair_tse", "pd_tse"]
    assert opened.window.banner.text.startswith(f"{notes}: ")
    qtbot.keyClick(dialog.list, Key.Key_Escape)
    opened.until(lambda: not choosers(opened))
    assert names(opened) == []


def test_scans_on_different_grids_are_compared(opened: Opened, study: Path, qtbot) -> None:
    drop(opened, study)
    dialog = chooser(opened)
    qtbot.mouseClick(dialog.none, Qt.MouseButton.LeftButton)
    dialog.model.tick([1, 2], True)
    assert "2 different grids" in dialog.count.text
    dialog.go.click()
    opened.until(lambda: bool(questions(opened)))
    question = questions(opened)[0]
    assert (question.fields["tr"].text(), question.fields["te"].text()) == ("9000", "120")
    assert question.focusWidget() is question.fields["ti"]
    qtbot.keyClick(question.fields["ti"], Key.Key_Return)
    assert "not a time" in question.refusal.text()  # the header says inversion, so off is no guess
    qtbot.keyClicks(question.fields["ti"], "2500")
    qtbot.keyClick(question.fields["ti"], Key.Key_Return)
    opened.until(opened.at_rest)
    opened.until(lambda: "Resampled" in opened.window.panes.acquired.words().note[0])
    acquired = opened.store.state.acquired
    assert acquired is not None
    assert acquired.parameters == replace(acquired.parameters, tr=9000, te=120, ti=2500)
    assert "(0018,0080)" in acquired.origins["tr"].where
    assert acquired.origins["ti"].where == "typed in the window"


def test_only_bad_scans_are_a_list_of_reasons(opened: Opened, tmp_path: Path, qtbot) -> None:
    for n in (3, 4):
        write_series(tmp_path / "bad", n, f"t{n}", without=(2,))
    drop(opened, tmp_path / "bad")
    dialog = chooser(opened)
    assert not dialog.go.isEnabled()
    dialog.reject()


def test_the_only_series_with_a_gap_is_one_line_that_names_it(opened: Opened, study: Path) -> None:
    drop(opened, study / "4")
    opened.until(lambda: bool(opened.window.banner.text))
    banner = opened.window.banner.text
    assert banner.startswith(f"{study / '4'}: series 6 (pd_tse): gap of 8 mm")
    assert "\n" not in banner
    assert not choosers(opened)


# datasets -------------------------------------------------------------------------------------


def test_a_bids_dataset_asks_for_the_person_first(opened: Opened, tmp_path: Path, qtbot) -> None:
    root = tmp_path / "bids"
    for who, te in (("01", 90), ("02", 15)):
        folder = root / f"sub-{who}" / "anat"
        folder.mkdir(parents=True)
        save(make_scan("x", SequenceParameters(4500, te)), folder / f"sub-{who}_T2w.nii.gz")
    drop(opened, root)
    dialog = chooser(opened)
    assert dialog.people.count() == 2
    dialog.people.setFocus()
    qtbot.keyClick(dialog.people, Key.Key_Down)
    opened.until(
        lambda: bool(dialog.model.offers()) and dialog.model.offers()[0].timing.values["te"] == 15
    )
    qtbot.keyClick(dialog.people, Key.Key_Return)
    opened.until(opened.at_rest)
    assert names(opened) == ["T2w"]
    assert opened.store.state.source.parameters.te == 15
    recent = load_settings(opened.folder / "viewer.json").recent
    assert recent == (Recent(str(root / "sub-02" / "anat" / "sub-02_T2w.nii.gz")),)


# recent ---------------------------------------------------------------------------------------


def test_a_recent_opens_the_same_series_again(opened: Opened, study: Path) -> None:
    drop(opened, study)
    chooser(opened).go.click()
    opened.until(opened.at_rest)
    kept = load_settings(opened.folder / "viewer.json").recent
    assert kept == (Recent(str(study), ("3", "4")),)
    opened.window.actions_by_id["close_scans"].trigger()
    menu = opened.window.bar.menus["File"]
    menu.aboutToShow.emit()
    entries = next(a.menu() for a in menu.actions() if a.menu()).actions()
    assert entries[0].text() == "study   series 3 and 4"
    entries[0].trigger()
    opened.until(lambda: names(opened) == ["t1_tse", "t2_tse"])
    assert not choosers(opened)


def test_the_chooser_remembers_its_size(opened: Opened, study: Path) -> None:
    drop(opened, study)
    dialog = chooser(opened)
    dialog.resize(900, 560)
    dialog.reject()
    assert load_settings(opened.folder / "viewer.json").chooser == (900, 560)
    drop(opened, study)
    opened.until(lambda: bool(choosers(opened)))
    assert chooser(opened).size() == QSize(900, 560)
    chooser(opened).reject()


# what takes long ------------------------------------------------------------------------------


class Slow:
    """A search that goes on until it is told to stop or let go."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.started, self.go = threading.Event(), threading.Event()
        self.stopped = False

    def __call__(self, paths, watcher) -> Found:
        watcher.say(paths[0].name)
        watcher.progress(3, 12)
        self.started.set()
        while not self.go.wait(0.01):
            if watcher.cancelled():
                self.stopped = True
                raise Cancelled("the search was given up")
        return self.found


@pytest.fixture
def slow(opened: Opened) -> Slow:
    search = Slow(Found(refusals=("study: is done.",)))
    opened.viewer.controllers.opening._find = search
    return search


def test_a_long_search_shows_how_far_it_is_and_the_window_answers(
    opened: Opened, slow: Slow, qtbot
) -> None:
    opened.demo()
    drop(opened, Path("study"))
    opened.until(lambda: bool(opened.window.activities.rows()))
    (row,) = opened.window.activities.rows()
    assert row.words.text == "Looking into study… 3 of 12"
    assert row.bar.accessibleDescription() == "25 per cent"
    shown = opened.window.panes.source.image()
    qtbot.keyClick(opened.window, Key.Key_PageUp)
    opened.until(lambda: opened.window.panes.source.image() is not shown)
    slow.go.set()
    opened.until(lambda: opened.window.banner.text == "study: is done.")
    assert not opened.window.activities.rows()


def test_a_long_search_is_stopped_by_its_button(opened: Opened, slow: Slow, qtbot) -> None:
    drop(opened, Path("study"))
    opened.until(lambda: bool(opened.window.activities.rows()))
    (row,) = opened.window.activities.rows()
    qtbot.mouseClick(row.cancel, Qt.MouseButton.LeftButton)
    assert not opened.window.activities.rows()
    assert idle(opened)
    opened.until(lambda: slow.stopped)
    assert opened.window.banner.text == ""


def test_a_short_search_shows_no_line_at_all(opened: Opened, slow: Slow, qtbot) -> None:
    slow.go.set()
    drop(opened, Path("study"))
    opened.until(lambda: bool(opened.window.banner.text))
    assert not opened.window.activities.rows()


def test_closing_the_window_stops_a_search(opened: Opened, slow: Slow) -> None:
    drop(opened, Path("study"))
    assert slow.started.wait(20)
    opened.viewer.tasks.close()
    assert slow.stopped


# registration ---------------------------------------------------------------------------------


def half(moving: Scan, fixed: Scan, cancelled: Callable[[], bool]) -> Aligned:
    """Stand in for a registration: the source at half its brightness."""
    moved = replace(fixed, data=fixed.data * np.float32(0.5), name=moving.name)
    return Aligned(moved, np.ones(fixed.shape, bool), registered="rigid")


def test_the_acquired_scan_is_registered_from_the_menu_of_its_pane(opened: Opened, qtbot) -> None:
    opened.demo()
    opened.viewer.controllers.alignment._register = half
    pane = opened.window.panes.acquired
    before = pane.image()
    pane.open_menu()
    (menu,) = [m for m in pane.findChildren(QMenu) if m.isVisible()]
    action = opened.window.actions_by_id["register"]
    assert action in menu.actions()
    menu.close()
    qtbot.keyClick(opened.window, Key.Key_R, Qt.KeyboardModifier.ControlModifier)
    opened.until(lambda: opened.store.state.registered == "rigid")
    opened.until(opened.at_rest)
    assert action.isChecked()
    assert pane.image() is not before
    assert pane.words().note[0] == "Registered to the source, rigid"
    action.trigger()
    opened.until(lambda: opened.store.state.registered == "")
    assert not action.isChecked()
    np.testing.assert_array_equal(pane.image(), before)


def test_a_turned_head_is_brought_back_onto_the_source(opened: Opened) -> None:
    scans = demo.digital_subject()
    fixed, moving = scans[3], scans[0]
    turn = np.radians(6.0)
    moved = np.eye(4)
    moved[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    moved[:3, 3] = (7.0, -5.0, 3.0)
    astray = replace(moving, affine=moved @ moving.affine)

    def likeness() -> float:
        aligned = opened.store.state.alignment
        assert aligned is not None
        seen = aligned.covered & fixed.mask
        return float(np.corrcoef(aligned.scan.data[seen], moving.data[seen])[0, 1])

    opened.viewer.controllers.scans.add([fixed, astray])
    opened.until(lambda: opened.store.state.alignment is not None)
    assert likeness() < 0.9
    opened.window.actions_by_id["register"].trigger()
    opened.until(lambda: bool(opened.store.state.registered))
    assert likeness() > 0.98
    note = opened.window.panes.acquired.words().note[0]
    assert re.fullmatch(r"Registered to the source, rigid, (5\.9|6\.\d)°, \d+\.\d mm", note)
    covered = opened.store.state.alignment.covered
    assert 0.8 < covered.mean() < 1.0
    opened.until(opened.at_rest)


def test_two_heads_that_cannot_be_one_are_refused_in_the_banner(opened: Opened) -> None:
    scans = demo.digital_subject()
    rng = np.random.default_rng(1)
    noise = rng.uniform(0, 500, scans[0].shape).astype(np.float32)
    opened.viewer.controllers.scans.add([scans[3], replace(scans[0], data=noise, name="noise")])
    opened.window.actions_by_id["register"].trigger()
    opened.until(lambda: bool(opened.window.banner.text))
    assert "'noise' cannot be registered to '4 TE 63': " in opened.window.banner.text
    assert not opened.window.actions_by_id["register"].isChecked()
    opened.until(opened.at_rest)


def test_a_registration_is_a_line_that_can_be_stopped(opened: Opened, qtbot) -> None:
    opened.demo()
    stopped = threading.Event()

    def endless(moving: Scan, fixed: Scan, cancelled: Callable[[], bool]) -> Aligned:
        while not cancelled():
            stopped.wait(0.01)
        stopped.set()
        raise Cancelled("given up")

    opened.viewer.controllers.alignment._register = endless
    action = opened.window.actions_by_id["register"]
    action.trigger()
    assert not action.isEnabled()
    opened.until(lambda: bool(opened.window.activities.rows()))
    (row,) = opened.window.activities.rows()
    assert row.words.text == "Registering TE 90 to TE 10…"
    qtbot.mouseClick(row.cancel, Qt.MouseButton.LeftButton)
    assert stopped.wait(20)
    assert action.isEnabled()
    assert not action.isChecked()
    assert opened.store.state.registered == ""


# where values come from -----------------------------------------------------------------------


def hover(widget: QWidget, at: QPoint) -> str:
    """Rest the pointer there; return what the tooltip says."""
    QToolTip.hideText()
    QApplication.sendEvent(widget, QHelpEvent(QEvent.Type.ToolTip, at, widget.mapToGlobal(at)))
    return QToolTip.text()


def test_origins_stand_in_the_tooltip_and_in_the_facts(
    opened: Opened, tmp_path: Path, qtbot
) -> None:
    write_series(tmp_path / "d", 3, "t2_tse")
    drop(opened, tmp_path / "d")
    opened.until(opened.at_rest)
    pane = opened.window.panes.source
    tip = hover(pane, QPoint(40, 40))
    assert "TE 90 ms: DICOM (0018,0081) EchoTime" in tip
    assert "Echo train 12" in tip
    hover(pane, pane.rect().center())
    opened.until(lambda: QToolTip.text() == "")  # Qt lets a tooltip fade
    opened.window.actions_by_id["scan_facts:source"].trigger()
    (sheet,) = opened.window.findChildren(Table)
    said = " ".join(w.text() for w in sheet.findChildren(QLabel))
    for part in ("90 ms", "(0018,0081)", "24 × 20 × 6", "2 × 2 × 4 mm", "Series 3"):
        assert part in said.replace("Series", "Series").replace("\n", " "), part
    sheet.close()


def test_times_of_a_loaded_scan_can_be_typed_again(opened: Opened, qtbot) -> None:
    opened.demo()
    opened.window.actions_by_id["scan_times:acquired"].trigger()
    (question,) = questions(opened)
    question.fields["te"].setText("95")
    qtbot.keyClick(question.fields["te"], Key.Key_Return)
    opened.until(lambda: opened.store.state.acquired.parameters.te == 95)


# drag and drop --------------------------------------------------------------------------------


def test_the_window_shows_where_to_drop(opened: Opened, study: Path) -> None:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(study))])
    entering = QDragEnterEvent(
        QPoint(50, 50), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    opened.window.dragEnterEvent(entering)
    assert entering.isAccepted()
    assert opened.window.drop_hint.isVisible()
    opened.window.dragLeaveEvent(QDragLeaveEvent())
    assert not opened.window.drop_hint.isVisible()


# privacy --------------------------------------------------------------------------------------


def every_text(widget: QWidget) -> str:
    """Return all that a window says by any channel."""
    said = [widget.windowTitle(), widget.accessibleName(), widget.accessibleDescription()]
    for child in (widget, *widget.findChildren(QWidget)):
        for name in ("text", "toolTip", "accessibleName", "accessibleDescription", "windowTitle"):
            value = getattr(child, name, None)
            value = value() if callable(value) else value
            said.append(value if isinstance(value, str) else "")
    return " ".join(said)


def test_nobody_is_named_on_screen_in_settings_or_in_the_log(
    opened: Opened, study: Path, caplog, qtbot
) -> None:
    caplog.set_level(logging.DEBUG)
    drop(opened, study)
    dialog = chooser(opened)
    opened.until(lambda: not any(dialog.model.pending(row) for row in range(4)))
    dialog.model.tick([2], True)
    rows = [dialog.model.index(r) for r in range(dialog.model.rowCount())]
    roles = (Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole)
    said = [every_text(dialog), *(str(i.data(role)) for i in rows for role in roles)]
    dialog.go.click()
    opened.until(lambda: bool(questions(opened)))
    opened.until(opened.at_rest)
    opened.window.actions_by_id["scan_facts:source"].trigger()
    said += [every_text(w) for w in (opened.window, *opened.window.findChildren(Table))]
    panes = opened.window.panes.panes
    said += [hover(pane, QPoint(40, 40)) for pane in panes]
    said += [repr(pane.words()) for pane in panes]
    said += [opened.store.state.banner, caplog.text]
    said.append((opened.folder / "viewer.json").read_text())
    everything = " ".join(said)
    assert "t2_tse" in everything
    assert not [secret for secret in SECRETS if secret in everything]
    questions(opened)[0].reject()


def test_settings_hold_paths_and_keys_only(opened: Opened, study: Path) -> None:
    drop(opened, study)
    chooser(opened).go.click()
    opened.until(opened.at_rest)
    kept = json.loads((opened.folder / "viewer.json").read_text())
    assert kept["recent"] == [{"path": str(study), "series": ["3", "4"]}]
    assert "tse" not in json.dumps(kept)
