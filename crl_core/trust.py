"""Where the settings a model was trained on end, and how far outside them a request lies.

One field answers every question: `TrainingCoverage.margins`. The shading of a slider track, the
hull on the parameter pad, the badge on an image, the sentence below the pad and the verdict in
an export are all derived from it, so they cannot disagree.

Settings are compared in the coordinates of `crl_core.sequence.distance`: log TR, log TE and
log(TI + 150 ms), so that 0.1 is about ten per cent of TR or TE. Acquisitions with and without
an inversion pulse are two classes: being between settings of one class says nothing about the
other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from crl_core.errors import CheckpointError, ParameterError
from crl_core.hull import FloatArray, Hull
from crl_core.sequence import (
    TE_RANGE,
    TI_RANGE,
    TR_RANGE,
    SequenceParameters,
    distance,
)

RADIUS = 0.05
"""How far around the hull of the trained settings still counts as inside: 5 % in TR or TE."""

FADE = 0.35
"""Distance at which trust has fallen to zero: a factor of 1.4 in TR or TE."""

JUST_OUTSIDE = 0.1
"""Up to this distance the sentence says "just outside"."""

CLASS_STEP = 1.0
"""What switching the inversion pulse costs, as in `crl_core.sequence.distance`."""

MAX_POINTS = 64
"""More single settings than this are a range: describe them by a `ParameterBox`."""

NAMES = ("tr", "te", "ti")
_RANGES = {"tr": TR_RANGE, "te": TE_RANGE, "ti": TI_RANGE}


def coordinates(triples: ArrayLike) -> FloatArray:
    """Map TR, TE, TI in ms to the space in which settings are compared.

    Parameters
    ----------
    triples
        Shape (..., 3), ms, in the order TR, TE, TI.

    Returns
    -------
    Array of the same shape: log TR, log TE, log(TI + 150).
    """
    values = np.asarray(triples, dtype=np.float64)
    shifted: FloatArray = np.log(values + np.array([0.0, 0.0, 150.0]))
    return shifted


@dataclass(frozen=True, slots=True)
class ParameterBox:
    """Ranges that a model trained on random parameters has seen.

    Parameters
    ----------
    tr, te
        Lowest and highest value, ms, both above 0.
    ti
        Lowest and highest inversion time, ms, both above 0; ``None`` where no inversion was
        ever trained.
    no_inversion
        Whether acquisitions without an inversion pulse were trained as well.
    tr_inverted
        Lowest and highest TR of acquisitions with inversion where that differs from `tr`: the
        delay leaves no room for the shortest repetitions.

    Raises
    ------
    ParameterError
        When a range is empty, not finite or not above 0, or when nothing was trained at all.
    """

    tr: tuple[float, float]
    te: tuple[float, float]
    ti: tuple[float, float] | None = None
    no_inversion: bool = True
    tr_inverted: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in (*NAMES, "tr_inverted"):
            given = getattr(self, name)
            if given is None and name in ("ti", "tr_inverted"):
                continue
            low, high = (float(v) for v in given)
            if not (math.isfinite(low) and math.isfinite(high) and 0 < low <= high):
                raise ParameterError(
                    f"{name.upper()} from {low:g} to {high:g} ms is not a range",
                    remedy="Give the lowest and the highest value, both above 0",
                )
            object.__setattr__(self, name, (low, high))
        if self.ti is None and not self.no_inversion:
            raise ParameterError(
                "a box with neither inverted nor other acquisitions holds nothing",
                remedy="Give a range of TI or allow acquisitions without inversion",
            )

    def clamp(self, p: SequenceParameters) -> SequenceParameters:
        """Return the setting inside the box that is closest to `p`."""
        plain = self.ti is None or (self.no_inversion and not p.inverted)
        low, high = self.tr if plain else self.tr_inverted or self.tr
        tr = min(max(p.tr, low), high)
        te = min(max(p.te, self.te[0]), self.te[1])
        if plain or self.ti is None:
            return p.at(tr, te, 0.0)
        return p.at(tr, te, min(max(p.ti, self.ti[0]), self.ti[1]))

    def signed(self, where: FloatArray, inverted: bool) -> FloatArray | None:
        """Return the signed distance of coordinates (n, 3) to one class of the box.

        Negative inside. ``None`` where the class was not trained.
        """
        if inverted:
            if self.ti is None:
                return None
            bounds = np.array([self.tr_inverted or self.tr, self.te, self.ti]).T
        else:
            if not self.no_inversion:
                return None
            bounds = np.array([self.tr, self.te, (0.0, 0.0)]).T
        low, high = coordinates(bounds)
        outside = np.maximum(low - where, where - high)
        distances = np.sqrt((np.maximum(outside, 0.0) ** 2).sum(axis=1))
        free = outside[:, high > low]
        depth = free.max(axis=1) if free.shape[1] else np.zeros(len(where))
        return np.where(distances > 0, distances, np.minimum(depth, 0.0))


@dataclass(frozen=True)
class TrainingCoverage:
    """The settings a model was trained on, and how far a request lies outside them.

    Inside means inside `box`, or within `radius` of the convex hull of those trained `points`
    that agree in having or not having an inversion pulse.

    Parameters
    ----------
    points
        Trained settings, at most 64.
    box
        Ranges of a model trained on random parameters.
    held_out
        Settings that were kept back from training on purpose; they do not widen the hull.
    radius
        Margin around the hull, in units of the logarithm: 0.05 is 5 % of TR or TE.
    data
        What was scanned, in words that follow "of", as in "digital subjects".

    Raises
    ------
    ParameterError
        When there are too many points or the radius is negative.
    """

    points: tuple[SequenceParameters, ...] = ()
    box: ParameterBox | None = None
    held_out: tuple[SequenceParameters, ...] = ()
    radius: float = RADIUS
    data: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", tuple(self.points))
        object.__setattr__(self, "held_out", tuple(self.held_out))
        if len(self.points) > MAX_POINTS:
            raise ParameterError(
                f"{len(self.points)} trained settings are too many to list",
                remedy=f"List at most {MAX_POINTS} or give their ranges",
            )
        if not (math.isfinite(self.radius) and self.radius >= 0):
            raise ParameterError(
                f"a radius of {self.radius:g} is not usable", remedy="Give 0 or more"
            )

    # the field everything else is derived from -----------------------------------------------

    @cached_property
    def _hulls(self) -> dict[bool, Hull | None]:
        hulls: dict[bool, Hull | None] = {}
        for inverted in (False, True):
            same = [p.triple for p in self.points if p.inverted == inverted]
            hulls[inverted] = Hull(coordinates(same)) if same else None
        return hulls

    @property
    def known(self) -> bool:
        """Whether anything is known about the trained settings."""
        return bool(self.points) or self.box is not None

    def classes(self) -> tuple[bool, bool]:
        """Return whether settings (without, with) an inversion pulse were trained."""
        box = self.box
        without = self._hulls[False] is not None or (box is not None and box.no_inversion)
        inverted = self._hulls[True] is not None or (box is not None and box.ti is not None)
        return without, inverted

    def margins(self, triples: ArrayLike) -> FloatArray:
        """Return how far settings lie outside the trained region; 0 or less is inside.

        Parameters
        ----------
        triples
            Shape (n, 3), ms, in the order TR, TE, TI.

        Returns
        -------
        Shape (n,), in units of the logarithm; infinite where nothing is known.
        """
        values = np.asarray(triples, dtype=np.float64).reshape(-1, 3)
        where = coordinates(values)
        inverted = values[:, 2] > 0
        result = np.full(len(values), np.inf)
        for kind in (False, True):
            own = inverted == kind
            result[own] = self._to_class(where[own], kind)
        for kind in (False, True):
            far = (inverted != kind) & (result > CLASS_STEP)
            crossed = np.maximum(self._to_class(where[far], kind), 0.0) + CLASS_STEP
            result[far] = np.minimum(result[far], crossed)
        return result

    def _to_class(self, where: FloatArray, inverted: bool) -> FloatArray:
        result = np.full(len(where), np.inf)
        if not len(where):
            return result
        hull = self._hulls[inverted]
        if hull is not None:
            result = hull.signed(where) - self.radius
        boxed = None if self.box is None else self.box.signed(where, inverted)
        return result if boxed is None else np.minimum(result, boxed)

    def trust_of(self, triples: ArrayLike) -> FloatArray:
        """Return the trust in settings (n, 3) in ms: 1 inside, falling smoothly to 0 outside."""
        fall = np.clip(self.margins(triples) / FADE, 0.0, 1.0)
        return 1.0 - fall**2 * (3.0 - 2.0 * fall)

    # single settings --------------------------------------------------------------------------

    def distance(self, p: SequenceParameters) -> float:
        """Return how far `p` lies outside; 0 inside, 1 about a factor of e in one parameter."""
        return max(0.0, float(self.margins([p.triple])[0]))

    def trust(self, p: SequenceParameters) -> float:
        """Return the trust in one setting, 0 to 1; 1 exactly where `inside` holds."""
        return float(self.trust_of([p.triple])[0])

    def inside(self, p: SequenceParameters) -> bool:
        """Return whether `p` lies between trained settings."""
        return self.distance(p) == 0.0

    def trust_along(self, name: str, values: ArrayLike, at: SequenceParameters) -> FloatArray:
        """Cut the field along one parameter, the other two kept as they are in `at`.

        Parameters
        ----------
        name
            "tr", "te" or "ti".
        values
            Shape (n,), ms; 0 is allowed for TI and means no inversion.
        at
            The other two parameters.

        Returns
        -------
        Shape (n,), trust between 0 and 1.
        """
        return self.trust_of(_along(name, values, at))

    def nearest(self, p: SequenceParameters) -> SequenceParameters | None:
        """Return the trained setting closest to `p`, or ``None`` when none is known.

        In a box that is the closest setting inside it, which may be `p` itself.
        """
        candidates = list(self.points)
        if self.box is not None:
            candidates.append(self.box.clamp(p))
        return min(candidates, key=lambda c: distance(p, c)) if candidates else None

    def suggestion(self, p: SequenceParameters) -> str | None:
        """Return the parameter whose smallest move leads back inside.

        Where no single move does, it is the parameter furthest from the nearest trained
        setting. ``None`` inside, and where nothing is known.
        """
        target = self.nearest(p)
        if target is None or self.inside(p):
            return None
        cuts = {name: self._candidates(name) for name in NAMES}
        stacked = np.concatenate([_along(name, cuts[name], p) for name in NAMES])
        playable = stacked[:, 0] >= stacked[:, 1] + stacked[:, 2]
        good = (self.margins(stacked) <= 0) & playable
        moves = np.abs(coordinates(stacked) - coordinates(p.triple)).max(axis=1)
        moves += CLASS_STEP * ((stacked[:, 2] > 0) != p.inverted)
        owner = np.repeat(np.arange(3), [len(cuts[name]) for name in NAMES])
        if good.any():
            return NAMES[int(owner[np.argmin(np.where(good, moves, np.inf))])]
        if target.inverted != p.inverted:
            return "ti"
        apart = np.abs(coordinates(target.triple) - coordinates(p.triple))
        return NAMES[int(np.argmax(apart))]

    def _candidates(self, name: str) -> FloatArray:
        low, high = _RANGES[name]
        known = [getattr(p, name) for p in self.points]
        bounds = None if self.box is None else getattr(self.box, name)
        known = [v for v in [*known, *(bounds or ())] if v > 0]
        low, high = min([low, *known]), max([high, *known])
        values = np.concatenate([np.geomspace(low, high, 192), known])
        return np.concatenate([[0.0], values]) if name == "ti" else values

    # words ------------------------------------------------------------------------------------

    def sentence(self, p: SequenceParameters) -> str:
        """Say in plain words where `p` lies and what the model was trained on."""
        if not self.known:
            return "Extrapolating: the settings of this model's training are unknown."
        apart = self.distance(p)
        if apart == 0.0:
            return f"{self._place(p)}. {self._training()}."
        without, inverted = self.classes()
        nearest = self.nearest(p)
        words = f"Nearest: {_short(nearest, p)}." if nearest is not None else ""
        if p.inverted and not inverted:
            return f"Extrapolating, never trained with inversion. {words}"
        if not p.inverted and not without:
            return f"Extrapolating, never trained without inversion. {words}"
        how = "just outside" if apart <= JUST_OUTSIDE else "outside" if apart < FADE else "far out"
        return f"Extrapolating, {how}. {words}"

    def _place(self, p: SequenceParameters) -> str:
        if _listed(p, self.points):
            return "At a trained setting"
        if _listed(p, self.held_out):
            return "At a setting held back from training"
        return "Within the trained ranges" if not self.points else "Between trained settings"

    def _training(self) -> str:
        if self.box is not None or not self.points:
            return f"Model trained on {self.data or 'random settings'}"
        count = len(self.points)
        kind = f" of {self.data}" if self.data else ""
        return f"Model trained on {count} setting{'s' if count != 1 else ''}{kind}"

    # the card ---------------------------------------------------------------------------------

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for the JSON card of a checkpoint."""
        box = self.box
        return {
            "points": [list(p.triple) for p in self.points],
            "held_out": [list(p.triple) for p in self.held_out],
            "box": None
            if box is None
            else {
                "tr": list(box.tr),
                "te": list(box.te),
                "ti": None if box.ti is None else list(box.ti),
                "no_inversion": box.no_inversion,
                "tr_inverted": None if box.tr_inverted is None else list(box.tr_inverted),
            },
            "radius": self.radius,
            "data": self.data,
        }

    @classmethod
    def from_dict(cls, card: object) -> TrainingCoverage:
        """Read what `as_dict` wrote.

        Raises
        ------
        CheckpointError
            When anything is missing, unknown, of the wrong kind or out of range.
        """
        entries = _mapping(card, ("points", "held_out", "box", "radius", "data"), "coverage")
        if not isinstance(entries["data"], str):
            raise _refusal("coverage.data is not a text")
        try:
            return cls(
                points=_read_points(entries["points"], "points"),
                box=_read_box(entries["box"]),
                held_out=_read_points(entries["held_out"], "held_out"),
                radius=_number(entries["radius"], "radius"),
                data=entries["data"],
            )
        except ParameterError as error:
            raise _refusal(f"its coverage is not usable: {error.problem}") from error


