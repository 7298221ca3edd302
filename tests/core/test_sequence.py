"""Sequence parameters: what is accepted, how they read and how far apart they are."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_core.errors import CRLError, InputError, ParameterError
from crl_core.sequence import (
    PAPER_HELD_OUT,
    PAPER_SEQUENCES,
    PAPER_TRAINING,
    PRESETS,
    SequenceParameters,
    distance,
    parse_parameters,
)

SEQUENCES = st.builds(
    SequenceParameters,
    st.floats(200, 20_000),
    st.floats(5, 300),
    st.one_of(st.just(0.0), st.floats(20, 5000)),
)


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ((0, 10), "TR"),
        ((-1, 10), "TR"),
        ((500, 0), "TE"),
        ((500, -3), "TE"),
        ((500, 10, -1), "TI"),
        ((math.nan, 10), "TR"),
        ((500, math.inf), "TE"),
        ((500, 10, math.nan), "TI"),
    ],
)
def test_unusable_values_are_refused_by_name(values: tuple[float, ...], name: str) -> None:
    with pytest.raises(ParameterError, match=f"^{name} .* is not a usable value"):
        SequenceParameters(*values)


def test_numbers_become_floats_and_the_value_cannot_change() -> None:
    p = SequenceParameters(500, 10)
    assert p.triple == (500.0, 10.0, 0.0)
    assert all(type(v) is float for v in p.triple)
    with pytest.raises(dataclasses.FrozenInstanceError):
        p.tr = 600.0
    assert p == SequenceParameters(500.0, 10.0)
    assert len({p, SequenceParameters(500.0, 10.0)}) == 1


def test_zero_inversion_time_means_no_inversion() -> None:
    assert not SequenceParameters(500, 10, 0).inverted
    assert SequenceParameters(500, 10, 20).inverted
    assert str(SequenceParameters(500, 10)) == "TR 500 TE 10 TI off ms"
    assert str(SequenceParameters(2479, 9.62, 1055)) == "TR 2479 TE 9.62 TI 1055 ms"


def test_at_changes_only_what_is_named() -> None:
    p = SequenceParameters(500, 10, 100, echo_spacing=9.6, echo_train_length=7, field_strength=3.0)
    moved = p.at(te=40)
    assert moved == dataclasses.replace(p, te=40.0)
    assert p.at(ti=0).triple == (500.0, 10.0, 0.0)
    assert p.at() == p


@pytest.mark.parametrize(
    ("spacing", "length", "expected"),
    [(None, None, 80), (10, None, 80), (None, 16, 80), (10, 16, 160), (10, 4, 80)],
)
def test_the_last_echo(spacing: float | None, length: int | None, expected: float) -> None:
    p = SequenceParameters(5000, 80, echo_spacing=spacing, echo_train_length=length)
    assert p.last_echo_time == expected


def test_the_order_of_the_three_times() -> None:
    SequenceParameters(1100, 100, 1000).check_order()
    with pytest.raises(ParameterError) as refused:
        SequenceParameters(1099, 100, 1000).check_order()
    assert str(refused.value) == (
        "TR 1099 ms is too short: TI 1000 and TE 100 need 1100 ms. "
        "Raise TR to 1100 ms or more, or lower TI or TE."
    )


@pytest.mark.parametrize(
    ("text", "triple"),
    [
        ("8000,100,0", (8000, 100, 0)),
        ("600,10", (600, 10, 0)),
        (" 2479 , 9.62 , 1055 ", (2479, 9.62, 1055)),
        ("1e3,1e1", (1000, 10, 0)),
    ],
)
def test_parameters_from_text(text: str, triple: tuple[float, float, float]) -> None:
    found = parse_parameters(text)
    assert found.triple == triple
    assert found.fat_suppression is None
    suppressed = parse_parameters(f"{text} , fs")
    assert suppressed == dataclasses.replace(found, fat_suppression=True)
    assert suppressed.numbers == (*triple, 1.0)
    assert found.numbers == (*triple, 0.0)
    assert str(suppressed).endswith("ms, fat suppressed")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8000",
        "8000,100,0,1",
        "a,b,c",
        "8000;100;0",
        "8000,,0",
        "fs",
        "8000,fs",
        "8000,100,fs,0",
    ],
)
def test_text_that_is_not_parameters_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="is not TR,TE,TI"):
        parse_parameters(text)


@pytest.mark.parametrize("text", ["0,10", "nan,10", "500,inf", "500,10,-5"])
def test_text_with_unusable_numbers_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="not a usable value"):
        parse_parameters(text)


def test_the_nine_sequences_of_the_paper() -> None:
    assert sorted(PAPER_SEQUENCES) == list(range(1, 10))
    assert sorted((*PAPER_TRAINING, *PAPER_HELD_OUT)) == list(range(1, 10))
    assert [n for n, p in PAPER_SEQUENCES.items() if p.inverted] == [1, 8, 9]
    assert PAPER_SEQUENCES[9].te == 98.78
    for p in (*PAPER_SEQUENCES.values(), *PRESETS.values()):
        p.check_order()
    with pytest.raises(TypeError):
        PAPER_SEQUENCES[10] = PAPER_SEQUENCES[1]


@given(SEQUENCES, SEQUENCES)
def test_distance_is_symmetric_and_zero_only_for_equals(a, b) -> None:
    assert distance(a, b) == pytest.approx(distance(b, a))
    assert distance(a, b) >= 0
    assert distance(a, a) == 0
    if a.triple != b.triple:
        assert distance(a, b) > 0


@given(SEQUENCES, SEQUENCES, SEQUENCES)
def test_a_detour_is_never_shorter(a, b, c) -> None:
    assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-9


def test_one_factor_of_e_and_one_inversion_pulse_each_count_one() -> None:
    p = SequenceParameters(1000, 20)
    assert distance(p, p.at(tr=1000 * math.e)) == pytest.approx(1.0)
    assert distance(p, p.at(te=20 * math.e)) == pytest.approx(1.0)
    assert distance(p, p.at(ti=1e-9)) == pytest.approx(1.0)


def test_errors_read_as_one_line_with_file_problem_and_remedy() -> None:
    refused = InputError("the file\nis cut off.", path="scan.nii.gz", remedy="Copy it again.")
    assert str(refused) == "scan.nii.gz: the file is cut off. Copy it again."
    assert str(ParameterError("TR is missing")) == "TR is missing."
    assert isinstance(refused, CRLError)
