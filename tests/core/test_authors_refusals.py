"""What is refused of files in the authors' format: code, contradictions and damage."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_core.checkpoint import load_checkpoint
from crl_core.errors import CheckpointError
from tests.core.authors_layout import refusal, small_file


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    def writer(content: Any, name: str = "epoch-best.pth") -> Path:
        torch.save(content, tmp_path / name)
        return tmp_path / name

    return writer


Writer = Callable[..., Path]


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


@settings(max_examples=80)
@given(
    places=st.lists(st.floats(0.0, 0.9999), min_size=1, max_size=3),
    values=st.lists(st.integers(0, 255), min_size=3, max_size=3),
)
def test_any_pickle_in_a_sound_archive_is_refused_or_usable(
    tmp_path_factory: pytest.TempPathFactory, places: list[float], values: list[int]
) -> None:
    """Bytes of the pickle change under a right checksum: one line, or finite weights."""
    folder = tmp_path_factory.mktemp("pickle")
    torch.save(small_file(), folder / "sound.pth")
    path = folder / "changed.pth"
    with zipfile.ZipFile(folder / "sound.pth") as sound, zipfile.ZipFile(path, "w") as changed:
        for entry in sound.infolist():
            content = bytearray(sound.read(entry))
            if entry.filename.endswith("data.pkl"):
                for place, value in zip(places, values, strict=False):
                    content[int(place * len(content))] = value
            changed.writestr(entry.filename, bytes(content))
    try:
        model = load_checkpoint(path).model
    except CheckpointError as error:
        line = str(error)
    else:
        assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
        return
    assert "changed.pth" in line
