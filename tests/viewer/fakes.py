"""Stand-ins for the network and for scans, small and exact."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from crl_core.errors import CheckpointError, CRLError
from crl_core.io.timing import Timing
from crl_core.scan import IntensityScale, Origin, Scan
from crl_core.sequence import SequenceParameters
from crl_core.trust import TrainingCoverage
from crl_viewer.state import ModelFacts
from crl_viewer.state.offers import Offer, Opened
from crl_viewer.workers.tasks import Task, Tasks

PD = SequenceParameters(5000, 10)

TRAINED = (
    SequenceParameters(2000, 10),
    SequenceParameters(8000, 10),
    SequenceParameters(8000, 120),
    SequenceParameters(2000, 120),
)


def make_scan(
    name: str = "TE 10",
    parameters: SequenceParameters | None = PD,
    *,
    shape: tuple[int, int, int] = (32, 40, 6),
    top: float = 800.0,
    shift_mm: float = 0.0,
    spacing: float = 1.0,
    note: str = "",
) -> Scan:
    """Return an ellipsoid with a gradient, far from zero inside and zero outside."""
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    inside = grid[0] ** 2 + grid[1] ** 2 < 0.8
    data = np.where(inside, top * (0.6 + 0.3 * grid[0]), 0.0).astype(np.float32)
    affine = np.diag([spacing, spacing, 4.0, 1.0])
    affine[0, 3] = shift_mm
    origins = {n: Origin("test") for n in ("tr", "te", "ti")} if parameters else {}
    return Scan(data, affine, name, parameters, origins, note=note)


class FakeSynthesizer:
    """Multiplies the source by exp((TE source - TE) / 100): a decay that can be checked."""

    def __init__(self) -> None:
        self.sources: tuple[Scan, ...] = ()
        self.calls: list[tuple[SequenceParameters, int]] = []
        self.gate: threading.Event | None = None
        self.entered = threading.Event()
        self.refuse: CRLError | None = None
        self.volumes = 0
        self.agreed = 0
        self.doubt: float | None = None
        self.contradicting: int | None = None

    @property
    def scale(self) -> IntensityScale:
        return self.sources[0].scale

    def reference_scale(self, scan: Scan) -> IntensityScale:
        return self.scale

    def set_sources(self, scans: Sequence[Scan]) -> None:
        self.sources = tuple(scans)

    def _factor(self, parameters: SequenceParameters) -> float:
        source = self.sources[0].parameters
        assert source is not None
        return float(np.exp((source.te - parameters.te) / 100))

    def render_slice(self, parameters: SequenceParameters, index: int) -> np.ndarray:
        self.calls.append((parameters, index))
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(20)
        if self.refuse is not None:
            raise self.refuse
        image = self.scale.to_model(self.sources[0].slice(index))
        return (image * self._factor(parameters)).astype(np.float32)

    def render_volume(
        self,
        parameters: SequenceParameters,
        *,
        cancelled: Callable[[], bool] | None = None,
    ) -> np.ndarray:
        self.volumes += 1
        if cancelled is not None and cancelled():
            raise CRLError("cancelled")
        image = self.scale.to_model(self.sources[0].data) * self._factor(parameters)
        return np.asarray(image, np.float32)

    def expected_error(self, parameters: SequenceParameters, index: int) -> np.ndarray | None:
        if self.doubt is None:
            return None
        return np.full(self.sources[0].slice(index).shape, self.doubt, np.float32)

    def agreement(self) -> SimpleNamespace:
        self.agreed += 1
        psnr = tuple(30.0 - k for k in range(len(self.sources)))
        return SimpleNamespace(psnr=psnr, contradicting=self.contradicting)

    def render_points(
        self, parameters: Sequence[SequenceParameters], index: int, row: int, column: int
    ) -> np.ndarray:
        here = self.scale.to_model(self.sources[0].slice(index))[row, column]
        return np.array([here * self._factor(p) for p in parameters], np.float32)


def facts(**changes: object) -> ModelFacts:
    """Return what is known of the fake network."""
    known: dict[str, object] = {
        "name": "fake",
        "path": Path("fake.safetensors"),
        "coverage": TrainingCoverage(TRAINED, data="test objects"),
        "device": "test processor",
    }
    return ModelFacts(**{**known, **changes})  # type: ignore[arg-type]


class FakeOpener:
    """Opens fakes; a path with 'bad' in its name is refused."""

    def __init__(self) -> None:
        self.synthesizer = FakeSynthesizer()
        self.opened: list[Path | None] = []
        self.max_sources = 1

    def __call__(
        self, path: Path | None, notice: Callable[[str], None]
    ) -> tuple[FakeSynthesizer, ModelFacts]:
        self.opened.append(path)
        if path is not None and "bad" in path.name:
            raise CheckpointError("is damaged", path=path, remedy="Copy it again")
        return self.synthesizer, facts(max_sources=self.max_sources)


def make_offer(title: str = "T2 TSE", scan: Scan | None = None, **changes: object) -> Offer:
    """Return a usable fast spin echo scan as a listing would show it."""
    volume = scan or make_scan(title, SequenceParameters(4500, 90))
    timing = Timing()
    if volume.parameters is not None:
        for name, value in zip(("tr", "te", "ti"), volume.parameters.triple, strict=True):
            timing.add(name, value, Origin(f"DICOM {name}"))
    known: dict[str, object] = {
        "path": Path("study"),
        "title": title,
        "timing": timing,
        "shape": volume.shape,
        "voxel_size": volume.voxel_size,
        "read": lambda: Opened(volume, chosen=Path("study")),
        "kind": "fast spin echo",
        "fast_spin_echo": True,
        "plane": "axial",
    }
    return Offer(**{**known, **changes})  # type: ignore[arg-type]


class NowTasks(Tasks):
    """Runs a task at once, on the same thread, or while `hold` is set when `go` is called."""

    def __init__(self) -> None:
        self.newest: Task | None = None
        self.hold = False
        self._held: list[Callable[[], None]] = []

    def start(self, job: Callable, done: Callable, told: Callable | None = None) -> Task:
        self.newest = task = Task(lambda call: call(), told)

        def run() -> None:
            future: Future = Future()
            try:
                future.set_result(job(task))
            except Exception as refusal:
                future.set_exception(refusal)
            if not task.cancelled():
                done(future)

        if self.hold:
            self._held.append(run)
        else:
            run()
        return task

    def go(self) -> None:
        """Run what was held back."""
        held, self._held = self._held, []
        for run in held:
            run()
