r"""Extended phase graph of a fast spin echo train: refocusing below 180 degrees, stimulated echoes.

A train with crushers around every refocusing pulse is followed in configuration states
(Hennig, J Magn Reson 1988;78:397; Weigel, J Magn Reson Imaging 2015;41:266). Between two pulses
every state gains two orders, so the magnetisation that was excited sits at odd orders whenever a
pulse is played, and what was left along the field or recovers during the train at even ones. They
never meet, and two things follow:

- an echo is proportional to the magnetisation before the excitation: its amplitude is one number
  per echo, `echo_amplitudes`, and needs the odd orders only;
- the longitudinal magnetisation left after the train is a linear function of the one right after
  the excitation, `longitudinal_map`, and needs the even orders only.

With the pulses along the excited magnetisation (CPMG) the odd orders are real, and the even ones
are once the transverse part is divided by the imaginary unit, so both are followed with real
numbers by the same code.

The steady state over TR, with or without inversion, is the fixed point of that linear function.
At 180 degrees echo n is exactly :math:`e^{-n \, ESP/T_2}`. The magnetisation left over is then not
exactly the zero of the closed form in `crl_core.physics.signal`, but less than
:math:`(1 - e^{-ESP/2T_1})^2`.

Pulses are instantaneous, the slice has one angle throughout, and neither diffusion nor
magnetisation transfer is included.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crl_core.errors import ParameterError
from crl_core.physics.signal import Values
from crl_core.sequence import SequenceParameters

Array = NDArray[np.float64]

USUAL_SPACING = 10.42
"""Echo spacing taken where a sequence states none, ms; the paper's TEs are near its multiples."""


@dataclass(frozen=True, slots=True)
class EchoTrain:
    """Refocusing pulses after one excitation.

    Parameters
    ----------
    spacing
        Time between echoes, ms.
    length
        Number of echoes.
    refocusing
        Nominal refocusing angle, degrees, above 0 and up to 180.
    prepared
        Whether the first pulse is (180 + refocusing) / 2, which brings the train close to its
        pseudo steady state at once (Hennig and Scheffler, Magn Reson Med 2000;44:983).
    excitation
        Nominal excitation angle, degrees.
    inversion
        What an inversion pulse makes of a unit of longitudinal magnetisation, with its sign
        turned: 1 is a perfect inversion.

    Raises
    ------
    ParameterError
        When a value is out of range.
    """

    spacing: float
    length: int
    refocusing: float = 180.0
    prepared: bool = True
    excitation: float = 90.0
    inversion: float = 1.0

    def __post_init__(self) -> None:
        usable = (
            self.spacing > 0
            and self.length >= 1
            and 0 < self.refocusing <= 180
            and 0 < self.excitation <= 180
            and 0 <= self.inversion <= 1
        )
        if not usable:
            raise ParameterError(
                f"{self.length} echoes {self.spacing:g} ms apart refocused by "
                f"{self.refocusing:g} degrees is no echo train",
                remedy="Give a spacing above 0 and angles above 0 and up to 180 degrees",
            )

    @classmethod
    def of(
        cls,
        parameters: SequenceParameters,
        refocusing: float = 180.0,
        *,
        prepared: bool = True,
        inversion: float = 1.0,
    ) -> EchoTrain:
        """Return the train of a sequence; what it does not state is chosen so that TE is an echo.

        Without a stated spacing it is TE / n for the n that brings it closest to
        `USUAL_SPACING`; without a stated length the train ends at TE.
        """
        te = parameters.te
        spacing = parameters.echo_spacing or te / max(1, round(te / USUAL_SPACING))
        least = max(1, round(te / spacing))
        length = max(least, parameters.echo_train_length or 0)
        return cls(spacing, length, refocusing, prepared, inversion=inversion)

    @property
    def duration(self) -> float:
        """Time from excitation to the last echo, ms."""
        return self.spacing * self.length

    def echo(self, te: float) -> int:
        """Return the number of the echo closest to `te`, counted from 1."""
        return min(self.length, max(1, round(te / self.spacing)))

    def angles(self) -> Array:
        """Return the nominal angle of every refocusing pulse, degrees, (length,)."""
        angles = np.full(self.length, float(self.refocusing))
        if self.prepared:
            angles[0] = (180.0 + self.refocusing) / 2.0
        return angles


