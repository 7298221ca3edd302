from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from crl_core.doctor import check_dataset
from crl_core.doctor.findings import Finding
from crl_core.errors import InputError, ParameterError
from crl_core.sequence import SequenceParameters
from crl_core.training.config import TrainingConfig
from crl_core.training.data import open_data
from crl_viewer.state.training_setup import (
    AT_LEAST_TWO,
    ONE_PERSON,
    SAME_SIDE,
    Setup,
    counts,
    data_config,
    default_uses,
    people,
    rows,
    sequence_sentence,
    sequences,
    split_sentence,
    title_sentence,
    with_held,
    with_left_out,
    with_reports,
    with_use,
)
from crl_viewer.state.training_setup_fields import (
    changed_values,
    field_text,
    parse_meanings,
    settings_fields,
)
from crl_viewer.state.training_setup_findings import (
    blocked,
    findings_sentence,
    issues,
    mend_count,
    mends,
)
from crl_viewer.state.training_setup_plan import (
    Estimate,
    Job,
    about_time,
    cost_words,
    free_path,
    job_of,
    measured_words,
    parse_minutes,
    plan_words,
    proposed_folder,
    usual_values,
    worth_measuring,
)
from crl_viewer.state.training_setup_rows import certainty
from crl_viewer.state.training_setup_values import (
    ValueAnswer,
    ValueQuestion,
    arrange_question,
    files_left_out,
    mend_question,
    nominal_contrasts,
    read_times,
    value_mends,
)
from tests.viewer import setup_data as made

RUN = Path("runs/one")


def setup_of(rows_, findings=(), **how) -> Setup:
    return with_reports(Setup(folder=RUN, **how), [made.report(rows_, findings)])


# the split --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "train", "validate", "test"),
    [(1, 1, 0, 0), (2, 1, 1, 0), (3, 2, 1, 0), (9, 8, 1, 0), (10, 7, 1, 2), (14, 10, 1, 3),
     (40, 28, 4, 8)],
)  # fmt: skip
def test_people_are_shared_out(count, train, validate, test) -> None:
    many = counts(setup_of(made.people(count)))
    assert (many["train"], many["validate"], many["test"], many["out"]) == (
        train, validate, test, 0,
    )  # fmt: skip


def test_the_same_people_are_always_shared_out_alike() -> None:
    rows_ = made.people(12)
    backwards = made.report(rows_[::-1])
    assert default_uses([made.report(rows_)]) == default_uses([backwards])


def test_someone_with_one_scan_is_left_out_and_takes_no_place_in_the_split() -> None:
    rows_ = [*made.people(2), made.scan("sub-09", "T1w", made.T1)]
    uses = default_uses([made.report(rows_)])
    assert uses["sub-09"] == "out"
    assert sorted(uses[p] for p in ("sub-01", "sub-02")) == ["train", "validate"]


def test_both_visits_of_a_person_are_on_one_side() -> None:
    setup = setup_of(made.visits(["sub-01_ses-1", "sub-01_ses-2", "sub-12_ses-1"]))
    assert people(setup) == ("sub-01", "sub-12")
    setup = with_use(setup, "sub-01", "test")
    data = data_config(setup)
    assert data.test == ("sub-01",)
    assert "sub-01" not in data.validate


def test_a_person_in_two_datasets_has_one_side() -> None:
    both = [made.report(made.people(2)), made.report(made.people(2), root=Path("other"))]
    setup = with_use(with_reports(Setup(), both), "sub-01", "validate")
    assert people(setup) == ("sub-01", "sub-02")
    assert [r.visit for r in rows(setup)][:1] == ["ms-2026, 3 scans"]
    assert data_config(setup).datasets == (str(made.ROOT), "other")


def test_what_the_user_chose_outlives_another_look_at_the_data() -> None:
    setup = with_use(setup_of(made.people(4)), "sub-02", "out")
    again = with_reports(setup, [made.report(made.people(5))])
    assert again.uses["sub-02"] == "out"
    assert set(again.uses) == {f"sub-0{n}" for n in range(1, 6)}


