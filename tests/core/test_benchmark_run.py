"""``crl benchmark`` from end to end on three tiny heads: once measured, never again."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from crl_core import io
from crl_core.checkpoint import load_checkpoint, save_checkpoint
from crl_core.cli import main
from crl_core.cli.benchmarking import Share
from crl_core.evaluation.benchmark.folds import share_out
from crl_core.evaluation.benchmark.networks import Network, needs_pair, pair_tasks
from crl_core.evaluation.benchmark.people import Case, load_visit
from crl_core.evaluation.benchmark.plan import Entry, Plan, open_folder, settings_for
from crl_core.evaluation.benchmark.protocol import Task
from crl_core.evaluation.benchmark.units import UnitJob, measure_unit
from crl_core.io.bids import image_path
from crl_core.sequence import PAPER_SEQUENCES
from crl_core.synthesis import Synthesizer
from tests.conftest import make_dataset, tiny_scan
from tests.core.tiny_checkpoint import tiny_card, tiny_model

Run = Callable[..., tuple[int, str, str]]

TINY = {
    "crl-plus": {
        "architecture": {"widths": [4, 6], "code_width": 5, "residual_width": 3, "atoms": 8,
                         "entries": 8},
        "batch": 1, "crop": 32, "contrasts": 2, "precision": "fp32", "validate_steps": 2,
        "warmup": 1,
    }
}  # fmt: skip
QUICK = ("identity", "table", "learnt-table")


@pytest.fixture
def crl(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command in this process; returns exit code, stdout and stderr."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["benchmark", *(str(word) for word in words)])
        captured = capsys.readouterr()
        code = left.value.code
        return (0 if code is None else int(code)), captured.out, captured.err

    return run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(TINY))
    return path


def words(dataset: Path, out: Path, *more: object) -> tuple[object, ...]:
    return (dataset, "-o", out, "--methods", ",".join(QUICK), "--device", "cpu", *more)


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "results.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


# the report -------------------------------------------------------------------------------------


def test_baselines_are_measured_on_everybody_once_and_the_figures_are_right(
    dataset: Path, tmp_path: Path, crl: Run
) -> None:
    out = tmp_path / "out"
    code, said, _ = crl(*words(dataset, out))
    assert code == 0
    assert "Table 2" in said
    rows = rows_of(out)
    assert len(rows) == 3 * 9 * len(QUICK)
    assert {r["person"] for r in rows} == {"sub-01", "sub-02", "sub-03"}
    source = io.load(image_path(dataset, "02", "paper7", "T2w"))
    target = io.load(image_path(dataset, "02", "paper1", "T1w"))
    unit = float(np.percentile(source.data[source.mask], 99.5))
    mask = source.mask & target.mask
    x, y = source.data / unit, target.data / unit
    (row,) = [r for r in rows if (r["method"], r["person"], r["sources"], r["target"])
              == ("identity", "sub-02", "7", "1")]  # fmt: skip
    peak = np.percentile(y[mask], 99.5)
    expected = peak_signal_noise_ratio(y[mask], x[mask], data_range=peak)
    assert float(row["psnr"]) == pytest.approx(expected, abs=1e-3)
    gain = (x[mask] @ y[mask].astype(float)) / (x[mask] @ x[mask].astype(float))
    gained = peak_signal_noise_ratio(y[mask], gain * x[mask], data_range=peak)
    assert float(row["psnr_gain"]) == pytest.approx(gained, abs=1e-3)
    # The table of the report is the mean of these rows over people.
    summary = json.loads((out / "results.json").read_text())
    seen = summary["blocks"]["seen to seen"]
    values: dict[str, list[float]] = {}
    for r in rows:
        if r["method"] == "table" and r["block"] == "seen to seen":
            values.setdefault(r["person"], []).append(float(r["psnr_gain"]))
    means = [np.mean(v) for v in values.values()]
    assert seen["methods"]["table"]["psnr_gain"]["mean"] == pytest.approx(np.mean(means), abs=1e-4)
    assert seen["methods"]["table"]["psnr_gain"]["sd"] == pytest.approx(
        np.std(means, ddof=1), abs=1e-4
    )
    assert seen["best baseline"] == "learnt-table"
    assert seen["tasks"] == ["1>5", "1>7", "5>1", "5>7", "7>1", "7>5"]


def test_a_second_start_measures_nothing_again_and_more_methods_join(
    dataset: Path, tmp_path: Path, crl: Run
) -> None:
    out = tmp_path / "out"
    crl(*words(dataset, out, "--fold", 1))
    unit = out / "units" / "table_fold-1.json"
    told = json.loads(unit.read_text())
    told["rows"][1]["ssim"] = 0.123456
    unit.write_text(json.dumps(told))
    code, _, _ = crl(*words(dataset, out, "--fold", 1))
    assert code == 0
    assert "0.123456" in (out / "results.csv").read_text()
    assert {r["fold"] for r in rows_of(out)} == {"1"}
    code, _, _ = crl(dataset, "-o", out, "--methods", "affine", "--fold", 1)
    assert code == 0
    assert {r["method"] for r in rows_of(out)} == {"affine", *QUICK}
    # The order of the methods is that of the table, whenever they joined.
    methods = list(json.loads((out / "results.json").read_text())["methods"])
    assert methods == ["identity", "affine", "table", "learnt-table"]


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (("--folds", 2), "(folds)"),
        (("--hold-back", "1"), "(held back)"),
        (("--sources", "1+7"), "(several sources)"),
    ],
)
def test_other_settings_in_the_same_folder_are_refused_in_one_line(
    dataset: Path, tmp_path: Path, crl: Run, more: tuple[object, ...], what: str
) -> None:
    out = tmp_path / "out"
    crl(dataset, "-o", out, "--methods", "identity", "--fold", 1)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    code, _, said = crl(dataset, "-o", out, "--methods", "identity", "--fold", 1, *more)
    assert code == 1
    assert what in said
    assert len(said.strip().splitlines()) == 1
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_what_cannot_be_used_is_refused_before_anything_is_written(
    dataset: Path, tmp_path: Path, crl: Run, config: Path
) -> None:
    out = tmp_path / "out"
    used = tmp_path / "used"
    used.mkdir()
    (used / "letter.txt").write_text("x")
    broken = tmp_path / "broken.json"
    broken.write_text('{"crl-plus": {"stepps": 3}}')
    for code, text, options in (
        (1, "does not exist", (tmp_path / "nowhere", "-o", out)),
        (1, "not empty and holds no benchmark", (dataset, "-o", used)),
        (1, "Give --folds 1 to 3", (dataset, "-o", out, "--folds", 7)),
        (1, "there is no fold 4", (dataset, "-o", out, "--fold", 4)),
        (1, "no contrast '9'", (dataset, "-o", out, "--hold-back", "9")),
        (1, "unknown entry 'stepps'", (dataset, "-o", out, "--config", broken)),
        (1, "does not exist", (dataset, "-o", out, "--checkpoint", tmp_path / "no.safetensors")),
        (2, "is not known", (dataset, "-o", out, "--methods", "crl-plsu")),
        (2, "is not NAME+NAME", (dataset, "-o", out, "--sources", "1")),
        (2, "not both", (dataset, "-o", out, "--minutes", 1, "--steps", 2)),
        (2, "named twice", (dataset, "-o", out, "--methods", "crl-plus,crl-plus")),
    ):
        got, _, said = crl(*options)
        assert (got, text in " ".join(said.replace("│", " ").split())) == (code, True), said
        assert not out.exists()
        if code == 1:
            assert len(said.strip().splitlines()) == 1


# networks ---------------------------------------------------------------------------------------


def test_a_network_is_trained_on_the_people_of_the_fold_and_goes_on_where_it_was(
    dataset: Path, tmp_path: Path, config: Path, crl: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    options = words(dataset, out, "--fold", 1, "--config", config, "--steps", 4,
                    "--hold-back", "5")  # fmt: skip
    options = (*options[:4], ",".join((*QUICK, "crl-plus")), *options[5:])
    import crl_core.training.loop as loop

    whole, told = loop.train, []

    def cut_short(job: Any, *, resume: bool = False) -> Any:
        for event in whole(job, resume=resume):
            told.append((type(event).__name__, event.step, resume))
            yield event
            if type(event).__name__ == "Stepped" and event.step == 2 and not resume:
                raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", cut_short)
    code, _, said = crl(*options)
    assert code == 3
    assert "the same command goes on with it" in said
    assert not (out / "report.html").exists()
    assert len(list((out / "units").glob("*.json"))) == len(QUICK)
    code, said, _ = crl(*options)
    assert code == 0
    resumed = [(kind, step) for kind, step, again in told if again]
    assert resumed[0] == ("Started", 2)
    assert ("Finished", 4) in resumed
    run = json.loads((out / "runs" / "crl-plus_fold-1_seed-1" / "data.json").read_text())
    (fold,) = [f for f in share_out({f"sub-0{n}": f"sub-0{n}" for n in (1, 2, 3)}, None)
               if f.number == 1]  # fmt: skip
    assert tuple(run["test"]) == fold.test
    assert tuple(run["validate"]) == fold.validate
    assert run["hold_back"] == [list(PAPER_SEQUENCES[5].triple)]
    assert {r["person"] for r in rows_of(out)} == set(fold.test)
    assert "Table 3: crl-plus" in said
    assert "4 steps, best after" in said
    assert "5*" in said
    assert "never seen in training" in said
    told.clear()
    crl(*options)
    assert told == []
    # Another budget for the same network is another benchmark; other networks may join.
    longer = [5 if word == 4 else word for word in options]
    code, _, said = crl(*longer)
    assert code == 1
    assert "other settings (training of crl-plus)" in said
    plan = Plan(dataset, out, (Entry("crl-small", "preset"),), hold_back=("5",), steps=9)
    open_folder(plan)
    kept = json.loads((out / "benchmark.json").read_text())["training"]
    assert {name: entry["steps"] for name, entry in kept.items()} == {"crl-plus": 4, "crl-small": 9}


def test_the_report_stands_alone_and_every_made_up_image_says_so(
    dataset: Path, tmp_path: Path, crl: Run
) -> None:
    out = tmp_path / "out"
    path = tmp_path / "mine.safetensors"
    save_checkpoint(path, tiny_model("crl-plus"), tiny_card("crl-plus"))
    code, said, _ = crl(*words(dataset, out, "--fold", 1, "--checkpoint", path,
                               "--hold-back", "5", "--sources", "1+7"))  # fmt: skip
    assert code == 0
    assert "this checkpoint's own training covered 5" in said
    html = (out / "report.html").read_text()
    assert "http://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "<script" not in html
    assert "SYNTHETIC images are no acquired images" in html
    assert "mine, evaluated as it is" in html
    for name in ("figure-1.svg", "figure-3.svg", "figure-4.svg"):
        assert (out / name).read_text().strip() in html
    third = ET.parse(out / "figure-3.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    texts = [t.text for t in third.iter(f"{space}text")]
    images = list(third.iter(f"{space}image"))
    # Source, network, learnt table, table and acquired; two targets, errors below three, a bar.
    assert len(images) == 2 * (2 + 3 + 3) + 1
    assert texts.count("SYNTHETIC") == 2 * 3
    fourth = ET.parse(out / "figure-4.svg").getroot()
    shown = [t.text for t in fourth.iter(f"{space}text")]
    assert shown.count("SYNTHETIC") == 3
    assert {"1", "5*", "7 (source)"} <= set(shown)
    rows = [r for r in rows_of(out) if r["method"] == "mine"]
    assert {r["sources"] for r in rows} == {"1", "5", "7", "1+7"}
    assert {r["block"] for r in rows} >= {"1+7 to 5", "identity", "to 5", "from 5"}


def test_one_person_is_measured_with_what_needs_nobody_else(
    dataset: Path, tmp_path: Path, crl: Run
) -> None:
    for person in ("sub-02", "sub-03"):
        shutil.rmtree(dataset / person)
    out = tmp_path / "out"
    code, said, _ = crl(dataset, "-o", out, "--sources", "5+7")
    assert code == 0
    assert "nobody learnt from" in said
    rows = rows_of(out)
    assert {r["method"] for r in rows} == {"identity", "affine", "table", "least-squares"}
    assert {r["sources"] for r in rows} == {"1", "5", "7", "5+7"}
    code, _, said = crl(dataset, "-o", out, "--sources", "5+7", "--methods", "crl-plus")
    assert code == 1
    assert "nobody is left to train on" in said.strip().splitlines()[-1]


def test_a_network_of_the_targets_own_range_is_brought_to_the_unit(
    dataset: Path, tmp_path: Path
) -> None:
    what = Plan(dataset, tmp_path / "out", ()).protocol
    whom = load_visit(dataset, what.visits[0])
    path = tmp_path / "theirs.safetensors"
    card = tiny_card("crl-code", intensity_rule="minmax", in_plane_mm=None)
    save_checkpoint(path, tiny_model("crl-code"), card)
    case = Case(whom, Task(("7",), "1"))
    found = Network("theirs", "theirs", {None: path}, "cpu").predict(case)
    synthesizer = Synthesizer(load_checkpoint(path), device="cpu")
    source, target = whom.scans["7"], whom.scans["1"]
    synthesizer.set_sources([source])
    image = synthesizer.render_volume(PAPER_SEQUENCES[1])
    low, high = float(target.data.min()), float(target.data.max())
    unit = np.percentile(source.data[source.mask], 99.5)
    assert found is not None
    np.testing.assert_allclose(found, (low + (high - low) * image) / unit, rtol=1e-4, atol=1e-5)
    assert Network("theirs", "theirs", {None: path}, "cpu").predict(
        Case(whom, Task(("5", "7"), "1"))
    ) is None  # fmt: skip


def test_another_checkpoint_of_the_same_name_is_not_taken_for_the_first(
    dataset: Path, tmp_path: Path, crl: Run
) -> None:
    out = tmp_path / "out"
    path = tmp_path / "mine.safetensors"
    options = (dataset, "-o", out, "--methods", "identity", "--fold", 1, "--checkpoint", path)
    save_checkpoint(path, tiny_model("crl-small"), tiny_card("crl-small"))
    assert crl(*options)[0] == 0
    save_checkpoint(path, tiny_model("crl-small", seed=5), tiny_card("crl-small"), overwrite=True)
    code, _, said = crl(*options)
    assert code == 1
    assert "another checkpoint named 'mine'" in said


def test_at_the_source_itself_the_network_alone_is_measured(dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_checkpoint(path, tiny_model("crl-small"), tiny_card("crl-small"))
    entry = Entry("mine", "checkpoint", path, load_checkpoint(path).card.sha256)
    plan = Plan(dataset, tmp_path / "out", (entry,), only_folds=(1,))
    (unit,) = plan.units()
    assert measure_unit(UnitJob(plan, unit, "cpu"), lambda: None)
    rows = json.loads(plan.unit_path(unit).read_text())["rows"]
    (own,) = [r for r in rows if r["sources"] == ["7"] and r["target"] == "7"]
    # The carried residual would make it exact; a network with fresh weights is far off.
    assert own["psnr_gain"] is not None
    assert own["psnr_gain"] < 40


def test_only_networks_of_one_pair_need_a_training_for_each(tmp_path: Path) -> None:
    assert needs_pair("pgan")
    assert not needs_pair("pgan", {"conditioned": True})
    assert not needs_pair("crl-plus")
    for person in ("01", "02"):
        for number, parameters in PAPER_SEQUENCES.items():
            io.save(tiny_scan(parameters, seed=number),
                    image_path(tmp_path / "nine", person, f"paper{number}", "T2w"))  # fmt: skip
    plan = Plan(tmp_path / "nine", tmp_path / "out", ())
    names = [t.name for t in pair_tasks(plan)]
    assert names == ["5>9", "5>1", "5>7", "7>5", "7>1", "7>9"]


def test_settings_of_a_network_stand_above_those_for_all() -> None:
    given = {"batch": 3, "crl-plus": {"batch": 2, "crop": 40}, "architecture": {"widths": [4]}}
    plan = Plan(Path("a"), Path("b"), (), training=json.dumps(given))
    shared = {"batch": 3, "architecture": {"widths": [4]}}
    assert settings_for(plan, "crl-plus") == {**shared, "batch": 2, "crop": 40}
    assert settings_for(plan, "crl-code") == shared


# side by side -----------------------------------------------------------------------------------


def test_processes_share_the_units_and_the_last_one_writes_the_report(
    dataset: Path, tmp_path: Path, crl: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    code, said, err = crl(*words(dataset, out, "--fold", 1))
    assert (code, said) == (0, "")
    assert "2 units are still being measured" in err
    assert [p.stem for p in (out / "units").glob("*.json")] == ["table_fold-1"]
    # A training that begins now is alone; nothing waits for the others to join it.
    assert "WORLD_SIZE" not in os.environ
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    code, said, _ = crl(*words(dataset, out, "--fold", 1))
    assert code == 0
    assert (out / "report.html").exists()
    assert Share(1, 3).of("abcdefg") == ["b", "e"]  # type: ignore[arg-type]


def test_a_unit_that_another_process_holds_is_left_to_it(dataset: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    plan = Plan(dataset, tmp_path / "out", (Entry("identity", "analytic"),), only_folds=(1,))
    (unit,) = plan.units()
    job, told = UnitJob(plan, unit, "cpu"), []
    path = plan.unit_path(unit).with_suffix(".lock")
    path.parent.mkdir(parents=True)
    with FileLock(path):
        assert not measure_unit(job, lambda: None, told.append)
    assert not plan.measured(unit)
    assert "by another process" in told[0]
    assert measure_unit(job, lambda: None, told.append)
    assert plan.measured(unit)


def test_two_processes_measure_what_one_does(tmp_path: Path, crl: Run) -> None:
    dataset = make_dataset(tmp_path / "set")
    for number in (2, 3):
        shutil.rmtree(dataset / f"sub-0{number}" / "anat")
        shutil.copytree(dataset / "sub-01" / "anat", dataset / f"sub-0{number}" / "anat")
        for path in (dataset / f"sub-0{number}" / "anat").iterdir():
            path.rename(path.with_name(path.name.replace("sub-01", f"sub-0{number}")))
    names = "identity,table"
    one, two = tmp_path / "one", tmp_path / "two"
    crl(dataset, "-o", one, "--methods", names, "--fold", 1)
    assert crl(dataset, "-o", two, "--methods", names, "--fold", 1, "--jobs", 2)[0] == 0
    assert (one / "results.csv").read_text() == (two / "results.csv").read_text()


def test_stopping_between_images_leaves_the_unit_for_another_time(
    dataset: Path, tmp_path: Path
) -> None:
    plan = Plan(dataset, tmp_path / "out", (Entry("identity", "analytic"),), only_folds=(1,))
    (unit,) = plan.units()
    left = iter(range(4))

    def watch() -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_unit(UnitJob(plan, unit, "cpu"), watch)
    assert not plan.measured(unit)
    assert list(plan.unit_path(unit).parent.glob("*.json")) == []
