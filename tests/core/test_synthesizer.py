"""The synthesiser: source returned at its own settings, any grid, any memory."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crl_core.card import Card
from crl_core.checkpoint import Checkpoint
from crl_core.errors import CRLError, GridError, InputError, ParameterError
from crl_core.models import build_from_config, build_model, preset_config
from crl_core.scan import Origin, Scan
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters
from crl_core.synthesis import Synthesizer
from crl_core.synthesis.agreement import Agreement, fit_of
from crl_core.synthesis.carry import Missed, carry_weights
from crl_core.synthesis.synthesizer import Cancelled
from crl_core.synthesis.tiling import encode_in_tiles
from crl_core.trust import TrainingCoverage

TINY: dict[str, dict[str, Any]] = {
    "crl-plus": {"widths": [4, 6], "code_width": 5, "residual_width": 3, "atoms": 8, "entries": 8},
    "crl-small": {"features": 8, "blocks": 1, "code_hidden": [6], "decoder_hidden": [5]},
    "crl-code": {"features": 8, "blocks": 1, "code_hidden": [6], "decoder_hidden": [5]},
}
TARGET = SequenceParameters(2479, 9.62, 1055)
FLIPS = [(1, 1, 1), (-1, 1, -1), (1, -1, 1)]


def checkpoint(preset: str = "crl-plus", in_plane_mm: float | None = 1.0) -> Checkpoint:
    torch.manual_seed(3)
    model = build_model(preset, **TINY[preset]).eval()
    if preset == "crl-plus":
        # A fresh network corrects nothing; give it something to say.
        torch.nn.init.normal_(model.get_submodule("correction").weight, std=0.5)  # type: ignore[arg-type]
    card = Card(
        name="tiny",
        preset=preset,
        architecture={**preset_config(preset), **TINY[preset]},
        intensity_rule=model.intensity_rule,
        in_plane_mm=in_plane_mm,
        coverage=TrainingCoverage(points=(PAPER_SEQUENCES[1], PAPER_SEQUENCES[7])),
        training={},
        metrics={},
    )
    return Checkpoint(model, card, Path("tiny.safetensors"))


def engine(scan: Scan, preset: str = "crl-plus", **options: Any) -> Synthesizer:
    synthesizer = Synthesizer(checkpoint(preset), device="cpu", **options)
    synthesizer.set_sources([scan])
    return synthesizer


@pytest.mark.parametrize("preset", ["crl-plus", "crl-small"])
def test_at_the_source_settings_the_source_comes_back(scan: Scan, preset: str) -> None:
    s = engine(scan, preset)
    assert scan.parameters is not None
    image = s.render_slice(scan.parameters, 2)
    np.testing.assert_allclose(image, s.scale.to_model(scan.slice(2)), atol=1e-5)
    raw = s.raw_slice(scan.parameters, 2)
    assert np.abs(raw - image).max() > 0.01


def test_near_the_source_the_rendering_leaves_it_continuously(scan: Scan) -> None:
    s = engine(scan)
    assert scan.parameters is not None
    at = s.render_slice(scan.parameters, 2)
    steps = [
        np.abs(s.render_slice(scan.parameters.at(te=scan.parameters.te * f), 2) - at).mean()
        for f in (1.0001, 1.01, 1.1)
    ]
    assert steps[0] < 1e-3
    assert steps[0] < steps[1] < steps[2]


def test_the_authors_path_is_the_network_and_nothing_else(scan: Scan) -> None:
    s = engine(scan, "crl-code")
    low, high = scan.data.min(), scan.data.max()
    plane = torch.from_numpy((scan.slice(1) - low) / (high - low))[None, None]
    assert scan.parameters is not None
    with torch.inference_mode():
        expected = s.model(
            plane, torch.tensor([[scan.parameters.triple]]), torch.tensor([TARGET.triple])
        )
    np.testing.assert_allclose(s.render_slice(TARGET, 1), expected[0, 0].numpy(), atol=1e-5)


def test_a_volume_is_its_slices_and_a_point_is_its_voxel(scan: Scan) -> None:
    s = engine(scan)
    volume = s.render_volume(TARGET)
    assert volume.shape == scan.shape
    np.testing.assert_array_equal(volume[:, :, 3], s.render_slice(TARGET, 3))
    other = TARGET.at(te=60)
    values = s.render_points([TARGET, other], 3, 20, 25)
    assert values[0] == pytest.approx(volume[20, 25, 3], abs=1e-5)
    assert values[1] == pytest.approx(s.render_slice(other, 3)[20, 25], abs=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_slices_lie_along_the_axis_of_the_thick_voxels(scan: Scan, axis: int) -> None:
    data = np.moveaxis(scan.data, 2, axis)
    affine = scan.affine.copy()
    affine[:, [axis, 2]] = affine[:, [2, axis]]
    turned = replace(scan, data=np.ascontiguousarray(data), affine=affine)
    s = engine(turned)
    assert s.slice_axis == axis
    assert s.render_volume(TARGET).shape == turned.shape


@pytest.mark.parametrize(
    ("axes", "flips"),
    [(axes, flips) for axes in itertools.permutations(range(3)) for flips in FLIPS],
)
def test_however_a_file_lies_the_network_sees_the_same(
    scan: Scan, axes: tuple[int, int, int], flips: tuple[int, int, int]
) -> None:
    """The same head, its voxels in any order; the slices are those of the thick axis."""
    wanted = mixture(scan).render_volume(TARGET)

    def reordered(data: Any) -> Any:
        data = data[tuple(slice(None, None, f) for f in flips)]
        return np.ascontiguousarray(data.transpose(axes))

    far = np.eye(4)
    for axis, (flip, size) in enumerate(zip(flips, scan.shape, strict=True)):
        far[axis, axis], far[axis, 3] = flip, 0 if flip > 0 else size - 1
    moved = scan.affine @ far @ np.eye(4)[[*axes, 3]].T
    turned = replace(scan, data=reordered(scan.data), affine=moved)
    np.testing.assert_allclose(mixture(turned).render_volume(TARGET), reordered(wanted), atol=1e-5)
    if flips != (1, 1, 1):
        lost = replace(turned, orientation_stated=False)
        assert np.abs(mixture(lost).render_volume(TARGET) - reordered(wanted)).max() > 1e-4


def test_a_fine_scan_is_resampled_for_the_network_and_returned_on_its_own_grid(
    scan: Scan,
) -> None:
    fine = replace(
        scan,
        data=scan.data.repeat(2, axis=0).repeat(2, axis=1),
        affine=scan.affine @ np.diag([0.5, 0.5, 1.0, 1.0]),
    )
    s = engine(fine, "crl-small")
    assert s._sources.size_at(1.0) == (40, 48)
    image = s.render_slice(TARGET, 2)
    assert image.shape == (80, 96)
    coarse = engine(scan, "crl-small").render_slice(TARGET, 2)
    inner = (slice(8, -8), slice(8, -8))
    averaged = image.reshape(40, 2, 48, 2).mean(axis=(1, 3))
    # Not equal: halving the grid smooths the noise that a network with random weights amplifies.
    alike = np.corrcoef(averaged[inner].ravel(), coarse[inner].ravel())[0, 1]
    turned = np.corrcoef(averaged[inner].ravel(), coarse[inner][:, ::-1].ravel())[0, 1]
    assert alike > 0.8
    assert turned < alike - 0.1
    assert fine.parameters is not None
    at = s.render_slice(fine.parameters, 2)
    np.testing.assert_allclose(at, s.scale.to_model(fine.slice(2)), atol=1e-5)


def test_two_sources_both_come_back_at_their_settings(scan: Scan) -> None:
    from tests.conftest import tiny_scan

    second = tiny_scan(PAPER_SEQUENCES[5], seed=4, gain=300.0)
    s = Synthesizer(checkpoint(), device="cpu")
    s.set_sources([scan, second])
    first = s.render_slice(PAPER_SEQUENCES[7], 1)
    np.testing.assert_allclose(first, s.scale.to_model(scan.slice(1)), atol=1e-5)
    other = s.render_slice(PAPER_SEQUENCES[5], 1)
    ratio = other / second.slice(1)
    assert ratio.std() < 1e-4 * ratio.mean()


def test_a_network_for_one_source_refuses_two(scan: Scan) -> None:
    s = Synthesizer(checkpoint("crl-small"), device="cpu")
    with pytest.raises(CRLError, match="takes 1 source"):
        s.set_sources([scan, scan])


def test_what_cannot_be_a_source_is_refused(scan: Scan) -> None:
    s = Synthesizer(checkpoint(), device="cpu")
    with pytest.raises(ParameterError, match="not known"):
        s.set_sources([replace(scan, parameters=None)])
    odd = scan.with_parameters(SequenceParameters(1000, 20, 990), Origin("typed", "given"))
    with pytest.raises(ParameterError, match="too short"):
        s.set_sources([odd])
    moved = replace(scan, affine=scan.affine + np.eye(4)[:, [3]] @ np.ones((1, 4)) * 0.5)
    with pytest.raises(GridError, match="another grid"):
        s.set_sources([scan, moved])
    with pytest.raises(InputError, match="no signal"):
        s.set_sources([replace(scan, data=np.zeros_like(scan.data))])
    with pytest.raises(CRLError, match="no source"):
        s.render_slice(TARGET, 0)


def test_an_impossible_target_is_refused(scan: Scan) -> None:
    with pytest.raises(ParameterError, match="TR 1000 ms is too short"):
        engine(scan).render_slice(SequenceParameters(1000, 100, 950), 0)


def test_a_volume_can_be_cancelled_and_tells_its_progress(scan: Scan) -> None:
    s = engine(scan)
    seen: list[tuple[int, int]] = []
    with pytest.raises(Cancelled):
        s.render_volume(
            TARGET, progress=lambda n, of: seen.append((n, of)), cancelled=lambda: len(seen) == 2
        )
    assert seen == [(1, 6), (2, 6)]


def test_tiles_give_what_the_whole_gives() -> None:
    torch.manual_seed(0)
    model = build_model("crl-plus", **TINY["crl-plus"]).eval()
    images, parameters = torch.rand(1, 1, 150, 120), torch.tensor([[PAPER_SEQUENCES[7].triple]])
    with torch.inference_mode():
        whole = model.encode(images, parameters)
        tiled = encode_in_tiles(model, images, parameters, 64)
    assert whole.keys() == tiled.keys()
    for name, value in whole.items():
        assert torch.allclose(value, tiled[name], atol=1e-3 * float(value.abs().max()))


def test_when_memory_runs_out_tiles_take_over_and_it_is_said(
    scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = replace(scan, data=np.tile(scan.data, (5, 5, 1)))
    said: list[str] = []
    s = engine(big, notice=said.append)
    expected = s.render_slice(TARGET, 0)
    s.set_sources([big])
    encode = type(s.model).encode

    def scarce(model: Any, images: torch.Tensor, *rest: Any) -> Any:
        if images.shape[-1] * images.shape[-2] > 150 * 150:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(model, images, *rest)

    monkeypatch.setattr(type(s.model), "encode", scarce)
    image = s.render_slice(TARGET, 0)
    assert said == [
        f"The processor's memory is full. Going on in tiles of {tile} pixels, slower."
        for tile in (128, 64, 32)
    ]
    np.testing.assert_allclose(image, expected, atol=2e-3)


def test_when_even_tiles_do_not_fit_the_error_is_not_hidden(
    scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    s = engine(scan)

    def never(*_: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(type(s.model), "encode", never)
    with pytest.raises(RuntimeError, match="allocate"):
        s.render_slice(TARGET, 0)


def mixture(*scans: Scan) -> Synthesizer:
    torch.manual_seed(2)
    architecture = {
        "kind": "mixture", "widths": [6, 8], "code_width": 6, "residual_width": 4,
        "atoms": 8, "entries": 8,
    }
    card = replace(checkpoint().card, architecture=architecture)
    model = build_from_config(architecture).eval()
    with torch.no_grad():
        for p in model.parameters():  # corrections that are not nothing
            p.add_(0.1 * torch.randn_like(p))
    s = Synthesizer(Checkpoint(model, card, Path("tiny.safetensors")), device="cpu")
    s.set_sources(scans)
    return s


def test_expected_errors_vanish_at_a_source_and_grow_away_from_it(scan: Scan) -> None:
    s = mixture(scan)
    assert scan.parameters is not None
    images = [s.expected_error(scan.parameters.at(te=te), 2) for te in (104.2, 108, 130, 10)]
    sizes = [float(np.mean(image)) for image in images if image is not None]
    assert len(sizes) == 4
    assert sizes[0] == 0.0
    assert sizes[0] < sizes[1] < sizes[2]
    assert sizes[3] > 0.0
    assert engine(scan, "crl-small").expected_error(TARGET, 2) is None


def test_the_worst_of_several_sources_is_named_and_counts_less(scan: Scan) -> None:
    from tests.conftest import tiny_scan

    first, second = (tiny_scan(PAPER_SEQUENCES[n], seed=n) for n in (7, 5))
    liar = replace(second, data=np.ascontiguousarray(second.data[::-1, ::-1]))
    fits = [Agreement.of(psnr, 20.0)
            for psnr in [(25.0, 21.0), (25.0, 17.5, 19.0), (9.0,), (8.0, 30.0)]]  # fmt: skip
    assert [a.contradicting for a in fits] == [None, 1, None, 0]
    assert fits[1].weights == (1.0, pytest.approx(0.375), 1.0)
    assert min(fits[3].weights) == pytest.approx(0.1)
    s = mixture(first, liar)
    found = s.agreement()
    assert found.contradicting is not None
    plain = s.render_slice(TARGET, 2)
    weighed = s._fit()[1].weights
    s._fitted, s._cache = (s._fit()[0], Agreement(found.psnr, (1.0, 1.0))), type(s._cache)()
    assert min(weighed) < 1.0
    assert np.abs(s.render_slice(TARGET, 2) - plain).max() > 1e-4


@pytest.mark.parametrize(("least", "named"), [(-200.0, False), (200.0, True)])
def test_each_kind_of_network_says_what_fits(
    scan: Scan, monkeypatch: pytest.MonkeyPatch, least: float, named: bool
) -> None:
    from tests.conftest import tiny_scan

    pair = [tiny_scan(PAPER_SEQUENCES[n], seed=n) for n in (7, 5)]
    s = mixture(*pair)
    assert s.model.gives_back > engine(scan, "crl-small").model.gives_back
    monkeypatch.setattr(type(s.model), "gives_back", least)
    assert (s.agreement().contradicting is not None) == named


def test_a_source_given_back_with_another_gain_fits() -> None:
    acquired = torch.linspace(0.0, 1.0, 1000)
    psnr, gain = fit_of(acquired, 0.8 * acquired)
    assert psnr > 100.0
    assert float(gain) == pytest.approx(0.8, rel=1e-4)
    worse, _ = fit_of(acquired, 0.8 * acquired + 0.05 * torch.sin(torch.arange(1000.0)))
    best = (0.8 * acquired + 0.05 * torch.sin(torch.arange(1000.0))).numpy()
    fitted = best * (best @ acquired.numpy()) / (best @ best)
    expected = 20 * np.log10(np.percentile(acquired, 99.5)) - 10 * np.log10(
        np.mean((fitted - acquired.numpy()) ** 2)
    )
    assert worse == pytest.approx(expected, abs=0.01)


def test_carrying_fades_with_the_difference_of_contrast() -> None:
    sources = torch.tensor([PAPER_SEQUENCES[7].triple, PAPER_SEQUENCES[5].triple])

    def weights(p: SequenceParameters) -> list[float]:
        return carry_weights(torch.tensor(p.triple), sources)[0].tolist()

    assert weights(PAPER_SEQUENCES[7]) == [1.0, 0.0]
    assert weights(PAPER_SEQUENCES[5]) == [0.0, 1.0]
    near = weights(PAPER_SEQUENCES[7].at(te=115))
    assert 0.5 < near[0] < 1.0
    assert near[1] < 0.1
    assert sum(weights(PAPER_SEQUENCES[8])) < 0.2


def test_little_is_carried_from_a_source_much_dimmer_than_the_target() -> None:
    """From T2-FLAIR to PD noise would grow almost fourfold; the other way it shrinks."""
    flair, pd, t2w = (torch.tensor(PAPER_SEQUENCES[n].numbers) for n in (9, 2, 7))
    up, gain = carry_weights(pd, flair[None])
    down, _ = carry_weights(flair, pd[None])
    assert float(gain[0]) > 3.0
    assert 0.0 < float(up[0]) < 0.3 * float(down[0])
    # Nearly the same contrast is carried nearly whole, from either side.
    for te in (102.0, 90.0):
        near = t2w.clone()
        near[1] = te
        assert float(carry_weights(near, t2w[None])[0][0]) > 0.8


def test_between_two_echo_times_lies_the_exponential_through_both() -> None:
    """Whatever the network misses of T2, two echoes tell it."""
    tes, t2 = torch.tensor([10.0, 90.0]), torch.tensor([[[45.0, 70.0, 110.0, 1200.0]]])
    sources = torch.stack([torch.tensor([8000.0, float(te), 0.0]) for te in tes])

    def decay(te: float, t2: torch.Tensor) -> torch.Tensor:
        return torch.exp(-te / t2)

    acquired = torch.cat([0.8 * decay(float(te), t2) for te in tes])
    thinks = 1.1 * t2**0.98
    rendered = torch.cat([0.7 * decay(float(te), thinks) for te in tes])
    missed = Missed.of(acquired, rendered)
    middle = torch.tensor([8000.0, 40.0, 0.0])
    weights, gains = carry_weights(middle, sources)
    assert float(weights.sum()) > 0.95
    there = missed.added_to(0.7 * decay(40.0, thinks)[0], weights, gains)
    wanted = 0.8 * decay(40.0, t2)[0]
    before = (0.7 * decay(40.0, thinks)[0] - wanted).abs().max()
    assert float((there - wanted).abs().max()) < 0.15 * float(before)


def test_a_scan_with_other_fat_does_not_pull_at_its_twin() -> None:
    twins = torch.tensor([[5000.0, 100.0, 0.0, 0.0], [5000.0, 100.0, 0.0, 1.0]])
    near = torch.tensor([5000.0, 100.01, 0.0, 0.0])
    weights, gains = carry_weights(near, twins)
    assert weights.tolist() == pytest.approx([1.0, 0.0], abs=0.01)
    assert gains.tolist() == pytest.approx([1.0, 0.0], abs=0.01)


@given(st.floats(0.0, 1.5), st.floats(0.0, 1.5), st.floats(0.0, 1.5), st.floats(0.0, 1.5))
def test_at_a_source_what_was_acquired_comes_back(
    a: float, b: float, seen: float, other: float
) -> None:
    """Dark renderings, voxels brighter than any ratio explains, and air included."""
    acquired = torch.tensor([[[a]], [[b]]])
    rendered = torch.tensor([[[seen]], [[other]]])
    missed = Missed.of(acquired, rendered)
    for k in range(2):
        weights = torch.nn.functional.one_hot(torch.tensor(k), 2).float()
        image = missed.added_to(rendered[k], weights, torch.ones(2))
        assert float(image) == pytest.approx(float(acquired[k]), abs=2e-6)


def test_between_two_sources_the_image_does_not_jump(scan: Scan) -> None:
    from tests.conftest import tiny_scan

    pair = [tiny_scan(SequenceParameters(5000, te), seed=te) for te in (50, 90)]
    s = Synthesizer(checkpoint(), device="cpu")
    s.set_sources(pair)
    sweep = [s.render_slice(SequenceParameters(5000, te), 2) for te in np.geomspace(40, 110, 120)]
    steps = [float(np.abs(b - a).mean()) for a, b in itertools.pairwise(sweep)]
    assert max(steps) < 6 * float(np.median(steps))


class Pretender(Synthesizer):
    """Says that it runs on a GPU until it was placed on the processor a second time."""

    placed = 0

    def _place(self, device: torch.device) -> None:
        self.placed += 1
        super()._place(device)

    def _on_gpu(self) -> bool:
        return self.placed < 2


def test_when_tiles_do_not_fit_on_the_gpu_the_processor_takes_over(
    scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    s = Pretender(checkpoint(), device="cpu", notice=said.append)
    s.set_sources([scan])
    expected = s.render_slice(TARGET, 0)
    s.set_sources([scan])
    render = type(s.model).render_echoes

    def scarce(model: Any, *rest: Any) -> Any:
        if s._on_gpu():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return render(model, *rest)

    monkeypatch.setattr(type(s.model), "render_echoes", scarce)
    np.testing.assert_array_equal(s.render_slice(TARGET, 0), expected)
    assert said == ["GPU memory is full even in tiles. Going on with the processor."]
