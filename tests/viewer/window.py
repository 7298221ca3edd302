"""A real viewer on the screen with a fake network behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent

from crl_core.card import Card
from crl_core.io import save
from crl_core.sequence import SequenceParameters
from crl_viewer.app import Services, Viewer
from tests.viewer.fakes import FakeOpener, make_scan

PATIENCE = 20_000


class Opened:
    """A viewer with what stands behind it."""

    def __init__(self, viewer: Viewer, opener: FakeOpener, wait: Callable, folder: Path) -> None:
        self.viewer = viewer
        self.window = viewer.window
        self.store = viewer.store
        self.opener = opener
        self.wait = wait
        self.folder = folder

    def until(self, condition: Callable[[], bool]) -> None:
        self.wait(condition, timeout=PATIENCE)

    def at_rest(self) -> bool:
        state = self.store.state
        frame, compared = state.current_frame, state.compared
        if self.viewer.busy or frame is None or frame.request.parameters != state.parameters:
            return False
        if frame.request.index != state.slice_index:
            return False
        if state.reference is None:
            return True
        return compared is not None and compared.request.image == frame.request.image

    def demo(self) -> None:
        """Open the demo, with the short TE as the source and the long one to compare with."""
        self.viewer.controllers.opening.open_demo("real")
        self.until(self.at_rest)
        self.viewer.controllers.scans.choose_source(0)
        self.viewer.controllers.parameters.go(SequenceParameters(5000, 90))
        self.viewer.controllers.windows.rested()
        self.until(self.at_rest)

    def write(self, name: str, parameters: SequenceParameters | None = None, **how) -> Path:
        path = self.folder / name
        save(make_scan(name, parameters, **how), path)
        return path


@pytest.fixture(name="opened")
def viewer_on_screen(qtbot, themed, tmp_path: Path) -> Iterator[Opened]:
    opener = FakeOpener()
    demos = {
        "real": lambda: [
            make_scan("TE 10", SequenceParameters(5000, 10)),
            make_scan("TE 90", SequenceParameters(5000, 90), top=400.0),
        ],
        "digital": lambda: [make_scan("PD", SequenceParameters(8000, 10))],
    }
    services = Services(
        opener=opener,
        peek=lambda path: None,
        demos=demos,
        settings_path=tmp_path / "viewer.json",
    )
    viewer = Viewer(themed, services)
    qtbot.addWidget(viewer.window)
    viewer.window.resize(1280, 800)
    viewer.window.show()
    viewer.window.activateWindow()
    qtbot.waitUntil(viewer.window.isActiveWindow)  # shortcuts only work in the active window
    viewer.start()
    yield Opened(viewer, opener, qtbot.waitUntil, tmp_path)
    if opener.synthesizer.gate is not None:
        opener.synthesizer.gate.set()
    viewer.window.close()
    viewer.close()
    viewer.deleteLater()


def drop(opened: Opened, *paths: Path) -> None:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(p)) for p in paths])
    event = QDropEvent(
        QPointF(5, 5), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    opened.window.dropEvent(event)


def with_card(opened: Opened) -> None:
    """Give the window's network a card, so that what it makes can be exported."""
    model = opened.store.state.model
    assert model is not None
    card = Card("fake", "crl-small", {"kind": "ratio"}, "robust", None, model.coverage, {}, {})
    opened.store.update(model=replace(model, card=card))
