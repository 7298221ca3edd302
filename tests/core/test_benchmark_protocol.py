"""Who is tested on what: people never mix, and every pair has its block."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from crl_core import io
from crl_core.errors import InputError
from crl_core.evaluation.benchmark.folds import share_out
from crl_core.evaluation.benchmark.protocol import Task, key_of, open_protocol, slug
from crl_core.io.bids import find_subjects, image_path, scan_name
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters
from crl_core.training.data_config import DataConfig
from crl_core.training.visits import clusters_of
from tests.conftest import tiny_scan
from tests.core.benchmark_data import protocol


def alone(count: int) -> dict[str, str]:
    return {f"sub-{n:02d}": f"sub-{n:02d}" for n in range(count)}


def refusal(call, *words, **options) -> str:
    with pytest.raises(InputError) as caught:
        call(*words, **options)
    line = str(caught.value)
    assert "\n" not in line
    return line


# people -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("people", "count"), [(10, 5), (10, 3), (4, 4), (3, 2), (2, 2)])
def test_everybody_is_tested_once_and_nobody_is_in_two_groups(people: int, count: int) -> None:
    folds = share_out(alone(people), count)
    assert [f.number for f in folds] == list(range(1, count + 1))
    assert sorted(p for f in folds for p in f.test) == sorted(alone(people))
    for fold in folds:
        groups = [*fold.train, *fold.validate, *fold.test]
        assert sorted(groups) == sorted(alone(people))
        # Of a single person left to learn from nobody is spared to validate on.
        assert len(fold.validate) == (1 if people - len(fold.test) > 1 else 0)
        assert fold.train
    sizes = [len(f.test) for f in folds]
    assert max(sizes) - min(sizes) <= 1


def test_folds_follow_from_the_names_alone_and_validators_differ() -> None:
    people = alone(10)
    backwards = dict(reversed(list(people.items())))
    assert share_out(people, 5) == share_out(backwards, 5)
    assert len({f.validate for f in share_out(people, 5)}) == 5
    assert len(share_out(people, None)) == 5
    assert len(share_out(alone(3), None)) == 3


def test_more_folds_than_people_are_refused_in_one_line() -> None:
    assert "Give --folds 1 to 3" in refusal(share_out, alone(3), 4)
    assert "Give --folds 1 to 3" in refusal(share_out, alone(3), 0)


def test_in_one_fold_everybody_is_tested_and_nobody_learnt_from() -> None:
    for people, count in ((1, None), (3, 1)):
        (fold,) = share_out(alone(people), count)
        assert (fold.train, fold.validate, fold.test) == ((), (), tuple(alone(people)))


def test_two_subjects_of_one_anatomy_stay_on_one_side(dataset: Path) -> None:
    people = ["sub-01", "sub-02", "sub-03"]
    assert clusters_of(people, dataset) == {p: p for p in people}
    table = dataset / "participants.tsv"
    table.write_text("participant_id\tanatomy\nsub-01\ta\nsub-02\tb\nsub-03\ta\n")
    found = open_protocol(dataset)
    assert len(found.folds) == 2
    for fold in found.folds:
        for group in (fold.train, fold.validate, fold.test):
            assert ("sub-01" in group) == ("sub-03" in group)
    # One brain for everybody would leave nothing to share out: then people are people.
    table.write_text("participant_id\tanatomy\n" + "".join(f"{p}\ta\n" for p in people))
    assert clusters_of(people, dataset) == dict.fromkeys(people, "a")
    assert len(open_protocol(dataset).folds) == 3


def test_both_visits_of_a_person_are_tested_together(dataset: Path) -> None:
    for files in find_subjects(dataset):
        for path in files.images:
            name = path.name.replace(files.label, f"{files.label}_ses-2")
            io.save(io.load(path), dataset / files.label / "ses-2" / "anat" / name)
    found = open_protocol(dataset)
    assert found.people == ("sub-01", "sub-02", "sub-03")
    for fold in found.folds:
        labels = {v.files.label for v in found.visits_of(fold.test)}
        assert labels == {n for p in fold.test for n in (p, f"{p}_ses-2")}
    assert found.fold_of("sub-02") in found.folds


# contrasts --------------------------------------------------------------------------------------


def test_contrasts_go_by_the_number_of_the_paper_else_by_name(dataset: Path) -> None:
    other = SequenceParameters(3000, 30)
    io.save(tiny_scan(other), image_path(dataset, "01", "mine", "T2w"))
    again = tiny_scan(PAPER_SEQUENCES[7])
    io.save(again, image_path(dataset, "01", "zweite", "T2w"))
    found = open_protocol(dataset)
    assert list(found.contrasts) == ["1", "5", "7", "mine T2w", "zweite T2w"]
    assert found.contrasts["mine T2w"].triple == other.triple
    assert (found.held_back, found.groups, found.is_paper) == ((), (), False)
    assert key_of(SequenceParameters(8142.3, 104.19), "x") == "7"
    assert key_of(SequenceParameters(8142, 107), "x") == "x"
    assert key_of(replace(PAPER_SEQUENCES[7], fat_suppression=True), "x") == "x"
    assert key_of(replace(PAPER_SEQUENCES[7], fat_suppression=False), "x") == "7"


def test_the_nine_sequences_hold_back_4_and_6_and_anything_else_on_demand(tmp_path: Path) -> None:
    for person in ("01", "02"):
        for number, parameters in PAPER_SEQUENCES.items():
            path = image_path(tmp_path, person, f"paper{number}", "T2w")
            io.save(tiny_scan(parameters, seed=number), path)
    usual = open_protocol(tmp_path)
    assert usual.held_back == ("4", "6")
    assert usual.seen == ("1", "2", "3", "5", "7", "8", "9")
    assert usual.groups == (("1", "7"), ("5", "7"), ("1", "5"), ("1", "5", "7"))
    assert open_protocol(tmp_path, hold_back=[]).held_back == ()
    assert open_protocol(tmp_path, hold_back=["8000,40,0", "1"]).held_back == ("6", "1")
    assert open_protocol(tmp_path, groups=[("9", "2")]).groups == (("9", "2"),)
    assert "no scan with TR 900" in refusal(open_protocol, tmp_path, hold_back=["900,10,0"])
    assert "no contrast 'x'" in refusal(open_protocol, tmp_path, groups=[("1", "x")])
    assert "There are 1, 2, 3" in refusal(open_protocol, tmp_path, hold_back=["10"])
    many = [str(n) for n in range(1, 9)]
    assert "too many settings" in refusal(open_protocol, tmp_path, hold_back=many)


def test_the_fingerprint_follows_the_files_and_not_the_place(dataset: Path) -> None:
    before = open_protocol(dataset).fingerprint
    moved = dataset.with_name("moved")
    shutil.copytree(dataset, moved)
    assert open_protocol(moved).fingerprint == before
    next(moved.glob("sub-01/anat/*T1w.nii.gz")).write_bytes(b"")
    assert "is no readable NIfTI image" in refusal(open_protocol, moved)
    io.save(tiny_scan(PAPER_SEQUENCES[2]), image_path(dataset, "02", "more", "T1w"))
    assert open_protocol(dataset).fingerprint != before


def test_a_dataset_without_two_scans_of_anybody_is_refused(tmp_path: Path) -> None:
    io.save(tiny_scan(PAPER_SEQUENCES[2]), image_path(tmp_path, "02", "more", "T1w"))
    assert str(tmp_path) in refusal(open_protocol, tmp_path)


# blocks -----------------------------------------------------------------------------------------

GROUPS = (("1", "7"), ("5", "7"), ("1", "5"), ("1", "5", "7"))


def test_the_blocks_of_the_paper_hold_the_pairs_they_should() -> None:
    found = protocol(held=(4, 6), groups=GROUPS)
    tasks = found.tasks(found.contrasts)
    assert len(tasks) == 72 + 9 + 3 * 7 + 6
    counts = Counter(block for task in tasks for block in found.blocks(task))
    shared = "2, 3, 8, 9"
    assert counts == {
        "seen to seen": 42, "to 4": 7, "to 6": 7, "from 4": 7, "from 6": 7,
        "between held back": 2, "identity": 9, f"one source to {shared}": 12,
        f"two sources to {shared}": 12,
        **{f"{'+'.join(g)} to {shared}": 4 for g in GROUPS},
        **{f"{'+'.join(g)} to {k}": 1 for g in GROUPS for k in "46"},
        **{f"{'+'.join(g)} to other sources": 1 for g in GROUPS[:3]},
    }  # fmt: skip
    assert set(counts) <= set(found.block_names())
    assert len(set(found.block_names())) == len(found.block_names())
    assert found.blocks(Task(("4",), "4")) == ("identity",)
    assert found.blocks(Task(("6",), "4")) == ("between held back",)


def test_only_what_a_visit_has_is_asked_for_and_no_source_is_its_own_target() -> None:
    found = protocol(held=(4,), groups=GROUPS)
    names = {t.name for t in found.tasks(["7", "1", "4"])}
    assert names == {*(f"{a}>{b}" for a in "147" for b in "147"), "1+7>4"}


def test_names_of_files_hold_nothing_a_disk_refuses() -> None:
    assert slug("mine T2w/..") == "mine-T2w"
    assert slug("5+7") == "5+7"
    assert slug("///") == "x"


def retimed(dataset: Path, person: str, scan: str, **seconds: float) -> None:
    (path,) = (dataset / person).rglob(f"*{scan}.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **seconds}))


def test_a_contrast_held_back_by_name_is_held_back_in_everybody(tmp_path: Path) -> None:
    """People's T2w differ in TE; the first one's time alone would let the others through."""
    for number, te in ((1, 100.0), (2, 112.0), (3, 90.0)):
        for key, p in (("1", PAPER_SEQUENCES[1]), ("T2w", SequenceParameters(4500, te))):
            suffix = "T2w" if key == "T2w" else "T1w"
            path = image_path(tmp_path, f"{number:02d}", "x", suffix)
            io.save(tiny_scan(p, seed=number), path)
        path = image_path(tmp_path, f"{number:02d}", "x", "PDw")
        io.save(tiny_scan(PAPER_SEQUENCES[5], seed=number), path)
    found = open_protocol(tmp_path, hold_back=("x T2w",))
    held = DataConfig(hold_back=tuple(p.triple for p in found.held_settings)).held
    assert all(held(SequenceParameters(4500, te)) for te in (100, 112, 90))
    assert not held(PAPER_SEQUENCES[5])


def test_a_second_run_of_a_held_back_contrast_is_held_back(dataset: Path) -> None:
    path = image_path(dataset, "02", "repeat", "T2w")
    io.save(tiny_scan(PAPER_SEQUENCES[7], seed=9), path)
    found = open_protocol(dataset, hold_back=("7",))
    assert set(found.held_back) == {"7", scan_name(path)}
    assert set(found.seen) == {"1", "5"}


def test_the_fingerprint_changes_with_a_corrected_time_and_a_new_mask(dataset: Path) -> None:
    first = open_protocol(dataset).fingerprint
    assert open_protocol(dataset).fingerprint == first
    # So little that it is still sequence 5: names and keys stay.
    retimed(dataset, "sub-03", "PDw", EchoTime=0.01044)
    second = open_protocol(dataset).fingerprint
    assert second != first
    mask = dataset / "derivatives" / "masks" / "sub-01" / "anat" / "sub-01_dseg.tsv"
    mask.parent.mkdir(parents=True)
    mask.write_text("index\tname\n1\tgrey\n")
    third = open_protocol(dataset).fingerprint
    mask.write_text("index\tname\n2\tgrey\n")
    assert len({first, second, third, open_protocol(dataset).fingerprint}) == 4
    moved = dataset.parent / "elsewhere"
    shutil.copytree(dataset, moved)
    assert open_protocol(moved).fingerprint == open_protocol(dataset).fingerprint
