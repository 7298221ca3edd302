"""Files that are written from the window replace no other without a word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtWidgets import QFileDialog

from crl_core.io import load, save
from crl_core.sequence import SequenceParameters
from crl_viewer import strings
from crl_viewer.controllers.naming import image_path, is_open, picture_path
from crl_viewer.views.dialogs import ScanQuestion
from tests.viewer.fakes import make_scan
from tests.viewer.window import Opened, with_card


@pytest.fixture
def ready(opened: Opened, monkeypatch) -> Opened:
    """A demo whose network has a card, so that it can be exported."""
    opened.demo()
    with_card(opened)
    return opened


def save_as(opened: Opened, monkeypatch, action: str, path: Path) -> dict:
    """Run an action and type a name into its file dialog; return how the dialog was asked."""
    asked: dict = {}

    def dialog(*args, **how) -> tuple[str, str]:
        asked.update(how)
        return str(path), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", dialog)
    opened.window.actions_by_id[action].trigger()
    return asked


def answer(opened: Opened, text: str) -> None:
    next(b for b in opened.window.question.buttons if b.text() == text).click()


def question(opened: Opened) -> str:
    row = opened.window.question
    return row.accessibleDescription() if row.isVisible() else ""


def test_an_image_is_replaced_only_after_an_answer(ready: Opened, monkeypatch) -> None:
    image = ready.folder / "T2.nii.gz"
    save(make_scan("mine", SequenceParameters(4500, 90)), image)
    before = image.read_bytes(), (ready.folder / "T2.json").read_bytes()
    asked = save_as(ready, monkeypatch, "export", ready.folder / "T2")
    assert question(ready) == "T2.nii.gz and T2.json exist already. Replace them?"
    # One question is enough, and ours covers both files.
    assert asked["options"] == QFileDialog.Option.DontConfirmOverwrite
    answer(ready, "Keep")
    assert ready.viewer.worker.join(20)
    assert (image.read_bytes(), (ready.folder / "T2.json").read_bytes()) == before
    save_as(ready, monkeypatch, "export", ready.folder / "T2")
    # What was on screen when it was asked for is written, whatever moves meanwhile.
    ready.window.panel.sliders.changed.emit(5000.0, 33.0, 0.0)
    answer(ready, "Replace")
    ready.until(lambda: image.read_bytes() != before[0])
    ready.until(lambda: (ready.folder / "T2.json").read_bytes() != before[1])
    assert load(image).synthetic
    assert load(image).parameters == SequenceParameters(5000, 90)


def test_a_sidecar_alone_is_asked_about_too(ready: Opened, monkeypatch) -> None:
    (ready.folder / "T2.json").write_text("{}")
    save_as(ready, monkeypatch, "export", ready.folder / "T2.nii")
    assert question(ready) == "T2.json exists already. Replace it?"
    answer(ready, "Keep")
    assert ready.viewer.worker.join(20)
    assert (ready.folder / "T2.json").read_text() == "{}"
    assert not (ready.folder / "T2.nii").exists()


@pytest.mark.parametrize("name", ["T2", "T2.nii.gz", "T2.nii"])
def test_files_of_a_scan_that_is_open_are_never_replaced(
    ready: Opened, monkeypatch, name: str
) -> None:
    image = ready.write("T2.nii.gz", SequenceParameters(4500, 90))
    ready.viewer.controllers.opening.open_paths([image])
    ready.until(lambda: [s.path for s in ready.store.state.scans] == [image])
    ready.until(ready.at_rest)
    before = image.read_bytes(), (ready.folder / "T2.json").read_bytes()
    save_as(ready, monkeypatch, "export", ready.folder / name)
    assert not question(ready)
    assert ready.store.state.banner == strings.KEPT.format(name=image_path(name).name)
    assert ready.viewer.worker.join(20)
    assert (image.read_bytes(), (ready.folder / "T2.json").read_bytes()) == before


def test_a_scan_that_was_opened_while_the_question_stood_is_kept(
    ready: Opened, monkeypatch
) -> None:
    image = ready.write("T2.nii.gz", SequenceParameters(4500, 90))
    before = image.read_bytes()
    save_as(ready, monkeypatch, "export", ready.folder / "T2")
    ready.store.update(scans=(*ready.store.state.scans, load(image)))
    answer(ready, "Replace")
    assert "belongs to a scan that is open" in ready.store.state.banner
    assert ready.viewer.worker.join(20)
    assert image.read_bytes() == before


def test_a_screenshot_is_replaced_only_after_an_answer(ready: Opened, monkeypatch) -> None:
    picture = ready.folder / "shot.png"
    picture.write_bytes(b"mine")
    save_as(ready, monkeypatch, "screenshot", ready.folder / "shot")
    assert question(ready) == "shot.png exists already. Replace it?"
    assert picture.read_bytes() == b"mine"
    answer(ready, "Replace")
    assert picture.read_bytes() != b"mine"
    save_as(ready, monkeypatch, "screenshot", ready.folder / "TE 2.5")
    assert (ready.folder / "TE 2.5.png").exists()


def test_names_are_completed_and_compared_as_files(tmp_path: Path) -> None:
    assert image_path("a/T2.1").name == "T2.1.nii.gz"
    assert image_path("T2.NII").name == "T2.NII"
    assert picture_path("shot.PNG").name == "shot.PNG"
    scan = replace(make_scan(), path=tmp_path / "T2.nii.gz")
    (tmp_path / "T2.nii.gz").touch()
    (tmp_path / "link.nii.gz").symlink_to(tmp_path / "T2.nii.gz")
    assert is_open([make_scan(), scan], tmp_path / "link.nii.gz")
    assert is_open([scan], tmp_path / "sub" / ".." / "T2.json")
    assert not is_open([scan], tmp_path / "T2b.nii.gz")


def test_a_question_that_makes_room_for_another_goes_its_way_back(opened: Opened) -> None:
    went: list[str] = []
    for name in ("first", "second"):
        do, leave = (lambda: went.append("done")), (lambda: went.append("back"))
        opened.window.ask(name, [("Do", True, do), ("Not", False, leave)])
    assert went == ["back"]
    assert question(opened) == "second"


def test_export_waits_until_every_source_can_be_read(opened: Opened) -> None:
    """The action that asks for times reaches whichever source has none."""
    known = [opened.write(f"{te}.nii", SequenceParameters(5000, te)) for te in (10, 90)]
    opened.viewer.controllers.opening.open_paths([*known, opened.write("bare.nii")])
    opened.until(lambda: bool(opened.window.findChildren(ScanQuestion)))
    opened.window.findChildren(ScanQuestion)[0].reject()
    opened.until(opened.at_rest)
    model = opened.store.state.model
    assert model is not None
    opened.store.update(model=replace(model, max_sources=2))
    assert opened.window.bar.export.isEnabled()
    opened.viewer.controllers.scans.toggle_source(2, True)
    assert opened.store.state.sources == (0, 2)
    assert not opened.window.bar.export.isEnabled()
    assert not opened.window.actions_by_id["export"].isEnabled()
    opened.window.actions_by_id["scan_times:source"].trigger()
    shown = [q for q in opened.window.findChildren(ScanQuestion) if q.isVisible()]
    assert [q.windowTitle() for q in shown] == ["bare"]
    shown[0]._answer(SequenceParameters(5000, 90), None)
    shown[0].reject()
    opened.until(lambda: opened.store.state.timeless is None)
    opened.until(lambda: opened.window.bar.export.isEnabled())
