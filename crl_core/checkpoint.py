"""Checkpoints: trained weights and the card that says what they are.

A checkpoint of this program is a safetensors file, which cannot carry code, with its card inside
and, for people to read, beside it as JSON. Weights in the layout of the authors' published code
are read by `crl_core.authors_format`. Whatever the file, it is checked before anything is
allocated from it: sizes, names, shapes, kinds, and every value must be a finite number.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from crl_core.card import MAX_CARD_BYTES, Card
from crl_core.errors import CheckpointError, CRLError, OutputError
from crl_core.io.atomic import as_disk_error, atomic_path, check_writable
from crl_core.resources import resource_root
from crl_core.weights_header import MAX_FILE, MAX_HEADER, Header

if TYPE_CHECKING:
    from torch import Tensor

    from crl_core.models import CRL

T = TypeVar("T")

__all__ = [
    "Card",
    "Checkpoint",
    "bundled_checkpoints",
    "default_checkpoint",
    "load_checkpoint",
    "read_card",
    "save_checkpoint",
]

OWN_ENDING = ".safetensors"
IN_TRAINING = "average/"
"""How the names of the averaged weights begin in the state of a run."""
AUTHORS_ENDINGS = (".pth", ".pt")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network ready to use, its card and where both came from.

    Attributes
    ----------
    model
        In evaluation mode, float32, on the CPU, without gradients.
    card
        What it is.
    path
        The file it was read from.
    """

    model: CRL
    card: Card
    path: Path


