"""The four networks: published sizes, what each promises, and what cannot be built."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from crl_core.errors import CheckpointError
from crl_core.models import CRL, PRESET_NAMES, build_from_config, build_model, preset_config
from crl_core.models.codes import reference_gain
from crl_core.models.paper import CrossAttention, PaperCRL
from crl_core.models.plus import PlusCRL, physics_signal
from crl_core.models.ratio import RatioCRL
from crl_core.models.skeleton import skeleton
from crl_core.physics.signal import fse_signal
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters

SMALL: dict[str, dict[str, Any]] = {
    "crl-code": {"features": 8, "blocks": 2, "code_hidden": [16], "decoder_hidden": [12]},
    "crl-paper": {"features": 8, "blocks": 2, "heads": 2, "code_hidden": [16]},
    "crl-small": {"features": 8, "blocks": 2, "code_hidden": [16], "decoder_hidden": [12]},
    "crl-plus": {"widths": [6, 8, 10], "code_width": 8, "residual_width": 5, "atoms": 8,
                 "entries": 8},
}
SMALL["crl-paper"]["decoder_hidden"] = [12]
OLDER = {"kind": "plus", "widths": [6, 8, 10], "code_width": 8, "residual_width": 5}
"""The network that the preset crl-plus was before; checkpoints of it go on working."""

T1_FLAIR, T2W, FLAIR = (torch.tensor(PAPER_SEQUENCES[n].triple) for n in (1, 7, 9))


def small(preset: str, seed: int = 0) -> CRL:
    """A small network with weights that are nowhere zero, so that every part has an effect."""
    torch.manual_seed(seed)
    return stirred(build_model(preset, **SMALL[preset]))


def older_plus() -> CRL:
    torch.manual_seed(0)
    return stirred(build_from_config(OLDER))


def stirred(model: CRL) -> CRL:
    model.eval().requires_grad_(False)
    for weight in model.parameters():
        weight.add_(0.05 * torch.randn_like(weight))
    return model


def picture(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# sizes ------------------------------------------------------------------------------------------


def built_without_memory(preset: str) -> Any:
    return skeleton(preset_config(preset))


def test_crl_code_has_the_published_sizes() -> None:
    model = built_without_memory("crl-code")
    assert isinstance(model, RatioCRL)
    assert count(model.encoder) == 38_357_760
    assert count(model.codemapping_mlp) == 264_192
    assert count(model.imnet) == 329_217
    # All that the authors' files hold but the cross-attention that is never used.
    assert model.n_parameters == 39_214_337 - 263_168


def test_crl_paper_has_the_sizes_of_the_text() -> None:
    model = built_without_memory("crl-paper")
    assert isinstance(model, PaperCRL)
    assert count(model.encoder) == 38_357_760
    assert count(model.attention) == 263_168
    assert model.attention.heads == 8
    linear = [
        [layer.weight.shape for layer in part.layers if isinstance(layer, nn.Linear)]
        for part in (model.embedding, model.decoder)
    ]
    assert linear[0] == [(256, 3), (256, 256), (256, 256), (256, 256)]
    assert linear[1] == [(256, 256)] * 4 + [(1, 256)]


def test_crl_small_is_small() -> None:
    assert built_without_memory("crl-small").n_parameters < 500_000


@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_a_preset_names_every_entry_of_its_architecture(preset: str) -> None:
    model, config = built_without_memory(preset), preset_config(preset)
    assert set(config) == {"kind", *type(model).defaults()}


@pytest.mark.parametrize(
    ("preset", "rule", "carries"),
    [("crl-code", "minmax", False), ("crl-paper", "minmax", False),
     ("crl-small", "robust", True), ("crl-plus", "robust", True)],
)  # fmt: skip
def test_conventions_belong_to_the_preset(preset: str, rule: str, carries: bool) -> None:
    model = built_without_memory(preset)
    assert (model.intensity_rule, model.carries_residual) == (rule, carries)


@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_a_skeleton_has_every_tensor_and_no_memory(preset: str) -> None:
    torch.manual_seed(0)
    bones = skeleton({**preset_config(preset), **SMALL[preset]})
    assert torch.initial_seed() == 0
    assert all(t.is_meta for t in bones.state_dict().values())
    real = build_model(preset, **SMALL[preset]).state_dict()
    assert {n: t.shape for n, t in bones.state_dict().items()} == {
        n: t.shape for n, t in real.items()
    }


# every network ----------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESET_NAMES)
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (16, 12), (13, 8)])
def test_any_image_size_comes_back(preset: str, size: tuple[int, int]) -> None:
    model = small(preset)
    images, source = picture(2, 1, *size), torch.stack([T2W, FLAIR])[:, None]
    out = model.render(model.encode(images, source), torch.stack([FLAIR, T1_FLAIR]))
    assert out.shape == (2, 1, *size)
    assert bool(torch.isfinite(out).all())


@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_images_of_a_batch_do_not_mix(preset: str) -> None:
    model = small(preset)
    images, source = picture(2, 1, 8, 8), torch.stack([T2W, FLAIR])[:, None]
    target = torch.stack([FLAIR, T1_FLAIR])
    together = model(images, source, target)
    apart = [model(images[i : i + 1], source[i : i + 1], target[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(together, torch.cat(apart), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_one_encoding_serves_every_target(preset: str) -> None:
    """Rendering leaves the features as they are: a scan is encoded once."""
    model = small(preset)
    features = model.encode(picture(1, 1, 8, 8), T2W[None, None])
    before = {name: value.clone() for name, value in features.items()}
    first = model.render(features, FLAIR[None])
    model.render(features, T1_FLAIR[None])
    assert all(torch.equal(features[name], value) for name, value in before.items())
    assert torch.equal(model.render(features, FLAIR[None]), first)


@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_image_and_both_settings_matter(preset: str) -> None:
    model = small(preset)
    image, source = picture(1, 1, 8, 8), T2W[None, None]
    base = model(image, source, FLAIR[None])
    for other in (
        model(picture(1, 1, 8, 8, seed=1), source, FLAIR[None]),
        model(image, T1_FLAIR[None, None], FLAIR[None]),
        model(image, source, T1_FLAIR[None]),
    ):
        assert float((other - base).abs().max()) > 1e-4


@pytest.mark.parametrize("preset", ["crl-code", "crl-paper", "crl-small"])
def test_two_sources_are_too_many_for_these(preset: str) -> None:
    with pytest.raises(ValueError, match="takes one source, not 2"):
        small(preset).encode(picture(1, 2, 8, 8), torch.stack([T2W, FLAIR])[None])


# crl-code and crl-small -------------------------------------------------------------------------


def test_crl_code_returns_its_own_reconstruction_at_the_source_settings() -> None:
    """Multiplying by the code it was divided by leaves decoder(encoder(x))."""
    model = small("crl-code")
    assert isinstance(model, RatioCRL)
    image = picture(1, 1, 8, 8)
    plain = model.imnet.on_image(model.encoder(image))
    torch.testing.assert_close(model(image, T2W[None, None], T2W[None]), plain)


@given(
    st.floats(200.0, 20_000.0),
    st.floats(5.0, 300.0),
    st.one_of(st.just(0.0), st.floats(20.0, 5000.0)),
    st.floats(0.1, 1000.0),
)
def test_codes_of_crl_small_never_come_near_zero(
    tr: float, te: float, ti: float, strength: float
) -> None:
    """Whatever training does to the weights."""
    model = small("crl-small")
    assert isinstance(model, RatioCRL)
    last = model.codemapping_mlp.layers[-1]
    assert isinstance(last, nn.Linear)
    last.weight.mul_(strength)
    code = model.code(torch.tensor([[tr, te, ti]]))
    assert 0.049 < float(code.min()) <= float(code.max()) < 20.1


def test_codes_of_crl_code_do_not_depend_on_what_else_is_in_the_batch() -> None:
    """Features are divided by them, and some come close to zero."""
    torch.manual_seed(0)
    model = build_model("crl-code", features=256, blocks=1).requires_grad_(False)
    assert isinstance(model, RatioCRL)
    triples = torch.tensor([p.triple for p in PAPER_SEQUENCES.values()])
    together = model.code(triples)
    assert together.dtype == torch.float32
    for row, triple in zip(together, triples, strict=True):
        assert torch.equal(model.code(triple[None])[0], row)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.code(triples), together)


# crl-paper --------------------------------------------------------------------------------------


def library_attention(own: CrossAttention, features: int, heads: int) -> nn.MultiheadAttention:
    other = nn.MultiheadAttention(features, heads, batch_first=True).eval().requires_grad_(False)
    parts = (own.q_proj, own.k_proj, own.v_proj)
    other.in_proj_weight.copy_(torch.cat([p.weight for p in parts]))
    other.in_proj_bias.copy_(torch.cat([p.bias for p in parts]))
    other.out_proj.load_state_dict(own.out_proj.state_dict())
    return other


@pytest.mark.parametrize("tokens", [1, 2, 5])
def test_attention_is_that_of_the_library(tokens: int) -> None:
    torch.manual_seed(0)
    own = CrossAttention(12, 3).requires_grad_(False)
    image, keys = torch.randn(2, 12, 4, 5), torch.randn(2, tokens, 12)
    query = image.flatten(2).transpose(1, 2)
    expected, _ = library_attention(own, 12, 3)(query, keys, keys)
    expected = expected.transpose(1, 2).reshape(2, 12, 4, 5)
    torch.testing.assert_close(own(image, keys), expected, atol=1e-5, rtol=1e-4)


def test_one_token_shifts_every_voxel_alike_whatever_the_image() -> None:
    torch.manual_seed(0)
    own = CrossAttention(8, 2).requires_grad_(False)
    token = torch.randn(1, 1, 8)
    a, b = (own(torch.randn(1, 8, 3, 3), token) for _ in range(2))
    assert torch.equal(a, b)
    assert torch.equal(a, a[:, :, :1, :1].expand_as(a))
    several = torch.randn(1, 3, 8)
    c, d = (own(torch.randn(1, 8, 3, 3), several) for _ in range(2))
    assert not torch.equal(c, d)


# crl-plus ---------------------------------------------------------------------------------------

SOURCES = torch.stack([T2W, FLAIR, T1_FLAIR])[None]


@pytest.mark.parametrize("order", [(0, 2, 1), (1, 0, 2), (2, 1, 0)])
def test_order_of_sources_changes_the_unit_only(order: tuple[int, ...]) -> None:
    """Tissue maps do not change; proton density is in units of whichever source comes first."""
    model = older_plus()
    images, swap = picture(1, 3, 11, 9), list(order)
    a = model.encode(images, SOURCES)
    b = model.encode(images[:, swap], SOURCES[:, swap])
    torch.testing.assert_close(a["hidden"], b["hidden"], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(a["maps"][:, 1:], b["maps"][:, 1:], atol=1e-4, rtol=1e-4)
    unit = reference_gain(SOURCES[0, swap[0]]) / reference_gain(SOURCES[0, 0])
    torch.testing.assert_close(a["maps"][:, :1] * unit, b["maps"][:, :1], atol=1e-5, rtol=1e-4)


def test_order_of_further_sources_is_irrelevant() -> None:
    model = older_plus()
    images, swap = picture(1, 3, 11, 9), [0, 2, 1]
    a = model(images, SOURCES, T2W[None])
    b = model(images[:, swap], SOURCES[:, swap], T2W[None])
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("there", [1, 2])
def test_an_absent_source_is_as_if_left_out(there: int) -> None:
    model = older_plus()
    images = picture(1, 3, 11, 9)
    images[:, there:] *= 1000.0
    present = torch.arange(3)[None] < there
    masked = model.encode(images, SOURCES, present)
    fewer = model.encode(images[:, :there], SOURCES[:, :there])
    for name, value in fewer.items():
        torch.testing.assert_close(masked[name], value, atol=1e-4, rtol=1e-4)
    everything = model.encode(images, SOURCES)
    assert float((everything["hidden"] - masked["hidden"]).abs().max()) > 1e-2


def test_the_same_source_twice_is_that_source() -> None:
    model = older_plus()
    image, source = picture(1, 1, 8, 8), T2W[None, None]
    once = model(image, source, FLAIR[None])
    twice = model(image.repeat(1, 2, 1, 1), source.repeat(1, 2, 1), FLAIR[None])
    torch.testing.assert_close(once, twice, atol=1e-5, rtol=1e-4)


def test_more_sources_than_it_was_built_for_are_refused() -> None:
    with pytest.raises(ValueError, match="up to 4 sources, not 5"):
        older_plus().encode(picture(1, 5, 8, 8), T2W.expand(1, 5, 3))


def test_maps_stay_in_bounds_whatever_the_input() -> None:
    model = older_plus()
    maps = model.encode(1e4 * (picture(1, 1, 16, 16) - 0.5), T2W[None, None])["maps"]
    pd, t1, t2, fluid = (maps[0, i] for i in range(4))
    ceiling = 2.0 * float(reference_gain(T2W))
    assert 0.0 <= float(pd.min()) <= float(pd.max()) <= ceiling * 1.001
    assert 119.0 <= float(t1.min()) <= float(t1.max()) <= 6010.0
    assert 5.9 <= float(t2.min()) <= float(t2.max()) <= 3010.0
    assert 0.0 <= float(fluid.min()) <= float(fluid.max()) <= 1.0


def test_fresh_networks_start_as_physics_without_correction() -> None:
    """The learned factor is exactly one before training, so the image is the equation's."""
    torch.manual_seed(0)
    model = build_from_config(OLDER).eval().requires_grad_(False)
    features = model.encode(picture(1, 1, 8, 8), T2W[None, None])
    signal = physics_signal(features["maps"], FLAIR[None])
    torch.testing.assert_close(
        model.render(features, FLAIR[None]), torch.sqrt(signal**2 + 1e-6), atol=1e-6, rtol=1e-5
    )


