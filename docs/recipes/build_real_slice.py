"""Build ``resources/demo/real_slice`` from the two arrays of fsantini/qMRI_example.

    python docs/recipes/build_real_slice.py t1dataset.npy t2dataset.npy resources/demo/real_slice

Run once by a maintainer; the result is part of the repository. The recipe

1. fits PD and T2 to the spin echo series and PD and T1 to the inversion-recovery series,
2. lays the inversion-recovery series on the spin echo series with one similarity transform,
3. estimates the echo time of the inversion-recovery series, which nobody wrote down,
4. says how well each series, through the fitted maps, predicts the other,
5. writes twelve magnitude images with their sidecars as a small BIDS dataset.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import typer
from demo_files import write_image
from numpy.typing import NDArray
from scipy import ndimage

from crl_core.evaluation.metrics import compare, reference_peak
from crl_core.io.bids import sidecar_path, write_dataset_description, write_json
from crl_core.io.timing import NAMES, to_fields
from crl_core.physics.signal import fse_signal
from crl_core.preprocess.mask import head_mask
from crl_core.preprocess.registration import (
    Registration,
    Similarity,
    mutual_information,
    register_inplane,
)
from crl_core.scan import Origin
from crl_core.sequence import SequenceParameters

Image = NDArray[np.float32]

IR_TR, IR_TI = 15_000.0, (50.0, 100.0, 200.0, 500.0, 2000.0, 4000.0)
SE_TR, SE_TE = 5_000.0, (10.0, 25.0, 50.0, 90.0, 150.0, 250.0)
"""Milliseconds, as the comments of t1example.py and t2example.py state them."""

SOURCE = " of fsantini/qMRI_example"

PIXEL_MM, THICKNESS_MM = 1.0, 5.0
"""Assumed. At 1 mm the head is 197 mm long and 153 mm wide, an adult's at this level."""

TE_STEP = 5.0
"""The data fix the missing echo time no better than this, ms."""


@dataclass(frozen=True)
class Maps:
    """What a fit found in one series: amplitude at no decay, and the time constant, ms."""

    amplitude: Image
    time: Image


def fit(images: Image, curves: NDArray[np.float64], times: NDArray[np.float64]) -> Maps:
    """Fit amplitude times one curve of a dictionary to every pixel, least squares.

    Parameters
    ----------
    images
        (rows, columns, n), signed.
    curves
        (candidates, n): the signal at amplitude 1 for each candidate time constant.
    times
        (candidates,), ms.
    """
    pixels = images.reshape(-1, images.shape[-1]).astype(np.float64)
    unit = curves / np.linalg.norm(curves, axis=1, keepdims=True)
    match = pixels @ unit.T
    best = np.argmax(np.abs(match), axis=1)
    amplitude = match[np.arange(len(best)), best] / np.linalg.norm(curves[best], axis=1)
    shape = images.shape[:2]
    return Maps(
        amplitude.reshape(shape).astype(np.float32), times[best].reshape(shape).astype(np.float32)
    )


def fit_t1(images: Image) -> Maps:
    """Fit the signed inversion-recovery series. TE scales the amplitude only, so any will do."""
    times = np.geomspace(80, 6000, 300)
    curves = [fse_signal(1.0, times, 1e9, ir_parameters(ti, 1e-3), signed=True) for ti in IR_TI]
    return fit(images, np.stack(curves, axis=1), times)


def fit_t2(images: Image) -> Maps:
    """Fit the spin echo series; the amplitude still carries the recovery within TR."""
    times = np.geomspace(12, 3000, 300)
    return fit(images, np.stack([np.exp(-te / times) for te in SE_TE], axis=1), times)


def ir_parameters(ti: float, te: float) -> SequenceParameters:
    """Return one setting of the inversion-recovery series."""
    return SequenceParameters(IR_TR, te, ti)


@dataclass(frozen=True)
class Timed:
    """The setting of an image and where each of its values comes from."""

    parameters: SequenceParameters
    origins: dict[str, Origin]


