"""What every test of the window gets: no display, no leaks, nothing in the user's home."""

from __future__ import annotations

import os

os.environ["QT_QPA_PLATFORM"] = "offscreen"

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QSettings, QStandardPaths, QThread
from PySide6.QtWidgets import QApplication, QWidget
from shiboken6 import isValid

from crl_viewer import theme
from tests.viewer.window import viewer_on_screen  # noqa: F401 - a fixture for every test

_HOMES = (
    "HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "XDG_CONFIG_HOME", "XDG_CACHE_HOME",
    "XDG_DATA_HOME", "XDG_STATE_HOME",
)  # fmt: skip


@pytest.fixture(autouse=True)
def settings_elsewhere(tmp_path_factory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a home of its own, so that no setting of the user is read or written."""
    home = tmp_path_factory.mktemp("home")
    for name in _HOMES:
        monkeypatch.setenv(name, str(home))
    monkeypatch.setattr("crl_viewer.settings.user_config_path", lambda *a, **k: home / "settings")
    QStandardPaths.setTestModeEnabled(True)
    for kind in (QSettings.Format.NativeFormat, QSettings.Format.IniFormat):
        QSettings.setPath(kind, QSettings.Scope.UserScope, str(home))
    return home


def _widgets() -> list[QWidget]:
    app = QApplication.instance()
    if not isinstance(app, QApplication):
        return []
    return [w for w in app.topLevelWidgets() if w.parent() is None]


def _new_widgets(before: set[int]) -> list[QWidget]:
    """Top-level widgets that were not there before, once what is due to go has gone."""
    leaked = [w for w in _widgets() if id(w) not in before]
    if leaked:
        del leaked
        gc.collect()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QCoreApplication.processEvents()
    return [w for w in _widgets() if id(w) not in before]


@pytest.fixture(autouse=True)
def nothing_left_behind(
    settings_elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Fail a test that leaves a top-level widget or a running thread."""
    before = set(map(id, _widgets()))
    threads: list[QThread] = []
    start = QThread.start

    def watched(thread: QThread, *args) -> None:
        threads.append(thread)
        start(thread, *args)

    monkeypatch.setattr(QThread, "start", watched)
    yield
    leaked = _new_widgets(before)
    names = [f"{type(w).__name__} '{w.objectName()}'" for w in leaked]
    for widget in leaked:
        widget.close()
        widget.deleteLater()
    running = [repr(t) for t in threads if isValid(t) and t.isRunning()]
    assert not names, f"top-level widgets left behind: {names}"
    assert not running, f"threads still running: {running}"


@pytest.fixture
def themed(qapp: QApplication) -> Iterator[QApplication]:
    """The application in the dark theme, and back in it after the test."""
    theme.set_text_scale(qapp, 1.0)
    theme.apply_theme(qapp, "dark")
    yield qapp
    theme.set_text_scale(qapp, 1.0)
    theme.apply_theme(qapp, "dark")


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, float, float]]:
    """Everything written on an image: (text, colour, x, middle), in the order of painting."""
    from crl_viewer.views import error_pane, overlay, pane

    said: list[tuple[str, str, float, float]] = []
    write = overlay.halo_text

    def listening(painter, x, middle, text, font, colour, *align):
        box = write(painter, x, middle, text, font, colour, *align)
        if text:
            said.append((text, colour.name(), box.left(), middle))
        return box

    for module in (overlay, pane, error_pane):
        monkeypatch.setattr(module, "halo_text", listening)
    return said
