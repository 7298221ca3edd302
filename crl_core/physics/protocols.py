"""Sequences to simulate: echo trains a scanner would play for given times, and random times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from crl_core.physics.epg import USUAL_SPACING
from crl_core.sequence import SequenceParameters

LONG_TRAIN, MIDDLE_TRAIN, SHORT_TRAIN = 16, 8, 4
_SHORT_TE = 30.0
_SHORT_TR = 1000.0

RANDOM_TR = (350.0, 16_000.0)
RANDOM_TE = (7.0, 255.0)
RANDOM_TI = (40.0, 4500.0)
RANDOM_TR_INVERTED = (900.0, 16_000.0)
"""What random sequences span, ms."""

MIN_REST = 100.0
"""Shortest rest after the last event of a repetition in random sequences, ms."""


def with_train(
    parameters: SequenceParameters, field_strength: float | None = None
) -> SequenceParameters:
    """Return a sequence with an echo train, where it states none.

    The spacing is TE / n, n such that it is close to 10.42 ms, the spacing the paper's echo times
    point to: TE is an echo. The length is assumed: 4 echoes below a TR of a second, else 8 below
    a TE of 30 ms, where the centre of k-space comes first and a long train would blur, else 16;
    more where TE lies later, fewer where TR has no room.

    Parameters
    ----------
    parameters
        The sequence; a stated spacing or length is kept.
    field_strength
        Written into the result where given, tesla.
    """
    p = parameters
    spacing = p.echo_spacing or p.te / max(1, round(p.te / USUAL_SPACING))
    usual = SHORT_TRAIN if p.tr < _SHORT_TR else MIDDLE_TRAIN if p.te < _SHORT_TE else LONG_TRAIN
    room = int((p.tr - p.ti) / spacing + 1e-9)
    least = max(1, round(p.te / spacing))
    length = p.echo_train_length or max(least, min(usual, room))
    return replace(
        p,
        echo_spacing=spacing,
        echo_train_length=length,
        field_strength=field_strength or p.field_strength,
    )


def random_sequence(rng: np.random.Generator) -> SequenceParameters:
    """Draw TR, TE and TI over the whole parameter space, evenly in their logarithms.

    Half are without inversion. The echo train is random too: 1 to 19 echoes, 8 to 13 ms apart.
    """
    te = _log_uniform(rng, *RANDOM_TE)
    tr = max(_log_uniform(rng, *RANDOM_TR), te + MIN_REST)
    ti = 0.0
    if rng.random() < 0.5:
        tr = max(tr, RANDOM_TR_INVERTED[0] + te)
        shortest, longest = RANDOM_TI
        ti = _log_uniform(rng, shortest, min(longest, tr - te - MIN_REST))
    return SequenceParameters(
        tr,
        te,
        ti,
        echo_train_length=int(rng.integers(1, 20)),
        echo_spacing=float(rng.uniform(8.0, 13.0)),
    )


def random_protocol(rng: np.random.Generator, count: int) -> dict[str, SequenceParameters]:
    """Draw sequences for a dataset, by name; TR and TI in whole ms, TE an echo of the train."""
    found: dict[str, SequenceParameters] = {}
    for number in range(1, count + 1):
        p = random_sequence(rng)
        rounded = SequenceParameters(round(p.tr), round(p.te, 1), round(p.ti))
        found[f"random{number}"] = with_train(rounded)
    return found


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
