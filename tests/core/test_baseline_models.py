"""The networks we are compared with: published sizes, and how they behave behind our interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from crl_core.checkpoint import Card, load_checkpoint, save_checkpoint
from crl_core.errors import CheckpointError, CRLError, InputError
from crl_core.models import BASELINE_NAMES, build_model, intensity_rule, preset_config
from crl_core.models.baselines import PairNetwork, ResViT
from crl_core.models.baselines.layers import BatchNorm
from crl_core.models.baselines.patchgan import Critic
from crl_core.models.baselines.pgan import ResidualGenerator
from crl_core.models.baselines.ptnet import (
    TokenPerformer,
    orthogonal_directions,
    performer_attention,
    sinusoids,
)
from crl_core.models.baselines.resvit import SharedTransformer
from crl_core.models.skeleton import skeleton
from crl_core.scan import IntensityScale, Scan
from crl_core.sequence import PAPER_SEQUENCES
from crl_core.synthesis.synthesizer import Synthesizer
from crl_core.synthesis.tiling import encode_in_tiles
from crl_core.trust import TrainingCoverage

SMALL: dict[str, dict[str, Any]] = {
    "pgan": {"width": 4, "blocks": 2},
    "ptnet": {"size": 32, "widths": [8, 8, 12], "local_width": 16, "global_width": 16,
              "blocks": 1, "heads": 2},
    "resvit": {"size": 32, "width": 4, "blocks": 3, "transformers": [1, 3], "tokens": 8,
               "layers": 1, "heads": 2},
}  # fmt: skip
T1_FLAIR, T2W = (torch.tensor(PAPER_SEQUENCES[n].triple) for n in (1, 7))


def small(preset: str, **changes: Any) -> PairNetwork:
    """A small network with weights that are nowhere zero."""
    torch.manual_seed(0)
    model = build_model(preset, **{**SMALL[preset], **changes}).eval().requires_grad_(False)
    assert isinstance(model, PairNetwork)
    for weight in model.parameters():
        weight.add_(0.05 * torch.randn_like(weight))
    return model


def picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def drawn(model: PairNetwork, image: Tensor, target: Tensor = T1_FLAIR) -> Tensor:
    rows = len(image)
    return model(image, T2W.expand(rows, 1, 3), target.expand(rows, 3))


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# published sizes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "changes", "published"),
    [
        ("pgan", {}, 11_365_633),
        ("resvit", {}, 123_441_537),
        ("resvit", {"size": 192}, 123_269_505),
        ("resvit", {"transformers": []}, 11_370_881),
        # 27,640,826 with two performers and a linear layer that the published code never uses.
        ("ptnet", {}, 27_640_826 - 2 * 1_085_696 - 33),
    ],
)
def test_generators_have_the_published_sizes(
    preset: str, changes: dict[str, Any], published: int
) -> None:
    assert skeleton({**preset_config(preset), **changes}).n_parameters == published


def test_what_ptnet_never_uses_has_the_size_that_is_missing() -> None:
    with torch.device("meta"):
        assert count(TokenPerformer(1152, 256)) == 1_085_696
        assert count(nn.Linear(32, 1)) == 33


def test_further_parts_have_the_published_sizes() -> None:
    with torch.device("meta"):
        assert count(ResidualGenerator(3, 64, 9, 0.5)) == 11_371_905
        assert count(SharedTransformer(768, 12, 12, 4, 0.1)) == 85_056_000


@pytest.mark.parametrize(
    ("options", "published"),
    [
        ({"inputs": 2}, 2_763_713),
        ({"inputs": 4}, 2_765_761),
        ({"inputs": 2, "norm": "batch"}, 2_764_609),
        ({"inputs": 2, "padding": 2, "scales": 2}, 5_527_426),
    ],
    ids=["pgan", "pgan of three slices", "resvit", "ptnet"],
)
def test_critics_have_the_published_sizes(options: dict[str, Any], published: int) -> None:
    with torch.device("meta"):
        assert count(Critic(**options)) == published


@pytest.mark.parametrize("preset", BASELINE_NAMES)
def test_a_preset_names_every_entry_of_its_architecture(preset: str) -> None:
    config = preset_config(preset)
    model = skeleton(config)
    assert set(config) == {"kind", *type(model).defaults()}
    assert model.intensity_rule == intensity_rule(config) == "minmax"
    assert model.max_sources == 1
    assert not model.carries_residual


# behind our interface ---------------------------------------------------------------------------


@pytest.mark.parametrize("preset", BASELINE_NAMES)
@pytest.mark.parametrize("size", [(1, 2), (7, 5), (32, 32), (33, 21), (40, 50)])
def test_any_image_size_comes_back_in_its_range(preset: str, size: tuple[int, int]) -> None:
    image = drawn(small(preset), picture(2, 1, *size))
    assert image.shape == (2, 1, *size)
    assert 0.0 <= float(image.min()) <= float(image.max()) <= 1.0


@pytest.mark.parametrize("preset", BASELINE_NAMES)
def test_images_of_a_batch_do_not_mix(preset: str) -> None:
    model, images = small(preset), picture(2, 1, 32, 32)
    apart = torch.cat([drawn(model, images[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(drawn(model, images), apart, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("preset", BASELINE_NAMES)
def test_a_network_of_one_pair_looks_at_the_image_alone(preset: str) -> None:
    model, image = small(preset), picture(1, 1, 32, 32)
    assert model.one_pair
    assert torch.equal(drawn(model, image), drawn(model, image, T2W))
    assert not torch.equal(drawn(model, image), drawn(model, picture(1, 1, 32, 32, seed=1)))


@pytest.mark.parametrize("preset", BASELINE_NAMES)
def test_a_conditioned_network_listens_to_both_settings(preset: str) -> None:
    model, image = small(preset, conditioned=True), picture(1, 1, 20, 30)
    assert not model.one_pair
    base = drawn(model, image)
    other_source = model(image, T1_FLAIR.expand(1, 1, 3), T1_FLAIR[None])
    for other in (drawn(model, image, T2W), other_source):
        assert float((other - base).abs().max()) > 1e-4
    # A fourth number, fat suppression, is passed over.
    four = torch.cat([T2W, torch.ones(1)])
    again = model(image, four.expand(1, 1, 4), T1_FLAIR[None])
    torch.testing.assert_close(again, base)


@pytest.mark.parametrize("preset", ["ptnet", "resvit"])
def test_of_a_larger_image_the_middle_is_drawn_and_the_rest_is_air(preset: str) -> None:
    model, image = small(preset), picture(1, 1, 40, 36)
    found = drawn(model, image)
    torch.testing.assert_close(found[..., 4:36, 2:34], drawn(model, image[..., 4:36, 2:34]))
    found[..., 4:36, 2:34] = 0.0
    assert float(found.abs().max()) == 0.0


@pytest.mark.parametrize("preset", ["ptnet", "resvit"])
def test_a_smaller_image_is_drawn_as_if_it_had_air_around_it(preset: str) -> None:
    model, image = small(preset), picture(1, 1, 20, 25)
    around = nn.functional.pad(image, (3, 4, 6, 6))
    torch.testing.assert_close(drawn(model, image), drawn(model, around)[..., 6:26, 3:28])


@pytest.mark.parametrize("preset", BASELINE_NAMES)
def test_nothing_is_left_to_chance_outside_training(preset: str) -> None:
    model, image = small(preset), picture(1, 1, 32, 32)
    assert torch.equal(drawn(model, image), drawn(model, image))
    if preset != "ptnet":  # it has no dropout
        model.train()
        assert not torch.equal(drawn(model, image), drawn(model, image))


def test_a_voxel_alone_is_refused() -> None:
    with pytest.raises(InputError, match="whole images, not single voxels"):
        drawn(small("pgan"), picture(1, 1, 1, 1))
    with pytest.raises(ValueError, match="takes one source, not 2"):
        small("pgan").encode(picture(1, 2, 8, 8), T2W.expand(1, 2, 3))


# a checkpoint -----------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", BASELINE_NAMES)
def test_a_saved_network_draws_the_same_through_the_synthesiser(
    preset: str, tmp_path: Path, scan: Scan
) -> None:
    model = small(preset)
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.running_mean += 0.1
    card = Card(
        name=preset, preset=preset, architecture={**preset_config(preset), **SMALL[preset]},
        intensity_rule="minmax", in_plane_mm=None,
        coverage=TrainingCoverage(points=(PAPER_SEQUENCES[7], PAPER_SEQUENCES[1])),
        training={}, metrics={},
    )  # fmt: skip
    save_checkpoint(tmp_path / "it.safetensors", model, card)
    synthesizer = Synthesizer(load_checkpoint(tmp_path / "it.safetensors"), device="cpu")
    synthesizer.set_sources([scan])
    found = torch.from_numpy(synthesizer.render_slice(PAPER_SEQUENCES[1], 3))
    scale: IntensityScale = scan.range_scale
    image = torch.from_numpy(scale.to_model(scan.slice(3, 2)))[None, None]
    torch.testing.assert_close(found, drawn(model, image)[0, 0])
    assert found.shape == (40, 48)
    curve = synthesizer.render_points([PAPER_SEQUENCES[1], PAPER_SEQUENCES[7]], 3, 20, 25)
    assert curve.tolist() == pytest.approx([float(found[20, 25])] * 2)


@pytest.mark.parametrize("conditioned", [False, True])
def test_tiles_put_the_whole_image_together_before_it_is_drawn(conditioned: bool) -> None:
    model, image = small("pgan", conditioned=conditioned), picture(1, 1, 150, 140)
    features = encode_in_tiles(model, image, T2W[None, None], tile=64)
    torch.testing.assert_close(model.render(features, T1_FLAIR[None]), drawn(model, image))


# resvit -----------------------------------------------------------------------------------------


def test_resvit_runs_at_192() -> None:
    model = small("resvit", size=192)
    assert isinstance(model, ResViT)
    assert drawn(model, picture(1, 1, 192, 192)).shape == (1, 1, 192, 192)
    positions = [v.shape for n, v in model.named_parameters() if n.endswith("position")]
    assert positions == [(1, 144, 8), (1, 144, 8)]


def test_resvit_holds_its_transformer_once() -> None:
    names = small("resvit").state_dict().keys()
    assert sum(name.endswith("transformer.layers.0.qkv.weight") for name in names) == 1


def test_resvit_without_its_transformer_is_the_network_of_the_first_stage() -> None:
    model = small("resvit")
    assert isinstance(model, ResViT)
    image = picture(1, 1, 32, 32)
    whole = drawn(model, image)
    model.insert(False)
    first = small("resvit", transformers=[])
    kept = {n: v for n, v in model.state_dict().items() if n in first.state_dict()}
    first.load_state_dict(kept)
    torch.testing.assert_close(drawn(model, image), drawn(first, image))
    assert not torch.allclose(drawn(model, image), whole)
    model.insert(True)
    assert torch.equal(drawn(model, image), whole)


# ptnet ------------------------------------------------------------------------------------------


def test_linear_attention_approximates_softmax_attention() -> None:
    """The more directions the nearer, and far nearer than a plain mean of the values."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 12, 8) for _ in range(3))
    q, k = 0.4 * q, 0.4 * k
    exact = torch.softmax(q @ k.transpose(1, 2), dim=-1) @ v

    def error(found: Tensor) -> float:
        return float((found - exact).abs().mean() / exact.abs().mean())

    errors = []
    for count in (64, 65_536):
        lengths = torch.randn(count, 8).norm(dim=1, keepdim=True)
        directions = lengths * orthogonal_directions(count, 8, 1.0)
        errors.append(error(performer_attention(q, k, v, directions)))
    assert errors[1] < 0.02
    assert errors[1] < 0.2 * errors[0]
    assert errors[1] < 0.1 * error(v.mean(dim=1, keepdim=True).expand_as(v))


