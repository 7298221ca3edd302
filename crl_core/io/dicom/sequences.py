"""What a header says of the pulse sequence: its kind, its echo train, what else is known.

The closest words win: attributes of enhanced objects, then the names vendors give their
sequences, then the coarse classic attributes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from crl_core.io.dicom import csa, values
from crl_core.io.dicom.groups import FrameView
from crl_core.io.dicom.timing import MODIFIER_GROUP, TIMING_GROUP, Stated, Times
from crl_core.io.timing import INVERSION_WORDS, Timing
from crl_core.scan import Origin

_FAST = re.compile(
    r"tse|(?<![a-z])(?:fr)?fse|fse|tir|spc|haste|h2d|rare|cube|vista|vti|blade|propeller|space"
)
_FAST_WORDS = re.compile(r"(?<![a-z])(?:tse|fse|frfse|haste|(?:turbo|fast)[ _]spin)(?![a-z])")
"""Words of the protocol; they count only where the header has no attribute of the kind."""

_GRADIENT = re.compile(
    r"tfl|(?<![a-z])fl[23]d|flash|ffe|tfe|spgr|gre(?![a-z])|mprage|vibe|bravo|fiesta|trufi|fisp|merge"
)
_PLANAR = re.compile(r"ep2d|ep_|epi(?![a-z])|epfid|epse|dwi?epi")
_PREPARED = re.compile(r"tfl|mprage|mp2rage|bravo|(?<![a-z])tfe|(?<![a-z])tir")
"""Names of sequences that usually begin with an inversion."""

_FAT_WORDS = {"FS", "WE", "FAT_SAT", "FATSAT", "SPIR", "SPAIR"}

_PHILIPS = "Philips Imaging DD 001"
_PHILIPS_TIMES = {
    "tr": ((0x2005, "Philips MR Imaging DD 001", 0x30, "FL"),),
    "te": ((0x2001, _PHILIPS, 0x25, "SH"),),
    "ti": ((0x2001, _PHILIPS, 0x84, "DS"), (0x2001, _PHILIPS, 0x1B, "FL")),
}
"""Group, creator, element and representation: repetition time, echo time (display), inversion
time, prepulse delay."""

_LONGEST_TRAIN = 2000
_B0_KEY = "sProtConsistencyInfo.flNominalB0"
_NOMINAL_FIELDS = (0.55, 1.5, 3.0, 7.0)

_GYROMAGNETIC = 42.577
"""Protons, MHz per tesla."""


@dataclass(frozen=True)
class Sequence:
    """What is known of the pulse sequence.

    Parameters
    ----------
    kind
        ``"fast spin echo"``, ``"inversion recovery fast spin echo"``, ``"spin echo"``,
        ``"inversion recovery"``, ``"gradient echo"``, ``"echo planar"`` or ``"unknown"``.
    fast_spin_echo
        None where the header does not say.
    timing
        TR, TE and TI with origins, and the further fields of `SequenceParameters`.
    """

    kind: str
    fast_spin_echo: bool | None
    timing: Timing


def describe(
    view: FrameView, times: Times, description: str, echoes: int, echo_index: int
) -> Sequence:
    """Work out the sequence of one part of a series.

    Parameters
    ----------
    view
        Header of one of its frames.
    times
        TR, TE and TI of the whole part.
    description
        Words of the protocol.
    echoes, echo_index
        How many echo times the series has, and which one this is, counted from 0.
    """
    evidence = _Evidence.read(view, description)
    protocol = csa.protocol(view.top)
    timing = Timing()
    for name, stated in (("tr", times.tr), ("te", times.te), ("ti", times.ti)):
        stated = stated or _fallback(name, view, protocol, times, echo_index)
        if stated is not None:
            timing.add(name, stated.value, Origin(stated.where))
    inverted = timing.values.get("ti", 0.0) > 0 or evidence.inverted or "IR" in evidence.scanning
    kind, fast = _classify(evidence, bool(inverted), echoes)
    if "ti" not in timing.values:
        origin = _no_inversion(evidence, times, kind)
        if origin is not None:
            timing.add("ti", 0.0, origin)
    timing.extras.update(_extras(view, evidence, protocol, fast))
    return Sequence(kind, fast, timing)


@dataclass(frozen=True)
class _Evidence:
    scanning: frozenset[str]
    variant: frozenset[str]
    options: frozenset[str]
    names: str
    echo_type: str
    planar: bool
    train: int | None
    several_echoes: bool
    inverted: bool | None
    description: str

    @classmethod
    def read(cls, view: FrameView, description: str) -> _Evidence:
        names = [
            *view.texts("PulseSequenceName"),
            *view.texts("SequenceName"),
            *_private_names(view),
        ]
        recovery = view.text("InversionRecovery", MODIFIER_GROUP)
        if not recovery and _philips_text(view, 0x1C) == "INV":
            recovery = "YES"
        train = view.number("RFEchoTrainLength", TIMING_GROUP)
        if train is None or train[0] <= 1:  # some write 1 here and the train over there
            train = view.number("EchoTrainLength", TIMING_GROUP) or train
        return cls(
            scanning=frozenset(view.texts("ScanningSequence") or view.siemens(0x5A)),
            variant=frozenset(view.texts("SequenceVariant") or view.siemens(0x5B)),
            options=frozenset(view.siemens(0x5C) or view.texts("ScanOptions")),
            names=" ".join(names).lower(),
            echo_type=view.text("EchoPulseSequence"),
            planar=view.text("EchoPlanarPulseSequence") == "YES"
            or (_philips_number(view, 0x13, "SL") or 0) > 1,
            train=int(train[0]) if train and 0 < train[0] <= _LONGEST_TRAIN else None,
            several_echoes=view.text("MultipleSpinEcho") == "YES",
            inverted={"YES": True, "NO": False}.get(recovery),
            description=description.lower(),
        )


def _philips_text(view: FrameView, element: int) -> str:
    tags = values.private(view.top, 0x2001, _PHILIPS, element)
    return next((values.text(view.top, tag) for tag in tags), "")


def _philips_number(view: FrameView, element: int, kind: str) -> float | None:
    tags = values.private(view.top, 0x2001, _PHILIPS, element)
    return next((values.number(view.top, tag, kind) for tag in tags), None)


def _private_names(view: FrameView) -> list[str]:
    """Return what GE, Philips and Siemens (from XA on) call the sequence."""
    found = [_philips_text(view, 0x20), *view.siemens(0x77)]
    for element in (0x9C, 0x9E):
        tags = values.private(view.top, 0x0019, "GEMS_ACQU_01", element)
        found += [values.text(view.top, tag) for tag in tags]
    return found


def _classify(evidence: _Evidence, inverted: bool, echoes: int) -> tuple[str, bool | None]:
    scanning, names = evidence.scanning, evidence.names
    if "grase" in names:
        return "unknown", False  # gradient and spin echoes mixed
    if evidence.planar or "EP" in scanning or _PLANAR.search(names):
        return "echo planar", False
    gradient = evidence.echo_type == "GRADIENT" or ("GR" in scanning and "SE" not in scanning)
    spin = evidence.echo_type == "SPIN" or "SE" in scanning or (scanning and scanning <= {"IR"})
    if _FAST.search(names) and not _GRADIENT.search(names):
        fast: bool | None = True
    elif gradient or _GRADIENT.search(names):
        return "gradient echo", False
    elif not spin and not _FAST_WORDS.search(evidence.description):
        return "unknown", None
    elif not spin:
        fast = True
    else:
        fast = _train_says(evidence, echoes)
    if fast:
        return ("inversion recovery " if inverted else "") + "fast spin echo", True
    return "inversion recovery" if inverted else "spin echo", fast


def _train_says(evidence: _Evidence, echoes: int) -> bool | None:
    """Tell from the echo train; as many echoes as images with own TE are no fast spin echo."""
    if evidence.several_echoes and (evidence.train or 1) <= echoes:
        return False
    if evidence.train is not None and evidence.train > echoes:
        return True
    if "SK" in evidence.variant or _FAST_WORDS.search(evidence.description):
        return True
    return False if evidence.train is not None else None


def _no_inversion(evidence: _Evidence, times: Times, kind: str) -> Origin | None:
    """Say why a scan without an inversion time has none, or None where it may have one."""
    if times.inversions > 1 or evidence.inverted or "IR" in evidence.scanning:
        return None
    if evidence.inverted is False:
        return Origin(f"DICOM functional group {MODIFIER_GROUP}, InversionRecovery NO")
    words = (evidence.description, evidence.names.replace("*", " "))
    if any(INVERSION_WORDS.search(text) for text in words) or _PREPARED.search(evidence.names):
        return None
    if times.ti_is_zero:
        return Origin(f"{times.ti_is_zero} of 0")
    if "SE" in evidence.scanning:
        return Origin(f"DICOM {values.label('ScanningSequence')}: spin echo without inversion")
    return Origin("no inversion time in the header, taken as no inversion", "nominal")


def _fallback(
    name: str, view: FrameView, protocol: Mapping[str, str], times: Times, echo_index: int
) -> Stated | None:
    """Look where vendors keep a time besides the standard element."""
    for value, where in _private_times(name, view):
        if times.credible(name, value):
            return Stated(value, where)
    if name == "ti" and not _protocol_inverts(view, protocol):
        return None
    # Beyond the number of contrasts the list goes on with values nobody set.
    if name == "te" and echo_index >= (_count(protocol.get("lContrasts", ""), 1, 999) or 1):
        return None
    key = {"tr": "alTR[0]", "te": f"alTE[{echo_index}]", "ti": "alTI[0]"}[name]
    try:
        value = float(f"{float(protocol.get(key, '')) / 1000.0:.12g}")
    except ValueError:
        return None
    if not times.credible(name, value):
        return None
    return Stated(value, f"Siemens protocol in the DICOM header, {key}")


def _protocol_inverts(view: FrameView, protocol: Mapping[str, str]) -> bool:
    """Tell whether the inversion times a Siemens protocol lists are played out.

    The switch is 4 for none, 2 and above 4 for kinds of inversion; 1 is found with both.
    """
    switch = protocol.get("sPrepPulses.ucInversion", "4").split()[:1]
    scanning = view.texts("ScanningSequence") or view.siemens(0x5A)
    return switch not in (["4"], ["0x4"]) and (switch not in (["1"], ["0x1"]) or "IR" in scanning)


def _private_times(name: str, view: FrameView) -> Iterator[tuple[float, str]]:
    if name == "ti" and (found := view.siemens_number(0x89)) is not None:
        yield found
    for group, creator, element, kind in _PHILIPS_TIMES[name]:
        if element == 0x1B and _philips_text(view, 0x1C) != "INV":
            continue  # the delay of some other prepulse
        for tag in values.private(view.top, group, creator, element):
            value = values.number(view.top, tag, kind)
            if value is not None:
                yield value, f"DICOM private {values.label(tag)} of Philips"


def _extras(
    view: FrameView, evidence: _Evidence, protocol: Mapping[str, str], fast: bool | None
) -> dict[str, Any]:
    extras: dict[str, Any] = {}
    train = evidence.train if evidence.train is not None and evidence.train > 1 else None
    if train is None:
        train = _count(protocol.get("sFastImaging.lTurboFactor", ""), 2, _LONGEST_TRAIN)
    spacing = _count(protocol.get("sFastImaging.lEchoSpacing", ""), 500, 1_000_000)
    if fast and train is not None:
        extras["echo_train_length"] = train
    if fast and spacing is not None:
        extras["echo_spacing"] = float(f"{spacing / 1000.0:.12g}")  # microseconds
    tesla = _field_strength(view, protocol)
    if tesla is not None:
        extras["field_strength"] = tesla
    suppressed = _fat_suppression(view, evidence, protocol)
    if suppressed is not None:
        extras["fat_suppression"] = suppressed
    return extras


def _count(text: str, least: int, most: int) -> int | None:
    """Read a whole number between two bounds, or return None."""
    return int(text) if text.isdigit() and len(text) < 12 and least <= int(text) <= most else None


def _field_strength(view: FrameView, protocol: Mapping[str, str]) -> float | None:
    """Return the static field, T: as stated, else the nominal one of the frequency of protons."""
    stated = view.number("MagneticFieldStrength")
    if stated is not None and 0 < stated[0] < 30:
        return stated[0]
    if stated is not None and 1000 <= stated[0] < 300_000:
        return stated[0] / 10_000.0  # gauss, as older scanners of GE wrote it
    found = _philips_number(view, 0x85, "DS")
    if found is not None and 0 < found < 30:
        return found
    frequency = view.number("TransmitterFrequency", "MRImagingModifierSequence") or view.number(
        "ImagingFrequency"
    )
    try:
        measured = frequency[0] / _GYROMAGNETIC if frequency else float(protocol[_B0_KEY])
    except (KeyError, ValueError):
        return None
    for nominal in _NOMINAL_FIELDS:
        if abs(measured / nominal - 1.0) < 0.05:
            return nominal
    return float(f"{measured:.3g}") if 0.01 < measured < 30 else None


def _fat_suppression(
    view: FrameView, evidence: _Evidence, protocol: Mapping[str, str]
) -> bool | None:
    """Tell from what is stated; the absence of a word says little, except with Siemens."""
    selected = view.text("SpectrallySelectedSuppression", MODIFIER_GROUP)
    excited = view.text("SpectrallySelectedExcitation", MODIFIER_GROUP)
    spir = _philips_text(view, 0x21)
    pulse = protocol.get("sPrepPulses.ucFatSat", "")
    if "FAT" in selected or excited == "WATER" or spir == "Y" or evidence.options & _FAT_WORDS:
        return True
    if pulse in ("1", "0x1"):
        return True
    siemens = view.text("Manufacturer").upper().startswith("SIEMENS")
    if selected == "NONE" or spir == "N" or pulse in ("4", "0x4"):
        return False
    return False if siemens and evidence.options - {""} else None
