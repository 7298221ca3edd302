"""Spread, paired tests and skill, against computations written differently."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from crl_core.evaluation.benchmark.statistics import difference, signed_rank, skill, spread


def test_spread_is_the_sample_standard_deviation_over_people() -> None:
    found = spread([28.0, 30.0, 35.0])
    assert found is not None
    assert (found.mean, found.n) == (31.0, 3)
    assert found.sd == pytest.approx(np.sqrt((9 + 1 + 16) / 2))
    assert found.text() == "31.00±3.61"
    assert found.text(1, factor=100) == "3100.0±360.6"
    one = spread([28.0, float("nan"), float("inf")])
    assert one is not None
    assert (one.mean, one.sd, one.n, one.text()) == (28.0, None, 1, "28.00")
    assert spread([float("nan")]) is None


def exact_p(apart: np.ndarray) -> float:
    """Wilcoxon's p by trying every assignment of signs."""
    ranks = stats.rankdata(np.abs(apart))
    seen = min(ranks[apart > 0].sum(), ranks[apart < 0].sum())
    sums = [sum(r for r, s in zip(ranks, signs, strict=True) if s)
            for signs in product((0, 1), repeat=len(apart))]  # fmt: skip
    return min(1.0, 2 * float(np.mean([total <= seen for total in sums])))


@pytest.mark.parametrize("seed", range(4))
def test_the_signed_rank_test_is_the_exact_one(seed: int) -> None:
    apart = np.random.default_rng(seed).normal(0.6, 1.0, 8)
    assert signed_rank(apart) == pytest.approx(exact_p(apart))


def test_five_people_who_agree_are_not_yet_significant() -> None:
    assert signed_rank(np.array([1.0, 2.0, 3.0, 4.0, 5.0])) == pytest.approx(0.0625)
    assert signed_rank(np.array([1.0])) is None
    assert signed_rank(np.zeros(5)) is None
    # Ties are shared ranks and zeros say nothing; neither may warn.
    tied = np.array([1.0, 1.0, 1.0, -1.0, 0.0])
    assert signed_rank(tied) == pytest.approx(exact_p(tied[tied != 0]))


def test_people_are_paired_by_name_and_the_interval_is_that_of_the_mean() -> None:
    rng = np.random.default_rng(3)
    base = {f"p{n}": v for n, v in enumerate(rng.normal(25, 3, 20))}
    gain = rng.normal(1.0, 0.8, 20)
    better = {p: v + d for (p, v), d in zip(base.items(), gain, strict=True)}
    found = difference({**dict(reversed(better.items())), "other": 99.0}, base)
    assert found is not None
    assert found.n == 20
    assert found.mean == pytest.approx(gain.mean())
    # For twenty people the percentile interval is close to the normal one.
    half = 1.96 * gain.std() / np.sqrt(20)
    assert (found.low, found.high) == pytest.approx(
        (gain.mean() - half, gain.mean() + half), abs=0.05
    )
    assert found.p == pytest.approx(stats.wilcoxon(gain).pvalue)
    back = difference(base, better)
    assert back is not None
    assert back.mean == pytest.approx(-found.mean)
    assert difference({"a": 1.0}, {"b": 1.0}) is None


def test_skill_runs_from_table_to_oracle_and_is_not_defined_without_room_between() -> None:
    assert skill(25.0, 20.0, 30.0) == pytest.approx(0.5)
    assert skill(20.0, 20.0, 30.0) == 0.0
    assert skill(15.0, 20.0, 30.0) == pytest.approx(-0.5)
    assert skill(25.0, 20.0, 20.4) is None
    assert skill(25.0, None, 30.0) is None
    assert skill(25.0, 20.0, None) is None
