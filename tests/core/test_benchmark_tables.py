"""Tables and drawings from figures that are made up and known."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.io import imread

from crl_core.evaluation.benchmark.drawing import Drawing, grey, png, signed
from crl_core.evaluation.benchmark.figures import parameter_space
from crl_core.evaluation.benchmark.measure import METRICS
from crl_core.evaluation.benchmark.plan import Entry, Plan, Unit
from crl_core.evaluation.benchmark.protocol import Task
from crl_core.evaluation.benchmark.results import Results
from crl_core.evaluation.benchmark.tables import (
    block_table,
    comparison_table,
    duel_table,
    main_blocks,
    skill_table,
    table_2,
    table_3,
)
from crl_core.sequence import SequenceParameters
from tests.core.benchmark_data import protocol

WHAT = protocol((1, 5, 7, 9, 4), held=(4,), groups=(("5", "7"),))
PEOPLE = ("sub-01", "sub-02")


def row(person: str, task: Task, psnr: float | None, visit: str = "") -> dict[str, Any]:
    numbers = dict.fromkeys(METRICS, psnr) | {"ssim_gain": 0.9, "ssim": 0.9}
    place = {"person": person, "visit": visit or person, "tissues": "stated"}
    return {**place, "sources": list(task.sources), "target": task.target, **numbers}


def results(tmp_path: Path, **methods: list[tuple[int | None, list[dict[str, Any]]]]) -> Results:
    """Write units with given rows, a seed each, and read them back."""
    plan = Plan(tmp_path, tmp_path / "out", ())
    plan.__dict__["protocol"] = WHAT
    units = []
    kinds = {"table": "reference", "oracle": "reference", "crl": "network", "pgan": "network"}
    for name, found in methods.items():
        for seed, rows in found:
            unit = Unit(Entry(name, "preset"), 1, seed)
            path = plan.unit_path(unit)
            path.parent.mkdir(parents=True, exist_ok=True)
            kind = kinds.get(name, "baseline")
            about = {"method": name, "title": name, "kind": kind, "fold": 1, "seed": seed,
                     "test": list(PEOPLE), "training": {}, "rows": rows}  # fmt: skip
            path.write_text(json.dumps(about))
            units.append(unit)
    return Results(plan, units)


def everything(level: float, spread: float = 1.0) -> list[dict[str, Any]]:
    """Every task of two people: the level, more from source 7, and more for the second person."""
    tasks = WHAT.tasks(WHAT.contrasts)
    return [
        row(person, t, level + (2.0 if t.sources == ("7",) else 0.0) + spread * k)
        for k, person in enumerate(PEOPLE)
        for t in tasks
    ]


def test_table_3_averages_a_row_without_its_diagonal_and_stars_what_is_held_back(
    tmp_path: Path,
) -> None:
    rows = everything(20.0)
    for one in rows:
        if one["sources"] == ["7"] and one["target"] == "7":
            one["psnr_gain"] = 90.0
        if one["sources"] == ["7"] and one["target"] == "9":
            one["psnr_gain"] += 4.0
    found = results(tmp_path, crl=[(1, rows)])
    table = table_3(found, found.networks[0])
    assert table.head == ("from \\ to", "1", "5", "7", "9", "4*", "Avg")
    lines = {line[0]: line[1:] for line in table.rows}
    assert lines["7"] == ("22.50", "22.50", "90.00", "26.50", "22.50", "23.50")
    assert lines["4*"][-1] == "20.50"
    assert table.note == "* never seen in training."


def test_a_person_counts_once_however_many_visits_seeds_and_pairs(tmp_path: Path) -> None:
    a, b = Task(("5",), "7"), Task(("7",), "5")
    first = [row("sub-01", a, 20.0), row("sub-01", a, 24.0, "sub-01_ses-2"), row("sub-02", a, 30.0),
             row("sub-01", b, 10.0), row("sub-02", b, 10.0)]  # fmt: skip
    second = [row("sub-01", a, 26.0), row("sub-01", a, 26.0, "sub-01_ses-2"),
              row("sub-02", a, 32.0), row("sub-01", b, 12.0), row("sub-02", b, None)]  # fmt: skip
    found = results(tmp_path, crl=[(1, first), (2, second)])
    method = found.methods["crl"]
    assert method.people("psnr_gain", [a]) == {"sub-01": 24.0, "sub-02": 31.0}
    assert method.people("psnr_gain", [a, b]) == {"sub-01": 17.5, "sub-02": 20.5}
    table = table_2(found)
    cells = dict(zip(table.head, table.rows[0], strict=True))
    assert cells["PD to T2"] == "27.50±4.95"
    assert cells["PD to T1-FLAIR"] == "-"


def test_errors_of_ratios_do_not_cancel_between_people(tmp_path: Path) -> None:
    task = Task(("5",), "7")
    rows = [row("sub-01", task, 20.0), row("sub-02", task, 20.0)]
    rows[0]["grey_white_percent"], rows[1]["grey_white_percent"] = 6.0, -4.0
    found = results(tmp_path, crl=[(1, rows)])
    spread = found.spread("crl", "grey_white_percent", [task])
    assert spread is not None
    assert spread.mean == pytest.approx(5.0)
    # No error at all is a figure, not a missing one.
    rows[1]["grey_white_percent"] = 0.0
    found = results(tmp_path, crl=[(1, rows)])
    assert found.methods["crl"].people("grey_white_percent", [task])["sub-02"] == 0.0


def test_a_mean_over_other_pairs_is_not_set_beside_the_rest(tmp_path: Path) -> None:
    pairs = {("5",): "7", ("7",): "5"}
    some = [r for r in everything(30.0) if pairs.get(tuple(r["sources"])) == r["target"]]
    found = results(tmp_path, identity=[(None, everything(15.0))], crl=[(1, everything(20.0))],
                    pgan=[(1, some)])  # fmt: skip
    assert [m.name for m in found.whole_networks] == ["crl"]
    names = [line[0] for line in block_table(found, "psnr_gain", main_blocks(found)[0]).rows]
    assert names == ["identity", "crl"]
    two = {line[0]: line for line in table_2(found).rows}
    assert two["pgan"][5] == "30.50±0.71"  # PD to T2
    assert two["pgan"][1] == "-"
    duel = {line[0]: line for line in duel_table(found).rows}
    assert set(duel) == {"5>7", "7>5"}
    assert duel["7>5"][1:3] == ("crl - pgan", "-10.00")


def test_networks_are_set_against_the_best_baseline_and_never_against_the_answer(
    tmp_path: Path,
) -> None:
    found = results(
        tmp_path, identity=[(None, everything(15.0))], learnt=[(None, everything(18.0, 2.0))],
        table=[(None, everything(19.5))], oracle=[(None, everything(29.5))],
        crl=[(1, everything(24.5))],
    )  # fmt: skip
    lines = {line[0]: line for line in comparison_table(found).rows}
    assert lines["to 4"][1:4] == ("crl", "learnt", "+6.00")
    assert lines["to 4"][4] == "+5.50 to +6.50"
    assert lines["to 4"][6] == "2"
    skill = {line[0]: line for line in skill_table(found, "psnr_gain", ["to 4"]).rows}
    assert skill["crl"][1] == "0.50"
    assert set(skill) == {"identity", "learnt", "crl"}
    summary = found.summary()["to 4"]["methods"]["crl"]
    assert summary["skill"] == pytest.approx(0.5)
    assert summary["against the best baseline"]["dB"] == pytest.approx(6.0)


def test_a_long_list_of_blocks_runs_downwards(tmp_path: Path) -> None:
    found = results(tmp_path, crl=[(1, everything(20.0))])
    main, several = main_blocks(found)
    assert main == ["seen to seen", "to 4", "from 4", "identity"]
    assert several == ["one source to 1, 9", "5+7 to 1, 9", "5+7 to 4"]
    wide = block_table(found, "psnr_gain", main)
    assert (wide.head[0], wide.head[1:]) == ("method", tuple(main))
    tall = block_table(found, "psnr_gain", [*main, *several, *main])
    assert tall.head == ("block", "crl")
    assert tall.rows[1] == ("to 4", "21.00±0.71")


def test_tables_take_the_folds_that_every_method_was_measured_on(tmp_path: Path) -> None:
    first = results(tmp_path, crl=[(1, everything(20.0))], learnt=[(None, everything(18.0))])
    plan, other = first.plan, Unit(Entry("learnt", "preset"), 2)
    told = json.loads(plan.unit_path(first.units_of("learnt")[0]).read_text())
    more = [r | {"person": "sub-03", "psnr_gain": 90.0} for r in told["rows"]]
    plan.unit_path(other).write_text(json.dumps(told | {"fold": 2, "rows": more}))
    found = Results(plan, [*first.units_of("crl"), *first.units_of("learnt"), other])
    assert (found.folds, found.left_out) == ((1,), (2,))
    assert block_table(found, "psnr_gain", ["to 4"]).rows[1] == ("learnt", "19.00±0.71")
    assert "sub-03" in {line[4] for line in found.long_rows()[1]}
    alone = Results(plan, [*first.units_of("crl"), other])
    assert alone.folds == ()
    assert block_table(alone, "psnr_gain", ["to 4"]).rows[1] == ("learnt", "90.00")


def test_the_long_table_has_a_line_for_every_image(tmp_path: Path) -> None:
    found = results(tmp_path, crl=[(1, everything(20.0)), (2, everything(21.0))])
    head, lines = found.long_rows()
    tasks = WHAT.tasks(WHAT.contrasts)
    assert len(lines) == 2 * 2 * len(tasks)
    one = dict(zip(head, lines[0], strict=True))
    assert (one["method"], one["kind"], one["fold"], one["seed"]) == ("crl", "network", 1, 1)
    assert {line[head.index("block")] for line in lines} == {WHAT.blocks(t)[0] for t in tasks}


# drawings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3)])
def test_pictures_are_png_that_others_read(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(imread(io.BytesIO(png(pixels))), pixels)


def test_grey_runs_from_zero_to_the_peak_and_clips() -> None:
    image = np.array([[-0.5, 0.0, 0.5, 1.0, 3.0]], np.float32)
    assert grey(image)[0].tolist() == [0, 0, 128, 255, 255]


def test_errors_are_red_above_blue_below_white_at_none_and_grey_where_nothing_is_judged() -> None:
    error = np.array([[0.2, -0.2, 0.0, 0.9, 0.1]], np.float32)
    mask = np.array([[True, True, True, True, False]])
    red, blue, none, beyond, outside = signed(error, mask)[0].astype(int).tolist()
    assert red[0] > 150 > 80 > max(red[1:])
    assert blue[2] > 150 > 80 > max(blue[:2])
    assert none == [255, 255, 255]
    assert beyond == red
    assert len(set(outside)) == 1
    assert 150 < outside[0] < 255


def test_names_in_drawings_cannot_break_out_of_them() -> None:
    drawing = Drawing(100, 50)
    drawing.text(1, 2, "<script>&", fill='"x"')
    drawing.synthetic(0, 0, 80)
    root = ET.fromstring(drawing.svg("a < b"))
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["<script>&", "SYNTHETIC"]


def test_the_space_of_parameters_shows_each_contrast_and_rings_what_is_held_back() -> None:
    root = ET.fromstring(parameter_space(protocol(held=(4, 6))))
    space = "{http://www.w3.org/2000/svg}"
    circles = list(root.iter(f"{space}circle"))
    assert len(circles) == 2 * 9 + 2
    rings = [c for c in circles if c.get("fill") == "#fff"]
    assert len(rings) == 2 * 2 + 1
    # Longer echoes lie further right in both panels.
    names: dict[str | None, list[float]] = {}
    for text in root.iter(f"{space}text"):
        if text.get("font-weight") == "bold":
            names.setdefault(text.text, []).append(float(text.get("x", "0")))
    assert set(names) == set("123456789")
    named = protocol((5, 7), extra={"a long name": SequenceParameters(3000, 30)})
    texts = [t.text for t in ET.fromstring(parameter_space(named)).iter(f"{space}text")]
    assert texts.count("c") == 2
    assert "c: a long name" in texts
    assert not any("held back" in (text or "") for text in texts)
    for panel in (0, 1):
        assert names["5"][panel] < names["6"][panel] < names["4"][panel] < names["7"][panel]


def test_a_method_does_not_gain_by_failing_where_it_is_hard(tmp_path: Path) -> None:
    easy, hard = Task(("5",), "7"), Task(("7",), "5")
    both = [row("sub-01", easy, 30.0), row("sub-01", hard, 20.0),
            row("sub-02", easy, 30.0), row("sub-02", hard, 20.0)]  # fmt: skip
    worse = [row("sub-01", easy, 29.0), row("sub-01", hard, 19.0), row("sub-02", easy, 29.0)]
    nothing = dict.fromkeys(METRICS) | {"person": "sub-02", "visit": "sub-02"}
    nan = {**row("sub-02", hard, None), **nothing}
    for name, rows in {"lacks": worse, "nan": [*worse, nan]}.items():
        found = results(tmp_path / name, crl=[(1, both)], pgan=[(1, rows)])
        apart = found.against("crl", "pgan", [easy, hard])
        assert apart is not None
        assert apart.mean == pytest.approx(1.0)
        assert (apart.low, apart.high) == pytest.approx((1.0, 1.0))
        # Its own mean would be over easier images than the other's.
        assert found.spread("pgan", "psnr_gain", [easy, hard]) is None
        assert found.spread("pgan", "psnr_gain", [easy]) is not None
        assert found.spread("crl", "psnr_gain", [easy, hard]) is not None


def test_skill_compares_table_oracle_and_network_on_the_same_images(tmp_path: Path) -> None:
    easy, hard = Task(("5",), "7"), Task(("7",), "5")
    every = [(p, t) for p in PEOPLE for t in (easy, hard)]
    level = {easy: 10.0, hard: 0.0}
    table = [row(p, t, 18.0 + level[t]) for p, t in every]
    network = [row(p, t, 20.0 + level[t]) for p, t in every]
    # True maps of one person only, and there of everything.
    oracle = [row("sub-01", t, 22.0 + level[t]) for t in (easy, hard)]
    found = results(tmp_path, table=[(None, table)], oracle=[(None, oracle)], crl=[(1, network)])
    assert found.skill("crl", [easy, hard]) == pytest.approx(0.5)
    some = results(
        tmp_path / "b", table=[(None, table)], oracle=[(None, oracle[:1])], crl=[(1, network)]
    )
    assert some.skill("crl", [easy, hard]) is None
    assert some.skill("crl", [easy]) == pytest.approx(0.5)
