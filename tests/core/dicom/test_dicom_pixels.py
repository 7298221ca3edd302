"""Stored bits to intensities: encodings, compression, scaling, mosaics; and lying headers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from crl_core.errors import InputError
from crl_core.io import load
from crl_core.io.dicom import fallback, find_series, read_series, thumbnail
from tests.core.dicom.test_dicom_timing import csa_header
from tests.core.dicom.writing import (
    DOUBLE_OBLIQUE,
    by_dcm2niix,
    classic,
    disagreement,
    enhanced,
    volume,
)

EXPECTED = volume(36, 40, 6).T
SIGNED = (volume(36, 40, 6).astype(int) - 900).astype(np.int16)


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless,
     JPEG2000Lossless],
    ids=lambda uid: uid.name,
)  # fmt: skip
@pytest.mark.parametrize("make", [classic, enhanced], ids=["classic", "enhanced"])
def test_encodings(tmp_path: Path, syntax: UID, make: Callable[..., Any]) -> None:
    make(tmp_path / "a", syntax=syntax)
    assert np.array_equal(load(tmp_path / "a").data, EXPECTED)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
def test_signed_pixels(tmp_path: Path, syntax: UID) -> None:
    stored = {"PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15}
    classic(tmp_path, pixels=SIGNED, syntax=syntax, **stored)
    assert np.array_equal(load(tmp_path).data, SIGNED.T)


SMALL = Path(pydicom.__file__).parent / "data" / "test_files"


@pytest.mark.parametrize(
    "name",
    ["implicit", "bigendian", "RLE", "jp2klossless", "jpeg_ls_lossless", "padded", "expb"],
)
def test_one_slice_as_pydicom_ships_it_in_many_encodings(name: str) -> None:
    """MR_small.dcm of pydicom's own test data, and the same slice encoded otherwise."""
    plain = dcmread(SMALL / "MR_small.dcm")
    expected = np.frombuffer(plain.PixelData, "<i2").reshape(plain.Rows, plain.Columns).T
    scan = load(SMALL / f"MR_small_{name}.dcm")
    assert np.array_equal(scan.data[:, :, 0], expected)
    assert scan.parameters is not None
    assert scan.parameters.te == plain.EchoTime


def test_a_truncated_slice_of_pydicom() -> None:
    with pytest.raises(InputError, match="truncated or its header is damaged"):
        load(SMALL / "MR_truncated.dcm")


def jpeg_files(folder: Path) -> None:
    """Compress a series with the encoder inside SimpleITK, which can write lossless JPEG."""
    for path in classic(folder):
        dataset = dcmread(path)
        plane = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns)
        writer = sitk.ImageFileWriter()
        writer.SetImageIO("GDCMImageIO")
        writer.SetUseCompression(True)
        writer.SetCompressor("JPEG")
        writer.SetFileName(str(folder / "packed.dcm"))
        writer.Execute(sitk.GetImageFromArray(plane))
        packed = dcmread(folder / "packed.dcm")
        dataset.PixelData = packed.PixelData
        dataset["PixelData"].VR = "OB"
        dataset.BitsStored, dataset.HighBit = 16, 15
        dataset.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
        assert dataset.file_meta.TransferSyntaxUID == JPEGLosslessSV1
        dataset.save_as(path)
    (folder / "packed.dcm").unlink()


def test_lossless_jpeg_in_a_process_of_its_own(tmp_path: Path) -> None:
    jpeg_files(tmp_path)
    series = find_series(tmp_path)[0]
    assert np.array_equal(read_series(series).data, EXPECTED)
    assert thumbnail(series).max() == 1.0


def test_damaged_jpeg_is_refused(tmp_path: Path) -> None:
    jpeg_files(tmp_path)
    path = sorted(tmp_path.iterdir())[2]
    dataset = dcmread(path)
    data = bytearray(dataset.PixelData)
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    dataset.PixelData = bytes(data)
    dataset.save_as(path)
    with pytest.raises(InputError, match="compressed pixels are truncated or damaged"):
        load(path)


def test_a_jpeg_of_another_size_never_reaches_the_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jpeg_files(tmp_path)
    path = sorted(tmp_path.iterdir())[0]
    dataset = dcmread(path)
    dataset.Rows, dataset.Columns = 8192, 8192
    dataset.save_as(path)
    monkeypatch.setattr(subprocess, "run", lambda *_a, **_k: pytest.fail("was started"))
    with pytest.raises(InputError, match="truncated or damaged"):
        load(path)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_frames_of_another_size(tmp_path: Path, syntax: UID) -> None:
    (path,) = classic(tmp_path, slices=1, syntax=syntax)
    dataset = dcmread(path)
    dataset.Rows, dataset.Columns = 8000, 8000
    dataset.save_as(path)
    with pytest.raises(InputError, match="truncated or damaged"):
        load(path)


