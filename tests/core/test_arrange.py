"""A plain folder, or open scans, as a dataset: nothing lost, nobody named, nothing half-written."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from crl_core.doctor import check_dataset
from crl_core.errors import Cancelled, InputError, OutputError, ParameterError
from crl_core.io import load
from crl_core.io.arrange import Arrangement, from_scans, propose, write
from crl_core.io.bids import find_subjects, sidecar_path
from crl_core.scan import Origin, Scan
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters
from tests.core.doctor_data import AFFINE, crl, head, make_dataset, scan_of, snapshot

T1 = SequenceParameters(600, 15)
T2 = SequenceParameters(4500, 100)
FLAIR = SequenceParameters(11000, 140, 2800)
TYPED = {"T1W": T1, "T2W": T2, "FLAIR": FLAIR}
SHAPE = (28, 32, 10)


def image(
    path: Path,
    sidecar: Mapping[str, Any] | None = None,
    data: Any = None,
    kind: Any = nib.Nifti1Image,
    **header: bytes,
) -> Path:
    """Write noisy 12-bit voxels, or others, with texts of a header."""
    if data is None:
        rng = np.random.default_rng(len(str(path.name)) + sum(map(ord, path.name)))
        data = rng.integers(0, 4096, SHAPE, dtype=np.uint16)
    made = kind(data, AFFINE)
    for name, text in header.items():
        made.header[name] = text
    path.parent.mkdir(parents=True, exist_ok=True)
    made.to_filename(path)
    if path.name.endswith(".nii.gz"):  # nibabel writes the name of the file into it
        plain = gzip.decompress(path.read_bytes())
        path.write_bytes(gzip.compress(plain, mtime=0))
    if sidecar is not None:
        sidecar_path(path).write_text(json.dumps(dict(sidecar)))
    return path


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Two people, two visits of one, and the raw files of a visit."""
    folder = tmp_path / "Smith family"
    for who in ("patient01_study1", "patient01_study2", "patient12_study1"):
        for contrast in TYPED:
            image(folder / f"{who}_{contrast}.nii.gz")
    image(folder / "raw_patient01_study1" / "study1_T1W.nii.gz")
    (folder / "LICENSE.txt").write_text("CC-BY")
    return folder


def reasons(arrangement: Arrangement) -> dict[str, str]:
    return {i.path.name: i.why_left_out for i in arrangement.images if i.why_left_out}


def text_of(root: Path) -> bytes:
    """Return all that a dataset says: names of files, sidecars, and images unpacked."""
    said = b""
    for path in sorted(root.rglob("*")):
        said += path.relative_to(root).as_posix().encode() + b"\n"
        if path.is_file():
            raw = path.read_bytes()
            said += raw + (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else b"")
    return said


# what is proposed -------------------------------------------------------------------------------


def test_people_visits_and_contrasts(plain: Path) -> None:
    found = propose(plain)
    assert found.people == ("01", "12")
    assert found.contrasts() == found.missing() == ("FLAIR", "T1W", "T2W")
    assert {(i.person, i.visit) for i in found.images} == {
        ("01", "1"),
        ("01", "2"),
        ("01", "3"),
        ("12", "1"),
    }
    assert len(found.images) == 10, "a text without an image is not listed"


def test_what_files_state_is_kept_image_by_image(tmp_path: Path) -> None:
    image(tmp_path / "in/P1_T2.nii.gz", {"RepetitionTime": 4.0, "EchoTime": 0.09})
    image(tmp_path / "in/P2_T2.nii.gz", descrip=b"TE=104;TR=5000;TI=0")
    image(tmp_path / "in/P3_T2.nii.gz", {"EchoTime": 0.08, "EchoTrainLength": 16})
    image(tmp_path / "in/P4_T2.nii.gz")
    found = propose(tmp_path / "in")
    assert [i.parameters and i.parameters.triple for i in found.images] == [
        (4000, 90, 0),
        (5000, 104, 0),
        None,
        None,
    ]
    assert found.missing() == ("T2",)
    filled = found.with_parameters({"t2": SequenceParameters(6000, 110)}, "nominal")
    assert filled.missing() == ()
    third, fourth = filled.images[2:]
    assert third.parameters == SequenceParameters(6000, 80, echo_train_length=16)
    assert third.origins["te"].certainty == "stated"
    assert third.origins["tr"].certainty == "nominal"
    again = filled.with_parameters({"T2": SequenceParameters(7000, 120)}, "given")
    assert again.images[1].parameters == filled.images[1].parameters, "the file's own"
    assert again.images[2].parameters == SequenceParameters(7000, 80, echo_train_length=16)
    assert again.images[3].parameters == SequenceParameters(7000, 120)
    assert again.images[3].origins["tr"].certainty == "given"
    assert fourth.parameters == SequenceParameters(6000, 110), "values of before stay frozen"


