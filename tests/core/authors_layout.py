"""Random files in the layout of the authors' checkpoints, for the tests of their import."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from crl_core.checkpoint import load_checkpoint
from crl_core.errors import CheckpointError


def random_state(
    features: int,
    blocks: int,
    code: list[int],
    decoder: list[int],
    *,
    attention: bool = True,
    seed: int = 0,
) -> OrderedDict[str, Tensor]:
    """Weights with the published names, uniform within 1 / sqrt(inputs) like torch's own."""
    generator = torch.Generator().manual_seed(seed)
    state: OrderedDict[str, Tensor] = OrderedDict()

    def add(name: str, *shape: int) -> None:
        bound = 1.0 / float(torch.tensor(shape[1:]).prod()) ** 0.5
        for part, size in (("weight", shape), ("bias", shape[:1])):
            values = torch.empty(size).uniform_(-bound, bound, generator=generator)
            state[f"{name}.{part}"] = values

    add("encoder.head.0", features, 1, 3, 3)
    for block in range(blocks):
        for place in (0, 2):
            add(f"encoder.body.{block}.body.{place}", features, features, 3, 3)
    add(f"encoder.body.{blocks}", features, features, 3, 3)
    for stack, widths in (
        ("codemapping_mlp", [3, *code, features]),
        ("imnet", [features, *decoder, 1]),
    ):
        for layer in range(len(widths) - 1):
            add(f"{stack}.layers.{2 * layer}", widths[layer + 1], widths[layer])
    if attention:
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            add(f"cross_attn.{part}", features, features)
    return state


def small_state(**options: Any) -> OrderedDict[str, Tensor]:
    """Eight channels, two blocks, hidden layers of three different widths."""
    return random_state(8, 2, [5, 6], [7, 9, 4], **options)


def training_file(state: dict[str, Tensor], encoder: str, decoder: list[int]) -> dict[str, Any]:
    """What the published training script puts around the weights."""
    moments = {
        i: {"step": torch.tensor(3.0), "exp_avg": torch.zeros_like(t)}
        for i, t in enumerate(list(state.values())[:2])
    }
    return {
        "model": {
            "name": "crl",
            "args": {
                "encoder_spec": {"name": encoder, "args": {"res_scale": 0.1}},
                "imnet_spec": {"name": "mlp", "args": {"out_dim": 1, "hidden_list": decoder}},
            },
            "sd": state,
        },
        "optimizer": {
            "name": "adam",
            "args": {"lr": 1e-4},
            "sd": {"state": moments, "param_groups": [{"lr": 1e-4, "params": [0, 1]}]},
        },
        "epoch": 3,
    }


def small_file(**options: Any) -> dict[str, Any]:
    """A complete small file."""
    return training_file(small_state(**options), "ResNet-2-8", [7, 9, 4])


def refusal(path: Path) -> str:
    """The one line a user reads."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    line = str(caught.value)
    assert path.name in line
    assert "\n" not in line
    return line
