from __future__ import annotations

import sys
import threading
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from crl_core.card import Card
from crl_core.io import load, save
from crl_core.sequence import PRESETS, SequenceParameters
from crl_viewer import theme
from crl_viewer.__main__ import main, parser
from crl_viewer.app import install_hooks, report_failure
from crl_viewer.commands import save_picture
from crl_viewer.settings import Recent, load_settings
from crl_viewer.views.dialogs import ScanQuestion, Table
from tests.viewer.fakes import make_scan
from tests.viewer.window import Opened, drop, with_card

# start ----------------------------------------------------------------------------------------


def test_it_begins_with_the_welcome_page_and_its_pictures(opened: Opened) -> None:
    window = opened.window
    assert window.welcome.isVisible()
    assert not window.panel.isVisible()
    opened.until(lambda: all(c.has_pictures() for c in window.welcome.cards.values()))
    assert not window.bar.export.isEnabled()


def test_a_demo_card_leads_to_four_panes(opened: Opened, qtbot) -> None:
    card = opened.window.welcome.cards["real"]
    qtbot.mouseClick(card, Qt.MouseButton.LeftButton)
    opened.until(opened.at_rest)
    panes = opened.window.panes
    assert all(p.isVisible() and p.image() is not None for p in panes.panes)
    assert opened.window.panel.isVisible()
    assert ("SYNTHETIC", "accent") in panes.synthesised.words().badges
    assert opened.window.bar.export.isEnabled()


def test_the_welcome_page_can_be_reached_again_and_left(opened: Opened, qtbot) -> None:
    opened.demo()
    opened.window.actions_by_id["welcome"].trigger()
    assert opened.window.welcome.isVisible()
    opened.window.welcome.backRequested.emit()
    assert opened.window.panes.isVisible()


def test_thousands_of_moves_end_at_the_last_one_without_a_queue(opened: Opened) -> None:
    opened.demo()
    synthesizer = opened.opener.synthesizer
    before = len(synthesizer.calls)
    synthesizer.gate = threading.Event()
    sliders = opened.window.panel.sliders
    for te in np.linspace(10, 150, 1000):
        sliders.changed.emit(5000.0, float(te), 0.0)
    synthesizer.gate.set()
    opened.until(opened.at_rest)
    calls = synthesizer.calls[before:]
    assert calls[-1][0].te == 150
    assert len(calls) <= 3


def test_the_window_answers_while_the_network_is_busy(opened: Opened, qtbot) -> None:
    opened.demo()
    synthesizer = opened.opener.synthesizer
    synthesizer.gate = threading.Event()
    synthesizer.entered.clear()
    opened.window.panel.sliders.changed.emit(5000.0, 50.0, 0.0)
    assert synthesizer.entered.wait(20)
    source = opened.window.panes.source
    shown = source.image()
    opened.viewer.controllers.display.scrolled(1)
    assert source.image() is not shown
    synthesizer.gate.set()
    opened.until(opened.at_rest)


# mouse and keys -------------------------------------------------------------------------------