def test_the_learned_correction_is_at_most_a_quarter() -> None:
    model = older_plus()
    assert isinstance(model, PlusCRL)
    model.correction.weight.mul_(1000.0)
    features = model.encode(picture(1, 1, 8, 8), T2W[None, None])
    signal = torch.sqrt(physics_signal(features["maps"], FLAIR[None]) ** 2 + 1e-6)
    ratio = model.render(features, FLAIR[None]) / signal
    assert 0.749 < float(ratio.min()) <= float(ratio.max()) < 1.251
    assert float((ratio - 1.0).abs().max()) > 0.2


# the signal equation in torch -------------------------------------------------------------------


@st.composite
def playable(draw: st.DrawFn) -> SequenceParameters:
    te = draw(st.floats(5.0, 300.0))
    ti = draw(st.one_of(st.just(0.0), st.floats(20.0, 5000.0)))
    return SequenceParameters(draw(st.floats(te + ti + 10.0, 20_000.0)), te, ti)


def tissue(pd: float, t1: float, t2: float, fluid: float = 0.0) -> Tensor:
    return torch.tensor([pd, t1, t2, fluid]).reshape(1, 4, 1, 1)


TISSUE = (st.floats(0.0, 2.0), st.floats(120.0, 6000.0), st.floats(6.0, 3000.0))


