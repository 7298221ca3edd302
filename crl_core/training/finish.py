"""From a run to a checkpoint that can be shared."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from crl_core.card import Card
from crl_core.checkpoint import save_checkpoint
from crl_core.models import CRL, preset_config
from crl_core.training.config import TrainingConfig
from crl_core.trust import TrainingCoverage

CHECKPOINT = "model.safetensors"


def write_checkpoint(
    model: CRL,
    config: TrainingConfig,
    folder: Path,
    *,
    data: str,
    coverage: TrainingCoverage,
    voxel_mm: float | None,
    step: int,
    seconds: float,
    metrics: dict[str, Any],
) -> Path:
    """Write ``model.safetensors`` and its card into the run folder; returns its path."""
    settings = asdict(config)
    settings["source_share"] = list(config.source_share)
    settings["sequences"] = list(config.sequences)
    card = Card(
        name=config.preset,
        preset=config.preset,
        architecture={**preset_config(config.preset), **config.architecture},
        intensity_rule=model.intensity_rule,
        in_plane_mm=voxel_mm if model.intensity_rule == "robust" else None,
        coverage=coverage,
        training={
            "data": data,
            "steps": step,
            "hours": round(seconds / 3600, 2),
            "hardware": _hardware(),
            "settings": settings,
        },
        metrics=metrics,
    )
    path = folder / CHECKPOINT
    save_checkpoint(path, model, card, overwrite=True)
    return path


def _hardware() -> str:
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    return f"{platform.machine()} CPU, {os.cpu_count()} cores, torch {torch.__version__}"
