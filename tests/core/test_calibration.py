"""Whether a network that says how sure it is can be caught out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from crl_core.evaluation.benchmark import figures
from crl_core.evaluation.calibration import EDGES, FEW, Calibration


def drawn(factor: float, seed: int = 0, count: int = 60_000) -> tuple[Any, Any]:
    """Expected errors over two decades, and errors that are `factor` times as large."""
    rng = np.random.default_rng(seed)
    expected = np.exp(rng.uniform(np.log(0.3), np.log(30.0), count))
    return expected, rng.laplace(0.0, factor * expected)


def test_who_knows_how_sure_to_be_is_found_right() -> None:
    found = Calibration()
    found.add(*drawn(1.0))
    assert found.factor == pytest.approx(1.0, abs=0.02)
    assert found.coverage == pytest.approx((0.5, 0.9), abs=0.01)
    for expected, actual, voxels in found.curve():
        assert voxels >= FEW
        assert actual == pytest.approx(expected, rel=0.15)
    assert len(found.curve()) > 15


def test_who_is_too_sure_is_found_out() -> None:
    found = Calibration()
    found.add(*drawn(2.0))
    assert found.factor == pytest.approx(2.0, abs=0.04)
    # P(|e| < b ln 2) of a Laplace distribution of scale 2 b is 1 - exp(-ln 2 / 2).
    assert found.coverage[0] == pytest.approx(1 - 0.5**0.5, abs=0.01)
    assert found.coverage[1] == pytest.approx(1 - 0.1**0.5, abs=0.01)
    assert "29 % of voxels lie where 50 % should, 68 % where 90 % should" in found.sentence()


def test_parts_add_up_and_what_is_not_told_is_left_out() -> None:
    expected, error = drawn(1.3)
    whole = Calibration()
    whole.add(expected, error)
    parts = [Calibration(), Calibration()]
    for part, some in zip(parts, (slice(0, 20_000), slice(20_000, None)), strict=True):
        part.add(expected[some], error[some])
    parts[0].add([np.nan, 0.0, 1.0, -1.0], [1.0, 1.0, np.inf, 1.0])
    together = Calibration.of(part.as_dict() for part in parts)
    assert together.voxels == whole.voxels == 60_000
    assert together.factor == pytest.approx(whole.factor)
    assert together.coverage == pytest.approx(whole.coverage)
    np.testing.assert_allclose(together.curve(), whole.curve())


def test_beyond_the_bins_is_in_the_last_ones() -> None:
    found = Calibration()
    found.add([1e-4] * FEW + [1e4] * FEW, [0.0] * 2 * FEW)
    (low, _, n), (high, _, m) = found.curve()
    assert (n, m) == (FEW, FEW)
    assert low < EDGES[0] < EDGES[-1] < high


def test_the_figure_draws_each_network_that_tells() -> None:
    told = Calibration()
    told.add(*drawn(1.5))
    methods = {
        "ours": SimpleNamespace(name="ours", calibration=told),
        "silent": SimpleNamespace(name="silent", calibration=None),
    }
    svg = figures.calibration(SimpleNamespace(methods=methods))  # type: ignore[arg-type]
    assert svg is not None
    assert svg.count("<polyline") == 1
    assert "1.50 times" in svg or "1.49 times" in svg or "1.51 times" in svg
    assert "silent" not in svg
    del methods["ours"]
    assert figures.calibration(SimpleNamespace(methods=methods)) is None  # type: ignore[arg-type]
