"""What a new run writes first: its settings, and the machine it begins on."""

from __future__ import annotations

import json
import os
import platform
from typing import Any

import torch

from crl_core import __version__
from crl_core.devices import hardware
from crl_core.io.atomic import atomic_path
from crl_core.training.config import TrainingConfig
from crl_core.training.data_config import DataConfig
from crl_core.training.folder import CONFIG, DATA, ENVIRONMENT, RunFolder


def new_run(
    folder: RunFolder, config: TrainingConfig, data: DataConfig, device: torch.device
) -> None:
    """Make the folder of a new run; the settings come last and mark it as one.

    Raises
    ------
    OutputError
        When the folder holds anything: nothing is overwritten.
    """
    folder.check_free()
    texts = {DATA: data.to_json(), ENVIRONMENT: json.dumps(environment(device), indent=2)}
    for name, text in {**texts, CONFIG: config.to_json()}.items():
        with atomic_path(folder / name, overwrite=True) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


def environment(device: torch.device) -> dict[str, Any]:
    """Return versions, processors and threads."""
    import numpy

    return {
        "crl_explorer": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "hardware": hardware(device),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def same_threads(folder: RunFolder, device: str) -> None:
    """Use as many threads as before: sums are rounded in another order with another number."""
    threads = folder.read_json(ENVIRONMENT).get("threads")
    if device == "cpu" and isinstance(threads, int) and 1 <= threads <= 1024:
        torch.set_num_threads(threads)
