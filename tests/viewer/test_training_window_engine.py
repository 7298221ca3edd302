"""Newer weights of one checkpoint on the rendering thread: loaded once, told, never blank."""

from __future__ import annotations

from pathlib import Path

import pytest

from crl_core.checkpoint import default_checkpoint, read_card
from crl_core.errors import CheckpointError
from crl_core.sequence import SequenceParameters
from crl_viewer.state import ModelFacts, RenderRequest
from crl_viewer.state.results import Frame
from crl_viewer.workers import events
from crl_viewer.workers.engine import Engine
from tests.viewer.fakes import FakeSynthesizer, facts, make_scan

SOURCE = make_scan("TE 10", SequenceParameters(5000, 10))
RUN = Path("run")


class Opener:
    """Opens a new fake each time, named by its number; refuses while it is told to."""

    def __init__(self) -> None:
        self.made: list[FakeSynthesizer] = []
        self.damaged = False

    def __call__(self, path, notice) -> tuple[FakeSynthesizer, ModelFacts]:
        if self.damaged:
            raise CheckpointError("is damaged", path=path)
        self.made.append(FakeSynthesizer())
        card = read_card(default_checkpoint())
        return self.made[-1], facts(name=f"step {len(self.made)}", card=card)


@pytest.fixture
def opener() -> Opener:
    return Opener()


@pytest.fixture
def told() -> list[events.Event]:
    return []


@pytest.fixture
def engine(opener: Opener, told: list[events.Event]) -> Engine:
    return Engine(told.append, opener)


def request_of(refreshed: int = 0, generation: int = 1) -> RenderRequest:
    return RenderRequest(
        generation, (SOURCE,), None, SequenceParameters(5000, 90), 2, RUN, refreshed=refreshed
    )


def kinds(told: list[events.Event]) -> list[type]:
    return [type(event) for event in told]


def test_newer_weights_are_loaded_once_and_render_the_same_setting_anew(
    engine, opener, told
) -> None:
    engine.work(request_of(0), lambda: False)
    del told[:]
    for _ in range(3):
        engine.work(request_of(1), lambda: False)
    # No word of loading: the window keeps what it shows until the frame is there.
    assert kinds(told) == [events.ModelReady, Frame]
    assert told[0].facts.name == "step 2"
    assert len(opener.made) == 2
    assert len(opener.made[1].calls) == 1
    assert opener.made[1].sources == (SOURCE,)


def test_newer_weights_that_are_refused_leave_the_older_at_work(engine, opener, told) -> None:
    engine.work(request_of(0), lambda: False)
    opener.damaged = True
    del told[:]
    engine.work(request_of(1), lambda: False)
    assert kinds(told) == [events.ModelKept, Frame]
    assert told[0].message == "run: is damaged."
    # The next ones are tried again.
    opener.damaged = False
    engine.work(request_of(2), lambda: False)
    assert kinds(told)[2:] == [events.ModelReady, Frame]


def test_weights_that_were_refused_at_first_are_loaded_when_newer_ones_come(
    engine, opener, told
) -> None:
    opener.damaged = True
    engine.work(request_of(0), lambda: False)
    opener.damaged = False
    engine.work(request_of(1), lambda: False)
    assert kinds(told) == [
        events.ModelLoading, events.ModelFailed, events.ModelLoading, events.ModelReady, Frame
    ]  # fmt: skip


def test_an_export_names_the_weights_that_made_it(engine, opener, told, monkeypatch) -> None:
    written = []
    monkeypatch.setattr(
        "crl_core.io.export.save_synthetic", lambda *what, **how: written.append(what[4])
    )
    engine.work(request_of(0), lambda: False)
    shown = next(e.facts for e in told if isinstance(e, events.ModelReady))
    engine.export(request_of(1), shown, Path("out.nii.gz"))
    assert len(opener.made) == 2
    assert written[0] is engine._facts.card
    assert written[0] is not shown.card
