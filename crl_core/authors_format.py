"""Weights in the layout that the authors' published training script writes.

Such a file is a pickle in a zip. It is read by torch's restricted reader, which rebuilds tensors
and plain containers and refuses everything else, so that nothing in it can run. Names in the
file never choose what is built: the sizes follow from the shapes of the tensors, and the names
only have to agree with them.
"""

from __future__ import annotations

import math
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crl_core.card import NOTE, Card
from crl_core.errors import CheckpointError
from crl_core.sequence import PAPER_HELD_OUT, PAPER_SEQUENCES, PAPER_TRAINING
from crl_core.trust import TrainingCoverage

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_RESIDUAL_SCALE = 0.1

AUTHORS_TE_9 = 99.98
"""TE of sequence 9 in the authors' training code, ms; their table says 98.78."""

_MAX_FEATURES, _MAX_BLOCKS, _MAX_LAYERS = 1024, 128, 16
_ENCODER_NAME = re.compile(r"ResNet-(\d{1,4})-(\d{1,4})")
_UNUSED = "cross_attn."
_COPY_AGAIN = "Copy the checkpoint again from where it came"

# What a damaged or hostile pickle makes the reader raise, short of what only a bug could.
_READING = (
    pickle.UnpicklingError, RuntimeError, LookupError, ValueError, TypeError, AttributeError,
    AssertionError, ArithmeticError, EOFError, MemoryError, ImportError, struct.error,
)  # fmt: skip


def read_authors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read architecture and weights from a file of the authors' format.

    Parameters
    ----------
    path
        A .pth file with a ``model`` entry of the name ``crl``.

    Returns
    -------
    architecture
        Entries for a network of the kind ``ratio`` with the authors' parameter convention.
    tensors
        Its weights by name, still in the file; their shapes are as found. The unused
        cross-attention and the optimiser are left out.

    Raises
    ------
    CheckpointError
        When the file is of another kind or model, holds more than weights, or contradicts itself.
    """
    model = _model_entry(_unpickled(path))
    tensors = _weights(model["sd"])
    sizes = _sizes(tensors)
    encoder = _spec(model, "encoder_spec")
    _check_names(encoder, _spec(model, "imnet_spec"), sizes)
    architecture = {
        "kind": "ratio",
        **sizes,
        "residual_scale": _residual_scale(encoder),
        "convention": "authors",
    }
    return architecture, tensors


def authors_card(name: str, architecture: dict[str, Any], sha256: str) -> Card:
    """Return the card of an imported file: what its format implies, and nothing else."""
    points = {n: PAPER_SEQUENCES[n] for n in PAPER_TRAINING}
    points[9] = points[9].at(te=AUTHORS_TE_9)
    coverage = TrainingCoverage(
        points=tuple(points.values()),
        box=None,
        held_out=tuple(PAPER_SEQUENCES[n] for n in PAPER_HELD_OUT),
        data="the paper (assumed)",
    )
    return Card(
        name="imported crl-code",
        preset="crl-code",
        architecture=architecture,
        intensity_rule="minmax",
        in_plane_mm=None,
        coverage=coverage,
        training={"data": "unknown: imported from the format of the authors' code"},
        metrics={},
        note=f"Imported; how it was trained and how good it is are unknown. {NOTE}",
        sha256=sha256,
    )


# the file ---------------------------------------------------------------------------------------


def _unpickled(path: Path) -> Any:
    import torch

    _check_archive(path)
    try:
        with warnings.catch_warnings():
            # Remarks on old or odd pickles: what matters about them is checked below.
            warnings.simplefilter("ignore")
            # Mapped, so that the optimiser, twice the size of the weights, stays on the disk.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except _READING as error:
        if "nsupported" in str(error):
            raise CheckpointError(
                "holds objects or code besides weights; nothing in it was run",
                remedy="Do not use this file; get weights from a source you trust",
            ) from error
        raise CheckpointError(
            "is damaged: its contents cannot be read", remedy=_COPY_AGAIN
        ) from error


def _check_archive(path: Path) -> None:
    """Refuse what is not a complete, uncompressed zip: torch's own files always are."""
    try:
        with zipfile.ZipFile(path) as archive:
            stored = all(e.compress_type == zipfile.ZIP_STORED for e in archive.infolist())
            broken = archive.testzip() if stored else None
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, RuntimeError) as error:
        raise CheckpointError(
            "is not a checkpoint of the authors' format, or is truncated", remedy=_COPY_AGAIN
        ) from error
    if not stored or broken is not None:
        raise CheckpointError("is damaged: its contents cannot be read", remedy=_COPY_AGAIN)


