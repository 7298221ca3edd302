"""A run folder as a training run leaves it: log, settings and previews of a head that has parts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from crl_core.training import events
from crl_core.training.config import TrainingConfig
from crl_core.training.data_config import DataConfig
from crl_core.training.events import to_line
from crl_core.training.folder import CONFIG, DATA, ENVIRONMENT, EVENTS, PREVIEWS, RunFolder

SHAPE = (96, 112)
START = 1_764_060_000.0
SETTINGS = {
    "PD, TE 25": (5000.0, 25.0, 0.0),
    "TE 50": (5000.0, 50.0, 0.0),
    "T2w, TE 90": (5000.0, 90.0, 0.0),
    "TE 150": (5000.0, 150.0, 0.0),
    "TI 500": (5000.0, 12.0, 500.0),
    "TI 2 000": (9000.0, 90.0, 2000.0),
}
HELD = ("TE 50", "TE 150")
BLOCKS = {
    "seen": 30.4,
    "to TR 5000 TE 50": 27.6,
    "to TR 5000 TE 150": 25.2,
    "from 2": 31.2,
    "from 3": 31.6,
    "identity": 34.0,
}
_TISSUES = ((0.0, 1000.0, 100.0), (0.5, 350.0, 60.0), (1.0, 3500.0, 900.0), (0.82, 1250.0, 92.0),
            (0.7, 800.0, 74.0))  # fmt: skip
"""Amount of protons, T1 and T2 in ms of air, scalp, fluid, grey and white matter."""


def head(slice_number: int = 0) -> np.ndarray:
    """Labels of a slice: 0 air, 1 scalp, 2 fluid, 3 grey, 4 white."""
    x, y = np.meshgrid(np.linspace(-1.15, 1.15, SHAPE[0]), np.linspace(-1.12, 1.12, SHAPE[1]),
                       indexing="ij")  # fmt: skip
    shrink = 1 + 0.06 * slice_number
    radius = np.hypot(x / 0.78, y / 0.98) * shrink
    angle = np.arctan2(y, x)
    folds = 0.035 * np.sin(17 * angle + slice_number) + 0.02 * np.sin(31 * angle)
    labels = np.zeros(SHAPE, int)
    labels[radius < 1.0] = 1
    labels[radius < 0.9] = 2
    labels[radius < 0.85 + folds] = 3
    labels[radius < 0.72 + 1.6 * folds] = 4
    for side in (-1, 1):
        labels[np.hypot((x - 0.13 * side) / 0.08, (y - 0.1) / 0.32) < 1] = 2
        labels[np.hypot((x - 0.3 * side) / 0.1, (y + 0.05) / 0.16) < 1] = 3
    labels[np.hypot((x - 0.34) / 0.09, (y - 0.42) / 0.09) < 1] = 2  # a lesion, on one side only
    return labels


def signal(labels: np.ndarray, setting: tuple[float, float, float]) -> np.ndarray:
    tr, te, ti = setting
    values = []
    for protons, t1, t2 in _TISSUES:
        recovered = (
            1 - np.exp(-tr / t1) if ti == 0 else abs(1 - 2 * np.exp(-ti / t1) + np.exp(-tr / t1))
        )
        values.append(protons * recovered * np.exp(-te / t2))
    return np.array(values, np.float32)[labels]


def blurred(image: np.ndarray, times: int) -> np.ndarray:
    for _ in range(times):
        for axis in (0, 1):
            image = (np.roll(image, 1, axis) + 2 * image + np.roll(image, -1, axis)) / 4
    return image


def write_previews(folder: RunFolder, steps: list[int], slices: int = 4) -> None:
    """Write the fixed slices and previews that grow sharper with the steps."""
    place = folder / PREVIEWS
    place.mkdir(exist_ok=True)
    labels = [head(n) for n in range(slices)]
    settings = list(SETTINGS.values())
    targets = np.stack([[signal(one, s) for s in settings] for one in labels])
    # A scanner's units, not the network's: each target has a scale of its own.
    scale = np.linspace(0.7, 1.6, len(settings), dtype=np.float32)
    targets = targets / targets.max(axis=(2, 3), keepdims=True) * scale[None, :, None, None]
    np.savez_compressed(
        place / "fixed.npz",
        source=targets[:, 0].astype(np.float16),
        source_parameters=np.array([settings[0]] * slices),
        source_names=np.array(["PD, TE 10"] * slices),
        mask=np.stack([one > 0 for one in labels]),
        targets=targets.astype(np.float16),
        parameters=np.array([settings] * slices),
        held=np.array([[name in HELD for name in SETTINGS]] * slices, np.uint8),
        names=np.array([list(SETTINGS)] * slices),
        about=np.array([f"sub-0{n // 2 + 3}, never trained on" for n in range(slices)]),
        affine=np.stack([np.eye(4)] * slices),
        axis=np.array([2] * slices),
    )
    for step in steps:
        write_preview(folder, step, targets)


def write_preview(folder: RunFolder, step: int, targets: np.ndarray) -> None:
    rng = np.random.default_rng(step)
    worth = min(step / 20_000, 1.0)
    times = max(1, round(14 * (1 - worth) ** 2))
    made = np.stack([[blurred(image, times) for image in row] for row in targets])
    drift = 0.04 * (1.4 - worth) * rng.standard_normal((*targets.shape[:2], 1, 1))
    inside = targets.max(axis=(1,), keepdims=True) > 0
    made = (made * (1 + drift)) * inside
    error = np.sqrt(((made - targets) ** 2).mean(axis=(2, 3)))
    psnr = -20 * np.log10(error / targets.max(axis=(2, 3)))
    np.savez_compressed(
        folder.preview_path(step),
        images=made.astype(np.float16),
        psnr=psnr.astype(np.float32),
        ssim=np.clip(1 - 4 * error, 0, 1).astype(np.float32),
    )


def told(
    last: int, total: int, *, every: int = 20, seed: int = 1, pace: float = 312.0
) -> Iterator[tuple[float, events.Event]]:
    """The events of a run up to a step, with their times."""
    rng = np.random.default_rng(seed)
    per_step = 0.18
    yield START, events.Started(
        0, "digital subjects and 14 people.", 1_250_000, total, 0.0, "NVIDIA H200", "bf16",
        "2 people never trained on", tuple(f"TR 5000 {n}" for n in HELD),
    )  # fmt: skip
    for step in range(every, last + 1, every):
        now = START + per_step * step
        fall = 0.022 + 0.25 * np.exp(-step / 1800) + 0.05 * np.exp(-step / 9000)
        l1 = float(fall * np.exp(0.18 * rng.standard_normal()))
        gradient = float(0.7 * fall * np.exp(0.15 * rng.standard_normal()))
        structure = float((0.06 + 1.1 * fall) * np.exp(0.1 * rng.standard_normal()))
        parts = {"l1": l1, "gradient": gradient, "structure": structure}
        yield now, events.Stepped(
            step, step / total, l1 + 0.5 * gradient + 0.1 * structure, parts,
            1e-3 * 0.5 * (1 + np.cos(np.pi * step / total)) + 1e-5, per_step * step,
            pace + float(6 * rng.standard_normal()), per_step * (total - step), 6120.0, 94.0,
        )  # fmt: skip
        if step % 1000 == 0:
            yield from _checked(now, step, rng)
    if last >= 6000:
        yield (
            START + per_step * last,
            events.Skipped(
                last - 40, "One batch skipped: loss was not a number. Learning rate kept."
            ),
        )


def _checked(now: float, step: int, rng: np.random.Generator) -> Iterator[tuple[float, object]]:
    near = 1 - np.exp(-step / 3500)
    scores = {b: 14 + (top - 14) * near + 0.1 * rng.standard_normal() for b, top in BLOCKS.items()}
    ssim = {b: min(0.5 + 0.45 * near * top / 34, 1.0) for b, top in BLOCKS.items()}
    yield now, events.Validated(step, scores, ssim)
    yield now, events.Previewed(step)
    yield now, events.Saved(step, Path("last.safetensors"), 0.4)
    yield now, events.Improved(step, scores["seen"])


def write_run(
    path: Path,
    *,
    last: int = 18_400,
    total: int = 40_000,
    end: events.Event | None = None,
    previews: bool = True,
    config: TrainingConfig | None = None,
    seed: int = 1,
    every: int = 20,
) -> RunFolder:
    """Make a run folder that got to step `last` and perhaps ended."""
    path.mkdir(parents=True)
    folder = RunFolder(path)
    chosen = config or TrainingConfig(preset="crl-small", steps=total)
    (folder / CONFIG).write_text(chosen.to_json(), encoding="utf-8")
    data = DataConfig(("studies/ms-2026",), hold_back=tuple(SETTINGS[n] for n in HELD))
    (folder / DATA).write_text(data.to_json(), encoding="utf-8")
    machine = {"hardware": "NVIDIA H200", "processors": 16, "threads": 8, "torch": "2.9.1"}
    (folder / ENVIRONMENT).write_text(json.dumps(machine), encoding="utf-8")
    lines = [to_line(e, t) for t, e in told(last, total, seed=seed, every=every)]
    (folder / EVENTS).write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "last.safetensors").write_bytes(b"the weights of a test")
    if previews:
        write_previews(folder, list(range(1000, last + 1, 1000)))
    if end is not None:
        assert folder.log(end) == ""
    return folder


@contextmanager
def at_work(folder: RunFolder) -> Iterator[None]:
    """Hold the run as its process would."""
    with folder.owned():
        yield
