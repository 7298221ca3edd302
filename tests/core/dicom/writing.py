"""DICOM series for tests, written with pydicom, and an independent reader to compare with."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import (
    UID,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

from crl_core.scan import Scan

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
DOUBLE_OBLIQUE = (0.9848078, 0.0593912, 0.1631759, 0.0, 0.9396926, -0.3420201)


def volume(columns: int, rows: int, slices: int) -> NDArray[np.uint16]:
    """Return a head-like blob, (slices, rows, columns), that no flip maps to itself."""
    z, y, x = np.meshgrid(
        np.linspace(-1, 1, slices) if slices > 1 else [0.2],
        np.linspace(-1, 1, rows),
        np.linspace(-1, 1, columns),
        indexing="ij",
    )
    blob = 1500 * np.exp(-2.0 * (x**2 + 1.3 * y**2 + 0.5 * z**2))
    ramp = 300 * (x + 2) + 90 * (y + 2) * (1.2 + z)
    return (blob + ramp).astype(np.uint16)


def one(**elements: Any) -> Items:
    """Return a sequence with one item."""
    item = Dataset()
    for name, value in elements.items():
        setattr(item, name, value)
    return Items([item])


def base(enhanced: bool = False, **elements: Any) -> FileDataset:
    """Return an MR object without pixels or geometry; `elements` replace or add, None removes."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = EnhancedMRImageStorage if enhanced else MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = UID("1.2.3.4"), UID("1.2.3.4.5")
    dataset.Modality, dataset.Manufacturer = "MR", "Made for a test"
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "SECRET42"
    dataset.SeriesNumber, dataset.SeriesDescription = 5, "T2 TSE tra"
    dataset.InstanceNumber, dataset.ImageType = 1, ["ORIGINAL", "PRIMARY", "M", "ND"]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    for name, value in elements.items():
        if value is None:
            dataset.pop(name, None)
        else:
            setattr(dataset, name, value)
    return dataset


