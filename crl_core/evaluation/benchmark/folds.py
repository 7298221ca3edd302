"""People shared out into folds that share nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crl_core.errors import InputError


@dataclass(frozen=True)
class Fold:
    """Three groups of people that share nobody."""

    number: int
    train: tuple[str, ...]
    validate: tuple[str, ...]
    test: tuple[str, ...]


def share_out(
    people: Mapping[str, str], count: int | None, root: Path | None = None
) -> tuple[Fold, ...]:
    """Share people out into folds; the first of the next group validates.

    Parameters
    ----------
    people
        Each person and what must not be torn apart: of digital subjects the anatomy, which
        several may have in common, else the person again. The result follows from the names alone.
    count
        Number of folds; None for five, or fewer where there are fewer people. With one, everybody
        is tested and nobody is learnt from.
    root
        Named in a refusal.
    """
    clusters: dict[str, list[str]] = {}
    for person, cluster in sorted(people.items()):
        clusters.setdefault(cluster, []).append(person)
    names = sorted(clusters)
    wanted = min(5, len(names)) if count is None else count
    if not 1 <= wanted <= len(names):
        raise InputError(
            f"{len(names)} people cannot be shared out into {wanted} folds",
            path=root,
            remedy=f"Give --folds 1 to {len(names)}",
        )
    if wanted == 1:
        return (Fold(1, (), (), _members(names, clusters)),)
    order = [names[i] for i in np.random.default_rng(2024).permutation(len(names))]
    parts = [sorted(order[k::wanted]) for k in range(wanted)]
    found = []
    for k, test in enumerate(parts):
        others = [c for c in names if c not in test]
        # With one person to learn from nobody can be spared to validate on.
        inner = parts[(k + 1) % wanted][:1] if len(others) > 1 else []
        train = [c for c in others if c not in inner]
        found.append(Fold(k + 1, *(_members(part, clusters) for part in (train, inner, test))))
    return tuple(found)


def _members(part: Sequence[str], clusters: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    return tuple(sorted(person for cluster in part for person in clusters[cluster]))
