"""The benchmark runs and its numbers mean what they say; how fast anything is stays untested."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from crl_core.models import build_model


@pytest.fixture
def bench() -> Iterator[ModuleType]:
    """The script as a module; the number of threads is put back."""
    path = Path(__file__).with_name("bench_encode_render.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    threads = torch.get_num_threads()
    spec.loader.exec_module(module)
    yield module
    torch.set_num_threads(threads)
    del sys.modules[path.stem]


def test_it_runs_and_writes_its_numbers(
    bench: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "numbers.json"
    wanted = ["crl-small", "crl-plus"]
    short = ["--size", "16", "--threads", "1", "--repeats", "2", "--json", str(out)]
    bench.main([*short, "--presets", *wanted])
    content = json.loads(out.read_text(encoding="utf-8"))
    assert (content["size"], content["threads"]) == (16, 1)
    rows = content["results"]
    assert [(r["preset"], r["dtype"], r["part"]) for r in rows] == [
        (preset, dtype, part)
        for preset in wanted
        for dtype in ("fp32", "bf16")
        for part in ("encode", "render")
    ]
    assert all(r["ms"] > 0 and r["repeats"] == 2 for r in rows)
    assert all(r["ratio"] == pytest.approx(r["ms"] / r["product_ms"]) for r in rows)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 + len(rows)
    assert "16 x 16, 1 threads" in printed[0]


def test_multiply_adds_are_counted_right(bench: ModuleType) -> None:
    """Encoder by hand: 3x3 convolutions over 8 x 8 voxels; decoder: two matrices per voxel."""
    sizes = {"features": 4, "blocks": 2, "code_hidden": [3], "decoder_hidden": [5]}
    model = build_model("crl-code", **sizes)
    with torch.inference_mode():
        cases = bench.cases_of("crl-code", model, 8)
    code = 3 * 3 + 3 * 4
    encoder = 64 * 9 * (1 * 4 + 5 * 4 * 4)
    decoder = 64 * (4 * 5 + 5 * 1)
    counted = {(c.dtype, c.part): c.multiply_adds for c in cases}
    assert counted["fp32", "encode"] == counted["bf16", "encode"] == encoder + code
    assert counted["fp32", "render"] == counted["bf16", "render"] == decoder + code


def test_a_case_out_of_time_stops_but_keeps_its_first_repeat(bench: ModuleType) -> None:
    with torch.inference_mode():
        cases = bench.cases_of("crl-small", build_model("crl-small"), 8)
        results = bench.measure(cases, repeats=5, seconds=0.0)
    assert [r.repeats for r in results] == [1] * len(cases)
