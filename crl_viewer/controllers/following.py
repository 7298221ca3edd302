"""Runs work the user can watch on the window and stop there."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from crl_core.errors import Cancelled
from crl_viewer.strings import number
from crl_viewer.views.bases import ActivityView, ShellView
from crl_viewer.workers.tasks import Task, Tasks

Result = TypeVar("Result")


class Follow:
    """Starts tasks and shows each as a line with its progress and a way to stop it.

    Parameters
    ----------
    tasks
        Runs the work elsewhere.
    shell
        Shows the lines.
    """

    def __init__(self, tasks: Tasks, shell: ShellView) -> None:
        self.tasks = tasks
        self._shell = shell

    def run(
        self,
        text: str,
        job: Callable[[Task], Result],
        done: Callable[[Future[Result]], None],
        *,
        stopped: Callable[[], None] = lambda: None,
    ) -> Callable[[], None]:
        """Run `job` under a line of its own; returns what stops it.

        Parameters
        ----------
        text
            What is being done, ``{name}`` standing for what the job says of itself.
        job
            Gets its task, to tell how far it is and to ask whether to stop.
        done
            Gets the future on the GUI thread, unless the user stopped the work.
        stopped
            Called when it is stopped, or the work gives up by itself.
        """
        running: list[Task] = []

        def cancel() -> None:
            for task in running:
                task.cancel()
            view.end()
            stopped()

        def told(name: str | None, count: int, total: int) -> None:
            if name is not None:
                words[0] = text.replace("{name}", name)
            share = min(count / total, 1.0) if total > 1 else None
            counted = f" {number(count)} of {number(total)}" if share is not None else ""
            view.set_progress(words[0] + counted, share)

        def finished(future: Future[Result]) -> None:
            view.end()
            if isinstance(future.exception(), Cancelled):
                stopped()
            else:
                done(future)

        words = [text.replace(" {name}", "")]
        view: ActivityView = self._shell.activity(words[0], cancel)
        running.append(self.tasks.start(job, finished, told))
        return cancel
