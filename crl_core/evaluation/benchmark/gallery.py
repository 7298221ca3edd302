"""Slices kept for the figures, one person a fold, and how they are read back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crl_core.evaluation.benchmark.people import Case
from crl_core.evaluation.benchmark.protocol import Protocol, Task
from crl_core.evaluation.masks import judged_mask
from crl_core.evaluation.metrics import least_squares_gain, reference_peak
from crl_core.geometry import SlicePlane
from crl_core.io.atomic import atomic_path
from crl_core.scan import FloatArray


@dataclass(frozen=True, eq=False)
class Picture:
    """One synthesised slice beside the acquired one, as on screen, in units of the peak.

    Parameters
    ----------
    image, acquired
        Synthesised, multiplied with its least-squares gain, and acquired; (rows, columns), 1 is
        the 99.5th percentile of the target in the mask.
    source
        The first source, 1 is its own 99.5th percentile.
    mask
        Where the images were compared.
    aspect
        Height of a pixel over its width.
    person
        Whose.
    """

    image: FloatArray
    acquired: FloatArray
    source: FloatArray
    mask: np.ndarray[Any, np.dtype[np.bool_]]
    aspect: float
    person: str

    @property
    def proportion(self) -> float:
        """Height of the slice over its width."""
        rows, columns = self.image.shape
        return float(self.aspect * rows / columns)


class Gallery:
    """Gathers pictures and writes them into one file."""

    def __init__(self) -> None:
        self._found: dict[str, Any] = {}

    def add(self, case: Case, image: FloatArray) -> None:
        """Keep the slice with the most head in it."""
        target, first = case.answer, case.sources[0]
        mask = judged_mask(first.mask, target.mask)
        reference = case.in_units(target)
        peak = reference_peak(reference, mask)
        gain = least_squares_gain(image, reference, mask)
        axis = target.slice_axis
        other = tuple(a for a in range(3) if a != axis)
        index = int(mask.sum(axis=other).argmax())
        plane = SlicePlane(target.affine, target.shape, axis, target.orientation_stated)

        def shown(volume: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            return plane.to_display(np.take(volume, index, axis=axis))

        name = case.task.name
        self._found[f"{name}/image"] = shown(image * gain / peak).astype(np.float16)
        self._found[f"{name}/acquired"] = shown(reference / peak).astype(np.float16)
        self._found[f"{name}/source"] = shown(case.in_units(first)).astype(np.float16)
        self._found[f"{name}/mask"] = shown(mask)
        self._found[f"{name}/aspect"] = np.float32(plane.spacing[1] / plane.spacing[0])
        self._found["person"] = np.str_(case.visit.person)

    def write(self, path: Path) -> None:
        """Write what was gathered; older pictures of the unit are replaced."""
        with atomic_path(path, overwrite=True) as temporary:
            np.savez_compressed(temporary, **self._found)


def read_picture(path: Path, task: Task) -> Picture | None:
    """Read one picture of a unit; None where it has none."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as found:
        if f"{task.name}/image" not in found:
            return None
        parts = {
            k: found[f"{task.name}/{k}"].astype(np.float32) for k in ("image", "acquired", "source")
        }
        return Picture(
            **parts,
            mask=found[f"{task.name}/mask"],
            aspect=float(found[f"{task.name}/aspect"]),
            person=str(found["person"]),
        )


def main_source(protocol: Protocol) -> str:
    """Return the source of the figures: 7 (T2) as in the paper, else the nearest to TE 100 ms."""
    if "7" in protocol.seen:
        return "7"
    plain = [k for k in protocol.seen if not protocol.contrasts[k].inverted] or list(protocol.seen)
    return min(plain, key=lambda k: abs(math.log(protocol.contrasts[k].te / 100.0)))


def shown_targets(protocol: Protocol) -> list[str]:
    """Return the three targets of figure 3: PD, T1-FLAIR and T2-FLAIR, else the first three."""
    source = main_source(protocol)
    wanted = [k for k in ("5", "1", "9") if k in protocol.seen and k != source]
    others = [k for k in protocol.contrasts if k != source and k not in wanted]
    return (wanted + others)[:3]


def gallery_tasks(protocol: Protocol) -> list[Task]:
    """Return what is kept: everything from the main source, itself included."""
    source = main_source(protocol)
    return [Task((source,), target) for target in protocol.contrasts]
