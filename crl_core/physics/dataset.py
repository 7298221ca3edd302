"""Digital subjects written as a BIDS dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from crl_core.errors import OutputError, ParameterError
from crl_core.io.atomic import atomic_folder
from crl_core.io.bids import write_dataset_description, write_participants
from crl_core.io.image_file import SIMULATED_FIELD
from crl_core.parallel import Progress, run_jobs
from crl_core.physics.lesions import LesionKind
from crl_core.physics.protocols import random_protocol, with_train
from crl_core.physics.slab import Engine
from crl_core.sequence import SequenceParameters

DERIVATIVE = "crl-simulate"
"""Folder under ``derivatives`` that holds the truth."""


@dataclass(frozen=True, slots=True)
class SimulationOptions:
    """What can be chosen beyond labels, sequences and slices.

    Parameters
    ----------
    lesions
        Inclusions of every subject.
    engine
        ``"epg"`` follows stimulated echoes, ``"closed"`` takes refocusing as ideal.
    refocusing
        Range of the refocusing angle, degrees; drawn once a subject.
    fat_suppression
        Suppress fat in every sequence.
    noise
        Standard deviation as a fraction of pure water's signal in a voxel of 1 x 1 x 5 mm; drawn
        once a subject by default.
    coils
        Receive channels, combined by root sum of squares.
    random
        Number of random sequences added to the named ones.
    random_per
        Draw them afresh for each ``"subject"``, or once for the ``"dataset"``.
    maps
        Write the true T1, T2, PD, transmit and receive maps as a derivative.
    voxel_mm
        Pixel size in the plane; the map's own by default.
    meaning
        Label to tissue, for maps in a numbering this program does not know.
    name
        Name of the dataset.
    device
        ``"cpu"`` or a device of torch.
    """

    lesions: tuple[LesionKind, ...] = ()
    engine: Engine = "epg"
    refocusing: tuple[float, float] = (120.0, 170.0)
    fat_suppression: bool = False
    noise: float | None = None
    coils: int = 1
    random: int = 0
    random_per: Literal["subject", "dataset"] = "subject"
    maps: bool = False
    voxel_mm: float | None = None
    meaning: Mapping[int, str] | None = None
    name: str = "Digital subjects"
    device: str = "cpu"

    def check(self) -> None:
        """Refuse values that no scanner has.

        Raises
        ------
        ParameterError
            When an angle, the noise, the pixel size or the number of coils is out of range.
        """
        low, high = self.refocusing
        if not 30.0 <= low <= high <= 180.0:
            raise ParameterError(
                f"refocusing from {low:g} to {high:g} degrees cannot be simulated",
                remedy="Give one angle or a range between 30 and 180 degrees",
            )
        if self.noise is not None and not 0.0 <= self.noise <= 1.0:
            raise ParameterError(
                f"noise of {self.noise:g} is no fraction",
                remedy="Give 0 to 1, usually 0.003 to 0.02",
            )
        if not 1 <= self.coils <= 64:
            raise ParameterError(f"{self.coils} coils are too many", remedy="Give 1 to 64")
        if self.voxel_mm is not None and not 0.3 <= self.voxel_mm <= 5.0:
            raise ParameterError(
                f"pixels of {self.voxel_mm:g} mm cannot be simulated", remedy="Give 0.3 to 5 mm"
            )


@dataclass(frozen=True)
class SubjectJob:
    """Everything one subject is made from."""

    number: int
    labels: Path
    anatomy: int
    folder: Path
    sequences: Mapping[str, SequenceParameters]
    seed: int
    n_slices: int
    thickness_mm: float
    field_strength: float
    options: SimulationOptions

    @property
    def label(self) -> str:
        """BIDS label of the subject."""
        return f"{self.number + 1:02d}"


@dataclass(frozen=True)
class SubjectDone:
    """What came of one subject: its images below the dataset's folder, its row, and notices."""

    images: tuple[Path, ...]
    row: Mapping[str, object]
    notes: tuple[str, ...]


