"""The extended phase graph against the closed form, a Bloch simulation and another program.

The Bloch simulation below shares nothing with the graph: isochromats spread over the dephasing of
a crusher are rotated and relaxed one pulse after another, and the whole repetition is played
until nothing changes.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crl_core.errors import ParameterError
from crl_core.physics.epg import (
    EchoTrain,
    echo_amplitudes,
    epg_signal,
    longitudinal_map,
    steady_longitudinal,
)
from crl_core.physics.signal import fse_signal, longitudinal
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters

T1 = st.floats(200.0, 5000.0)
T2 = st.floats(20.0, 2500.0)
ANGLE = st.floats(40.0, 180.0)
LENGTH = st.integers(1, 20)
SPACING = st.floats(4.0, 20.0)


class Isochromats:
    """Spins evenly spread over one turn of dephasing per half echo spacing."""

    def __init__(self, t1: float, t2: float, count: int) -> None:
        self.t1, self.t2 = t1, t2
        self.turn = np.exp(2j * np.pi * np.arange(count) / count)
        self.xy = np.zeros(count, dtype=complex)
        self.z = np.ones(count)

    def pulse(self, degrees: float, phase: float) -> None:
        """Rotate about an axis in the transverse plane, by Rodrigues' formula."""
        angle = math.radians(degrees)
        axis = np.array([math.cos(phase), math.sin(phase), 0.0])
        m = np.stack([self.xy.real, self.xy.imag, self.z])
        along = np.outer(axis, axis @ m)
        m = along + math.cos(angle) * (m - along) + math.sin(angle) * np.cross(axis, m, axisb=0).T
        self.xy, self.z = m[0] + 1j * m[1], m[2]

    def wait(self, time: float, crush: bool) -> None:
        """Relax, and turn every isochromat on by its share when there is a crusher."""
        self.xy = self.xy * math.exp(-time / self.t2) * (self.turn if crush else 1.0)
        self.z = 1.0 + (self.z - 1.0) * math.exp(-time / self.t1)

    def train(self, train: EchoTrain, b1: float) -> list[float]:
        self.pulse(train.excitation * b1, math.pi / 2)
        echoes = []
        for angle in train.angles():
            self.wait(train.spacing / 2, crush=True)
            self.pulse(float(angle) * b1, 0.0)
            self.wait(train.spacing / 2, crush=True)
            echoes.append(float(self.xy.mean().real))
        return echoes

    def spoil(self) -> None:
        self.xy = np.zeros_like(self.xy)
        self.z = np.full_like(self.z, self.z.mean())


def bloch(
    t1: float, t2: float, p: SequenceParameters, train: EchoTrain, b1: float
) -> tuple[float, list[float]]:
    """Return Mz before the excitation and the echoes of one repetition in the steady state."""
    spins = Isochromats(t1, t2, 4 * train.length + 6)
    before = 2.0
    for _ in range(400):
        if p.inverted:
            spins.z = -train.inversion * spins.z
            spins.wait(p.ti, crush=False)
        if abs(float(spins.z.mean()) - before) < 1e-13:
            return before, spins.train(train, b1)
        before = float(spins.z.mean())
        spins.train(train, b1)
        spins.spoil()
        spins.wait(p.tr - p.ti - train.duration, crush=False)
    raise AssertionError("no steady state")


@given(T1, T2, SPACING, LENGTH, ANGLE, st.booleans(), st.floats(0.6, 1.3), st.floats(0, 9000),
       st.one_of(st.just(0.0), st.floats(20, 4000)), st.floats(0.8, 1.0))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_the_graph_equals_the_bloch_simulation(
    t1, t2, spacing, length, angle, prepared, b1, rest, ti, inversion
) -> None:
    train = EchoTrain(spacing, length, angle, prepared, inversion=inversion)
    echo = (length + 1) // 2
    p = SequenceParameters(ti + train.duration + rest, echo * spacing, ti)
    mz, echoes = bloch(t1, t2, p, train, b1)
    assert float(steady_longitudinal(t1, t2, p, train, b1)) == pytest.approx(mz, abs=1e-9)
    excited = mz * math.sin(math.radians(90 * b1))
    found = excited * echo_amplitudes(t1, t2, train, b1)
    np.testing.assert_allclose(found, echoes, atol=1e-9)
    signal = float(epg_signal(0.7, t1, t2, p, train, b1=b1, signed=True))
    assert signal == pytest.approx(0.7 * echoes[echo - 1], abs=1e-9)
    assert float(epg_signal(0.7, t1, t2, p, train, b1=b1)) == pytest.approx(abs(signal), abs=1e-12)


