"""From headers to frames: one slice each, with all that decides which volume it belongs to."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from crl_core.io.dicom import csa, imagetype, values
from crl_core.io.dicom.files import MAX_INFLATED, Item
from crl_core.io.dicom.groups import FrameView, views
from crl_core.io.dicom.headers import DEFLATED_LITTLE, EXPLICIT_BIG, Header
from crl_core.io.dicom.timing import Times, frame_times

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MAX_PLANE = 2**26
"""Most pixels of one stored image; the largest mosaics have a quarter of that."""

_GE_BIG_PIXELS = "1.2.840.113619.5.2"
"""A private transfer syntax: a little endian header before big endian pixels."""

_MR_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.4.1",
    "1.2.840.10008.5.1.4.1.1.4.4",
}
_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
_COLOUR_CLASS = "1.2.840.10008.5.1.4.1.1.4.3"


@dataclass(frozen=True, eq=False, slots=True)
class Instance:
    """One stored object: its pixels and which series it belongs to.

    Parameters
    ----------
    rows, columns, frames
        Size of what is stored (for a mosaic, of the whole mosaic).
    offset, deflated_at
        Where the pixel data begin, and where a deflated dataset does; see
        `crl_core.io.dicom.headers.Header`.
    problem, remedy
        Why its images cannot be used, ``""`` where they can.
    other_reader
        Whether dcm2niix may solve the problem.
    """

    item: Item
    syntax: str
    compressed: bool
    big_endian: bool
    offset: int
    deflated_at: int
    rows: int
    columns: int
    frames: int
    allocated: int
    stored: int
    high_bit: int
    signed: bool
    inverted: bool
    uid: str
    series: tuple[str, ...]
    number: int | None
    description: str
    manufacturer: str
    acquisition_type: str
    instance_number: int
    acquisition: int
    problem: str = ""
    remedy: str = ""
    other_reader: bool = False

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame, once decompressed."""
        return self.rows * self.columns * (self.allocated // 8)


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """One slice.

    Parameters
    ----------
    tile
        First row, first column, rows and columns inside the stored image.
    position, orientation
        Centre of its first pixel and the directions along a row and down a column, in the
        DICOM patient system (LPS, mm); None where not stated.
    spacing
        Between rows and between columns, mm.
    slope, intercept
        Stored values to intensities.
    component
        ``"magnitude"``, ``"phase"``, ``"real"`` or ``"imaginary"``.
    map
        What kind of computed image it is, ``""`` for none.
    gradient
        Direction of the diffusion gradient; empty for none.
    """

    instance: Instance
    index: int
    tile: tuple[int, int, int, int]
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    thickness: float | None
    slope: float
    intercept: float
    component: str
    flavour: str
    map: str
    times: Times
    echo: int
    b_value: float
    gradient: tuple[float, ...]
    stack: str
    temporal: int


def frames_of(header: Header) -> list[Frame]:
    """Return the slices of an object that has pixels; at least one, usable or not."""
    seen = views(header)
    instance = _instance(header, seen)
    if csa.is_mosaic(header.dataset):
        return _tiles(header, instance, seen[0])
    whole = (0, 0, instance.rows, instance.columns)
    return [_frame(instance, index, whole, view) for index, view in enumerate(seen)]


def _instance(header: Header, seen: list[FrameView]) -> Instance:
    dataset = header.dataset

    def whole(name: str, default: int) -> int:
        found = values.whole(dataset, name)
        return default if found is None else found

    allocated = whole("BitsAllocated", 16)
    stored = whole("BitsStored", allocated)
    uid = values.text(dataset, "SeriesInstanceUID")
    number = values.whole(dataset, "SeriesNumber")
    study = values.text(dataset, "StudyInstanceUID")
    photometric = values.text(dataset, "PhotometricInterpretation") or "MONOCHROME2"
    problem, remedy = _problem(header, seen, photometric)
    return Instance(
        item=header.item,
        syntax=header.syntax,
        compressed=header.compressed,
        big_endian=header.syntax in (EXPLICIT_BIG, _GE_BIG_PIXELS),
        offset=header.pixel_offset or 0,
        deflated_at=header.body_at,
        rows=whole("Rows", 0),
        columns=whole("Columns", 0),
        frames=max(whole("NumberOfFrames", 1), 1),
        allocated=allocated,
        stored=stored,
        high_bit=whole("HighBit", stored - 1),
        signed=whole("PixelRepresentation", 0) == 1,
        inverted=photometric == "MONOCHROME1",
        uid=values.text(dataset, "SOPInstanceUID"),
        series=(uid,) if uid else (study, str(number), str(header.item.path.parent)),
        number=number,
        description=_description(dataset),
        manufacturer=_clean(values.words(dataset, "Manufacturer"), dataset),
        acquisition_type=values.text(dataset, "MRAcquisitionType"),
        instance_number=whole("InstanceNumber", 0),
        acquisition=whole("AcquisitionNumber", 0),
        problem=problem,
        remedy=remedy,
    )


def _description(dataset: Dataset) -> str:
    for name in ("SeriesDescription", "ProtocolName"):
        found = _clean(values.words(dataset, name), dataset)
        if found:
            return found
    return ""


def _clean(text: str, dataset: Dataset) -> str:
    """Keep printable words, without any that name the patient."""
    private = re.split(
        r"[\W_]+",
        " ".join(values.words(dataset, n) for n in ("PatientName", "PatientID", "AccessionNumber")),
    )
    for word in private:
        if len(word) > 2:
            text = re.sub(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", "", text, flags=re.IGNORECASE)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:64].strip()


def _problem(header: Header, seen: list[FrameView], photometric: str) -> tuple[str, str]:
    """Return why the object holds no usable MR image, and what to do; empty where it does."""
    dataset = header.dataset
    other = "Choose the MR series it was made from"
    modality = values.text(dataset, "Modality")
    samples = values.whole(dataset, "SamplesPerPixel") or 1
    if header.sop_class.startswith(_CAPTURES):
        return "a screen capture, not an acquired image", other
    colour = samples != 1 or not photometric.startswith("MONOCHROME")
    if colour or header.sop_class == _COLOUR_CLASS:
        return "a colour image, not intensities", other
    if modality not in ("MR", "") or (not modality and header.sop_class not in _MR_CLASSES):
        return f"not an MR image (modality {modality[:8] or 'not stated'})", "Choose an MR series"
    if header.float_pixels:
        return "floating-point pixels, as computed maps have", other
    return _size_problem(header, seen)


def _size_problem(header: Header, seen: list[FrameView]) -> tuple[str, str]:
    """Compare what the header declares with the bytes that are there."""
    dataset, again = header.dataset, "Copy or export the file again"
    rows, columns = (values.whole(dataset, name) or 0 for name in ("Rows", "Columns"))
    frames = values.whole(dataset, "NumberOfFrames") or 1
    allocated = values.whole(dataset, "BitsAllocated") or 16
    stored = values.whole(dataset, "BitsStored") or allocated
    high = values.whole(dataset, "HighBit")
    high = stored - 1 if high is None else high
    if rows < 1 or columns < 1 or rows * columns > MAX_PLANE or frames < 1:
        return f"declares {frames} images of {columns} x {rows} pixels", again
    if (
        allocated not in (8, 16, 32)
        or not 1 <= stored <= allocated
        or not stored - 1 <= high < allocated
    ):
        return f"declares pixels of {stored} bits in {allocated}", again
    if frames != len(seen) and not csa.is_mosaic(dataset):
        return f"declares {frames} images but describes where {len(seen)} of them lie", again
    needed = frames * rows * columns * (allocated // 8)
    offset = header.pixel_offset or 0
    held = MAX_INFLATED if header.syntax == DEFLATED_LITTLE else header.item.size - offset
    declared = held if header.pixel_length is None else header.pixel_length
    if not header.compressed and needed > min(held, declared):
        return (
            f"declares {frames} x {columns} x {rows} pixels ({needed} bytes), more than its "
            f"{min(held, declared)} bytes hold: it is truncated or its header is damaged",
            again,
        )
    return "", ""


def _frame(
    instance: Instance, index: int, tile: tuple[int, int, int, int], view: FrameView
) -> Frame:
    types = imagetype.words(view)
    slope = view.number("RescaleSlope", "PixelValueTransformationSequence")
    intercept = view.number("RescaleIntercept", "PixelValueTransformationSequence")
    thickness = view.number("SliceThickness", "PixelMeasuresSequence")
    temporal = view.number("TemporalPositionIndex", "FrameContentSequence") or view.number(
        "TemporalPositionIdentifier"
    )
    echo = view.number("EchoNumbers")
    return Frame(
        instance=instance,
        index=index,
        tile=tile,
        position=view.finite("ImagePositionPatient", 3, "PlanePositionSequence"),
        orientation=view.finite("ImageOrientationPatient", 6, "PlaneOrientationSequence"),
        spacing=view.finite("PixelSpacing", 2, "PixelMeasuresSequence"),
        thickness=thickness[0] if thickness else None,
        slope=slope[0] if slope else 1.0,
        intercept=intercept[0] if intercept else 0.0,
        component=imagetype.component(types, view),
        flavour=imagetype.flavour(types),
        map=imagetype.computed(types),
        times=frame_times(view),
        echo=int(echo[0]) if echo else 0,
        b_value=_b_value(view),
        gradient=_gradient(view),
        stack=view.text("StackID", "FrameContentSequence"),
        temporal=int(temporal[0]) if temporal else 0,
    )


def _b_value(view: FrameView) -> float:
    found = view.number("DiffusionBValue", "MRDiffusionSequence")
    if found is not None:
        return found[0]
    places = (
        (0x0019, "SIEMENS MR HEADER", 0x0C, "IS"),
        (0x2001, "Philips Imaging DD 001", 0x03, "FL"),
        (0x0043, "GEMS_PARM_01", 0x39, "IS"),
    )
    for group, creator, element, kind in places:
        for tag in values.private(view.top, group, creator, element):
            value = values.number(view.top, tag, kind)
            if value is not None and value >= 0:
                return value % 100_000
    return 0.0


def _gradient(view: FrameView) -> tuple[float, ...]:
    """Return the diffusion direction; it tells the volumes of one b-value apart."""
    for item in view.macro("MRDiffusionSequence"):
        inner = values.first_item(item, "DiffusionGradientDirectionSequence")
        if inner is not None:
            found = values.finite(inner, "DiffusionGradientOrientation", 3)
            return tuple(round(v, 3) for v in found or ())
    found = view.finite("DiffusionGradientOrientation", 3)
    return tuple(round(v, 3) for v in found or ())


def _tiles(header: Header, instance: Instance, view: FrameView) -> list[Frame]:
    """Cut a mosaic into slices, each with its own position.

    The header places the first pixel as if one slice had the size of the whole mosaic, with
    the same centre; slices follow each other along the normal of the CSA header.
    """
    whole = _frame(instance, 0, (0, 0, instance.rows, instance.columns), view)
    if instance.problem:
        return [whole]
    known = csa.mosaic(header.dataset)
    gap = view.number("SpacingBetweenSlices") or view.number("SliceThickness")
    grid = math.ceil(math.sqrt(known.count)) if known is not None else 1
    divides = instance.rows % grid == 0 and instance.columns % grid == 0
    if known is None or gap is None or not divides or None in (whole.position, whole.spacing):
        lacking = replace(
            instance,
            problem="a mosaic whose header does not say how its slices lie",
            remedy="Export it from the scanner with its private elements",
            other_reader=True,
        )
        return [replace(whole, instance=lacking)]
    rows, columns = instance.rows // grid, instance.columns // grid
    right, down = np.reshape(whole.orientation or (1, 0, 0, 0, 1, 0), (2, 3))
    between_rows, between_columns = whole.spacing or (1.0, 1.0)
    first = (
        np.array(whole.position)
        + right * between_columns * (instance.columns - columns) / 2
        + down * between_rows * (instance.rows - rows) / 2
    )
    normal = np.cross(right, down)
    normal = normal if np.dot(normal, known.normal) > 0 else -normal
    return [
        replace(
            whole,
            tile=(k // grid * rows, k % grid * columns, rows, columns),
            position=tuple(float(v) for v in first + k * gap[0] * normal),
        )
        for k in range(known.count)
    ]
