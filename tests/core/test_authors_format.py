"""Import of the authors' checkpoints against a plain reading of their forward pass, and refusals.

The files are made here, in the layout of the published training script, with random weights.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from crl_core.checkpoint import load_checkpoint, save_checkpoint
from crl_core.errors import CheckpointError
from crl_core.sequence import PAPER_SEQUENCES

T2W, FLAIR = PAPER_SEQUENCES[7].triple, PAPER_SEQUENCES[8].triple


def random_state(
    features: int,
    blocks: int,
    code: list[int],
    decoder: list[int],
    *,
    attention: bool = True,
    seed: int = 0,
) -> OrderedDict[str, Tensor]:
    """Weights with the published names, uniform within 1 / sqrt(inputs) like torch's own."""
    generator = torch.Generator().manual_seed(seed)
    state: OrderedDict[str, Tensor] = OrderedDict()

    def add(name: str, *shape: int) -> None:
        bound = 1.0 / float(torch.tensor(shape[1:]).prod()) ** 0.5
        for part, size in (("weight", shape), ("bias", shape[:1])):
            values = torch.empty(size).uniform_(-bound, bound, generator=generator)
            state[f"{name}.{part}"] = values

    add("encoder.head.0", features, 1, 3, 3)
    for block in range(blocks):
        for place in (0, 2):
            add(f"encoder.body.{block}.body.{place}", features, features, 3, 3)
    add(f"encoder.body.{blocks}", features, features, 3, 3)
    for stack, widths in (
        ("codemapping_mlp", [3, *code, features]),
        ("imnet", [features, *decoder, 1]),
    ):
        for layer in range(len(widths) - 1):
            add(f"{stack}.layers.{2 * layer}", widths[layer + 1], widths[layer])
    if attention:
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            add(f"cross_attn.{part}", features, features)
    return state


def small_state(**options: Any) -> OrderedDict[str, Tensor]:
    """Eight channels, two blocks, hidden layers of three different widths."""
    return random_state(8, 2, [5, 6], [7, 9, 4], **options)


def training_file(state: dict[str, Tensor], encoder: str, decoder: list[int]) -> dict[str, Any]:
    """What the published training script puts around the weights."""
    moments = {
        i: {"step": torch.tensor(3.0), "exp_avg": torch.zeros_like(t)}
        for i, t in enumerate(list(state.values())[:2])
    }
    return {
        "model": {
            "name": "crl",
            "args": {
                "encoder_spec": {"name": encoder, "args": {"res_scale": 0.1}},
                "imnet_spec": {"name": "mlp", "args": {"out_dim": 1, "hidden_list": decoder}},
            },
            "sd": state,
        },
        "optimizer": {
            "name": "adam",
            "args": {"lr": 1e-4},
            "sd": {"state": moments, "param_groups": [{"lr": 1e-4, "params": [0, 1]}]},
        },
        "epoch": 3,
    }


def small_file(**options: Any) -> dict[str, Any]:
    """A complete small file."""
    return training_file(small_state(**options), "ResNet-2-8", [7, 9, 4])


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


def refusal(path: Path) -> str:
    """The one line a user reads."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    line = str(caught.value)
    assert path.name in line
    assert "\n" not in line
    return line


# what is read -----------------------------------------------------------------------------------


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
    assert card.name == "epoch-best"
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


# what is refused --------------------------------------------------------------------------------


class Hostile:
    """Makes a file when it is unpickled the usual way."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("place", ["whole", "optimiser", "weight", "raw", "protocol 0"])
def test_code_in_a_file_never_runs(write: Writer, tmp_path: Path, place: str) -> None:
    trace = tmp_path / "trace"
    content = small_file()
    if place in ("raw", "protocol 0"):
        path = tmp_path / "raw.pth"
        protocol = 0 if place == "protocol 0" else pickle.DEFAULT_PROTOCOL
        path.write_bytes(pickle.dumps({**content, "model": Hostile(trace)}, protocol))
    elif place == "whole":
        path = write(Hostile(trace))
    elif place == "optimiser":
        path = write({**content, "optimizer": Hostile(trace)})
    else:
        content["model"]["sd"]["imnet.layers.0.weight"] = Hostile(trace)
        path = write(content)
    line = refusal(path)
    assert not trace.exists()
    if place not in ("raw", "protocol 0"):
        assert "nothing in it was run" in line


