"""Damaged files are refused in one line, soon and with little memory."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest

from crl_core.io.inspect import describe
from tests.fuzz.mutations import MUTATIONS, mutate, seeds
from tests.fuzz.run import Outcome, fuzz

COUNT = 240


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return list(fuzz(COUNT, seed=11))


def test_no_damaged_file_crashes_hangs_or_takes_much_memory(outcomes: list[Outcome]) -> None:
    failed = [f"{o.name} seed {o.seed} {o.mutation}: {o.detail}" for o in outcomes]
    bad = [text for text, o in zip(failed, outcomes, strict=True) if o.result == "failed"]
    assert bad == []


def test_the_damage_was_real(outcomes: list[Outcome]) -> None:
    """Truncated and gigantic files are refused nearly always; else nothing was tested."""
    results = collections.Counter((o.mutation, o.result) for o in outcomes)
    for mutation in ("truncated", "gigantic dimensions declared"):
        refused, opened = results[(mutation, "refused")], results[(mutation, "opened")]
        assert refused > 5
        assert refused > 3 * opened
    assert {o.mutation for o in outcomes} == set(MUTATIONS)


@pytest.mark.parametrize("name", sorted(seeds()))
def test_the_undamaged_file_opens(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(seeds()[name])
    found = describe(path)
    assert found["repetition_time_ms"] == pytest.approx(8000)
    assert found["echo_time_ms"] == pytest.approx(99.98, abs=0.05)


def test_damage_follows_from_its_seed() -> None:
    data = seeds()["plain.nii"]
    assert mutate(data, 5) == mutate(data, 5)
    assert len({mutate(data, s)[1] for s in range(30)}) > 25
