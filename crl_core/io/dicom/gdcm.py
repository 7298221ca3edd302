"""Lossless JPEG, JPEG-LS and baseline JPEG, decoded by the GDCM inside SimpleITK.

The decoder runs in a process of its own, with a time limit and (where the system has one) a
memory limit: native code that meets damaged data may crash or hang. It is given small files made
here, which hold one frame each and nothing else of the original.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crl_core.io.dicom.frames import Instance

_START_SECONDS = 60.0
"""Time the process may take to load SimpleITK, on a slow disk."""

_DECODE_SECONDS, _FRAME_SECONDS = 1.5, 0.1
"""Time it may then take, and more for each frame; it ends itself when that is over."""

_CHILD = """
import faulthandler, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
except (ImportError, ValueError, OSError):
    pass
import numpy
import SimpleITK
SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
folder, count = sys.argv[1], int(sys.argv[2])
faulthandler.dump_traceback_later(float(sys.argv[3]), exit=True)
for number in range(count):
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(f"{folder}/{number}.dcm")
    numpy.save(f"{folder}/{number}.npy", SimpleITK.GetArrayFromImage(reader.Execute()))
"""


@dataclass(frozen=True)
class JpegSize:
    """What the frame header of a JPEG stream declares (ISO 10918-1, B.2.2; ISO 14495-1)."""

    rows: int
    columns: int
    components: int
    precision: int

    @classmethod
    def read(cls, data: bytes) -> JpegSize | None:
        """Read it, or return None where there is none."""
        at = 2
        while data[:2] == b"\xff\xd8" and at + 10 <= len(data) and data[at] == 0xFF:
            marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
            if marker == 0xFF:
                at += 1
                continue
            # SOF markers, without those for tables and arithmetic conditioning; F7 is JPEG-LS.
            if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
                rows, columns = (int.from_bytes(data[at + i : at + i + 2], "big") for i in (5, 7))
                return cls(rows, columns, data[at + 9], data[at + 4])
            at += 2 + length
        return None


def fits(data: bytes, instance: Instance) -> bool:
    """Return whether an encoded frame is whole and of the size that the DICOM header declares.

    The decoder fills in what is missing at the end of a truncated stream without a word.
    """
    if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        return False
    size = JpegSize.read(data)
    return size is not None and (size.rows, size.columns, size.components) == (
        instance.rows,
        instance.columns,
        1,
    )


def decode(frames: Sequence[tuple[Instance, bytes]]) -> list[NDArray[np.generic]] | None:
    """Decode frames of the sizes their instances declare.

    Returns
    -------
    list of array or None
        Whole numbers, (rows, columns), one per frame; None where the decoder gave up,
        crashed, or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="crl-") as name:
        folder = Path(name)
        for number, (instance, data) in enumerate(frames):
            _write(folder / f"{number}.dcm", instance, data)
        limit = _DECODE_SECONDS + _FRAME_SECONDS * len(frames)
        try:
            subprocess.run(
                [sys.executable, "-c", _CHILD, name, str(len(frames)), str(limit)],
                check=True,
                timeout=_START_SECONDS + limit,
                stdin=subprocess.DEVNULL,
                capture_output=True,
            )
            return list(_read(folder, [instance for instance, _ in frames]))
        except (subprocess.SubprocessError, OSError, ValueError):
            return None


def _read(folder: Path, instances: Sequence[Instance]) -> Iterable[NDArray[np.generic]]:
    for number, instance in enumerate(instances):
        array = np.load(folder / f"{number}.npy", allow_pickle=False)
        yield array.reshape(instance.rows, instance.columns)


def _write(path: Path, instance: Instance, data: bytes) -> None:
    """Write one frame as a file that holds what a decoder needs to know."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, MRImageStorage

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    meta.TransferSyntaxUID = UID(instance.syntax)
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, UID("1.2.3")
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = instance.rows, instance.columns
    dataset.BitsAllocated, dataset.BitsStored = instance.allocated, instance.stored
    dataset.HighBit, dataset.PixelRepresentation = instance.high_bit, int(instance.signed)
    dataset.PixelData = encapsulate([data])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)
