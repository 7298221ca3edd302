"""The mixture of tissues: what intensities say, how it is rendered, and what never happens."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from crl_core.models.base import SOME
from crl_core.models.conv import Conv3x3, weight_gradient
from crl_core.models.dictionary import FAT_LEFT, LAST_ECHO, TissueDictionary
from crl_core.models.mixture import MixtureCRL
from crl_core.physics.signal import fse_signal
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters
from crl_core.synthesis.tiling import encode_in_tiles
from crl_core.training.losses import doubt_of, weighted_rms

PD, T2W, FLAIR = (torch.tensor(PAPER_SEQUENCES[n].numbers) for n in (5, 7, 9))


def network(**changes: object) -> MixtureCRL:
    torch.manual_seed(3)
    made = MixtureCRL(
        widths=[8, 12, 16], code_width=16, residual_width=8, atoms=40, entries=60, **changes
    )  # type: ignore[arg-type]
    with torch.no_grad():  # as if trained: corrections that are not nothing
        for layer in (made.shares, made.amount, made.correction, made.doubt_out):
            layer.weight.normal_(std=0.3)
    return made.eval()


def head(sources: int, side: int = 24) -> torch.Tensor:
    rng = np.random.default_rng(5)
    smooth = rng.random((1, sources, side // 4, side // 4)).repeat(4, axis=2).repeat(4, axis=3)
    return torch.from_numpy(smooth.astype(np.float32))


def test_the_tissues_follow_the_signal_equation() -> None:
    made = network()
    for number, p in PAPER_SEQUENCES.items():
        train = SequenceParameters(p.tr, p.te, p.ti, echo_spacing=LAST_ECHO, echo_train_length=1)
        expected = fse_signal(
            1.0,
            made.tissues.log_t1.exp().detach().numpy(),
            made.tissues.log_t2.exp().detach().numpy(),
            train,
        )
        found = made.signals(torch.tensor(p.numbers)).detach().numpy()
        np.testing.assert_allclose(found, expected, atol=2e-5, err_msg=f"sequence {number}")


def test_the_posterior_is_that_of_the_stated_model() -> None:
    """Against numeric integration over each entry's amount."""
    torch.manual_seed(0)
    made = TissueDictionary(tissues=3, entries=5)
    with torch.no_grad():
        made.log_spread.normal_(-3.0, 0.2)
        made.log_amount_spread.normal_(-1.9, 0.2)
    parameters = torch.stack([PD, T2W])[None]
    gains, there = torch.tensor([[1.3, 2.9]]), torch.ones(1, 2)
    image = torch.tensor([0.62, 0.85])[None, :, None, None]
    share, held, evidence = made.posterior(image, parameters, gains, there)
    x = (image[0, :, 0, 0] / gains[0]).numpy()
    basis = made.entries(parameters)[0].detach().numpy()
    noise, spread = made.log_spread.exp().tolist(), made.log_amount_spread.exp().tolist()
    weights, moments = [], []
    scale = np.linspace(-1.0, 3.0, 40_001)
    for k in range(5):
        likely = stats.norm.pdf(x[:, None], scale * basis[:, k, None], noise[k]).prod(axis=0)
        joint = likely * stats.norm.pdf(scale, 1.0, spread[k])
        mass = integrate.trapezoid(joint, scale)
        weights.append(made.log_prior[k].exp().item() * mass)
        moments.append(integrate.trapezoid(scale * joint, scale) / mass)
    prior, wide = made.log_air.exp().tolist()
    air = prior * stats.norm.pdf(x, 0.0, wide).prod()
    total = sum(weights) + air
    mixture = made.mixture.softmax(dim=1).detach().numpy()
    entries = np.array(weights) / total
    found = share[0, :, 0, 0].detach().numpy()
    np.testing.assert_allclose(found, [*(entries @ mixture), air / total], rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(
        held[0, :, 0, 0].detach().numpy(), (entries * moments) @ mixture, rtol=1e-3, atol=1e-7
    )
    # Densities are given without the factor of the normal distribution.
    expected = np.log(total) + np.log(2 * np.pi)
    assert float(evidence.detach()[0, 0, 0, 0]) == pytest.approx(expected, rel=1e-3)


def drawn(
    made: TissueDictionary, parameters: torch.Tensor, factors: tuple[float, ...]
) -> torch.Tensor:
    """Return voxels of the model itself, (1, S, 40, 60), each source brighter by a factor."""
    rng = np.random.default_rng(4)
    prior = made.log_prior.exp().detach().double().numpy()
    which = rng.choice(len(prior), 2400, p=prior / prior.sum())
    basis = made.entries(parameters)[0].detach().numpy()[:, which]
    clean = basis * rng.normal(1.0, 0.15, 2400)
    noisy = np.abs(clean + 0.03 * rng.standard_normal(clean.shape))
    noisy[:, 2000:] = 0.0  # air tells nothing
    usual = made.usual_gain(parameters)[0].detach().numpy()
    images = noisy * (usual * np.array(factors))[:, None]
    return torch.from_numpy(images.reshape(1, -1, 40, 60).astype(np.float32))


@pytest.mark.parametrize("factors", [(1.0, 1.0, 1.0), (1.15, 0.9, 1.0), (0.85, 1.0, 1.2)])
def test_how_bright_a_source_is_follows_from_its_voxels(
    factors: tuple[float, float, float],
) -> None:
    made = TissueDictionary(tissues=36, entries=72)
    parameters = torch.stack([PD, T2W, FLAIR])[None]
    images = drawn(made, parameters, factors)
    found = made.fit_gains(images, parameters, torch.ones(1, 3)).numpy()[0]
    relative = np.log(factors) - np.log(factors)[0]
    np.testing.assert_allclose(found - found[0], relative, atol=0.03)
    np.testing.assert_allclose(found, np.log(factors), atol=0.06)


def test_a_rendering_follows_the_brightness_of_its_sources() -> None:
    """Sources of other brightness are the same sources; the unit is the first one's."""
    made = network()
    parameters = torch.stack([PD, T2W])[None]
    images = drawn(made.tissues, parameters, (1.0, 1.0))
    with torch.inference_mode():
        one = made.render(made.encode(images, parameters), FLAIR[None])
        factors = torch.tensor([0.9, 1.1])[None, :, None, None]
        other = made.render(made.encode(images * factors, parameters), FLAIR[None])
    apart = (other - 0.9 * one).abs().mean() / one.abs().mean()
    assert float(apart) < 0.03


def test_what_intensities_alone_say_is_trained_on_some_voxels() -> None:
    made = network().train()
    parameters = torch.stack([PD, T2W])[None]
    images = head(2, 22)
    features = made.encode(images, parameters)
    alone = made.render_intensity(features, torch.stack([PD, FLAIR])[None])
    assert alone is not None
    assert alone.shape == (1, 2, *images[0, 0, ::SOME, ::SOME].shape)
    alone.sum().backward()
    touched = {n.split(".")[0] for n, p in made.named_parameters() if p.grad is not None}
    assert touched == {"tissues"}
    assert made.tissues.log_prior.grad is not None
    made.eval()
    assert made.render_intensity(made.encode(images, parameters), PD[None, None]) is None


@pytest.mark.parametrize("shape", [(2, 3, 9, 14), (1, 40, 33, 8), (3, 1, 4, 4)])
def test_gradients_of_weights_are_those_of_the_library(shape: tuple[int, int, int, int]) -> None:
    torch.manual_seed(1)
    layer = Conv3x3(shape[1], 5)
    x = torch.randn(*shape)
    pulled = torch.randn(shape[0], 5, *shape[2:])
    layer(x).backward(pulled)
    reference = torch.nn.grad.conv2d_weight(x, layer.weight.shape, pulled, padding=1)
    torch.testing.assert_close(weight_gradient(x, pulled), reference, rtol=1e-4, atol=1e-4)
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, reference, rtol=1e-4, atol=1e-4)