@given(T1, T2, SPACING, LENGTH)
@settings(deadline=None)
def test_at_180_degrees_every_echo_decays_with_t2_alone(t1, t2, spacing, length) -> None:
    echoes = echo_amplitudes(t1, t2, EchoTrain(spacing, length))
    expected = np.exp(-spacing * np.arange(1, length + 1) / t2)
    np.testing.assert_allclose(echoes, expected, rtol=1e-12)


@given(T1, T2, SPACING, LENGTH, st.floats(0, 9000), st.one_of(st.just(0.0), st.floats(20, 4000)))
@settings(deadline=None)
def test_at_180_degrees_the_signal_is_the_closed_form(t1, t2, spacing, length, rest, ti) -> None:
    """What 180 degree pulses leave of Mz is bounded by (1 - exp(-ESP / 2 T1))^2, and nothing else
    sets the two apart."""
    train = EchoTrain(spacing, length)
    p = SequenceParameters(
        ti + train.duration + rest, spacing, ti, echo_spacing=spacing, echo_train_length=length
    )
    left_over = (1 - math.exp(-spacing / 2 / t1)) ** 2
    _, gained = longitudinal_map(t1, t2, train)
    assert abs(float(gained)) <= left_over * (1 + 1e-9)
    apart = abs(float(steady_longitudinal(t1, t2, p, train)) - float(longitudinal(t1, p)))
    assert apart <= left_over + 1e-12
    found = float(epg_signal(1.0, t1, t2, p, signed=True))
    decay = math.exp(-spacing / t2)
    assert abs(found - float(fse_signal(1.0, t1, t2, p, signed=True))) <= left_over * decay + 1e-12


@pytest.mark.parametrize("number", PAPER_SEQUENCES)
def test_the_paper_at_180_degrees_to_four_digits(number: int) -> None:
    p = PAPER_SEQUENCES[number]
    t1, t2 = np.array([850.0, 1450.0, 4200.0]), np.array([72.0, 92.0, 1900.0])
    np.testing.assert_allclose(epg_signal(1, t1, t2, p), fse_signal(1, t1, t2, p), atol=1e-4)


def test_the_figures_known_for_echo_ten() -> None:
    """Signal over exp(-TE/T2), echo 10 of 18, 10.42 ms apart: independent simulation, two digits.

    Muscle was simulated there with T2 35 ms.
    """
    t1 = np.array([850.0, 1450.0, 4200.0])
    t2 = np.array([70.0, 88.0, 1700.0])
    for angle, known in {150: (1.03, 1.02, 0.98), 120: (1.10, 1.07, 0.93)}.items():
        echo = echo_amplitudes(t1, t2, EchoTrain(10.42, 18, angle))[9]
        np.testing.assert_allclose(echo / np.exp(-104.2 / t2), known, atol=0.0075)
    wide = echo_amplitudes(t1, t2, EchoTrain(10.42, 18, 90))[9] / np.exp(-104.2 / t2)
    np.testing.assert_allclose(wide, (1.21, 1.12, 0.84), atol=0.0075)
    muscle = float(echo_amplitudes(1200, 35, EchoTrain(10.42, 18, 120))[9])
    assert muscle / math.exp(-104.2 / 35) == pytest.approx(1.38, abs=0.015)


def test_lower_angles_lengthen_the_decay_and_flatten_contrast() -> None:
    numbers = np.arange(2, 19)

    def apparent(t1: float, t2: float, angle: float) -> float:
        echoes = echo_amplitudes(t1, t2, EchoTrain(10.42, 18, angle))[1:]
        return float(-1 / np.polyfit(10.42 * numbers, np.log(echoes), 1)[0])

    assert apparent(850, 70, 120) == pytest.approx(81, abs=1.5)
    assert apparent(1450, 88, 120) == pytest.approx(102, abs=1.5)
    assert apparent(850, 70, 180) == pytest.approx(70, rel=1e-6)


