"""The log of a run: every event survives a line of text, and no line can harm a reader."""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_core.errors import OutputError
from crl_core.io.atomic import atomic_folder, atomic_path
from crl_core.training import events
from crl_core.training.events import from_line, to_line
from crl_core.training.folder import EVENTS, Log, RunFolder
from crl_core.training.history import History
from crl_core.training.run import undisturbed

NUMBERS = st.floats(allow_infinity=False)
# Surrogates stand for bytes of file names that are no text.
TEXTS = st.text(st.characters(codec=None))
TABLES = st.dictionaries(st.text(), NUMBERS, max_size=3)
COUNTS = st.integers(0, 10**12)

EVENTS_OF_A_RUN: st.SearchStrategy[Any] = st.one_of(
    st.builds(
        events.Started, COUNTS, TEXTS, COUNTS, COUNTS, NUMBERS,
        held_back=st.lists(TEXTS, max_size=3).map(tuple),
    ),
    st.builds(events.Stepped, COUNTS, NUMBERS, NUMBERS, TABLES, NUMBERS, NUMBERS),
    st.builds(events.Validated, COUNTS, TABLES, TABLES),
    st.builds(events.Noted, COUNTS, TEXTS, st.sampled_from(["note", "warning"])),
    st.builds(events.Saved, COUNTS, st.just(Path("last.safetensors")), NUMBERS),
    st.builds(events.Failed, COUNTS, TEXTS),
    st.builds(events.Finished, COUNTS, st.just(Path("model.safetensors")), COUNTS),
)  # fmt: skip


def same(a: Any, b: Any) -> bool:
    return repr(a) == repr(b)  # NaN is equal to itself here


@given(event=EVENTS_OF_A_RUN, time=st.floats(0, 1e10))
def test_every_event_survives_its_line(event: Any, time: float) -> None:
    line = to_line(event, time)
    assert "\n" not in line
    assert line.encode("utf-8").decode("utf-8") == line
    found = from_line(line)
    assert found is not None
    assert found[0] == pytest.approx(time, abs=1e-3)
    assert same(found[1], event)


@given(line=st.one_of(st.text(), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8,
).map(json.dumps)))  # fmt: skip
def test_no_line_harms_a_reader(line: str) -> None:
    found = from_line(line)
    assert found is None or isinstance(found[0], float)


@pytest.mark.parametrize("number", ["1" + "0" * 400, "true", '"3"', "null", "[1]"])
def test_a_number_that_is_none_harms_no_reader(number: str) -> None:
    from_line(f'{{"kind": "stepped", "time": {number}, "step": {number}, "loss": {number}}}')
    assert from_line(f'{{"kind": "stopped", "time": {number}}}') is None


def test_infinity_and_nan_stay_json() -> None:
    line = to_line(events.Stepped(1, 0.5, math.inf, {"l1": math.nan}, 1e-3, 2.0), 3.0)
    found = from_line(line)
    assert found is not None
    assert isinstance(found[1], events.Stepped)
    assert found[1].loss > 1e299
    assert math.isnan(found[1].parts["l1"])


@pytest.mark.parametrize("end", ["\u2028", "\x85", "\x0b", "\x1c"])
def test_a_rare_line_end_in_a_text_tears_no_line(tmp_path: Path, end: str) -> None:
    folder = RunFolder(tmp_path)
    assert folder.log(events.Noted(1, f"sub-01{end}.nii.gz is left out")) == ""
    assert [e for _, e in Log(folder).poll()] == [
        events.Noted(1, f"sub-01{end}.nii.gz is left out")
    ]


