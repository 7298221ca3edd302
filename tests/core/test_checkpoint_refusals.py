"""Own checkpoints that are damaged, lie or make no sense are refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_core import checkpoint as module
from crl_core.checkpoint import (
    load_checkpoint,
    read_card,
    save_checkpoint,
)
from crl_core.errors import CheckpointError
from tests.core.tiny_checkpoint import (
    embed,
    embedded,
    join,
    refusal,
    rewrite,
    split,
    tiny_card,
    tiny_model,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A sound checkpoint on the disk."""
    target = tmp_path / "tiny.safetensors"
    save_checkpoint(target, tiny_model(), tiny_card())
    return target


# what is refused: the file ------------------------------------------------------------------------


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


# what is refused: the card ------------------------------------------------------------------------


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
    ({"convention": "other"}, "unknown parameter convention"),
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
