"""Make ``vendor_headers.zip``: real headers without their pixels, each byte as it was.

Run by hand when the set should change:

    python tests/data/dicom/cut_headers.py FOLDER... tests/data/dicom/vendor_headers.zip

Every file is cut where its pixel data begin; the tests put pixels with structure back. Who was
scanned, where and by whom is overwritten in place, so that every other byte stays where it was.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from crl_core.io.dicom.files import Item
from crl_core.io.dicom.headers import Header, read_header

PEOPLE = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "InstitutionName",
    "InstitutionAddress",
    "StationName",
    "OperatorsName",
    "ReferringPhysicianName",
    "PerformingPhysicianName",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "InstitutionalDepartmentName",
    "RequestingPhysician",
)


def without_people(data: bytes, header: Header) -> bytes:
    """Return the header with the names in it overwritten by ``X`` and birth dates by 1900."""
    blank = bytearray(data)
    for keyword in PEOPLE:
        element = header.dataset.get_item(keyword)
        if element is not None and element.value:
            word = b"19000101" if "Date" in keyword else b"X" * len(element.value)
            blank[element.value_tell : element.value_tell + len(element.value)] = word
    return bytes(blank)


def main(folders: list[Path], target: Path) -> None:
    """Cut all DICOM objects below the folders; names in the archive begin with the folder's."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_LZMA) as archive:
        for folder in folders:
            for path in sorted(folder.rglob("*.dcm")):
                header = read_header(Item(path, path.stat().st_size))
                if header is None or header.pixel_offset is None:
                    continue
                name = str(path.relative_to(folder.parent)).replace(" ", "_")
                info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
                info.compress_type = zipfile.ZIP_LZMA
                data = path.read_bytes()[: header.pixel_offset]
                archive.writestr(info, without_people(data, header))


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:-1]], Path(sys.argv[-1]))