def test_linear_attention_survives_large_numbers_and_half_precision() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 6, 8, requires_grad=True) for _ in range(3))
    w = orthogonal_directions(8, 8, 8**0.5)
    for scale in (1.0, 40.0):
        found = performer_attention(scale * q, scale * k, v, w)
        found.sum().backward()
        assert all(bool(torch.isfinite(t).all()) for t in (found, q.grad, k.grad, v.grad))
    with torch.autocast("cpu", torch.bfloat16):
        half = performer_attention(q, k, v.bfloat16(), w)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), performer_attention(q, k, v, w), atol=0.05, rtol=0.05)


def test_directions_are_orthogonal_and_as_long_as_asked() -> None:
    torch.manual_seed(0)
    directions = orthogonal_directions(12, 8, 3.0)
    torch.testing.assert_close(directions[:8] @ directions[:8].T, 9.0 * torch.eye(8))
    torch.testing.assert_close(directions.norm(dim=1), torch.full((12,), 3.0))


def test_positions_are_told_by_sines_and_cosines() -> None:
    code = sinusoids(5, 6)[0]
    place = torch.arange(5.0)
    torch.testing.assert_close(code[:, 0], place.sin())
    torch.testing.assert_close(code[:, 1], place.cos())
    torch.testing.assert_close(code[:, 4], (place / 10_000 ** (4 / 6)).sin())


