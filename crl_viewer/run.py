"""Runs the window, or makes one picture of it and ends."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from PySide6.QtCore import QObject, QTimer
from PySide6.QtGui import QCursor
from PySide6.QtWidgets import QApplication

from crl_core.errors import CRLError
from crl_viewer import theme
from crl_viewer.app import Services, Viewer, install_hooks
from crl_viewer.commands import save_picture
from crl_viewer.controllers.readout import numbers_of
from crl_viewer.state.model import ViewerState
from crl_viewer.strings import APP_NAME

DEFAULT_SIZE = (1440, 900)
PATIENCE_MS = 180_000
"""A picture that has not come after so long will not come."""

VOLUME_MS = 30_000
"""For so long a picture waits for the numbers of the whole volume."""

SETTLE_MS = 120
"""From the last number to the picture: the time the window needs to paint it."""


def run(options: argparse.Namespace, services: Services | None = None) -> int:
    """Open the window as the command line says; return the exit code."""
    logging.basicConfig(format="crl-viewer: %(message)s", level=logging.WARNING)
    app = QApplication.instance() or QApplication(sys.argv[:1])
    assert isinstance(app, QApplication)
    app.setApplicationName(APP_NAME)
    viewer = Viewer(app, services)
    install_hooks(viewer)
    if options.theme:
        theme.apply_theme(app, options.theme)
    if options.size or options.screenshot or not viewer.settings.geometry:
        viewer.window.resize(*(options.size or DEFAULT_SIZE))
    viewer.window.asks = viewer.remembers = options.screenshot is None
    viewer.start(options.checkpoint)
    if options.demo:
        viewer.controllers.opening.open_demo(options.demo)
    elif options.files:
        viewer.controllers.opening.open_paths(
            options.files, options.source_params, options.series
        )
    shot = None
    if options.screenshot is not None:
        shot = Screenshot(viewer, options.screenshot, bool(options.demo or options.files))
    viewer.window.show()
    code = app.exec()
    viewer.close()
    return shot.code if shot is not None else code


class Screenshot(QObject):
    """Waits until the window has something to show, saves it and ends the program.

    Parameters
    ----------
    viewer
        What to take a picture of.
    path
        Where the PNG goes.
    scans
        Whether scans were asked for; if not, the picture shows the welcome page.
    """

    def __init__(self, viewer: Viewer, path: Path, scans: bool) -> None:
        super().__init__(viewer)
        self.code = 1
        self._viewer = viewer
        self._path = path
        self._scans = scans
        self._taking = False
        self._warm = False
        self._give_up_volume = False
        self._volume_end = QTimer(self, singleShot=True, interval=VOLUME_MS)
        self._volume_end.timeout.connect(self._without_volume)
        # Without a screen the pointer rests on the first menu, which would be drawn hovered.
        QCursor.setPos(viewer.window.mapToGlobal(viewer.window.rect().bottomRight()))
        self._look = QTimer(self, interval=50)
        self._look.timeout.connect(self._check)
        self._look.start()
        self._end = QTimer(self, singleShot=True, interval=PATIENCE_MS)
        self._end.timeout.connect(lambda: self._fail("no picture came in time"))
        self._end.start()

    def _check(self) -> None:
        state = self._viewer.store.state
        if self._taking:
            return
        if state.banner and not self._viewer.busy:
            self._fail(state.banner)
        elif self._complete():
            if self._scans and not self._warm:
                self._warm = True
                self._move_once()
                return
            self._taking = True
            QTimer.singleShot(SETTLE_MS, self._take)

    def _move_once(self) -> None:
        """Move TE and come back, so that the time in the picture is that of a usual update."""
        store, here = self._viewer.store, self._viewer.store.state.parameters

        def back(old: ViewerState, new: ViewerState) -> None:
            frame = new.current_frame
            if new.refusal or (frame is not None and frame.request.parameters != here):
                store.changed.disconnect(back)
                store.update(parameters=here)

        store.changed.connect(back)
        store.update(parameters=here.at(te=here.te + 1.0))

    def _complete(self) -> bool:
        state, window = self._viewer.store.state, self._viewer.window
        if self._viewer.busy:
            return False
        if not self._scans:
            return all(card.has_pictures() for card in window.welcome.cards.values())
        if state.source is not None and state.source.parameters is None:
            self._fail(
                f"{state.source.path or state.source.name}: TR, TE and TI are not known. "
                "Give them with --source-params TR,TE,TI."
            )
            return False
        if state.refusal:
            self._fail(state.refusal)
            return False
        frame = state.current_frame
        if frame is None or frame.request.parameters != state.parameters:
            return False
        if state.current_curve is None:
            return False
        if state.reference is None:
            return True
        compared = state.compared
        if compared is None or compared.request.image != frame.request.image:
            return False
        return not self._warm or self._volume_shown()

    def _volume_shown(self) -> bool:
        """Return whether the numbers of the volume are there, or too slow to wait for."""
        state = self._viewer.store.state
        if state.source is None or state.source.n_slices < 2 or self._give_up_volume:
            return True
        if not self._volume_end.isActive():
            self._volume_end.start()
        return numbers_of(state)[1] is not None

    def _without_volume(self) -> None:
        self._give_up_volume = True

    def _take(self) -> None:
        try:
            save_picture(self._viewer.window, self._path)
        except (CRLError, OSError) as refusal:
            self._fail(str(refusal))
            return
        self.code = 0
        self._finish()

    def _fail(self, line: str) -> None:
        sys.stderr.write(f"crl-viewer: {line}\n")
        self._finish()

    def _finish(self) -> None:
        self._look.stop()
        self._end.stop()
        QApplication.exit(self.code)
