"""Own checkpoints: what is written is what is read."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

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
from crl_core.sequence import PAPER_SEQUENCES
from tests.core.tiny_checkpoint import (
    SIZES,
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


# what is read -------------------------------------------------------------------------------------


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


def printed_by(code: str) -> list[str]:
    """The words a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(module.__file__).parents[1],
    )
    return done.stdout.split()


def test_a_card_is_read_without_torch(path: Path) -> None:
    words = printed_by(
        "from crl_core.checkpoint import read_card, bundled_checkpoints; bundled_checkpoints();"
        "import crl_core.authors_format;"
        f"print(read_card({str(path)!r}).name, 'torch' in sys.modules)"
    )
    assert words == ["tiny", "False"]


def test_reading_does_not_wait_for_torch_s_compiler(path: Path) -> None:
    """Importing it takes seconds, which would be added to every start of the program."""
    words = printed_by(
        "from crl_core.checkpoint import load_checkpoint;"
        f"print(load_checkpoint({str(path)!r}).card.name, 'torch._dynamo' in sys.modules)"
    )
    assert words == ["tiny", "False"]


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


# the card itself ----------------------------------------------------------------------------------


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


# writing ------------------------------------------------------------------------------------------


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


# shipped ------------------------------------------------------------------------------------------


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