@given(playable(), *TISSUE)
def test_physics_is_that_of_the_signal_module(
    p: SequenceParameters, pd: float, t1: float, t2: float
) -> None:
    found = float(physics_signal(tissue(pd, t1, t2), torch.tensor([p.triple])))
    assert found == pytest.approx(float(fse_signal(pd, t1, t2, p, signed=True)), abs=1e-5)


@given(playable(), *TISSUE, st.floats(0.0, 1.0))
def test_fluid_and_tissue_add_with_their_signs(
    p: SequenceParameters, pd: float, t1: float, t2: float, fluid: float
) -> None:
    own = float(fse_signal(pd, t1, t2, p, signed=True))
    water = float(fse_signal(pd, 4200.0, 1700.0, p, signed=True))
    found = float(physics_signal(tissue(pd, t1, t2, fluid), torch.tensor([p.triple])))
    assert found == pytest.approx((1.0 - fluid) * own + fluid * water, abs=1e-5)


@given(*TISSUE, st.floats(5.0, 300.0), st.floats(400.0, 20_000.0))
def test_ti_zero_is_no_inversion(pd: float, t1: float, t2: float, te: float, tr: float) -> None:
    found = float(physics_signal(tissue(pd, t1, t2), torch.tensor([[tr, te, 0.0]])))
    plain = pd * (1.0 - np.exp(-(tr - te) / t1)) * np.exp(-te / t2)
    assert found == pytest.approx(plain, abs=1e-5)


