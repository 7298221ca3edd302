from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from crl_viewer.workers.tasks import Task, Tasks

SOON = 20


class Window:
    """Collects what is posted, as the thread of the window would, and runs it when asked."""

    def __init__(self) -> None:
        self._calls: list[Callable[[], None]] = []
        self._came = threading.Condition()

    def post(self, call: Callable[[], None]) -> None:
        with self._came:
            self._calls.append(call)
            self._came.notify_all()

    def run(self, until: Callable[[], bool]) -> None:
        """Run what was posted until the condition holds."""
        while not until():
            with self._came:
                assert self._came.wait_for(lambda: bool(self._calls), SOON)
                calls, self._calls = self._calls, []
            for call in calls:
                call()

    def drain(self) -> None:
        with self._came:
            calls, self._calls = self._calls, []
        for call in calls:
            call()


@pytest.fixture
def window() -> Window:
    return Window()


@pytest.fixture
def tasks(window: Window) -> Iterator[Tasks]:
    made = Tasks(window.post)
    yield made
    made.close()


def test_a_result_arrives_on_the_thread_that_asks(window: Window, tasks: Tasks) -> None:
    got: list[tuple[int, str]] = []
    here = threading.current_thread().name
    tasks.start(lambda task: 7, lambda f: got.append((f.result(), threading.current_thread().name)))
    assert tasks.busy
    window.run(lambda: bool(got))
    assert got == [(7, here)]
    assert not tasks.busy


def test_progress_is_thinned_out_but_the_last_step_always_arrives(
    window: Window, tasks: Tasks
) -> None:
    told: list[tuple[str | None, int, int]] = []
    done: list[object] = []

    def job(task: Task) -> None:
        task.say("study")
        for n in range(1, 5001):
            task.progress(n, 5000)

    tasks.start(job, done.append, lambda *what: told.append(what))
    window.run(lambda: bool(done))
    assert told[0] == ("study", 0, 0)
    assert told[-1] == (None, 5000, 5000)
    assert len(told) < 200


def test_nothing_is_heard_of_a_cancelled_task(window: Window, tasks: Tasks) -> None:
    heard: list[object] = []
    begun, ended = threading.Event(), threading.Event()

    def job(task: Task) -> None:
        begun.set()
        while not task.cancelled():
            ended.wait(0.002)
        task.progress(1, 1)
        task.deliver(lambda: heard.append("late"))
        ended.set()

    task = tasks.start(job, heard.append, lambda *what: heard.append(what))
    assert begun.wait(SOON)
    task.cancel()
    assert not tasks.busy
    assert ended.wait(SOON)
    tasks.close()
    window.drain()
    assert heard == []


def test_an_error_reaches_whoever_asked(window: Window, tasks: Tasks) -> None:
    got: list[BaseException | None] = []

    def job(task: Task) -> None:
        raise ZeroDivisionError

    tasks.start(job, lambda f: got.append(f.exception()))
    window.run(lambda: bool(got))
    assert isinstance(got[0], ZeroDivisionError)


def test_a_slow_task_does_not_hold_up_a_quick_one(window: Window, tasks: Tasks) -> None:
    gate, got = threading.Event(), []
    tasks.start(lambda task: gate.wait(SOON), lambda f: got.append("slow"))
    tasks.start(lambda task: None, lambda f: got.append("quick"))
    window.run(lambda: bool(got))
    assert got == ["quick"]
    gate.set()
    window.run(lambda: len(got) == 2)


def test_closing_stops_what_runs_and_waits_for_it(tasks: Tasks) -> None:
    begun, ended = threading.Event(), threading.Event()

    def job(task: Task) -> None:
        begun.set()
        while not task.cancelled():
            begun.wait(0.001)
        ended.set()

    tasks.start(job, lambda f: None)
    assert begun.wait(SOON)
    tasks.close()
    assert ended.is_set()
