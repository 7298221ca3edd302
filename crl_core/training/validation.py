"""How a network in training does on people it never sees, and what its images look like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crl_core.evaluation.metrics import least_squares_gain, psnr, reference_peak, ssim
from crl_core.io.atomic import atomic_path
from crl_core.models import CRL
from crl_core.models.turning import Turn
from crl_core.scan import FloatArray
from crl_core.sequence import SequenceParameters
from crl_core.training.batch import Sampler, WholeSlice, setting_name

N_SLICES = 4
N_SOURCES = 3
"""So many contrasts of a slice serve as a source in turn; more would cost time and say little."""

N_COLUMNS = 6
"""Targets shown in a preview."""


@dataclass
class Scores:
    """PSNR in dB and SSIM by block, each a mean over slices and pairs."""

    psnr: dict[str, list[float]] = field(default_factory=dict)
    ssim: dict[str, list[float]] = field(default_factory=dict)

    def add(self, block: str, numbers: tuple[float, float]) -> None:
        """Add one pair."""
        self.psnr.setdefault(block, []).append(numbers[0])
        self.ssim.setdefault(block, []).append(numbers[1])

    def means(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return the means, infinite and empty ones left out."""
        return tuple(  # type: ignore[return-value]
            {
                name: float(np.mean([v for v in values if np.isfinite(v)]))
                for name, values in block.items()
                if any(np.isfinite(v) for v in values)
            }
            for block in (self.psnr, self.ssim)
        )