def _model_entry(content: Any) -> dict[str, Any]:
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("sd"), dict):
        raise CheckpointError(
            "is not of the authors' format: it has no entry 'model' with weights",
            remedy="Give a file as their training script writes it",
        )
    if model.get("name") != "crl":
        raise CheckpointError(
            f"holds the model '{str(model.get('name'))[:40]}'", remedy="Only 'crl' can be read"
        )
    return model


def _weights(state: Mapping[Any, Any]) -> dict[str, Tensor]:
    import torch

    kinds = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    tensors: dict[str, Tensor] = {}
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(f"its entry '{str(key)[:80]}' is not a weight")
        name = key.removeprefix("module.")
        if name.startswith(_UNUSED):
            continue
        if name in tensors:
            raise CheckpointError(f"{name[:80]} is there twice")
        if value.dtype not in kinds or value.layout != torch.strided or value.is_quantized:
            raise CheckpointError(
                f"{name[:80]} holds values of the kind {value.dtype}, not floating point numbers"
            )
        tensors[name] = value
    return tensors


# the architecture -------------------------------------------------------------------------------


def _sizes(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Read channels, blocks and widths off the shapes; whether all agree is checked later."""
    blocks = 0
    while f"encoder.body.{blocks}.body.0.weight" in tensors and blocks <= _MAX_BLOCKS:
        blocks += 1
    sizes: dict[str, Any] = {
        "features": _rows(tensors, "encoder.head.0.weight"),
        "blocks": blocks,
        "code_hidden": _hidden(tensors, "codemapping_mlp"),
        "decoder_hidden": _hidden(tensors, "imnet"),
    }
    widths = [sizes["features"], *sizes["code_hidden"], *sizes["decoder_hidden"]]
    if not 1 <= blocks <= _MAX_BLOCKS or not all(1 <= w <= _MAX_FEATURES for w in widths):
        raise CheckpointError(
            f"its sizes are out of range: {blocks} blocks, widest layer {max(widths)}"
        )
    return sizes


def _rows(tensors: Mapping[str, Tensor], name: str) -> int:
    if name not in tensors or tensors[name].ndim == 0:
        raise CheckpointError(f"{name} is missing")
    return int(tensors[name].shape[0])


def _hidden(tensors: Mapping[str, Tensor], part: str) -> list[int]:
    """Return the widths of the hidden layers of a stack of linear layers at even places."""
    rows = [_rows(tensors, f"{part}.layers.0.weight")]
    while f"{part}.layers.{2 * len(rows)}.weight" in tensors and len(rows) <= _MAX_LAYERS:
        rows.append(_rows(tensors, f"{part}.layers.{2 * len(rows)}.weight"))
    if len(rows) > _MAX_LAYERS:
        raise CheckpointError(f"{part} has more than {_MAX_LAYERS} layers")
    return rows[:-1]


def _spec(model: Mapping[str, Any], part: str) -> dict[str, Any]:
    args = model.get("args")
    spec = args.get(part) if isinstance(args, dict) else None
    if not isinstance(spec, dict):
        raise CheckpointError(f"is not of the authors' format: its model has no '{part}'")
    inner = spec.get("args")
    return {**(inner if isinstance(inner, dict) else {}), "name": spec.get("name")}


def _check_names(
    encoder: Mapping[str, Any], decoder: Mapping[str, Any], sizes: Mapping[str, Any]
) -> None:
    """Refuse a file whose description contradicts its tensors."""
    name = str(encoder["name"])[:40]
    match = _ENCODER_NAME.fullmatch(name)
    if match is None:
        raise CheckpointError(f"its encoder '{name}' is unknown", remedy="Known is ResNet-32-256")
    if (int(match[1]), int(match[2])) != (sizes["blocks"], sizes["features"]):
        raise CheckpointError(
            f"its encoder is called '{name}' but holds {sizes['blocks']} blocks of "
            f"{sizes['features']} channels"
        )
    if decoder["name"] != "mlp":
        raise CheckpointError(
            f"its decoder '{str(decoder['name'])[:40]}' is unknown", remedy="Known is mlp"
        )
    hidden = decoder.get("hidden_list", sizes["decoder_hidden"])
    if hidden != sizes["decoder_hidden"] or decoder.get("out_dim", 1) != 1:
        raise CheckpointError("its decoder's tensors are not those its description announces")


def _residual_scale(encoder: Mapping[str, Any]) -> float:
    """Return the factor on residual blocks, which no tensor shows."""
    value = encoder.get("res_scale")
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    if usable and math.isfinite(value) and 0 < value <= 10:  # type: ignore[arg-type, operator]
        return float(value)  # type: ignore[arg-type]
    return DEFAULT_RESIDUAL_SCALE