def simulate_dataset(
    labels: Sequence[Path],
    output: Path,
    sequences: Mapping[str, SequenceParameters],
    *,
    subjects: int = 1,
    seed: int = 0,
    n_slices: int = 25,
    thickness_mm: float = 5.0,
    field_strength: float = 3.0,
    options: SimulationOptions | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
    notice: Callable[[str], None] | None = None,
) -> list[Path]:
    """Simulate subjects from label maps and write them as a BIDS dataset.

    The dataset appears when it is complete; whatever stops the work leaves nothing behind.

    Parameters
    ----------
    labels
        Label maps, see `crl_core.physics.labels.read_label_map`.
    output
        The dataset's folder; must be new or empty.
    sequences
        Name to parameters; names become the ``acq-`` entity. What a sequence does not state of
        its echo train is chosen by `crl_core.physics.protocols.with_train`.
    subjects
        Subjects drawn from each label map.
    seed
        The same seed gives the same bytes, on the processor whatever `jobs` is.
    n_slices, thickness_mm
        Axial slices without gap, centred on the brain; fewer where they would leave it.
    field_strength
        1.5 or 3 tesla.
    options
        The rest.
    jobs
        Processes to share the subjects.
    progress
        Called with (subjects done, subjects in all).
    cancelled
        Asked now and then whether to stop.
    notice
        Called with what a user should be told about the label maps, each once.

    Returns
    -------
    paths
        The images written, subject after subject.

    Raises
    ------
    OutputError
        When the folder is not empty or cannot be written.
    InputError
        When a label map cannot be used.
    ParameterError
        When a sequence or an option cannot be simulated.
    Cancelled
        When `cancelled` said so.
    """
    options = options or SimulationOptions()
    _check(output, sequences, field_strength, options)
    if options.random and options.random_per == "dataset":
        drawn = random_protocol(np.random.default_rng([seed, 11]), options.random)
        sequences = {**sequences, **drawn}
    with atomic_folder(output) as folder:
        work = [
            SubjectJob(
                number, labels[number // subjects], number // subjects, folder,
                dict(sequences), seed, n_slices, thickness_mm, field_strength, options,
            )
            for number in range(len(labels) * subjects)
        ]  # fmt: skip
        from crl_core.physics.making import make_subject

        done = run_jobs(make_subject, work, workers=jobs, progress=progress, cancelled=cancelled)
        _describe(folder, options, seed, field_strength)
        write_participants(folder, [found.row for found in done])
    if notice is not None:
        for text in dict.fromkeys(note for found in done for note in found.notes):
            notice(text)
    return [output / image for found in done for image in found.images]


def sequences_of(job: SubjectJob) -> dict[str, SequenceParameters]:
    """Return the sequences of one subject with their echo trains and fat suppression."""
    chosen = dict(job.sequences)
    if job.options.random and job.options.random_per == "subject":
        rng = np.random.default_rng([job.seed, 12, job.number])
        chosen |= random_protocol(rng, job.options.random)
    full = {name: with_train(p, job.field_strength) for name, p in chosen.items()}
    if not job.options.fat_suppression:
        return full
    return {name: replace(p, fat_suppression=True) for name, p in full.items()}


def _check(
    output: Path,
    sequences: Mapping[str, SequenceParameters],
    field_strength: float,
    options: SimulationOptions,
) -> None:
    """Refuse what can be refused before anything is computed."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise OutputError("the folder is not empty", path=output, remedy="Name a new folder")
    if field_strength not in (1.5, 3.0):
        raise ParameterError(
            f"tissue values are known for 1.5 and 3 T, not {field_strength:g} T",
            remedy="Choose one of them",
        )
    options.check()
    for parameters in sequences.values():
        parameters.check_order()
    if not sequences and not options.random:
        raise ParameterError(
            "there is no sequence to simulate", remedy="Name one or ask for random"
        )


def _describe(folder: Path, options: SimulationOptions, seed: int, field_strength: float) -> None:
    """Say on the dataset that it is simulated, and how."""
    about: dict[str, Any] = {
        SIMULATED_FIELD: "simulated, no person was scanned",
        "CRLSimulation": {
            "Seed": seed,
            "Engine": options.engine,
            "MagneticFieldStrength": field_strength,
            "Lesions": list(options.lesions) or ["none"],
            "ReceiveChannels": options.coils,
            "Device": options.device.split(":")[0],
        },
    }
    write_dataset_description(folder, options.name, extra=about)
    truth = folder / "derivatives" / DERIVATIVE
    if truth.is_dir():
        about["DatasetType"] = "derivative"
        write_dataset_description(truth, f"{options.name}: the truth", extra=about)