def test_dragging_te_changes_the_image_and_g_snaps(opened: Opened, qtbot) -> None:
    opened.demo()
    window = opened.window
    before = window.panes.synthesised.image().copy()
    track = window.panel.sliders.rows["te"].track
    middle = track.height() // 2
    qtbot.mousePress(track, Qt.MouseButton.LeftButton, pos=QPoint(track.width() // 2, middle))
    for x in range(track.width() // 2, 20, -10):
        qtbot.mouseMove(track, QPoint(x, middle))
    qtbot.mouseRelease(track, Qt.MouseButton.LeftButton, pos=QPoint(20, middle))
    opened.until(opened.at_rest)
    assert opened.store.state.parameters.te < 30
    assert not np.array_equal(window.panes.synthesised.image(), before)
    assert window.panes.error.words().note[0].startswith("Not like for like: TE −")
    qtbot.keyClick(window, Qt.Key.Key_G)
    opened.until(opened.at_rest)
    assert opened.store.state.parameters == SequenceParameters(5000, 90)
    assert window.panes.error.words().note[0] == ""
    assert window.actions_by_id["undo"].isEnabled()
    window.actions_by_id["undo"].trigger()
    assert opened.store.state.parameters.te < 30


@pytest.mark.parametrize(
    ("key", "name"), [(str(n), name) for n, name in enumerate(PRESETS, start=1)]
)
def test_number_keys_choose_presets(opened: Opened, qtbot, key: str, name: str) -> None:
    opened.demo()
    qtbot.keyClicks(opened.window, key)
    assert opened.store.state.parameters == PRESETS[name]
    assert opened.store.state.preset == name


def test_brackets_step_the_focused_parameter(opened: Opened, qtbot) -> None:
    opened.demo()
    te = opened.store.state.parameters.te
    qtbot.keyClicks(opened.window, "]")
    fine = opened.store.state.parameters.te
    opened.window.actions_by_id["step:far-up"].trigger()
    assert te < fine < opened.store.state.parameters.te


def test_keys_of_the_view(opened: Opened, qtbot) -> None:
    opened.demo()
    window = opened.window
    qtbot.keyClicks(window, "x")
    assert not opened.store.state.annotations
    qtbot.keyClicks(window, "i")
    low, high = window.panes.source.levels()
    assert low > high
    qtbot.keyClicks(window, "e")
    assert window.panes.maximised() is window.panes.error
    qtbot.keyClicks(window, "e")
    assert window.panes.maximised() is None
    index = opened.store.state.slice_index
    qtbot.keyClick(window, Qt.Key.Key_Up)
    qtbot.keyClick(window, Qt.Key.Key_PageUp)
    assert opened.store.state.slice_index == index + 2


def test_the_wheel_scrolls_all_panes_and_the_crosshair_reads_them(opened: Opened, qtbot) -> None:
    opened.demo()
    panes = opened.window.panes
    panes.source.scrolled.emit(1)
    opened.until(opened.at_rest)
    assert panes.synthesised.words().corner == panes.source.words().corner
    at = QPoint(panes.source.width() // 2 + 10, panes.source.height() // 2)
    qtbot.mouseClick(panes.acquired, Qt.MouseButton.LeftButton, pos=at)
    texts = opened.window.status.probe_texts()
    assert [t.split()[0] for t in texts[-4:]] == ["source", "synthesised", "acquired", "error"]


def test_a_right_drag_changes_the_shared_window_of_two_panes(opened: Opened, qtbot) -> None:
    opened.demo()
    panes = opened.window.panes
    own, shared = panes.source.levels(), panes.acquired.levels()
    pane = panes.synthesised
    centre = pane.rect().center()
    qtbot.mousePress(pane, Qt.MouseButton.RightButton, pos=centre)
    for step in range(10, 90, 10):
        qtbot.mouseMove(pane, centre + QPoint(step, 0))
    qtbot.mouseRelease(pane, Qt.MouseButton.RightButton, pos=centre + QPoint(80, 0))
    assert panes.acquired.levels() == panes.synthesised.levels() != shared
    assert panes.source.levels() == own


def test_a_still_right_click_opens_a_menu_of_working_actions(opened: Opened, qtbot) -> None:
    opened.demo()
    pane = opened.window.panes.error
    qtbot.mouseClick(pane, Qt.MouseButton.RightButton, pos=pane.rect().center())
    menus = [m for m in opened.window.findChildren(QMenu) if m.isVisible()]
    assert any("Match gain in the error map" in [a.text() for a in m.actions()] for m in menus)
    for menu in menus:
        menu.close()


def test_time_to_the_painted_picture_is_on_the_status_line(opened: Opened) -> None:
    opened.demo()
    opened.window.panel.sliders.changed.emit(5000.0, 50.0, 0.0)
    opened.until(lambda: any("ms per update" in t for t in opened.window.status.left_texts()))
    assert "exact" in opened.window.status.left_texts()


def test_source_and_reference_menus(opened: Opened) -> None:
    opened.demo()
    panes = opened.window.panes
    panes.source.menuChosen.emit(1)
    opened.until(opened.at_rest)
    assert opened.store.state.sources == (1,)
    assert panes.source.words().lines[0] == "TE 90"
    assert panes.acquired.words().lines[0] == "TE 10"


def test_sources_are_ticked_behind_the_title(opened: Opened, qtbot) -> None:
    """One that is compared with is left out, and the menu says so."""
    opened.demo()
    model = opened.store.state.model
    assert model is not None
    opened.store.update(model=replace(model, max_sources=2))
    pane = opened.window.panes.source
    first, compared = opened.store.state.sources[0], opened.store.state.reference
    assert compared is not None
    pane.open_menu()
    menu = next(m for m in pane.findChildren(QMenu) if m.isVisible())
    box = menu.actionGeometry(menu.actions()[compared]).topLeft() + QPoint(10, 8)
    qtbot.mouseClick(menu, Qt.MouseButton.LeftButton, pos=box)
    assert opened.store.state.ticked == (first, compared)
    opened.window.panes.acquired.menuChosen.emit(compared)
    assert opened.store.state.reference == compared
    assert opened.store.state.left_out == (compared,)
    assert "left out" in menu.actions()[compared].text()
    assert menu.actions()[compared].isChecked()
    menu.close()
    opened.until(opened.at_rest)


def test_several_sources_through_the_menu(opened: Opened) -> None:
    opened.viewer.controllers.opening.open_paths(
        [opened.write(f"{te}.nii", SequenceParameters(5000, te)) for te in (10, 50, 90)]
    )
    opened.until(opened.at_rest)
    model = opened.store.state.model
    assert model is not None
    opened.store.update(model=replace(model, max_sources=2))
    menu = next(a.menu() for a in opened.window.bar.menus["Model"].actions() if a.menu())
    opened.window.bar.menus["Model"].aboutToShow.emit()
    entry = menu.actions()[1]
    entry.trigger()
    opened.until(opened.at_rest)
    assert opened.store.state.sources == (0, 1)
    assert "and 1 more source" in opened.window.panes.source.words().lines
    opened.viewer.controllers.scans.choose_reference(1)
    opened.window.bar.menus["Model"].aboutToShow.emit()
    entry = menu.actions()[1]
    assert entry.isChecked()
    assert "left out: compared with" in entry.text()
    assert opened.store.state.sources == (0,)


# files ----------------------------------------------------------------------------------------


def test_dropped_files_open_and_are_remembered(opened: Opened) -> None:
    paths = [opened.write(f"{te}.nii.gz", SequenceParameters(5000, te)) for te in (10, 90)]
    drop(opened, *paths)
    opened.until(opened.at_rest)
    assert len(opened.store.state.scans) == 2
    kept = load_settings(opened.folder / "viewer.json").recent
    assert kept == (Recent(str(paths[1])), Recent(str(paths[0])))


def test_a_damaged_file_is_one_line_in_place(opened: Opened) -> None:
    path = opened.folder / "cut.nii.gz"
    whole = opened.write("whole.nii.gz", SequenceParameters(5000, 10))
    path.write_bytes(whole.read_bytes()[:-300])
    drop(opened, path, whole)
    opened.until(opened.at_rest)
    banner = opened.window.banner
    assert banner.isVisible()
    assert "cut.nii.gz" in banner.text
    assert "\n" not in banner.text
    banner.closed.emit()
    assert not banner.isVisible()


def test_unknown_parameters_are_asked_for_without_blocking(opened: Opened, qtbot) -> None:
    drop(opened, opened.write("bare.nii"))
    opened.until(lambda: bool(opened.window.findChildren(ScanQuestion)))
    question = opened.window.findChildren(ScanQuestion)[0]
    assert not question.isModal()
    assert opened.window.panes.source.image() is not None
    question.fields["tr"].setText("5000")
    question.fields["te"].setText("ten")
    qtbot.keyClick(question.fields["te"], Qt.Key.Key_Return)
    assert "not a time" in question.refusal.text()
    question.fields["te"].setText("10")
    qtbot.keyClick(question.fields["te"], Qt.Key.Key_Return)
    opened.until(opened.at_rest)
    source = opened.store.state.source
    assert source is not None
    assert source.parameters == SequenceParameters(5000, 10)


def test_impossible_parameters_are_refused_in_the_question(opened: Opened, qtbot) -> None:
    question = ScanQuestion("f", parameters=True, volumes=1, answer=lambda *a: None)
    qtbot.addWidget(question)
    for key, text in (("tr", "900"), ("te", "20"), ("ti", "1000")):
        question.fields[key].setText(text)
    qtbot.keyClick(question.fields["ti"], Qt.Key.Key_Return)
    assert "TR 900 ms is too short" in question.refusal.text()


def test_a_preset_fills_the_question(qtbot, themed) -> None:
    answers: list[tuple] = []
    question = ScanQuestion(
        "f", parameters=True, volumes=3, answer=lambda *a: answers.append(a)
    )
    qtbot.addWidget(question)
    row = 1 + list(PRESETS).index("T2w")
    question.preset.setCurrentIndex(row)
    question.preset.activated.emit(row)
    question.volume.setCurrentIndex(2)
    qtbot.keyClick(question.fields["tr"], Qt.Key.Key_Return)
    assert answers == [(PRESETS["T2w"], 2)]


def test_a_volume_of_four_dimensions_can_be_changed(opened: Opened) -> None:
    first = make_scan().data
    data = np.stack([first, first * 2, first[::-1]], axis=3)
    path = opened.folder / "four.nii"
    nib.save(nib.Nifti1Image(data, np.diag([1, 1, 4, 1])), path)
    drop(opened, path)
    opened.until(lambda: bool(opened.window.findChildren(ScanQuestion)))
    question = opened.window.findChildren(ScanQuestion)[0]
    assert question.volume.count() == 3
    question._answer(SequenceParameters(5000, 10), 2)
    opened.until(opened.at_rest)
    source = opened.store.state.source
    assert source is not None
    np.testing.assert_array_equal(source.data, first[::-1])
    question.reject()


def test_parameters_of_the_command_line_serve_only_where_there_are_none(
    opened: Opened, tmp_path: Path
) -> None:
    given = SequenceParameters(100, 1)
    save(make_scan("a", SequenceParameters(5000, 10)), tmp_path / "a.nii")
    save(make_scan("b", None), tmp_path / "b.nii")
    opened.viewer.controllers.opening.open_paths(
        [tmp_path / "a.nii", tmp_path / "b.nii"], [given, given]
    )
    opened.until(lambda: len(opened.store.state.scans) == 2)
    stated, scan = opened.store.state.scans
    assert stated.parameters == SequenceParameters(5000, 10)
    assert scan.parameters == given
    assert scan.origins["tr"].certainty == "given"


def test_export_writes_what_the_pane_shows(opened: Opened, monkeypatch) -> None:
    opened.demo()
    with_card(opened)
    path = opened.folder / "out"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a, **k: (str(path), ""))
    opened.window.actions_by_id["export"].trigger()
    opened.until((opened.folder / "out.json").exists)
    assert not opened.window.banner.text
    index, axis = opened.store.state.slice_index, 2
    pane = opened.window.panes.synthesised
    back = load(path.with_name("out.nii.gz")).slice(index, axis)
    np.testing.assert_array_equal(pane.plane.to_display(back), pane.image())


# layout, settings, failures -------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1280, 800), (1440, 900), (2560, 1440), (1050, 640)])
def test_no_size_overflows(opened: Opened, size: tuple[int, int]) -> None:
    opened.demo()
    window = opened.window
    window.resize(*size)
    opened.until(lambda: (window.width(), window.height()) == size)
    assert window.panel.isVisible() is (size[0] >= 1100)
    assert window.panel.signal.folded is (size[1] < 860)
    assert window.panel.against.folded is (size[1] < 760)
    if window.panel.isVisible():
        opened.until(lambda: window.panel.geometry().right() == window.width() - 1)
        assert window.panel.verticalScrollBar().maximum() == 0
    assert window.panes.width() >= 600


def test_the_panel_can_be_closed_and_opened(opened: Opened) -> None:
    opened.demo()
    action = opened.window.actions_by_id["side_panel"]
    action.trigger()
    assert not opened.window.panel.isVisible()
    action.trigger()
    assert opened.window.panel.isVisible()


def test_a_change_of_theme_is_remembered_and_leaves_images_alone(opened: Opened) -> None:
    opened.demo()
    picture = opened.window.panes.source.image()
    opened.window.actions_by_id["theme"].trigger()
    assert theme.current().name == "light"
    assert opened.window.panes.source.image() is picture
    assert load_settings(opened.folder / "viewer.json").theme == "light"


def test_sheets_open_once_and_are_not_modal(opened: Opened) -> None:
    for name in ("shortcuts", "about", "shortcuts"):
        opened.window.actions_by_id[name].trigger()
    sheets = opened.window.findChildren(Table)
    assert sorted(s.windowTitle() for s in sheets) == ["CRL Explorer", "Keyboard and mouse"]
    assert not any(s.isModal() for s in sheets)
    for sheet in sheets:
        sheet.close()


def test_a_sheet_is_about_the_network_in_use(opened: Opened) -> None:
    opened.until(lambda: opened.store.state.ready)
    model = opened.store.state.model
    assert model is not None
    for name, digit in (("old", "a"), ("new", "b")):
        card = Card(name, "crl-small", {"kind": "ratio"}, "robust", None, model.coverage, {}, {})
        card = replace(card, sha256=digit * 64)
        opened.store.update(model=replace(model, name=name, card=card, sha256=card.sha256))
        for action in ("model_card", "about", "model_card"):
            opened.window.actions_by_id[action].trigger()
    sheets = opened.window.findChildren(Table)
    assert sorted(s.windowTitle() for s in sheets) == ["CRL Explorer"] * 2 + ["new", "old"]
    for sheet in sheets:
        sheet.close()


def test_the_same_checkpoint_chosen_again_is_read_again(opened: Opened, monkeypatch) -> None:
    opened.demo()
    for name in ("net.safetensors", "bad.safetensors"):
        path = opened.folder / name
        chosen = (str(path), "")
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a, c=chosen, **k: c)
        for times in (1, 2):
            opened.window.actions_by_id["open_checkpoint"].trigger()
            opened.until(lambda p=path, n=times: opened.opener.opened.count(p) == n)
    opened.until(lambda: opened.store.state.model_phase == "failed")


def test_ticks_add_up_while_the_network_is_loading(opened: Opened) -> None:
    opened.demo()
    opened.store.update(model_phase="loading")
    opened.window.sourceToggled.emit(1, True)
    assert opened.store.state.ticked == (0, 1)
    opened.store.update(model_phase="ready")
    assert opened.store.state.ticked == (0,)
    menu = next(a.menu() for a in opened.window.bar.menus["Model"].actions() if a.menu())
    opened.window.bar.menus["Model"].aboutToShow.emit()
    assert [a.isChecked() for a in menu.actions()] == [True, False]


def test_an_unexpected_failure_is_one_line_without_its_text(opened: Opened, monkeypatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr("threading.excepthook", lambda args: None)
    install_hooks(opened.viewer)
    try:
        raise ValueError("patient name inside")
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    opened.until(lambda: opened.window.banner.isVisible())
    assert "ValueError in test_main_window.py" in opened.window.banner.text
    assert "patient" not in opened.window.banner.text


def test_a_failing_worker_reports_and_goes_on(opened: Opened) -> None:
    opened.demo()
    opened.opener.synthesizer.refuse = RuntimeError("inside")  # type: ignore[assignment]
    opened.window.panel.sliders.changed.emit(5000.0, 50.0, 0.0)
    opened.until(lambda: "RuntimeError" in opened.window.banner.text)
    opened.opener.synthesizer.refuse = None
    opened.window.panel.sliders.changed.emit(5000.0, 60.0, 0.0)
    opened.until(opened.at_rest)


def test_report_names_the_place_only() -> None:
    try:
        int("secret")
    except ValueError as error:
        line = report_failure(error)
    assert "secret" not in line
    assert "ValueError in test_main_window.py" in line


def badge_is_there(picture: QImage, window: QWidget, pane: QWidget) -> bool:
    """Return whether the accent of a badge stands at the top right of a pane in a picture."""
    corner = pane.mapTo(window, QPoint(pane.width(), 0))
    wanted = theme.ON_IMAGE.accent.rgb()
    found = sum(
        picture.pixel(x, y) == wanted
        for x in range(corner.x() - 110, corner.x())
        for y in range(corner.y() + 10, corner.y() + 34)
    )
    return found > 100


@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("layout", ["four", "main", "synthesised", "error"])
def test_no_picture_of_a_synthesised_image_lacks_its_mark(
    opened: Opened, tmp_path: Path, layout: str, words: bool
) -> None:
    opened.demo()
    panes = opened.window.panes
    made = (panes.synthesised, panes.error)
    opened.store.update(annotations=words)
    if layout in ("synthesised", "error"):
        panes.toggle_maximised(getattr(panes, layout))
    else:
        panes.set_layout(layout)
    path = tmp_path / "shot.png"
    save_picture(opened.window, path)
    picture = QImage(str(path))
    shown = [pane for pane in made if pane.isVisible()]
    assert shown
    for pane in shown:
        assert badge_is_there(picture, opened.window, pane)
    for pane in (panes.source, panes.acquired):
        assert not pane.isVisible() or not badge_is_there(picture, opened.window, pane)


def test_a_picture_is_written_atomically(opened: Opened, tmp_path: Path) -> None:
    path = tmp_path / "shot.png"
    path.write_bytes(b"old")
    save_picture(opened.window, path)
    assert QImage(str(path)).width() == 1280
    assert not list(tmp_path.glob("*.tmp*"))


# command line ---------------------------------------------------------------------------------


def test_the_command_line_is_understood() -> None:
    options = parser().parse_args(
        ["a.nii", "b.nii", "--source-params", "5000,10", "--size", "1280x800", "--theme", "light"]
    )
    assert options.files == [Path("a.nii"), Path("b.nii")]
    assert options.source_params == [SequenceParameters(5000, 10)]
    assert options.size == (1280, 800)
    assert parser().parse_args(["--demo"]).demo == "real"


@pytest.mark.parametrize(
    "wrong", [["--size", "big"], ["--source-params", "x"], ["--demo", "other"], ["--size", "1x1"]]
)
def test_wrong_usage_ends_with_2(wrong: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main(wrong)
    assert end.value.code == 2
    assert "usage" in capsys.readouterr().err
