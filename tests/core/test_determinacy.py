"""What a source cannot tell, by the signal equation."""

from __future__ import annotations

import pytest

from crl_core.physics.determinacy import undetermined
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters

SPIN_10, SPIN_90 = SequenceParameters(5000, 10), SequenceParameters(5000, 90)


def test_a_proton_density_image_cannot_tell_fluid_from_grey_matter() -> None:
    found = undetermined([SPIN_10], SPIN_90)
    assert found is not None
    assert {found.first, found.second} == {"grey matter", "fluid"}
    assert found.difference > 0.4
    assert "grey matter from fluid" in str(found)


def test_a_second_source_that_separates_them_settles_it() -> None:
    assert undetermined([SPIN_10, SPIN_90], PAPER_SEQUENCES[7]) is None


@pytest.mark.parametrize("number", PAPER_SEQUENCES)
def test_every_sequence_determines_itself(number: int) -> None:
    """What is alike in the source is alike in the target, so nothing is asked for."""
    assert undetermined([PAPER_SEQUENCES[number]], PAPER_SEQUENCES[number]) is None


def test_a_t2_weighted_image_determines_its_neighbours() -> None:
    for te in (60, 80, 120, 160):
        assert undetermined([PAPER_SEQUENCES[7]], PAPER_SEQUENCES[7].at(te=te)) is None


def test_the_worst_pair_is_named() -> None:
    """At TE 10 several pairs merge; fluid against tissue is the loudest at a long echo."""
    found = undetermined([SPIN_10], SequenceParameters(5000, 250))
    assert found is not None
    assert "fluid" in (found.first, found.second)
