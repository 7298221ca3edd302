"""What a finished network may say that it was trained on, its predecessors counted in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters, distance
from crl_core.training.data_config import SAME
from crl_core.trust import MAX_POINTS, ParameterBox, TrainingCoverage

_FEW = 0.1
"""Within a box that says it all, a setting that fewer people than this share have is no dot."""


def distinct(settings: Iterable[SequenceParameters]) -> list[SequenceParameters]:
    """Return settings in their order, those that are one (within three per cent) once."""
    found: list[SequenceParameters] = []
    for setting in settings:
        if not near(setting, found):
            found.append(setting)
    return found


def near(
    setting: SequenceParameters, others: Iterable[SequenceParameters], closer: float = SAME
) -> bool:
    """Return whether a setting is one of others, by default within three per cent."""
    return any(distance(setting, other) < closer for other in others)


def thinned(settings: Iterable[SequenceParameters]) -> tuple[SequenceParameters, ...]:
    """Return at most `MAX_POINTS` settings that reach as far as all of them.

    The first is kept, then always the one furthest from what is kept, so that the hull of a few
    is about that of all. A list cut at its end would forget whole contrasts.
    """
    left = distinct(settings)
    if len(left) <= MAX_POINTS:
        return tuple(left)
    kept = [left.pop(0)]
    away = [distance(kept[0], one) for one in left]
    while len(kept) < MAX_POINTS:
        furthest = max(range(len(left)), key=away.__getitem__)
        kept.append(left.pop(furthest))
        away.pop(furthest)
        away = [min(a, distance(kept[-1], one)) for a, one in zip(away, left, strict=True)]
    return tuple(kept)


def of_people(
    people: Sequence[Sequence[SequenceParameters]], box: ParameterBox | None = None
) -> tuple[SequenceParameters, ...]:
    """Return the settings that people were scanned with, the commonest first.

    Parameters
    ----------
    people
        The settings of each.
    box
        What other data of the same run cover; inside it, what hardly anybody has is left out.
    """
    # Scans of one sequence differ by the scanner's rounding and by float32.
    known = distinct(setting for settings in people for setting in settings)
    counts: Counter[int] = Counter()
    for settings in people:
        counts.update({next(k for k, p in enumerate(known) if near(s, [p])) for s in settings})
    covered = TrainingCoverage(box=box)
    worth = [
        known[k]
        for k, count in counts.most_common()
        if count >= _FEW * len(people) or box is None or not covered.inside(known[k])
    ]
    return thinned(worth)


def trained_on(coverage: TrainingCoverage, setting: SequenceParameters) -> bool:
    """Return whether a training with this coverage saw a setting itself.

    Being between trained settings is not enough; being in a box of random ones is, unless it was
    held back there.
    """
    if near(setting, coverage.held_out):
        return False
    boxed = coverage.box is not None and TrainingCoverage(box=coverage.box).inside(setting)
    return boxed or near(setting, coverage.points)


def merged(a: TrainingCoverage, b: TrainingCoverage) -> TrainingCoverage:
    """Return where either of two trainings was; held back is what neither saw."""
    held = distinct(
        p for p in (*a.held_out, *b.held_out) if not (trained_on(a, p) or trained_on(b, p))
    )
    told = dict.fromkeys([*a.data.split(" and "), *b.data.split(" and ")])
    return replace(
        a,
        points=thinned((*a.points, *b.points)),
        held_out=tuple(held[:MAX_POINTS]),
        box=a.box or b.box,
        data=" and ".join(part for part in told if part),
    )


def never_seen(
    coverage: TrainingCoverage, start: TrainingCoverage, training: Mapping[str, Any]
) -> TrainingCoverage:
    """Strike off what is held back now but was trained on by the network a run began with.

    Parameters
    ----------
    coverage
        Of the run.
    start
        Of the network it began with.
    training
        That network's card entry of this name, which tells of its own predecessors.
    """
    known = list(ancestors_saw(training))
    held = tuple(p for p in coverage.held_out if not (trained_on(start, p) or near(p, known)))
    return replace(coverage, held_out=held)


def ancestors_saw(training: Mapping[str, Any]) -> Iterator[SequenceParameters]:
    """Yield the paper's sequences that a network or one it went on from was trained on.

    Digital trainings say so by number. What a training on files held back is known of the network
    itself alone, by its coverage.
    """
    here: Any = training
    while isinstance(here, Mapping):
        settings = here.get("settings")
        if isinstance(settings, Mapping) and "digital" in str(here.get("data", "")):
            for number in settings.get("sequences", ()):
                if number in PAPER_SEQUENCES:
                    yield PAPER_SEQUENCES[number]
        before = here.get("went on from")
        here = before.get("training") if isinstance(before, Mapping) else None