def test_what_nobody_decodes_is_refused_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fallback, "installed", lambda: False)
    (path,) = classic(tmp_path, slices=1)
    dataset = dcmread(path)
    dataset.PixelData = encapsulate([b"\0\0\1\xb3 a film"])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.100")
    dataset.save_as(path)
    with pytest.raises(InputError) as caught:
        load(path)
    assert "does not decode (MPEG2 Main Profile" in str(caught.value)
    assert "pip install 'crl-explorer[dcm2niix]'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fragments_are_put_together(tmp_path: Path) -> None:
    """A frame may come in pieces, with and without a table of where each begins."""
    for table in (True, False):
        path = enhanced(tmp_path / f"{table}", syntax=JPEG2000Lossless)
        dataset = dcmread(path)
        from pydicom.encaps import generate_frames

        frames = list(generate_frames(dataset.PixelData, number_of_frames=6))
        dataset.PixelData = encapsulate(frames, fragments_per_frame=3, has_bot=table)
        dataset["PixelData"].VR = "OB"
        dataset.save_as(path)
        assert np.array_equal(load(path).data, EXPECTED)


def test_rescale_of_each_frame(tmp_path: Path) -> None:
    from tests.core.dicom.writing import one

    def own(index: int, _echo: int) -> dict[str, Any]:
        scale = one(RescaleSlope=1.5 + index, RescaleIntercept=-10 * index, RescaleType="US")
        return {"PixelValueTransformationSequence": scale}

    enhanced(tmp_path / "a", own=own)
    index = np.arange(6)
    assert load(tmp_path / "a").data == pytest.approx(EXPECTED * (1.5 + index) - 10.0 * index)


def test_rescale_is_the_stated_one_not_the_private_one_of_philips(tmp_path: Path) -> None:
    paths = classic(tmp_path / "in", RescaleSlope="2.44140625", RescaleIntercept="-3")
    for path in paths:
        dataset = dcmread(path)
        block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
        block.add_new(0x0E, "FL", 0.0125)
        dataset.Manufacturer = "Philips Medical Systems"
        dataset.save_as(path)
    scan = load(tmp_path / "in")
    assert scan.data == pytest.approx(EXPECTED * 2.44140625 - 3)
    (image,) = by_dcm2niix(tmp_path / "in", tmp_path / "out")
    assert disagreement(scan, image) == ""