def test_convolutions_do_the_same_with_and_without_half_precision_instructions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(2)
    layer = Conv3x3(6, 7)
    x = torch.randn(2, 6, 21, 17, requires_grad=True)
    found = []
    for own in (True, False):
        monkeypatch.setattr("crl_core.models.conv._without_half", lambda own=own: own)
        layer.zero_grad()
        x.grad = None
        (layer(x).square()).sum().backward()
        assert layer.bias is not None
        grads = [p.grad.clone() for p in (layer.weight, layer.bias, x) if p.grad is not None]
        found.append([layer(x).detach(), *grads])
    assert len(found[0]) == 4
    for own, library in zip(*found, strict=True):
        torch.testing.assert_close(own, library, rtol=1e-4, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.floats(400, 16_000), st.floats(0, 4500), st.integers(0, 1))
def test_no_voxel_grows_brighter_with_te(tr: float, ti: float, fat: int) -> None:
    made = network()
    ti = min(ti, tr - 310.0) if tr > 400 else 0.0
    ti = 0.0 if ti < 20 else ti
    with torch.inference_mode():
        features = made.encode(head(2), torch.stack([PD, T2W])[None])
        te = torch.linspace(5.0, 300.0, 24)
        targets = torch.stack([torch.tensor([tr, float(t), ti, fat]) for t in te])[None]
        images = made.render_many(features, targets)[0]
    assert float(images.min()) >= 0.0
    assert float(images.diff(dim=0).max()) <= 1e-6
    assert float((images[0] - images[-1]).max()) > 0.01


