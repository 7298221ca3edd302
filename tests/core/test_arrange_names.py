"""Person, visit and contrast from names: what belongs together stays so, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl_core.io.arrange_names import acquisition_labels, place_all

Truth = tuple[str, str, str]
"""Person, visit and contrast, as a test made them."""

CONTRASTS = ("T1W", "T2w", "flair", "t1", "T2", "PD", "STIR")
NAMES = ("anna", "bob", "smith", "müller", "o'neill", "lee", "Garcia")


def placed(*paths: str) -> list[tuple[str, str, str]]:
    return [(p.person, p.visit, p.contrast) for p in place_all(paths)]


def _study(person: int, visit: int, contrast: str) -> str:
    return f"patient{person:02d}_study{visit}_{contrast}"


LAYOUTS: dict[str, Callable[[int, int, str], str]] = {
    "words": _study,
    "parted words": lambda p, v, c: f"Patient_{p}_visit_{v}_{c}",
    "bids": lambda p, v, c: f"sub-{p:02d}_ses-{v}_{c}",
    "letters": lambda p, v, c: f"P{p:03d}_V{v}_{c}",
    "numbers and dates": lambda p, v, c: f"{p:04d}_2020{v:02d}15_{c}_tse",
    "dates with dashes": lambda p, v, c: f"{p:04d}_2020-{v:02d}-15_{c}",
    "folders": lambda p, v, c: f"subject{p}/session{v}/{c}",
    "folders of numbers": lambda p, v, c: f"{p:04d}/2020{v:02d}15/{c}_tse",
    "folder of a study": lambda p, v, c: f"raw_patient{p:02d}_study{v}/study{v}_{c}",
    "contrast folders": lambda p, v, c: f"{c}/case{p}_v{v}",
    "names": lambda p, v, c: f"{NAMES[p % 7]}{'x' * (p // 7)}_study{v}_{c}",
    "folders of names": lambda p, v, c: f"{NAMES[p % 7]}{'x' * (p // 7)}/visit{v}/{c}",
    "two names": lambda p, v, c: f"john_{NAMES[p % 7]}{'x' * (p // 7)}_study{v}_{c}",
}

FACTS = st.lists(
    st.tuples(st.integers(1, 40), st.integers(1, 9), st.sampled_from(CONTRASTS)),
    min_size=1,
    max_size=14,
    unique=True,
)


def agrees(places: list[tuple[str, str, str]], facts: list[tuple[int, int, str]]) -> None:
    """Check that equal facts got equal labels and different facts different ones."""
    for of in (lambda r: r[0], lambda r: (r[0], r[1]), lambda r: r[2].lower()):
        forth, back = defaultdict(set), defaultdict(set)
        for place, fact in zip(places, facts, strict=True):
            forth[of(fact)].add(of(place))
            back[of(place)].add(of(fact))
        assert all(len(found) == 1 for found in forth.values()), "split"
        assert all(len(found) == 1 for found in back.values()), "merged"


@pytest.mark.parametrize("layout", LAYOUTS)
@given(facts=FACTS)
def test_every_pattern_comes_back(layout: str, facts: list[tuple[int, int, str]]) -> None:
    places = placed(*(LAYOUTS[layout](*fact) for fact in facts))
    agrees(places, facts)
    for (_, _, contrast), (_, _, wanted) in zip(places, facts, strict=True):
        assert contrast.lower() == wanted.lower()
    for person, visit, _ in places:
        assert person.isdecimal()
        assert visit == "" or visit.isdecimal()


@pytest.mark.parametrize("layout", ["words", "bids", "letters", "folders", "folder of a study"])
@given(facts=FACTS)
def test_short_numbers_of_people_are_kept(layout: str, facts: list[tuple[int, int, str]]) -> None:
    places = placed(*(LAYOUTS[layout](*fact) for fact in facts))
    assert [int(person) for person, _, _ in places] == [person for person, _, _ in facts]
    several = len({(p, v) for p, v, _ in facts}) > len({p for p, _, _ in facts})
    if several:
        assert [visit for _, visit, _ in places] == [str(visit) for _, visit, _ in facts]
    else:
        assert {visit for _, visit, _ in places} == {""}


@given(flat=FACTS, raw=FACTS)
def test_raw_folders_are_further_visits_of_the_same_people(
    flat: list[tuple[int, int, str]], raw: list[tuple[int, int, str]]
) -> None:
    paths = [_study(*fact) for fact in flat]
    paths += [LAYOUTS["folder of a study"](*fact) for fact in raw]
    places = placed(*paths)
    assert [int(person) for person, _, _ in places] == [person for person, _, _ in flat + raw]
    assert len(set(places)) == len(places), "an image twice in one visit"


@given(facts=FACTS, order=st.randoms(use_true_random=False))
def test_the_order_of_files_does_not_matter(
    facts: list[tuple[int, int, str]], order: object
) -> None:
    paths = [LAYOUTS["numbers and dates"](*fact) for fact in facts]
    shuffled = list(paths)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert dict(zip(paths, placed(*paths), strict=True)) == dict(
        zip(shuffled, placed(*shuffled), strict=True)
    )


@given(st.lists(st.text("abT12_-/.W0 éß٣", min_size=1, max_size=20), min_size=1, max_size=8))
def test_any_name_gets_labels_of_digits(names: list[str]) -> None:
    paths = [name.strip("/. ") or "x" for name in names]
    for place in place_all(paths):
        assert place.person.isascii()
        assert place.person.isdecimal()
        assert place.visit == "" or (place.visit.isascii() and place.visit.isdecimal())
        assert place.contrast


# single cases -----------------------------------------------------------------------------------


def test_the_published_patients() -> None:
    assert placed(
        "patient01_study1_FLAIR",
        "patient01_study2_FLAIR",
        "patient12_study1_FLAIR",
        "raw_patient01_study1/study1_FLAIR",
    ) == [("01", "1", "FLAIR"), ("01", "2", "FLAIR"), ("12", "1", "FLAIR"), ("01", "3", "FLAIR")]


def test_what_differs_is_the_contrast_when_no_word_of_it_is_known() -> None:
    assert placed("P1/abc", "P1/xyz") == [("1", "", "abc"), ("1", "", "xyz")]
    assert placed("P1_te10", "P1_te100") == [("1", "", "te10"), ("1", "", "te100")]
    assert placed("sub-3_acq-ir150_T1w", "sub-3_acq-ir900_T1w") == [
        ("3", "", "T1w-ir150"),
        ("3", "", "T1w-ir900"),
    ]
    assert [c for _, _, c in placed("0012_t1_tse", "0012_t1_ir", "0013_t1_tse")] == [
        "t1-tse",
        "t1-ir",
        "t1-tse",
    ]


def test_a_usual_word_behind_the_contrast_is_not_part_of_it() -> None:
    assert placed("0012_20200131_t1_tse", "0012_20210131_t2_tse") == [
        ("0012", "1", "t1"),
        ("0012", "2", "t2"),
    ]


def test_numbers_of_scans_are_not_people() -> None:
    assert {p for p, _, _ in placed("1_T1", "2_T2", "3_FLAIR")} == {"01"}
    assert {p for p, _, _ in placed("anna/1_T1", "anna/2_T2", "bob/1_T1")} == {"01", "02"}


def test_the_same_number_at_two_sites_is_two_people() -> None:
    people = [p for p, _, _ in placed("siteA/patient01_T1", "siteB/patient01_T1")]
    assert len(set(people)) == 2
    people = [p for p, _, _ in placed("controls/s1/T1", "patients/s1/T1", "patients/s1/T2")]
    assert len(set(people)) == 2
    assert people[1] == people[2]


def test_people_of_two_kinds_with_one_number_are_counted() -> None:
    assert [p for p, _, _ in placed("patient01_T1", "control01_T1")] == ["02", "01"]


def test_leading_zeros_do_not_split_a_person() -> None:
    assert placed("patient1_T1", "Patient-01/T2", "patient2_T1") == [
        ("01", "", "T1"),
        ("01", "", "T2"),
        ("2", "", "T1"),
    ]


def test_long_numbers_of_a_hospital_are_not_kept() -> None:
    assert [p for p, _, _ in placed("patient4711234_T1", "patient4711299_T1")] == ["01", "02"]


def test_a_word_of_no_sequence_is_not_written() -> None:
    labels = acquisition_labels(["T1-anna", "T1-bob", "anna", "T2W", "t2w", "T1-tse"])
    assert "anna" not in "".join(labels.values()).lower()
    assert "bob" not in "".join(labels.values()).lower()
    assert labels["T2W"].lower() != labels["t2w"].lower()
    assert len({label.lower() for label in labels.values()}) == len(labels)
    assert all(label.isalnum() and label.isascii() for label in labels.values())
    assert labels["T1-tse"] == "T1tse"
