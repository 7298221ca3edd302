"""An image file with all that belongs to it, and the scan it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crl_core.io import nifti
from crl_core.io.bids import read_sidecar, scan_name
from crl_core.io.timing import NAMES, Timing, read_timing
from crl_core.scan import BoolArray, IntensityScale, Origin, Scan
from crl_core.sequence import SequenceParameters

SYNTHETIC_FIELD = "Synthetic"
"""Sidecar field that is true in every image this program synthesised."""

SYNTHETIC_MARK = "SYNTHETIC"
"""First word of the NIfTI description of every image this program synthesised."""

SIMULATED_FIELD = "CRLSynthetic"
"""Sidecar field of digital subjects: simulated from a label map, with known truth."""

ORIENTATION_FIELD = "CRLOrientationStated"
"""Sidecar field that is false where the affine is a guess."""


SIMULATED_MARK = "simulated"
"""First word of the NIfTI description of digital subjects, for images that lost their sidecar."""

SCALE_FIELD = "IntensityScale"
"""Sidecar field of prepared images: the scale worked out once for training, viewing and scoring."""

MASK_FIELD = "HeadMask"
"""Sidecar field of prepared images: name of the file with the head mask, in the same folder."""


@dataclass(frozen=True, eq=False)
class ImageFile:
    """A NIfTI file and its sidecar, both read.

    Parameters
    ----------
    path
        The image.
    volume
        The voxels and geometry of one volume.
    sidecar
        Fields that apply to the image; empty when there are none.
    sidecar_name
        What to call the place they come from.
    """

    path: Path
    volume: nifti.Volume
    sidecar: Mapping[str, Any]
    sidecar_name: str

    @classmethod
    def read(cls, path: str | Path, volume: int | None = None) -> ImageFile:
        """Read image and sidecar; see `crl_core.io.nifti.read` for what is refused."""
        path = Path(path)
        read = nifti.read(path, volume)
        return cls(path, read, *read_sidecar(path))

    @property
    def synthetic(self) -> bool:
        """Whether this program made the image up, according to either file."""
        description = bytes(self.volume.header["descrip"])
        return self.sidecar.get(SYNTHETIC_FIELD) is True or description.startswith(
            SYNTHETIC_MARK.encode()
        )

    @property
    def simulated(self) -> bool:
        """Whether it shows a digital subject, according to either file."""
        return is_simulated(self.sidecar, self.volume.header)

    def timing(self) -> Timing:
        """Look up TR, TE and TI; see `crl_core.io.timing.read_timing`."""
        return read_timing(
            self.sidecar,
            self.volume.header,
            path=self.path,
            where=self.sidecar_name,
            volume=self.volume.index,
        )

    def scan(self, parameters: SequenceParameters | None = None) -> Scan:
        """Return the scan, with what the user states or what the files say of its timing."""
        notes = self._notes()
        if parameters is not None:
            origins = {name: Origin("given by the user", "given") for name in NAMES}
        else:
            timing = self.timing()
            parameters, origins = timing.parameters, timing.origins
            if parameters is None and timing.values:
                notes.append(f"The file does not state {timing.missing}.")
        return Scan(
            data=self.volume.data,
            affine=self.volume.affine,
            name=scan_name(self.path),
            parameters=parameters,
            origins=origins,
            path=self.path,
            orientation_stated=self.volume.stated
            and self.sidecar.get(ORIENTATION_FIELD, True) is not False,
            note=" ".join(notes),
            synthetic=self.synthetic,
            stated_scale=IntensityScale.from_dict(self.sidecar.get(SCALE_FIELD)),
            stated_mask=self._mask(),
        )

    def _mask(self) -> BoolArray | None:
        """Read the head mask that preparation wrote beside the image."""
        name = self.sidecar.get(MASK_FIELD)
        if not isinstance(name, str) or Path(name).name != name:
            return None
        path = self.path.with_name(name)
        if not path.is_file():
            return None
        mask = nifti.read(path)
        return mask.data > 0.5 if mask.data.shape == self.volume.data.shape else None

    def _notes(self) -> list[str]:
        notes: list[str] = []
        read = self.volume
        if self.synthetic:
            notes.append("SYNTHETIC image, not an acquired one.")
        elif self.simulated:
            notes.append("Simulated; no person was scanned.")
        if read.count > 1:
            notes.append(f"Volume {read.index} of {read.count}, counted from 0.")
        if read.replaced:
            voxels = "voxel that was" if read.replaced == 1 else "voxels that were"
            notes.append(f"{read.replaced} {voxels} not a finite number set to 0.")
        return notes


def is_simulated(sidecar: Mapping[str, Any], header: Any) -> bool:
    """Return whether an image shows a digital subject, by its sidecar or its NIfTI header."""
    described = bytes(header["descrip"]).startswith(SIMULATED_MARK.encode())
    return bool(sidecar.get(SIMULATED_FIELD)) or described