def test_the_hostile_file_of_these_tests_does_run_elsewhere(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Hostile(tmp_path / "trace")))
    assert (tmp_path / "trace").exists()


def test_a_whole_pickled_network_is_refused(write: Writer) -> None:
    assert "nothing in it was run" in refusal(write(torch.nn.Linear(2, 2)))


def _set(content: dict[str, Any], name: str, value: Any) -> None:
    content["model"]["sd"][name] = value


def _drop(content: dict[str, Any], name: str) -> None:
    del content["model"]["sd"][name]


DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "shape": (
        lambda c: _set(c, "imnet.layers.2.weight", torch.zeros(9, 8)),
        "imnet.layers.2.weight is (9, 8) where (9, 7) is needed",
    ),
    "nan": (
        lambda c: c["model"]["sd"]["encoder.body.1.body.2.bias"].fill_(float("nan")),
        "encoder.body.1.body.2.bias holds values that are not numbers",
    ),
    "infinite": (
        lambda c: c["model"]["sd"]["imnet.layers.6.bias"].fill_(float("inf")),
        "imnet.layers.6.bias holds values that are not numbers",
    ),
    "overflow": (
        lambda c: _set(c, "imnet.layers.6.bias", torch.tensor([1e300], dtype=torch.float64)),
        "imnet.layers.6.bias holds values that are not numbers",
    ),
    "missing": (
        lambda c: _drop(c, "codemapping_mlp.layers.2.bias"),
        "codemapping_mlp.layers.2.bias is missing",
    ),
    "first missing": (
        lambda c: _drop(c, "encoder.head.0.weight"),
        "encoder.head.0.weight is missing",
    ),
    "a gap between layers": (
        lambda c: _drop(c, "imnet.layers.2.weight"),
        "its decoder's tensors are not those its description announces",
    ),
    "unexpected": (
        lambda c: _set(c, "extra.weight", torch.zeros(1)),
        "extra.weight is not part of the network",
    ),
    "integers": (
        lambda c: _set(c, "imnet.layers.6.bias", torch.zeros(1, dtype=torch.int64)),
        "imnet.layers.6.bias holds values of the kind torch.int64",
    ),
    "complex": (
        lambda c: _set(c, "imnet.layers.6.bias", torch.zeros(1, dtype=torch.complex64)),
        "imnet.layers.6.bias holds values of the kind torch.complex64",
    ),
    "sparse": (
        lambda c: _set(c, "imnet.layers.0.weight", torch.zeros(7, 8).to_sparse()),
        "imnet.layers.0.weight holds values",
    ),
    "not a tensor": (
        lambda c: _set(c, "imnet.layers.6.bias", [0.0]),
        "its entry 'imnet.layers.6.bias' is not a weight",
    ),
    "a number as name": (
        lambda c: c["model"]["sd"].update({5: torch.zeros(1)}),
        "its entry '5' is not a weight",
    ),
    "twice": (
        lambda c: _set(c, "module.imnet.layers.6.bias", torch.zeros(1)),
        "imnet.layers.6.bias is there twice",
    ),
    "too wide": (
        lambda c: _set(c, "encoder.head.0.weight", torch.zeros(1).expand(4096, 1, 3, 3)),
        "sizes are out of range",
    ),
    "a small file that unfolds": (
        lambda c: _set(c, "encoder.body.2.weight", torch.zeros(1).expand(10**6, 10**6)),
        "encoder.body.2.weight is (1000000, 1000000) where (8, 8, 3, 3) is needed",
    ),
    "a scalar": (
        lambda c: _set(c, "encoder.head.0.weight", torch.tensor(1.0)),
        "encoder.head.0.weight is missing",
    ),
    "another model": (
        lambda c: c["model"].update(name="lccd"),
        "holds the model 'lccd'. Only 'crl' can be read",
    ),
    "no name": (lambda c: c["model"].pop("name"), "holds the model 'None'"),
    "no description": (lambda c: c["model"].pop("args"), "its model has no 'encoder_spec'"),
    "another encoder": (
        lambda c: c["model"]["args"]["encoder_spec"].update(name="swin"),
        "its encoder 'swin' is unknown",
    ),
    "encoder of other size": (
        lambda c: c["model"]["args"]["encoder_spec"].update(name="ResNet-32-256"),
        "called 'ResNet-32-256' but holds 2 blocks of 8 channels",
    ),
    "another decoder": (
        lambda c: c["model"]["args"]["imnet_spec"].update(name="siren"),
        "its decoder 'siren' is unknown",
    ),
    "decoder of other size": (
        lambda c: c["model"]["args"]["imnet_spec"]["args"].update(hidden_list=[7, 9]),
        "its decoder's tensors are not those its description announces",
    ),
    "two outputs": (
        lambda c: c["model"]["args"]["imnet_spec"]["args"].update(out_dim=2),
        "its decoder's tensors are not those its description announces",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_contradiction_is_named(write: Writer, name: str) -> None:
    content = small_file()
    damage, expected = DAMAGES[name]
    damage(content)
    assert expected in refusal(write(content))


@pytest.mark.parametrize("content", [{}, [], {"model": 1}, {"model": {}}, torch.zeros(3), "crl"])
def test_other_contents_are_refused(write: Writer, content: Any) -> None:
    assert "not of the authors' format" in refusal(write(content))


def test_too_many_layers_are_refused(write: Writer) -> None:
    content = small_file()
    for layer in range(8, 60, 2):
        _set(content, f"imnet.layers.{layer}.weight", torch.zeros(1, 1))
    assert "imnet has more than 16 layers" in refusal(write(content))


def test_compressed_archives_are_refused(write: Writer, tmp_path: Path) -> None:
    """They can unfold to any size, and torch never writes them."""
    path = tmp_path / "packed.pth"
    with (
        zipfile.ZipFile(write(small_file())) as plain,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    assert "is damaged" in refusal(path)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", bytes(5000)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    refusal(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nowhere.pth")
    (tmp_path / "folder.pth").mkdir()
    assert "is a folder" in refusal(tmp_path / "folder.pth")


@settings(max_examples=40)
@given(data=st.data())
def test_damaged_bytes_are_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever happens to the bytes, either the file is refused or the weights are unchanged."""
    folder = tmp_path_factory.mktemp("damage")
    path = folder / "small.pth"
    torch.save(small_file(), path)
    intact = load_checkpoint(path).card.sha256
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(1, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        assert load_checkpoint(path).card.sha256 == intact
    except CheckpointError as error:
        line = str(error)
    else:
        return
    assert "small.pth" in line


LIES = {
    # As pickled: "Q" ends a storage, then "K 0" is where in it the tensor starts.
    "far beyond the file": (b"QK\x00", b"QJ\xff\xff\xff\x7f"),
    "before the storage": (b"QK\x00", b"QJ\xfc\xff\xff\xff"),
    # The number of values of a storage: "M" and two bytes, or "J" and four.
    "no storage": (b"M@\x02t", b"M\x00\x00t"),
    "a negative storage": (b"M@\x02t", b"J\xfc\xff\xff\xfft"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lying_pickle_in_a_sound_archive_is_refused(
    write: Writer, tmp_path: Path, name: str
) -> None:
    """The checksums are right, only storages and places are not: refused without a crash."""
    path = tmp_path / "lies.pth"
    old, new = LIES[name]
    with zipfile.ZipFile(write(small_file())) as plain, zipfile.ZipFile(path, "w") as lies:
        for entry in plain.infolist():
            content = plain.read(entry)
            if entry.filename.endswith("data.pkl"):
                assert old in content
                content = content.replace(old, new)
            lies.writestr(entry.filename, content)
    assert "is damaged" in refusal(path)
