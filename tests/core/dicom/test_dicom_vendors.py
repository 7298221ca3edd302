"""Headers of real scanners, each with what it holds or the reason why it cannot be used.

The headers are as the scanners wrote them; the pixels are made here, because the published ones
are noise. The table was written by reading the headers, not by running the program.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from crl_core.errors import InputError
from crl_core.io import load
from crl_core.io.dicom import find_series, read_series
from crl_core.io.dicom.files import Item
from crl_core.io.dicom.headers import read_header
from crl_core.io.inspect import describe
from tests.core.dicom.writing import by_dcm2niix, disagreement, volume

ARCHIVE = Path(__file__).parents[2] / "data" / "dicom" / "vendor_headers.zip"


class Known(NamedTuple):
    """What the headers of a folder hold: ms, mm; None where they do not say."""

    folder: str
    tr: float | None
    te: float | None
    ti: float | None
    kind: str
    train: int | None
    shape: tuple[int, int, int]
    voxel: tuple[float, float, float]
    plane: str
    manufacturer: str


FAST, INVERTED, GRADIENT = "fast spin echo", "inversion recovery fast spin echo", "gradient echo"

USABLE = [
    Known(
        "philips_tse_phantom", 519.522583007813, 23.05562400817871, 0, FAST, 7,
        (256, 256, 12), (1, 1, 5), "axial", "Philips",
    ),
    Known(
        "vendors/anatomical/001", 8.9, 3.164, 900, GRADIENT, None,
        (256, 256, 4), (1, 1, 1), "sagittal", "GE MEDICAL SYSTEMS",
    ),
    Known(
        "vendors/anatomical/001_implicit", 8.9, 3.164, 900, GRADIENT, None,
        (256, 256, 4), (1, 1, 1), "sagittal", "GE MEDICAL SYSTEMS",
    ),
    Known(
        "vendors/hitachi/anatomical/001", 4000, 12, 0, FAST, None,
        (64, 64, 4), (2.34375, 2.34375, 4), "oblique sagittal", "Hitachi Medical Corporation",
    ),
    Known(
        "vendors/hitachi/anatomical/001_implicit", 4000, 12, 0, FAST, None,
        (64, 64, 4), (2.34375, 2.34375, 4), "oblique sagittal", "Hitachi Medical Corporation",
    ),
    Known(
        "vendors/hyperfine/anatomical/001", 4000, 194.39999999999998, 1400, INVERTED, 80,
        (112, 138, 8), (1.59, 1.61, 5), "axial", "Hyperfine Research",
    ),
    Known(
        "vendors/philips/anatomical/001", 4800, 386.754, 1650, INVERTED, None,
        (240, 240, 4), (1.0416666, 1.0416666, 0.6), "coronal", "Philips Medical Systems",
    ),
    Known(
        "vendors/philips_enhanced/anatomical/001", 6.7701997756958, 3.133, 0, GRADIENT, None,
        (256, 256, 8), (1, 1, 1.2), "sagittal", "Philips Medical Systems",
    ),
    Known(
        "vendors/philips_enhanced/anatomical/001_implicit", 8.20979976654052, 3.758, 0, GRADIENT,
        None, (256, 256, 8), (0.9375, 0.9375, 1), "sagittal", "Philips Medical Systems",
    ),
    Known(
        "vendors/siemens/anatomical/001", 6000, 394, 2200, INVERTED, 141,
        (256, 256, 4), (1, 1, 1), "sagittal", "SIEMENS",
    ),
    Known(
        "vendors/siemens/anatomical/001_implicit", 6000, 394, 2200, INVERTED, 141,
        (256, 256, 4), (1, 1, 1), "sagittal", "SIEMENS",
    ),
    Known(
        "vendors/siemens_multiframe/anatomical/001", None, 2.46, 900, GRADIENT, None,
        (256, 256, 8), (0.9375, 0.9375, 0.9), "axial", "Siemens",
    ),
]  # fmt: skip

REFUSED = {
    "vendors/failing/slicecount/001": "incomplete: two slices of a 3-D acquisition",
    "vendors/failing/sliceorientation/001": "not parallel: they lie in 2 orientations, "
    "mixed from 2 series numbers",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write every header with pixels that have structure."""
    folder = tmp_path_factory.mktemp("vendors")
    with zipfile.ZipFile(ARCHIVE) as archive:
        for member in archive.infolist():
            path = folder / member.filename
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(member))
            header = read_header(Item(path, path.stat().st_size))
            assert header is not None
            columns, rows = int(header.dataset.Columns), int(header.dataset.Rows)
            frames = int(header.dataset.get("NumberOfFrames", 1))
            # The number of a slice tilts it, so that slices in wrong order show.
            planes = volume(columns, rows, frames) + 7 * int(header.dataset.InstanceNumber)
            data = planes.astype(np.uint16).tobytes()
            assert len(data) == header.pixel_length
            with path.open("ab") as stream:
                stream.write(data)
    return folder


def test_the_table_is_complete() -> None:
    with zipfile.ZipFile(ARCHIVE) as archive:
        folders = {str(Path(name).parent) for name in archive.namelist()}
    assert folders == {known.folder for known in USABLE} | set(REFUSED)


@pytest.mark.parametrize("known", USABLE, ids=lambda known: known.folder)
def test_opens_with_what_its_header_holds(root: Path, known: Known) -> None:
    found = describe(root / known.folder)
    assert found["kind"] == "scan"
    assert found["format"] == "DICOM"
    for key, value in (("repetition", known.tr), ("echo", known.te), ("inversion", known.ti)):
        assert found[f"{key}_time_ms"] == value
        origin = found[f"{key}_time_ms_origin"]
        assert (origin is None) == (value is None)
        assert origin is None or origin.startswith("DICOM")
    assert found["sequence_type"] == known.kind
    assert found["fast_spin_echo"] == ("fast" in known.kind)
    assert found["echo_train_length"] == known.train
    assert tuple(found["shape"]) == known.shape
    assert found["voxel_size_mm"] == pytest.approx(known.voxel, abs=2e-4)
    assert found["plane"] == known.plane
    assert found["manufacturer"] == known.manufacturer


@pytest.mark.parametrize("known", USABLE, ids=lambda known: known.folder)
def test_every_voxel_lies_where_dcm2niix_puts_it(root: Path, tmp_path: Path, known: Known) -> None:
    (image,) = by_dcm2niix(root / known.folder, tmp_path)
    assert disagreement(load(root / known.folder), image) == ""


@pytest.mark.parametrize("folder", sorted(REFUSED))
def test_refused_with_the_right_reason(root: Path, folder: str) -> None:
    (series,) = find_series(root / folder)
    assert REFUSED[folder] in series.refusal
    assert series.remedy
    with pytest.raises(InputError) as caught:
        load(root / folder)
    assert REFUSED[folder] in str(caught.value)
    with pytest.raises(InputError, match="cannot be used"):
        read_series(series)


def test_one_file_of_a_series_is_one_slice(root: Path) -> None:
    path = next((root / "vendors/siemens/anatomical/001").iterdir())
    scan = load(path)
    assert scan.shape == (256, 256, 1)
    assert "One slice only" in scan.note
    assert scan.parameters is not None
    assert scan.parameters.triple == (6000, 394, 2200)


def test_several_folders_at_once_are_listed_by_number(root: Path) -> None:
    found = find_series(root / "vendors")
    numbers = [series.number for series in found]
    assert numbers == sorted(numbers)
    assert len({series.key for series in found}) == len(found) == len(USABLE) - 1 + len(REFUSED)
