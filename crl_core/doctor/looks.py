"""What the voxels of one scan look like, in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass

from crl_core.io.nifti import Volume


@dataclass(frozen=True, eq=False)
class Looks:
    """Placeholder until intensities are looked at."""

    replaced: int

    @classmethod
    def of(cls, volume: Volume) -> Looks:
        """Measure a volume."""
        return cls(volume.replaced)
