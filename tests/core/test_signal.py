"""The closed-form signal against a Bloch iteration of the whole cycle, and at its limits.

The iteration shares nothing with the formula: rotations and relaxation act on a magnetisation
vector, one pulse after another, cycle after cycle until nothing changes.

The formula takes the longitudinal magnetisation at the end of the train as zero. A train of ideal
180 degree pulses leaves a little: with q = exp(-spacing / 2 T1), at most (1 - q)^2, which vanishes
with the square of the echo spacing. The comparison to 1e-6 therefore uses a dense train, and a
second one with a scanner's echo spacing checks that the difference stays within that bound.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crl_core.errors import ParameterError
from crl_core.physics.signal import fse_signal, longitudinal, null_ti
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters

T1 = st.floats(200.0, 5000.0)
T2 = st.floats(20.0, 2500.0)
LAST_ECHO = st.floats(10.0, 200.0)
REST = st.floats(0.0, 12_000.0)
INVERSION = st.one_of(st.just(0.0), st.floats(20.0, 4000.0))

DENSE = 1000


def _turn(axis: int, degrees: float) -> np.ndarray:
    """A pulse about x (0) or y (1), acting on (x, y, z, 1)."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = np.eye(4)
    first, second = ((1, 2), (2, 0))[axis]
    matrix[first, first] = matrix[second, second] = c
    matrix[first, second], matrix[second, first] = -s, s
    return matrix


def _wait(time: float, t1: float, t2: float) -> np.ndarray:
    """Free relaxation on resonance towards an equilibrium of one."""
    kept, transverse = math.exp(-time / t1), math.exp(-time / t2)
    matrix = np.diag([transverse, transverse, kept, 1.0])
    matrix[2, 3] = 1.0 - kept
    return matrix


def _bloch(t1: float, t2: float, p: SequenceParameters, echo: int) -> tuple[float, float]:
    """Return Mz just before the excitation and the signed signal at one echo, steady state."""
    spacing, length = p.echo_spacing, p.echo_train_length
    half = _wait(spacing / 2, t1, t2)
    one_echo = half @ _turn(1, 180.0) @ half
    excite = _turn(0, -90.0)
    prepare = _wait(p.ti, t1, t2) @ _turn(0, 180.0) if p.inverted else np.eye(4)
    spoil = np.diag([0.0, 0.0, 1.0, 1.0])
    rest = _wait(p.tr - p.ti - spacing * length, t1, t2)
    state = np.array([0.0, 0.0, 1.0, 1.0])
    for _ in range(200):
        before = spoil @ prepare @ state
        signal = np.linalg.matrix_power(one_echo, echo) @ excite @ before
        after = np.linalg.matrix_power(one_echo, length) @ excite @ before
        new = rest @ spoil @ after
        if np.abs(new - state).max() < 1e-15:
            return float(before[2]), float(signal[1])
        state = new
    raise AssertionError("no steady state")


def _sequence(rest: float, ti: float, last_echo: float, echo: int, echoes: int):
    spacing = last_echo / echoes
    return SequenceParameters(
        ti + last_echo + rest,
        echo * spacing,
        ti,
        echo_spacing=spacing,
        echo_train_length=echoes,
    )


@given(t1=T1, t2=T2, rest=REST, ti=INVERSION, last=LAST_ECHO, echo=st.integers(50, DENSE))
@settings(max_examples=150, deadline=None)
def test_the_formula_equals_the_bloch_iteration(t1, t2, rest, ti, last, echo) -> None:
    p = _sequence(rest, ti, last, echo, DENSE)
    mz, signal = _bloch(t1, t2, p, echo)
    left_over = (1 - math.exp(-p.echo_spacing / 2 / t1)) ** 2
    assert left_over < 2.6e-7
    near = pytest.approx(mz, rel=1e-6, abs=left_over)
    assert float(longitudinal(t1, p)) == near
    found = float(fse_signal(1.0, t1, t2, p, signed=True))
    decay = math.exp(-p.te / t2)
    assert found == pytest.approx(signal, rel=1e-6, abs=left_over * decay)
    assert float(fse_signal(1.0, t1, t2, p)) == pytest.approx(abs(found), rel=1e-12)