@dataclass(frozen=True)
class Pair:
    """Both series on one grid with the maps they share."""

    spin_echo: Image
    inversion: Image
    t1: Maps
    t2: Maps
    mask: NDArray[np.bool_]

    @property
    def recovery(self) -> Image:
        """The part of equilibrium that the spin echo series reaches within TR."""
        return 1.0 - np.exp(-np.float32(SE_TR) / self.t1.time)

    def inversion_from_spin_echo(self, index: int, te: float) -> Image:
        """Render an inversion image from the spin echo series' amplitude and T2."""
        pd = self.t2.amplitude / self.recovery
        return fse_signal(pd, self.t1.time, self.t2.time, ir_parameters(IR_TI[index], te))

    def spin_echo_from_inversion(self, index: int, te: float) -> Image:
        """Render a spin echo image from the inversion series' amplitude and T1."""
        decay = np.exp((te - np.float32(SE_TE[index])) / self.t2.time)
        return self.t1.amplitude * self.recovery * decay

    def cross_psnr(self, te: float) -> tuple[list[float], list[float]]:
        """Return PSNR (dB, one gain each) of inversion and of spin echo images so rendered."""
        inversion = [
            self._psnr(self.inversion_from_spin_echo(k, te), np.abs(self.inversion[..., k]))
            for k in range(len(IR_TI))
        ]
        spin_echo = [
            self._psnr(self.spin_echo_from_inversion(k, te), self.spin_echo[..., k])
            for k in range(len(SE_TE))
        ]
        return inversion, spin_echo

    def _psnr(self, image: Image, reference: Image) -> float:
        peak = reference_peak(reference, self.mask)
        image = image.astype(np.float32)
        return compare(image, np.ascontiguousarray(reference), self.mask, peak).psnr_gain


def pair(inversion: Image, spin_echo: Image, transform: Similarity) -> Pair:
    """Lay the signed inversion series on the spin echo grid and fit both.

    The signed images are interpolated, before any magnitude is taken: beside a null the
    magnitude has a crease that interpolation would round off.
    """
    moved = [transform.apply(inversion[..., k], order=3) for k in range(len(IR_TI))]
    on_grid = np.stack(moved, axis=-1)
    mask = head_mask(np.ascontiguousarray(spin_echo[..., :1]))[..., 0]
    return Pair(spin_echo, on_grid, fit_t1(on_grid), fit_t2(spin_echo), mask)


def find_transform(inversion: Image, spin_echo: Image) -> Registration:
    """Register the fully recovered inversion image, which the T1 fit gives, to SE TE 25.

    No acquired pair is as alike: the fit removes the inversion and averages six images' noise.
    """
    return register_inplane(fit_t1(inversion).amplitude, spin_echo[..., 1])


