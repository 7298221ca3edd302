"""The command line: exit codes, one line on refusal, and the library's own results."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from crl_core import __version__
from crl_core.card import Card
from crl_core.checkpoint import load_checkpoint, save_checkpoint
from crl_core.cli import main
from crl_core.cli.common import progress_bar
from crl_core.cli.simulating import choose_sequences
from crl_core.cli.training_show import EventLines
from crl_core.io import bids, load, save
from crl_core.models import build_model, preset_config
from crl_core.scan import Scan
from crl_core.sequence import PAPER_SEQUENCES, PRESETS, SequenceParameters
from crl_core.synthesis import Synthesizer
from crl_core.trust import TrainingCoverage

SMALL = {"widths": [8, 8], "code_width": 8, "residual_width": 4, "atoms": 8, "entries": 8}
AFFINE = np.array([[-1.0, 0, 0, 90], [0, 1.0, 0, -100], [0, 0, 5.0, -30], [0, 0, 0, 1]])
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def crl(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Call the command in this process; returns exit code, stdout and stderr."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # put back afterwards

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        code = left.value.code
        return (0 if code is None else int(code)), captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network with random weights."""
    import torch

    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    card = Card(
        name="tiny",
        preset="crl-plus",
        architecture=preset_config("crl-plus") | SMALL,
        intensity_rule="robust",
        in_plane_mm=None,
        coverage=TrainingCoverage(tuple(PAPER_SEQUENCES[n] for n in (1, 5, 7, 9))),
        training={},
        metrics={},
    )
    save_checkpoint(path, build_model("crl-plus", **SMALL), card)
    return path