def test_a_split_nobody_touched_is_made_anew() -> None:
    setup = with_reports(setup_of(made.people(1)), [made.report(made.people(12))])
    assert counts(setup)["test"] == 2


def test_an_unknown_person_changes_nothing() -> None:
    setup = setup_of(made.people(2))
    assert with_use(setup, "sub-77", "test") is setup


def test_the_split_is_said_plainly() -> None:
    assert split_sentence(setup_of(made.people(1))) == ONE_PERSON
    assert split_sentence(setup_of(made.people(3))) == SAME_SIDE
    alone = setup_of(made.people(2))
    for person in people(alone):
        alone = with_use(alone, person, "train")
    assert split_sentence(alone) == "Nobody validates: the last weights are kept."
    out = with_use(setup_of(made.people(3)), "sub-01", "out")
    assert split_sentence(out).endswith("1 left out.")


def test_visits_of_those_left_out_are_named_for_the_run() -> None:
    setup = setup_of(made.visits(["sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1"]))
    data = data_config(with_use(setup, "sub-01", "out"))
    assert data.leave_out == ("sub-01_ses-1", "sub-01_ses-2")


# rows and findings ------------------------------------------------------------------------------


def test_a_row_says_what_the_picture_of_the_design_says() -> None:
    first, second = rows(setup_of(made.visits(["sub-01_ses-1", "sub-01_ses-2"])))
    assert (first.title, first.visit, second.visit) == (
        "Person 01", "visit 1, 3 scans", "visit 2, 3 scans",
    )  # fmt: skip
    assert (first.grid, first.times, first.finding, first.tone) == (
        "320 × 320 × 36", "exact", "Ready", "ok",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("times", "how", "said"),
    [
        (made.FLAIR, "stated", ("exact", "text2")),
        (made.FLAIR, "nominal", ("nominal", "warn")),
        (made.FLAIR, "estimated", ("estimated", "warn")),
        (made.FLAIR, "given", ("given", "text2")),
        ((9000, 100, None), "stated", ("TI missing", "bad")),
        ((None, 100, None), "stated", ("TR and TI missing", "bad")),
        (None, "stated", ("missing", "bad")),
    ],
)
def test_certainty_of_the_times(times, how, said) -> None:
    assert certainty([made.scan("sub-01", "FLAIR", times, how)]) == said


def test_a_guess_that_there_is_no_inversion_is_none() -> None:
    row = made.scan("sub-01", "T2w", made.T2)
    guessed = replace(row, ti=replace(row.ti, certainty="nominal"))
    assert certainty([guessed])[0] == "exact"


def test_findings_are_counted_and_what_becomes_of_them_is_said() -> None:
    found = [made.mirrored("sub-01"), made.mirrored("sub-02"), made.no_ti("sub-04")]
    setup = setup_of(made.people(14), found)
    assert findings_sentence(setup) == (
        "3 findings.",
        "Two can be mended now, one needs a value from you. 11 people are ready.",
    )
    assert mend_count(setup) == 2
    assert [m.kind for m in mends(setup)[made.ROOT]] == ["flip", "flip"]


def test_one_finding_is_it() -> None:
    head, rest = findings_sentence(setup_of(made.people(3), [made.mirrored("sub-01")]))
    assert head == "1 finding."
    assert rest == "It can be mended now. 2 people are ready."


def test_what_can_be_used_with_a_warning_is_not_called_ready() -> None:
    setup = setup_of(made.people(3), [made.shifted("sub-01")])
    assert findings_sentence(setup)[1] == (
        "It goes with preparing. 2 people are ready, one can be used with findings."
    )
    setup = setup_of(made.people(1), [made.shifted("sub-01")])
    assert findings_sentence(setup)[1].endswith("1 person can be used as it is.")
    assert blocked(setup) == ""