def test_stimulated_echoes_need_more_than_one_pulse() -> None:
    """The first echo is the spin echo alone, sin^2(angle / 2); the second also holds a stimulated
    one, which decays with T1 between the pulses: ESP/2, stored ESP, ESP/2."""
    angle, t1, t2, spacing = 110.0, 900.0, 80.0, 12.0
    echoes = echo_amplitudes(t1, t2, EchoTrain(spacing, 2, angle, prepared=False))
    a = math.radians(angle)
    half = math.sin(a / 2) ** 2
    assert echoes[0] == pytest.approx(half * math.exp(-spacing / t2), rel=1e-12)
    spin = half**2 * math.exp(-2 * spacing / t2)
    stimulated = 0.5 * math.sin(a) ** 2 * math.exp(-spacing / t2 - spacing / t1)
    assert echoes[1] == pytest.approx(spin + stimulated, rel=1e-12)


def test_the_prepared_first_pulse_steadies_the_train() -> None:
    """Without relaxation the plain train swings around its pseudo steady state."""
    swing = {
        prepared: np.ptp(echo_amplitudes(1e9, 1e9, EchoTrain(10, 12, 110, prepared))[:6])
        for prepared in (True, False)
    }
    assert swing[True] < 0.35 * swing[False]


def test_tissues_and_fields_broadcast() -> None:
    t1, t2 = np.array([800.0, 1400.0, 4200.0]), np.array([70.0, 90.0, 1800.0])
    b1 = np.array([[0.8], [1.0]])
    train = EchoTrain(10, 7, 130)
    found = echo_amplitudes(t1, t2, train, b1)
    assert found.shape == (7, 2, 3)
    assert float(found[4, 0, 1]) == pytest.approx(
        float(echo_amplitudes(1400.0, 90.0, train, 0.8)[4]), rel=1e-12
    )


def test_a_sequence_without_a_stated_train_gets_one_that_holds_its_echo() -> None:
    for p in PAPER_SEQUENCES.values():
        train = EchoTrain.of(p)
        assert train.spacing * train.echo(p.te) == pytest.approx(p.te)
        assert train.spacing == pytest.approx(10.42, abs=0.9)
    stated = SequenceParameters(5000, 52, echo_spacing=10.0, echo_train_length=8)
    train = EchoTrain.of(stated, 140)
    assert (train.spacing, train.length, train.echo(52)) == (10.0, 8, 5)
    exact = EchoTrain.of(stated)
    assert float(epg_signal(1, 900, 80, stated, exact)) == pytest.approx(
        float(fse_signal(1, 900, 80, stated)), abs=1e-4
    )


@pytest.mark.parametrize("change", [{"spacing": 0.0}, {"length": 0}, {"refocusing": 190.0}])
def test_impossible_trains_are_refused(change) -> None:
    with pytest.raises(ParameterError, match="no echo train"):
        EchoTrain(**({"spacing": 10.0, "length": 4} | change))


def test_another_program_finds_the_same_echoes() -> None:
    """EpyG by D. Brenner (MIT), where it is installed."""
    epyg = pytest.importorskip("epyg", reason="EpyG is not installed")
    worst = 0.0
    cases = ((850.0, 72.0), (1450.0, 92.0), (4200.0, 1900.0), (375.0, 120.0))
    for angle in (180.0, 150.0, 120.0, 90.0, 60.0):
        for t1, t2 in cases:
            train = EchoTrain(10.42, 18, angle)
            worst = max(worst, float(np.abs(
                _by_epyg(epyg, t1, t2, train) - echo_amplitudes(t1, t2, train)
            ).max()))  # fmt: skip
    assert worst < 1e-9


def _by_epyg(epyg, t1: float, t2: float, train: EchoTrain) -> np.ndarray:
    from epyg import EpyG, Operators

    state = EpyG.epg(initial_size=4 * train.length + 8, m0=1.0)
    half = train.spacing / 2
    relax = Operators.Epsilon(half / t1, half / t2, meq=1.0)
    shift = Operators.Shift(shifts=1)
    # Its pulses turn about x at phase 0; the excitation is a quarter of a turn away.
    state = Operators.Transform(math.pi / 2, math.pi / 2) * state
    start = state.get_f(order=0)
    echoes = []
    for angle in np.deg2rad(train.angles()):
        state = shift * (relax * state)
        state = Operators.Transform(float(angle), 0.0) * state
        state = shift * (relax * state)
        echoes.append((state.get_f(order=0) / start).real)
    return np.array(echoes)
