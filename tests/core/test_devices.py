"""A device is called what it is."""

from __future__ import annotations

import pytest
import torch

from crl_core.devices import device_name, hardware


def test_a_machine_with_a_gpu_that_is_not_used_does_not_claim_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"a GPU, number {device}")
    assert "CPU" in device_name(torch.device("cpu"))
    assert torch.__version__ in hardware(torch.device("cpu"))
    assert hardware(torch.device("cuda:1")) == "a GPU, number cuda:1"
    assert hardware(torch.device("mps")) == "Apple GPU"


@pytest.mark.parametrize(("threads", "words"), [(1, "CPU, 1 thread"), (2, "CPU, 2 threads")])
def test_the_processor_is_told_with_its_threads(threads: int, words: str) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert device_name(torch.device("cpu")) == words
    finally:
        torch.set_num_threads(before)