@pytest.mark.parametrize(
    ("pixels", "elements", "expected"),
    [
        (volume(36, 40, 6) | 0xF000, {}, EXPECTED),
        (SIGNED & 0xFFF, {"PixelRepresentation": 1}, SIGNED.T),
        ((volume(36, 40, 6) >> 4).astype(np.uint8),
         {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, EXPECTED // 16),
        (volume(36, 40, 6).astype(np.uint32) * 70_000,
         {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31},
         np.float32(EXPECTED.astype(np.uint32) * 70_000)),
        (volume(36, 40, 6) << 4, {"HighBit": 15}, EXPECTED),
        (volume(36, 40, 6), {"PhotometricInterpretation": "MONOCHROME1"},
         4095 - EXPECTED.astype(int)),
    ],
    ids=["unused bits set", "signed 12 bits", "8 bits", "32 bits", "high bit", "white to black"],
)  # fmt: skip
def test_stored_bits(
    tmp_path: Path, pixels: NDArray[Any], elements: dict[str, Any], expected: NDArray[Any]
) -> None:
    data = pixels if pixels.dtype.itemsize != 2 else pixels.astype(np.uint16)
    classic(tmp_path, pixels=data, **elements)
    assert np.array_equal(load(tmp_path).data, expected)


def mosaic(path: Path, *, normal: float = 1.0, tell: bool = True, **elements: Any) -> None:
    """Write seven slices side by side, nine tiles, as Siemens does."""
    tiles = volume(20, 16, 7)
    grid = np.zeros((9, 16, 20), np.uint16)
    grid[:7] = tiles
    image = grid.reshape(3, 3, 16, 20).transpose(0, 2, 1, 3).reshape(1, 48, 60)
    kind = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    size = {"SpacingBetweenSlices": "3.3", "Manufacturer": "SIEMENS", "ImageType": kind}
    (made,) = classic(
        path.parent,
        slices=1,
        pixels=image,
        orientation=DOUBLE_OBLIQUE,
        spacing=(2.5, 2.0),
        name=path.name,
        **size,
        **elements,
    )
    direction = normal * np.cross(DOUBLE_OBLIQUE[:3], DOUBLE_OBLIQUE[3:])
    words = [f"{v:.8f}" for v in direction]
    dataset = dcmread(made)
    if tell:
        block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
        header = csa_header(
            NumberOfImagesInMosaic=["7"],
            SliceNormalVector=words,
            MosaicRefAcqTimes=[f"{100 * k}" for k in range(7)],
        )
        block.add_new(0x08, "CS", "IMAGE NUM 4")
        block.add_new(0x10, "OB", header)
    else:
        block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
        block.add_new(0x0A, "US", 7)
    dataset.save_as(made)


@pytest.mark.parametrize("normal", [1.0, -1.0])
def test_mosaic(tmp_path: Path, normal: float) -> None:
    mosaic(tmp_path / "in" / "m", normal=normal)
    scan = load(tmp_path / "in")
    assert scan.shape == (20, 16, 7)
    assert scan.voxel_size == pytest.approx((2.0, 2.5, 3.3), abs=1e-4)
    expected = volume(20, 16, 7).T
    assert np.array_equal(scan.data, expected if normal > 0 else expected[:, :, ::-1])
    (image,) = by_dcm2niix(tmp_path / "in", tmp_path / "out")
    assert disagreement(scan, image) == ""


def test_mosaic_read_by_dcm2niix(tmp_path: Path) -> None:
    """Without the CSA header the order of the slices is not ours to guess."""
    mosaic(tmp_path / "in" / "m", tell=False)
    scan = load(tmp_path / "in")
    assert scan.shape == (20, 16, 7)
    assert "Read by dcm2niix" in scan.note
    assert scan.origins["tr"].where.startswith("dcm2niix")
    assert scan.parameters is not None
    assert scan.parameters.triple == pytest.approx((8000, 99.98, 0))
    (image,) = by_dcm2niix(tmp_path / "in", tmp_path / "out")
    assert disagreement(scan, image) == ""
    assert thumbnail(find_series(tmp_path / "in")[0]).shape[0] > 10


def test_mosaic_without_any_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fallback, "installed", lambda: False)
    mosaic(tmp_path / "m", tell=False)
    (series,) = find_series(tmp_path)
    assert series.refusal == "a mosaic whose header does not say how its slices lie"
    assert "[dcm2niix]" in series.remedy


LIES = [
    ({"Rows": 65535, "Columns": 65535}, "declares 1 images of 65535 x 65535 pixels"),
    ({"Rows": 8000, "Columns": 8000}, r"more than its 2880 bytes hold"),
    ({"Rows": 0}, "declares 1 images of 36 x 0 pixels"),
    ({"NumberOfFrames": "2000000000"}, "describes where 1 of them lie"),
    ({"BitsAllocated": 64, "BitsStored": 64, "HighBit": 63}, "pixels of 64 bits"),
    ({"BitsStored": 40, "HighBit": 39}, "pixels of 40 bits in 16"),
    ({"HighBit": 3}, "pixels of 12 bits in 16"),
]


@pytest.mark.parametrize(("elements", "reason"), LIES)
def test_headers_that_declare_what_is_not_there(
    tmp_path: Path, elements: dict[str, Any], reason: str
) -> None:
    (path,) = classic(tmp_path, slices=1)
    dataset = dcmread(path)
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.save_as(path)
    started = time.process_time()
    with pytest.raises(InputError, match=reason):
        load(path)
    assert time.process_time() - started < 1.0


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    """Ten thousand sequences inside each other."""
    (path,) = classic(tmp_path, slices=1)
    raw = path.read_bytes()
    at = raw.find(b"\x28\x00\x02\x00")
    item = b"\x18\x00\x05\x90SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(raw[:at] + 10_000 * item + raw[at:])
    with pytest.raises(InputError):
        load(path)


def test_lengths_that_lie_take_no_memory(tmp_path: Path) -> None:
    """Every element in turn asks for four gigabytes, in a process that may not have one."""
    (path,) = classic(tmp_path, slices=1, syntax=ImplicitVRLittleEndian)
    raw = path.read_bytes()
    meta = 132 + 12 + int.from_bytes(raw[140:144], "little")
    at, count = meta, 0
    while at + 8 <= len(raw):
        length = int.from_bytes(raw[at + 4 : at + 8], "little")
        lie = raw[: at + 4] + b"\xf0\xff\xff\xff" + raw[at + 8 :]
        (tmp_path / f"lie{count}").write_bytes(lie)
        at, count = at + 8 + length, count + 1
    path.unlink()
    code = (
        "import resource, sys, pathlib\n"
        "from crl_core.io.inspect import describe\n"
        "from crl_core.errors import CRLError\n"
        "import pydicom.filereader\n"
        "held = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (held + 2**29, held + 2**29))\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try:\n"
        "        describe(path)\n"
        "    except CRLError:\n"
        "        pass\n"
    )
    if not Path("/proc/self/statm").exists():
        pytest.skip("only Linux tells a process how much it holds")
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True)
    assert run.returncode == 0, run.stderr[-400:]
    assert count > 20


def test_baseline_jpeg_is_offered_to_gdcm(tmp_path: Path) -> None:
    """Colourless baseline JPEG with 8 bits; lossy, so the values come back nearly."""
    smooth = (volume(36, 40, 1) >> 4).astype(np.uint8)
    stored = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    (path,) = classic(tmp_path, slices=1, pixels=smooth, **stored)
    image = sitk.GetImageFromArray(smooth[0])
    sitk.WriteImage(image, str(tmp_path / "a.jpg"), useCompression=True, compressionLevel=98)
    dataset = dcmread(path)
    dataset.PixelData = encapsulate([(tmp_path / "a.jpg").read_bytes()])
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.save_as(path)
    assert np.abs(load(path).data[:, :, 0] - smooth[0].T).max() <= 8
