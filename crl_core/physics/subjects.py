"""Digital subjects: label maps turned into fast spin echo scans with known truth.

A subject is an anatomy plus one draw of every tissue's PD, T1 and T2, texture inside tissues,
inclusions, and a scanning session: transmit field, receive coils, refocusing, noise. All its
contrasts share these. Everything follows from one seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crl_core.physics.anatomy import refined
from crl_core.physics.labels import Tissues, to_ras
from crl_core.physics.lesions import Inclusions, LesionKind, add_inclusions
from crl_core.physics.realism import Realism as Realism
from crl_core.physics.scanner import Scanner, TrueMaps, Watch
from crl_core.physics.slab import Engine
from crl_core.physics.tissues import Table, draw_table, labels_to_tissues
from crl_core.scan import FloatArray
from crl_core.sequence import SequenceParameters


@dataclass(frozen=True)
class DigitalSubject:
    """An anatomy with one draw of its tissues, ready to be scanned.

    Parameters
    ----------
    tissues
        Rows of the tissue table, (x, y, z) with z along the slices.
    affine
        4x4 to RAS+ mm.
    table
        PD, T1, T2 per tissue.
    realism
        See `Realism`.
    seed
        Seed of textures, fields, noise and inclusions.
    inclusions
        Lesions, tumour, oedema; None for none.
    engine
        How the echo train is simulated: ``"epg"`` or ``"closed"``.
    """

    tissues: Tissues
    affine: NDArray[np.float64]
    table: Table
    realism: Realism
    seed: int
    inclusions: Inclusions | None = None
    engine: Engine = "epg"

    @classmethod
    def from_labels(
        cls,
        labels: NDArray[np.integer],
        affine: NDArray[np.float64],
        seed: int,
        *,
        field_strength: float = 3.0,
        realism: Realism | None = None,
    ) -> DigitalSubject:
        """Draw a subject from labels in FreeSurfer's numbering, any orientation, as they are."""
        labels, affine = to_ras(labels, affine)
        return cls.from_tissues(
            labels_to_tissues(labels), affine, seed, field_strength=field_strength, realism=realism
        )

    @classmethod
    def from_tissues(
        cls,
        tissues: Tissues,
        affine: NDArray[np.float64],
        seed: int,
        *,
        field_strength: float = 3.0,
        realism: Realism | None = None,
        lesions: Sequence[LesionKind] = (),
        engine: Engine = "epg",
    ) -> DigitalSubject:
        """Draw a subject from rows of the tissue table in RAS order."""
        realism = realism or Realism()
        table = draw_table(np.random.default_rng(seed), field_strength, wide=realism.wide)
        inclusions = None
        if lesions:
            rng = np.random.default_rng([seed, 5])
            voxel = np.linalg.norm(affine[:3, :3], axis=0)
            inclusions = add_inclusions(rng, tissues, voxel, lesions)
        return cls(tissues, affine, table, realism, seed, inclusions, engine)

    def scan(
        self,
        parameters: Sequence[SequenceParameters],
        slices: Sequence[int],
        thickness: int,
        gain: float = 1000.0,
        *,
        in_plane_mm: float | None = None,
        device: str = "cpu",
        watch: Watch | None = None,
    ) -> list[FloatArray]:
        """Acquire several sequences of the same slices.

        Parameters
        ----------
        parameters
            One entry a sequence.
        slices
            First z index of each slice.
        thickness
            Slice thickness in planes of the anatomy.
        gain
            Scanner gain, the same for all sequences: what the signal of pure water becomes.
        in_plane_mm
            Pixel size of the images, mm; the anatomy's own by default. The field of view must
            hold a whole number of pixels, so the size is rounded to one that does.
        device
            ``"cpu"``, or a device of torch.
        watch
            Called between slices, so that a caller can stop the work by raising.

        Returns
        -------
        volumes
            One (x, y, len(slices)) float32 array a sequence.
        """
        return Scanner(self, thickness, in_plane_mm, device).scan(parameters, slices, gain, watch)

    def maps(
        self, slices: Sequence[int], thickness: int, *, in_plane_mm: float | None = None
    ) -> TrueMaps:
        """Return the truth on the grid that `scan` gives; see there for the parameters."""
        return Scanner(self, thickness, in_plane_mm, "cpu").maps(slices)

    @cached_property
    def fine(self) -> Tissues:
        """The tissues on a grid twice as fine in the plane."""
        return refined(self.tissues, np.random.default_rng([self.seed, 7]))