class Judge:
    """Fixed slices that a network is judged on again and again.

    Parameters
    ----------
    sampler
        Draws on people who are not trained on; where there are none, on the others, and then
        only to look at.
    unseen
        Whether those people are never trained on. Where they are, only settings held back are
        judged: they alone are new to the network.
    """

    def __init__(self, sampler: Sampler, *, unseen: bool) -> None:
        self.unseen = unseen
        self.slices = sampler.slices(N_SLICES)
        self.judges = unseen or any(one.held.any() for one in self.slices)

    # scores ------------------------------------------------------------------------------------

    def scores(self, model: CRL) -> tuple[dict[str, float], dict[str, float]]:
        """Return PSNR in dB and SSIM by block.

        In the head mask, after one least-squares gain per image; the peak is the 99.5th
        percentile of the target in the mask. Blocks are ``seen`` (from one trained setting to
        another), ``to <setting>`` for each setting held back, ``from 2`` and ``from 3`` trained
        settings to another, and ``identity``.
        """
        found = Scores()
        with torch.inference_mode():
            for one in self.slices:
                self._score_slice(model, one, found)
        if not self.unseen:
            found = Scores(*({k: v for k, v in block.items() if k.startswith("to ")}
                             for block in (found.psnr, found.ssim)))  # fmt: skip
        return found.means()

    def _score_slice(self, model: CRL, one: WholeSlice, found: Scores) -> None:
        trained = [int(i) for i in np.flatnonzero(~one.held)]
        only = None if one.source is None else [one.source]
        for source in only or _spread(trained, N_SOURCES):
            features = _encoded(model, one, [source])
            for j in range(len(one.scales)):
                if only and j == source:
                    continue  # a network of one pair never draws its source
                block = "identity" if j == source else _block(one, j)
                found.add(block, _numbers(_rendered(model, features, one, source, j), one, j))
        for k in (2, 3):
            if k > model.max_sources or len(trained) <= k:
                continue
            sources = _spread(trained, k)
            features = _encoded(model, one, sources)
            for j in (t for t in trained if t not in sources):
                image = _rendered(model, features, one, sources[0], j)
                found.add(f"from {k}", _numbers(image, one, j))

    # pictures ----------------------------------------------------------------------------------

    def write_fixed(self, path: Path) -> None:
        """Write what the previews are compared with, once for a run."""
        firsts = [self._columns(one)[0] for one in self.slices]
        pairs = list(zip(self.slices, firsts, strict=True))
        with atomic_path(path, overwrite=True) as temporary:
            np.savez_compressed(
                temporary,
                source=np.stack([self._fit(o.images[s]) for o, s in pairs]).astype(np.float16),
                source_parameters=np.stack([o.parameters[s][:3] for o, s in pairs]),
                source_names=np.array([o.names[s] for o, s in pairs]),
                mask=np.stack([self._fit(o.mask.astype(np.float32)) > 0 for o, _ in pairs]),
                targets=self._table(lambda o, j: self._fit(o.images[j])).astype(np.float16),
                parameters=self._table(lambda o, j: o.parameters[j][:3]),
                held=self._table(lambda o, j: np.uint8(o.held[j])),
                names=self._table(lambda o, j: np.str_(o.names[j])),
                about=np.array([o.about for o in self.slices]),
                affine=np.stack([o.affine for o in self.slices]),
                axis=np.array([o.axis for o in self.slices]),
            )

    def write_preview(self, model: CRL, path: Path) -> None:
        """Render the fixed slices and write them, float16, in units of the targets."""
        found: dict[tuple[int, int], FloatArray] = {}
        with torch.inference_mode():
            for one in self.slices:
                source, columns = self._columns(one)
                features = _encoded(model, one, [source])
                for j in columns:
                    found[id(one), j] = _rendered(model, features, one, source, j)
        scores = self._table(lambda o, j: np.array(_numbers(found[id(o), j], o, j), np.float32))
        with atomic_path(path, overwrite=True) as temporary:
            np.savez_compressed(
                temporary,
                images=self._table(lambda o, j: self._fit(found[id(o), j])).astype(np.float16),
                psnr=scores[..., 0],
                ssim=scores[..., 1],
            )

    def _columns(self, one: WholeSlice) -> tuple[int, list[int]]:
        """Choose the source and the targets to show, those held back first of all."""
        trained = [int(i) for i in np.flatnonzero(~one.held)]
        source = trained[len(trained) // 2] if one.source is None else one.source
        held = [int(i) for i in np.flatnonzero(one.held)][: N_COLUMNS - 1]
        others = [j for j in trained if j != source] or [source]
        return source, sorted([*held, *_spread(others, N_COLUMNS - len(held))])

    def _table(self, pick: Callable[[WholeSlice, int], Any]) -> NDArray[Any]:
        """Return something of every slice and column; missing columns are zeros or empty."""
        rows = [[pick(one, j) for j in self._columns(one)[1]] for one in self.slices]
        longest = max(len(row) for row in rows)
        whole = [[*row, *[type(row[0])() if np.ndim(row[0]) == 0 else np.zeros_like(row[0])]
                  * (longest - len(row))] for row in rows]  # fmt: skip
        return np.array(whole)

    def _fit(self, image: FloatArray) -> FloatArray:
        """Put an image into the middle of one of the largest size there is."""
        size = np.max([one.mask.shape for one in self.slices], axis=0)
        extra = [int(n) - m for n, m in zip(size, image.shape, strict=True)]
        return np.pad(image, [(e // 2, e - e // 2) for e in extra])


def names_of_held(sampler: Sampler) -> tuple[str, ...]:
    """Return the settings held back, by name."""
    return tuple(setting_name(p) for p in sampler.coverage().held_out)


def seen_score(metrics: dict[str, float]) -> float | None:
    """Return the figure by which the best network is chosen: trained settings on unseen people."""
    known = [metrics[name] for name in ("seen", "from 2", "from 3") if name in metrics]
    return float(np.mean(known)) if known else None


def _block(one: WholeSlice, j: int) -> str:
    if not one.held[j]:
        return "seen"
    tr, te, ti = (float(v) for v in one.parameters[j][:3])
    return f"to {setting_name(SequenceParameters(tr, te, ti))}"


def _spread(items: Sequence[int], count: int) -> list[int]:
    """Choose some, evenly from first to last."""
    if len(items) <= count:
        return list(items)
    return [items[round(k)] for k in np.linspace(0, len(items) - 1, count)]


def _encoded(model: CRL, one: WholeSlice, sources: list[int]) -> dict[str, torch.Tensor]:
    turn = one.turn if model.knows_up else Turn()
    images = turn.there(torch.from_numpy(one.images[sources])[None]).contiguous()
    features = model.encode(images, torch.from_numpy(one.parameters[sources])[None])
    return {name: turn.back(value) for name, value in features.items()}


def _rendered(
    model: CRL, features: dict[str, torch.Tensor], one: WholeSlice, source: int, j: int
) -> FloatArray:
    """Return a target in its own units."""
    image = model.render(features, torch.from_numpy(one.parameters[j])[None])
    ratio = one.scales[source] / one.scales[j]
    return np.asarray(image[0, 0].float().numpy() * ratio, dtype=np.float32)


def _numbers(image: FloatArray, one: WholeSlice, j: int) -> tuple[float, float]:
    """Return PSNR and SSIM after one least-squares gain."""
    target, mask = one.images[j], one.mask
    gained = image * np.float32(least_squares_gain(image, target, mask))
    peak = reference_peak(target, mask)
    return psnr(gained, target, mask, peak), ssim(gained, target, mask, peak)
