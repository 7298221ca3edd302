"""One digital subject of a dataset: made, scanned and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crl_core import io
from crl_core.errors import InputError
from crl_core.io.atomic import atomic_path
from crl_core.io.bids import image_path
from crl_core.io.image_file import SIMULATED_FIELD, SIMULATED_MARK
from crl_core.physics.anatomy import detailed
from crl_core.physics.dataset import DERIVATIVE, SubjectDone, SubjectJob, sequences_of
from crl_core.physics.labels import LabelMap, Tissues, cropped, cut, read_label_map
from crl_core.physics.realism import Realism
from crl_core.physics.scanner import Scanner, TrueMaps
from crl_core.physics.subjects import DigitalSubject
from crl_core.physics.tissues import tissue_index
from crl_core.scan import FloatArray, Origin, Scan
from crl_core.sequence import SequenceParameters

_MARGIN_MM = 8.0
"""Air kept around the head in the plane."""

_GAIN = (800.0, 3000.0)
"""Range of what the signal of pure water becomes, as scanners store it."""

_CEREBRUM = ("white matter", "cortical grey matter")

TRUE_TISSUES: dict[str, tuple[str, ...]] = {
    "CSF": ("cerebrospinal fluid", "ventricular fluid"),
    "GM": ("cortical grey matter",),
    "WM": ("white matter",),
}
"""Classes of the tissue map, numbered from 1, and the rows of the tissue table each takes in."""


def make_subject(job: SubjectJob, watch: Callable[[], None]) -> SubjectDone:
    """Simulate one subject and write its files; the same job always gives the same bytes.

    Raises
    ------
    InputError
        When the label map cannot be used.
    """
    meaning = tuple(job.options.meaning.items()) if job.options.meaning else None
    found = _anatomy(job.labels, meaning, job.thickness_mm)
    watch()
    rng = np.random.default_rng([job.seed, job.number])
    realism = _realism(job, rng)
    gain = float(np.exp(rng.uniform(*np.log(_GAIN))))
    tissues = detailed(found, rng)
    watch()
    subject = DigitalSubject.from_tissues(
        tissues,
        found.affine,
        int(rng.integers(2**31)),
        field_strength=job.field_strength,
        realism=realism,
        lesions=job.options.lesions,
        engine=job.options.engine,
    )
    step = max(1, round(job.thickness_mm / float(np.linalg.norm(found.affine[:3, 2]))))
    starts = _slices(tissues, step, job.n_slices, job.labels)
    subject, starts = _only_needed(subject, starts, step)
    scanner = Scanner(subject, step, job.options.voxel_mm, job.options.device)
    sequences = sequences_of(job)
    volumes = scanner.scan(list(sequences.values()), starts, gain, watch)
    affine = _affine(subject, scanner, starts, step)
    images = [
        _write_image(job, realism, name, parameters, np.rint(volume), affine)
        for (name, parameters), volume in zip(sequences.items(), volumes, strict=True)
    ]
    if job.options.maps or job.options.lesions:
        _write_truth(job, scanner.maps(starts), affine)
    if job.options.maps:
        _write_tissues(job, true_tissues(subject, starts, step, scanner.image), affine)
    row = {
        "participant_id": f"sub-{job.label}",
        # The map's file name may name a person; its place in the list does not.
        "anatomy": f"anatomy-{job.anatomy + 1:02d}",
        "field_strength": f"{job.field_strength:g}",
        "refocusing_angle": f"{realism.refocusing:.1f}",
        "lesions": "+".join(job.options.lesions) or "none",
    }
    return SubjectDone(tuple(images), row, found.notes)


@lru_cache(maxsize=2)
def _anatomy(
    path: Path, meaning: tuple[tuple[int, str], ...] | None, thickness_mm: float
) -> LabelMap:
    """Read a map and cut it to the head with some air around, even along both axes.

    A map of a single plane is one slice, whatever its voxels are.
    """
    found = read_label_map(path, dict(meaning) if meaning else None)
    if found.tissues.shape[2] == 1:
        affine = found.affine.copy()
        affine[:3, 2] *= thickness_mm / float(np.linalg.norm(affine[:3, 2]))
        found = replace(found, affine=affine)
    voxel = np.linalg.norm(found.affine[:3, :3], axis=0)
    tight = cropped(found, path)
    start = np.rint(np.linalg.inv(found.affine) @ tight.affine[:, 3])[:3].astype(int)
    box = []
    for axis, count in enumerate(found.tissues.shape):
        margin = round(_MARGIN_MM / float(voxel[axis])) if axis < 2 else 0
        low = max(0, int(start[axis]) - margin)
        high = min(count, int(start[axis]) + tight.tissues.shape[axis] + margin)
        # Whole numbers of eight transform quickly.
        while axis < 2 and (high - low) % 8 and high < count:
            high += 1
        box.append((low, high))
    return cut(found, (box[0], box[1], box[2]))


def _realism(job: SubjectJob, rng: np.random.Generator) -> Realism:
    options = job.options
    drawn = Realism.draw(rng, field_strength=job.field_strength)
    low, high = options.refocusing
    return replace(
        drawn,
        refocusing=low + (high - low) * float(rng.random()),
        noise=drawn.noise if options.noise is None else options.noise,
        coils=options.coils,
        blur=0.5 * drawn.blur,  # k-space adds its own
        lesions=0.0,
    )


def _slices(tissues: Tissues, step: int, count: int, path: Path) -> list[int]:
    """Return the first plane of every slice: a stack centred on the brain and not beyond it."""
    inside = np.isin(tissues, [tissue_index(name) for name in _CEREBRUM])
    filled = np.count_nonzero(inside, axis=(0, 1))
    if not filled.any():
        filled = np.count_nonzero(tissues, axis=(0, 1))
    # A few stray voxels do not make a slice worth having.
    levels = np.flatnonzero(filled > 0.02 * filled.max())
    low, high = int(levels[0]), int(levels[-1]) + 1
    most = max(1, -(-(high - low) // step))
    number = min(count, most, tissues.shape[2] // step)
    if number < 1:
        raise InputError("the label map is too short for one slice", path=path)
    first = round((low + high - number * step) / 2)
    first = min(max(0, first), tissues.shape[2] - number * step)
    return [first + k * step for k in range(number)]


def _only_needed(
    subject: DigitalSubject, starts: Sequence[int], step: int
) -> tuple[DigitalSubject, list[int]]:
    """Drop the planes that no slice touches."""
    low = max(0, starts[0] - step)
    high = min(subject.tissues.shape[2], starts[-1] + 2 * step)
    affine = subject.affine.copy()
    affine[:3, 3] += affine[:3, 2] * low
    inclusions = subject.inclusions
    if inclusions is not None:
        inclusions = replace(
            inclusions,
            kind=inclusions.kind[:, :, low:high],
            weight=inclusions.weight[:, :, low:high],
        )
    part = replace(
        subject,
        tissues=np.ascontiguousarray(subject.tissues[:, :, low:high]),
        affine=affine,
        inclusions=inclusions,
    )
    return part, [s - low for s in starts]


def _affine(
    subject: DigitalSubject, scanner: Scanner, starts: Sequence[int], step: int
) -> NDArray[np.float64]:
    """Return the affine of the images from that of the anatomy."""
    ratio = np.array([*scanner.pixel_mm, 0.0]) / scanner.voxel
    ratio[2] = step
    first = np.array([*(0.5 * ratio[:2] - 0.5), starts[0] + (step - 1) / 2, 1.0])
    affine = subject.affine @ np.diag([*ratio, 1.0])
    affine[:3, 3] = (subject.affine @ first)[:3]
    return np.asarray(affine)


def _write_image(
    job: SubjectJob,
    realism: Realism,
    name: str,
    parameters: SequenceParameters,
    data: FloatArray,
    affine: NDArray[np.float64],
) -> Path:
    path = image_path(job.folder, job.label, name, suffix_of(parameters))
    origins = dict.fromkeys(("tr", "te", "ti"), Origin("simulated"))
    about: dict[str, Any] = {
        SIMULATED_FIELD: True,
        "CRLSimulation": {
            "Engine": job.options.engine,
            "RefocusingAngle": round(realism.refocusing, 2)
            if job.options.engine == "epg"
            else 180.0,
            "ReceiveChannels": realism.coils,
            "Noise": round(realism.noise, 6),
        },
    }
    scan = Scan(data.astype(np.float32), affine, name, parameters, origins)
    io.save(scan, path, sidecar=about, description=SIMULATED_MARK)
    return path.relative_to(job.folder)


def _write_truth(job: SubjectJob, maps: TrueMaps, affine: NDArray[np.float64]) -> None:
    """Write the true maps, in the units BIDS asks for, and where the inclusions are."""
    root = job.folder / "derivatives" / DERIVATIVE / f"sub-{job.label}"
    quantities = {
        "anat/T1map": maps.t1 / np.float32(1000.0),
        "anat/T2map": maps.t2 / np.float32(1000.0),
        "anat/PDmap": maps.pd,
        "fmap/TB1map": maps.b1 * np.float32(100.0),
        "fmap/RB1map": maps.receive,
    }
    units = {"T1map": "s", "T2map": "s", "PDmap": "fraction of water", "TB1map": "percent",
             "RB1map": "1 in the middle of the head"}  # fmt: skip
    for place, data in quantities.items() if job.options.maps else ():
        kind = place.split("/")[1]
        path = root / place.replace(kind, f"sub-{job.label}_{kind}.nii.gz")
        about = {SIMULATED_FIELD: True, "Units": units[kind]}
        scan = Scan(data, affine, kind)
        io.save(scan, path, sidecar=about, description=f"{SIMULATED_MARK} truth")
    if job.options.lesions:
        path = root / "anat" / f"sub-{job.label}_desc-inclusions_dseg.nii.gz"
        scan = Scan(maps.inclusions.astype(np.float32), affine, "inclusions")
        io.save(scan, path, sidecar={SIMULATED_FIELD: True}, description=f"{SIMULATED_MARK} truth")
        _write_names(root / "anat" / f"sub-{job.label}_desc-inclusions_dseg.tsv")


def _write_names(path: Path) -> None:
    """Write what the labels of the inclusion map mean."""
    names = ("white matter lesion", "oedema", "glioma", "necrosis")
    lines = ["index\tname", *(f"{tissue_index(n)}\t{n}" for n in names)]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def true_tissues(
    subject: DigitalSubject, starts: Sequence[int], step: int, image: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return which voxels of the images are of one single tissue.

    Parameters
    ----------
    subject
        The anatomy.
    starts, step
        First plane of every slice and planes a slice, as the scanner takes them.
    image
        Pixels of a slice along x and y.

    Returns
    -------
    classes
        (x, y, slices): 1, 2, 3 for the classes of `TRUE_TISSUES`, 0 for everything else, for
        inclusions, and for voxels that hold more than one tissue.
    """
    found = np.zeros((*image, len(starts)), np.uint8)
    for k, start in enumerate(starts):
        cut = slice(start, start + step)
        planes = subject.tissues[:, :, cut]
        for number, names in enumerate(TRUE_TISSUES.values(), start=1):
            inside = np.isin(planes, [tissue_index(name) for name in names])
            if subject.inclusions is not None:
                inside &= subject.inclusions.weight[:, :, cut] == 0
            found[:, :, k][_filled(np.asarray(inside.all(axis=2)), image)] = number
    return found


