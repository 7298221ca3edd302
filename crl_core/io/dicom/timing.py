"""TR, TE and TI of a frame, each from the place its kind of object keeps it in.

Values no scanner means (-1, 0, 1.8e308, 1.7e38) count as not stated, and the next place is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from crl_core.io.dicom import values
from crl_core.io.dicom.groups import FrameView

LONGEST_MS = {"tr": 60_000.0, "te": 5_000.0, "ti": 20_000.0}
"""No setting is longer; what is above is a placeholder or damage."""

TIMING_GROUP = "MRTimingAndRelatedParametersSequence"
ECHO_GROUP = "MREchoSequence"
MODIFIER_GROUP = "MRModifierSequence"

_PLACES = {
    "tr": (("RepetitionTime", TIMING_GROUP),),
    "te": (("EffectiveEchoTime", ECHO_GROUP), ("EchoTime", ECHO_GROUP)),
    "ti": (("InversionTimes", MODIFIER_GROUP), ("InversionTime", MODIFIER_GROUP)),
}


@dataclass(frozen=True, slots=True)
class Stated:
    """A time a header states, ms, and where."""

    value: float
    where: str


@dataclass(frozen=True, slots=True)
class Times:
    """TR, TE and TI of one frame; None where the header states none that can be meant.

    Parameters
    ----------
    ti_is_zero
        Where an inversion time of exactly zero was read, ``""`` where none was.
    inversions
        How many inversion times the frame has; two for double inversion recovery.
    """

    tr: Stated | None
    te: Stated | None
    ti: Stated | None
    ti_is_zero: str = ""
    inversions: int = 0

    @staticmethod
    def credible(name: str, value: float) -> bool:
        """Return whether a scanner can have meant this value, ms."""
        return 0 < value <= LONGEST_MS[name]


def frame_times(view: FrameView) -> Times:
    """Read the times of one frame."""
    several = [
        values.numbers(d, "InversionTimes")
        for d, _ in view.places("InversionTimes", MODIFIER_GROUP)
    ]
    meant = [v for v in next(iter(several), []) if Times.credible("ti", v)]
    zero = next((where for value, where in _candidates(view, "ti") if value == 0), "")
    return Times(
        tr=_first(view, "tr"),
        te=_first(view, "te"),
        ti=_first(view, "ti") if len(meant) < 2 else None,
        ti_is_zero=zero,
        inversions=len(meant),
    )


def _candidates(view: FrameView, name: str) -> Iterator[tuple[float, str]]:
    for keyword, macro in _PLACES[name]:
        for dataset, where in view.places(keyword, macro):
            found = values.number(dataset, keyword)
            if found is not None:
                yield found, where


def _first(view: FrameView, name: str) -> Stated | None:
    for value, where in _candidates(view, name):
        if Times.credible(name, value):
            return Stated(value, where)
    return None
