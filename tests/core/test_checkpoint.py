"""Own checkpoints: what is written is what is read, and everything else is refused in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from crl_core import checkpoint as module
from crl_core.checkpoint import (
    Card,
    Checkpoint,
    bundled_checkpoints,
    default_checkpoint,
    load_checkpoint,
    read_card,
    save_checkpoint,
)
from crl_core.errors import CheckpointError, OutputError
from crl_core.models import CRL, build_model, preset_config
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters
from crl_core.trust import ParameterBox, TrainingCoverage

SIZES: dict[str, dict[str, Any]] = {
    "crl-code": {"features": 8, "blocks": 1, "code_hidden": [6], "decoder_hidden": [5]},
    "crl-paper": {"features": 8, "blocks": 1, "heads": 2, "code_hidden": [6], "decoder_hidden": []},
    "crl-small": {"features": 8, "blocks": 1, "code_hidden": [6], "decoder_hidden": [5]},
    "crl-plus": {"widths": [4, 6], "code_width": 5, "residual_width": 3},
}


def tiny_model(preset: str = "crl-small", seed: int = 0) -> CRL:
    torch.manual_seed(seed)
    return build_model(preset, **SIZES[preset])


def tiny_card(preset: str = "crl-small", **changes: Any) -> Card:
    return Card(
        **{
            "name": "tiny",
            "preset": preset,
            "architecture": {**preset_config(preset), **SIZES[preset]},
            "intensity_rule": "robust",
            "in_plane_mm": 0.9,
            "coverage": TrainingCoverage(
                points=tuple(PAPER_SEQUENCES.values()),
                box=ParameterBox((500.0, 9000.0), (8.0, 120.0), (100.0, 3000.0)),
                held_out=(SequenceParameters(600, 10),),
                data="digital heads",
            ),
            "training": {
                "steps": 10,
                "seconds": 1.5,
                "config": {"sequences": (1, 2), "bf16": True},
            },
            "metrics": {"psnr": 31.5, "baselines": {"identity": 12.0}, "remarks": None},
            **changes,
        }
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A sound checkpoint on the disk."""
    target = tmp_path / "tiny.safetensors"
    save_checkpoint(target, tiny_model(), tiny_card())
    return target


def refusal(path: Path, read: Callable[[Path], object] = load_checkpoint) -> str:
    """The one line a user reads."""
    with pytest.raises(CheckpointError) as caught:
        read(path)
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    return line