def head(gain: float = 500.0, seed: int = 0) -> np.ndarray:
    """An ellipsoid of smooth texture in noise, (x, y, z)."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (40, 36, 3)), indexing="ij")
    inside = (x**2 + y**2) < 0.6
    texture = 1 + 0.4 * np.cos(4 * x + seed) * np.sin(5 * y + z)
    noise = np.random.default_rng(seed).normal(0, 0.01, x.shape)
    return (gain * np.abs(inside * texture + noise)).astype(np.float32)


def write(path: Path, parameters: SequenceParameters | None = None, **kwargs: Any) -> Path:
    save(Scan(head(**kwargs), AFFINE, "x", parameters), path)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "source.nii.gz", SequenceParameters(600, 10))


def one_line(err: str) -> str:
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err


# the command itself -----------------------------------------------------------------------------


def test_version(crl: Run) -> None:
    assert crl("--version") == (0, f"crl {__version__}\n", "")


@pytest.mark.parametrize("words", [["--help"], ["synth", "--help"], ["train", "-h"]])
def test_help_imports_neither_torch_nor_nibabel(words: list[str]) -> None:
    code = (
        "import sys\nfrom crl_core.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as left:\n    assert not left.code\n"
        "heavy = {'torch', 'nibabel', 'scipy', 'PySide6'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Usage: crl" in done.stdout


def test_unknown_command_and_missing_option_are_wrong_usage(crl: Run, source: Path) -> None:
    assert crl("synthesise")[0] == 2
    assert crl("synth", source)[0] == 2
    assert crl("inspect")[0] == 2


def test_traceback_only_with_debug(tmp_path: Path) -> None:
    line = [sys.executable, "-c", "from crl_core.cli import main; main()", "inspect"]
    missing = str(tmp_path / "none.nii")
    plain = subprocess.run([*line, missing], capture_output=True, text=True, check=False)
    assert (plain.returncode, plain.stdout) == (1, "")
    assert "does not exist" in one_line(plain.stderr)
    debug = subprocess.run([*line, missing, "--debug"], capture_output=True, text=True, check=False)
    assert debug.returncode == 1
    assert "Traceback" in debug.stderr


def test_a_bug_is_one_line_as_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], source: Path
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("oops\nsecond line")

    monkeypatch.setattr("crl_core.io.inspect.describe", broken)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(KeyError) as caught:
        main(["inspect", str(source)])
    sys.excepthook(KeyError, caught.value, None)
    assert "Internal error (KeyError" in one_line(capsys.readouterr().err)


def test_progress_is_a_bar_on_a_terminal_and_plain_lines_elsewhere(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> str:
        with progress_bar("Slices") as show:
            for done in range(1, 41):
                show(done, 40)
        return capsys.readouterr().err

    plain = work().splitlines()
    assert plain[-1] == "Slices: 40 of 40"
    assert len(plain) == 11
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert "\x1b[" in work()


# synth ------------------------------------------------------------------------------------------


def test_synth_writes_exactly_what_the_library_renders(
    crl: Run, checkpoint: Path, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "results" / "out.nii.gz"
    words = ("--tr", 8000, "--te", 98.78, "--ti", 2025, "--checkpoint", checkpoint, "-o", out)
    code, text, _ = crl("synth", source, *words)
    assert (code, text.strip()) == (0, str(out))
    engine = Synthesizer(load_checkpoint(checkpoint))
    engine.set_sources([load(source)])
    expected = engine.render_volume(PAPER_SEQUENCES[9])
    image = nib.load(out)
    assert image.get_data_dtype() == np.float32
    np.testing.assert_array_equal(np.asarray(image.dataobj), expected)
    np.testing.assert_array_equal(image.affine, nib.load(source).affine)
    sidecar = json.loads((tmp_path / "results" / "out.json").read_text())
    assert sidecar["Synthetic"] is True
    assert sidecar["Model"]["Name"] == "tiny"
    assert sidecar["InversionTime"] == 2.025
    assert "source.nii" not in json.dumps(sidecar), "file names stay out of exports"


def test_synth_in_source_units(crl: Run, checkpoint: Path, source: Path, tmp_path: Path) -> None:
    words = ("synth", source, "--tr", 600, "--te", 10, "--checkpoint", checkpoint)
    assert crl(*words, "-o", tmp_path / "m.nii")[0] == 0
    assert crl(*words, "-o", tmp_path / "s.nii", "--units", "source")[0] == 0
    scale = load(source).scale
    np.testing.assert_array_equal(
        load(tmp_path / "s.nii").data, scale.to_source(load(tmp_path / "m.nii").data)
    )


def test_many_contrasts_from_two_sources(
    crl: Run, checkpoint: Path, source: Path, tmp_path: Path
) -> None:
    second = write(tmp_path / "second.nii", seed=1)
    words = ["--at", "8000,100,0", "--at", "2500,10,1050", "--checkpoint", checkpoint]
    words += ["--source-params", "600,10", "--source-params", "5000,90,0"]
    code, text, _ = crl("synth", source, second, *words, "-o", tmp_path / "many")
    assert code == 0
    names = ["synthetic_tr8000_te100_ti0.nii.gz", "synthetic_tr2500_te10_ti1050.nii.gz"]
    assert [Path(line).name for line in text.split()] == names
    engine = Synthesizer(load_checkpoint(checkpoint))
    engine.set_sources([load(source), load(second, parameters=SequenceParameters(5000, 90))])
    for name, wanted in zip(names, [(8000, 100, 0), (2500, 10, 1050)], strict=True):
        expected = engine.render_volume(SequenceParameters(*wanted))
        np.testing.assert_array_equal(load(tmp_path / "many" / name).data, expected)
    # One triple is enough where only one file carries no parameters.
    words[words.index("--source-params") :] = ["--source-params", "5000,90,0"]
    assert crl("synth", source, second, *words, "-o", tmp_path / "again")[0] == 0
    first, again = (load(tmp_path / folder / names[0]).data for folder in ("many", "again"))
    np.testing.assert_array_equal(first, again)


@pytest.fixture(scope="module")
def doubting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network of another kind, that knows fat and how far off it may be."""
    import torch

    from crl_core.models import build_from_config

    torch.manual_seed(4)
    architecture = {
        "kind": "mixture", "widths": [6, 8], "code_width": 6, "residual_width": 4,
        "atoms": 34, "entries": 40,  # fat is among the last
    }
    path = tmp_path_factory.mktemp("checkpoint") / "doubting.safetensors"
    card = Card(
        name="doubting", preset="crl-plus", architecture=architecture, intensity_rule="robust",
        in_plane_mm=1.0, coverage=TrainingCoverage(points=(PAPER_SEQUENCES[7],)), training={},
        metrics={},
    )  # fmt: skip
    save_checkpoint(path, build_from_config(architecture), card)
    return path


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network of the kind that crl-plus was before."""
    from crl_core.models import build_from_config

    path = tmp_path_factory.mktemp("checkpoint") / "older.safetensors"
    architecture = {"kind": "plus", "widths": [8, 8], "code_width": 8, "residual_width": 4}
    card = Card(
        name="older", preset="crl-plus", architecture=architecture, intensity_rule="robust",
        in_plane_mm=1.0, coverage=TrainingCoverage(points=(PAPER_SEQUENCES[7],)), training={},
        metrics={},
    )  # fmt: skip
    save_checkpoint(path, build_from_config(architecture), card)
    return path


def test_expected_errors_are_written_beside_the_image_and_say_what_they_are(
    crl: Run, doubting: Path, older: Path, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.nii.gz"
    words = ("synth", source, "--tr", 4000, "--te", 80, "--expected-error", "-o", out)
    code, text, _ = crl(*words, "--checkpoint", doubting, "--units", "source")
    beside = tmp_path / "out_expected-error.nii.gz"
    assert (code, text.split()) == (0, [str(out), str(beside)])
    engine = Synthesizer(load_checkpoint(doubting))
    engine.set_sources([load(source)])
    wanted = engine.expected_volume(SequenceParameters(4000, 80))
    assert wanted is not None
    scale = load(source).scale
    np.testing.assert_allclose(load(beside).data, wanted * scale.scale, rtol=1e-5)
    sidecar = json.loads((tmp_path / "out_expected-error.json").read_text())
    assert sidecar["Quantity"] == "expected absolute error"
    assert sidecar["Synthetic"] is True
    assert "Quantity" not in json.loads((tmp_path / "out.json").read_text())
    # The older result is not overwritten, and a network that does not tell says so.
    assert crl(*words, "--checkpoint", doubting)[0] == 1
    code, text, err = crl(*words[:-1], tmp_path / "b.nii", "--checkpoint", older)
    assert (code, text.split()) == (0, [str(tmp_path / "b.nii")])
    assert "older does not tell how far off it is" in err


def test_expected_errors_never_take_the_place_of_a_source(
    crl: Run, doubting: Path, tmp_path: Path
) -> None:
    source = write(tmp_path / "x_expected-error.nii.gz", SequenceParameters(600, 10))
    before = source.read_bytes()
    words = ("synth", source, "--tr", 4000, "--te", 80, "--checkpoint", doubting, "--overwrite")
    code, _, err = crl(*words, "--expected-error", "-o", tmp_path / "x.nii.gz")
    assert code == 1
    assert "would overwrite a source" in err
    assert source.read_bytes() == before


def test_fat_suppression_is_asked_for_and_written_down(
    crl: Run, doubting: Path, older: Path, source: Path, tmp_path: Path
) -> None:
    words = ("synth", source, "--checkpoint", doubting)
    many = ("--at", "8000,100,0", "--at", "8000,100,0,fs", "-o", tmp_path / "many")
    assert crl(*words, *many)[0] == 0
    names = [f"synthetic_tr8000_te100_ti0{end}" for end in ("", "_fs")]
    plain, suppressed = (load(tmp_path / "many" / f"{name}.nii.gz").data for name in names)
    assert (plain - suppressed).max() > 0.01
    told = [json.loads((tmp_path / "many" / f"{name}.json").read_text()) for name in names]
    assert [t.get("FatSuppression") for t in told] == [None, True]
    out = tmp_path / "one.nii"
    assert crl(*words, "--tr", 8000, "--te", 100, "--fat-suppression", "-o", out)[0] == 0
    np.testing.assert_array_equal(load(out).data, suppressed)
    # A network that was never told must not write files that claim it.
    words = ("synth", source, "--tr", 8000, "--te", 100, "-o", tmp_path / "no.nii")
    code, _, err = crl(*words, "--checkpoint", older, "--fat-suppression")
    assert code == 1
    assert "'older' was never told of fat suppression" in err
    assert not (tmp_path / "no.nii").exists()
    words = ("synth", source, "--checkpoint", doubting)
    # What the source was acquired with counts as well.
    fat = ("--source-params", "600,10,0,fs", "-o", tmp_path / "told.nii")
    assert crl(*words, "--tr", 8000, "--te", 100, *fat)[0] == 0
    assert np.abs(load(tmp_path / "told.nii").data - plain).max() > 1e-4


def test_sources_on_different_grids_come_to_that_of_the_first(
    crl: Run, checkpoint: Path, source: Path, tmp_path: Path
) -> None:
    """The second scan has the same head upside down on a shifted grid of its own."""
    flipped = AFFINE @ np.array([[1, 0, 0, 0], [0, -1, 0, 35], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    later = tmp_path / "later.nii.gz"
    save(Scan(head(seed=1)[:, ::-1], flipped, "x", SequenceParameters(5000, 90)), later)
    plain = write(tmp_path / "plain.nii.gz", SequenceParameters(5000, 90), seed=1)
    words = ["--tr", 8000, "--te", 40, "--checkpoint", checkpoint, "-o"]
    code, _, err = crl("synth", source, later, *words, tmp_path / "a.nii")
    assert code == 0
    assert "Resampled" in err
    assert crl("synth", source, plain, *words, tmp_path / "b.nii")[0] == 0
    a, b = (load(tmp_path / name).data for name in ("a.nii", "b.nii"))
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_checkpoint_left_out_or_named_is_a_bundled_one(
    crl: Run, checkpoint: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(checkpoint.parent, tmp_path / "checkpoints")
    monkeypatch.setattr("crl_core.checkpoint.resource_root", lambda: tmp_path)
    words = ("synth", source, "--tr", 600, "--te", 10)
    assert crl(*words, "-o", tmp_path / "default.nii")[0] == 0
    assert crl(*words, "-o", tmp_path / "named.nii", "--checkpoint", "tiny")[0] == 0
    assert crl(*words, "-o", tmp_path / "path.nii", "--checkpoint", checkpoint)[0] == 0
    default, named, path = (load(tmp_path / f"{n}.nii").data for n in ("default", "named", "path"))
    np.testing.assert_array_equal(default, path)
    np.testing.assert_array_equal(named, path)
    code, _, err = crl(*words, "-o", tmp_path / "none.nii", "--checkpoint", "huge")
    assert code == 1
    assert "one of tiny" in one_line(err)


def test_extrapolation_and_notes_are_told(crl: Run, checkpoint: Path, tmp_path: Path) -> None:
    data = head()
    data[0, 0, 0] = np.nan
    image = nib.Nifti1Image(data, AFFINE)
    image.header["descrip"] = b"TE=10;TR=600;TI=0"
    image.to_filename(tmp_path / "a.nii")
    words = ("--tr", 300, "--te", 250, "--checkpoint", checkpoint, "-o", tmp_path / "o.nii")
    code, out, err = crl("synth", tmp_path / "a.nii", *words)
    assert code == 0
    assert "not a finite number set to 0" in err
    assert "Extrapolating" in err
    assert out.strip() == str(tmp_path / "o.nii")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--tr", "2000", "--te", "100", "--ti", "1950"], "TR 2000 ms is too short"),
        (["--tr", "-5", "--te", "100"], "TR -5 ms is not a usable value"),
        (["--tr", "8000", "--te", "nan"], "TE nan ms is not a usable value"),
        (["--tr", "600", "--te", "10", "--source-params", "50,60"], "TR 50 ms is too short"),
        (["--tr", "600", "--te", "10", "--checkpoint", "none.pth"], "none.pth: does not exist"),
    ],
)
def test_impossible_parameters_are_refused(
    crl: Run, source: Path, tmp_path: Path, words: list[str], told: str
) -> None:
    code, out, err = crl("synth", source, *words, "-o", tmp_path / "o.nii")
    assert (code, out) == (1, "")
    assert told in one_line(err)
    assert not (tmp_path / "o.nii").exists()


def test_a_source_without_parameters_is_refused_with_the_remedy(crl: Run, tmp_path: Path) -> None:
    bare = write(tmp_path / "bare.nii")
    code, _, err = crl("synth", bare, "--tr", 600, "--te", 10, "-o", tmp_path / "o.nii")
    assert code == 1
    assert "--source-params" in one_line(err)
    assert str(bare) in err


@pytest.mark.parametrize(
    "words",
    [
        ["--tr", "8000"],
        ["--at", "8000"],
        ["--at", "eight,one,two"],
        ["--at", "8000,100", "--tr", "8000", "--te", "100"],
        ["--at", "8000,100", "--at", "600,10"],
        ["--at", "8000,100,0", "--at", "8000,100"],
        ["--tr", "600", "--te", "10", "--units", "percent"],
        ["--tr", "600", "--te", "10", "--source-params", "1,2,3", "--source-params", "1,2,3"],
        ["--tr", "600", "--te", "10", "--device", "nonsense"],
    ],
)
def test_wrong_usage_of_synth(
    crl: Run, checkpoint: Path, source: Path, tmp_path: Path, words: list[str]
) -> None:
    line = ("synth", source, *words, "--checkpoint", checkpoint, "-o", tmp_path / "o.nii.gz")
    code, out, err = crl(*line)
    assert (code, out) == (2, "")
    assert "Error: " in err
    assert not (tmp_path / "o.nii.gz").exists()


def test_results_are_never_overwritten_by_surprise(
    crl: Run, checkpoint: Path, source: Path, tmp_path: Path
) -> None:
    words = ("synth", source, "--tr", 600, "--te", 10, "--checkpoint", checkpoint)
    out = tmp_path / "o.nii.gz"
    out.write_text("mine")
    code, _, err = crl(*words, "-o", out)
    assert code == 1
    assert "already exists" in one_line(err)
    assert out.read_text() == "mine"
    assert crl(*words, "-o", out, "--overwrite")[0] == 0
    code, _, err = crl(*words, "-o", source, "--overwrite")
    assert code == 1
    assert "would overwrite a source" in one_line(err)
    twin = source.with_name(source.name.removesuffix(".gz"))
    code, _, err = crl(*words, "-o", twin, "--overwrite")
    assert code == 1
    assert "its sidecar" in one_line(err)
    assert not twin.exists()
    (tmp_path / "plain.txt").touch()
    assert "neither a folder nor" in one_line(crl(*words, "-o", tmp_path / "plain.txt")[2])


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(
    crl: Run, source: Path, tmp_path: Path
) -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    bad = tmp_path / "bad.pth"
    bad.write_bytes(pickle.dumps({"model": Bomb()}))
    words = ("--tr", 600, "--te", 10, "--checkpoint", bad, "-o", tmp_path / "o.nii")
    code, _, err = crl("synth", source, *words)
    assert code == 1
    assert "bad.pth" in one_line(err)
    assert not (tmp_path / "ran").exists()


# inspect ----------------------------------------------------------------------------------------


def test_inspect_json_and_words(crl: Run, source: Path) -> None:
    code, out, err = crl("inspect", source, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["repetition_time_ms"] == 600
    assert found["inversion_time_ms"] == 0
    assert "source.json" in found["echo_time_ms_origin"]
    code, out, _ = crl("inspect", source)
    assert "600 ms  (BIDS sidecar source.json)" in out
    assert "off (no inversion)" in out


def test_inspect_unknown_is_null(crl: Run, tmp_path: Path) -> None:
    bare = write(tmp_path / "bare.nii")
    found = json.loads(crl("inspect", bare, "--json")[1])
    assert found["repetition_time_ms"] is None
    assert found["repetition_time_ms_origin"] is None
    assert re.search(r"repetition time +unknown\n", crl("inspect", bare)[1])


def test_inspect_checkpoint(crl: Run, checkpoint: Path) -> None:
    code, out, _ = crl("inspect", checkpoint)
    assert code == 0
    assert "tiny" in out


def test_inspect_milliseconds_in_a_sidecar(crl: Run, source: Path) -> None:
    fields = {"RepetitionTime": 8000, "EchoTime": 0.1}
    bids.sidecar_path(source).write_text(json.dumps(fields))
    code, _, err = crl("inspect", source)
    assert code == 1
    assert "Write 8 if 8000 ms was meant" in one_line(err)


# simulate, train, evaluate ----------------------------------------------------------------------


def test_sequences_by_name() -> None:
    assert list(choose_sequences("", []).values()) == list(PAPER_SEQUENCES.values())
    assert choose_sequences("t1w, T2-FLAIR", []) == {
        "T1w": PRESETS["T1w"],
        "T2-FLAIR": PRESETS["T2-FLAIR"],
    }
    both = choose_sequences("paper", ["3000,30,300"])
    assert len(both) == 10
    assert both["tr3000te30ti300"] == SequenceParameters(3000, 30, 300)


def label_map(path: Path, size: int = 40) -> Path:
    """A ball: white matter in grey matter in fluid; voxels of 1 mm."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, size)] * 3, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    labels = np.select([radius < 0.5, radius < 0.7, radius < 0.8], [2, 3, 24]).astype(np.int16)
    nib.Nifti1Image(labels, np.diag([-1.0, 1, 1, 1])).to_filename(path)
    return path


