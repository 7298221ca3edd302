"""The optimiser of our networks: orthogonal steps for convolutions, Adam for the rest."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from crl_core.models import build_model
from crl_core.training.config import TrainingConfig
from crl_core.training.muon import RATE, Muon, orthogonal, split_weights


@given(
    rows=st.integers(1, 12),
    columns=st.integers(1, 40),
    size=st.floats(1e-4, 1e4),
    seed=st.integers(0, 99),
)
def test_a_step_keeps_the_directions_of_the_gradient_and_levels_their_lengths(
    rows: int, columns: int, size: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = size * torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    found = orthogonal(matrix)
    assert found.shape == matrix.shape
    u, lengths, v = torch.linalg.svd(matrix, full_matrices=False)
    turned = u.T @ found @ v.T  # diagonal where the directions are those of the gradient
    torch.testing.assert_close(turned, torch.diag(turned.diagonal()), atol=2e-3, rtol=0.0)
    large = lengths > 0.02 * lengths.norm()
    assert (turned.diagonal()[large] > 0.5).all()
    assert (turned.diagonal() < 1.3).all()


def test_convolutions_take_orthogonal_steps_and_all_else_does_not() -> None:
    model = build_model(
        "crl-plus", widths=[6, 8], code_width=8, residual_width=4, atoms=8, entries=8
    )
    turned, others = split_weights(model)
    names = {id(weight): name for name, weight in model.named_parameters()}
    assert {names[id(w)] for w in turned} == {
        f"{part}.weight"
        for part in ("source_block.first", "source_block.second", "down_blocks.0.first",
                     "down_blocks.0.second", "down.0", "merge.0", "up_blocks.0.first",
                     "up_blocks.0.second", "up_blocks.1.first", "up_blocks.1.second")
    }  # fmt: skip
    assert len(turned) + len(others) == len(names)


def test_each_group_of_weights_moves_as_its_rate_says() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 1))
    optimiser = Muon(network, 1e-3)
    assert [group["lr"] for group in optimiser.param_groups] == [1e-3, 1e-3 * RATE]
    before = [p.detach().clone() for p in network.parameters()]
    network(torch.randn(2, 3, 8, 8)).square().mean().backward()
    optimiser.step()
    pairs = zip(network.parameters(), before, strict=True)
    kernel, *others = (p.detach() - old for p, old in pairs)
    lengths = torch.linalg.svdvals(kernel.flatten(1)) / (1e-3 * RATE)
    assert ((lengths > 0.5) & (lengths < 1.3)).all()
    for moved in others:  # Adam's first step is its rate in every weight
        torch.testing.assert_close(moved.abs(), torch.full_like(moved, 1e-3), rtol=1e-2, atol=0.0)


def test_what_few_directions_of_the_input_show_is_learnt_sooner_than_with_adam() -> None:
    """Neighbours in an image are nearly equal: the gradient is large in their mean alone."""
    left: dict[str, float] = {}
    for name in ("adam", "muon"):
        torch.manual_seed(3)
        teacher, network = (nn.Conv2d(4, 8, 3, bias=False) for _ in range(2))
        make = {"adam": lambda n: torch.optim.Adam(n.parameters(), lr=2e-3),
                "muon": lambda n: Muon(n, 2e-3)}[name]  # fmt: skip
        optimiser = make(network)
        for _ in range(60):
            smooth = F.avg_pool2d(torch.randn(4, 4, 24, 24), 5, stride=1) + torch.randn(4, 4, 1, 1)
            loss = (network(smooth) - teacher(smooth).detach()).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        left[name] = float((network.weight - teacher.weight).detach().norm())
    assert left["muon"] < 0.9 * left["adam"], left


def test_our_networks_take_orthogonal_steps_unless_told_otherwise() -> None:
    chosen = {
        preset: TrainingConfig.from_dict({"preset": preset, **more}).chosen_optimiser()
        for preset, more in (("crl-plus", {}), ("crl-code", {}), ("crl-paper", {}),
                             ("crl-small", {}), ("pgan", {"pair": [1, 7]}))
    }  # fmt: skip
    assert chosen == {
        "crl-plus": "muon", "crl-code": "adam", "crl-paper": "adam", "crl-small": "adam",
        "pgan": "adam",
    }  # fmt: skip
    assert TrainingConfig(optimiser="adam").chosen_optimiser() == "adam"


@pytest.mark.parametrize("told", ["adam", "muon", None])
def test_a_run_begun_before_there_was_a_choice_goes_on_with_adam(
    tmp_path: Path, told: str | None
) -> None:
    values = asdict(TrainingConfig())
    values.pop("optimiser")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values | ({} if told is None else {"optimiser": told})))
    assert TrainingConfig.load_begun(path).chosen_optimiser() == (told or "adam")
    # The same file as settings for a new run leaves the choice to the network.
    assert TrainingConfig.load(path).chosen_optimiser() == (told or "muon")