@given(t1=T1, t2=T2, rest=REST, ti=INVERSION, echoes=st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_a_real_echo_spacing_leaves_no_more_than_its_square(t1, t2, rest, ti, echoes) -> None:
    p = _sequence(rest, ti, 10.42 * echoes, echoes, echoes)
    mz, _ = _bloch(t1, t2, p, echoes)
    left_over = (1 - math.exp(-p.echo_spacing / 2 / t1)) ** 2
    assert abs(float(longitudinal(t1, p)) - mz) <= left_over + 1e-12


@pytest.mark.parametrize("number", PAPER_SEQUENCES)
@pytest.mark.parametrize(("t1", "t2"), [(850, 72), (1450, 90), (4200, 1700), (375, 100)])
def test_the_sequences_of_the_paper_to_four_digits(number: int, t1: float, t2: float) -> None:
    paper = PAPER_SEQUENCES[number]
    echo = round(paper.te / 10.42)
    p = SequenceParameters(
        paper.tr, echo * 10.42, paper.ti, echo_spacing=10.42, echo_train_length=18
    )
    mz, signal = _bloch(t1, t2, p, echo)
    assert float(longitudinal(t1, p)) == pytest.approx(mz, abs=2e-4)
    assert float(fse_signal(1, t1, t2, p, signed=True)) == pytest.approx(signal, abs=2e-4)


@given(t1=T1, t2=T2, rest=st.floats(1.0, 12_000.0), last=LAST_ECHO)
@settings(deadline=None)
def test_no_inversion_is_the_limit_of_a_short_inversion_time(t1, t2, rest, last) -> None:
    without = _sequence(rest, 0.0, last, 10, 10)
    soon = without.at(tr=without.tr + 1e-9, ti=1e-9)
    assert not without.inverted
    assert soon.inverted
    assert float(fse_signal(1, t1, t2, soon)) == pytest.approx(
        float(fse_signal(1, t1, t2, without)), abs=1e-9
    )
    assert float(longitudinal(t1, soon)) <= 0.0 <= float(longitudinal(t1, without))


@given(t1=T1, ti=INVERSION, te=LAST_ECHO)
@settings(deadline=None)
def test_a_long_repetition_recovers_fully(t1, ti, te) -> None:
    p = SequenceParameters(1e6, te, ti)
    expected = 1 - 2 * math.exp(-ti / t1) if ti else 1.0
    assert float(longitudinal(t1, p)) == pytest.approx(expected, abs=1e-12)


@given(t1=T1, tr=st.floats(1000, 12_000), last=LAST_ECHO)
@settings(deadline=None)
def test_the_null_nulls_and_only_there(t1, tr, last) -> None:
    ti = float(null_ti(t1, tr, last))
    assert 0 < ti < t1 * math.log(2) + 1e-9
    assume(tr >= ti + last)

    def mz(at: float) -> float:
        p = SequenceParameters(tr, last, at, echo_spacing=last, echo_train_length=1)
        return float(longitudinal(t1, p))

    assert mz(ti) == pytest.approx(0.0, abs=1e-12)
    assert mz(0.99 * ti) < 0
    if tr >= 1.01 * ti + last:
        assert mz(1.01 * ti) > 0


def test_known_null_times() -> None:
    """Grey matter and fluid at the paper's two repetition times, to a millisecond."""
    t1 = np.array([1450.0, 4163.0])
    np.testing.assert_allclose(null_ti(t1, 8000, 190), [998, 2292], atol=1)
    np.testing.assert_allclose(null_ti(t1, 2479, 190), [733, 989], atol=1)


@given(t1=T1, t2=T2, rest=REST, ti=INVERSION, pair=st.tuples(*[st.floats(5, 190)] * 2))
@settings(deadline=None)
def test_a_longer_echo_time_never_brightens(t1, t2, rest, ti, pair) -> None:
    early, late = sorted(pair)
    assume(late - early > 1e-6)
    train = {"echo_spacing": 10.0, "echo_train_length": 20}
    dim, bright = (
        float(fse_signal(1, t1, t2, SequenceParameters(ti + 200 + rest, te, ti, **train)))
        for te in (late, early)
    )
    assert dim <= bright
    assert dim == pytest.approx(bright * math.exp(-(late - early) / t2), rel=1e-9, abs=1e-15)


@given(t1=T1, rest=REST, extra=st.floats(1.0, 5000.0))
@settings(deadline=None)
def test_a_longer_repetition_never_dims_without_inversion(t1, rest, extra) -> None:
    short = SequenceParameters(100 + rest, 100)
    assert float(longitudinal(t1, short.at(tr=short.tr + extra))) >= float(longitudinal(t1, short))


@given(t1=T1, ti=INVERSION, last=LAST_ECHO, rest=REST)
@settings(deadline=None)
def test_magnetisation_never_exceeds_equilibrium(t1, ti, last, rest) -> None:
    mz = float(longitudinal(t1, _sequence(rest, ti, last, 1, 1)))
    assert -1.0 <= mz <= 1.0


def test_signed_components_cancel_where_magnitudes_would_not() -> None:
    p = SequenceParameters(8000, 10, 800)
    parts = fse_signal(np.array([0.5, 0.5]), np.array([600.0, 4200.0]), 100.0, p, signed=True)
    assert parts[0] > 0 > parts[1]
    magnitudes = fse_signal(np.array([0.5, 0.5]), np.array([600.0, 4200.0]), 100.0, p)
    np.testing.assert_allclose(magnitudes, np.abs(parts))
    assert abs(parts.sum()) < magnitudes.sum()


def test_maps_broadcast_and_stay_in_single_precision() -> None:
    p = SequenceParameters(5000, 90, 160)
    pd = np.full((4, 1), 0.8, np.float32)
    t1 = np.linspace(300, 4000, 5, dtype=np.float32)
    t2 = np.float32(80)
    found = fse_signal(pd, t1, t2, p)
    assert found.shape == (4, 5)
    assert found.dtype == np.float32
    one_by_one = [float(fse_signal(0.8, float(v), 80.0, p)) for v in t1]
    np.testing.assert_allclose(found[2], one_by_one, rtol=1e-5)


def test_a_train_that_does_not_fit_is_cut_at_the_end_of_the_repetition() -> None:
    """Nothing has recovered when the next inversion comes; longer repetitions join on smoothly."""
    train = {"echo_spacing": 10.0, "echo_train_length": 20}

    def mz(tr: float) -> float:
        return float(longitudinal(900.0, SequenceParameters(tr, 20, 500, **train)))

    for tr in (520.0, 600.0, 700.0):
        assert mz(tr) == pytest.approx(1 - math.exp(-500 / 900), rel=1e-12)
    assert mz(700.001) == pytest.approx(mz(700.0), abs=1e-5)
    assert mz(800.0) < mz(700.0) - 0.01


def test_a_repetition_too_short_is_refused() -> None:
    with pytest.raises(ParameterError, match="TR 1000 ms is too short"):
        fse_signal(1.0, 900.0, 80.0, SequenceParameters(1000, 100, 950))