def echo_amplitudes(t1: Values, t2: Values, train: EchoTrain, b1: Values = 1.0) -> Array:
    """Return the amplitude of every echo per unit of transverse magnetisation excited.

    Parameters
    ----------
    t1, t2
        Relaxation times, ms, positive.
    train
        The echo train.
    b1
        Transmit field as a fraction of its nominal value; scales every refocusing angle.

    Returns
    -------
    amplitudes
        (length, ...), the rest being the broadcast shape of `t1`, `t2` and `b1`.
    """
    t1, t2, b1 = _together(t1, t2, b1)
    half = np.exp(-train.spacing / 2.0 / t2)
    graph = _Graph(train, t1, t2)
    graph.dephasing[0] = half
    echoes = np.empty((train.length, *t1.shape))
    for n, angle in enumerate(np.deg2rad(train.angles())):
        graph.pulse(angle * b1)
        echoes[n] = half * graph.rephasing[0]
        through = graph.rephasing[0] * half**2
        graph.advance()
        graph.dephasing[0] = through  # order -1 went through the echo and is now +1
    return echoes


def longitudinal_map(
    t1: Values, t2: Values, train: EchoTrain, b1: Values = 1.0
) -> tuple[Array, Array]:
    """Return (kept, gained): a train turns Mz right after excitation into kept * Mz + gained.

    Both have the broadcast shape of `t1`, `t2` and `b1`, in units of equilibrium; the result is
    Mz at the last echo. T2 has a part in it because what recovers is tipped by the pulses and
    partly stored again.
    """
    t1, t2, b1 = _together(t1, t2, b1)
    # Two cases side by side: a unit that does not recover, and nothing that recovers.
    left = _longitudinal(np.stack([t1, t1]), np.stack([t2, t2]), train, b1, (1.0, 0.0), (0.0, 1.0))
    return left[0], left[1]


def longitudinal_left(t1: Values, t2: Values, train: EchoTrain, b1: Values = 1.0) -> Array:
    """Return the second part of `longitudinal_map` alone: Mz after a train that began with none."""
    t1, t2, b1 = _together(t1, t2, b1)
    return np.asarray(_longitudinal(t1[None], t2[None], train, b1, (0.0,), (1.0,))[0])


def _longitudinal(
    t1: Array,
    t2: Array,
    train: EchoTrain,
    b1: Array,
    start: tuple[float, ...],
    equilibrium: tuple[float, ...],
) -> Array:
    """Follow Mz through a train, one case a row: where it starts and what it recovers to."""
    cases = (-1, *(1 for _ in b1.shape))
    begin, end = np.reshape(start, cases), np.reshape(equilibrium, cases)
    half = np.exp(-train.spacing / 2.0 / t1)
    graph = _Graph(train, t1, t2)
    graph.stored[0] = begin * half + end * (1.0 - half)
    left = graph.stored[0]
    for angle in np.deg2rad(train.angles()):
        graph.pulse(-angle * b1)
        left = graph.stored[0].copy()
        graph.advance()
        graph.dephasing[0] = -graph.rephasing[0]  # order 0 is its own mirror image
        graph.stored[0] += end * (1.0 - half**2)
    return np.asarray(left * half + end * (1.0 - half))


