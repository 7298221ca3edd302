"""A run that is killed loses nothing; the long version is ``python -m tests.core.kill_runs``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.core.kill_runs import CONFIG_OF_KILLED, InLanes, faults, kill_again_and_again, report

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")


def test_a_run_killed_four_times_ends_bit_for_bit_like_one_never_killed(tmp_path: Path) -> None:
    """As a user's run is: steps in lanes, in half precision."""
    config = replace(CONFIG_OF_KILLED, steps=120, precision="bf16")
    found = kill_again_and_again(tmp_path, 4, 3, config, kind=InLanes)
    assert len(found.kills) == 4
    assert any(k.step > 0 for k in found.kills)
    assert found.ok, report(found, config.save_seconds)


def test_half_a_file_is_noticed(tmp_path: Path) -> None:
    """The look at the folder after a kill must see what it is there to see."""
    (tmp_path / "config.json").write_text('{"steps": 1')
    (tmp_path / "last.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    (tmp_path / "events.jsonl").write_text('{"kind": "sto\n{"kind": "stopped", "ti')
    (tmp_path / ".crl-abc.json").write_text("{")
    assert [f.split(":")[0] for f in faults(tmp_path)] == [
        "config.json", "events.jsonl", "last.safetensors"
    ]  # fmt: skip
