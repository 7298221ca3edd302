"""The networks: one interface, four named presets.

``crl-code`` is the default path of the authors' published code, ``crl-paper`` the text of the
paper made runnable, ``crl-small`` a small relative of the first for machines without a GPU, and
``crl-plus`` renders bounded tissue maps through the signal equation. Sizes live in
``resources/presets/<name>.json``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from crl_core.errors import CheckpointError
from crl_core.models.base import CRL, Features
from crl_core.models.baselines import PGAN, PTNet, ResViT
from crl_core.models.mixture import MixtureCRL
from crl_core.models.paper import PaperCRL
from crl_core.models.plus import PlusCRL
from crl_core.models.ratio import RatioCRL
from crl_core.resources import resource

__all__ = [
    "BASELINE_NAMES",
    "CRL",
    "PRESET_NAMES",
    "Features",
    "build_model",
    "intensity_rule",
    "preset_config",
]

PRESET_NAMES = ("crl-code", "crl-paper", "crl-small", "crl-plus")

BASELINE_NAMES = ("pgan", "ptnet", "resvit")
"""Networks of others that ours are compared with, see `crl_core.models.baselines`."""

# The only classes a checkpoint can ask for; names from a file are looked up here, never imported.
_KINDS: dict[str, type[CRL]] = {
    "ratio": RatioCRL,
    "paper": PaperCRL,
    "plus": PlusCRL,
    "mixture": MixtureCRL,
    "pgan": PGAN,
    "ptnet": PTNet,
    "resvit": ResViT,
}
_MINMAX = ("paper", "pgan", "ptnet", "resvit")


def preset_config(preset: str) -> dict[str, Any]:
    """Return the architecture of a preset as plain values.

    Raises
    ------
    CheckpointError
        When there is no such preset.
    """
    known = (*PRESET_NAMES, *BASELINE_NAMES)
    if preset not in known:
        raise CheckpointError(
            f"there is no preset '{preset}'", remedy=f"Choose one of {', '.join(known)}"
        )
    text = resource("presets", f"{preset}.json").read_text(encoding="utf-8")
    config: dict[str, Any] = json.loads(text)
    return config


def architecture_of(preset: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the architecture of a preset with some entries replaced.

    Changes that name another kind of network stand for themselves: what a preset once was goes on
    working under its name.
    """
    own = preset_config(preset)
    if changes.get("kind", own["kind"]) != own["kind"]:
        return dict(changes)
    return {**own, **changes}


def learns_one_pair(config: dict[str, Any]) -> bool:
    """Return whether a network of this architecture knows a single pair of contrasts."""
    kind = _KINDS.get(str(config.get("kind")))
    # A variant that is told the parameters learns all pairs at once.
    return bool(getattr(kind, "one_pair", False)) and not config.get("conditioned", False)


def intensity_rule(config: dict[str, Any]) -> str:
    """Return how a network of this architecture wants its images scaled, without building it."""
    published = config.get("kind") in _MINMAX or config.get("convention") == "authors"
    return "minmax" if published else "robust"


def knows_up(config: dict[str, Any]) -> bool:
    """Return whether slices are turned for a network of this architecture (`turning.Turn`)."""
    return bool(getattr(_KINDS.get(str(config.get("kind"))), "knows_up", False))


def optimiser_of(config: dict[str, Any]) -> str:
    """Return what trains a network of this architecture best, ``"adam"`` or ``"muon"``."""
    return str(getattr(_KINDS.get(str(config.get("kind"))), "optimiser", "adam"))


def build_model(preset: str, **changes: Any) -> CRL:
    """Build a network with fresh weights.

    Parameters
    ----------
    preset
        One of `PRESET_NAMES` or `BASELINE_NAMES`.
    **changes
        Entries of the preset's architecture to replace, such as ``features=16``.

    Raises
    ------
    CheckpointError
        When the preset or an entry is unknown or out of range.
    """
    return build_from_config(architecture_of(preset, changes))


def build_from_config(config: dict[str, Any]) -> CRL:
    """Build a network from a full architecture, as stored in a checkpoint's card."""
    settings = dict(config)
    kind = settings.pop("kind", None)
    if kind not in _KINDS:
        raise CheckpointError(
            f"the architecture '{kind}' is unknown",
            remedy=f"This version knows {', '.join(sorted(_KINDS))}",
        )
    allowed = _KINDS[kind].defaults()
    for name, value in settings.items():
        if name not in allowed:
            raise CheckpointError(f"the architecture has an unknown entry '{name}'")
        _check_entry(name, value, allowed[name])
    return _KINDS[kind](**settings)


def _check_entry(name: str, value: Any, example: Any) -> None:
    """Refuse an entry of the wrong type, or so large that building it would exhaust memory."""
    items = value if isinstance(value, list) else [value]
    kinds = type(example[0]) if isinstance(example, list) else type(example)
    wrong_shape = isinstance(value, list) != isinstance(example, list)
    for item in items:
        good = isinstance(item, int | float) if kinds is float else isinstance(item, kinds)
        if wrong_shape or not good or (isinstance(item, bool) and kinds is not bool):
            raise CheckpointError(f"the architecture's entry '{name}' has the wrong type")
        if kinds is int and not 1 <= item <= 1024:
            raise CheckpointError(f"the architecture's entry '{name}' is out of range: {item}")
    if len(items) > 64:
        raise CheckpointError(f"the architecture's entry '{name}' is too long")
