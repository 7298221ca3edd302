"""The benchmark of training compares what it says it compares."""

from __future__ import annotations

import pytest

from tests.benchmarks.bench_training import measure


@pytest.mark.parametrize("rows", [1, 2])
def test_both_loops_begin_with_the_same_loss(rows: int) -> None:
    found = measure(features=16, blocks=2, rows=rows, crop=32, rounds=1, precision="fp32")
    assert found["pairs per step"] == 42 * rows
    assert found["apart"] < 1e-6
    assert found["apart in float64"] < 1e-7
    assert found["first loss, theirs"] > 0.01
    assert found["ratio"] > 0