def test_nothing_to_mend() -> None:
    assert findings_sentence(setup_of(made.people(2))) == (
        "",
        "Nothing to mend. 2 people are ready.",
    )


def test_the_link_fits_the_finding() -> None:
    pair = Finding("error", "sub-04", "", "flip-pair", "who knows", "x", None)
    found = [
        made.mirrored("sub-01"), made.mirrored("sub-02", sure=False), made.no_ti("sub-03"),
        made.shifted("sub-05"), pair,
    ]  # fmt: skip
    said = {r.person: (r.finding, r.link, r.tone) for r in rows(setup_of(made.people(5), found))}
    assert said["sub-01"] == ("T1w is mirrored", "Mirror it back", "bad")
    assert said["sub-02"] == ("T1w is mirrored", "Mirror it…", "bad")
    assert said["sub-03"] == ("FLAIR has no TI", "Enter TI…", "bad")
    assert said["sub-05"] == ("T2w: 36 slices, 46 in the 2 other scans", "Prepare…", "warn")
    assert said["sub-04"][1] == ""


def test_thick_slices_are_said_as_such() -> None:
    problem = "voxels of 0.7 x 0.7 x 4 mm, 0.7 x 0.7 x 3 mm in the other scans named T1w"
    found = [made.finding("sub-01", s, "voxel-size", problem) for s in ("T1w", "T2w", "FLAIR")]
    setup = setup_of(made.people(3), found)
    assert rows(setup)[0].finding == "Slices 4 mm, others 3 mm"
    assert len(issues(setup)) == 1


def test_one_scan_after_another_is_one_finding_that_names_them() -> None:
    found = [made.no_ti("sub-01", s, "TR,TE,TI") for s in ("T1w", "T2w", "FLAIR")]
    [row] = rows(setup_of(made.people(1), found))
    assert (row.finding, row.link) == ("3 scans have no times", "Enter TR, TE, TI…")


def test_what_follows_from_other_errors_is_not_told_twice() -> None:
    nothing = Finding("error", "", "", "nothing-usable", "no subject has two usable scans")
    few = made.finding("sub-01", "", "too-few", "no usable scan; training needs two")
    setup = setup_of(made.people(1), [nothing, few, made.no_ti("sub-01")])
    assert [i.code for i in issues(setup)] == ["missing"]
    alone = setup_of(made.people(1), [nothing])
    assert rows(alone)[0].title == "Dataset"
    assert rows(alone)[0].finding == "Nobody has two usable scans"


def test_headers_alone_leave_rows_to_be_checked() -> None:
    quick = replace(made.report(made.people(2), [made.no_ti("sub-01")]), quick=True)
    first, second = rows(with_reports(Setup(), [quick]))
    assert first.finding == "FLAIR has no TI"
    assert (second.finding, second.tone) == ("Being checked", "text2")


def test_a_scan_left_out_takes_its_finding_with_it_and_can_come_back() -> None:
    setup = setup_of(made.people(3), [made.no_ti("sub-01")])
    [issue] = issues(setup)
    out = with_left_out(setup, issue.files, True)
    assert issues(out) == []
    assert rows(out)[0].finding == "FLAIR left out"
    assert rows(out)[0].link == "Take it back"
    assert blocked(out) == ""
    assert data_config(out).leave_out == issue.files
    assert issues(with_left_out(out, issue.files, False)) == [issue]


def test_a_person_left_out_has_no_findings() -> None:
    setup = setup_of(made.people(3), [made.no_ti("sub-01")])
    assert blocked(with_use(setup, "sub-01", "out")) == ""


def test_the_title_counts_people_and_scans() -> None:
    said = title_sentence(setup_of(made.people(14)))
    assert said.startswith("14 people, 42 scans. ")
    assert title_sentence(Setup()) == "A new run folder is made; nothing is overwritten."


