"""The baselines: each recovers what it should, and none looks where it must not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from crl_core.evaluation.baselines import affine, score, table
from crl_core.evaluation.benchmark.learnt import needs_held_back, neighbours, patches
from crl_core.evaluation.benchmark.methods import ANALYTIC, analytic
from crl_core.evaluation.benchmark.people import Case, Truth, Visit
from crl_core.evaluation.benchmark.protocol import Task
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters
from tests.core.benchmark_data import SHAPE, InMemory, maps, protocol, visit

HELD = protocol(held=(4, 6), groups=(("5", "7"), ("1", "7")))
PEOPLE = [visit(HELD.contrasts, seed, f"sub-1{seed}", gain) for seed, gain in ((1, 500), (2, 1500))]
TEST = visit(HELD.contrasts, 9, "sub-99", 900.0)


def case(name: str, whom: Visit = TEST) -> Case:
    sources, target = name.split(">")
    return Case(whom, Task(tuple(sources.split("+")), target))


def fitted(name: str, what=HELD, people=PEOPLE):
    method = analytic(name)
    method.fit(InMemory(what, people))
    return method


def reached(image: np.ndarray | None, asked: Case) -> float:
    assert image is not None
    assert image.shape == asked.answer.shape
    assert image.dtype == np.float32
    return score(image, asked.in_units(asked.answer), asked.sources[0].mask)


def spoilt(whom: Visit, key: str) -> Visit:
    """The same person with another image in place of one scan."""
    scan = whom.scans[key]
    other = replace(scan, data=np.ascontiguousarray(scan.data[::-1] * 3))
    return replace(whom, scans={**whom.scans, key: other})


REFERENCES = ("affine", "table", "oracle")


@pytest.mark.parametrize("name", [n for n in ANALYTIC if n not in REFERENCES])
def test_what_is_no_reference_never_looks_at_the_answer(name: str) -> None:
    method = fitted(name)
    assert method.kind == "baseline"
    answered = 0
    for task in ("7>5", "7>4", "5+7>4"):
        before = method.predict(case(task))
        # Another label, so that nothing kept from the first look is given again.
        other = replace(spoilt(TEST, task.split(">")[1]), label="sub-99_ses-2")
        after = method.predict(case(task, other))
        assert (before is None) == (after is None)
        if before is not None and after is not None:
            np.testing.assert_array_equal(before, after)
            answered += 1
    assert answered


@pytest.mark.parametrize("name", ["learnt-table", "te-linear", "te-log", "pseudo-physics",
                                  "patch-ridge"])  # fmt: skip
def test_what_is_held_back_is_not_learnt_from(name: str) -> None:
    other = [spoilt(spoilt(p, "4"), "6") for p in PEOPLE]
    methods = [fitted(name, people=people) for people in (PEOPLE, other)]
    for task in ("7>4", "5>6", "4>7", "6>4"):
        before, after = (method.predict(case(task)) for method in methods)
        assert (before is None) == (after is None)
        if before is not None and after is not None:
            np.testing.assert_array_equal(before, after)


def test_identity_is_the_first_source_in_its_own_unit() -> None:
    asked = case("5+7>4")
    image = fitted("identity").predict(asked)
    scan = TEST.scans["5"]
    np.testing.assert_allclose(image, scan.data / np.percentile(scan.data[scan.mask], 99.5))


def test_the_references_are_the_baselines_fitted_on_the_answer() -> None:
    asked = case("7>1")
    given, wanted = asked.in_units(TEST.scans["7"]), asked.in_units(TEST.scans["1"])
    mask = TEST.scans["7"].mask
    np.testing.assert_array_equal(fitted("affine").predict(asked), affine(given, wanted, mask))
    np.testing.assert_array_equal(fitted("table").predict(asked), table(given, wanted, mask))
    assert {fitted(n).kind for n in ("affine", "table", "oracle")} == {"reference"}


# learnt -----------------------------------------------------------------------------------------


def test_a_table_of_others_comes_close_to_the_one_fitted_on_the_answer() -> None:
    asked = case("7>5")
    learnt, own = (reached(fitted(n).predict(asked), asked) for n in ("learnt-table", "table"))
    assert own - 1.5 < learnt <= own + 1e-6
    assert learnt > reached(fitted("identity").predict(asked), asked) + 5


def test_the_learnt_table_takes_the_nearest_seen_target_and_source() -> None:
    method = fitted("learnt-table")
    # 4 has TE 62.52 and 6 has TE 39.92: nearest among the seen are 7 and 3.
    np.testing.assert_array_equal(method.predict(case("5>4")), method.predict(case("5>7")))
    asked = case("4>7")
    found = method.predict(asked)
    assert found is not None
    by_seven = method.predict(case("7>7", replace(TEST, scans={**TEST.scans, "7": replace(
        TEST.scans["4"], parameters=PAPER_SEQUENCES[7])})))  # fmt: skip
    np.testing.assert_array_equal(found, by_seven)


def test_neighbours_share_their_class_and_enclose_the_echo() -> None:
    seen = {k: HELD.contrasts[k] for k in HELD.seen}
    assert neighbours(PAPER_SEQUENCES[4], seen) == ("3", "7")
    assert neighbours(PAPER_SEQUENCES[6], seen) == ("5", "7")
    # Of several shorter echoes the longest, of several longer ones the shortest.
    many = {str(te): SequenceParameters(8000, te) for te in (10, 20, 40, 80, 160)}
    assert neighbours(SequenceParameters(8000, 50), many) == ("40", "80")
    # Nothing seen has that inversion time at another echo.
    assert neighbours(SequenceParameters(8000, 50, 1500), seen) is None
    assert neighbours(SequenceParameters(8000, 150), seen) is None
    assert neighbours(SequenceParameters(1000, 50), seen) is None


def test_logarithms_follow_a_decay_that_a_straight_line_misses() -> None:
    te = {name: SequenceParameters(8000, t) for name, t in (("a", 20), ("b", 60), ("c", 100))}
    what = protocol((), ("b",), extra=te)
    people = [visit(te, seed, f"sub-1{seed}") for seed in (1, 2)]
    asked = Case(visit(te, 9, "sub-99"), Task(("c",), "b"))
    by = {
        name: reached(fitted(name, what, people).predict(asked), asked)
        for name in ("te-log", "te-linear", "learnt-table")
    }
    assert by["te-log"] > by["te-linear"] + 2
    assert by["te-linear"] > by["learnt-table"]


@pytest.mark.parametrize("name", ["te-linear", "te-log", "pseudo-physics"])
def test_what_interpolates_speaks_of_held_back_targets_alone(name: str) -> None:
    method = fitted(name)
    assert method.predict(case("7>5")) is None
    assert method.predict(case("4>4")) is None
    assert method.predict(case("5+7>4")) is None
    assert method.predict(case("7>4")) is not None
    assert needs_held_back(name, protocol())
    assert not needs_held_back(name, HELD)
    assert not needs_held_back("learnt-table", protocol())


def test_pseudo_physics_renders_an_unseen_setting_from_its_tables() -> None:
    asked = case("7>6")
    found = {n: reached(fitted(n).predict(asked), asked) for n in ("pseudo-physics", "te-linear")}
    assert found["pseudo-physics"] > max(38.0, found["te-linear"])
    few = protocol((5, 6, 7), (6,))
    people = [visit(few.contrasts, seed) for seed in (1, 2)]
    assert fitted("pseudo-physics", few, people).predict(case("7>6")) is None


def test_a_ridge_on_patches_undoes_a_blur_that_no_table_can() -> None:
    te = {"a": SequenceParameters(8000, 20), "b": SequenceParameters(8000, 100)}
    what = protocol((), extra=te)

    def blurred(seed: int, person: str) -> Visit:
        whom = visit(te, seed, person)
        soft = ndimage.gaussian_filter(whom.scans["a"].data, (0.6, 0.6, 0))
        scans = {"a": replace(whom.scans["a"], data=soft), "b": replace(
            whom.scans["b"], data=np.asarray(whom.scans["a"].data))}  # fmt: skip
        return replace(whom, scans=scans)

    people = [blurred(seed, f"sub-1{seed}") for seed in (1, 2)]
    asked = Case(blurred(9, "sub-99"), Task(("a",), "b"))
    ridge, own = (
        reached(fitted(n, what, people).predict(asked), asked) for n in ("patch-ridge", "table")
    )
    assert ridge > own + 3


def test_patches_are_the_neighbours_in_the_slice_and_across() -> None:
    scan = TEST.scans["7"]
    found = patches(scan)
    image = scan.scale.to_model(scan.data)
    assert len(found) == 28
    at = (12, 10, 1)
    window = image[10:15, 8:13, 1]
    np.testing.assert_array_equal([f[at] for f in found[:25]], window.ravel())
    assert [found[25][at], found[26][at]] == [image[12, 10, 0], image[12, 10, 2]]
    assert (found[27] == 1).all()


def test_a_ridge_for_an_unseen_target_lies_between_those_of_its_neighbours() -> None:
    method = fitted("patch-ridge")
    low, high, between = (method.predict(case(f"9>{t}")) for t in ("3", "7", "4"))
    assert low is not None
    assert high is not None
    share = (62.52 - 10.42) / (104.2 - 10.42)
    np.testing.assert_allclose(between, (1 - share) * low + share * high, atol=1e-4)
    assert method.predict(case("4>4")) is None
    assert method.predict(case("5+7>3")) is None


# several sources --------------------------------------------------------------------------------


def test_two_echoes_give_the_third_exactly_whatever_their_gains() -> None:
    te = {name: SequenceParameters(8000, t) for name, t in (("a", 20), ("b", 40), ("c", 100))}
    whom = visit(te, 3)
    louder = replace(whom.scans["c"], data=whom.scans["c"].data * np.float32(3.7))
    asked = Case(replace(whom, scans={**whom.scans, "c": louder}), Task(("a", "c"), "b"))
    # TE enters the rest after the train a little, so not quite exact.
    assert reached(fitted("two-source-te").predict(asked), asked) > 45
    turned = Case(asked.visit, Task(("c", "a"), "b"))
    assert reached(fitted("two-source-te").predict(turned), turned) > 45


@pytest.mark.parametrize("task", ["7>5", "1+7>4", "5+7>9", "5+7>1", "3+5>4"])
def test_two_echoes_say_nothing_of_another_repetition_or_inversion(task: str) -> None:
    assert fitted("two-source-te").predict(case(task)) is None


def test_a_joint_table_knows_what_neither_source_knows_alone() -> None:
    settings = {k: SequenceParameters(8000, t) for k, t in (("a", 20), ("b", 60), ("c", 100))}
    what = protocol((), extra=settings, groups=(("a", "b"),))

    def one(seed: int) -> Visit:
        base = visit(settings, seed, f"sub-{seed}")
        rng = np.random.default_rng(seed)
        a, b = (ndimage.gaussian_filter(rng.random(SHAPE), 1.0).astype(np.float32) for _ in "ab")
        made = {"a": a, "b": b, "c": a * b}
        scans = {k: replace(s, data=1000 * made[k] * s.mask) for k, s in base.scans.items()}
        return replace(base, scans=scans)

    people = [one(seed) for seed in range(4)]
    asked = Case(one(9), Task(("a", "b"), "c"))
    single = Case(asked.visit, Task(("a",), "c"))
    method = fitted("joint-table", what, people)
    joint = reached(method.predict(asked), asked)
    assert joint > reached(fitted("table", what, people).predict(single), single) + 8
    assert method.predict(single) is None
    # Scans of one session share their gain, so the unit is right without a gain too.
    image, mask = method.predict(asked), asked.answer.mask
    assert image is not None
    wanted = asked.in_units(asked.answer)
    assert image[mask].mean() == pytest.approx(wanted[mask].mean(), rel=0.05)


def test_a_joint_table_is_a_mean_and_takes_the_nearest_where_nobody_was() -> None:
    a, b, c = (SequenceParameters(8000, t) for t in (20, 60, 100))
    what = protocol((), extra={"a": a, "b": b, "c": c}, groups=(("a", "b"),))
    shape = (4, 4, 1)

    def one(first: float, second: float, third: float, seed: str) -> Visit:
        def scan(value: float, p: SequenceParameters):
            data = np.full(shape, 100.0 * value, np.float32)
            data[0] = 100.0  # the unit
            base = visit({"x": p}).scans["x"]
            return replace(base, data=data, stated_mask=np.ones(shape, bool))

        scans = {"a": scan(first, a), "b": scan(second, b), "c": scan(third, c)}
        return Visit(TEST.root, seed, seed, scans)

    people = [one(0.5, 0.5, 0.2, "sub-1"), one(0.5, 0.5, 0.4, "sub-2")]
    asked = Case(one(0.5, 0.55, 9.0, "sub-3"), Task(("a", "b"), "c"))
    image = fitted("joint-table", what, people).predict(asked)
    assert image is not None
    assert image[1:] == pytest.approx(0.3, abs=1e-6)
    assert image[0] == pytest.approx(1.0)


def test_least_squares_finds_the_tissue_and_a_second_source_helps() -> None:
    method = fitted("least-squares")
    two, one, other = (case(name) for name in ("5+7>4", "5>4", "1+7>9"))
    both = reached(method.predict(two), two)
    assert both > 28
    assert both > reached(method.predict(one), one) + 3
    assert reached(method.predict(other), other) > 22
    image = method.predict(two)
    assert image is not None
    # The unit of proton density is found, so it is right as it is, not only after a gain.
    inside = TEST.scans["5"].mask
    wanted = two.in_units(TEST.scans["4"])[inside]
    assert image[inside].mean() == pytest.approx(wanted.mean(), rel=0.1)
    assert not image[~inside].any()


# truth ------------------------------------------------------------------------------------------


def test_the_oracle_renders_the_true_maps_with_the_receive_profile() -> None:
    pd, t1, t2 = (m.astype(np.float32) for m in maps(9))
    shade = np.linspace(0.6, 1.4, pd.shape[0], dtype=np.float32)[:, None, None]
    shaded = {k: replace(s, data=s.data * shade) for k, s in TEST.scans.items()}
    whom = Visit(TEST.root, "sub-99", "sub-99", shaded)
    receive = np.broadcast_to(shade, pd.shape)
    whom.__dict__["truth"] = Truth(pd, t1, t2, receive)
    asked = case("7>9", whom)
    assert reached(fitted("oracle").predict(asked), asked) > 60
    whom.__dict__["truth"] = Truth(pd, t1, t2, np.ones_like(pd))
    assert reached(fitted("oracle").predict(asked), asked) < 30
    whom.__dict__["truth"] = None
    assert fitted("oracle").predict(asked) is None
