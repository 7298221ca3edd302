"""The engine: encodes acquired scans once and renders any parameters from them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from crl_core.checkpoint import Checkpoint
from crl_core.devices import device_name
from crl_core.errors import Cancelled, CRLError
from crl_core.models import Features
from crl_core.models.turning import Turn
from crl_core.scan import FloatArray, IntensityScale, Scan
from crl_core.sequence import SequenceParameters
from crl_core.synthesis.agreement import Agreement, fit_of
from crl_core.synthesis.carry import Missed, carry_weights
from crl_core.synthesis.echoes import echoes, ways_of
from crl_core.synthesis.sources import Sources
from crl_core.synthesis.tiling import encode_in_tiles, out_of_memory

Notice = Callable[[str], None]

CACHE_BYTES = 2 * 1024**3
"""Features kept for slices already encoded; the oldest go first."""

_CARRIED = 0.6
"""What is carried in full takes so much off the expected error; noise is carried as well."""


@dataclass(frozen=True)
class _EncodedSlice:
    features: Features
    # None where the network's rendering is all there is to be.
    missed: Missed | None

    def nbytes(self) -> int:
        features = sum(t.element_size() * t.numel() for t in self.features.values())
        return features + (0 if self.missed is None else self.missed.nbytes())


class Synthesizer:
    """Renders contrasts from a checkpoint and one or several acquired scans.

    Parameters
    ----------
    checkpoint
        The network and its card.
    device
        A torch device name; by default a CUDA GPU, else Apple's, else the processor.
    notice
        Called with a sentence when something changes that the user should know, such as
        falling back to tiles.

    Notes
    -----
    Images are in model units of the first source: 1 is its 99.5th percentile inside the head
    (or its maximum, for networks that ask for minimum-maximum scaling). Not thread-safe; meant
    to live on one worker.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str | None = None,
        notice: Notice | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        self._notice = notice or (lambda text: None)
        self._sources = Sources()
        self._fitted: tuple[Tensor, Agreement] | None = None
        self._bright: Tensor | None = None
        self._cache: OrderedDict[int, _EncodedSlice] = OrderedDict()
        self._tile: int | None = None
        self._robust = checkpoint.card.intensity_rule == "robust"
        self._place(torch.device(device or _best_device()))

    def _place(self, device: torch.device) -> None:
        self.device = device
        self.model = self.checkpoint.model.to(device)
        # Convolutions take less time so, on a processor and on a GPU.
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._cache.clear()

    @property
    def device_name(self) -> str:
        """The device in a user's words."""
        return device_name(self.device)

    @property
    def sources(self) -> tuple[Scan, ...]:
        """The scans in use, the one that sets the scale first."""
        return self._sources.scans

    @property
    def scale(self) -> IntensityScale:
        """How model units map to the first source's intensities."""
        self._need_sources()
        return self._sources.scales[0]

    def reference_scale(self, scan: Scan) -> IntensityScale:
        """Return the scale that brings an acquired scan to the units of a rendering of it.

        That is the first source's, except for networks that give each contrast its own range:
        for those it is the scan's own minimum to maximum.
        """
        if self._robust:
            return self.scale
        return scan.range_scale

    @property
    def slice_axis(self) -> int:
        """The array axis along which slices are rendered."""
        return self._sources.slice_axis

    @property
    def n_slices(self) -> int:
        """Number of slices along `slice_axis`."""
        return self._sources.first.shape[self.slice_axis]

    def _need_sources(self) -> None:
        _ = self._sources.first

    def set_sources(self, scans: Sequence[Scan]) -> None:
        """Choose what to synthesise from; slices are encoded when first needed.

        Parameters
        ----------
        scans
            One scan, or several of one subject on one grid. The first sets the scale.

        Raises
        ------
        ParameterError
            When a scan carries no parameters or impossible ones.
        GridError
            When the scans lie on different grids.
        InputError
            When a scan is empty.
        """
        if not scans:
            raise CRLError("no source was chosen", remedy="Open a scan first")
        if len(scans) > self.model.max_sources:
            raise CRLError(
                f"the checkpoint '{self.checkpoint.card.name}' takes "
                f"{self.model.max_sources} source(s), not {len(scans)}",
                remedy="Choose fewer sources or another checkpoint",
            )
        self._sources = Sources.of(scans, robust=self._robust)
        self._fitted = self._bright = None
        self._cache.clear()

    def render_slice(self, parameters: SequenceParameters, index: int) -> FloatArray:
        """Return one slice for any parameters.

        Parameters
        ----------
        parameters
            The target; TR must hold TI and TE.
        index
            Slice number along `slice_axis`, 0 to `n_slices` - 1.

        Returns
        -------
        image
            2-D float32, the two remaining array axes in order, model units, never clipped.

        Raises
        ------
        ParameterError
            When TR < TI + TE.
        """
        return self._render(parameters, index, carry=self.model.carries_residual)

    def raw_slice(self, parameters: SequenceParameters, index: int) -> FloatArray:
        """Return what the network alone gives, without the source's carried residual."""
        return self._render(parameters, index, carry=False)

    def expected_error(self, parameters: SequenceParameters, index: int) -> FloatArray | None:
        """Return how far each voxel of `render_slice` is expected to be off, model units.

        The mean absolute error the network expects of itself, less where much is carried from a
        source, and zero at a source's own parameters. None for networks that do not tell. A voxel's
        figure says little about structures: a lesion that is missed is missed with confidence.
        """
        parameters.check_order()
        known = True

        def job() -> Tensor:
            nonlocal known
            target = torch.tensor([parameters.numbers], device=self.device)
            encoded = self._encoded(index)
            found = self.model.spread_many(encoded.features, target[None])
            if found is None:
                known = False
                return torch.zeros(1)
            if self.model.carries_residual:
                weights = carry_weights(target[0], self._sources.parameters(self.device)[0])[0]
                given = bool((self._sources.parameters(self.device)[0] == target).all(dim=-1).any())
                found = found * (0.0 if given else 1.0 - _CARRIED * float(weights.sum()))
            return found[0, 0].float().cpu()

        image = self._retried(job).numpy()
        return np.ascontiguousarray(image, dtype=np.float32) if known else None

    def expected_volume(self, parameters: SequenceParameters) -> FloatArray | None:
        """Return `expected_error` of every slice, (x, y, z); None where a network does not tell."""
        self._need_sources()
        planes = []
        for index in range(self.n_slices):
            plane = self.expected_error(parameters, index)
            if plane is None:
                return None
            planes.append(plane)
        return np.ascontiguousarray(np.stack(planes, axis=self.slice_axis))

    def _render(self, parameters: SequenceParameters, index: int, *, carry: bool) -> FloatArray:
        parameters.check_order()

        def job() -> Tensor:
            return self._compute(self._encoded(index), [parameters], carry)[0].cpu()

        return np.ascontiguousarray(self._retried(job).numpy(), dtype=np.float32)

    def render_points(
        self, parameters: Sequence[SequenceParameters], index: int, row: int, column: int
    ) -> FloatArray:
        """Return the value of one voxel for many parameters, (len(parameters),).

        `row` and `column` index the 2-D array that `render_slice` returns.
        """
        if not self.model.by_voxel:
            whole_slices = (self.render_slice(p, index) for p in parameters)
            return np.array([image[row, column] for image in whole_slices], dtype=np.float32)
        here = (..., slice(row, row + 1), slice(column, column + 1))

        def job() -> Tensor:
            whole = self._encoded(index)
            features = {k: v[here] for k, v in whole.features.items()}
            missed = None if whole.missed is None else whole.missed.at(here)
            spot = _EncodedSlice(features, missed)
            return self._compute(spot, parameters, self.model.carries_residual).cpu()

        return np.asarray(self._retried(job).numpy()[:, 0, 0], dtype=np.float32)

    def render_volume(
        self,
        parameters: SequenceParameters,
        *,
        progress: Callable[[int, int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> FloatArray:
        """Return the whole volume, (x, y, z) on the source's own grid, model units.

        Parameters
        ----------
        parameters
            The target.
        progress
            Called with (slices done, slices in all).
        cancelled
            Asked before each slice; when it returns True, `Cancelled` is raised.
        """
        parameters.check_order()
        self._need_sources()
        slices = []
        for index in range(self.n_slices):
            if cancelled is not None and cancelled():
                raise Cancelled("the rendering was cancelled")
            slices.append(self.render_slice(parameters, index))
            if progress is not None:
                progress(index + 1, self.n_slices)
        return np.ascontiguousarray(np.stack(slices, axis=self.slice_axis))

    def _compute(
        self, encoded: _EncodedSlice, parameters: Sequence[SequenceParameters], carry: bool
    ) -> Tensor:
        """Render (P, H, W) for several targets from one encoded slice."""
        target = torch.tensor([p.numbers for p in parameters], device=self.device)
        many = {k: v.expand(len(parameters), *v.shape[1:]) for k, v in encoded.features.items()}
        if not carry or encoded.missed is None:
            return self.model.render(many, target)[:, 0].float()
        sources = self._sources.parameters(self.device)[0]
        ways = ways_of(target, sources if self.model.falls_with_te else sources[:0])
        shown = echoes(target, ways)
        images = self.model.render_echoes(many, shown).float()
        images = encoded.missed.added_to(images, *carry_weights(shown, sources))
        return torch.stack([way.settled(some) for way, some in zip(ways, images, strict=True)])

    def _encoded(self, index: int) -> _EncodedSlice:
        self._need_sources()
        if not 0 <= index < self.n_slices:
            raise IndexError(f"slice {index} of {self.n_slices}")
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        encoded = self._encode(index)
        self._cache[index] = encoded
        while sum(e.nbytes() for e in self._cache.values()) > CACHE_BYTES and len(self._cache) > 1:
            self._cache.popitem(last=False)
        return encoded

    def _encode(self, index: int) -> _EncodedSlice:
        images = self._sources.images(index, self.device)
        gains, agreement = self._fit()
        features = self._features(images, agreement.weights)
        if not self.model.carries_residual:
            return _EncodedSlice(features, None)
        shown = self._sources.parameters(self.device)
        rendered = self.model.render_many(features, shown)[0].float()
        return _EncodedSlice(features, Missed.of(gains[:, None, None] * images[0], rendered))

    def _features(self, images: Tensor, weights: tuple[float, ...] | None = None) -> Features:
        """Encode at the voxel size of the training and bring the features to the scan's grid."""
        alike = weights is None or min(weights) == 1.0
        present = None if alike else torch.tensor([weights], device=self.device)
        native, size = self._sources.plane, self._sources.size_at(self.checkpoint.card.in_plane_mm)
        if size != native:
            images = F.interpolate(images, size=size, mode="bilinear", antialias=True)
        parameters = self._sources.parameters(self.device)
        turn = Turn.of(self._sources.first) if self.model.knows_up else Turn()
        images = turn.there(images).contiguous()
        with self.model.knowing(brightness=self._brightness()):
            if self._tile is None:
                features = self.model.encode(images, parameters, present)
            else:
                features = encode_in_tiles(self.model, images, parameters, self._tile, present)
        features = {name: turn.back(value) for name, value in features.items()}
        if size == native:
            return features
        return {
            name: F.interpolate(value, size=native, mode="bilinear")
            for name, value in features.items()
        }

    def _brightness(self) -> Tensor | None:
        """Return how bright the sources are, from all over the head, for networks that ask."""
        if self.model.knows_brightness and self._bright is None:
            shown = self._sources.parameters(self.device)
            turn = Turn.of(self._sources.first)
            self._bright = self.model.brightness(self._sources.sample(self.device, turn), shown)
        return self._bright

    def _retried(self, job: Callable[[], Tensor]) -> Tensor:
        """Do a job; when memory runs out go on in tiles, then on the processor, and say so."""
        while True:
            try:
                with torch.inference_mode():
                    return job()
            except RuntimeError as error:
                if not out_of_memory(error) or not self._fall_back():
                    raise

    def _on_gpu(self) -> bool:
        return self.device.type != "cpu"

    def _fall_back(self) -> bool:
        """Take the next smaller way to compute; False when there is none left."""
        self._cache.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        side = max(self._sources.plane)
        tile = 128 if self._tile is None else self._tile // 2
        if 32 <= tile < side:
            self._tile = tile
            where = "GPU" if self._on_gpu() else "The processor's"
            self._notice(f"{where} memory is full. Going on in tiles of {tile} pixels, slower.")
            return True
        if not self._on_gpu():
            return False
        self._notice("GPU memory is full even in tiles. Going on with the processor.")
        self._tile = self._fitted = self._bright = None
        self._place(torch.device("cpu"))
        return True

    def agreement(self) -> Agreement:
        """Return how well the sources fit together; see `crl_core.synthesis.agreement`."""
        self._need_sources()

        def job() -> Tensor:
            return self._fit()[0]

        self._retried(job)
        found = self._fit()[1]
        if found.psnr:
            return found

        def alone() -> Tensor:
            return torch.tensor(self._given_back(None)[0])

        return Agreement.of(tuple(self._retried(alone).tolist()), self.model.gives_back)

    def _fit(self) -> tuple[Tensor, Agreement]:
        """Return what a model unit of each source is worth in units of the first; how they fit.

        The scanner's gain may differ between acquisitions, so it is fitted: the network's own
        rendering at each source's parameters against that source, on the slice with most head.
        A source that contradicts the others is weighed down before.
        """
        if self._fitted is None and len(self._sources.scans) == 1:
            # Nothing to fit to; the first picture need not wait for it.
            self._fitted = torch.ones(1, device=self.device), Agreement((), (1.0,))
        if self._fitted is None:
            psnr, gains = self._given_back(None)
            agreement = Agreement.of(psnr, self.model.gives_back)
            if agreement.contradicting is not None:
                gains = self._given_back(agreement.weights)[1]
            gains[0] = 1.0
            self._fitted = gains, agreement
        return self._fitted

    def _given_back(self, weights: tuple[float, ...] | None) -> tuple[tuple[float, ...], Tensor]:
        index, head = self._sources.fullest()
        inside = torch.from_numpy(head).to(self.device)
        images = self._sources.images(index, self.device)
        features = self._features(images, weights)
        shown = self._sources.parameters(self.device)
        rendered = self.model.render_many(features, shown)[0].float()
        fits = [
            fit_of(a[inside], r[inside]) for a, r in zip(images[0], rendered, strict=True)
        ]
        return tuple(psnr for psnr, _ in fits), torch.stack([gain for _, gain in fits])


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