def test_simulate_makes_a_dataset_that_loads(crl: Run, tmp_path: Path) -> None:
    labels = label_map(tmp_path / "labels.nii.gz")
    words = ("--sequences", "T1w,T2-FLAIR", "--at", "3000,30.5", "--subjects", 2, "--slices", 3)
    code, out, err = crl("simulate", labels, *words, "-o", tmp_path / "set", "--seed", 4)
    assert code == 0, err
    assert "6 scans" in out
    wanted = {PRESETS["T1w"], PRESETS["T2-FLAIR"], SequenceParameters(3000, 30.5)}
    for files in bids.find_subjects(tmp_path / "set"):
        subject = bids.load_subject(tmp_path / "set", files.label)
        times = {SequenceParameters(*s.parameters.triple) for s in subject.scans if s.parameters}
        assert times == wanted
        assert all(scan.data.max() > 0 for scan in subject.scans)
    assert crl("simulate", labels, *words, "-o", tmp_path / "same", "--seed", 4)[0] == 0
    for first in (tmp_path / "set").rglob("*.nii.gz"):
        second = tmp_path / "same" / first.relative_to(tmp_path / "set")
        np.testing.assert_array_equal(load(first).data, load(second).data)
    code, _, err = crl("simulate", labels, "-o", tmp_path / "set")
    assert code == 1
    assert "not empty" in err.splitlines()[-1]