def test_typed_values_that_cannot_be(plain: Path) -> None:
    found = propose(plain)
    with pytest.raises(InputError, match=r"no image of contrast 'PD'.*FLAIR, T1W, T2W"):
        found.with_parameters({"PD": T1})
    with pytest.raises(ParameterError, match="too short"):
        found.with_parameters({"FLAIR": SequenceParameters(2000, 140, 2800)})


def test_without_leaves_files_out_and_says_so(plain: Path) -> None:
    found = propose(plain)
    flairs = [i.path for i in found.images if i.contrast == "FLAIR"]
    less = found.without(flairs)
    assert less.contrasts() == ("T1W", "T2W")
    assert set(reasons(less).values()) == {"left out by you"}
    assert not reasons(found)


def test_what_is_no_scan_is_left_out_with_a_reason(tmp_path: Path) -> None:
    root = tmp_path / "in"
    rng = np.random.default_rng(5)
    good = image(root / "P1_T1.nii.gz")
    image(root / "P1_T2.nii")
    image(root / "P1_T1_mask.nii.gz")
    image(root / "labels" / "P1.nii.gz")
    image(root / "P1_a.nii.gz", data=(rng.random(SHAPE) > 0.5).astype(np.uint8))
    blocks = np.kron(rng.integers(0, 40, (7, 8, 5)), np.ones((4, 4, 2))).astype(np.int16)
    image(root / "P1_b.nii.gz", data=blocks)
    image(root / "P1_l.nii.gz", data=blocks % 4)
    image(root / "P1_c.nii.gz", data=np.full(SHAPE, 7, np.int16))
    image(root / "P1_d.nii.gz", data=rng.integers(0, 900, (*SHAPE, 3), dtype=np.int16))
    image(root / "P1_e.nii.gz", {"Synthetic": True})
    image(root / "P1_f.nii.gz", descrip=b"SYNTHETIC TR=600;TE=15;TI=0")
    (root / "P1_g.nii.gz").write_bytes(good.read_bytes()[:-500])
    image(root / "P1_h.nii.gz", {"RepetitionTime": 600, "EchoTime": 15})
    image(root / "P1_i.nii.gz", intent_code=1002)
    image(root / "P1_j.nii.gz", data=rng.integers(0, 255, SHAPE, dtype=np.uint8))
    image(root / "P1_k.nii.gz")
    sidecar_path(root / "P1_k.nii.gz").write_text("{")
    shutil.copy(root / "P1_T2.nii", root / "P1_T2.nii.gz")
    (root / "T1_to_T2.txt").write_text("1 0 0 0")
    (root / "P1_T1.mgz").write_bytes(b"x")
    found = propose(root)
    for name, words in {
        "P1_T1_mask.nii.gz": "mask or segmentation",
        "P1.nii.gz": "mask or segmentation",
        "P1_a.nii.gz": "a mask, it holds two values",
        "P1_b.nii.gz": "a segmentation, areas of 40 values",
        "P1_l.nii.gz": "a segmentation, areas of 4 values",
        "P1_c.nii.gz": "one single value",
        "P1_d.nii.gz": "4-D, 3 volumes",
        "P1_e.nii.gz": "synthetic",
        "P1_f.nii.gz": "synthetic",
        "P1_g.nii.gz": "truncated",
        "P1_h.nii.gz": "Write 0.6 if 600 ms was meant",
        "P1_i.nii.gz": "as its header says",
        "P1_k.nii.gz": "P1_k.json is not readable JSON",
        "P1_T2.nii": "P1_T2.nii.gz lies beside it",
        "T1_to_T2.txt": "transform",
        "P1_T1.mgz": "convert it first",
    }.items():
        assert words in reasons(found)[name], name
        assert "\n" not in reasons(found)[name]
    kept = {i.path.name for i in found.kept}
    assert kept == {"P1_T1.nii.gz", "P1_T2.nii.gz", "P1_j.nii.gz"}, "8-bit noise is a scan"