# why it cannot start ----------------------------------------------------------------------------


def test_errors_keep_training_from_starting_and_say_whose() -> None:
    found = [made.no_ti("sub-04"), made.mirrored("sub-02")]
    said = blocked(setup_of(made.people(5), found))
    assert said == (
        "Not ready: Person 02: T1w is mirrored, and one more. Mend or leave out what is marked red."
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"phase": "working"}, "once this is done"),
        ({"phase": "asking"}, "question"),
        ({"reports": ()}, "Choose the data"),
        ({"uses": {"sub-01": "validate"}}, "Nobody is left to train on"),
        ({"plan": "fine-tune", "start": ""}, "network to fine-tune"),
        ({"folder": None}, "Name a folder"),
    ],
)
def test_why_it_cannot_start(change, why) -> None:
    setup = setup_of(made.people(2))
    assert blocked(setup) == ""
    assert why in blocked(replace(setup, **change))


def test_one_setting_is_not_enough() -> None:
    alike = setup_of(made.people(2, contrasts={"T1w": made.T1, "T2w": made.T1}))
    assert "two settings" in blocked(alike)


# settings ---------------------------------------------------------------------------------------


def test_settings_are_named_by_what_tells_them_apart() -> None:
    contrasts = {
        "acq-a_T1w": (2479, 10.42, 0), "acq-b_T1w": (2479, 9.62, 1055),
        "acq-c_PDw": (6777, 62.5, 0), "acq-d_PDw": (8000, 39.9, 0), "acq-e_T2w": (8142, 104, 0),
    }  # fmt: skip
    names = [s.name for s in sequences(setup_of(made.people(2, contrasts=contrasts)))]
    assert names == ["T1w", "TE 62", "TE 40", "T2w", "TI 1055"]


def test_settings_that_nothing_tells_apart_get_letters() -> None:
    contrasts = {"acq-a_PDw": (6777, 10, 0), "acq-b_PDw": (8000, 10, 0), "acq-c_PDw": (6777, 60, 0),
                 "acq-d_PDw": (8000, 60, 0)}  # fmt: skip
    names = [s.name for s in sequences(setup_of(made.people(1, contrasts=contrasts)))]
    assert len(set(names)) == 4
    assert names[0].startswith("PDw ")


def test_holding_back_is_counted_and_sent_to_the_run() -> None:
    setup = with_held(setup_of(made.people(2)), made.T2, True)
    assert sequence_sentence(setup) == "2 to train on, 1 held back to test unseen settings"
    assert data_config(setup).hold_back == (made.T2,)
    back = with_held(setup, made.T2, False)
    assert sequence_sentence(back).startswith("All 3 are trained on")


def test_two_settings_stay() -> None:
    setup = with_held(setup_of(made.people(2)), made.T2, True)
    refused = with_held(setup, made.T1, True)
    assert refused.held == setup.held
    assert refused.notice == AT_LEAST_TWO
    assert with_held(setup, (1, 2, 3), True) is setup


def test_a_setting_that_nobody_has_any_more_is_not_held_back() -> None:
    contrasts = dict(made.CONTRASTS, PDw=made.PD)
    rows_ = [*made.people(2), made.scan("sub-02", "PDw", made.PD)]
    setup = with_held(setup_of(rows_), made.PD, True)
    assert len(sequences(setup)) == len(contrasts)
    gone = with_use(setup, "sub-02", "out")
    assert made.PD not in [s.triple for s in sequences(gone)]
    assert data_config(gone).hold_back == ()


# plans ------------------------------------------------------------------------------------------

COST = Estimate({"batch": 6}, 900, 7080, 312.4, 6120, 480, "NVIDIA H200", "crl-plus")


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("120", 120), ("2 h", 120), ("1 h 30 min", 90), ("90min", 90), ("1,5 h", 90), ("20 m", 20),
     ("2 hours", 120)],
)  # fmt: skip
def test_times_are_read(text, minutes) -> None:
    assert parse_minutes(text) == minutes