def _along(name: str, values: ArrayLike, at: SequenceParameters) -> FloatArray:
    line = np.asarray(values, dtype=np.float64).ravel()
    triples = np.tile(np.array(at.triple), (len(line), 1))
    triples[:, NAMES.index(name)] = line
    return triples


def _listed(p: SequenceParameters, settings: Iterable[SequenceParameters]) -> bool:
    return any(distance(p, s) < 1e-3 for s in settings)


def _short(setting: SequenceParameters, seen_from: SequenceParameters) -> str:
    def spaced(value: float) -> str:
        digits = 0 if value >= 100 else 1
        text = f"{value:,.{digits}f}".replace(",", "\N{THIN SPACE}")
        return text.removesuffix(".0")

    words = [f"TR {spaced(setting.tr)}", f"TE {spaced(setting.te)}"]
    if setting.inverted:
        words.append(f"TI {spaced(setting.ti)}")
    elif seen_from.inverted:
        words.append("TI off")
    return ", ".join(words)


def _refusal(problem: str) -> CheckpointError:
    return CheckpointError(
        f"the card cannot be used: {problem}", remedy="Use the checkpoint as it was written"
    )


def _mapping(value: object, keys: Sequence[str], name: str) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != set(keys):
        raise _refusal(f"{name} must hold exactly {', '.join(keys)}")
    return value


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _refusal(f"coverage.{name} holds something that is not a finite number")
    return float(value)


