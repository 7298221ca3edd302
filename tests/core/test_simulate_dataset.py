"""``crl simulate`` and what it writes: complete, repeatable, honest, or nothing at all."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import io as scipy_io
from scipy import ndimage

from crl_core import io
from crl_core.cli import main
from crl_core.errors import Cancelled, CRLError, InputError, OutputError, ParameterError
from crl_core.io.bids import find_subjects, load_subject
from crl_core.parallel import run_jobs
from crl_core.physics.dataset import SimulationOptions, simulate_dataset
from crl_core.physics.protocols import random_protocol, with_train
from crl_core.physics.tissues import tissue_index, tissue_names
from crl_core.scan import Scan
from crl_core.sequence import PAPER_SEQUENCES, PRESETS, SequenceParameters

PD = {"pd": PAPER_SEQUENCES[5]}


@pytest.fixture
def label_file(tmp_path: Path, labels: NDArray[np.int16]) -> Path:
    deep = np.repeat(labels[:, :, :1], 24, axis=2)
    path = tmp_path / "labels.nii.gz"
    io.save(Scan(deep.astype(np.float32), np.diag([4.0, 4.0, 2.0, 1.0]), "labels"), path)
    return path


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


# what is written --------------------------------------------------------------------------------


def test_a_dataset_holds_subjects_with_their_parameters(label_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "made"
    sequences = {"paper5": PAPER_SEQUENCES[5], "paper9": PAPER_SEQUENCES[9]}
    written = simulate_dataset(
        [label_file], out, sequences, subjects=2, seed=3, n_slices=3, thickness_mm=4.0
    )
    assert len(written) == 4
    assert all(path.is_file() for path in written)
    assert [s.label for s in find_subjects(out)] == ["sub-01", "sub-02"]
    first, second = (load_subject(out, s.label) for s in find_subjects(out))
    triples = {s.parameters.triple for s in first.scans if s.parameters is not None}
    assert triples == {p.triple for p in sequences.values()}
    assert first.scans[0].shape[2] == 3
    assert first.scans[0].voxel_size == pytest.approx((4.0, 4.0, 4.0))
    assert not np.array_equal(first.scans[0].data, second.scans[0].data)
    assert np.array_equal(first.scans[0].data, np.rint(first.scans[0].data))


def test_every_file_says_that_it_is_simulated(label_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "made"
    options = SimulationOptions(maps=True, lesions=("ms",))
    simulate_dataset([label_file], out, PD, n_slices=2, options=options)
    sidecars = [json.loads(p.read_text()) for p in out.rglob("*.json")]
    assert len(sidecars) == 2 + 1 + 7
    assert all(fields.get("CRLSynthetic") for fields in sidecars)
    (image,) = find_subjects(out)[0].images
    assert "no person was scanned" in io.load(image).note


def test_the_images_lie_where_the_map_lies(label_file: Path, tmp_path: Path) -> None:
    """The head, longer than wide and off centre, is found at its world place."""
    clean = SimulationOptions(noise=0.0, engine="closed", maps=True)
    (path,) = simulate_dataset(
        [label_file], tmp_path / "o", PD, n_slices=4, thickness_mm=4, options=clean
    )
    (pd_map,) = (tmp_path / "o").rglob("*PDmap.nii.gz")
    scan, labels = io.load(path), io.load(label_file)

    def centre(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((affine @ [*np.argwhere(mask).mean(axis=0), 1.0])[:3])

    shown = ndimage.binary_fill_holes(scan.data[:, :, 1] > 0.15 * np.percentile(scan.data, 99.5))
    found = centre(shown[:, :, None], scan.affine)
    truth = centre(labels.data > 0, labels.affine)
    np.testing.assert_allclose(found[:2], truth[:2], atol=2.0)  # fat is displaced by up to 2 pixels
    exact = centre(io.load(pd_map).data > 0.02, io.load(pd_map).affine)
    np.testing.assert_allclose(exact[:2], truth[:2], atol=0.3)
    middle = scan.affine @ [0, 0, (scan.shape[2] - 1) / 2, 1]
    assert middle[2] == pytest.approx(labels.affine[2, 3] + 2.0 * 23 / 2, abs=2.1)


def test_the_truth_is_written_in_the_units_bids_asks_for(label_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "made"
    options = SimulationOptions(maps=True, lesions=("ms", "tumour"))
    simulate_dataset([label_file], out, PD, n_slices=3, options=options)
    truth = out / "derivatives" / "crl-simulate" / "sub-01"
    t1 = io.load(truth / "anat" / "sub-01_T1map.nii.gz").data
    t2 = io.load(truth / "anat" / "sub-01_T2map.nii.gz").data
    pd = io.load(truth / "anat" / "sub-01_PDmap.nii.gz").data
    assert 0.3 < np.median(t1[pd > 0.5]) < 2.0  # seconds
    assert 0.03 < np.median(t2[pd > 0.5]) < 0.2
    assert 0 <= pd.min() < pd.max() <= 1.1
    b1 = io.load(truth / "fmap" / "sub-01_TB1map.nii.gz").data
    assert 50 < b1.min() < b1.max() < 140  # percent
    (image,) = find_subjects(out)[0].images
    assert io.load(image).shape == t1.shape
    np.testing.assert_allclose(
        io.load(image).affine, io.load(truth / "anat" / "sub-01_T1map.nii.gz").affine
    )
    names = (truth / "anat" / "sub-01_desc-inclusions_dseg.tsv").read_text()
    assert f"{tissue_index('glioma')}\tglioma" in names
    kinds = io.load(truth / "anat" / "sub-01_desc-inclusions_dseg.nii.gz").data
    assert {float(v) for v in np.unique(kinds)} <= {0.0, *(float(line.split("\t")[0]) for line in
                                                          names.splitlines()[1:])}  # fmt: skip


def test_a_dataset_without_maps_and_lesions_has_no_derivatives(
    label_file: Path, tmp_path: Path
) -> None:
    simulate_dataset([label_file], tmp_path / "o", PD, n_slices=1)
    assert not (tmp_path / "o" / "derivatives").exists()


def test_the_sidecar_states_the_sequence_that_was_simulated(
    label_file: Path, tmp_path: Path
) -> None:
    options = SimulationOptions(refocusing=(133.0, 133.0), fat_suppression=True, coils=4)
    (path,) = simulate_dataset(
        [label_file], tmp_path / "out", {"t2": PAPER_SEQUENCES[4]}, n_slices=1,
        field_strength=1.5, options=options,
    )  # fmt: skip
    found = io.load(path).parameters
    assert found is not None
    assert found.echo_train_length == 16
    assert found.te / found.echo_spacing == pytest.approx(6)
    assert found.field_strength == 1.5
    fields = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
    assert fields["FatSuppression"] is True
    assert fields["CRLSimulation"]["RefocusingAngle"] == 133.0
    assert fields["CRLSimulation"]["ReceiveChannels"] == 4


def test_random_sequences_per_subject_and_per_dataset(label_file: Path, tmp_path: Path) -> None:
    def times(per: str) -> list[set[tuple[float, ...]]]:
        out = tmp_path / per
        options = SimulationOptions(random=3, random_per=per)
        simulate_dataset([label_file], out, {}, subjects=2, n_slices=1, options=options)
        subjects = [load_subject(out, s.label) for s in find_subjects(out)]
        return [{s.parameters.triple for s in x.scans if s.parameters} for x in subjects]

    first, second = times("subject")
    assert len(first) == len(second) == 3
    assert first != second
    first, second = times("dataset")
    assert first == second


def test_random_protocols_can_be_played() -> None:
    for seed in range(60):
        for p in random_protocol(np.random.default_rng(seed), 3).values():
            p.check_order()
            assert p.te / p.echo_spacing == pytest.approx(round(p.te / p.echo_spacing))
            assert p.last_echo_time >= p.te - 1e-9
            assert p.tr - p.ti >= p.te
            assert p.tr == round(p.tr)


def test_trains_are_chosen_where_none_is_stated() -> None:
    lengths = {n: with_train(p).echo_train_length for n, p in PAPER_SEQUENCES.items()}
    assert lengths == {1: 8, 2: 8, 3: 8, 4: 16, 5: 8, 6: 16, 7: 16, 8: 16, 9: 16}
    assert with_train(PRESETS["T1w"]).echo_train_length == 4
    crowded = with_train(SequenceParameters(500, 100, 350))
    assert crowded.last_echo_time <= 150
    stated = SequenceParameters(5000, 90, echo_spacing=9.0, echo_train_length=12)
    assert with_train(stated) == stated


# repeatable ---------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_in_every_file(label_file: Path, tmp_path: Path) -> None:
    options = SimulationOptions(maps=True, lesions=("ms",), random=1, coils=2)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate_dataset(
            [label_file], tmp_path / name, PD, seed=seed, n_slices=2, subjects=2, options=options
        )
    first, again, other = (files(tmp_path / name) for name in "abc")
    assert first == again
    assert set(other) != set(first) or other != first
    images = [n for n in first if n.endswith(".nii.gz")]
    assert all(first[n][4:8] == bytes(4) for n in images)  # no time in the header
    assert gzip.decompress(first[images[0]])[:4] == (348).to_bytes(4, "little")


def test_sharing_the_work_among_processes_changes_nothing(label_file: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    for name, jobs in (("one", 1), ("two", 2)):
        simulate_dataset(
            [label_file], tmp_path / name, PD, subjects=3, n_slices=1, jobs=jobs,
            progress=lambda done, total: seen.append((done, total)),
        )  # fmt: skip
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert seen[:3] == [(1, 3), (2, 3), (3, 3)]
    assert seen[-1] == (3, 3)


# refused, cancelled -------------------------------------------------------------------------------


def nothing_left(folder: Path, *expected: str) -> bool:
    return sorted(p.name for p in folder.iterdir()) == sorted(expected)


def test_a_dataset_is_never_written_over(label_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "made"
    out.mkdir()
    (out / "precious.txt").write_text("keep")
    with pytest.raises(OutputError, match="not empty"):
        simulate_dataset([label_file], out, PD)
    assert (out / "precious.txt").read_text() == "keep"
    assert nothing_left(tmp_path, "labels.json", "labels.nii.gz", "made")


def test_an_empty_folder_may_be_filled(label_file: Path, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    simulate_dataset([label_file], tmp_path / "made", PD, n_slices=1)
    assert (tmp_path / "made" / "participants.tsv").is_file()


def test_a_map_without_known_labels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.nii.gz"
    io.save(Scan(np.full((20, 20, 20), 999, np.float32), np.eye(4), "x"), path)
    with pytest.raises(InputError, match=r"empty\.nii\.gz.*no tissue"):
        simulate_dataset([path], tmp_path / "out", PD)
    assert nothing_left(tmp_path, "empty.json", "empty.nii.gz")


def test_an_ordinary_scan_is_no_label_map(tmp_path: Path, scan: Scan) -> None:
    path = tmp_path / "scan.nii.gz"
    io.save(scan, path)
    with pytest.raises(InputError, match="no label map"):
        simulate_dataset([path], tmp_path / "out", PD)
    assert not (tmp_path / "out").exists()


def test_a_refusal_in_another_process_reads_as_here(label_file: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.nii.gz"
    io.save(Scan(np.full((20, 20, 20), 999, np.float32), np.eye(4), "x"), bad)
    with pytest.raises(InputError, match=r"bad\.nii\.gz.*no tissue.*--tissues"):
        simulate_dataset([label_file, bad], tmp_path / "out", PD, n_slices=1, jobs=2)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".crl-*"))


@pytest.mark.parametrize("jobs", [1, 2])
def test_cancelling_leaves_nothing_behind(label_file: Path, tmp_path: Path, jobs: int) -> None:
    asked = iter([False] * 3 + [True] * 10_000)
    with pytest.raises(Cancelled):
        simulate_dataset(
            [label_file], tmp_path / "out", PD, subjects=2, n_slices=2, jobs=jobs,
            cancelled=lambda: next(asked),
        )  # fmt: skip
    assert nothing_left(tmp_path, "labels.json", "labels.nii.gz")


@pytest.mark.skipif(os.name != "posix", reason="sends the signal of Ctrl+C")
def test_an_interrupt_at_the_keyboard_leaves_nothing_behind(
    label_file: Path, tmp_path: Path
) -> None:
    words = ["simulate", str(label_file), "-o", str(tmp_path / "out"), "--subjects", "200"]
    words += ["--jobs", "2"]
    code = f"from crl_core.cli import main\nif __name__ == '__main__': main({words!r})"
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell starts what runs in the background deaf to the keyboard.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )
    assert child.stderr is not None
    folder = None
    while folder is None and child.poll() is None:
        folder = next(tmp_path.glob(".crl-*/sub-*"), None)
        time.sleep(0.02)
    os.killpg(child.pid, signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert child.returncode != 0
    assert nothing_left(tmp_path, "labels.json", "labels.nii.gz"), err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"refocusing": (170.0, 120.0)}, "refocusing"),
        ({"refocusing": (10.0, 180.0)}, "refocusing"),
        ({"noise": -0.1}, "noise"),
        ({"coils": 0}, "coils"),
        ({"voxel_mm": 0.01}, "pixels"),
    ],
)
def test_options_no_scanner_has_are_refused(label_file: Path, tmp_path: Path, options, message):
    with pytest.raises(ParameterError, match=message):
        simulate_dataset([label_file], tmp_path / "o", PD, options=SimulationOptions(**options))
    assert not (tmp_path / "o").exists()


def test_tissue_is_known_at_two_field_strengths_only(label_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="not 7 T"):
        simulate_dataset([label_file], tmp_path / "o", PD, field_strength=7.0)


def test_file_names_of_label_maps_stay_out_of_the_dataset(label_file: Path, tmp_path: Path) -> None:
    private = label_file.with_name("DOE_JOHN.nii.gz")
    label_file.rename(private)
    out = tmp_path / "out"
    simulate_dataset([private], out, PD, n_slices=1)
    for path in out.rglob("*"):
        assert "DOE" not in path.name
        if path.suffix in (".json", ".tsv"):
            assert "DOE" not in path.read_text()


def _square(job: int, watch) -> int:
    watch()
    return job**2


def _fail(job: int, watch) -> int:
    raise InputError(f"job {job}", remedy="None")


def _die(job: int, watch) -> int:
    os._exit(3)


def test_a_process_that_dies_is_reported_in_one_line() -> None:
    with pytest.raises(CRLError, match=r"died.*fewer --jobs"):
        run_jobs(_die, [1, 2], workers=2)


def test_jobs_come_back_in_order_and_the_first_failure_is_raised() -> None:
    assert run_jobs(_square, list(range(7)), workers=2) == [k**2 for k in range(7)]
    assert run_jobs(_square, [3], workers=8) == [9]
    with pytest.raises(InputError, match=r"job \d"):
        run_jobs(_fail, [1, 2], workers=2)


# the command --------------------------------------------------------------------------------------


def crl(*words: object) -> int:
    try:
        main([str(w) for w in words])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_the_command_reads_a_phantom_and_says_what_it_assumed(tmp_path: Path, capsys) -> None:
    labels = np.zeros((40, 32, 30), np.uint8)
    labels[4:36, 4:28, 2:28], labels[8:32, 8:24, 4:26] = 7, 1
    labels[10:30, 10:22, 6:24], labels[13:27, 12:20, 8:22] = 2, 3
    path = tmp_path / "phantom.mat"
    scipy_io.savemat(path, {"Anatomy": labels})
    out = tmp_path / "set"
    code = crl("simulate", path, "-o", out, "--sequences", "T1w,T2w", "--slices", 2, "--coils", 4,
               "--lesions", "none", "--dataset-name", "Phantom", "--refocusing", "150",
               "--engine", "closed", "--jobs", 1)  # fmt: skip
    seen = capsys.readouterr()
    assert code == 0, seen.err
    assert "2 scans" in seen.out
    assert "BrainWeb labels" in seen.err
    assert json.loads((out / "dataset_description.json").read_text())["Name"] == "Phantom"
    assert len(find_subjects(out)[0].images) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--lesions", "stroke"), "'stroke' is not known"),
        (("--engine", "bloch"), "epg or closed"),
        (("--refocusing", "wide"), "no angle"),
        (("--random-per", "week"), "subject or dataset"),
        (("--sequences", "T3w"), "'T3w' is not known"),
        (("--device", "abacus"), "cannot be used"),
    ],
)
def test_wrong_words_are_wrong_usage(label_file: Path, tmp_path: Path, capsys, words, message):
    code = crl("simulate", label_file, "-o", tmp_path / "o", *words)
    assert code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "o").exists()


def test_the_tissue_table_can_be_read_with_its_sources(capsys) -> None:
    assert crl("simulate", "--list-tissues") == 0
    text = capsys.readouterr().out
    for name in tissue_names()[1:]:
        assert f"\n{name}\n" in f"\n{text}"
    white = text.split("white matter\n")[1].splitlines()[:5]
    assert [row.split()[0] for row in white] == ["PD", "T1", "T2", "T1", "T2"]
    assert "780  850  1084" in white[3]
    for mark in white[3].split("[")[1].rstrip("]").split(","):
        assert f"\n[{mark}] " in text
    assert "Wansapura" in text


def test_a_users_own_map_needs_its_table(tmp_path: Path, capsys) -> None:
    volume = np.zeros((24, 24, 20), np.float32)
    volume[4:20, 4:20, 2:18], volume[8:16, 8:16, 4:16] = 901, 902
    path, table = tmp_path / "own.nii.gz", tmp_path / "map.json"
    io.save(Scan(volume, np.eye(4), "own"), path)
    table.write_text('{"901": "cortical grey matter", "902": "white matter"}')
    words = ("simulate", path, "-o", tmp_path / "o", "--at", "3000,30", "--slices", 2)
    assert crl(*words) == 1
    assert "--tissues" in capsys.readouterr().err
    assert crl(*words, "--tissues", table, "--noise", 0.001) == 0
    (image,) = find_subjects(tmp_path / "o")[0].images
    data = io.load(image).data
    assert data[data.shape[0] // 2, data.shape[1] // 2].min() > 0


def test_no_gpu_is_looked_for_with_torch_where_there_is_none() -> None:
    code = (
        "import sys\nfrom crl_core.cli import simulating as s\n"
        "s.shutil.which = lambda name: None\n"
        "s.Path.exists = lambda self: False\n"
        "assert s._usual_device() == 'cpu'\nsys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_torch_path_makes_the_same_images(label_file: Path, tmp_path: Path) -> None:
    """What a GPU would do, on the processor: equal but for rounding of the stored integers."""
    sets = []
    for device in ("cpu", "cpu:0"):
        options = SimulationOptions(device=device, coils=2)
        (path,) = simulate_dataset(
            [label_file], tmp_path / device[-1], PD, n_slices=2, options=options
        )
        sets.append(io.load(path).data)
    assert np.abs(sets[0] - sets[1]).max() <= 1
