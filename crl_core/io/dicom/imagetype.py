"""What kind of image a frame is: which part of the complex signal, and whether it was computed.

The words of the image type say so (PS3.3, C.7.6.1.1.2 and C.8.13.3.3), in the vocabulary of each
vendor; enhanced objects have an attribute for the complex component as well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from crl_core.io.dicom import values
from crl_core.io.dicom.groups import FrameView

FRAME_TYPE_GROUP = "MRImageFrameTypeSequence"

_COMPONENT = "ComplexImageComponent"
_COMPONENTS = {
    "M": "magnitude",
    "MAGNITUDE": "magnitude",
    "P": "phase",
    "PHASE": "phase",
    "PHASE MAP": "phase",
    "VELOCITY MAP": "phase",
    "R": "real",
    "REAL": "real",
    "I": "imaginary",
    "IMAGINARY": "imaginary",
}
_GE_COMPONENTS = ("magnitude", "phase", "real", "imaginary")
"""Codes 0 to 3 of the private element (0043,xx2F)."""

_MAPS = re.compile(
    r"(?:.*[ _])?MAP|E?ADC(?:[ _].*)?|COLFA|FA|RA|TENSOR(?:[ _].*)?|EXPONENTIAL|R[12]|R2[ _]?STAR"
    r"|(?:REL|R)?CB[FV]|(?:REL)?MTT|TTP|TMAX|PBP|K[ _]?TRANS|T-?TEST|STD_DEVIATION|B[01]"
    r"|SUBTRACTION|SUB|DIVISION|MULTIPLICATION|QUANTITY|FIELD_MAP"
)
_PROJECTIONS = {"MIP", "MINIP", "MAX_IP", "MIN_IP", "MNIP", "MAXIMUM", "MINIMUM"} | {
    "PROJECTION IMAGE"
}
_FLAVOURS = {"WATER", "FAT", "IN_PHASE", "OUT_PHASE", "OPP_PHASE", "W", "F", "IP", "OP"} | {
    "TRACEW"
}
"""Words that tell apart images of one series which cover the same places."""


def words(view: FrameView) -> list[str]:
    """Return the words of the image type that concern a frame, upper case."""
    found = view.texts("FrameType", FRAME_TYPE_GROUP) or values.texts(view.top, "ImageType")
    own = [*found, *view.siemens(0x75)]
    return [word.upper() for word in own]


def component(types: Sequence[str], view: FrameView) -> str:
    """Return ``"magnitude"``, ``"phase"``, ``"real"`` or ``"imaginary"``."""
    places = (*view.macro(FRAME_TYPE_GROUP), view.top)
    stated = next((text for p in places if (text := values.text(p, _COMPONENT))), "")
    if stated in _COMPONENTS:
        return _COMPONENTS[stated]
    for word in types[2:]:
        first = word.split("_")[0]
        name = _COMPONENTS.get(first if len(first) == 1 else word)
        if name is not None:
            return name
    for tag in values.private(view.top, 0x0043, "GEMS_PARM_01", 0x2F):
        code = values.whole(view.top, tag, "SS")
        if code is not None and 0 <= code < len(_GE_COMPONENTS):
            return _GE_COMPONENTS[code]
    return "magnitude"


def flavour(types: Sequence[str]) -> str:
    """Return the words that tell images of one place apart, such as ``"water"``."""
    return " ".join(dict.fromkeys(word.lower() for word in types[2:] if word in _FLAVOURS))


def computed(types: Sequence[str]) -> str:
    """Say what kind of computed image it is, ``""`` for one that was acquired."""
    if any(word in _PROJECTIONS for word in types[2:]):
        return "a projection through a volume"
    if "SYNTHETIC" in types:
        return "a synthetic image, not an acquired one"
    named = next((word for word in types[2:] if _MAPS.fullmatch(word)), "")
    return f"a computed map ({named})" if named else ""