def _filled(plane: NDArray[np.bool_], image: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels of an image within which a plane of the anatomy is set throughout."""
    for axis, count in enumerate(image):
        length = plane.shape[axis]
        edges = np.arange(count + 1) * length / count
        # A hair's breadth, so that rounding does not draw in the next voxel.
        low = np.floor(edges[:-1] + 1e-6).astype(int)
        high = np.ceil(edges[1:] - 1e-6).astype(int)
        missing = np.cumsum(~plane, axis=axis)
        upto = np.concatenate([np.zeros_like(missing.take([0], axis)), missing], axis)
        plane = upto.take(high, axis) == upto.take(low, axis)
    return plane


def _write_tissues(
    job: SubjectJob, classes: NDArray[np.uint8], affine: NDArray[np.float64]
) -> None:
    """Write the voxels of one tissue as BIDS writes a segmentation, with what its labels mean."""
    root = job.folder / "derivatives" / DERIVATIVE / f"sub-{job.label}" / "anat"
    stem = f"sub-{job.label}_desc-tissues_dseg"
    scan = Scan(classes.astype(np.float32), affine, "tissues")
    about = {SIMULATED_FIELD: True}
    io.save(scan, root / f"{stem}.nii.gz", sidecar=about, description=f"{SIMULATED_MARK} truth")
    rows = [
        f"{number}\t{' and '.join(names)}\t{short}"
        for number, (short, names) in enumerate(TRUE_TISSUES.items(), start=1)
    ]
    with atomic_path(root / f"{stem}.tsv") as temporary:
        text = "\n".join(["index\tname\tabbreviation", *rows]) + "\n"
        temporary.write_text(text, encoding="utf-8")


def suffix_of(parameters: SequenceParameters) -> str:
    """Return the BIDS suffix that fits the contrast."""
    if parameters.ti > 1500:
        return "FLAIR"
    if parameters.te > 60:
        return "T2w"
    return "PDw" if parameters.tr > 3000 and not parameters.inverted else "T1w"