@pytest.mark.parametrize("text", ["", "soon", "0", "-5", "2 h h", "1e9", "nan"])
def test_no_times_are_refused_in_one_line(text) -> None:
    with pytest.raises(ParameterError) as refusal:
        parse_minutes(text)
    assert "\n" not in str(refusal.value)


def test_each_plan_has_its_time() -> None:
    setup = setup_of(made.people(2), start="crl-plus")
    assert plan_words(setup, "quick", None).time == "5 min"
    assert plan_words(setup, "time", None).time == "2 h"
    assert plan_words(setup, "paper", None).time == "measuring…"
    assert plan_words(setup, "paper", replace(COST, seconds=31 * 3600)).time == "about 31 h"
    fine = plan_words(setup, "fine-tune", None)
    assert (fine.name, fine.about, fine.time) == (
        "Fine-tune crl-plus", "starts from the bundled network, best for so few people", "12 min",
    )  # fmt: skip
    own = setup_of(made.people(10), start="/home/me/mine.safetensors")
    assert plan_words(own, "fine-tune", None).about == "starts from a file of yours"


def test_without_data_nothing_is_measured() -> None:
    assert plan_words(Setup(), "paper", None).time == "\N{EN DASH}"
    assert worth_measuring(Setup()) == []
    assert worth_measuring(setup_of(made.people(2)))[0] == "time"


def test_people_of_several_datasets_are_named_as_the_run_finds_them(dataset, tmp_path) -> None:
    """Both have a sub-01; the engine must find everybody who was given a use."""
    second = tmp_path / "second"
    shutil.copytree(dataset, second)
    for lost in [p for p in second.glob("sub-03/anat/*") if "T1w" not in p.name]:
        lost.unlink()  # one scan is left: nothing to learn from there
    setup = with_reports(Setup(folder=RUN), [check_dataset(dataset), check_dataset(second)])
    setup = with_use(with_use(setup, "sub-02", "validate"), "sub-03", "test")
    setup = with_use(setup, "sub-01", "train")
    data = data_config(setup)
    assert data.validate == ("1/sub-02", "2/sub-02")
    assert data.test == ("1/sub-03",)
    opened = open_data(data, TrainingConfig(crop=16))
    assert opened.people == {"train": 2, "validate": 2, "test": 1}


def test_what_it_costs() -> None:
    values, names = cost_words(COST, 1_700_000_000, waiting=False)
    assert values[:3] == ["1 h 58", "6.1 GB", "480 MB"]
    assert names == ["time", "GPU memory", "disk", "ends"]
    assert cost_words(None, 0, waiting=True)[0] == ["…"] * 4
    on_cpu = replace(COST, device="CPU, 2 threads")
    assert cost_words(on_cpu, 0, waiting=False)[1][1] == "memory"
    assert measured_words(on_cpu, waiting=False) == (
        "Measured here: 312 pairs per second on CPU, 2 threads"
    )
    refused = Estimate({}, refusal="scan.nii.gz is damaged.")
    assert measured_words(refused, waiting=False) == "scan.nii.gz is damaged."


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "\N{EN DASH}"), (20, "under 1 min"), (3599, "1 h"), (float("inf"), "\N{EN DASH}")],
)
def test_times_of_an_estimate(seconds, said) -> None:
    assert about_time(seconds) == said


def test_an_estimate_that_is_none_is_refused() -> None:
    for values in ([], {}, {"config": {}}, {"config": {}, "steps": "many"}):
        with pytest.raises(InputError):
            Estimate.of(values)


