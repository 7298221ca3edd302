"""What a trained network says it has seen, and what it may call held back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_core.card import Card
from crl_core.checkpoint import default_checkpoint, read_card
from crl_core.models import build_model
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters, distance
from crl_core.training.config import TrainingConfig
from crl_core.training.coverage import (
    ancestors_saw,
    distinct,
    merged,
    near,
    never_seen,
    of_people,
    thinned,
    trained_on,
)
from crl_core.training.data import open_data
from crl_core.training.data_config import DataConfig
from crl_core.training.digital import RANDOM_BOX
from crl_core.training.finish import CardMaker
from crl_core.trust import MAX_POINTS, TrainingCoverage
from tests.core.test_training import PLUS

T2 = PAPER_SEQUENCES[7]
SIX = PAPER_SEQUENCES[6]


def rounded(p: SequenceParameters) -> SequenceParameters:
    """As it comes back from float32."""
    return SequenceParameters(*(float(v) for v in np.float32(p.triple)))


settings = st.builds(
    SequenceParameters,
    tr=st.floats(4000, 15000),
    te=st.floats(8, 200),
    ti=st.just(0.0) | st.floats(50, 3500),
)


@given(st.lists(settings, max_size=40))
def test_of_settings_that_are_one_the_first_is_kept(several: list[SequenceParameters]) -> None:
    found = distinct(several)
    assert all(near(p, found) for p in several)
    assert not any(near(p, found[:k]) for k, p in enumerate(found))


def test_a_long_list_is_thinned_without_forgetting_a_contrast() -> None:
    """Forty people, each with a T1w, a T2w and a FLAIR whose TR the scanner chose."""
    rng = np.random.default_rng(3)
    people = []
    for _ in range(40):
        spread = rng.uniform(0.8, 1.25, size=3)
        people.append([
            SequenceParameters(600 * spread[0], 12),
            SequenceParameters(4500 * spread[1], 100),
            SequenceParameters(9000 * spread[2], 120, 2500),
        ])  # fmt: skip
    # Four TE each, or they would be few enough.
    people += [[p.at(p.tr, p.te * f, p.ti) for p in own] for own in people for f in (0.8, 1.3)]
    assert len(distinct(p for own in people for p in own)) > MAX_POINTS
    points = of_people(people)
    assert len(points) == MAX_POINTS
    coverage = TrainingCoverage(points=points)
    assert coverage.classes() == (True, True)
    everybody = [p for own in people for p in own]
    # Cut at its end, a list in the order of TR would hold no FLAIR.
    by_tr = TrainingCoverage(points=thinned(sorted(everybody, key=lambda p: p.tr)))
    assert by_tr.classes() == (True, True)
    assert np.mean([coverage.inside(p) for p in everybody]) > 0.98
    assert sum(coverage.distance(p) for p in everybody) < 0.05


@given(st.lists(settings, min_size=MAX_POINTS + 1, max_size=120))
def test_what_is_thinned_was_there_and_starts_with_the_first(
    several: list[SequenceParameters],
) -> None:
    found = thinned(several)
    assert len(found) <= MAX_POINTS
    assert found[0] == several[0]
    assert set(found) <= set(several)


def test_inside_a_box_only_what_a_tenth_of_the_people_has_is_a_dot() -> None:
    rare = [SequenceParameters(2000 + 300 * k, 20) for k in range(20)]
    outside = SequenceParameters(1e5, 20)
    people = [[PAPER_SEQUENCES[1], one] for one in rare]
    people[0].append(outside)
    assert len(of_people(people)) == 22
    assert set(of_people(people, RANDOM_BOX)) == {PAPER_SEQUENCES[1], outside}


def test_float32_does_not_hide_that_a_held_back_setting_was_trained_on() -> None:
    before = TrainingCoverage(points=(PAPER_SEQUENCES[1], PAPER_SEQUENCES[3]), held_out=(SIX,))
    now = TrainingCoverage(points=(rounded(SIX), PAPER_SEQUENCES[5]))
    assert merged(before, now).held_out == ()
    assert merged(now, before).held_out == ()
    # Between trained points is not trained on.
    assert merged(before, replace(now, points=(T2,))).held_out == (SIX,)


def test_what_the_network_it_began_with_saw_is_not_held_back() -> None:
    run = TrainingCoverage(points=(PAPER_SEQUENCES[1],), held_out=(SIX, T2))
    wide = TrainingCoverage(box=RANDOM_BOX, held_out=(T2,))
    assert trained_on(wide, SIX)
    assert not trained_on(wide, T2)
    assert never_seen(run, wide, {}).held_out == (T2,)
    # And the one before that, which only the card's words tell.
    older = {"data": "digital subjects", "settings": {"sequences": [6, 7]}}
    chain = {"data": "subjects read from files", "went on from": {"training": older}}
    assert [p.triple for p in ancestors_saw(chain)] == [SIX.triple, T2.triple]
    assert never_seen(run, TrainingCoverage(), chain).held_out == ()
    assert never_seen(run, TrainingCoverage(), {"went on from": "?"}).held_out == (SIX, T2)


@pytest.mark.parametrize("rehearse", [0.0, 0.3])
def test_a_card_does_not_call_held_back_what_its_beginning_had_seen(
    dataset: Path, rehearse: float
) -> None:
    shipped = read_card(default_checkpoint())
    wide = replace(shipped.coverage, box=RANDOM_BOX, held_out=())
    source = DataConfig((str(dataset),), hold_back=(T2.triple,), validate=("sub-02",))
    config = replace(PLUS, rehearse=rehearse)

    def card(start: Card | None) -> Card:
        data = open_data(source, config)
        model = build_model(config.preset, **config.architecture)
        return CardMaker(config, data, start).card(model, 3, 1.0, {})

    assert near(T2, card(None).coverage.held_out)
    assert not near(T2, card(replace(shipped, coverage=wide)).coverage.held_out)


def test_rehearsal_keeps_away_from_what_is_held_back(dataset: Path) -> None:
    source = DataConfig((str(dataset),), hold_back=(SIX.triple, (4500.0, 100.0, 0.0)))
    config = TrainingConfig(**{**vars(PLUS), "rehearse": 0.99, "contrasts": 8, "ramp": 0.0})
    data = open_data(source, config)
    drawn = [
        SequenceParameters(*row[:3])
        for step in range(25)
        for row in data.train.batch(step, 1.0).parameters.reshape(-1, 4).tolist()
    ]
    assert len(drawn) > 200
    for held in (SIX, SequenceParameters(4500, 100)):
        assert min(distance(p, held) for p in drawn) > 0.1
    assert near(SIX, data.train.coverage().held_out)


def test_digital_training_keeps_away_from_a_setting_that_is_none_of_the_paper() -> None:
    from crl_core.demo import label_map

    held = SequenceParameters(4500, 100)
    data = open_data(
        DataConfig((str(label_map()),), digital=True, hold_back=(held.triple,)),
        replace(PLUS, random_sequences=1.0, ramp=0.0, contrasts=8),
    )
    drawn = [
        SequenceParameters(*row[:3])
        for step in range(25)
        for row in data.train.batch(step, 1.0).parameters.reshape(-1, 4).tolist()
    ]
    assert min(distance(p, held) for p in drawn) > 0.1
    assert near(held, data.train.coverage().held_out)


def test_a_setting_beside_a_held_back_one_is_still_trained_on() -> None:
    from crl_core.demo import label_map

    beside = PAPER_SEQUENCES[7].at(PAPER_SEQUENCES[7].tr, 1.06 * PAPER_SEQUENCES[7].te, 0.0)
    for jitter in (0.0, 0.06):
        data = open_data(
            DataConfig((str(label_map()),), digital=True, hold_back=(beside.triple,)),
            replace(PLUS, random_sequences=0.0 if jitter == 0 else 0.1, sequences=(5, 7),
                    jitter=jitter, contrasts=8),
        )  # fmt: skip
        rows = data.train.batch(0, 1.0).parameters.reshape(-1, 4).tolist()
        drawn = [SequenceParameters(*row[:3]) for row in rows]
        assert any(distance(p, PAPER_SEQUENCES[7]) < 0.2 for p in drawn)
        assert min(distance(p, beside) for p in drawn) > 0.04