# the critic -------------------------------------------------------------------------------------


def test_a_critic_judges_patches_on_every_scale() -> None:
    torch.manual_seed(0)
    one = Critic(2, width=4)(torch.zeros(1, 2, 256, 256))
    assert [layer.shape[1] for layer in one[0]] == [4, 8, 16, 32, 1]
    assert one[0][-1].shape[-2:] == (30, 30)
    two = Critic(2, width=4, padding=2, scales=2)(torch.zeros(1, 2, 64, 64))
    assert [scale[-1].shape[-1] for scale in two] == [11, 7]
    tiny = Critic(2, width=4)(torch.zeros(1, 2, 16, 16))
    assert bool(torch.isfinite(tiny[0][-1]).all())


# refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "entry", "words"),
    [
        ("resvit", {"size": 200}, "size must be a multiple of 16, not 200"),
        ("resvit", {"transformers": [1, 10]}, "names a block above 9"),
        ("resvit", {"heads": 7}, "7 heads do not divide 768 channels"),
        ("ptnet", {"widths": [6, 8, 8]}, "three multiples of 4"),
        ("ptnet", {"widths": [8, 8]}, "three multiples of 4"),
        ("pgan", {"dropout": 1.0}, "'dropout' must be at least 0 and below 1"),
        ("pgan", {"slices": 3}, "unknown entry 'slices'"),
        ("pgan", {"conditioned": 1}, "'conditioned' has the wrong type"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(
    preset: str, entry: dict[str, Any], words: str
) -> None:
    with pytest.raises(CRLError) as caught:
        skeleton({**preset_config(preset), **entry})
    assert isinstance(caught.value, CheckpointError)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