def test_the_job_is_the_plan_alone_or_every_setting() -> None:
    setup = setup_of(made.people(2))
    plain = job_of(setup)
    assert plain.arguments(Path("d.json"), None) == [
        "--data", "d.json", "--plan", "time", "--minutes", "120",
    ]  # fmt: skip
    changed = job_of(replace(setup, changes={"batch": 3}), planned={"batch": 6, "minutes": 120.0})
    assert changed.plan is None
    assert changed.config == {"batch": 3, "minutes": 120.0}
    assert changed.arguments(Path("d.json"), Path("c.json")) == [
        "--data", "d.json", "--config", "c.json",
    ]  # fmt: skip
    other = job_of(replace(setup, changes={"batch": 3}), "paper", planned={"batch": 6})
    assert (other.plan, other.config) == ("paper", {})


def test_fine_tuning_names_its_network() -> None:
    setup = setup_of(made.people(2), plan="fine-tune", start="crl-small")
    job = job_of(setup)
    assert job.data.start == "crl-small"
    assert job.arguments(Path("d"), None)[-2:] == ["--from", "crl-small"]
    assert job_of(replace(setup, plan="quick")).data.start is None


def test_equal_jobs_have_equal_keys() -> None:
    setup = setup_of(made.people(2))
    assert job_of(setup).key == job_of(replace(setup, folder=Path("elsewhere"))).key
    assert job_of(setup).key != job_of(replace(setup, minutes=60.0)).key
    assert isinstance(job_of(setup), Job)


def test_a_run_folder_is_new() -> None:
    taken = {Path("/me/training/2026-11-25"), Path("/me/training/2026-11-25-2")}
    day = date(2026, 11, 25)
    assert proposed_folder(Path("/me"), taken.__contains__, day) == Path(
        "/me/training/2026-11-25-3"
    )
    assert free_path(Path("/x/a"), lambda p: False) == Path("/x/a")


# questions about times --------------------------------------------------------------------------


def image(person: str, visit: str, contrast: str, parameters=None, why: str = ""):
    return SimpleNamespace(
        person=person, visit=visit, contrast=contrast, parameters=parameters, why_left_out=why
    )


def test_a_plain_folder_is_asked_about_once_per_contrast() -> None:
    images = [
        image(p, v, c) for p in ("01", "12") for v in ("1", "2") for c in ("T1W", "T2W", "FLAIR")
    ]
    question = arrange_question(images, Path("new"))
    assert question.sentence.startswith("12 images of 2 people at 4 visits. ")
    assert [(c.name, c.count) for c in question.contrasts] == [("T1W", 4), ("T2W", 4), ("FLAIR", 4)]
    assert question.contrasts[2].proposed == {"tr": 9000, "te": 100, "ti": 2500}
    assert question.folder == "new"


def test_known_times_are_not_asked_for_and_what_is_left_out_is_said() -> None:
    images = [
        image("01", "", "T1W", SequenceParameters(600, 10)),
        image("01", "", "T2W", SequenceParameters(5000, 100)),
        image("01", "", "mask", why="a mask, no scan"),
    ]
    question = arrange_question(images, Path("new"))
    assert question.contrasts == ()
    assert "2 images of 1 person." in question.sentence
    assert "Left out: a mask, no scan." in question.sentence
    assert "usual" not in question.sentence.lower()


@pytest.mark.parametrize(
    ("name", "ti"), [("T1W", 0), ("t2-flair", 2500), ("T1 FLAIR", 1055), ("STIR", 160), ("PD", 0)]
)
def test_usual_values_can_be_played(name, ti) -> None:
    values = usual_values(name)
    values.check_order()
    assert values.ti == ti
    assert usual_values("localizer") is None


def test_values_left_as_proposed_are_nominal() -> None:
    question = arrange_question([image("1", "", "T1W"), image("1", "", "T2W")], Path("x"))
    answer = ValueAnswer({"T1W": SequenceParameters(600, 10), "T2W": SequenceParameters(4500, 90)})
    assert nominal_contrasts(question, answer) == {"T1W"}