class _Graph:
    """Configuration states of every second order, followed with real numbers."""

    def __init__(self, train: EchoTrain, t1: Array, t2: Array) -> None:
        self.whole1, self.whole2 = np.exp(-train.spacing / t1), np.exp(-train.spacing / t2)
        self.dephasing = np.zeros((train.length + 1, *t1.shape))
        self.rephasing = np.zeros_like(self.dephasing)
        self.stored = np.zeros_like(self.dephasing)

    def pulse(self, angle: Array) -> None:
        """Mix the states of every order; the sign of the angle tells odd orders from even."""
        cos, sin = np.cos(angle), np.sin(angle)
        kept, turned = (1.0 + cos) / 2.0, (1.0 - cos) / 2.0
        out, back, stored = self.dephasing, self.rephasing, self.stored
        self.dephasing = kept * out + turned * back + sin * stored
        self.rephasing = turned * out + kept * back - sin * stored
        self.stored = sin / 2.0 * (back - out) + cos * stored

    def advance(self) -> None:
        """Relax over one echo spacing and gain two orders; row 0 of `dephasing` is left zero."""
        self.dephasing[1:] = self.whole2 * self.dephasing[:-1]
        self.dephasing[0] = 0.0
        self.rephasing[:-1] = self.whole2 * self.rephasing[1:]
        self.rephasing[-1] = 0.0
        self.stored *= self.whole1


def _together(*values: Values) -> list[Array]:
    return list(np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in values)))


def steady_longitudinal(
    t1: Values, t2: Values, parameters: SequenceParameters, train: EchoTrain, b1: Values = 1.0
) -> Array:
    """Return the signed Mz before each excitation once repetitions have settled.

    Parameters
    ----------
    t1, t2
        Relaxation times, ms, positive.
    parameters
        TR and TI. A train that does not fit into TR - TI leaves no rest.
    train
        The echo train.
    b1
        Transmit field, fraction; scales excitation and refocusing. The inversion pulse is taken
        to be adiabatic, that is, not to depend on it.

    Returns
    -------
    mz
        Broadcast shape, between -1 and 1.

    Raises
    ------
    ParameterError
        When TR cannot hold TI and TE.
    """
    parameters.check_order()
    t1 = np.asarray(t1, dtype=np.float64)
    kept, gained = longitudinal_map(t1, t2, train, b1)
    kept = kept * np.cos(np.deg2rad(train.excitation) * np.asarray(b1, np.float64))
    rest = np.exp(-max(parameters.tr - parameters.ti - train.duration, 0.0) / t1)
    kept, gained = kept * rest, 1.0 + (gained - 1.0) * rest
    if parameters.inverted:
        wait = np.exp(-parameters.ti / t1)
        kept = -train.inversion * kept * wait
        gained = 1.0 - (1.0 + train.inversion * gained) * wait
    return np.asarray(gained / (1.0 - kept))


def epg_signal(
    pd: Values,
    t1: Values,
    t2: Values,
    parameters: SequenceParameters,
    train: EchoTrain | None = None,
    *,
    b1: Values = 1.0,
    signed: bool = False,
) -> Array:
    """Return the signal of a fast spin echo sequence at the echo that fills the centre of k-space.

    Parameters
    ----------
    pd
        Proton density in any unit; the signal has the same.
    t1, t2
        Relaxation times, ms, positive; all arrays broadcast.
    parameters
        TR, TE and TI, ms.
    train
        The echo train; by default that of `parameters` with 180 degree pulses. Where TE is no
        multiple of its spacing, the closest echo is scaled by the T2 decay over the difference.
    b1
        Transmit field, fraction of nominal.
    signed
        Keep the sign of the longitudinal magnetisation.

    Returns
    -------
    signal
        The broadcast shape; never negative unless `signed`.

    Raises
    ------
    ParameterError
        When TR cannot hold TI and TE.
    """
    train = train or EchoTrain.of(parameters)
    mz = steady_longitudinal(t1, t2, parameters, train, b1)
    if not signed:
        mz = np.abs(mz)
    number = train.echo(parameters.te)
    echo = echo_amplitudes(t1, t2, train, b1)[number - 1]
    off = np.exp(-(parameters.te - number * train.spacing) / np.asarray(t2, np.float64))
    excited = np.sin(np.deg2rad(train.excitation) * np.asarray(b1, np.float64))
    return np.asarray(pd * mz * excited * echo * off)
