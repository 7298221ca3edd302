"""Synthesised images on disk, marked so that nobody takes them for acquired ones.

The NIfTI header begins its description with ``SYNTHETIC``, and the sidecar says which model
made the image from what. Neither holds a file name, a path or any text of the source, for
those may name a patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from crl_core import __version__
from crl_core.errors import GridError, ParameterError
from crl_core.io import save
from crl_core.io.image_file import SYNTHETIC_FIELD, SYNTHETIC_MARK
from crl_core.io.timing import to_fields
from crl_core.physics.determinacy import undetermined
from crl_core.scan import FloatArray, IntensityScale, Scan
from crl_core.sequence import SequenceParameters

if TYPE_CHECKING:
    from crl_core.checkpoint import Card

Units = Literal["model", "source"]

_UNIT_WORDS = {
    "model": "model units: acquired intensity = value * Scale + Offset",
    "source": "intensities as acquired in the source",
}


_EXPECTED = (
    "Mean absolute error that the neural network expects of the image beside it. A voxel's figure "
    "says little about structures: a lesion that is missed is missed with confidence."
)


def save_synthetic(
    array: FloatArray,
    like: Scan,
    path: str | Path,
    parameters: SequenceParameters,
    checkpoint_card: Card,
    scale: IntensityScale,
    units: Units = "model",
    *,
    sources: Sequence[Scan] = (),
    overwrite: bool = False,
    expected_error: bool = False,
) -> None:
    """Write a synthesised volume with the grid of its source, never clipped.

    Parameters
    ----------
    array
        (x, y, z) in model units, on the grid of `like`.
    like
        The source whose grid and affine the result has.
    path
        Name of the image; the sidecar goes beside it.
    parameters
        What was asked for.
    checkpoint_card
        Card of the model that made it.
    scale
        How source intensities map to model units.
    units
        ``"model"`` writes `array` as it is, ``"source"`` maps it back with `scale`.
    sources
        All sources, where there were several; `like` alone by default.
    expected_error
        The volume is no image but how far off the network expects one to be.

    Raises
    ------
    GridError
        When `array` is not on the grid of `like`.
    ParameterError
        When `units` is unknown.
    OutputError
        When a file exists and `overwrite` is False, or cannot be written.
    """
    if array.shape != like.shape:
        raise GridError(
            f"a synthesised volume of {array.shape} voxels does not fit a source of {like.shape}",
            remedy="Export it with the scan it was made from",
        )
    if units not in _UNIT_WORDS:
        raise ParameterError(f"'{units}' are no units", remedy="Choose 'model' or 'source'")
    if units == "source" and checkpoint_card.intensity_rule == "minmax":
        raise ParameterError(
            f"'{checkpoint_card.name}' gives each contrast its own range, not the source's unit",
            remedy="Export in model units",
        )
    data = array if units == "model" else scale.to_source(array)
    if expected_error and units == "source":
        data = data - scale.offset  # a difference of intensities has no offset
    image = replace(
        like,
        data=np.asarray(data, dtype=np.float32),
        parameters=parameters,
        origins={},
        path=None,
        note="",
    )
    sidecar = _sidecar(parameters, checkpoint_card, scale, units, sources or (like,))
    if expected_error:
        sidecar |= {"Quantity": "expected absolute error", "Description": _EXPECTED}
    save(image, path, sidecar=sidecar, description=SYNTHETIC_MARK, overwrite=overwrite)


def _sidecar(
    parameters: SequenceParameters,
    card: Card,
    scale: IntensityScale,
    units: Units,
    sources: Sequence[Scan],
) -> dict[str, Any]:
    inside = card.coverage.inside(parameters)
    known = [s.parameters for s in sources if s.parameters is not None]
    field_strength = known[0].field_strength if known else None
    doubt = undetermined(known, parameters, field_strength or 3.0) if known else None
    return {
        SYNTHETIC_FIELD: True,
        "Description": "Synthesised by a neural network from other scans; not acquired, "
        "not for diagnosis.",
        "ImageType": ["DERIVED", "SECONDARY", SYNTHETIC_MARK],
        "GeneratedBy": [{"Name": "CRL Explorer", "Version": __version__}],
        "Model": {"Name": card.name, "Preset": card.preset, "SHA256": card.sha256},
        "SourceParameters": [
            None if s.parameters is None else to_fields(s.parameters, s.origins) for s in sources
        ],
        "Intensity": {
            "Units": units,
            "Meaning": _UNIT_WORDS[units]
            if card.intensity_rule == "robust"
            else "fraction of this contrast's own range; not comparable with the source",
            "Offset": scale.offset,
            "Scale": scale.scale,
            "Rule": scale.rule,
        },
        "TrainingCoverage": {
            "Verdict": "inside" if inside else "extrapolating",
            "Sentence": card.coverage.sentence(parameters),
            "SourcesInside": all(card.coverage.inside(p) for p in known),
        },
        "Undetermined": None if doubt is None else str(doubt),
    }