# what cannot be built ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "change", "message"),
    [
        ("crl-code", {"widths": [4]}, "unknown entry 'widths'"),
        ("crl-plus", {"features": 4}, "unknown entry 'features'"),
        ("crl-code", {"features": 0}, "'features' is out of range: 0"),
        ("crl-code", {"features": 5000}, "'features' is out of range: 5000"),
        ("crl-code", {"features": True}, "'features' has the wrong type"),
        ("crl-code", {"features": "64"}, "'features' has the wrong type"),
        ("crl-code", {"decoder_hidden": 64}, "'decoder_hidden' has the wrong type"),
        ("crl-code", {"decoder_hidden": [64.0]}, "'decoder_hidden' has the wrong type"),
        ("crl-code", {"code_hidden": [8] * 65}, "'code_hidden' is too long"),
        ("crl-code", {"residual_scale": "0.1"}, "'residual_scale' has the wrong type"),
        ("crl-small", {"convention": 3}, "'convention' has the wrong type"),
        ("crl-plus", {"widths": [32, 0]}, "'widths' is out of range: 0"),
        ("crl-plus", {"kind": "resnet"}, "architecture 'resnet' is unknown"),
        ("crl-huge", {}, "there is no preset 'crl-huge'"),
        ("../crl-code", {}, "there is no preset"),
    ],
)
def test_impossible_architectures_are_refused(
    preset: str, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        build_model(preset, **change)


def test_an_unknown_convention_is_refused() -> None:
    with pytest.raises(CheckpointError, match="unknown parameter convention 'si'"):
        build_model("crl-small", convention="si")