def test_missing_times_are_asked_for_with_what_is_known() -> None:
    found = [made.no_ti("sub-01"), made.no_ti("sub-02"), made.no_ti("sub-02", "T2w", "TR,TE,TI")]
    there = issues(setup_of(made.people(3), found))
    question = mend_question(there)
    assert [(c.name, c.count, dict(c.proposed)) for c in question.contrasts] == [
        ("FLAIR", 2, {"tr": 9000, "te": 100, "ti": 2500}),
        ("T2w", 1, {"tr": 5000, "te": 100, "ti": 0}),
    ]
    assert question.may_leave_out
    answer = ValueAnswer({"FLAIR": SequenceParameters(9000, 100, 2300)}, frozenset({"T2w"}))
    written = value_mends(there, answer)[made.ROOT]
    assert [m.value for m in written] == ["9000,100,2300"] * 2
    assert files_left_out(there, answer) == {"sub-02/anat/sub-02_T2w.nii.gz"}


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (("9000", "100", ""), "FLAIR: TI is missing"),
        (("", "", "2500"), "FLAIR: TR and TE are missing"),
        (("9000", "x", "2500"), "FLAIR: 'x' is not a time"),
        (("900", "100", "2500"), "FLAIR: TR 900 ms is too short"),
    ],
)
def test_typed_times_are_refused_in_one_line(texts, why) -> None:
    with pytest.raises(ParameterError, match=why):
        read_times("FLAIR", dict(zip(("tr", "te", "ti"), texts, strict=True)))


def test_no_inversion_can_be_typed() -> None:
    assert read_times("T2", {"tr": "5 s", "te": "100", "ti": "off"}).triple == (5000, 100, 0)


def test_a_question_can_be_shown_without_a_folder() -> None:
    assert ValueQuestion("a", "b", ()).folder == ""


# all settings -----------------------------------------------------------------------------------


def test_every_setting_has_a_meaning() -> None:
    found = settings_fields()
    assert {f.name for f in found} == set(TrainingConfig.__dataclass_fields__)
    assert [f.name for f in found if not f.meaning] == []


def test_meanings_of_names_that_share_a_line() -> None:
    text = """Title.

    Parameters
    ----------
    one, two
        What both
        are.
    three
        The third.

    Raises
    ------
    Error
        When not.
    """
    assert parse_meanings(text) == {"one": "What both are.", "two": "What both are.",
                                    "three": "The third."}  # fmt: skip
    assert parse_meanings("") == {}


def test_untouched_fields_change_nothing() -> None:
    texts = {f.name: field_text(f.default) for f in settings_fields()}
    assert changed_values(texts, {}) == ({}, {})


def test_only_what_differs_from_the_plan_is_a_change() -> None:
    base = {"batch": 4, "source_share": [0.5, 0.5], "minutes": 20.0}
    changes, refusals = changed_values({"batch": "8", "crop": "96"}, base)
    assert (changes, refusals) == ({"batch": 8}, {})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("seed", "7", 7), ("minutes", "", None), ("learning_rate", "2e-4", 2e-4),
        ("source_share", "0.6, 0.4", (0.6, 0.4)), ("sequences", "1 2 3", (1, 2, 3)),
        ("compile", "on", True), ("schedule", "halving", "halving"),
        ("architecture", '{"features": 32}', {"features": 32}),
    ],
)  # fmt: skip
def test_typed_settings_are_read(name, text, value) -> None:
    base = {"minutes": 10.0}
    changes, refusals = changed_values({name: text}, base)
    assert refusals == {}
    assert changes == {name: value}


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("batch", "x", "whole number"), ("batch", "0", "at least 1"), ("ramp", "2", "between"),
        ("schedule", "linear", "one of"), ("architecture", "[", "JSON"),
        ("sequences", "12", "1 to"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused_in_one_line(name, text, why) -> None:
    changes, refusals = changed_values({name: text}, {})
    assert changes == {}
    assert why in refusals[name]
    assert "\n" not in refusals[name]