def _numbers(value: object, count: int, name: str) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != count:
        raise _refusal(f"coverage.{name} is not a list of {count} numbers")
    return tuple(_number(v, name) for v in value)


def _read_points(value: object, name: str) -> tuple[SequenceParameters, ...]:
    if not isinstance(value, list) or len(value) > MAX_POINTS:
        raise _refusal(f"coverage.{name} is not a list of at most {MAX_POINTS} settings")
    triples = [_numbers(v, 3, name) for v in value]
    return tuple(SequenceParameters(t[0], t[1], t[2]) for t in triples)


def _read_box(value: object) -> ParameterBox | None:
    if value is None:
        return None
    keys = ("tr", "te", "ti", "no_inversion", "tr_inverted")
    entries = _mapping(value, keys, "coverage.box")
    if not isinstance(entries["no_inversion"], bool):
        raise _refusal("coverage.box.no_inversion is neither true nor false")
    tr = _numbers(entries["tr"], 2, "box.tr")
    te = _numbers(entries["te"], 2, "box.te")
    ti = None if entries["ti"] is None else _numbers(entries["ti"], 2, "box.ti")
    late = entries["tr_inverted"]
    inverted = None if late is None else _numbers(late, 2, "box.tr_inverted")
    return ParameterBox(
        (tr[0], tr[1]),
        (te[0], te[1]),
        None if ti is None else (ti[0], ti[1]),
        entries["no_inversion"],
        None if inverted is None else (inverted[0], inverted[1]),
    )