def test_folders_that_are_none_of_ours(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        propose(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no NIfTI image"):
        propose(tmp_path / "empty")
    make_dataset(tmp_path / "bids", 1, (1,))
    with pytest.raises(InputError, match="is a BIDS dataset already"):
        propose(tmp_path / "bids")
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "IM1").write_bytes(b"\0" * 128 + b"DICM" + b"\0" * 64)
    with pytest.raises(InputError, match=r"holds DICOM, not NIfTI.*crl inspect"):
        propose(tmp_path / "dicom")


# what is written --------------------------------------------------------------------------------


@pytest.mark.parametrize("certainty", ["nominal", "given"])
def test_a_dataset_that_reads_back_as_it_was_typed(
    plain: Path, tmp_path: Path, certainty: Any
) -> None:
    before = snapshot(plain)
    arrangement = propose(plain).with_parameters(TYPED, certainty)
    steps: list[tuple[int, int]] = []
    root = write(arrangement, tmp_path / "out", progress=lambda *step: steps.append(step))
    assert snapshot(plain) == before
    assert steps == [(i, 10) for i in range(1, 11)]
    assert [f.label for f in find_subjects(root)] == [
        "sub-01_ses-1",
        "sub-01_ses-2",
        "sub-01_ses-3",
        "sub-12_ses-1",
    ]
    people = (root / "participants.tsv").read_text()
    assert people == "participant_id\nsub-01\nsub-12\n"
    targets = arrangement.targets()
    for one in arrangement.kept:
        scan, source = load(root / targets[one.path]), load(one.path)
        assert scan.parameters == TYPED[one.contrast]
        assert {scan.origins[n].certainty for n in ("tr", "te")} == {certainty}
        if scan.parameters.inverted or certainty == "nominal":
            assert scan.origins["ti"].certainty == certainty
        np.testing.assert_array_equal(scan.data, source.data)
        np.testing.assert_array_equal(scan.affine, source.affine)
        assert (root / targets[one.path]).read_bytes() == one.path.read_bytes()
    report = check_dataset(root, quick=True)
    assert not report.errors


def test_nobody_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "Meier clinic"
    texts = {"descrip": b"Meier^Eva 1980", "db_name": b"Meier", "aux_file": b"Meier.dat"}
    image(folder / "Meier_Eva_20200131_T1.nii.gz", {"PatientName": "Meier^Eva"}, **texts)
    image(folder / "Meier_Eva_20200131_T2.nii", **texts)
    image(folder / "Meier_Eva_20210131_T2-Eva.nii.gz", **texts)
    image(folder / "Meier_Eva_20210131_T2.nii.gz", kind=nib.Nifti2Image, descrip=b"Meier")
    extended = nib.Nifti1Image(np.arange(8960, dtype=np.int16).reshape(SHAPE), AFFINE)
    extended.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Meier"))
    extended.to_filename(folder / "Meier_Eva_20210131_PD.nii.gz")
    found = propose(folder)
    typed = dict.fromkeys(found.missing(), T2)
    arrangement = found.with_parameters(typed, "nominal")
    root = write(arrangement, tmp_path / "out")
    said = text_of(root).lower()
    for word in (b"meier", b"eva", b"2020", b"1980", b"clinic"):
        assert word not in said, word
    targets = arrangement.targets()
    assert len(targets) == 5
    for source, target in targets.items():
        kept, old = nib.load(root / target), nib.load(source)
        assert kept.header.get_data_dtype() == old.header.get_data_dtype()
        np.testing.assert_array_equal(np.asarray(kept.dataobj), np.asarray(old.dataobj))
        np.testing.assert_array_equal(kept.affine, old.affine)


def test_scaled_voxels_and_big_endian_files_keep_their_values(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    header["descrip"] = b"to be blanked"
    values = rng.normal(100, 30, SHAPE)
    made = nib.Nifti1Image(values, AFFINE, header)
    (tmp_path / "in").mkdir()
    made.to_filename(tmp_path / "in" / "P1_T1.nii.gz")
    source = load(tmp_path / "in" / "P1_T1.nii.gz")
    arrangement = propose(tmp_path / "in").with_parameters({"T1": T1})
    root = write(arrangement, tmp_path / "out")
    copy = load(root / "sub-1/anat/sub-1_T1w.nii.gz")
    np.testing.assert_array_equal(copy.data, source.data)
    assert np.abs(copy.data - values).max() < 0.01, "slope and intercept are kept"
    assert b"blanked" not in text_of(root)


def test_marks_of_a_file_go_along(tmp_path: Path) -> None:
    stated = {"RepetitionTime": 3.0, "EchoTime": 0.05}
    folder = tmp_path / "in"
    image(folder / "P1_T1.nii.gz", {**stated, "CRLSynthetic": True}, descrip=b"simulated x")
    image(folder / "P1_T2.nii.gz", {**stated, "CRLOrientationStated": False})
    gradient = {**stated, "ScanningSequence": ["GR", "Meier"], "MagneticFieldStrength": 1.5}
    image(folder / "P1_PD.nii.gz", gradient)
    root = write(propose(folder), tmp_path / "out") / "sub-1" / "anat"
    digital, guess = load(root / "sub-1_T1w.nii.gz"), load(root / "sub-1_T2w.nii.gz")
    assert "Simulated" in digital.note
    sidecar_path(root / "sub-1_T1w.nii.gz").unlink()
    assert "Simulated" in load(root / "sub-1_T1w.nii.gz").note, "the header says so too"
    assert not guess.orientation_stated
    fields = json.loads((root / "sub-1_PDw.json").read_text())
    assert fields["ScanningSequence"] == ["GR"], "a gradient echo does not become a spin echo"
    assert fields["MagneticFieldStrength"] == 1.5
    about = json.loads((root.parents[1] / "dataset_description.json").read_text())
    assert "CRLSynthetic" not in about, "only one of them is simulated"


def test_nothing_is_left_behind_when_it_ends_early(plain: Path, tmp_path: Path) -> None:
    arrangement = propose(plain)
    with pytest.raises(ParameterError, match=r"of FLAIR, T1W and T2W.*--params FLAIR=TR,TE,TI"):
        write(arrangement, tmp_path / "out")
    ready = arrangement.with_parameters(TYPED)
    asked: list[int] = []

    def third() -> bool:
        asked.append(1)
        return len(asked) == 3

    with pytest.raises(Cancelled):
        write(ready, tmp_path / "out", cancelled=third)
    with pytest.raises(Cancelled):
        propose(plain, cancelled=lambda: True)
    ready.kept[5].path.write_bytes(ready.kept[5].path.read_bytes()[:-4])
    with pytest.raises(InputError) as refused:
        write(ready, tmp_path / "out")
    assert refused.value.path == ready.kept[5].path
    assert sorted(p.name for p in tmp_path.iterdir()) == ["Smith family"]


def test_no_folder_of_others_is_written_into(plain: Path, tmp_path: Path) -> None:
    ready = propose(plain).with_parameters(TYPED)
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="not empty"):
        write(ready, full)
    with pytest.raises(OutputError, match="inside the folder of the images"):
        write(ready, plain / "dataset")
    assert [p.name for p in full.iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    assert write(ready, tmp_path / "empty") == tmp_path / "empty"


def test_two_images_of_one_name_become_runs(tmp_path: Path) -> None:
    sidecar = {"RepetitionTime": 3.0, "EchoTime": 0.05}
    image(tmp_path / "in" / "P1_T1.nii.gz", sidecar)
    image(tmp_path / "in" / "p1-T1.nii.gz", sidecar)
    names = sorted(Path(n).name for n in propose(tmp_path / "in").targets().values())
    assert names == ["sub-1_run-1_T1w.nii.gz", "sub-1_run-2_T1w.nii.gz"]


# scans already open -----------------------------------------------------------------------------


def test_open_scans_keep_what_is_known_of_them(tmp_path: Path) -> None:
    tissue = head(1, SHAPE)
    first = scan_of(tissue, PAPER_SEQUENCES[7], 1)
    typed = scan_of(tissue, FLAIR, 2).with_parameters(FLAIR, Origin("by hand", "given"))
    usual = scan_of(tissue, T1, 3).with_parameters(T1, Origin("usual", "nominal"))
    made_up = Scan(first.data, AFFINE, "Meier T1", T1, synthetic=True)
    said: list[str] = []
    root = from_scans([first, typed, made_up, usual], tmp_path / "out", notice=said.append)
    assert said == ["left out: Meier T1, synthetic, not acquired"]
    (subject,) = find_subjects(root)
    assert subject.label == "sub-01"
    assert [p.name for p in subject.images] == [
        "sub-01_FLAIR.nii.gz",
        "sub-01_T1w.nii.gz",
        "sub-01_T2w.nii.gz",
    ]
    back = [load(path) for path in subject.images]
    for scan, source, certainty in zip(
        back, (typed, usual, first), ("given", "nominal", "stated"), strict=True
    ):
        np.testing.assert_array_equal(scan.data, source.data)
        assert scan.parameters == source.parameters
        assert {origin.certainty for origin in scan.origins.values()} == {certainty}
    assert not check_dataset(root, quick=True).errors
    assert b"meier" not in text_of(root).lower()


def test_open_scans_that_share_a_contrast_are_told_apart(tmp_path: Path) -> None:
    tissue = head(2, SHAPE)
    scans = [scan_of(tissue, SequenceParameters(5000, te), int(te)) for te in (90, 150)]
    root = from_scans([*scans, scans[0]], tmp_path / "out")
    assert [p.name for p in find_subjects(root)[0].images] == [
        "sub-01_acq-T2wtr5000te150_T2w.nii.gz",
        "sub-01_acq-T2wtr5000te90_run-1_T2w.nii.gz",
        "sub-01_acq-T2wtr5000te90_run-2_T2w.nii.gz",
    ]


def test_open_scans_that_cannot_be_used(tmp_path: Path) -> None:
    scan = scan_of(head(3, SHAPE), T1, 1)
    unknown = Scan(scan.data, AFFINE, "T9", path=Path("t9.nii"))
    with pytest.raises(ParameterError, match="TR, TE and TI of 'T9' are not known"):
        from_scans([scan, unknown], tmp_path / "out")
    with pytest.raises(InputError, match="no acquired scan is open"):
        from_scans([Scan(scan.data, AFFINE, "x", T1, synthetic=True)], tmp_path / "out")
    assert not list(tmp_path.iterdir())


# the command ------------------------------------------------------------------------------------


def test_the_command_lists_and_writes(plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, said, _ = crl("arrange", plain, "--list")
    assert code == 0
    assert "sub-01_ses-3_T1w.nii.gz" in said
    assert "--params FLAIR=TR,TE,TI" in said
    assert said.splitlines()[-1] == "10 scans of 2 people, 4 visits"
    code, _, error = crl("arrange", plain, "-o", out, "--params", "T1W=600,15 T2W=4500,100")
    refusal = error.splitlines()[-1]
    assert code == 1
    assert "TR, TE and TI of FLAIR are not known" in refusal
    assert "--params FLAIR=TR,TE,TI" in refusal
    assert not out.exists()
    words = ("--params", "t1w=600,15,0", "--params", "T2W=4500,100,0 FLAIR=11000,140,2800")
    code, said, _ = crl("arrange", plain, "-o", out, *words, "--nominal")
    assert (code, said) == (0, f"10 scans of 2 people, 4 visits in {out}\n")
    assert load(out / "sub-12/ses-1/anat/sub-12_ses-1_FLAIR.nii.gz").nominal


def test_the_command_says_when_typed_values_were_not_needed(tmp_path: Path) -> None:
    image(
        tmp_path / "in/P1_T1.nii.gz", {"RepetitionTime": 0.5, "EchoTime": 0.012, "InversionTime": 0}
    )
    image(tmp_path / "in/P1_T2_seg.nii.gz")
    code, _, error = crl("arrange", tmp_path / "in", "-o", tmp_path / "out", "--params", "T1=7,8,0")
    assert code == 1, "TR is too short for TE"
    words = ("--params", "T1=900,8,0")
    code, _, error = crl("arrange", tmp_path / "in", "-o", tmp_path / "out", *words)
    assert code == 0
    assert "T1: the files state TR, TE and TI, which are kept" in error
    assert "left out: P1_T2_seg.nii.gz, its name says mask or segmentation" in error
    scan = load(tmp_path / "out/sub-1/anat/sub-1_T1w.nii.gz")
    assert scan.parameters == SequenceParameters(500, 12)


@pytest.mark.parametrize(
    "words",
    [(), ("--list", "--params", "T1W"), ("--list", "--params", "T1W=x"), ("--list", "--what")],
)
def test_wrong_usage(plain: Path, words: tuple[str, ...]) -> None:
    assert crl("arrange", plain, *words)[0] == 2
