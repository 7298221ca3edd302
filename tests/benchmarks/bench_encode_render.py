"""How long a slice takes to encode and to render, beside a matrix product of the same work.

    python tests/benchmarks/bench_encode_render.py --size 192 --threads 2

For each preset and precision, times per slice and their ratio to a plain product of two square
matrices with the same number of multiply-adds in the same precision: 1 would be as fast as the
machine multiplies. Work that is not a product (exponentials of the signal equation, products of
single numbers) is not counted, so rendering ``crl-plus`` shows a large ratio of a small time.
Everything is timed in turn within one run, so that other load on the machine
touches all alike, and the lower quartile of the repeats is shown. bf16 means torch's autocast,
as in training. Weights are random: they do not change the time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from crl_core.models import CRL, PRESET_NAMES, build_model
from crl_core.sequence import PAPER_SEQUENCES

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

_LARGEST_PRODUCT = 1536
"""Side of the largest matrix; more work than that is several such products."""

Work = Callable[[], Tensor]


@dataclass
class Case:
    """One thing to time, and the product it is compared with."""

    preset: str
    part: str
    dtype: str
    multiply_adds: int
    work: Work
    seconds: list[float] = field(default_factory=list)
    product_seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        side = round(self.multiply_adds ** (1.0 / 3.0))
        side = min(max(side, 32), _LARGEST_PRODUCT)
        self.factors = torch.rand(2, side, side).to(DTYPES[self.dtype])
        self.products = self.multiply_adds / side**3

    def repeat(self) -> None:
        """Time the work, then the product."""
        self.seconds.append(_timed(self.work))
        once = _timed(lambda: self.factors[0] @ self.factors[1])
        self.product_seconds.append(once * self.products)

    def result(self) -> Result:
        """Summarise the repeats."""
        own, product = (float(np.quantile(s, 0.25)) for s in (self.seconds, self.product_seconds))
        return Result(
            self.preset, self.part, self.dtype, 1e3 * own, 1e3 * product, own / product,
            self.multiply_adds, len(self.seconds),
        )  # fmt: skip


@dataclass(frozen=True)
class Result:
    """Lower quartiles of one case, ms per slice."""

    preset: str
    part: str
    dtype: str
    ms: float
    product_ms: float
    ratio: float
    multiply_adds: int
    repeats: int


def _timed(work: Work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _multiply_adds(work: Work) -> int:
    """Count those of convolutions and matrix products; what is done per voxel besides is free."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops()) // 2


def cases_of(preset: str, model: CRL, size: int) -> list[Case]:
    """Encoding and rendering of one slice in each precision; each has run once."""
    model = model.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.rand(1, 1, size, size)
    source = torch.tensor([[PAPER_SEQUENCES[5].triple]])
    target = torch.tensor([PAPER_SEQUENCES[7].triple])
    cases = []
    for dtype, kind in DTYPES.items():
        cast = torch.autocast("cpu", kind, enabled=dtype != "fp32")

        def encode(cast: Any = cast) -> dict[str, Tensor]:
            with cast:
                return model.encode(image, source)

        features = encode()

        def render(cast: Any = cast, features: dict[str, Tensor] = features) -> Tensor:
            with cast:
                return model.render(features, target)

        work: dict[str, Work] = {"encode": lambda run=encode: next(iter(run().values()))}
        work["render"] = render
        for part, function in work.items():
            cases.append(Case(preset, part, dtype, _multiply_adds(function), function))
    return cases


def measure(cases: Sequence[Case], repeats: int, seconds: float) -> list[Result]:
    """Time all cases in turn, `repeats` times; one that has used its seconds is left out."""
    for turn in range(repeats):
        for case in cases:
            if turn == 0 or sum(case.seconds) + sum(case.product_seconds) < seconds:
                case.repeat()
    return [case.result() for case in cases]


def table(results: Sequence[Result], size: int, threads: int) -> str:
    """Return what is printed."""
    lines = [
        f"one slice of {size} x {size}, {threads} threads, torch {torch.__version__}",
        f"{'preset':<10} {'part':<7} {'type':<5} {'ms':>10} {'product ms':>11} {'ratio':>6}"
        f" {'10^9 multiply-adds':>19} {'repeats':>8}",
    ]
    lines += [
        f"{r.preset:<10} {r.part:<7} {r.dtype:<5} {r.ms:>10.2f} {r.product_ms:>11.2f}"
        f" {r.ratio:>6.2f} {r.multiply_adds / 1e9:>19.3f} {r.repeats:>8}"
        for r in results
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> list[Result]:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--size", type=int, default=192, help="side of the slice, voxels")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--presets", nargs="+", choices=PRESET_NAMES, default=list(PRESET_NAMES))
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=30.0, help="most for one line")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    results: list[Result] = []
    with torch.inference_mode():
        cases = [c for p in given.presets for c in cases_of(p, build_model(p), given.size)]
        results = measure(cases, given.repeats, given.seconds)
    sys.stdout.write(table(results, given.size, given.threads))
    if given.json is not None:
        setting = {"size": given.size, "threads": given.threads, "torch": torch.__version__}
        content = {**setting, "results": [asdict(r) for r in results]}
        given.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return results


if __name__ == "__main__":
    main()
