"""Small valid files and ways to damage them, each a pure function of a seed."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Callable, Mapping

import nibabel as nib
import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
    RLELossless,
)

Mutation = Callable[[np.random.Generator, bytearray], bytearray]

ROWS, COLUMNS, FRAMES = 40, 32, 4
GIGANTIC = (0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFE, 1 << 24, 100_000, 0)


def seeds() -> dict[str, bytes]:
    """Return small valid files by name, with structure in their voxels."""
    return {
        "plain.nii": _nifti(nib.Nifti1Image),
        "two.nii": _nifti(nib.Nifti2Image),
        "packed.nii.gz": gzip.compress(_nifti(nib.Nifti1Image), mtime=0),
        "classic.dcm": _dicom(ExplicitVRLittleEndian),
        "implicit.dcm": _dicom(ImplicitVRLittleEndian),
        "big.dcm": _dicom(ExplicitVRBigEndian),
        "rle.dcm": _dicom(RLELossless),
        "j2k.dcm": _dicom(JPEG2000Lossless),
        "enhanced.dcm": _dicom(ExplicitVRLittleEndian, frames=FRAMES),
        "enhancedrle.dcm": _dicom(RLELossless, frames=FRAMES),
    }


def mutate(data: bytes, seed: int) -> tuple[str, bytes]:
    """Return what was done and the damaged file."""
    rng = np.random.default_rng(seed)
    name = str(rng.choice(list(MUTATIONS)))
    return name, bytes(MUTATIONS[name](rng, bytearray(data)))


def _flip_bits(rng: np.random.Generator, data: bytearray) -> bytearray:
    """Half of the flips go where headers are; there they hurt more."""
    for _ in range(int(rng.integers(1, 40))):
        end = len(data) if rng.random() < 0.5 else min(len(data), 2500)
        data[int(rng.integers(end))] ^= 1 << int(rng.integers(8))
    return data


def _truncate(rng: np.random.Generator, data: bytearray) -> bytearray:
    return data[: int(rng.integers(len(data)))]


def _lie(rng: np.random.Generator, data: bytearray) -> bytearray:
    """Write absurd 2- and 4-byte numbers over the header, where lengths and sizes stand."""
    for _ in range(int(rng.integers(1, 6))):
        value = int(GIGANTIC[int(rng.integers(len(GIGANTIC)))])
        at = int(rng.integers(0, min(len(data), 2500) - 4))
        kind = str(rng.choice(["<I", ">I", "<H", ">H"]))
        size = struct.calcsize(kind)
        data[at : at + size] = struct.pack(kind, value & ((1 << 8 * size) - 1))
    return data


def _declare_gigantic(rng: np.random.Generator, data: bytearray) -> bytearray:
    """Declare gigantic dimensions where the format keeps them."""
    if data[:2] == b"\x1f\x8b":
        plain = _declare_gigantic(rng, bytearray(gzip.decompress(bytes(data))))
        return bytearray(gzip.compress(bytes(plain), mtime=0))
    if data[344:347] == b"n+1":
        for axis in range(1, int(rng.integers(2, 8))):
            struct.pack_into("<h", data, 40 + 2 * axis, int(rng.choice([32767, 30000, 512])))
        struct.pack_into("<h", data, 40, int(rng.integers(1, 8)))
        return data
    if data[4:7] == b"n+2":
        for axis in range(1, int(rng.integers(2, 8))):
            struct.pack_into("<q", data, 16 + 8 * axis, int(rng.choice([1 << 40, 1 << 20, 4096])))
        return data
    for tag in (b"\x28\x00\x10\x00", b"\x28\x00\x11\x00"):  # Rows, Columns
        at = data.find(tag)
        if at >= 0:
            short = struct.pack("<H", 0xFFFF)
            data[at + 8 : at + 10] = short
    at = data.find(b"\x28\x00\x08\x00")  # Number of Frames, as digits
    if at >= 0:
        length = data[at + 6] if data[at + 4 : at + 6] == b"IS" else data[at + 4]
        data[at + 8 : at + 8 + length] = b"9" * length
    at = data.find(b"\xff\x4f\xff\x51")  # the size marker of a JPEG 2000 codestream
    if at >= 0:
        struct.pack_into(">II", data, at + 8, 0x7FFFFFFF, 0x7FFFFFFF)
    return data


def _move_blocks(rng: np.random.Generator, data: bytearray) -> bytearray:
    """Cut a piece out, or put one in a second time."""
    start, other = (int(v) for v in rng.integers(0, len(data), size=2))
    piece = data[start : start + int(rng.integers(1, 300))]
    if rng.random() < 0.5:
        return data[:start] + data[start + len(piece) :]
    return data[:other] + piece + data[other:]


def _blank(rng: np.random.Generator, data: bytearray) -> bytearray:
    start = int(rng.integers(len(data)))
    length = min(int(rng.integers(1, 400)), len(data) - start)
    fill = rng.bytes(length) if rng.random() < 0.5 else bytes([int(rng.choice([0, 255]))]) * length
    data[start : start + length] = fill
    return data


MUTATIONS: Mapping[str, Mutation] = {
    "bits flipped": _flip_bits,
    "truncated": _truncate,
    "lengths lied about": _lie,
    "gigantic dimensions declared": _declare_gigantic,
    "blocks moved": _move_blocks,
    "blanked": _blank,
}


def _volume() -> np.ndarray:
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in (COLUMNS, ROWS, FRAMES)), indexing="ij")
    return (900 * np.exp(-3 * (x**2 + y**2)) * (1.2 + 0.3 * z)).astype(np.int16)


def _nifti(kind: type) -> bytes:
    image = kind(_volume(), np.diag([2.0, 2.0, 5.0, 1.0]))
    image.header["descrip"] = b"TR=8000;TE=100;TI=0"
    return bytes(image.to_bytes())


def _dicom(syntax: UID, frames: int = 0) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = EnhancedMRImageStorage if frames else MRImageStorage
    meta.MediaStorageSOPInstanceUID = UID("1.2.826.0.1.3680043.8.498.1")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax.is_compressed else syntax
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID = UID("1.2.826.0.1.3680043.8.498.2")
    dataset.StudyInstanceUID = UID("1.2.826.0.1.3680043.8.498.3")
    dataset.Modality, dataset.Manufacturer = "MR", "Made for a test"
    dataset.SeriesNumber, dataset.InstanceNumber = 3, 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = ROWS, COLUMNS
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    (_describe_frames if frames else _describe_slice)(dataset)
    voxels = np.ascontiguousarray(_volume().T[: frames or 1]).astype(np.uint16)
    if syntax == ExplicitVRBigEndian:
        voxels = voxels.byteswap()
    dataset.PixelData = voxels.tobytes()
    if syntax.is_compressed:
        dataset.compress(syntax, generate_instance_uid=False)
    buffer = io.BytesIO()
    order = {"little_endian": syntax.is_little_endian, "implicit_vr": syntax.is_implicit_VR}
    dcmwrite(buffer, dataset, enforce_file_format=True, **({} if syntax.is_compressed else order))
    return buffer.getvalue()


def _describe_slice(dataset: Dataset) -> None:
    dataset.ScanningSequence, dataset.SequenceVariant = "SE", "SK"
    dataset.RepetitionTime, dataset.EchoTime, dataset.EchoTrainLength = "8000", "99.98", "16"
    dataset.ImagePositionPatient = [-30, -40, 10]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [2, 2], 5


def _describe_frames(dataset: Dataset) -> None:
    dataset.NumberOfFrames = FRAMES
    shared = Dataset()
    shared.PixelMeasuresSequence = _one(PixelSpacing=[2, 2], SliceThickness=5)
    shared.PlaneOrientationSequence = _one(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared.MRTimingAndRelatedParametersSequence = _one(RepetitionTime=8000, EchoTrainLength=16)
    shared.MREchoSequence = _one(EffectiveEchoTime=99.98)
    shared.MRModifierSequence = _one(InversionRecovery="NO")
    dataset.SharedFunctionalGroupsSequence = Sequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = Sequence([])
    for index in range(FRAMES):
        frame = Dataset()
        frame.PlanePositionSequence = _one(ImagePositionPatient=[-30, -40, 10 + 5 * index])
        frame.FrameContentSequence = _one(
            StackID="1", InStackPositionNumber=index + 1, DimensionIndexValues=[1, index + 1]
        )
        dataset.PerFrameFunctionalGroupsSequence.append(frame)


def _one(**values: object) -> Sequence:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return Sequence([item])
