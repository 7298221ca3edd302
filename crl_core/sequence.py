"""Parameters of a fast spin echo acquisition and the settings this field knows by name.

All times are in milliseconds. Seconds exist only at the border, in BIDS and DICOM code.
An inversion time of zero means that there is no inversion pulse: the magnitude of the
inversion-recovery signal at TI = 0 equals the signal without inversion, so the value is
also the right limit of the formula (see `crl_core.physics.signal`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from crl_core.errors import ParameterError

TR_RANGE = (200.0, 20_000.0)
TE_RANGE = (5.0, 300.0)
TI_RANGE = (20.0, 5_000.0)
"""What the sliders and the random training protocols span, in ms; TI may also be zero."""

MIN_TI = 20.0
"""Shortest inversion time a scanner can play out between the inversion and the excitation, ms."""


@dataclass(frozen=True, slots=True)
class SequenceParameters:
    """TR, TE and TI of a fast spin echo acquisition.

    Parameters
    ----------
    tr, te
        Repetition time and effective echo time, ms, both positive and finite.
    ti
        Inversion time, ms; 0 means no inversion.
    echo_spacing
        Time between two refocused echoes, ms.
    echo_train_length
        Number of echoes after one excitation.
    field_strength
        Static field, tesla.
    fat_suppression
        Whether fat was suppressed; ``None`` where that is not known.

    Raises
    ------
    ParameterError
        When a value is not finite or has the wrong sign. Whether a scanner could play the
        combination is a different question: see `check_order` and
        `crl_core.physics.feasibility`.
    """

    tr: float
    te: float
    ti: float = 0.0
    echo_spacing: float | None = None
    echo_train_length: int | None = None
    field_strength: float | None = None
    fat_suppression: bool | None = None

    def __post_init__(self) -> None:
        for name in ("tr", "te", "ti"):
            value = float(getattr(self, name))
            if not math.isfinite(value) or value < 0 or (value == 0 and name != "ti"):
                raise ParameterError(
                    f"{name.upper()} {value:g} ms is not a usable value",
                    remedy="Give TR and TE above 0 and TI at 0 or above, in milliseconds",
                )
            object.__setattr__(self, name, value)

    @property
    def inverted(self) -> bool:
        """Whether the acquisition starts with an inversion pulse."""
        return self.ti > 0

    @property
    def triple(self) -> tuple[float, float, float]:
        """(TR, TE, TI) in ms, the order used everywhere."""
        return (self.tr, self.te, self.ti)

    @property
    def numbers(self) -> tuple[float, float, float, float]:
        """(TR, TE, TI) in ms and 1 where fat was suppressed: what a network is told."""
        return (self.tr, self.te, self.ti, float(self.fat_suppression is True))

    def plain(self) -> SequenceParameters:
        """Return TR, TE, TI and whether fat is suppressed, without echo train and field."""
        return SequenceParameters(*self.triple, fat_suppression=self.fat_suppression or None)

    @property
    def last_echo_time(self) -> float:
        """Time from excitation to the last echo of the train, ms.

        Echo train length times echo spacing where both are known, and never less than TE,
        which is the lower bound taken where the train is unknown.
        """
        if self.echo_spacing is None or self.echo_train_length is None:
            return self.te
        return max(self.te, self.echo_spacing * self.echo_train_length)

    def at(
        self,
        tr: float | None = None,
        te: float | None = None,
        ti: float | None = None,
    ) -> SequenceParameters:
        """Return the same sequence with some of the three times changed."""
        return replace(
            self,
            tr=self.tr if tr is None else tr,
            te=self.te if te is None else te,
            ti=self.ti if ti is None else ti,
        )

    def check_order(self) -> None:
        """Refuse a repetition too short to hold the inversion delay and the echo.

        Raises
        ------
        ParameterError
            When TR < TI + TE.
        """
        if self.tr < self.ti + self.te:
            raise ParameterError(
                f"TR {self.tr:g} ms is too short: TI {self.ti:g} and TE {self.te:g} "
                f"need {self.ti + self.te:g} ms",
                remedy=f"Raise TR to {self.ti + self.te:g} ms or more, or lower TI or TE",
            )

    def __str__(self) -> str:
        ti = f"TI {self.ti:g}" if self.inverted else "TI off"
        fat = ", fat suppressed" if self.fat_suppression else ""
        return f"TR {self.tr:g} TE {self.te:g} {ti} ms{fat}"


_FAT_SUPPRESSED = "fs"


def parse_parameters(text: str) -> SequenceParameters:
    """Read ``TR,TE,TI`` (or ``TR,TE``) in milliseconds, as given on the command line.

    A last ``fs`` says that fat is suppressed, as in ``9000,120,2500,fs``.

    Raises
    ------
    ParameterError
        When the text does not hold two or three numbers.
    """
    parts = [p.strip() for p in text.split(",")]
    suppressed = parts[-1].lower() == _FAT_SUPPRESSED or None
    parts = parts[: -1 if suppressed else None]
    try:
        values = [float(p) for p in parts]
    except ValueError:
        values = []
    if len(values) not in (2, 3):
        raise ParameterError(
            f"'{text}' is not TR,TE,TI", remedy="Give two or three numbers in ms, as in 8000,100,0"
        )
    tr, te, ti = (*values, 0.0)[:3]
    return SequenceParameters(tr, te, ti, fat_suppression=suppressed)


PAPER_SEQUENCES: Mapping[int, SequenceParameters] = MappingProxyType(
    {
        1: SequenceParameters(2479, 9.62, 1055),
        2: SequenceParameters(2479, 10.42),
        3: SequenceParameters(6777, 10.42),
        4: SequenceParameters(6777, 62.52),
        5: SequenceParameters(8000, 10.42),
        6: SequenceParameters(8000, 39.92),
        7: SequenceParameters(8142, 104.2),
        8: SequenceParameters(8000, 99.98, 1030),
        9: SequenceParameters(8000, 98.78, 2025),
    }
)
"""The nine acquired sequences of the paper (Xiong et al., MICCAI 2024, table 1)."""

PAPER_TRAINING = (1, 2, 3, 5, 7, 8, 9)
PAPER_HELD_OUT = (4, 6)

PRESETS: Mapping[str, SequenceParameters] = MappingProxyType(
    {
        "PD": SequenceParameters(8000, 10.42),
        "T1w": SequenceParameters(600, 10),
        "T2w": SequenceParameters(5000, 100),
        "T1-FLAIR": SequenceParameters(2479, 9.62, 1055),
        "T2-FLAIR": SequenceParameters(8000, 98.78, 2025),
        "STIR": SequenceParameters(5000, 40, 160),
    }
)
"""Clinical contrasts by name. PD, T1-FLAIR and T2-FLAIR are sequences 5, 1 and 9 of the paper;
T1w, T2w and STIR are usual settings of a 1.5 T or 3 T brain protocol."""


def distance(a: SequenceParameters, b: SequenceParameters) -> float:
    """Return how far two settings lie apart: 1 is about a factor of e in one parameter.

    TR and TE are compared on a logarithmic scale. TI is compared as log(TI + 150 ms), so that
    the scale is linear near zero, and an inversion pulse on one side only counts 1 on top.
    """
    d_tr = math.log(a.tr / b.tr)
    d_te = math.log(a.te / b.te)
    d_ti = math.log((a.ti + 150.0) / (b.ti + 150.0))
    switched = 1.0 if a.inverted != b.inverted else 0.0
    return math.sqrt(d_tr**2 + d_te**2 + d_ti**2) + switched
