"""Which of TR, TE and TI a file states, and where.

Each value is looked up on its own: first in the BIDS sidecar, then in the NIfTI header
(its free text, then the time step of a 4-D file). Values no scanner writes on purpose, such as
the -1 or 1.8e308 some converters leave behind, count as not stated; values that are
plainly milliseconds in a field that counts seconds are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crl_core.errors import InputError
from crl_core.scan import Certainty, Origin
from crl_core.sequence import SequenceParameters

NAMES = ("tr", "te", "ti")

FIELDS: Mapping[str, tuple[str, ...]] = {
    "tr": ("RepetitionTime", "RepetitionTimeExcitation"),
    "te": ("EchoTime",),
    "ti": ("InversionTime",),
}
"""The BIDS fields of each parameter, in seconds, the preferred one first."""

LONGEST_S = {"tr": 30.0, "te": 1.0, "ti": 10.0}
"""Above these a value in seconds is not a fast spin echo setting; it was written in ms."""

_MS_PER_UNIT = {8: 1000.0, 16: 1.0, 24: 0.001}
"""Codes of the NIfTI format for seconds, milliseconds and microseconds."""

CERTAINTY_FIELD = "CRLParameterCertainty"
"""Our own sidecar field: how a value is known, where it is not simply stated."""

INVERSION_WORDS = re.compile(r"flair|stir|tirm|(?<![a-z])(?:ps)?ir(?![a-z])|inversion|mp2?rage")
_HEADER_VALUE = re.compile(
    r"(?<![A-Za-z])(TR|TE|TI)\s*=\s*([-+]?[\d.]+(?:e[-+]?\d+)?)\s*(ms|s)?(?![A-Za-z])",
    re.IGNORECASE,
)


@dataclass
class Timing:
    """What is known of a scan's timing, value by value.

    Parameters
    ----------
    values
        ``"tr"``, ``"te"``, ``"ti"`` to ms, only those that are known.
    origins
        Where each known value was read.
    extras
        Other fields of `SequenceParameters` a sidecar gave.
    """

    values: dict[str, float] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, value: float, origin: Origin) -> None:
        """Keep a value unless a better source gave it before."""
        if name not in self.values:
            self.values[name] = value
            self.origins[name] = origin

    @property
    def parameters(self) -> SequenceParameters | None:
        """TR, TE and TI together, or None when one of them is unknown."""
        if any(name not in self.values for name in NAMES):
            return None
        tr, te, ti = (self.values[name] for name in NAMES)
        return SequenceParameters(tr, te, ti, **self.extras)

    @property
    def missing(self) -> str:
        """Words for the values that are not known, such as ``"TR and TI"``."""
        return " and ".join(name.upper() for name in NAMES if name not in self.values)


def read_timing(
    sidecar: Mapping[str, Any], header: Any, *, path: Path, where: str, volume: int = 0
) -> Timing:
    """Collect TR, TE and TI of a NIfTI file.

    Parameters
    ----------
    sidecar
        The merged BIDS sidecar; empty when there is none.
    header
        The nibabel header of the file.
    path
        The image, for its name and for error messages.
    where
        Name of the sidecar as a person should read it.
    volume
        Which volume of a 4-D file, for fields that hold one value per volume.

    Raises
    ------
    InputError
        When a sidecar field is no number, or was written in milliseconds.
    """
    timing = Timing()
    _from_sidecar(timing, sidecar, path=path, where=where, volume=volume)
    _from_header(timing, header)
    if "ti" not in timing.values and {"tr", "te"} <= timing.values.keys():
        origin = _no_inversion(sidecar, path, where)
        if origin is not None:
            timing.add("ti", 0.0, origin)
    return timing


def sequence_type(sidecar: Mapping[str, Any], timing: Timing) -> tuple[str, bool | None]:
    """Return what kind of sequence a sidecar tells of, and whether it is fast spin echo.

    Parameters
    ----------
    sidecar
        The merged BIDS sidecar.
    timing
        What `read_timing` found.

    Returns
    -------
    kind, fast
        ``""`` and None where the sidecar does not say.
    """
    listed = sidecar.get("ScanningSequence")
    kinds = set(re.split(r"[^A-Za-z]+", str(listed).upper())) if listed else set()
    if kinds & {"GR", "EP"}:
        return "gradient echo" if "GR" in kinds else "echo planar", False
    train = timing.extras.get("echo_train_length")
    if "SE" not in kinds and train is None:
        return "", None
    fast = None if train is None else int(train) > 1
    inversion = "inversion recovery " if "IR" in kinds else ""
    return f"{inversion}{'fast ' if fast else ''}spin echo", fast


def to_fields(
    parameters: SequenceParameters, origins: Mapping[str, Origin] | None = None
) -> dict[str, Any]:
    """Return the BIDS fields of `parameters`, in seconds.

    BIDS knows no inversion time of zero, so that field is left out then and
    ``ScanningSequence`` says that the scan is a plain spin echo.
    """
    fields: dict[str, Any] = {
        "RepetitionTime": _seconds(parameters.tr),
        "EchoTime": _seconds(parameters.te),
        "ScanningSequence": ["SE", "IR"] if parameters.inverted else ["SE"],
    }
    if parameters.inverted:
        fields["InversionTime"] = _seconds(parameters.ti)
    if parameters.echo_train_length is not None:
        fields["EchoTrainLength"] = parameters.echo_train_length
    if parameters.echo_spacing is not None:
        fields["EchoSpacing"] = _seconds(parameters.echo_spacing)
    if parameters.field_strength is not None:
        fields["MagneticFieldStrength"] = parameters.field_strength
    if parameters.fat_suppression is not None:
        fields["FatSuppression"] = parameters.fat_suppression
    uncertain = {
        name.upper(): origin.certainty
        for name, origin in (origins or {}).items()
        if origin.certainty != "stated"
    }
    if uncertain:
        fields[CERTAINTY_FIELD] = uncertain
    return fields


def _seconds(ms: float) -> float:
    """Milliseconds to seconds; twelve digits, so that 99.98 ms reads 0.09998 and returns."""
    return float(f"{ms / 1000.0:.12g}")


def _milliseconds(seconds: float) -> float:
    return float(f"{seconds * 1000.0:.12g}")


def _from_sidecar(
    timing: Timing, sidecar: Mapping[str, Any], *, path: Path, where: str, volume: int
) -> None:
    certainties = sidecar.get(CERTAINTY_FIELD)
    known = certainties if isinstance(certainties, Mapping) else {}
    for name in NAMES:
        for key in FIELDS[name]:
            seconds = _number(sidecar.get(key), key, path=path, where=where, volume=volume)
            if seconds is None or seconds < 0 or (seconds == 0 and name != "ti"):
                continue
            if seconds > LONGEST_S[name]:
                raise InputError(
                    f"{where} gives {key} {seconds:g}, but BIDS counts seconds and no spin echo "
                    f"scan has {name.upper()} {seconds:g} s",
                    path=path,
                    remedy=f"Write {seconds / 1000.0:g} if {seconds:g} ms was meant",
                )
            timing.add(name, _milliseconds(seconds), Origin(where, _certainty(known, name)))
            break
    timing.extras.update(_extras(sidecar))


def _certainty(known: Mapping[str, Any], name: str) -> Certainty:
    word = known.get(name.upper())
    if word == "nominal":
        return "nominal"
    if word == "estimated":
        return "estimated"
    return "given" if word == "given" else "stated"


def _number(value: Any, key: str, *, path: Path, where: str, volume: int) -> float | None:
    """Return a finite number, or None where the field is absent or holds a placeholder."""
    if isinstance(value, list):
        value = value[volume] if volume < len(value) else None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(
            f"{where} gives {key} as {str(value)[:40]!r}, which is not a number",
            path=path,
            remedy="Write a number of seconds",
        )
    return float(value) if math.isfinite(value) else None


def _extras(sidecar: Mapping[str, Any]) -> dict[str, Any]:
    extras: dict[str, Any] = {}
    length = sidecar.get("EchoTrainLength")
    if isinstance(length, int) and length > 0:
        extras["echo_train_length"] = int(length)
    for key, name, factor in (
        ("EchoSpacing", "echo_spacing", 1000.0),
        ("MagneticFieldStrength", "field_strength", 1.0),
    ):
        value = sidecar.get(key)
        if isinstance(value, int | float) and math.isfinite(value) and value > 0:
            extras[name] = float(f"{value * factor:.12g}")
    if isinstance(sidecar.get("FatSuppression"), bool):
        extras["fat_suppression"] = sidecar["FatSuppression"]
    return extras


def _from_header(timing: Timing, header: Any) -> None:
    text = bytes(header["descrip"]).split(b"\0")[0].decode("latin-1")
    for name, digits, unit in _HEADER_VALUE.findall(text):
        value = _header_value(name.lower(), digits, unit.lower())
        if value is not None:
            timing.add(name.lower(), value, Origin("NIfTI header, description text"))
    step = _time_step(header)
    if step is not None:
        timing.add("tr", step, Origin("NIfTI header, time between volumes"))


def _header_value(name: str, digits: str, unit: str) -> float | None:
    try:
        value = float(digits) * (1000.0 if unit == "s" else 1.0)
    except ValueError:
        return None
    if not math.isfinite(value) or value < 0 or value > 1000.0 * LONGEST_S[name]:
        return None
    # Without a unit a TR this short may just as well be in seconds; then it is not known.
    if name == "tr" and (value == 0 or (not unit and value <= LONGEST_S["tr"])):
        return None
    return None if name == "te" and value < 1.0 else value


def _time_step(header: Any) -> float | None:
    """TR from the fourth voxel size, where that is credible.

    Only a 4-D file with a time unit has one, and one second exactly is what converters
    write when they know nothing.
    """
    shape = header.get_data_shape()
    factor = _MS_PER_UNIT.get(int(header["xyzt_units"]) & 0x38)
    if len(shape) < 4 or shape[3] < 2 or factor is None:
        return None
    step = float(f"{float(header['pixdim'][4]) * factor:.7g}")
    credible = math.isfinite(step) and 100.0 <= step <= 1000.0 * LONGEST_S["tr"]
    return step if credible and step != 1000.0 else None


def _no_inversion(sidecar: Mapping[str, Any], path: Path, where: str) -> Origin | None:
    """Say why a scan without an inversion time has none, or None where it may have one."""
    listed = sidecar.get("ScanningSequence")
    kinds = set(re.split(r"[^A-Za-z]+", str(listed).upper())) if listed else set()
    words = [path.name, *(str(sidecar.get(k, "")) for k in ("ProtocolName", "SeriesDescription"))]
    # "_" and digits end a word here, so that acq-ir2 and T1_IR read as IR.
    if "IR" in kinds or any(INVERSION_WORDS.search(w.lower()) for w in words):
        return None
    if "SE" in kinds:
        return Origin(f"{where}: spin echo without inversion")
    return Origin("no inversion time in the file, taken as no inversion", "nominal")