@given(cut=st.integers(0, 400))
def test_a_log_cut_anywhere_goes_on_after_its_last_whole_line(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    told = [events.Started(0, "heads ä", 10), *(events.Paused(k) for k in range(1, 6))]
    for event in told:
        folder.log(event)
    log = folder / EVENTS
    log.write_bytes(log.read_bytes()[:cut])
    whole = [e for _, e in Log(folder).poll()]
    assert whole == told[: len(whole)]
    folder.tidy()
    folder.log(events.Stopped(9))
    assert [e for _, e in Log(folder).poll()] == [*whole, events.Stopped(9)]


def test_a_log_is_followed_line_by_line(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    log = Log(folder)
    assert log.poll() == []
    folder.log(events.Paused(1))
    with (folder / EVENTS).open("a") as stream:
        stream.write('{"kind": "contin')
    assert [e for _, e in log.poll()] == [events.Paused(1)]
    with (folder / EVENTS).open("a") as stream:
        stream.write('ued", "time": 1.0, "step": 1}\n')
    assert [e for _, e in log.poll()] == [events.Continued(1)]


def test_what_a_killed_run_told_of_later_steps_is_forgotten_when_it_goes_on() -> None:
    history = History()
    stepped = [events.Stepped(k, k / 10, 1.0, {}, 1e-3, float(k)) for k in range(1, 7)]
    history.take((0.0, e) for e in [events.Started(0, "d", 1), *stepped, events.Saved(4, Path())])
    history.take([(1.0, events.Started(4, "d", 1)), (2.0, stepped[4])])
    assert history.loss["loss"].steps == [1, 2, 3, 4, 5]
    assert history.standing == "running"
    assert history.step == 5


def test_a_finished_run_that_goes_on_is_no_longer_finished() -> None:
    history = History()
    history.take([(0.0, events.Started(0, "d", 1)), (1.0, events.Finished(3, Path("m"), 3))])
    assert history.standing == "finished"
    history.take([(2.0, events.Started(3, "d", 1))])
    assert history.finished is None
    assert history.standing == "running"


# files that survive a power cut -----------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="Windows cannot flush a folder")
def test_the_new_name_is_flushed_after_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the content, then the name, then the folder that holds the name."""
    done: list[tuple[str, int]] = []
    flush, rename = os.fsync, os.replace

    def fsync(number: int) -> None:
        done.append(("flush", os.fstat(number).st_ino))
        flush(number)

    def replace(a: Path, b: Path) -> None:
        done.append(("rename", a.stat().st_ino))
        rename(a, b)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    target = tmp_path / "a.json"
    with atomic_path(target) as temporary:
        temporary.write_text("{}")
    file, folder = target.stat().st_ino, tmp_path.stat().st_ino
    assert done == [("flush", file), ("rename", file), ("flush", folder)]
    done.clear()
    with atomic_folder(tmp_path / "b") as made:
        (made / "c").write_text("d")
    assert [what for what, _ in done] == ["rename", "flush"]
    assert done[-1][1] == folder


# who owns a run ---------------------------------------------------------------------------------


def test_a_folder_that_was_taken_away_is_never_written_again(tmp_path: Path) -> None:
    folder, elsewhere = RunFolder(tmp_path / "run"), tmp_path / "elsewhere"
    with folder.owned():
        folder.check_here()
        folder.path.rename(elsewhere)
        with pytest.raises(OutputError, match=r"is gone.*Put it back"):
            folder.check_here()
        # Another run under the same name: nothing of this one may get into its log.
        with RunFolder(tmp_path / "run").owned():
            assert "gone" in folder.log(events.Paused(1))
        assert not (folder / EVENTS).exists()
        for path in folder.path.iterdir():
            path.unlink()
        folder.path.rmdir()
        elsewhere.rename(folder.path)
        folder.check_here()
        assert folder.log(events.Paused(2)) == ""
    assert [e.step for e in (e for _, e in Log(folder).poll())] == [1, 2]


def test_a_command_that_cannot_be_taken_away_is_obeyed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / "command.json").write_text('{"command": "pause"}')

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        assert [folder.take_command() for _ in range(2)] == ["pause", None]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_step_is_not_cut_in_half(number: signal.Signals) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(number, interrupt)
    done = False
    try:
        with pytest.raises(KeyboardInterrupt), undisturbed():  # noqa: PT012
            signal.raise_signal(number)
            done = True
    finally:
        own = signal.signal(number, before)
    assert done
    assert own is interrupt
