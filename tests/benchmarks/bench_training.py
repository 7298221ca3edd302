"""Pairs per second of our training step against a straightforward reading of the authors' loop.

The authors' loop, as described for the public code: 42 ordered pairs of seven sequences, each a
full forward pass that encodes its source again, mean L1 over the pairs, 0.1 of the structural term
over the six consecutive sources, Adam, float32. Ours does the same arithmetic with each source
encoded once. Both run in one process on one batch, alternating; the first loss of both is compared.

    python -m tests.benchmarks.bench_training --features 256 --blocks 32 --batch 1 --rounds 3

With ``--first 8`` nothing is timed; the first losses of eight fresh networks are compared, each
with a batch of its own, and theirs also with itself on one thread: the order of the sums alone.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn

from crl_core.models import CRL, build_model
from crl_core.sequence import PAPER_SEQUENCES, PAPER_TRAINING
from crl_core.training.batch import Batch
from crl_core.training.config import TrainingConfig
from crl_core.training.folder import RunFolder
from crl_core.training.losses import structure
from crl_core.training.objective import StepLoss, TensorBatch
from crl_core.training.plan import paper_settings
from crl_core.training.run import Run, make_fabric


def structured_batch(rows: int, crop: int, seed: int = 0) -> Batch:
    """Return smooth random anatomy in seven contrasts, each scaled to [0, 1]."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((rows, 3, crop // 8, crop // 8), dtype=np.float32))
    tissue = nn.functional.interpolate(coarse, (crop, crop), mode="bilinear").numpy()
    mix = rng.random((len(PAPER_TRAINING), 3), dtype=np.float32)
    images = np.einsum("pt,bthw->bphw", mix / mix.sum(axis=1, keepdims=True), tissue)
    triples = np.array([PAPER_SEQUENCES[n].triple for n in PAPER_TRAINING], np.float32)
    return Batch(
        images.astype(np.float32),
        np.ones((rows, len(triples)), np.float32),
        np.repeat(triples[None], rows, axis=0),
        np.ones((rows, crop, crop), np.float32),
    )


class AuthorsLoop:
    """One step the way the public code does it, written from its description."""

    def __init__(self, model: CRL, learning_rate: float) -> None:
        self.model = model
        self.optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate)

    def loss(self, images: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
        """Return the loss of all ordered pairs."""
        count = images.shape[1]
        apart, common = [], {}
        for i in range(count):
            for j in range(count):
                if i == j:
                    continue
                features = self.model.encode(images[:, i : i + 1], parameters[:, i : i + 1])
                common[i] = self.model.common(features)
                made = self.model.render(features, parameters[:, j])
                apart.append((made - images[:, j : j + 1]).abs().mean())
        terms = [structure(common[i], common[i + 1]) for i in range(count - 1)]
        return torch.stack(apart).mean() + 0.1 * torch.stack(terms).mean()

    def step(self, images: torch.Tensor, parameters: torch.Tensor) -> float:
        """Do one optimiser step."""
        self.optimiser.zero_grad()
        loss = self.loss(images, parameters)
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())


def in_double(model: CRL, batch: TensorBatch, config: TrainingConfig) -> float:
    """Return how far the two losses lie apart where rounding plays no part.

    At the paper's size a fresh network divides by codes near zero, which makes float32 itself
    uncertain in the fifth digit, whatever the order of the sums.
    """
    exact = copy.deepcopy(model).double()
    parts = (batch.images, batch.scales, batch.parameters, batch.mask)
    images, scales, parameters, mask = (p.double() for p in parts)
    with torch.no_grad():
        theirs = AuthorsLoop(exact, 1e-4).loss(images, parameters)
        ours, _ = StepLoss(exact, config)(images, scales, parameters, mask, 1)
    return abs(float(theirs) - float(ours))