def write(dataset: FileDataset, path: Path, syntax: UID = ExplicitVRLittleEndian) -> Path:
    """Write an object in a transfer syntax; its pixels are uncompressed and little endian."""
    path.parent.mkdir(parents=True, exist_ok=True)
    compressed = syntax.is_compressed and not syntax.is_deflated
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if compressed else syntax
    if compressed:
        dataset.compress(syntax, generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian and dataset.BitsAllocated == 16:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
    order = {"little_endian": syntax.is_little_endian, "implicit_vr": syntax.is_implicit_VR}
    dcmwrite(path, dataset, enforce_file_format=True, **({} if compressed else order))
    return path


def classic(
    folder: Path,
    *,
    slices: int = 6,
    columns: int = 36,
    rows: int = 40,
    orientation: Sequence[float] = AXIAL,
    spacing: tuple[float, float] = (1.5, 1.25),
    gap: float = 4.0,
    origin: Sequence[float] = (-20.0, -30.0, 12.0),
    syntax: UID = ExplicitVRLittleEndian,
    name: str = "IM",
    pixels: NDArray[Any] | None = None,
    each: Callable[[int], Mapping[str, Any]] = lambda _: {},
    **elements: Any,
) -> list[Path]:
    """Write one file per slice; `each` gives elements of one slice, `elements` those of all."""
    folder.mkdir(parents=True, exist_ok=True)
    data = volume(columns, rows, slices) if pixels is None else pixels
    normal = np.cross(orientation[:3], orientation[3:])
    times = {"ScanningSequence": "SE", "SequenceVariant": "SK", "EchoTrainLength": "16"}
    times |= {"RepetitionTime": "8000", "EchoTime": "99.98", "MRAcquisitionType": "2D"}
    paths = []
    for index in range(slices):
        position = np.array(origin) + index * gap * normal
        geometry = {
            "ImagePositionPatient": [f"{v:.8g}" for v in position],
            "ImageOrientationPatient": list(orientation),
            "PixelSpacing": list(spacing),
            "SliceThickness": 3.0,
            "Rows": data.shape[1],
            "Columns": data.shape[2],
        }
        own = {"InstanceNumber": index + 1, **times, **geometry, **elements, **each(index)}
        dataset = base(**own)
        dataset.PixelData = np.ascontiguousarray(data[index]).tobytes()
        paths.append(write(dataset, folder / f"{name}{index:04d}", syntax))
    return paths


def enhanced(
    path: Path,
    *,
    slices: int = 6,
    columns: int = 36,
    rows: int = 40,
    orientation: Sequence[float] = AXIAL,
    spacing: tuple[float, float] = (1.5, 1.25),
    gap: float = 4.0,
    origin: Sequence[float] = (-20.0, -30.0, 12.0),
    syntax: UID = ExplicitVRLittleEndian,
    echoes: Sequence[float] = (99.98,),
    shared: Mapping[str, Items] | None = None,
    own: Callable[[int, int], Mapping[str, Items]] = lambda _slice, _echo: {},
    pixels: NDArray[Any] | None = None,
    **elements: Any,
) -> Path:
    """Write one multi-frame file; echo varies fastest, as scanners write it."""
    data = volume(columns, rows, slices) if pixels is None else pixels
    normal = np.cross(orientation[:3], orientation[3:])
    dataset = base(True, **{"NumberOfFrames": slices * len(echoes), **elements})
    dataset.Rows, dataset.Columns = data.shape[1:]
    groups = {
        "PixelMeasuresSequence": one(PixelSpacing=list(spacing), SliceThickness=3),
        "PlaneOrientationSequence": one(ImageOrientationPatient=list(orientation)),
        "MRTimingAndRelatedParametersSequence": one(RepetitionTime=8000, RFEchoTrainLength=16),
        "MRModifierSequence": one(InversionRecovery="NO"),
        **(shared or {}),
    }
    dataset.SharedFunctionalGroupsSequence = one(**groups)
    frames = []
    for index in range(slices):
        for echo, time in enumerate(echoes):
            position = [f"{v:.8g}" for v in np.array(origin) + index * gap * normal]
            item = {
                "PlanePositionSequence": one(ImagePositionPatient=position),
                "MREchoSequence": one(EffectiveEchoTime=float(time)),
                "FrameContentSequence": one(StackID="1", InStackPositionNumber=index + 1),
                **own(index, echo),
            }
            frames.append(one(**item)[0])
    dataset.PerFrameFunctionalGroupsSequence = Items(frames)
    planes = np.repeat(data, len(echoes), axis=0)
    # Each echo is darker than the one before, so that mixing them up shows.
    planes = planes >> np.tile(np.arange(len(echoes)), slices).astype(planes.dtype)[:, None, None]
    dataset.PixelData = np.ascontiguousarray(planes).tobytes()
    return write(dataset, path, syntax)


def by_dcm2niix(source: Path, target: Path) -> list[nib.Nifti1Image]:
    """Convert a folder with the independent reader."""
    from dcm2niix import bin as program

    target.mkdir(parents=True, exist_ok=True)
    options = ["-z", "n", "-p", "n", "-b", "n", "-f", "%s_%e_%r"]
    subprocess.run([program, *options, "-o", str(target), str(source)], capture_output=True)
    return [nib.load(path) for path in sorted(target.glob("*.nii"))]


def disagreement(scan: Scan, image: nib.Nifti1Image, volume: int = 0) -> str:
    """Say how another reader's image differs voxel by voxel in space, ``""`` where it does not."""
    to_other = np.linalg.inv(image.affine) @ scan.affine
    turn = np.round(to_other[:3, :3])
    if np.abs(to_other[:3, :3] - turn).max() > 0.002 or (np.abs(turn).sum(axis=0) != 1).any():
        return f"the axes differ: {to_other[:3, :3]}"
    axes = np.abs(turn).argmax(axis=0)
    data = np.asarray(image.dataobj, dtype=np.float64)
    data = data.reshape(*data.shape[:3], -1)[..., volume].transpose(axes)
    flips = tuple(
        slice(None, None, -1) if turn[axis, i] < 0 else slice(None) for i, axis in enumerate(axes)
    )
    data = data[flips]
    if data.shape != scan.shape:
        return f"{data.shape} instead of {scan.shape}"
    corner = to_other[:3, 3]
    expected = [image.shape[axis] - 1 if turn[axis, i] < 0 else 0 for i, axis in enumerate(axes)]
    off = np.abs(corner[list(axes)] - expected).max()
    if off > 0.02:
        return f"shifted by {off:.3f} voxels"
    worst = np.abs(data - scan.data).max()
    return "" if worst <= 1e-5 * np.abs(scan.data).max() else f"values differ by {worst}"
