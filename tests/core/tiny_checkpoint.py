"""Small networks, their cards and ways to spoil a checkpoint, for tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from crl_core.checkpoint import (
    Card,
    load_checkpoint,
)
from crl_core.errors import CheckpointError
from crl_core.models import CRL, build_model, preset_config
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters
from crl_core.trust import ParameterBox, TrainingCoverage

SIZES: dict[str, dict[str, Any]] = {
    "crl-code": {"features": 8, "blocks": 1, "code_hidden": [6], "decoder_hidden": [5]},
    "crl-paper": {"features": 8, "blocks": 1, "heads": 2, "code_hidden": [6], "decoder_hidden": []},
    "crl-small": {"features": 8, "blocks": 1, "code_hidden": [6], "decoder_hidden": [5]},
    "crl-plus": {"widths": [4, 6], "code_width": 5, "residual_width": 3, "atoms": 8, "entries": 8},
}


def tiny_model(preset: str = "crl-small", seed: int = 0) -> CRL:
    torch.manual_seed(seed)
    return build_model(preset, **SIZES[preset])


def tiny_card(preset: str = "crl-small", **changes: Any) -> Card:
    return Card(
        **{
            "name": "tiny",
            "preset": preset,
            "architecture": {**preset_config(preset), **SIZES[preset]},
            "intensity_rule": "robust",
            "in_plane_mm": 0.9,
            "coverage": TrainingCoverage(
                points=tuple(PAPER_SEQUENCES.values()),
                box=ParameterBox((500.0, 9000.0), (8.0, 120.0), (100.0, 3000.0)),
                held_out=(SequenceParameters(600, 10),),
                data="digital heads",
            ),
            "training": {
                "steps": 10,
                "seconds": 1.5,
                "config": {"sequences": (1, 2), "bf16": True},
            },
            "metrics": {"psnr": 31.5, "baselines": {"identity": 12.0}, "remarks": None},
            **changes,
        }
    )


def refusal(path: Path, read: Callable[[Path], object] = load_checkpoint) -> str:
    """The one line a user reads."""
    with pytest.raises(CheckpointError) as caught:
        read(path)
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    return line


def split(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and tensor bytes of a safetensors file."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def join(path: Path, header: object, tensors: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + tensors)


def embedded(path: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads(split(path)[0]["__metadata__"]["card"])
    return card


def embed(path: Path, card: object) -> None:
    """Replace the card inside the file and remove the one beside it."""
    header, tensors = split(path)
    text = card if isinstance(card, str) else json.dumps(card)
    join(path, {**header, "__metadata__": {"card": text}}, tensors)
    path.with_suffix(".json").unlink(missing_ok=True)


def rewrite(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the weights but keep the card, as somebody would who edits the file."""
    weights = safetensors.torch.load(path.read_bytes())
    card = split(path)[0]["__metadata__"]
    change(weights)
    safetensors.torch.save_file(weights, path, metadata=card)