def echo_time_costs(both: Pair) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return candidate echo times, ms, and the error of the rendered TI 4000 image in the brain.

    The error is relative: root mean square difference after one gain over the root mean square
    of the image. Scalp and skull are left out, as chemical shift moves their fat.
    """
    brain = ndimage.binary_erosion(both.mask, iterations=18)
    acquired = np.abs(both.inversion[..., -1])[brain].astype(np.float64)
    candidates = np.arange(0.0, 61.0, 1.0)
    costs = []
    for te in candidates:
        rendered = both.inversion_from_spin_echo(len(IR_TI) - 1, max(te, 1e-3))[brain]
        gain = float(rendered @ acquired) / float(rendered @ rendered)
        costs.append(np.sqrt(np.mean((gain * rendered - acquired) ** 2)))
    return candidates, np.array(costs) / np.sqrt(np.mean(acquired**2))


def affine() -> NDArray[np.float64]:
    """Return the assumed affine: rows run anterior to posterior, columns to the left.

    The forehead is at the top of the array. That columns run to the patient's left is the usual
    way to store an axial slice, and nothing in the data says so.
    """
    rows, columns = 256, 192
    result = np.diag([PIXEL_MM, PIXEL_MM, THICKNESS_MM, 1.0])[[1, 0, 2, 3]]
    result[:2] *= -1.0
    result[:2, 3] = PIXEL_MM * (columns - 1) / 2, PIXEL_MM * (rows - 1) / 2
    return result


def write_scan(path: Path, data: Image, name: str, note: str, scan: Timed) -> None:
    """Write one image and its BIDS sidecar."""
    write_image(path, data[..., None], affine())
    names = {
        "CRLOrientationStated": False,
        "CRLName": name,
        "CRLNote": note,
        "CRLOrigins": {key: origin.where for key, origin in scan.origins.items()},
    }
    write_json(sidecar_path(path), to_fields(scan.parameters, scan.origins) | names)


def write(both: Pair, te: float, transform: Similarity, estimate: str, out: Path) -> None:
    """Write the twelve images, their sidecars and the dataset description."""
    anat = out / "sub-01" / "anat"
    assumed = "Pixel size assumed (1 mm)."
    moved = (
        f"Registered to the spin echo series ({transform.rotation:.1f}°,"
        f" {np.hypot(*transform.shift):.1f} px, {100 * abs(transform.scale - 1):.1f} % scale)."
        " TE estimated. "
    )
    for k, echo in enumerate(SE_TE):
        parameters = SequenceParameters(SE_TR, echo)
        scan = Timed(parameters, dict.fromkeys(NAMES, Origin("t2example.py" + SOURCE)))
        path = anat / f"sub-01_acq-se_echo-{k + 1}_MESE.nii.gz"
        write_scan(path, both.spin_echo[..., k], f"SE TE {echo:g}", assumed, scan)
    for k, ti in enumerate(IR_TI):
        origins = dict.fromkeys(NAMES, Origin("t1example.py" + SOURCE))
        origins["te"] = Origin(estimate, "estimated")
        scan = Timed(ir_parameters(ti, te), origins)
        path = anat / f"sub-01_acq-ir_inv-{k + 1}_IRT1.nii.gz"
        write_scan(path, np.abs(both.inversion[..., k]), f"IR TI {ti:g}", moved + assumed, scan)
    write_dataset_description(
        out,
        "One real axial slice: six spin echo and six inversion-recovery images",
        extra={
            "DatasetType": "derivative",
            "License": "MIT",
            "Authors": ["Francesco Santini"],
            "SourceDatasets": [{"URL": "https://github.com/fsantini/qMRI_example"}],
        },
    )


def main(t1_file: Path, t2_file: Path, out: Path) -> None:
    """Build the dataset and tell what was found."""
    inversion = np.load(t1_file, allow_pickle=False).astype(np.float32)
    spin_echo = np.load(t2_file, allow_pickle=False).astype(np.float32)
    found = find_transform(inversion, spin_echo)
    both = pair(inversion, spin_echo, found.transform)
    times, costs = echo_time_costs(both)
    best = times[int(np.argmin(costs))]
    te = TE_STEP * round(best / TE_STEP)
    near = times[costs < 1.1 * costs.min()]
    words = (
        f"fitted: {te:g} ms explains TI 4000 best from the spin echo series,"
        f" {near[0]:g} to {near[-1]:g} ms nearly as well"
    )
    typer.echo(f"transform: {found.transform}")
    typer.echo(f"echo time: best {best:g} ms; {words}")
    for label, p in (("before", pair(inversion, spin_echo, Similarity())), ("after", both)):
        nmi = mutual_information(np.abs(p.inversion[..., -1])[p.mask], spin_echo[..., 0][p.mask])
        ir, se = p.cross_psnr(te)
        typer.echo(
            f"{label}: NMI {nmi:.4f} (TI 4000, SE TE 10); PSNR dB"
            f" IR {np.round(ir, 1)} mean {np.mean(ir):.1f},"
            f" SE {np.round(se, 1)} mean {np.mean(se):.1f}, all {np.mean(ir + se):.1f}"
        )
    write(both, te, found.transform, words, out)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