def split(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and tensor bytes of a safetensors file."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def join(path: Path, header: object, tensors: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + tensors)


def embedded(path: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads(split(path)[0]["__metadata__"]["card"])
    return card


def embed(path: Path, card: object) -> None:
    """Replace the card inside the file and remove the one beside it."""
    header, tensors = split(path)
    text = card if isinstance(card, str) else json.dumps(card)
    join(path, {**header, "__metadata__": {"card": text}}, tensors)
    path.with_suffix(".json").unlink(missing_ok=True)


def rewrite(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the weights but keep the card, as somebody would who edits the file."""
    weights = safetensors.torch.load(path.read_bytes())
    card = split(path)[0]["__metadata__"]
    change(weights)
    safetensors.torch.save_file(weights, path, metadata=card)


# what is read -----------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", SIZES)
def test_written_is_read(tmp_path: Path, preset: str) -> None:
    model, path = tiny_model(preset).train(), tmp_path / "new folder" / "net.safetensors"
    written = save_checkpoint(path, model, tiny_card(preset))
    read = load_checkpoint(str(path))
    assert isinstance(read, Checkpoint)
    assert read.path == path
    assert read.card == written == replace(tiny_card(preset), sha256=written.sha256)
    assert len(written.sha256) == 64
    expected = model.state_dict()
    assert set(read.model.state_dict()) == set(expected)
    for name, weight in read.model.state_dict().items():
        assert torch.equal(weight, expected[name])
    assert model.training
    assert not read.model.training
    assert not any(p.requires_grad for p in read.model.parameters())


@pytest.mark.parametrize("preset", SIZES)
def test_the_network_read_renders_as_the_one_written(tmp_path: Path, preset: str) -> None:
    model = tiny_model(preset).eval()
    save_checkpoint(tmp_path / "net.safetensors", model, tiny_card(preset))
    read = load_checkpoint(tmp_path / "net.safetensors").model
    image = torch.rand(1, 1, 9, 7)
    source, target = torch.tensor([[[8000.0, 100.0, 0.0]]]), torch.tensor([[2000.0, 10.0, 900.0]])
    with torch.no_grad():
        assert torch.equal(read(image, source, target), model(image, source, target))


def test_reading_leaves_the_random_state_alone(path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_checkpoint(path)
    assert torch.equal(torch.rand(3), expected)


def test_the_card_lies_beside_the_weights_for_people(path: Path) -> None:
    beside = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert beside == embedded(path)
    assert beside["architecture"]["kind"] == "ratio"
    assert "not for clinical use" in beside["note"]


@pytest.mark.parametrize("name", ["tiny.safetensors", "tiny.json"])
def test_a_card_is_read_without_the_weights(path: Path, name: str) -> None:
    assert read_card(path.with_name(name)) == load_checkpoint(path).card


def test_a_card_is_read_without_torch(path: Path) -> None:
    code = (
        "import sys; from crl_core.checkpoint import read_card, bundled_checkpoints;"
        "bundled_checkpoints(); import crl_core.authors_format;"
        f"print(read_card({str(path)!r}).name, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(module.__file__).parents[1],
    )
    assert done.stdout.split() == ["tiny", "False"]


def test_one_file_is_enough(path: Path) -> None:
    expected = load_checkpoint(path).card
    path.with_suffix(".json").unlink()
    assert load_checkpoint(path).card == expected


def test_a_card_beside_serves_weights_without_one(path: Path) -> None:
    expected = load_checkpoint(path).card
    header, tensors = split(path)
    del header["__metadata__"]
    join(path, header, tensors)
    assert load_checkpoint(path).card == expected == read_card(path)


def test_the_embedded_card_wins(path: Path) -> None:
    path.with_suffix(".json").write_text("a stray file of that name", encoding="utf-8")
    assert load_checkpoint(path).card.name == "tiny"


def test_a_card_of_other_weights_does_not_serve(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, tiny_model(seed=1), tiny_card())
    header, tensors = split(other)
    del header["__metadata__"]
    join(path, header, tensors)
    assert "their hash differs" in refusal(path)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read_as_single(path: Path, kind: torch.dtype) -> None:
    rewrite(path, lambda w: w.update({n: t.to(kind) for n, t in w.items()}))
    weights = safetensors.torch.load(path.read_bytes())
    embed(path, {**embedded(path), "sha256": module._fingerprint(weights)})
    states = load_checkpoint(path).model.state_dict()
    assert {t.dtype for t in states.values()} == {torch.float32}


@given(order=st.permutations(["a", "b", "c"]))
def test_the_hash_does_not_depend_on_the_order(order: list[str]) -> None:
    weights = {name: torch.full((2,), float(ord(name))) for name in order}
    swapped = {**weights, "a": weights["b"], "b": weights["a"]}
    in_order = {name: weights[name] for name in "abc"}
    assert module._fingerprint(weights) == module._fingerprint(in_order)
    assert module._fingerprint(weights) != module._fingerprint(swapped)
    reshaped = {**weights, "a": weights["a"].reshape(2, 1)}
    assert module._fingerprint(weights) != module._fingerprint(reshaped)


# what is refused: the file ----------------------------------------------------------------------


@pytest.mark.parametrize("read", [load_checkpoint, read_card])
def test_missing_files_folders_and_other_kinds(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    assert "does not exist" in refusal(tmp_path / "none.safetensors", read)
    (tmp_path / "folder.safetensors").mkdir()
    assert "is a folder" in refusal(tmp_path / "folder.safetensors", read)
    (tmp_path / "empty.safetensors").touch()
    assert "is empty" in refusal(tmp_path / "empty.safetensors", read)
    (tmp_path / "image.nii").write_bytes(b"data")
    assert ".safetensors" in refusal(tmp_path / "image.nii", read)


@settings(max_examples=60)
@given(data=st.data(), part=st.floats(0.0, 0.9999))
def test_truncated_files_are_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, part: float
) -> None:
    path = tmp_path_factory.mktemp("cut") / "tiny.safetensors"
    save_checkpoint(path, tiny_model(), tiny_card())
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    refusal(path)
    refusal(path, read_card)


@settings(max_examples=60)
@given(data=st.data())
def test_damaged_bytes_are_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("damage") / "tiny.safetensors"
    written = save_checkpoint(path, tiny_model(), tiny_card())
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        read = load_checkpoint(path)
    except CheckpointError as error:
        line = str(error)
    else:
        assert read.card.sha256 == written.sha256
        return
    assert "tiny.safetensors" in line


def test_a_changed_weight_is_noticed(path: Path) -> None:
    rewrite(path, lambda w: w["imnet.layers.0.bias"].add_(1e-6))
    assert "their hash differs" in refusal(path)


@pytest.mark.parametrize("claim", [2**20 + 1, 2**40, 2**63, 2**64 - 1])
def test_a_header_that_claims_too_much_is_refused(path: Path, claim: int) -> None:
    path.write_bytes(claim.to_bytes(8, "little") + path.read_bytes()[8:])
    assert "shorter than its header says" in refusal(path)
    refusal(path, read_card)


def test_a_header_longer_than_any_card_is_refused(path: Path) -> None:
    join(path, b"{" + b" " * (3 << 20) + b"}", b"")
    assert "header claims" in refusal(path)


@pytest.mark.parametrize(
    "header",
    [b"", b"[]", b"nonsense", b"\xff\xfe", b"[" * 100_000, b'{"a": 1}', b'{"a": NaN}',
     b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
     b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}',
     b'{"a": {"dtype": "F32", "shape": [1e9], "data_offsets": [0, 4]}}',
     b'{"a": {"dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 0]}}',
     b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}',
     b'{"a": {"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}}',
     b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'],
)  # fmt: skip
def test_headers_without_sense_are_refused(path: Path, header: bytes) -> None:
    join(path, header, bytes(4))
    assert "is damaged" in refusal(path)


def test_overlapping_tensors_are_refused(path: Path) -> None:
    header, tensors = split(path)
    bias = header["codemapping_mlp.layers.2.bias"]
    header["encoder.body.1.bias"]["data_offsets"] = bias["data_offsets"]
    join(path, header, tensors)
    assert "is damaged" in refusal(path)


@pytest.mark.parametrize("kind", [torch.int64, torch.uint8, torch.bool])
def test_values_that_are_not_floating_point_are_refused(path: Path, kind: torch.dtype) -> None:
    rewrite(path, lambda w: w.update({"imnet.layers.2.bias": torch.zeros(1, dtype=kind)}))
    assert "imnet.layers.2.bias holds values of the kind" in refusal(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_numbers_are_refused(path: Path, value: float) -> None:
    rewrite(path, lambda w: w["encoder.body.0.body.2.weight"].view(-1)[7:8].fill_(value))
    line = refusal(path)
    assert "encoder.body.0.body.2.weight holds values that are not numbers" in line


def test_a_wrong_shape_is_named(path: Path) -> None:
    rewrite(path, lambda w: w.update({"imnet.layers.0.weight": torch.zeros(5, 32)}))
    assert "imnet.layers.0.weight is (5, 32) where (5, 8) is needed" in refusal(path)


def test_missing_and_unexpected_tensors_are_named(path: Path) -> None:
    rewrite(path, lambda w: w.update(extra=torch.zeros(1)))
    assert "extra is not part of the network" in refusal(path)
    rewrite(path, lambda w: (w.pop("extra"), w.pop("encoder.head.0.bias")))
    assert "encoder.head.0.bias is missing" in refusal(path)


def test_a_pickle_under_our_name_is_refused(path: Path) -> None:
    torch.save(tiny_model().state_dict(), path)
    refusal(path)


def test_huge_files_are_refused_unread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILE", path.stat().st_size - 1)
    assert "too large" in refusal(path)
    assert "too large" in refusal(path, read_card)


# what is refused: the card ----------------------------------------------------------------------


def test_no_card_at_all_is_refused(path: Path) -> None:
    header, tensors = split(path)
    for metadata in ({}, {"card2": "x"}):
        join(path, {**header, "__metadata__": metadata}, tensors)
        path.with_suffix(".json").unlink(missing_ok=True)
        assert "has no card, neither inside nor beside it" in refusal(path)
        refusal(path, read_card)


WRONG_ENTRIES: list[tuple[str, Any]] = [
    ("name", ""), ("name", 3), ("name", "x" * 101), ("preset", None), ("note", None),
    ("intensity_rule", "z-score"), ("intensity_rule", ["robust"]),
    ("in_plane_mm", "1"), ("in_plane_mm", True), ("in_plane_mm", 0), ("in_plane_mm", -1.0),
    ("in_plane_mm", 1e9), ("training", []), ("training", {"a": 1e999}), ("metrics", "good"),
    ("metrics", {"psnr": float("nan")}), ("sha256", "abc"), ("sha256", None),
    ("sha256", "G" * 64), ("version", 0), ("version", "1"), ("version", True), ("version", 2),
    ("coverage", None), ("coverage", {}), ("architecture", None), ("architecture", {}),
    ("architecture", {"kind": ["ratio"]}), ("architecture", {"kind": "ratio", "features": None}),
    ("architecture", {"kind": "ratio", "features": {"a": 1}}),
    ("architecture", {"kind": "ratio", "residual_scale": 1e30}), ("extra", 1),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "value"), WRONG_ENTRIES, ids=lambda v: str(v)[:40])
def test_wrong_entries_of_a_card_are_named(path: Path, entry: str, value: Any) -> None:
    embed(path, {**embedded(path), entry: value})
    line = refusal(path)
    assert "card" in line
    nameless = isinstance(value, float | dict) and any(w in line for w in ("NaN", "Infinity"))
    shown = "format" if entry == "version" else entry
    assert shown in line or nameless
    refusal(path, read_card)


@pytest.mark.parametrize("entry", list(tiny_card().as_dict()))
def test_missing_entries_of_a_card_are_named(path: Path, entry: str) -> None:
    card = embedded(path)
    del card[entry]
    embed(path, card)
    assert f"the entry '{entry}' is missing" in refusal(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", '"card"', "[" * 100_000])
def test_a_card_that_is_no_table_is_refused(path: Path, text: str) -> None:
    embed(path, text)
    assert "its card cannot be used" in refusal(path)


def test_deep_nesting_and_long_cards_are_refused(path: Path) -> None:
    deep: Any = 1
    for _ in range(20):
        deep = [deep]
    embed(path, {**embedded(path), "metrics": {"deep": deep}})
    assert "nested too deeply" in refusal(path)
    embed(path, {**embedded(path), "metrics": {"long": "x" * (1 << 20)}})
    assert "longer than" in refusal(path)


def test_a_card_beside_is_checked_as_well(path: Path) -> None:
    beside = path.with_suffix(".json")
    beside.write_bytes(b"\xff\xfe\x00")
    assert "is not text" in refusal(beside, read_card)
    beside.write_text(" " * (2 << 20), encoding="utf-8")
    assert "longer than" in refusal(beside, read_card)


ARCHITECTURES: list[tuple[dict[str, Any], str]] = [
    ({"kind": "os.system"}, "the architecture 'os.system' is unknown"),
    ({"kind": "paper"}, "is (8, 1, 3, 3) where (256, 1, 3, 3) is needed"),
    ({"surprise": 1}, "unknown entry 'surprise'"),
    ({"features": 100_000}, "'features' is out of range"),
    ({"features": "8"}, "'features' has the wrong type"),
    ({"features": [8]}, "'features' has the wrong type"),
    ({"features": 8.5}, "'features' has the wrong type"),
    ({"blocks": 0}, "'blocks' is out of range"),
    ({"code_hidden": [4] * 65}, "'code_hidden' is too long"),
    ({"convention": "other"}, "cannot be built"),
    ({"features": 1024, "blocks": 64}, "more than the 200,000,000 that are accepted"),
]


@pytest.mark.parametrize(("change", "expected"), ARCHITECTURES, ids=lambda v: str(v)[:40])
def test_impossible_architectures_are_refused(
    path: Path, change: dict[str, Any], expected: str
) -> None:
    card = embedded(path)
    own = {} if "kind" in change else card["architecture"]
    embed(path, {**card, "architecture": {**own, **change}})
    assert expected in refusal(path)


def test_an_architecture_without_a_level_is_refused(path: Path) -> None:
    embed(path, {**embedded(path), "architecture": {"kind": "plus", "widths": []}})
    assert "cannot be built" in refusal(path)


# the card itself --------------------------------------------------------------------------------


def test_a_card_survives_its_json() -> None:
    card = tiny_card(in_plane_mm=None, note="Größe: \N{GREEK SMALL LETTER MU}")
    assert Card.from_json(card.to_json()) == card
    assert Card.from_dict(json.loads(card.to_json(indent=2))) == card


def test_a_card_keeps_plain_copies() -> None:
    training = {"config": {"sequences": (1, 2)}}
    card = tiny_card(training=training)
    training["config"]["sequences"] = (9,)
    assert card.training == {"config": {"sequences": [1, 2]}}
    with pytest.raises(FrozenInstanceError):
        card.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("value", [float("nan"), torch.zeros(1), {1: 2}, {"a": {3}}])
def test_a_card_refuses_what_json_cannot_hold(value: Any) -> None:
    with pytest.raises(CheckpointError, match="metrics"):
        tiny_card(metrics={"measured": value})


def test_the_coverage_is_read_whole() -> None:
    card = Card.from_json(tiny_card().to_json())
    assert card.coverage == tiny_card().coverage
    assert card.coverage.inside(PAPER_SEQUENCES[5])


# writing ----------------------------------------------------------------------------------------


def test_nothing_is_overwritten_unless_allowed(path: Path) -> None:
    before = path.read_bytes(), path.with_suffix(".json").read_bytes()
    with pytest.raises(OutputError, match="already exists"):
        save_checkpoint(path, tiny_model(seed=1), tiny_card())
    assert (path.read_bytes(), path.with_suffix(".json").read_bytes()) == before
    card = save_checkpoint(path, tiny_model(seed=1), tiny_card(), overwrite=True)
    assert load_checkpoint(path).card == card
    assert path.read_bytes() != before[0]


def test_a_card_in_the_way_stops_the_weights_too(tmp_path: Path) -> None:
    (tmp_path / "net.json").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match=r"net\.json"):
        save_checkpoint(tmp_path / "net.safetensors", tiny_model(), tiny_card())
    assert [p.name for p in tmp_path.iterdir()] == ["net.json"]


@pytest.mark.parametrize("name", ["net.pth", "net", "net.json"])
def test_other_endings_are_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="safetensors"):
        save_checkpoint(tmp_path / name, tiny_model(), tiny_card())


def test_a_card_of_another_network_is_not_written(tmp_path: Path) -> None:
    card = tiny_card()
    wider = replace(card, architecture={**card.architecture, "features": 16})
    with pytest.raises(CheckpointError, match=r"is \(8, 1, 3, 3\) where \(16, 1, 3, 3\)"):
        save_checkpoint(tmp_path / "net.safetensors", tiny_model(), wider)
    assert not list(tmp_path.iterdir())


def test_broken_weights_are_not_written(tmp_path: Path) -> None:
    model = tiny_model()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(CheckpointError, match="not numbers"):
        save_checkpoint(tmp_path / "net.safetensors", model, tiny_card())
    assert not list(tmp_path.iterdir())


def test_any_memory_layout_and_precision_is_written(tmp_path: Path) -> None:
    plain, odd = tiny_model(), tiny_model()
    odd.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    odd.double()
    a = save_checkpoint(tmp_path / "a.safetensors", plain, tiny_card())
    b = save_checkpoint(tmp_path / "b.safetensors", odd, tiny_card())
    assert a.sha256 == b.sha256


# shipped ----------------------------------------------------------------------------------------


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two shipped checkpoints in place of the program's own."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in ("second", "first"):
        (folder / f"{name}.safetensors").touch()
        (folder / f"{name}.json").touch()
    monkeypatch.setattr(module, "resource_root", lambda: tmp_path)
    return folder


def test_shipped_checkpoints_are_found_by_name(shipped: Path) -> None:
    found = bundled_checkpoints()
    assert list(found) == ["first", "second"]
    assert found["second"] == shipped / "second.safetensors"


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, "first"), ('{"default": "second"}', "second"), ('{"default": "gone"}', "first")],
)
def test_the_default_is_the_one_named_else_the_first(
    shipped: Path, text: str | None, expected: str
) -> None:
    if text is not None:
        (shipped / "default.json").write_text(text, encoding="utf-8")
    assert default_checkpoint() == shipped / f"{expected}.safetensors"


@pytest.mark.parametrize("text", ["", "[]", "{}", "\x00"])
def test_a_damaged_default_is_refused(shipped: Path, text: str) -> None:
    (shipped / "default.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"default\.json"):
        default_checkpoint()


def test_no_shipped_checkpoint_is_said(shipped: Path) -> None:
    for file in shipped.iterdir():
        file.unlink()
    assert bundled_checkpoints() == {}
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        default_checkpoint()


def test_every_shipped_checkpoint_is_sound() -> None:
    """The files in resources/ themselves: readable, measured, and each with its card beside it."""
    assert default_checkpoint() in bundled_checkpoints().values()
    for path in bundled_checkpoints().values():
        checkpoint = load_checkpoint(path)
        assert checkpoint.card == read_card(path.with_suffix(".json"))
        assert checkpoint.card.intensity_rule == checkpoint.model.intensity_rule
        assert checkpoint.card.metrics
