"""How parameters become numbers: conventions, the signal equation inside them, and their limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from crl_core.models.codes import (
    N_TISSUE_BASIS,
    authors_code,
    log_code,
    reference_gain,
    reference_signals,
    signed_mz,
    similarity,
    tissue_basis_code,
)
from crl_core.physics.signal import fse_signal, longitudinal
from crl_core.sequence import PAPER_SEQUENCES, PRESETS, SequenceParameters

# The eight reference tissues as they are documented: T1, T2 in ms and proton density.
TISSUES = (
    (300.0, 80.0, 0.95), (850.0, 72.0, 0.68), (1000.0, 50.0, 0.72), (1300.0, 72.0, 0.8),
    (1450.0, 92.0, 0.8), (1350.0, 150.0, 0.86), (2200.0, 250.0, 0.9), (4200.0, 1700.0, 1.0),
)  # fmt: skip


@st.composite
def sequences(draw: st.DrawFn) -> SequenceParameters:
    """Any setting a scanner could play out, half of them with inversion."""
    te = draw(st.floats(5.0, 300.0))
    ti = draw(st.one_of(st.just(0.0), st.floats(20.0, 5000.0)))
    return SequenceParameters(draw(st.floats(max(200.0, te + ti + 10.0), 20_000.0)), te, ti)


def tensor(*settings: SequenceParameters) -> Tensor:
    return torch.tensor([s.triple for s in settings])


def test_authors_convention() -> None:
    code = authors_code(tensor(PAPER_SEQUENCES[1], PAPER_SEQUENCES[7]))
    torch.testing.assert_close(code, torch.tensor([[24.79, 9.62, 10.55], [81.42, 104.2, 0.0]]))


@given(sequences())
def test_codes_are_finite_and_of_usable_size(p: SequenceParameters) -> None:
    code = tissue_basis_code(tensor(p))
    assert code.shape == (1, N_TISSUE_BASIS)
    assert float(code.abs().max()) < 5.0


def test_any_leading_shape_is_kept() -> None:
    many = tensor(*PAPER_SEQUENCES.values())[None].repeat(2, 1, 1)
    assert tissue_basis_code(many).shape == (2, 9, N_TISSUE_BASIS)
    assert log_code(many).shape == (2, 9, 4)
    assert reference_gain(many).shape == (2, 9)


def test_log_code_is_logarithmic_and_knows_the_inversion_pulse() -> None:
    p = SequenceParameters(2000.0, 20.0)
    base, doubled, four_fold = log_code(tensor(p, p.at(te=40.0), p.at(te=80.0)))
    torch.testing.assert_close(doubled - base, four_fold - doubled)
    off, on = log_code(tensor(p, p.at(ti=1e-3)))
    assert (float(off[3]), float(on[3])) == (-1.0, 1.0)
    torch.testing.assert_close(on[:3], off[:3], atol=1e-4, rtol=0)


@given(sequences())
def test_reference_tissues_follow_the_signal_equation(p: SequenceParameters) -> None:
    mz, decay, signal = reference_signals(tensor(p))
    for index, (t1, t2, pd) in enumerate(TISSUES):
        expected = float(fse_signal(pd, t1, t2, p, signed=True))
        assert float(signal[0, index]) == pytest.approx(expected, abs=1e-5)
        assert float(mz[0, index]) == pytest.approx(float(longitudinal(t1, p)), abs=1e-5)
        assert float(decay[0, index]) == pytest.approx(np.exp(-p.te / t2), abs=1e-6)


@given(st.floats(10.0, 300.0), st.floats(400.0, 20_000.0), st.floats(100.0, 6000.0))
def test_no_inversion_is_the_limit_of_a_vanishing_inversion_time(
    te: float, tr: float, t1: float
) -> None:
    """In magnitude; the sign turns with the pulse."""
    values = [torch.tensor(v, dtype=torch.float64) for v in (tr, te, t1)]
    without = signed_mz(*values[:2], torch.tensor(0.0, dtype=torch.float64), values[2])
    barely = signed_mz(*values[:2], torch.tensor(1e-6, dtype=torch.float64), values[2])
    assert float(without) == pytest.approx(-float(barely), abs=1e-6)
    assert float(without) == pytest.approx(1.0 - np.exp(-(tr - te) / t1), abs=1e-9)


def test_an_impossible_order_stays_finite() -> None:
    """Sliders may pass through TR below TE; no infinity may come of it."""
    code = tissue_basis_code(torch.tensor([[200.0, 300.0, 5000.0]]))
    assert bool(torch.isfinite(code).all())


@given(sequences())
def test_gain_brings_the_brightest_reference_tissue_to_one(p: SequenceParameters) -> None:
    _, _, signal = reference_signals(tensor(p))
    brightest = float(signal.abs().max())
    expected = 1.0 if brightest >= 1e-3 else brightest / 1e-3
    assert float(reference_gain(tensor(p))) * brightest == pytest.approx(expected, rel=1e-4)


def test_a_setting_is_most_similar_to_itself() -> None:
    everything = tensor(*PAPER_SEQUENCES.values(), *PRESETS.values())
    cosine, gain = similarity(everything, everything)
    torch.testing.assert_close(cosine, torch.ones_like(cosine))
    torch.testing.assert_close(gain, torch.ones_like(gain))
    there, _ = similarity(everything[:1], everything)
    back, _ = similarity(everything, everything[:1])
    torch.testing.assert_close(there, back)
    assert float(there.min()) < 0.9


def test_similarity_orders_settings_as_a_reader_would() -> None:
    t2w, pd = PAPER_SEQUENCES[7], PAPER_SEQUENCES[5]
    later_t2w = t2w.at(te=110.0)
    cosine, gain = similarity(tensor(t2w, t2w), tensor(later_t2w, pd))
    assert float(cosine[0]) > 0.999 > float(cosine[1])
    assert float(gain[0]) > 1.0 > float(gain[1])  # a later echo is darker, PD is brighter
