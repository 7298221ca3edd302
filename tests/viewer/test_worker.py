from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crl_core.card import Card
from crl_core.errors import CRLError, ParameterError
from crl_core.io import load
from crl_core.scan import IntensityScale
from crl_core.sequence import SequenceParameters
from crl_viewer.state import RenderRequest
from crl_viewer.state.results import Agreed, Compared, Curve, Frame, VolumeCompared
from crl_viewer.workers import events
from crl_viewer.workers.engine import COMPARE_EVERY, Engine, curve_values, in_slice
from crl_viewer.workers.latest import LatestWins
from crl_viewer.workers.loader import Loader
from tests.viewer.fakes import FakeOpener, facts, make_scan

PATIENCE = 20


class Recorder:
    """Work that can be held at a gate."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.rested: list[int] = []
        self.failed: list[BaseException] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.resting = threading.Event()
        self.fail_on: int | None = None

    def work(self, request: int, newer: Callable[[], bool]) -> None:
        self.entered.release()
        assert self.gate.acquire(timeout=PATIENCE)
        if request == self.fail_on:
            raise RuntimeError("broken")
        self.done.append(request)

    def rest(self, request: int, newer: Callable[[], bool]) -> None:
        self.rested.append(request)
        self.resting.set()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def worker(recorder: Recorder) -> Iterator[LatestWins[int]]:
    made = LatestWins(recorder.work, recorder.rest, recorder.failed.append, rest_after=0.0)
    yield made
    recorder.gate.release(1000)
    made.close()


# latest wins ----------------------------------------------------------------------------------


def test_only_the_newest_of_those_that_wait_is_done(recorder: Recorder, worker) -> None:
    worker.submit(0)
    assert recorder.entered.acquire(timeout=PATIENCE)
    for request in range(1, 100):
        worker.submit(request)
    recorder.gate.release(100)
    assert worker.join(PATIENCE)
    assert recorder.done == [0, 99]


def test_rest_comes_after_the_last_and_only_then(recorder: Recorder, worker) -> None:
    worker.submit(0)
    assert recorder.entered.acquire(timeout=PATIENCE)
    worker.submit(1)
    recorder.gate.release(2)
    assert recorder.resting.wait(PATIENCE)
    assert worker.join(PATIENCE)
    assert recorder.rested == [1]


def test_rest_is_told_to_make_way() -> None:
    resting, seen = threading.Event(), []
    done: list[int] = []

    def rest(request: int, newer: Callable[[], bool]) -> None:
        if request == 1:
            resting.set()
            while not newer():
                pass
            seen.append(request)

    worker = LatestWins(lambda r, newer: done.append(r), rest, lambda e: None, rest_after=0.0)
    worker.submit(1)
    assert resting.wait(PATIENCE)
    worker.submit(2)
    assert worker.join(PATIENCE)
    worker.close()
    assert seen == [1]
    assert done == [1, 2]


def test_a_failure_is_reported_and_the_next_request_still_done(recorder: Recorder, worker) -> None:
    recorder.fail_on = 0
    worker.submit(0)
    assert recorder.entered.acquire(timeout=PATIENCE)
    worker.submit(1)
    recorder.gate.release(2)
    assert worker.join(PATIENCE)
    assert [str(e) for e in recorder.failed] == ["broken"]
    assert recorder.done == [1]


def test_errands_are_never_replaced_and_come_first(recorder: Recorder, worker) -> None:
    order: list[str] = []
    worker.submit(0)
    assert recorder.entered.acquire(timeout=PATIENCE)
    worker.errand(lambda: order.append("a"))
    worker.submit(1)
    worker.errand(lambda: order.append("b"))
    worker.submit(2)
    assert worker.newer()
    recorder.gate.release(3)
    assert worker.join(PATIENCE)
    assert order == ["a", "b"]
    assert recorder.done == [0, 2]


def test_closing_drops_what_waits_and_ends_the_thread(recorder: Recorder) -> None:
    worker = LatestWins(recorder.work, recorder.rest, recorder.failed.append, rest_after=0.0)
    worker.submit(0)
    assert recorder.entered.acquire(timeout=PATIENCE)
    worker.submit(1)
    closer = threading.Thread(target=worker.close)
    closer.start()
    recorder.gate.release(5)
    closer.join(PATIENCE)
    assert not closer.is_alive()
    worker.submit(2)
    assert recorder.done == [0]


# engine ---------------------------------------------------------------------------------------

SOURCE = make_scan("TE 10", SequenceParameters(5000, 10))
REFERENCE = make_scan("TE 90", SequenceParameters(5000, 90), top=400.0)


def never() -> bool:
    return False


def always() -> bool:
    return True


def request_of(generation: int = 1, **changes: object) -> RenderRequest:
    known: dict[str, object] = {
        "generation": generation,
        "sources": (SOURCE,),
        "reference": REFERENCE,
        "parameters": SequenceParameters(5000, 90),
        "index": 2,
        "voxel": (10, 12, 2),
    }
    return RenderRequest(**{**known, **changes})  # type: ignore[arg-type]


class Bench:
    """An engine with its reports."""

    def __init__(self) -> None:
        self.opener = FakeOpener()
        self.reports: list[events.Event] = []
        self.engine = Engine(self.reports.append, self.opener)

    def of(self, kind: type) -> list:
        return [r for r in self.reports if isinstance(r, kind)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_frame_numbers_and_error_come_from_one_rendering(bench: Bench) -> None:
    bench.engine.work(request_of(), never)
    (frame,) = bench.of(Frame)
    (compared,) = bench.of(Compared)
    expected = SOURCE.scale.to_model(SOURCE.slice(2)) * np.exp(-0.8)
    np.testing.assert_allclose(frame.synthesised, expected, rtol=1e-6)
    acquired = SOURCE.scale.to_model(REFERENCE.slice(2))
    inside = SOURCE.mask[:, :, 2]
    wanted = 100 * (expected - acquired) / compared.peak
    np.testing.assert_allclose(frame.error[inside], wanted[inside], atol=1e-3)
    assert np.isnan(frame.error[~inside]).all()
    # The reference is half the source, the rendering exp(-0.8) of it.
    assert compared.comparison.gain == pytest.approx(0.5 * np.exp(0.8), rel=1e-4)


def test_gain_matching_takes_the_factor_out_of_the_error(bench: Bench) -> None:
    bench.engine.work(request_of(gain=True), never)
    (frame,) = bench.of(Frame)
    assert frame.gain == pytest.approx(0.5 * np.exp(0.8), rel=1e-4)
    assert np.nanmax(np.abs(frame.error)) < 1e-2
    assert len(bench.opener.synthesizer.calls) == 1


def test_the_network_is_loaded_once_and_reported(bench: Bench) -> None:
    for generation in range(3):
        bench.engine.work(request_of(generation, index=generation), never)
    assert bench.opener.opened == [None]
    assert [type(r) for r in bench.reports[:3]] == [
        events.ModelLoading, events.ModelReady, Frame
    ]  # fmt: skip


def test_a_bad_checkpoint_is_one_line_and_not_tried_again(bench: Bench) -> None:
    bad = Path("bad.safetensors")
    for generation in range(2):
        bench.engine.work(request_of(generation, checkpoint=bad), never)
    (failure,) = bench.of(events.ModelFailed)
    assert failure.message == "bad.safetensors: is damaged. Copy it again."
    assert bench.opener.opened == [bad]
    bench.engine.work(request_of(5), never)
    assert bench.of(Frame)


def test_numbers_are_left_out_while_frames_keep_coming_but_the_last_arrive(bench: Bench) -> None:
    times = [request_of(n, parameters=SequenceParameters(5000, 20 + n)) for n in range(8)]
    bench.engine.work(times[0], always)
    before = len(bench.of(Compared))
    for request in times[1:-1]:
        bench.engine._compared_at = float("inf")
        bench.engine.work(request, always)
    assert len(bench.of(Compared)) == before
    bench.engine.work(times[-1], never)
    assert bench.of(Compared)[-1].request is times[-1]
    assert len(bench.of(Frame)) == len(times)
    assert COMPARE_EVERY < 0.5


def test_the_same_picture_is_not_sent_twice(bench: Bench) -> None:
    bench.engine.work(request_of(1), never)
    bench.engine.work(request_of(2, voxel=(3, 3, 2)), never)
    assert len(bench.of(Frame)) == 1
    bench.engine.work(request_of(3, gain=True), never)
    assert len(bench.of(Frame)) == 2
    assert len(bench.opener.synthesizer.calls) == 1


def test_a_setting_that_cannot_be_played_is_refused_with_a_line(bench: Bench) -> None:
    bench.engine.work(request_of(parameters=SequenceParameters(900, 20, 1000)), never)
    (refusal,) = bench.of(events.Refused)
    assert "TR 900 ms is too short" in refusal.message
    bench.engine.work(request_of(2), never)
    assert bench.of(Frame)


def test_a_refusal_of_the_engine_leaves_it_usable(bench: Bench) -> None:
    bench.opener.synthesizer.refuse = CRLError("memory is full")
    bench.engine.work(request_of(1), never)
    bench.opener.synthesizer.refuse = None
    bench.engine.work(request_of(2), never)
    assert [type(r) for r in bench.reports[-3:]] == [events.Refused, Frame, Compared]


def test_what_was_refused_is_not_answered_with_earlier_sources(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.engine.work(request_of(), never)

    def refuse(scans) -> None:
        raise CRLError("TR 900 ms is too short")

    monkeypatch.setattr(bench.opener.synthesizer, "set_sources", refuse)
    other = request_of(2, sources=(SOURCE, REFERENCE))
    bench.engine.work(other, never)
    bench.engine.rest(other, never)
    (refusal,) = bench.of(events.Refused)
    assert refusal.message == "TR 900 ms is too short."
    assert not bench.of(Curve)
    assert not bench.of(VolumeCompared)
    assert not bench.of(Agreed)


def test_rest_makes_curve_and_volume_once(bench: Bench) -> None:
    bench.engine.work(request_of(), never)
    bench.engine.rest(request_of(), never)
    bench.engine.rest(request_of(2), never)
    (curve,) = bench.of(Curve)
    (volume,) = bench.of(VolumeCompared)
    here = float(SOURCE.scale.to_model(SOURCE.data[10, 12, 2]))
    np.testing.assert_allclose(curve.y, here * np.exp((10 - curve.x) / 100), rtol=1e-5)
    assert volume.comparison.n_slices > 1


def test_the_curve_stays_while_its_own_axis_moves(bench: Bench) -> None:
    bench.engine.work(request_of(), never)
    bench.engine.rest(request_of(1), never)
    bench.engine.rest(request_of(2, parameters=SequenceParameters(5000, 33)), never)
    assert len(bench.of(Curve)) == 1
    bench.engine.rest(request_of(3, parameters=SequenceParameters(3000, 33)), never)
    assert len(bench.of(Curve)) == 2


def test_a_cancelled_volume_is_no_refusal_and_is_made_later(bench: Bench) -> None:
    bench.engine.work(request_of(), never)
    bench.engine.rest(request_of(voxel=None), always)
    assert not bench.of(events.Refused)
    assert not bench.of(VolumeCompared)
    bench.engine.rest(request_of(), never)
    assert bench.of(VolumeCompared)


def test_a_network_in_training_gets_no_numbers_that_would_be_old_when_they_come(
    bench: Bench,
) -> None:
    bench.engine.work(request_of(), never)
    bench.engine.rest(request_of(learning=True), never)
    assert bench.of(Curve)
    assert bench.opener.synthesizer.volumes == 0
    bench.engine.rest(request_of(2), never)
    assert bench.of(VolumeCompared)


def test_a_single_slice_has_no_volume_numbers(bench: Bench) -> None:
    flat = make_scan("flat", SequenceParameters(5000, 10), shape=(32, 40, 1))
    request = request_of(sources=(flat,), reference=flat, index=0, voxel=None)
    bench.engine.work(request, never)
    bench.engine.rest(request, never)
    assert bench.opener.synthesizer.volumes == 0


def test_only_what_is_head_in_both_scans_is_judged(bench: Bench) -> None:
    data = REFERENCE.data.copy()
    data[:16] = 0
    half = replace(REFERENCE, data=data)
    both = SOURCE.mask & half.mask
    assert both.sum() < SOURCE.mask.sum()
    bench.engine.work(request_of(reference=half), never)
    (frame,) = bench.of(Frame)
    (compared,) = bench.of(Compared)
    np.testing.assert_array_equal(np.isfinite(frame.error), both[..., 2])
    assert compared.comparison.n_voxels == both[..., 2].sum()
    assert compared.comparison.mask_name == "Head mask"


def test_a_reference_is_compared_in_the_scale_the_network_gives_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = IntensityScale.minmax(REFERENCE.data)
    monkeypatch.setattr(bench.opener.synthesizer, "reference_scale", lambda scan: own)
    bench.engine.work(request_of(), never)
    (frame,) = bench.of(Frame)
    (compared,) = bench.of(Compared)
    mask = (SOURCE.mask & REFERENCE.mask)[..., 2]
    acquired = own.to_model(REFERENCE.slice(2))
    inside = own.to_model(REFERENCE.data)[SOURCE.mask & REFERENCE.mask]
    assert compared.peak == pytest.approx(np.percentile(inside, 99.5))
    expected = 100 * (frame.synthesised - acquired)[mask] / compared.peak
    np.testing.assert_allclose(frame.error[mask], expected, atol=1e-4)


def test_what_a_resampled_reference_has_not_covered_is_not_judged(bench: Bench) -> None:
    covered = np.zeros(SOURCE.shape, bool)
    covered[:16] = True
    bench.engine.work(request_of(covered=covered), never)
    (frame,) = bench.of(Frame)
    assert np.isnan(frame.error[16:]).all()
    assert np.isfinite(frame.error[:16]).any()


def test_curves_along_ti_stop_where_tr_ends(bench: Bench) -> None:
    request = request_of(curve_axis="ti", parameters=SequenceParameters(1000, 20))
    bench.engine.work(request, never)
    bench.engine.rest(request, never)
    (curve,) = bench.of(Curve)
    assert curve.x[0] == 0
    assert curve.x.max() <= 980


@pytest.mark.parametrize("axis", ["tr", "te", "ti"])
def test_curve_values_rise(axis) -> None:
    assert (np.diff(curve_values(axis)) > 0).all()


def test_in_slice_drops_the_slice_axis() -> None:
    assert [in_slice((5, 6, 7), axis) for axis in range(3)] == [(6, 7), (5, 7), (5, 6)]


def test_export_writes_a_marked_volume(bench: Bench, tmp_path: Path) -> None:
    known = facts()
    card = Card("fake", "crl-small", {"kind": "ratio"}, "robust", None, known.coverage, {}, {})
    path = tmp_path / "out.nii.gz"
    bench.engine.export(request_of(), replace(known, card=card), path)
    assert bench.of(events.Exported) == [events.Exported(path)]
    back = load(path)
    assert "SYNTHETIC" in back.note
    expected = SOURCE.scale.to_model(SOURCE.data) * np.exp(-0.8)
    np.testing.assert_allclose(back.data, expected, rtol=1e-5)


def test_after_an_export_of_other_sources_those_in_use_are_read_again(
    bench: Bench, tmp_path: Path
) -> None:
    known = facts()
    card = Card("fake", "crl-small", {"kind": "ratio"}, "robust", None, known.coverage, {}, {})
    bench.engine.work(request_of(), never)
    other = request_of(2, sources=(REFERENCE,), reference=None)
    bench.engine.export(other, replace(known, card=card), tmp_path / "out.nii.gz")
    for step in (bench.engine.work, bench.engine.rest):
        step(request_of(3, voxel=(3, 3, 2)), never)
    assert bench.opener.synthesizer.sources == (SOURCE,)
    assert bench.of(Curve)


@pytest.mark.parametrize("how", ["refused", "there"])
def test_an_export_that_cannot_be_is_one_line(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    known = facts()
    card = Card("fake", "crl-small", {"kind": "ratio"}, "robust", None, known.coverage, {}, {})
    path = tmp_path / "out.nii.gz"
    if how == "there":
        path.write_bytes(b"mine")  # since the user was asked
    else:

        def refuse(scans) -> None:
            raise CRLError("no source was chosen")

        monkeypatch.setattr(bench.opener.synthesizer, "set_sources", refuse)
    bench.engine.export(request_of(), replace(known, card=card), path)
    (failure,) = bench.of(events.ExportFailed)
    assert ("already exists" if how == "there" else "no source") in failure.message
    assert not path.exists() or path.read_bytes() == b"mine"


def test_export_to_nowhere_is_one_line(bench: Bench, tmp_path: Path) -> None:
    known = facts()
    card = Card("fake", "crl-small", {"kind": "ratio"}, "robust", None, known.coverage, {}, {})
    (tmp_path / "file").write_text("not a folder")
    path = tmp_path / "file" / "out.nii.gz"
    bench.engine.export(request_of(), replace(known, card=card), path)
    (failure,) = bench.of(events.ExportFailed)
    assert "out.nii.gz" in failure.message


# loader ---------------------------------------------------------------------------------------


def test_the_loader_works_elsewhere_and_answers_here() -> None:
    posted: list[Callable[[], None]] = []
    arrived = threading.Semaphore(0)

    def post(call: Callable[[], None]) -> None:
        posted.append(call)
        arrived.release()

    loader = Loader(post)
    here, results = threading.current_thread(), []

    def fail() -> None:
        raise ParameterError("no")

    loader.submit(lambda: threading.current_thread() is here, lambda f: results.append(f.result()))
    loader.submit(fail, lambda f: results.append(type(f.exception())))
    assert loader.busy
    for _ in range(2):
        assert arrived.acquire(timeout=PATIENCE)
    for call in posted:
        call()
    loader.close()
    assert results == [False, ParameterError]
    assert not loader.busy
