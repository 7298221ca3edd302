"""Import of the authors' checkpoints against a plain reading of their forward pass.

The files are made here, in the layout of the published training script, with random weights.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from crl_core.checkpoint import load_checkpoint, save_checkpoint
from crl_core.sequence import PAPER_SEQUENCES
from tests.core.authors_layout import random_state, small_file, small_state, training_file

T2W, FLAIR = PAPER_SEQUENCES[7].triple, PAPER_SEQUENCES[8].triple


def published_forward(
    state: dict[str, Tensor],
    image: Tensor,
    source: tuple[float, float, float],
    target: tuple[float, float, float],
    scale: float = 0.1,
) -> Tensor:
    """The path the published code runs, on bare tensors; image (1, 1, H, W), times in ms."""

    def conv(x: Tensor, name: str) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1)

    def stack(x: Tensor, name: str) -> Tensor:
        place = 0
        while f"{name}.layers.{place}.weight" in state:
            x = torch.relu(x) if place else x
            x = F.linear(
                x, state[f"{name}.layers.{place}.weight"], state[f"{name}.layers.{place}.bias"]
            )
            place += 2
        return x

    def code(times: tuple[float, float, float]) -> Tensor:
        tr, te, ti = times
        return stack(torch.tensor([[tr / 100, te, ti / 100]]), "codemapping_mlp")[:, :, None, None]

    first = x = conv(image, "encoder.head.0")
    block = 0
    while f"encoder.body.{block}.body.0.weight" in state:
        inner = torch.relu(conv(x, f"encoder.body.{block}.body.0"))
        x = x + scale * conv(inner, f"encoder.body.{block}.body.2")
        block += 1
    features = conv(x, f"encoder.body.{block}") + first
    common = features / code(source)
    per_voxel = (common * code(target)).permute(0, 2, 3, 1)
    return stack(per_voxel, "imnet").permute(0, 3, 1, 2)


def imported_forward(path: Path, image: Tensor, source: Any, target: Any) -> Tensor:
    model = load_checkpoint(path).model
    with torch.inference_mode():
        features = model.encode(image, torch.tensor([[source]]))
        return model.render(features, torch.tensor([target]))


def worst_difference(found: Tensor, expected: Tensor) -> float:
    """Largest difference as a fraction of the expected range."""
    spread = expected.max() - expected.min()
    assert spread > 0
    return float((found - expected).abs().max() / spread)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    def writer(content: Any, name: str = "epoch-best.pth") -> Path:
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return writer


Writer = Callable[..., Path]


@pytest.mark.parametrize(
    "pair", [(T2W, FLAIR), (FLAIR, T2W), (T2W, T2W), (FLAIR, (600.0, 10.0, 0.0))]
)
def test_output_is_that_of_the_published_forward_pass(write: Writer, pair: Any) -> None:
    state = small_state(seed=3)
    image = torch.rand(1, 1, 17, 12, generator=torch.Generator().manual_seed(1))
    expected = published_forward(state, image, *pair)
    assert (
        worst_difference(imported_forward(write(small_file(seed=3)), image, *pair), expected) < 1e-5
    )


def test_full_size_is_read_and_gives_the_published_output(write: Writer) -> None:
    state = random_state(256, 32, [256] * 4, [256] * 5)
    assert sum(t.numel() for t in state.values()) == 39_214_337
    assert len(state) == 162
    path = write(training_file(state, "ResNet-32-256", [256] * 5))
    image = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    expected = published_forward(state, image, T2W, FLAIR)
    assert worst_difference(imported_forward(path, image, T2W, FLAIR), expected) < 1e-5


def test_reading_would_notice_another_parameter_convention(write: Writer) -> None:
    """The comparison above can fail: swapping source and target changes the image visibly."""
    image = torch.rand(1, 1, 9, 9, generator=torch.Generator().manual_seed(1))
    swapped = published_forward(small_state(), image, FLAIR, T2W)
    assert (
        worst_difference(imported_forward(write(small_file()), image, T2W, FLAIR), swapped) > 1e-2
    )


def test_card_says_what_is_known_and_what_is_not(write: Writer) -> None:
    checkpoint = load_checkpoint(write(small_file()))
    card = checkpoint.card
    assert card.name == "imported crl-code"
    assert card.preset == "crl-code"
    assert card.intensity_rule == checkpoint.model.intensity_rule == "minmax"
    assert card.in_plane_mm is None
    assert card.metrics == {}
    assert "unknown" in card.training["data"]
    assert "Imported" in card.note
    assert "not for clinical use" in card.note
    assert len(card.sha256) == 64
    assert card.architecture["convention"] == "authors"
    assert not checkpoint.model.training
    assert not any(p.requires_grad for p in checkpoint.model.parameters())


def test_coverage_is_that_of_the_authors_training(write: Writer) -> None:
    coverage = load_checkpoint(write(small_file())).card.coverage
    triples = [p.triple for p in coverage.points]
    assert (8000.0, 99.98, 2025.0) in triples  # their code's TE, not that of their table
    assert len(triples) == 7
    expected = [PAPER_SEQUENCES[n].triple for n in (1, 2, 3, 5, 7, 8)]
    assert triples[:6] == expected
    assert [p.triple for p in coverage.held_out] == [PAPER_SEQUENCES[n].triple for n in (4, 6)]


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("attention", [False, True])
def test_prefix_and_dead_attention_do_not_matter(
    write: Writer, prefix: str, attention: bool
) -> None:
    plain = load_checkpoint(write(small_file(), "plain.pth"))
    content = small_file(attention=attention)
    content["model"]["sd"] = {prefix + k: v for k, v in content["model"]["sd"].items()}
    other = load_checkpoint(write(content, "other.pt"))
    assert other.card.sha256 == plain.card.sha256
    assert not any("cross_attn" in name for name in other.model.state_dict())


def test_memory_layout_does_not_matter(write: Writer) -> None:
    plain = load_checkpoint(write(small_file(), "plain.pth"))
    content = small_file()
    state = content["model"]["sd"]
    for name, value in state.items():
        # Every second value of a wider storage; one value alone still claims the wide stride.
        state[name] = value.repeat_interleave(2, dim=-1)[..., ::2]
    assert not state["imnet.layers.0.weight"].is_contiguous()
    assert load_checkpoint(write(content)).card.sha256 == plain.card.sha256


def test_dead_attention_may_hold_anything(write: Writer) -> None:
    content = small_file()
    content["model"]["sd"]["cross_attn.q_proj.weight"] = torch.tensor([float("nan")])
    assert load_checkpoint(write(content)).model.n_parameters > 0


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_single(write: Writer, kind: torch.dtype) -> None:
    content = small_file()
    content["model"]["sd"] = {k: v.to(kind) for k, v in content["model"]["sd"].items()}
    model = load_checkpoint(write(content)).model
    assert {t.dtype for t in model.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    ("given", "used"),
    [(0.25, 0.25), (1, 1.0), (10, 10.0), (0, 0.1), (-1.0, 0.1), (11.0, 0.1), (True, 0.1),
     (float("nan"), 0.1), (float("inf"), 0.1), ("0.5", 0.1), (None, 0.1)],
)  # fmt: skip
def test_residual_scale_is_read_where_it_makes_sense(
    write: Writer, given: Any, used: float
) -> None:
    content = small_file()
    content["model"]["args"]["encoder_spec"]["args"]["res_scale"] = given
    path = write(content)
    assert load_checkpoint(path).card.architecture["residual_scale"] == used
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    expected = published_forward(small_state(), image, T2W, FLAIR, used)
    assert worst_difference(imported_forward(path, image, T2W, FLAIR), expected) < 1e-5


def test_residual_scale_may_be_absent(write: Writer) -> None:
    content = small_file()
    del content["model"]["args"]["encoder_spec"]["args"]
    assert load_checkpoint(write(content)).card.architecture["residual_scale"] == 0.1


def test_converted_once_it_is_a_checkpoint_like_any_other(write: Writer, tmp_path: Path) -> None:
    imported = load_checkpoint(write(small_file()))
    save_checkpoint(tmp_path / "own.safetensors", imported.model, imported.card)
    again = load_checkpoint(tmp_path / "own.safetensors")
    assert again.card == imported.card
    for name, weight in imported.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name])
