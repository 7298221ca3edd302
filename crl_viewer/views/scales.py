"""Axes of sliders and pad: logarithmic scales, tick numbers, steps and what a scanner can play.

Plain arithmetic without a toolkit, so that it is tested without a screen. What can be played is
asked of `crl_core.physics.feasibility`; here is only the search for the limits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from crl_core.physics.feasibility import Finding, assess
from crl_core.sequence import MIN_TI, TE_RANGE, TI_RANGE, TR_RANGE, SequenceParameters

NAMES = ("tr", "te", "ti")

DEFAULT_RANGES = {"tr": TR_RANGE, "te": TE_RANGE, "ti": (100.0, TI_RANGE[1])}
"""What a scale spans at first, ms. Tissues of the head null above 100 ms; shorter inversion
times come in as soon as one is acquired, trained or typed."""

TYPED_RANGES = {"tr": (20.0, 60_000.0), "te": (1.0, 2_000.0), "ti": (MIN_TI, 20_000.0)}
"""What may be typed, ms: beyond it a number is taken for a slip."""

STOP = 22.0
"""Pixels between the detached stop for "off" and the start of the track."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A logarithmic scale over a stretch of pixels, with a detached stop for "off" if wanted.

    Parameters
    ----------
    low, high
        Ends, ms.
    start, end
        The pixels they lie at; on a vertical axis `start` is the larger.
    off
        Whether zero has a stop of its own before `low`.
    """

    low: float
    high: float
    start: float = 0.0
    end: float = 1.0
    off: bool = False

    @property
    def _sign(self) -> float:
        return 1.0 if self.end >= self.start else -1.0

    @property
    def track_start(self) -> float:
        """The pixel of `low`; `start` is that of the stop where there is one."""
        return self.start + self._sign * STOP if self.off else self.start

    def over(self, start: float, end: float) -> Scale:
        """Return the same scale over other pixels."""
        return replace(self, start=start, end=end)

    def including(self, values: Iterable[float]) -> Scale:
        """Return the scale stretched so that all `values` above 0 lie on it."""
        known = [v for v in values if v > 0]
        return replace(self, low=min([self.low, *known]), high=max([self.high, *known]))

    def pixel(self, value: float) -> float:
        """Return the pixel of a value; values outside stop at the ends."""
        if self.off and value <= 0:
            return self.start
        value = min(max(value, self.low), self.high)
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.track_start + share * (self.end - self.track_start)

    def value(self, pixel: float) -> float:
        """Return the value at a pixel; beyond the ends that of the end."""
        along = self._sign * (pixel - self.track_start)
        if self.off and along < -STOP / 2:
            return 0.0
        length = abs(self.end - self.track_start)
        share = min(max(along / length, 0.0), 1.0)
        return self.low * (self.high / self.low) ** share


def default_scale(name: str, values: Iterable[float] = ()) -> Scale:
    """Return the scale of a parameter, wide enough for the given values in ms."""
    low, high = DEFAULT_RANGES[name]
    values = [v for v in values if v == 0 or name != "ti" or v >= MIN_TI]
    return Scale(low, high, off=name == "ti").including(values)


def tick_numbers(scale: Scale, steps: tuple[int, ...]) -> list[float]:
    """Return the round values on a scale, such as 1-2-5 or 1-3 in each decade."""
    found = []
    for decade in range(math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high)) + 1):
        found += [s * 10.0**decade for s in steps]
    return [v for v in found if scale.low * 0.999 <= v <= scale.high * 1.001]


def step_at(name: str, value: float) -> float:
    """Return the fine step at a value, ms: the 1-2-5 number nearest to one per cent."""
    exact = 0.01 * max(value, 1.0)
    decade = 10.0 ** math.floor(math.log10(exact))
    step = min((s * decade for s in (1, 2, 5, 10)), key=lambda s: abs(math.log(s / exact)))
    least = 0.5 if name == "te" and value < 20 else 1.0
    return max(step, least)


def rounded(name: str, value: float) -> float:
    """Round a dragged value to a whole number of fine steps."""
    if value <= 0:
        return 0.0
    step = step_at(name, value)
    return round(value / step) * step


def stepped(name: str, value: float, n: int, coarse: bool, scale: Scale) -> float:
    """Return the value `n` steps on; a coarse step is ten fine ones.

    The stop for "off" lies one step below the low end of a scale that has one.
    """
    for _ in range(abs(n)):
        if n > 0:
            if value <= 0:
                value = scale.low
                continue
            step = step_at(name, value) * (10 if coarse else 1)
            value = (math.floor(value / step + 1e-6) + 1) * step
        else:
            if scale.off and value <= scale.low * 1.0001:
                return 0.0
            step = step_at(name, value * 0.999) * (10 if coarse else 1)
            value = (math.ceil(value / step - 1e-6) - 1) * step
    return min(max(value, scale.low), scale.high) if value > 0 or not scale.off else 0.0


def obstacle(p: SequenceParameters) -> Finding | None:
    """Return why a scanner could not play a setting, or None."""
    found = assess(p)
    return found[0] if found and found[0].severity == "impossible" else None


@dataclass(frozen=True, slots=True)
class Span:
    """The values of one parameter that can be played with the other two as they are.

    `low` above `high` means that none can. Zero is judged on its own.
    """

    low: float
    high: float
    off: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing above zero can be played."""
        return self.low > self.high

    def clamp(self, value: float) -> float:
        """Return the closest value that can be played; unchanged where none can."""
        if value <= 0 and self.off:
            return 0.0
        if self.empty:
            return 0.0 if self.off else value
        return min(max(value, self.low), self.high)


def playable(name: str, at: SequenceParameters, scale: Scale) -> Span:
    """Return which values of a parameter can be played with the other two of `at`."""
    neutral = at.at(**{name: DEFAULT_RANGES[name][0]})
    return _playable(name, neutral, replace(scale, start=0.0, end=1.0))


@lru_cache(maxsize=256)
def _playable(name: str, at: SequenceParameters, scale: Scale) -> Span:
    def free(value: float) -> bool:
        return obstacle(_with(at, name, value)) is None

    off = scale.off and free(0.0)
    low = max(scale.low, MIN_TI) if name == "ti" else scale.low
    inner = [low * (scale.high / low) ** (k / 16) for k in range(17)]
    good = [v for v in inner if free(v)]
    if not good:
        return Span(1.0, 0.0, off)
    lowest = low if free(low) else _bisect(free, min(good), low)
    highest = scale.high if free(scale.high) else _bisect(free, max(good), scale.high)
    return Span(lowest, highest, off)


def _bisect(free: Callable[[float], bool], good: float, bad: float) -> float:
    """Return the last playable value between a good and a bad one, to a tenth of a ms."""
    while abs(bad - good) > 0.02:
        middle = math.sqrt(good * bad)
        good, bad = (middle, bad) if free(middle) else (good, middle)
    tenth = math.floor(good * 10) / 10 if bad > good else math.ceil(good * 10) / 10
    return tenth if free(tenth) else good


def _with(p: SequenceParameters, name: str, value: float) -> SequenceParameters:
    return p.at(**{name: value})
