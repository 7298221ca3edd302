"""The small pictures of scans on the Set-up page, drawn away from the GUI thread and kept."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from crl_core.errors import CRLError
from crl_core.scan import FloatArray
from crl_viewer.controllers.training_setup_view import SetupView
from crl_viewer.state.training_setup import Setup, rows
from crl_viewer.workers import surveying
from crl_viewer.workers.tasks import Task, Tasks

PICTURES = 4
"""So many scans of a visit get a picture."""


class Pictures:
    """Draws what the page has not shown yet; newer wishes end older ones.

    Parameters
    ----------
    view
        The page.
    tasks
        Where pictures are drawn.
    """

    def __init__(self, view: SetupView, tasks: Tasks) -> None:
        self._view, self._tasks = view, tasks
        self._known: dict[Path, FloatArray | None] = {}
        self._drawing: Task | None = None

    def draw(self, setup: Setup) -> None:
        """Show the pictures of all visits, as they come."""
        wanted = [p for row in rows(setup) for p in row.paths[:PICTURES]]
        for path in wanted:
            if path in self._known:
                self._view.set_picture(path, self._known[path])
        missing = [path for path in wanted if path not in self._known]
        if self._drawing is not None:
            self._drawing.cancel()
            self._drawing = None
        if missing:
            self._drawing = self._tasks.start(partial(self._draw, missing), _raise_anything_else)

    def _draw(self, paths: Sequence[Path], task: Task) -> None:
        def found(path: Path, picture: FloatArray | None) -> None:
            task.deliver(lambda: self._came(path, picture))

        surveying.deliver_pictures(paths, found, task)

    def _came(self, path: Path, picture: FloatArray | None) -> None:
        self._known[path] = picture
        self._view.set_picture(path, picture)


def _raise_anything_else(future: Future[None]) -> None:
    error = future.exception()
    if error is not None and not isinstance(error, CRLError):
        raise error
