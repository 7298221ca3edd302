"""``crl check`` and ``crl mend`` as a person sees them, and the drawing of what a dataset holds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from crl_core.doctor import check_dataset
from crl_core.doctor.coverage import Setting, coverage_svg, coverage_table, settings_of
from crl_core.io.bids import sidecar_path
from crl_core.sequence import PAPER_SEQUENCES
from tests.core.doctor_data import (
    crl,
    edit,
    forget_header,
    image_of,
    make_dataset,
    printed_mends,
    snapshot,
)

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("made") / "set")


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "my set")


def test_a_clean_dataset_reads_as_tables_and_one_line(root: Path) -> None:
    code, out, err = crl("check", root)
    assert code == 0
    assert "Scans: 12 of 12" in err
    lines = out.splitlines()
    assert lines[-1] == "3 subjects, 12 scans: 0 errors, 0 warnings, 0 notes"
    assert [line for line in lines if line.startswith("sub-")] == ["sub-01", "sub-02", "sub-03"]
    flair = next(line for line in lines if "paper9 FLAIR" in line).split()
    assert " ".join(flair) == "paper9 FLAIR 8000 98.78 2025 sidecar 56x64x14 3x3x6 RAS 14 ok"
    spin_echo = next(line for line in lines if "paper7 T2w" in line).split()
    assert spin_echo[2:6] == ["8142", "104.2", "off", "sidecar"]
    assert "Errors" not in out
    assert "crl mend" not in out


def test_tables_tell_where_a_value_was_read(root: Path) -> None:
    edit(image_of(root, 1, 9), {"CRLParameterCertainty": {"TE": "nominal"}}, drop=["InversionTime"])
    out = crl("check", root, "--quick")[1]
    row = next(line for line in out.splitlines() if "paper9 FLAIR" in line)
    assert "TR sidecar, TE sidecar (nominal), TI header" in row


def test_json_holds_everything(root: Path) -> None:
    edit(image_of(root, 1, 7), {"EchoTime": 104.2})
    code, out, _ = crl("check", root, "--json", "--quick")
    assert code == 1
    found = json.loads(out)
    assert (found["errors"], found["warnings"], found["quick"]) == (1, 0, True)
    assert len(found["subjects"]) == 12
    row = found["subjects"][2]
    assert (row["te_ms"], row["te_certainty"], row["verdict"]) == (104.2, "stated", "milliseconds")
    (finding,) = found["findings"]
    assert finding["code"] == "milliseconds"
    assert finding["mend"].startswith("crl mend '")
    assert finding["automatic"] is True
    assert {"tr_ms": 8142.0, "te_ms": 104.2, "ti_ms": 0.0, "subjects": 3, "scans": 3} in found[
        "coverage"
    ]


def test_all_at_once_leaves_out_what_a_person_decides(root: Path) -> None:
    edit(image_of(root, 1, 7), {"EchoTime": 104.2})
    edit(image_of(root, 2, 9), {"RepetitionTime": 0.008})
    sidecar_path(image_of(root, 3, 5)).unlink()
    unknown = image_of(root, 3, 9)
    sidecar_path(unknown).unlink()
    forget_header(unknown)
    shutil.copy(image_of(root, 2, 1), image_of(root, 2, 7))
    out = crl("check", root)[1]
    assert f"What needs no decision (3) can be mended at once\n    crl mend '{root}' --all" in out
    code, out, _ = crl("mend", root, "--all")
    assert code == 0
    assert len(out.splitlines()) == 4
    assert out.splitlines()[-1] == f"Files as they were: {root / 'sourcedata' / 'mended'}"
    report = check_dataset(root)
    assert [(f.code, f.subject) for f in report.errors] == [
        ("copy", "sub-02"),
        ("sidecar-missing", "sub-03"),
    ]
    code, out, _ = crl("mend", root, "--all")
    assert (code, out) == (0, "There is nothing to mend that needs no decision.\n")


def test_a_gap_in_a_printed_command_is_refused_in_one_line(root: Path) -> None:
    for subject in (1, 2, 3):
        edit(image_of(root, subject, 9), drop=["InversionTime"])
        forget_header(image_of(root, subject, 9))
    out = crl("check", root, "--quick")[1]
    words = printed_mends(out)[0]
    before = snapshot(root)
    code, out, err = crl(*words)
    assert (code, out) == (1, "")
    assert "'8000,98.78,TI' still holds a name where a number belongs" in err
    assert err.count("\n") == 1
    assert snapshot(root) == before
    assert crl(*[word.replace(",TI", ",2025") for word in words])[0] == 0


def test_wrong_usage_of_mend(root: Path, tmp_path: Path) -> None:
    assert crl("mend", root)[0] == 2
    code, _, err = crl("mend", tmp_path / "none", "--all")
    assert code == 1
    assert "does not exist" in err


def test_train_is_refused_with_one_line_per_error(root: Path, tmp_path: Path) -> None:
    edit(image_of(root, 1, 7), {"EchoTime": 104.2})
    sidecar_path(image_of(root, 3, 5)).unlink()
    before = snapshot(tmp_path)
    code, out, err = crl("train", root, "-o", tmp_path / "run", "--steps", 1)
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert len(lines) == 3
    assert "sub-01_acq-paper7_T2w.nii.gz: " in lines[0]
    assert "Mend it with: crl mend" in lines[0]
    assert "it has no sidecar" in lines[1]
    assert lines[2] == f"Nothing was written. All findings: crl check '{root}'"
    assert snapshot(tmp_path) == before


# coverage ---------------------------------------------------------------------------------------


def test_settings_are_counted_by_subject(root: Path) -> None:
    edit(image_of(root, 2, 7), {"EchoTime": 0.1045})
    settings = settings_of(check_dataset(root, quick=True))
    assert [(s.tr, s.te, s.ti, s.subjects, s.scans) for s in settings] == [
        (8000, 10.42, 0, 3, 3),
        (8142, 104.2, 0, 3, 3),
        (2479, 9.62, 1055, 3, 3),
        (8000, 98.78, 2025, 3, 3),
    ]
    lines = coverage_table(settings).splitlines()
    assert lines[0].split() == ["TR", "ms", "TE", "ms", "TI", "ms", "subjects", "scans"]
    assert lines[3].split() == ["2479", "9.62", "1055", "3", "3"]


def test_the_drawing_shows_every_setting_and_the_paper(root: Path, tmp_path: Path) -> None:
    plot = tmp_path / "coverage.svg"
    assert crl("check", root, "--quick", "--plot", plot)[0] == 0
    drawing = ElementTree.parse(plot).getroot()
    assert drawing.tag == f"{SVG}svg"
    words = [text.text for text in drawing.iter(f"{SVG}text")]
    assert {"Repetition time TR (ms)", "Echo time TE (ms)", "no inversion"} <= set(words)
    assert words.count("3") == 4 + 1, "four settings of three subjects, and the paper's third"
    assert {str(n) for n in PAPER_SEQUENCES} <= set(words)
    code, _, err = crl("check", root, "--quick", "--plot", plot)
    assert code == 1
    assert "already exists" in err
    assert crl("check", root, "--quick", "--plot", plot, "--overwrite")[0] == 0
    code, _, err = crl("check", root, "--plot", tmp_path / "coverage.png")
    assert code == 1
    assert "End it with .svg" in err


def test_marks_never_cover_each_other() -> None:
    crowd = [Setting(8000 + 300 * i, 100 + i, ti, 2, 2) for i in range(4) for ti in (0, 160, 2000)]
    drawing = ElementTree.fromstring(coverage_svg(crowd))
    places = [
        (float(text.get("x")), float(text.get("y")))
        for text in drawing.iter(f"{SVG}text")
        if text.text == "2" and text.get("fill") == "white"
    ]
    assert len(places) == len(crowd)
    apart = [
        ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) ** 0.5
        for n, a in enumerate(places)
        for b in places[:n]
    ]
    assert min(apart) > 22


def test_an_empty_dataset_still_draws() -> None:
    assert "no inversion" in coverage_svg([])
