"""The table of contents of a safetensors file, checked before anything is allocated from it.

The file is an 8-byte little-endian length, a JSON table of that length, and the bytes of the
tensors (https://github.com/huggingface/safetensors, README, section "Format").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NoReturn

from crl_core.card import MAX_CARD_BYTES, parse_json
from crl_core.errors import CheckpointError

MAX_FILE = 1_600_000_000
MAX_HEADER = 2 * MAX_CARD_BYTES
"""Longest file and longest header that are read, bytes."""

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
"""The kinds of values that are accepted and their sizes."""


@dataclass(frozen=True)
class Header:
    """The table of contents of a safetensors file."""

    shapes: dict[str, tuple[int, ...]]
    embedded: str | None

    @classmethod
    def parse(cls, start: bytes, size: int) -> Header:
        """Read the header from the beginning of a file of `size` bytes."""
        length = int.from_bytes(start[:8], "little")
        if size < 8 or length > size - 8:
            damaged("it is shorter than its header says")
        if length > MAX_HEADER:
            damaged(f"its header claims {length} bytes")
        entries = parse_json(start[8 : 8 + length], damaged)
        if not isinstance(entries, dict):
            damaged("its header is not a table of tensors")
        metadata = entries.pop("__metadata__", None) or {}
        embedded = metadata.get("card") if isinstance(metadata, dict) else None
        shapes, ends = {}, [0]
        for name, entry in entries.items():
            shape, end = _entry(name, entry)
            shapes[name] = shape
            ends.append(end)
        if 8 + length + max(ends) != size:
            damaged(f"it has {size} bytes where {8 + length + max(ends)} are announced")
        return cls(shapes, embedded if isinstance(embedded, str) else None)


def _entry(name: str, entry: object) -> tuple[tuple[int, ...], int]:
    """Check one line of the header; returns the tensor's shape and where its bytes end."""
    fields = entry if isinstance(entry, dict) else {}
    kind = fields.get("dtype")
    shape, offsets = _counts(fields.get("shape")), _counts(fields.get("data_offsets"))
    if not isinstance(kind, str) or shape is None or offsets is None or len(offsets) != 2:
        damaged(f"its header's entry for '{name[:80]}' makes no sense")
    if kind not in BYTES:
        raise CheckpointError(
            f"{name[:80]} holds values of the kind {kind[:20]}, not floating point numbers"
        )
    if offsets[1] - offsets[0] != math.prod(shape) * BYTES[kind]:
        damaged(f"its header's entry for '{name[:80]}' makes no sense")
    return tuple(shape), offsets[1]


def _counts(value: object) -> list[int] | None:
    """Return a short list of sizes that are possible in a file, or None when it is not one."""
    if not isinstance(value, list) or len(value) > 8:
        return None
    return value if all(type(v) is int and 0 <= v <= MAX_FILE for v in value) else None


def damaged(problem: str) -> NoReturn:
    """Refuse the file as damaged."""
    raise CheckpointError(
        f"is damaged: {problem}", remedy="Copy the checkpoint again from where it came"
    )