def test_the_order_of_the_sources_does_not_matter_but_for_the_unit() -> None:
    made = network()
    images, parameters = head(3), torch.stack([PD, T2W, FLAIR])[None]
    with torch.inference_mode():
        one = made.encode(images, parameters)
        order = [0, 2, 1]
        other = made.encode(images[:, order], parameters[:, order])
        first = made.render(one, T2W[None])
        torch.testing.assert_close(made.render(other, T2W[None]), first, rtol=1e-4, atol=1e-6)
        order = [1, 0, 2]
        moved = made.render(made.encode(images[:, order], parameters[:, order]), T2W[None])
    unit = made.tissues.usual_gain(parameters[0]).detach()
    factor = made.tissues.fit_gains(images, parameters, torch.ones(1, 3))[0].exp()
    ratio = (unit * factor)[1] / (unit * factor)[0]
    torch.testing.assert_close(moved, first * ratio, rtol=1e-3, atol=1e-5)


def test_a_source_that_is_not_there_changes_nothing() -> None:
    made = network()
    parameters = torch.stack([PD, T2W, FLAIR])[None]
    images = head(3)
    with torch.inference_mode():
        alone = made.render(made.encode(images[:, :1], parameters[:, :1]), FLAIR[None])
        there = torch.tensor([[True, False, False]])
        masked = made.render(made.encode(images, parameters, there), FLAIR[None])
        both = made.render(made.encode(images[:, :2], parameters[:, :2]), FLAIR[None])
    torch.testing.assert_close(masked, alone, rtol=1e-4, atol=1e-6)
    assert float((both - alone).abs().max()) > 0.01


@pytest.mark.parametrize("shape", [(17, 23), (4, 4), (33, 8)])
def test_any_size_comes_back(shape: tuple[int, int]) -> None:
    made = network()
    with torch.inference_mode():
        features = made.encode(torch.rand(2, 1, *shape), PD[None, None].repeat(2, 1, 1))
        assert made.render(features, T2W[None].repeat(2, 1)).shape == (2, 1, *shape)
        assert {v.shape[-2:] for v in features.values()} == {shape}


def test_suppressed_fat_is_dark_and_brain_is_not() -> None:
    made = network()
    plain = made.signals(T2W).detach()
    without = made.signals(torch.cat([T2W[:3], torch.ones(1)])).detach()
    fat = torch.sigmoid(made.tissues.fat) > 0.9
    assert bool(fat.any())
    assert float((without / plain)[fat].max()) < FAT_LEFT + 0.1
    water = torch.sigmoid(made.tissues.fat) < 0.05
    assert float((without / plain)[water].min()) > 0.95
    # Parameters without the fourth number mean the same as a zero there.
    torch.testing.assert_close(made.signals(T2W[:3]).detach(), plain)


def test_expected_errors_are_positive_and_train_without_touching_the_image() -> None:
    made = network()
    features = made.encode(head(1), PD[None, None])
    doubt = made.spread_many(features, torch.stack([T2W, FLAIR])[None])
    assert doubt is not None
    assert doubt.shape == (1, 2, 24, 24)
    assert bool((doubt > 0).all())
    doubt.sum().backward()
    touched = {n.split(".")[0] for n, p in made.named_parameters() if p.grad is not None}
    assert touched == {"doubt", "doubt_film", "doubt_out"}


def test_too_many_sources_are_refused() -> None:
    made = network(max_sources=2)
    with pytest.raises(ValueError, match="up to 2 sources, not 3"):
        made.encode(head(3), torch.stack([PD, T2W, FLAIR])[None])


def test_tiles_know_what_the_whole_image_tells() -> None:
    made = network()
    with torch.no_grad():
        made.context.weight.normal_(std=3.0)
    # Head on one side, air on the other: seen alone, each would tell of another subject.
    images = torch.cat([head(1, 128), torch.zeros(1, 1, 128, 128)], dim=-1)
    with torch.inference_mode():
        whole = made.encode(images, PD[None, None])
        tiled = encode_in_tiles(made, images, PD[None, None], 128)
    for name, value in whole.items():
        apart = (value - tiled[name]).abs().mean() / value.abs().mean()
        assert float(apart) < 1e-3, name


def test_root_mean_square_is_that_of_each_image() -> None:
    rng = np.random.default_rng(2)
    image, target = (rng.random((2, 3, 8, 9)).astype(np.float32) for _ in range(2))
    weight = rng.random((2, 1, 8, 9)).astype(np.float32)
    each = np.sqrt(((image - target) ** 2 * weight).sum((2, 3)) / weight.sum((2, 3)))
    found = weighted_rms(*(torch.from_numpy(a) for a in (image, target, weight)))
    assert float(found) == pytest.approx(float(each.mean()), rel=1e-3)


def test_the_best_doubt_is_the_mean_error() -> None:
    apart = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    mean = float(apart.mean())
    scores = [
        float(doubt_of(apart, torch.full_like(apart, f * mean), torch.ones_like(apart)))
        for f in (0.7, 1.0, 1.4)
    ]
    assert scores[1] < min(scores[0], scores[2])