# reading ----------------------------------------------------------------------------------------


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of this program (.safetensors) or of the authors' code (.pth, .pt).

    The folder of a training run gives the network as it is now: finished, or as last saved.
    Nothing in the file is executed.

    Raises
    ------
    CheckpointError
        When the file is missing, damaged, of an unknown architecture, does not fit its card, or
        holds anything but finite floating point weights.
    """
    path = _in_run(Path(path))
    try:
        _check_file(path)
        ending = path.suffix.lower()
        if ending == OWN_ENDING:
            return _load_own(path)
        if ending in AUTHORS_ENDINGS:
            return _load_authors(path)
        raise CheckpointError(
            f"is not a checkpoint: its name ends in '{path.suffix}'",
            remedy=f"Give a file ending in {OWN_ENDING}, or in .pth for the authors' format",
        )
    except CheckpointError as error:
        raise _about(path, error) from error.__cause__
    except OSError as error:
        raise _unreadable(path, error) from error


def read_card(path: str | Path) -> Card:
    """Read the card of a checkpoint of this program without its weights and without torch.

    Parameters
    ----------
    path
        The .safetensors file, or the .json beside it.

    Raises
    ------
    CheckpointError
        When there is no usable card.
    """
    path = _in_run(Path(path))
    try:
        _check_file(path)
        if path.suffix.lower() == ".json":
            return _card_beside(path)
        if path.suffix.lower() != OWN_ENDING:
            raise CheckpointError(
                "has no card", remedy=f"Give a file ending in {OWN_ENDING}, or its .json"
            )
        with path.open("rb") as stream:
            start = stream.read(8 + MAX_HEADER)
        header = Header.parse(start, path.stat().st_size)
        return _card_of(header, path)
    except CheckpointError as error:
        raise _about(path, error) from error.__cause__
    except OSError as error:
        raise _unreadable(path, error) from error


def _load_own(path: Path) -> Checkpoint:
    from crl_core.models.skeleton import skeleton

    # One reading of the file: what was checked is what is used.
    data = path.read_bytes()
    header = Header.parse(data, len(data))
    card = _card_of(header, path)
    expected = skeleton(card.architecture)
    # The state of a run holds more than the network; of that the averaged weights are taken.
    running = any(name.startswith(IN_TRAINING) for name in header.shapes)
    _check_shapes(_averaged(header.shapes) if running else header.shapes, expected)
    tensors = _averaged(_tensors(data)) if running else _tensors(data)
    model = _filled(expected, tensors)
    if running:
        return Checkpoint(model, replace(card, sha256=_fingerprint(tensors)), path)
    if _fingerprint(tensors) != card.sha256:
        raise CheckpointError(
            "the weights are not those the card describes (their hash differs)",
            remedy="Copy the checkpoint again from where it came",
        )
    return Checkpoint(model, card, path)


def _averaged(entries: Mapping[str, T]) -> dict[str, T]:
    """Keep what belongs to the averaged weights in the state of a run."""
    kept = {n: v for n, v in entries.items() if n.startswith(IN_TRAINING)}
    return {name.removeprefix(IN_TRAINING): value for name, value in kept.items()}


def _load_authors(path: Path) -> Checkpoint:
    from crl_core.authors_format import authors_card, read_authors
    from crl_core.models.skeleton import skeleton

    architecture, tensors = read_authors(path)
    expected = skeleton(architecture)
    _check_shapes({name: tuple(t.shape) for name, t in tensors.items()}, expected)
    # A tensor can claim any shape over a few bytes, so it is copied only after that check.
    model = _filled(expected, {name: t.clone() for name, t in tensors.items()})
    card = authors_card(path.stem, architecture, _fingerprint(model.state_dict()))
    return Checkpoint(model, card, path)


def _tensors(data: bytes) -> dict[str, Tensor]:
    import safetensors
    import safetensors.torch

    try:
        return safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"is damaged ({error})", remedy="Copy the checkpoint again from where it came"
        ) from error


def _card_of(header: Header, path: Path) -> Card:
    """Return the embedded card, or the one beside the file where there is none inside."""
    if header.embedded is not None:
        return Card.from_json(header.embedded)
    beside = path.with_suffix(".json")
    if beside.is_file():
        return _card_beside(beside)
    raise CheckpointError(
        "has no card, neither inside nor beside it",
        remedy=f"Put {beside.name} into the same folder",
    )


def _card_beside(path: Path) -> Card:
    if path.stat().st_size > MAX_CARD_BYTES:
        raise CheckpointError(f"the card {path.name} is longer than {MAX_CARD_BYTES} bytes")
    try:
        return Card.from_json(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise CheckpointError(f"the card {path.name} is not text") from error


# building ---------------------------------------------------------------------------------------


def _check_shapes(found: Mapping[str, tuple[int, ...]], expected: CRL) -> None:
    """Refuse weights that do not fit the network, naming the first that does not."""
    needed = {name: tuple(t.shape) for name, t in expected.state_dict().items()}
    remedy = "Use weights and card of the same checkpoint"
    for name, shape in needed.items():
        if name not in found:
            raise CheckpointError(f"{name} is missing", remedy=remedy)
        if found[name] != shape:
            raise CheckpointError(f"{name} is {found[name]} where {shape} is needed", remedy=remedy)
    for name in found:
        if name not in needed:
            raise CheckpointError(f"{name[:80]} is not part of the network", remedy=remedy)


def _check_values(tensors: Mapping[str, Tensor]) -> None:
    import torch

    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{name} holds values that are not numbers (NaN or infinity)",
                remedy="The training went wrong; use an earlier checkpoint",
            )


def _filled(model: CRL, tensors: Mapping[str, Tensor]) -> CRL:
    """Give a skeleton its weights; shapes have been checked."""
    import torch

    # From double precision a value can overflow, so what is checked is what will be used.
    weights = {name: t.to(torch.float32).contiguous() for name, t in tensors.items()}
    _check_values(weights)
    model.load_state_dict(weights, assign=True)
    return model.eval().requires_grad_(False)


def _fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, kinds, shapes and bytes, in the order of the names."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        # A copy, because a tensor of one value may claim to be contiguous with any stride.
        tensor = tensors[name].detach().cpu().clone(memory_format=torch.contiguous_format)
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


# writing ----------------------------------------------------------------------------------------


def save_checkpoint(path: str | Path, model: CRL, card: Card, *, overwrite: bool = False) -> Card:
    """Write weights and card; the card also goes beside the file as JSON.

    Parameters
    ----------
    path
        A name ending in .safetensors.
    model
        The network; it is not changed.
    card
        Its card; the hash is filled in.
    overwrite
        Allow files of these names to be replaced.

    Returns
    -------
    card
        The card as written.

    Raises
    ------
    OutputError
        When the files cannot be written or exist.
    CheckpointError
        When the card does not describe this network, or a weight is not a finite number.
    """
    import safetensors.torch
    import torch

    from crl_core.models.skeleton import skeleton

    path = Path(path)
    if path.suffix != OWN_ENDING:
        raise OutputError(
            "is not a name for a checkpoint", path=path, remedy=f"End the name in {OWN_ENDING}"
        )
    beside = path.with_suffix(".json")
    for target in (path, beside):
        check_writable(target, overwrite=overwrite)
    weights = {
        name: value.detach().to("cpu", torch.float32).contiguous().clone()
        for name, value in model.state_dict().items()
    }
    try:
        _check_shapes({n: tuple(t.shape) for n, t in weights.items()}, skeleton(card.architecture))
        _check_values(weights)
    except CheckpointError as error:
        raise _about(path, error) from error.__cause__
    card = replace(card, sha256=_fingerprint(weights))
    with atomic_path(path, overwrite=overwrite) as temporary:
        try:
            safetensors.torch.save_file(weights, temporary, metadata={"card": card.to_json()})
        except safetensors.SafetensorError as error:
            raise as_disk_error(error) or OSError(str(error)) from error
    with atomic_path(beside, overwrite=overwrite) as temporary:
        temporary.write_text(card.to_json(indent=2) + "\n", encoding="utf-8")
    return card


# shipped ----------------------------------------------------------------------------------------


def bundled_checkpoints() -> dict[str, Path]:
    """Return the checkpoints shipped with the program, by name."""
    folder = resource_root() / "checkpoints"
    return {p.stem: p for p in sorted(folder.glob(f"*{OWN_ENDING}"))}


def default_checkpoint() -> Path:
    """Return the checkpoint used where none is named.

    It is the one that ``default.json`` beside them names, else the first.

    Raises
    ------
    CheckpointError
        When no checkpoint is shipped, or ``default.json`` is damaged.
    """
    shipped = bundled_checkpoints()
    folder = resource_root() / "checkpoints"
    if not shipped:
        raise CheckpointError(
            "holds no checkpoint", path=folder, remedy="Name a checkpoint, or install again"
        )
    choice = folder / "default.json"
    name = None
    if choice.is_file():
        try:
            entry = json.loads(choice.read_text(encoding="utf-8"))
            name = entry["default"]
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                "does not name a checkpoint", path=choice, remedy="Install the program again"
            ) from error
    return shipped.get(str(name), next(iter(shipped.values())))


# refusals ---------------------------------------------------------------------------------------


def _in_run(path: Path) -> Path:
    """Return the newest network in the folder of a run; anything else as it is."""
    if not path.is_dir():
        return path
    from crl_core.training.folder import RunFolder

    return RunFolder(path).newest_network() or path


def _check_file(path: Path) -> None:
    if not path.is_file():
        problem = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise CheckpointError(problem, remedy="Check the name")
    size = os.path.getsize(path)
    if size > MAX_FILE:
        raise CheckpointError(f"is too large for a checkpoint ({size / 1e9:.1f} GB)")
    if size == 0:
        raise CheckpointError("is empty", remedy="Copy the checkpoint again from where it came")


def _about(path: Path, error: CRLError) -> CheckpointError:
    """Return the same refusal, naming the file."""
    return CheckpointError(error.problem, path=error.path or path, remedy=error.remedy)


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(
        f"cannot be read ({error.strerror or type(error).__name__})",
        path=path,
        remedy="Check the name and the permissions",
    )
