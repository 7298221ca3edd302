"""Small DICOM studies with a patient's name in every header, for the tests of the window."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

PATIENT = "Mustermann^Erika"
PATIENT_ID = "PID-4711"
BORN = "19640812"
SECRETS = ("Mustermann", "Erika", PATIENT_ID, BORN)
"""What must not be found on screen, in the settings or in the log."""

_STUDY = generate_uid()
_FRAME = generate_uid()


def write_series(
    folder: Path,
    number: int,
    words: str,
    *,
    tr: float | None = 4500,
    te: float | None = 90,
    ti: float | None = None,
    train: int | None = 12,
    sequence: str | Sequence[str] = "SE",
    shape: tuple[int, int, int] = (24, 20, 6),
    spacing: tuple[float, float, float] = (2.0, 2.0, 4.0),
    without: Sequence[int] = (),
    volumes: int = 1,
) -> list[Path]:
    """Write one axial series, a file a slice, and return the files.

    A bright head with a darker left half, one brightness step a slice; `without` leaves slices
    out, which is a gap; several `volumes` differ in their acquisition number and in brightness.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series = generate_uid()
    files = []
    for volume in range(volumes):
        for k in range(shape[2]):
            if k in without:
                continue
            path = folder / f"IM-{number:04d}-{volume:02d}{k:03d}"
            dataset = _dataset(path, series, number, words, tr, te, ti, train, sequence)
            dataset.InstanceNumber = volume * shape[2] + k + 1
            dataset.AcquisitionNumber = volume + 1
            dataset.ImagePositionPatient = [-20.0, -20.0, k * spacing[2]]
            _put_pixels(dataset, _slice(shape, k, volume), spacing)
            dataset.save_as(path, enforce_file_format=True)
            files.append(path)
    return files


def write_study(folder: Path) -> Path:
    """Write a study: a T1 and a T2 on one grid, a FLAIR without TI on another, one with a gap."""
    write_series(folder / "1", 3, "t1_tse", tr=600, te=12, train=3)
    write_series(folder / "2", 4, "t2_tse", tr=4500, te=90)
    write_series(
        folder / "3", 5, "flair_tse", tr=9000, te=120, sequence=["SE", "IR"],
        shape=(20, 20, 5), spacing=(2.4, 2.0, 5.0),
    )  # fmt: skip
    write_series(folder / "4", 6, "pd_tse", te=15, without=(3,))
    (folder / "readme.txt").write_text("not an image")
    return folder


def zipped(folder: Path, archive: Path) -> Path:
    """Put a folder into a zip archive."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as into:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                into.write(path, path.relative_to(folder))
    return archive


def _dataset(
    path: Path, series: str, number: int, words: str, tr: float | None, te: float | None,
    ti: float | None, train: int | None, sequence: str | Sequence[str],
) -> FileDataset:  # fmt: skip
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    known = {
        "SOPClassUID": MRImageStorage, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": _STUDY, "SeriesInstanceUID": series, "FrameOfReferenceUID": _FRAME,
        "PatientName": PATIENT, "PatientID": PATIENT_ID, "PatientBirthDate": BORN,
        "Modality": "MR", "Manufacturer": "Test Systems", "SeriesNumber": number,
        "SeriesDescription": words, "ProtocolName": words, "ImageType": ["ORIGINAL", "PRIMARY"],
        "MRAcquisitionType": "2D", "ScanningSequence": sequence, "SequenceVariant": "SK",
        "ScanOptions": "", "MagneticFieldStrength": "3", "FlipAngle": "150",
        "RepetitionTime": tr, "EchoTime": te, "InversionTime": ti, "EchoTrainLength": train,
    }  # fmt: skip
    for name, value in known.items():
        if value is not None:
            setattr(dataset, name, value)
    return dataset


def _put_pixels(
    dataset: FileDataset, pixels: np.ndarray, spacing: tuple[float, float, float]
) -> None:
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelSpacing = [spacing[1], spacing[0]]
    dataset.SliceThickness = dataset.SpacingBetweenSlices = spacing[2]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = pixels.astype("<u2").tobytes()


def _slice(shape: tuple[int, int, int], k: int, volume: int) -> np.ndarray:
    cols, rows, _ = shape
    y, x = np.mgrid[-1 : 1 : complex(rows), -1 : 1 : complex(cols)]
    head = x**2 + y**2 < 0.85
    return np.where(head, 500 + 20 * k + 300 * volume + 200 * (x > 0), 0)
