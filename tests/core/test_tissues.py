"""The tissue table: ranges, and a source for every number."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from crl_core.errors import InputError
from crl_core.physics.tissues import (
    GROUPS,
    draw_table,
    labels_to_tissues,
    tissue,
    tissue_index,
    tissue_names,
    tissues,
    usual_table,
)
from crl_core.resources import resource


def test_every_number_is_a_range_with_its_own_source() -> None:
    table = json.loads(resource("tissues.json").read_text(encoding="utf-8"))
    sources = table["sources"]
    used = set()
    for name, entry in table["tissues"].items():
        assert entry["group"] in GROUPS
        for quantity in (entry["pd"], *(entry[f][t] for f in ("1.5", "3") for t in ("t1", "t2"))):
            low, usual, high = quantity["range"]
            assert 0 <= low <= usual <= high, name
            assert low < high or name == "air", name
            assert quantity["from"], name
            used |= set(quantity["from"])
    assert used == set(sources)
    for source in sources.values():
        assert source["how"] in (
            "abstract or table read", "quoted by another source", "working value",
        )  # fmt: skip
        assert len(source["text"]) > 40


def test_brain_and_fluid_rest_on_publications_alone() -> None:
    """What a user compares with a scan of a brain is cited; working values are for the rest."""
    for strength in (1.5, 3.0):
        for name in ("white matter", "cortical grey matter", "cerebrospinal fluid"):
            for quantity in ("t1", "t2"):
                texts = tissue(name, strength).cited[quantity]
                assert any("[working value]" not in text for text in texts), (name, quantity)


def test_the_sources_of_a_tissue_are_those_of_its_numbers() -> None:
    t = tissue("white matter")
    assert set(t.cited) == {"pd", "t1", "t2"}
    assert any("Wansapura" in text for text in t.cited["t1"])
    assert not any("Wansapura" in text for text in t.cited["pd"])
    assert set(t.sources) == {text for texts in t.cited.values() for text in texts}


def test_ranges_hold_the_measurements_they_cite() -> None:
    """3 T values as printed in the publications named."""
    measured = {
        "white matter": [(832, 79.6), (1084, 69), (939, 62)],
        "cortical grey matter": [(1331, 110), (1820, 99), (1310, 71)],
        "muscle": [(1412, 50), (1420, 32), (898, 29)],
        "cerebrospinal fluid": [(4308.7, 1885.5), (4163, 2020), (3817, 2000)],
        "ventricular fluid": [(4454, 2372.9)],
        "arterial blood": [(1664, 165), (1932, 275)],
        "venous blood": [(1584, 80), (1852, 80)],
        "fat": [(371, 133), (382, 125)],
        "white matter lesion": [(1350, 100)],
        "glioma": [(1863, 200), (2400, 115)],
        "oedema": [(1261, 150)],
    }
    for name, values in measured.items():
        t = tissue(name, 3.0)
        for t1, t2 in values:
            assert t.t1[0] <= t1 <= t.t1[2], (name, t1)
            assert t.t2[0] <= t2 <= t.t2[2], (name, t2)


def test_tissues_keep_their_order() -> None:
    for strength in (1.5, 3.0):
        usual = {t.name: t for t in tissues(strength)}
        brain = ("pallidum", "white matter", "cortical grey matter", "glioma", "necrosis",
                 "cerebrospinal fluid")  # fmt: skip
        t2 = [usual[n].t2[1] for n in brain]
        assert t2 == sorted(t2)
        for t in usual.values():
            assert t.t2[1] < t.t1[1]
    for t in tissues(1.5)[1:]:
        if t.group == "solid" and "bone" not in t.name and "eye" not in t.name:
            assert t.t1[1] <= tissue(t.name, 3.0).t1[1], t.name


def test_air_is_the_first_row_and_unknown_labels_become_air(labels: NDArray[np.int16]) -> None:
    assert tissue_names()[0] == "air"
    found = labels_to_tissues(np.array([0, 2, 9999, -4, 514, 502, 136]))
    assert found.tolist() == [
        0, tissue_index("white matter"), 0, 0, tissue_index("venous blood"),
        tissue_index("arterial blood"), tissue_index("choroid plexus"),
    ]  # fmt: skip


def test_a_tissue_nobody_knows_is_refused_with_the_names() -> None:
    with pytest.raises(InputError, match=r"'brain' is no tissue.*white matter"):
        tissue("brain")


def test_subjects_differ_but_stay_in_the_published_range() -> None:
    tables = [draw_table(np.random.default_rng(seed)) for seed in range(30)]
    white = np.array([t[tissue_index("white matter"), 1] for t in tables])
    low, _, high = tissue("white matter").t1
    assert low <= white.min() < white.max() <= high
    wide = [draw_table(np.random.default_rng(s), wide=1.0) for s in range(30)]
    assert max(t[tissue_index("white matter"), 1] for t in wide) > high


def test_the_usual_table_is_the_middle_of_the_ranges() -> None:
    table = usual_table(1.5)
    for row, t in enumerate(tissues(1.5)):
        assert table[row].tolist() == pytest.approx([t.pd[1], t.t1[1], t.t2[1]])
