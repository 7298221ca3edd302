"""What computes, in words."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def device_name(device: torch.device) -> str:
    """Return a device in a user's words: ``CPU, 2 threads``, or the name of a GPU."""
    import torch

    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    if device.type == "mps":
        return "Apple GPU"
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


def hardware(device: torch.device) -> str:
    """Return a device with what is needed to compare figures, for cards and logs."""
    import torch

    if device.type != "cpu":
        return device_name(device)
    return f"{platform.machine()} CPU, {os.cpu_count()} cores, torch {torch.__version__}"
