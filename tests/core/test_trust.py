"""Where the trained settings end: geometry, words and the card."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from crl_core.errors import CheckpointError, ParameterError
from crl_core.sequence import (
    PAPER_HELD_OUT,
    PAPER_SEQUENCES,
    PAPER_TRAINING,
    SequenceParameters,
    distance,
)
from crl_core.trust import (
    CLASS_STEP,
    FADE,
    NAMES,
    ParameterBox,
    TrainingCoverage,
    coordinates,
)

TRAINED = tuple(PAPER_SEQUENCES[i] for i in PAPER_TRAINING)
HELD_OUT = tuple(PAPER_SEQUENCES[i] for i in PAPER_HELD_OUT)
PAPER = TrainingCoverage(TRAINED, None, HELD_OUT, data="seven sequences")
BOX = TrainingCoverage(box=ParameterBox((500, 12_000), (8, 160), (100, 3_000)))

setting = st.builds(
    SequenceParameters,
    st.floats(200, 20_000),
    st.floats(5, 300),
    st.one_of(st.just(0.0), st.floats(20, 5_000)),
)
inverted = st.builds(
    SequenceParameters, st.floats(200, 20_000), st.floats(5, 300), st.floats(20, 5_000)
)


def oracle(points: tuple[SequenceParameters, ...], p: SequenceParameters) -> float:
    """Distance to the convex hull by non-negative least squares, a route of its own."""
    corners, weight = coordinates([q.triple for q in points]), 1e4
    system = np.vstack([corners.T, np.full(len(points), weight)])
    where = coordinates(p.triple)
    shares, _ = nnls(system, np.append(where, weight))
    shares /= shares.sum()
    return float(np.linalg.norm(corners.T @ shares - where))


def uncoordinated(x: np.ndarray) -> SequenceParameters:
    return SequenceParameters(math.exp(x[0]), math.exp(x[1]), math.exp(x[2]) - 150)


@settings(deadline=None, max_examples=150)
@given(st.lists(inverted, min_size=1, max_size=16), inverted)
def test_distance_to_hull_agrees_with_least_squares(points, p):
    coverage = TrainingCoverage(tuple(points), radius=0.0)
    assert coverage.distance(p) == pytest.approx(oracle(tuple(points), p), abs=1e-2)


@settings(deadline=None, max_examples=150)
@given(st.lists(inverted, min_size=1, max_size=16), st.randoms(use_true_random=False))
def test_convex_combinations_lie_inside(points, random):
    weights = np.array([random.random() + 1e-9 for _ in points])
    mixed = (weights / weights.sum()) @ coordinates([p.triple for p in points])
    coverage = TrainingCoverage(tuple(points), radius=1e-6)
    p = uncoordinated(mixed)
    assert coverage.distance(p) == 0.0
    assert coverage.trust(p) == 1.0


@settings(deadline=None, max_examples=200)
@given(st.lists(setting, min_size=1, max_size=16), setting)
def test_never_further_than_the_nearest_trained_setting(points, p):
    coverage = TrainingCoverage(tuple(points), radius=0.0)
    nearest = coverage.nearest(p)
    assert coverage.distance(p) <= distance(p, nearest) + 1e-6
    assert distance(p, nearest) == min(distance(p, q) for q in points)


@settings(deadline=None, max_examples=200)
@given(setting)
def test_one_field_feeds_every_answer(p):
    """Shading, hull, badge, sentence and suggestion all follow from `margins`."""
    for coverage in (PAPER, BOX, TrainingCoverage(TRAINED, BOX.box)):
        margin = float(coverage.margins([p.triple])[0])
        inside = margin <= 0
        assert coverage.inside(p) is inside
        assert (coverage.distance(p) == 0) is inside
        assert (coverage.trust(p) == 1) is inside
        assert coverage.sentence(p).startswith("Extrapolating") is not inside
        assert (coverage.suggestion(p) is None) is inside
        for name in NAMES:
            cut = coverage.trust_along(name, [getattr(p, name)], p)
            assert cut[0] == coverage.trust(p)
        assert coverage.trust_of([p.triple])[0] == coverage.trust(p)


def test_trust_falls_smoothly_and_never_rises_on_the_way_out():
    edge = SequenceParameters(8142, 104.2)
    ways = [edge.at(te=104.2 * math.exp(d)) for d in np.linspace(0, 1, 400)]
    trust = np.array([PAPER.trust(p) for p in ways])
    assert trust[0] == 1
    assert trust[-1] == 0
    assert (np.diff(trust) <= 1e-12).all()
    assert np.abs(np.diff(trust)).max() < 0.02


def test_trust_is_gone_at_the_stated_distance():
    single = TrainingCoverage((SequenceParameters(5000, 50),), radius=0.0)
    assert single.trust(SequenceParameters(5000, 50 * math.exp(FADE * 1.001))) == 0
    assert 0.49 < single.trust(SequenceParameters(5000, 50 * math.exp(FADE / 2))) < 0.51


def test_inversion_and_no_inversion_are_separate_classes():
    flat = TrainingCoverage(tuple(p for p in TRAINED if not p.inverted))
    inside = SequenceParameters(8000, 50)
    assert flat.inside(inside)
    assert flat.distance(inside.at(ti=25)) > CLASS_STEP
    assert flat.trust(inside.at(ti=25)) == 0
    assert flat.suggestion(inside.at(ti=25)) == "ti"
    assert "never trained with inversion" in flat.sentence(inside.at(ti=25))
    only = TrainingCoverage(tuple(p for p in TRAINED if p.inverted))
    assert not only.inside(inside)
    assert "never trained without inversion" in only.sentence(inside)


def test_held_back_settings_do_not_widen_the_hull():
    outside = SequenceParameters(600, 10)
    coverage = TrainingCoverage(TRAINED, held_out=(outside,))
    assert not coverage.inside(outside)
    assert PAPER.sentence(HELD_OUT[1]).startswith("At a setting held back from training.")


def test_sentences():
    points = (*TRAINED, SequenceParameters(4000, 90))
    coverage = TrainingCoverage(points, data="digital subjects")
    assert coverage.sentence(SequenceParameters(7000, 60)) == (
        "Between trained settings. Model trained on 8 settings of digital subjects."
    )
    assert coverage.sentence(SequenceParameters(4000, 97)) == (
        "Extrapolating, just outside. Nearest: TR 4\u2009000, TE 90."
    )
    assert coverage.sentence(SequenceParameters(300, 200)).startswith("Extrapolating, far out.")
    assert coverage.sentence(SequenceParameters(4000, 90)).startswith("At a trained setting.")
    assert BOX.sentence(SequenceParameters(4000, 90)).startswith("Within the trained ranges.")
    assert TrainingCoverage(points[:1]).sentence(points[0]).endswith("trained on 1 setting.")


def test_suggestion_names_the_smallest_single_move():
    assert PAPER.suggestion(SequenceParameters(8000, 125)) == "te"
    assert BOX.suggestion(SequenceParameters(15_000, 100)) == "tr"
    assert BOX.suggestion(SequenceParameters(5000, 100, 60)) == "ti"
    assert BOX.suggestion(SequenceParameters(15_000, 290)) == "te"  # no single move: the furthest


def test_box_is_inside_to_its_edges_and_tells_both_classes_apart():
    for tr, te, ti in [(500, 8, 0), (12_000, 160, 0), (500, 8, 100), (12_000, 160, 3_000)]:
        assert BOX.inside(SequenceParameters(tr, te, ti))
    assert BOX.distance(SequenceParameters(12_000 * math.e, 100)) == pytest.approx(1)
    never = TrainingCoverage(box=ParameterBox((500, 9000), (8, 160), (100, 3000), False))
    assert not never.inside(SequenceParameters(5000, 50))
    assert never.nearest(SequenceParameters(5000, 50)).triple == (5000, 50, 100)


def test_unknown_training_is_extrapolation_everywhere():
    nothing = TrainingCoverage()
    p = SequenceParameters(5000, 50)
    assert not nothing.known
    assert not nothing.inside(p)
    assert nothing.trust(p) == 0
    assert nothing.nearest(p) is None
    assert nothing.suggestion(p) is None
    assert "unknown" in nothing.sentence(p)


def test_card_round_trip():
    for coverage in (PAPER, BOX, TrainingCoverage()):
        again = TrainingCoverage.from_dict(json.loads(json.dumps(coverage.as_dict())))
        assert again == coverage


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("points", [[5000, 50]]),
        ("points", [[5000, "50", 0]]),
        ("points", [[5000, True, 0]]),
        ("points", [[5000, float("nan"), 0]]),
        ("points", [[-5000, 50, 0]]),
        ("points", [[5000, 50, 0]] * 65),
        ("points", "5000,50,0"),
        ("held_out", None),
        ("box", {"tr": [1, 2], "te": [1, 2], "ti": None}),
        ("box", {"tr": [9, 2], "te": [1, 2], "ti": None, "no_inversion": True}),
        ("box", {"tr": [1, 2], "te": [1, 2], "ti": None, "no_inversion": False}),
        ("box", {"tr": [1, 2], "te": [1, 2], "ti": None, "no_inversion": 1}),
        ("radius", -1),
        ("radius", float("inf")),
        ("data", 3),
        ("surprise", 1),
    ],
)
def test_card_refuses_what_it_does_not_understand(key, value):
    card = {**PAPER.as_dict(), key: value}
    with pytest.raises(CheckpointError):
        TrainingCoverage.from_dict(card)


@pytest.mark.parametrize("card", [None, [], "x", {}])
def test_card_refuses_other_kinds(card):
    with pytest.raises(CheckpointError):
        TrainingCoverage.from_dict(card)


def test_too_many_points_are_refused():
    with pytest.raises(ParameterError):
        TrainingCoverage((SequenceParameters(5000, 50),) * 65)