def first_losses(
    features: int, blocks: int, rows: int, crop: int, seeds: int
) -> list[dict[str, float]]:
    """Return the first loss of both in float32, of fresh networks with batches of their own."""
    config = _config(features, blocks, rows, crop)
    found = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        model = build_model("crl-code", **config.architecture)
        tensors = TensorBatch.of(structured_batch(rows, crop, seed), torch.device("cpu"))
        parts = (tensors.images, tensors.scales, tensors.parameters, tensors.mask)
        with torch.no_grad():
            theirs = float(AuthorsLoop(model, 1e-4).loss(tensors.images, tensors.parameters))
            ours = float(StepLoss(model, config)(*parts, 1)[0])
            threads = torch.get_num_threads()
            torch.set_num_threads(1)
            again = float(AuthorsLoop(model, 1e-4).loss(tensors.images, tensors.parameters))
            torch.set_num_threads(threads)
        found.append({"seed": seed, "theirs": theirs, "ours": ours, "apart": abs(ours - theirs)})
        found[-1]["theirs apart from itself on one thread"] = abs(again - theirs)
        found[-1]["apart in float64"] = in_double(model, tensors, config)
    return found


def _config(features: int, blocks: int, rows: int, crop: int) -> TrainingConfig:
    hidden = [features] * 4
    shape = {"features": features, "blocks": blocks, "code_hidden": hidden,
             "decoder_hidden": [features] * 5}  # fmt: skip
    base = TrainingConfig(preset="crl-code", architecture=shape, steps=1000)
    return replace(paper_settings(base), batch=rows, crop=crop)


def measure(
    features: int, blocks: int, rows: int, crop: int, rounds: int, precision: str
) -> dict[str, Any]:
    """Run both, alternating; return times and losses.

    Parameters
    ----------
    features, blocks
        Size of crl-code; 256 and 32 in the paper.
    rows, crop
        Crops in a step and their side.
    rounds
        Steps of each that are timed, after one of each that is not.
    precision
        ``"bf16"`` or ``"fp32"`` for ours; theirs is float32 always.
    """
    config = _config(features, blocks, rows, crop)
    batch = structured_batch(rows, crop)
    with TemporaryDirectory() as folder:
        place = RunFolder(Path(folder))
        exact = Run(replace(config, precision="fp32"), place, make_fabric("cpu", "fp32"))
        ours = Run(replace(config, precision=precision), place, make_fabric("cpu", precision))
        theirs = AuthorsLoop(build_model("crl-code", **config.architecture), config.learning_rate)
        theirs.model.load_state_dict(exact.model.state_dict())
        tensors = TensorBatch.of(batch, torch.device("cpu"))
        twice = in_double(theirs.model, tensors, config)
        first = theirs.step(tensors.images, tensors.parameters)
        own_first = exact.advance(batch)[0]
        ours.advance(batch)
        del exact
        times: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(rounds):
            times["ours"].append(_timed(lambda: ours.advance(batch)))
            times["theirs"].append(
                _timed(lambda: theirs.step(tensors.images, tensors.parameters))
            )
        pairs = ours.pairs(len(PAPER_TRAINING))
    medians = {name: float(np.median(values)) for name, values in times.items()}
    return {
        "features": features, "blocks": blocks, "batch": rows, "crop": crop,
        "precision of ours": precision, "threads": torch.get_num_threads(),
        "first loss, ours in fp32": own_first, "first loss, theirs": first,
        "apart": abs(own_first - first),
        "apart in float64": twice,
        "pairs per step": pairs,
        "pairs per second, ours": pairs / medians["ours"],
        "pairs per second, theirs": pairs / medians["theirs"],
        "ratio": medians["theirs"] / medians["ours"],
    }  # fmt: skip


def _timed(step: Callable[[], Any]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def main() -> None:
    """Measure as the command line says and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=int, default=256)
    parser.add_argument("--blocks", type=int, default=32)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    size = (given.features, given.blocks, given.batch, given.crop)
    found: Any = first_losses(*size, given.first) if given.first else None
    if found is None:
        found = measure(*size, given.rounds, given.precision)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