def test_simulate_refusals(crl: Run, tmp_path: Path) -> None:
    labels = label_map(tmp_path / "labels.nii.gz")
    assert crl("simulate", labels, "--sequences", "T9w", "-o", tmp_path / "set")[0] == 2
    code, _, err = crl("simulate", labels, "--at", "900,100,850", "-o", tmp_path / "set")
    assert code == 1
    assert "TR 900 ms is too short" in one_line(err)
    code, _, err = crl("simulate", tmp_path / "none.nii", "-o", tmp_path / "set")
    assert code == 1
    assert "does not exist" in one_line(err)
    assert not (tmp_path / "set").exists()


def test_train_on_digital_subjects(crl: Run, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    settings = {"architecture": SMALL, "batch": 2, "crop": 32, "contrasts": 2, "precision": "fp32"}
    config.write_text(json.dumps(settings))
    words = ("--digital", "--config", config, "--steps", 1, "--workers", 0, "--device", "cpu")
    labels = label_map(tmp_path / "labels.nii.gz", size=150)
    code, out, err = crl("train", labels, "-o", tmp_path / "run", *words)
    assert code == 0, err
    assert "simulated from 1 anatomy" in out


def dataset(root: Path) -> Path:
    bids.write_dataset_description(root, "test")
    for subject in ("01", "02"):
        for n, (name, number) in enumerate((("PD", 5), ("FLAIR", 9))):
            path = bids.image_path(root, subject, name, "T2w")
            write(path, PAPER_SEQUENCES[number], seed=n)
    return root


def test_evaluate_all_pairs(crl: Run, checkpoint: Path, tmp_path: Path) -> None:
    root, report = dataset(tmp_path / "set"), tmp_path / "report.json"
    code, out, _ = crl("evaluate", root, "--checkpoint", checkpoint, "--json", report)
    assert code == 0
    found = json.loads(report.read_text())
    assert found["checkpoint"]["name"] == "tiny"
    pairs = {(p["subject"], p["source"], p["target"]) for p in found["pairs"]}
    assert pairs == {
        (f"sub-{s}", a, b)
        for s in ("01", "02")
        for a, b in (("PD T2w", "FLAIR T2w"), ("FLAIR T2w", "PD T2w"))
    }
    assert found["summary"]["all"]["n_pairs"] == 4
    psnr = [p["psnr_gain"] for p in found["pairs"]]
    assert found["summary"]["all"]["psnr_gain"] == pytest.approx(np.mean(psnr))
    table = [p["baselines_psnr_gain"]["table"] for p in found["pairs"]]
    identity = [p["baselines_psnr_gain"]["identity"] for p in found["pairs"]]
    assert np.mean(table) > np.mean(identity), "a fitted recolouring beats the source as it is"
    assert "4 pairs" in out


def test_evaluate_refuses_what_is_no_dataset(crl: Run, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, _, err = crl("evaluate", tmp_path / "empty", "--checkpoint", checkpoint)
    assert code == 1
    assert "holds no sub-" in one_line(err)
    alone = bids.image_path(tmp_path / "alone", "01", "PD", "T2w")
    write(alone, PAPER_SEQUENCES[5])
    code, _, err = crl("evaluate", tmp_path / "alone", "--checkpoint", checkpoint)
    assert code == 1
    assert "two scans" in err


def test_train_writes_a_run_and_resumes(crl: Run, tmp_path: Path) -> None:
    root, run = dataset(tmp_path / "set"), tmp_path / "run"
    config = tmp_path / "config.json"
    settings = {"architecture": SMALL, "batch": 2, "crop": 32, "contrasts": 2, "precision": "fp32"}
    config.write_text(json.dumps(settings))
    words = ("train", root, "-o", run, "--config", config, "--steps", 2, "--workers", 0)
    code, out, _ = crl(*words, "--preset", "crl-plus", "--device", "cpu")
    assert code == 0, out
    assert "Started: " in out
    assert "Finished after 2 steps" in out
    assert load_checkpoint(run / "model.safetensors").card.preset == "crl-plus"
    code, _, err = crl(*words)
    assert code == 1
    assert "not empty" in one_line(err)
    code, out, _ = crl("train", root, "-o", run, "--resume", "--workers", 0, "--device", "cpu")
    assert code == 0
    assert "Going on from step 2" in out
    assert crl(*words, "--resume")[0] == 2, "a resumed run keeps its settings"


def test_train_refuses_missing_data(crl: Run, tmp_path: Path) -> None:
    code, _, err = crl("train", tmp_path / "none", "-o", tmp_path / "run", "--steps", 1)
    assert code == 1
    assert "does not exist" in one_line(err)
    assert not (tmp_path / "run").exists()


def test_event_lines_come_at_a_readable_pace() -> None:
    from crl_core.training.events import Skipped, Stepped, Validated

    lines = EventLines()
    steps = [Stepped(n, n / 100, 0.5, {}, 1e-3, n / 10) for n in range(1, 301)]
    shown = [line for line in map(lines.line, steps) if line]
    assert len(shown) == 3
    assert "loss 0.5000" in shown[0]
    assert "from 1 24.50 dB" in lines.line(Validated(5, {"from 1": 24.5}))
    assert "skipped" in lines.line(Skipped(7, "One batch skipped."))
