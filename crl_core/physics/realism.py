"""How far a digital subject and its scanner depart from a perfect phantom and a perfect scanner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Realism:
    """What one subject and one scanning session add to labels, table and signal equation.

    Parameters
    ----------
    texture
        Standard deviation of the smooth variation of T1 and T2 inside tissues, fraction;
        PD varies by a third of it.
    bias
        Share of the receive shading that the scanner's own normalisation leaves, 0 to 1.
    noise
        Standard deviation of the noise in each channel's real and imaginary part, as a fraction
        of the signal of pure water right after a 90 degree pulse. It belongs to the session: a
        sequence with little signal is noisier in relation.
    blur
        Width (sigma) of the point spread in the plane beyond what k-space does, pixels.
    lesions
        Expected number of white matter lesions in a slab (training only).
    wide
        Spread of the tissue table beyond published ranges, 0 to 1.
    refocusing
        Nominal refocusing angle, degrees.
    transmit
        Size of the transmit field's departure from nominal, fraction.
    inversion
        What an inversion pulse makes of a unit of magnetisation, with its sign turned.
    artery_speed, vein_speed
        Speed of blood across the slice, mm/s.
    fat_left
        Share of fat signal that fat suppression leaves.
    fat_shift
        Displacement of fat along the readout by chemical shift, pixels.
    ghost
        Amplitude of the ghosts of pulsating fluid and blood, fraction.
    motion
        Largest shift of a contrast against the others, pixels of the image.
    coils
        Receive channels, combined by root sum of squares; noise is then non-central chi.
    """

    texture: float = 0.06
    bias: float = 0.25
    noise: float = 0.01
    blur: float = 0.4
    lesions: float = 1.0
    wide: float = 0.0
    refocusing: float = 150.0
    transmit: float = 0.1
    inversion: float = 0.94
    artery_speed: float = 350.0
    vein_speed: float = 120.0
    fat_left: float = 0.08
    fat_shift: float = 1.0
    ghost: float = 0.01
    motion: float = 0.2
    coils: int = 1

    @classmethod
    def draw(
        cls, rng: np.random.Generator, wide: float = 0.0, field_strength: float = 3.0
    ) -> Realism:
        """Draw the realism of one subject over the range seen on scanners."""
        high = field_strength > 2.25
        return cls(
            texture=float(rng.uniform(0.02, 0.11)),
            bias=float(rng.uniform(0.0, 0.45)),
            noise=float(np.exp(rng.uniform(np.log(0.002), np.log(0.016)))),
            blur=float(rng.uniform(0.35, 0.85)),
            lesions=float(rng.choice([0.0, 1.5, 4.0])),
            wide=wide,
            refocusing=float(rng.uniform(110.0, 180.0)),
            transmit=float(rng.uniform(0.05, 0.16) if high else rng.uniform(0.0, 0.06)),
            inversion=float(rng.uniform(0.88, 0.98)),
            artery_speed=float(rng.uniform(150.0, 600.0)),
            vein_speed=float(rng.uniform(20.0, 250.0)),
            fat_left=float(rng.uniform(0.02, 0.2)),
            fat_shift=float(rng.uniform(0.5, 2.0) if high else rng.uniform(0.3, 1.2)),
            ghost=float(rng.uniform(0.0, 0.03)),
            motion=float(rng.uniform(0.0, 0.5)),
            coils=1,
        )


IDEAL = Realism(
    texture=0.0,
    bias=0.0,
    noise=0.0,
    blur=0.0,
    lesions=0.0,
    refocusing=180.0,
    transmit=0.0,
    inversion=1.0,
    artery_speed=0.0,
    vein_speed=0.0,
    fat_left=1.0,
    fat_shift=0.0,
    ghost=0.0,
    motion=0.0,
)
"""Nothing but labels, table and signal equation."""
