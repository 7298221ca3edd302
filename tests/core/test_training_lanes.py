"""Rows of a batch shared among threads: the same gradient, in the same order, every time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import current_thread
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crl_core.training.batch import Batch
from crl_core.training.config import TrainingConfig
from crl_core.training.folder import RunFolder
from crl_core.training.lanes import Lanes, lane_count
from crl_core.training.objective import StepLoss, TensorBatch
from crl_core.training.run import Run, make_fabric

SIZES = {
    "crl-plus": {"widths": [6, 8], "code_width": 8, "residual_width": 4, "atoms": 8, "entries": 8},
    "crl-code": {"features": 8, "blocks": 1, "code_hidden": [8], "decoder_hidden": [8]},
}
ROWS, CONTRASTS, SIDE = 4, 3, 24


@pytest.fixture(autouse=True)
def _four_threads() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def batch(seed: int = 0) -> Batch:
    """Rings of different radii, so that no two rows are alike."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    rings = np.stack([np.cos(np.hypot(x, y) / (1.5 + row)) + 1.1 for row in range(ROWS)])
    images = rings[:, None] * rng.uniform(0.2, 1.0, (ROWS, CONTRASTS, 1, 1))
    times = [(2400.0, 10.0, 0.0), (8000.0, 90.0, 0.0), (7000.0, 10.0, 1500.0)]
    return Batch(
        images.astype(np.float32),
        np.ones((ROWS, CONTRASTS), np.float32),
        np.tile(np.array(times, np.float32), (ROWS, 1, 1)),
        np.ones((ROWS, SIDE, SIDE), np.float32),
    )


def run_of(folder: Path, preset: str, lanes: bool = True, **changes: Any) -> Run:
    config = TrainingConfig(preset=preset, architecture=SIZES[preset], batch=ROWS, crop=SIDE,
                            contrasts=CONTRASTS, precision="fp32", steps=10)  # fmt: skip
    config = replace(config, **changes)
    run = Run(config, RunFolder(folder), make_fabric("cpu", config.precision))
    if not lanes:
        run._lanes = None  # type: ignore[misc]
    return run


def gradients(run: Run) -> dict[str, torch.Tensor]:
    return {n: p.grad for n, p in run.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("preset", SIZES)
def test_lanes_give_the_loss_and_gradient_of_one(tmp_path: Path, preset: str) -> None:
    alone, shared = (run_of(tmp_path, preset, lanes) for lanes in (False, True))
    assert shared._lanes is not None
    assert shared._lanes.count == ROWS
    for seed in range(2):
        one, more = alone.advance(batch(seed)), shared.advance(batch(seed))
        assert more[0] == pytest.approx(one[0], rel=1e-5)
        assert more[1] == pytest.approx(one[1], rel=1e-5)
        expected, found = gradients(alone), gradients(shared)
        assert expected.keys() == found.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("preset", SIZES)
def test_lanes_give_the_same_bits_every_time(
    tmp_path: Path, preset: str, precision: str
) -> None:
    """Often enough to meet lanes that begin and end at odd moments of each other."""
    run = run_of(tmp_path, preset, precision=precision)
    tensors = TensorBatch.of(batch(), torch.device("cpu"))
    run._gradient(tensors)
    first = {name: value.clone() for name, value in gradients(run).items()}
    for _ in range(40):
        run._gradient(tensors)
        for name, value in gradients(run).items():
            assert torch.equal(value, first[name]), name


@pytest.mark.parametrize("preset", SIZES)
def test_lanes_are_as_good_in_half_precision(tmp_path: Path, preset: str) -> None:
    whole, half = (run_of(tmp_path, preset, precision=p) for p in ("fp32", "bf16"))
    one, other = whole.advance(batch())[0], half.advance(batch())[0]
    assert one != other
    assert other == pytest.approx(one, rel=0.03)


def test_lanes_see_weights_that_are_put_into_the_network_later(tmp_path: Path) -> None:
    run, other = run_of(tmp_path, "crl-plus"), run_of(tmp_path, "crl-plus", seed=7)
    run.advance(batch())
    run.begin_from(other.model)
    alone = run_of(tmp_path, "crl-plus", lanes=False)
    alone.step = run.step
    alone.begin_from(other.model)
    assert run.advance(batch())[0] == pytest.approx(alone.advance(batch())[0], rel=1e-5)


@pytest.mark.parametrize("parts", [2, 4])
def test_rows_count_alike_when_memory_was_short(tmp_path: Path, parts: int) -> None:
    """A step is done in parts: of two rows in two lanes, of one row on all threads."""
    torch.set_num_threads(2)
    alone, shared = (run_of(tmp_path, "crl-plus", lanes) for lanes in (False, True))
    shared.accumulate = parts
    assert shared.advance(batch())[0] == pytest.approx(alone.advance(batch())[0], rel=1e-5)
    for name, value in gradients(alone).items():
        torch.testing.assert_close(gradients(shared)[name], value, rtol=1e-3, atol=1e-5)


def test_full_memory_in_one_lane_leads_to_smaller_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_of(tmp_path, "crl-plus")
    forward, seen = StepLoss.forward, []

    def short(self: StepLoss, images: torch.Tensor, *rest: Any) -> Any:
        seen.append(current_thread().name)
        if len(seen) == 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return forward(self, images, *rest)

    monkeypatch.setattr(StepLoss, "forward", short)
    loss, _, usable = run.advance(batch())
    assert usable
    assert loss > 0
    assert run.accumulate == 2
    assert "Memory is full" in run.notes[0]
    # Four lanes at first; parts of two rows then have all threads for themselves.
    assert all(name.startswith("lane") for name in seen[:ROWS])
    assert seen[ROWS:] == ["MainThread"] * 2


def test_the_caller_keeps_its_threads(tmp_path: Path) -> None:
    run = run_of(tmp_path, "crl-plus")
    run.advance(batch())
    assert torch.get_num_threads() == 4
    assert run._lanes is not None
    told = [run._lanes._pool.submit(torch.get_num_threads).result() for _ in range(ROWS)]
    assert told == [1] * ROWS


def test_a_network_that_fills_the_cores_alone_has_one_lane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crl_core.training.run.MOST_PARAMETERS", 100)
    assert run_of(tmp_path, "crl-plus")._lanes is None
    monkeypatch.undo()
    assert run_of(tmp_path, "crl-plus", batch=1)._lanes is None


@given(threads=st.integers(1, 64), rows=st.integers(1, 32))
def test_lanes_are_even_and_never_more_than_threads(threads: int, rows: int) -> None:
    count = lane_count(threads, rows)
    assert rows % count == 0
    assert 1 <= count <= threads
    if threads > 1 and rows % 2 == 0:
        assert count > 1


def test_lanes_without_gradients_of_their_own_add_nothing() -> None:
    module = torch.nn.Linear(2, 2)
    lanes = Lanes(module, 2)

    def back(net: torch.nn.Module) -> float:
        net(torch.ones(1, 2)).sum().backward()
        return 1.0

    assert lanes.run([back]) == [1.0]
    torch.testing.assert_close(module.weight.grad, torch.ones(2, 2))
    module.weight.grad = None
    lanes.run([lambda net: None, back])
    torch.testing.assert_close(module.weight.grad, torch.ones(2, 2))
