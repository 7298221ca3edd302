"""What happens on the rendering thread: load, render, compare, and the slow rest when all is quiet.

The engine imports torch only when the first checkpoint is asked for, on the worker thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crl_core.card import Card
from crl_core.errors import CRLError
from crl_core.evaluation.error_map import ErrorMap
from crl_core.evaluation.masks import judged_mask
from crl_core.evaluation.metrics import compare, least_squares_gain, reference_peak
from crl_core.scan import BoolArray, FloatArray, IntensityScale, Scan
from crl_core.sequence import TE_RANGE, TI_RANGE, TR_RANGE, SequenceParameters
from crl_viewer.state.model import ModelFacts
from crl_viewer.state.requests import Axis, RenderRequest
from crl_viewer.state.results import Agreed, Compared, Curve, Frame, VolumeCompared
from crl_viewer.workers import events
from crl_viewer.workers.latest import Newer

COMPARE_EVERY = 0.12
"""While frames keep coming, the numbers are made at most this often, seconds."""

CURVE_POINTS = 24


class Synthesis(Protocol):
    """What the engine uses of `crl_core.synthesis.Synthesizer`."""

    @property
    def scale(self) -> IntensityScale:
        """Scale of the first source."""

    def reference_scale(self, scan: Scan) -> IntensityScale:
        """Return the scale in which an acquired scan is compared."""

    def set_sources(self, scans: Sequence[Scan]) -> None:
        """Choose what the network reads."""

    def render_slice(self, parameters: SequenceParameters, index: int) -> FloatArray:
        """Return one slice in model units."""

    def render_volume(
        self, parameters: SequenceParameters, *, cancelled: Callable[[], bool] | None = None
    ) -> FloatArray:
        """Return the volume in model units."""

    def render_points(
        self, parameters: Sequence[SequenceParameters], index: int, row: int, column: int
    ) -> FloatArray:
        """Return the signal of one voxel at many settings."""

    def expected_error(self, parameters: SequenceParameters, index: int) -> FloatArray | None:
        """Return how far off a slice is expected to be, model units; None where nobody tells."""

    def agreement(self) -> Fit:
        """Return how well the sources fit together."""


class Fit(Protocol):
    """What the engine uses of `crl_core.synthesis.agreement.Agreement`."""

    @property
    def psnr(self) -> tuple[float, ...]:
        """How well each source is given back, dB."""

    @property
    def contradicting(self) -> int | None:
        """Which source contradicts the others."""


Opener = Callable[[Path | None, Callable[[str], None]], tuple[Synthesis, ModelFacts]]
"""Loads a checkpoint (None: the bundled one); gets a function for notices."""

Peek = Callable[[Path | None], ModelFacts | None]
"""Reads a checkpoint's card in a moment, without the network; None where there is none."""

Emit = Callable[[events.Event], None]


class Engine:
    """Serves requests on the worker thread; see `workers.latest.LatestWins`.

    Parameters
    ----------
    emit
        Takes what is to be reported; may be called from the worker thread only.
    opener
        How a checkpoint becomes a synthesizer.
    peek
        How its card is read before that.
    """

    def __init__(self, emit: Emit, opener: Opener, peek: Peek = lambda path: None) -> None:
        self._emit = emit
        self._opener = opener
        self._peek = peek
        self._synthesizer: Synthesis | None = None
        self._tried: tuple[Path | None, int] | None = None
        self._facts: ModelFacts | None = None
        self._sources: tuple[Scan, ...] = ()
        self._rendered: tuple[object, ...] | None = None
        self._image: FloatArray | None = None
        self._shown: tuple[object, ...] | None = None
        self._numbers_sent = False
        self._compared_at = 0.0
        self._peak_of: tuple[tuple[object, ...] | None, float] = (None, 1.0)
        self._judged_of: tuple[tuple[Scan, Scan | None] | None, BoolArray | None] = (None, None)
        self._volume_done: tuple[object, ...] | None = None
        self._curve_done: tuple[object, ...] | None = None
        self._agreed: tuple[object, ...] | None = None

    def work(self, request: RenderRequest, newer: Newer) -> None:
        """Render one slice and compare it; report a refusal as one line."""
        synthesizer = self._loaded(request)
        if synthesizer is None or not request.sources:
            return
        shown = (request.image, request.reference, request.gain, request.expected)
        if shown == self._shown and self._numbers_sent:
            return
        try:
            request.parameters.check_order()
            frame = self._frame(synthesizer, request)
        except CRLError as refusal:
            self._rendered = self._shown = None
            self._emit(events.Refused(request, str(refusal)))
            return
        self._emit(frame)
        self._shown, self._numbers_sent = shown, request.reference is None
        now = time.perf_counter()
        if request.reference is not None and (
            not newer() or now - self._compared_at > COMPARE_EVERY
        ):
            self._compared_at, self._numbers_sent = now, True
            self._emit(self._compared(synthesizer, request, frame))

    def rest(self, request: RenderRequest, newer: Newer) -> None:
        """Make the signal curve and the numbers of the volume; stop when something newer waits."""
        synthesizer = self._synthesizer
        if synthesizer is None or not request.sources or self._sources != request.sources:
            return  # sources that were refused; what there is was made of earlier ones
        try:
            self._curve(synthesizer, request)
            if not newer():
                self._agreement(synthesizer, request)
            if not newer() and not request.learning:
                self._volume(synthesizer, request, newer)
        except CRLError as refusal:
            # Giving way to a newer request is reported as a refusal too; it is none.
            if not newer():
                self._emit(events.Refused(request, str(refusal)))

    def export(
        self, request: RenderRequest, facts: ModelFacts, path: Path, *, overwrite: bool = False
    ) -> None:
        """Render the volume and write it with its provenance; to be run as an errand.

        Parameters
        ----------
        request
            Sources, setting and network.
        facts
            What is known of the network.
        path
            Name of the image; the sidecar goes beside it.
        overwrite
            Whether older files of these names may be replaced.
        """
        from crl_core.io.export import save_synthetic

        synthesizer = self._loaded(request)
        # Of a network in training a newer one may have been loaded just now.
        card = facts.card if self._facts is None else self._facts.card or facts.card
        if synthesizer is None or card is None:
            self._emit(events.ExportFailed("No network is loaded. Choose another checkpoint."))
            return
        # What shows may be of other sources: it is made anew, so that they are chosen again.
        self._rendered = self._shown = None
        try:
            self._choose(synthesizer, request)
            request.parameters.check_order()
            volume = synthesizer.render_volume(request.parameters)
            save_synthetic(
                volume,
                request.sources[0],
                path,
                request.parameters,
                card,
                synthesizer.scale,
                sources=request.sources,
                overwrite=overwrite,
            )
        except CRLError as refusal:
            self._emit(events.ExportFailed(str(refusal)))
            return
        self._emit(events.Exported(path))

    def _loaded(self, request: RenderRequest) -> Synthesis | None:
        """Return the synthesizer asked for, loading it at most once, even if refused.

        Newer weights of the same checkpoint take the place of the older ones once they are there.
        """
        checkpoint, wanted = request.checkpoint, (request.checkpoint, request.refreshed)
        before, self._tried = self._tried, wanted
        if before == wanted:
            return self._synthesizer
        if self._synthesizer is not None and before is not None and before[0] == checkpoint:
            return self._newer(self._synthesizer, checkpoint)
        self._synthesizer = self._facts = None
        self._forget()
        self._emit(events.ModelLoading(checkpoint, self._peek(checkpoint)))
        try:
            synthesizer, facts = self._opener(checkpoint, self._notice)
        except CRLError as refusal:
            self._emit(events.ModelFailed(checkpoint, str(refusal)))
            return None
        self._take(synthesizer, facts, checkpoint)
        return synthesizer

    def _newer(self, older: Synthesis, checkpoint: Path | None) -> Synthesis:
        try:
            synthesizer, facts = self._opener(checkpoint, self._notice)
        except CRLError as refusal:
            self._emit(events.ModelKept(checkpoint, str(refusal)))
            return older
        self._forget()
        self._take(synthesizer, facts, checkpoint)
        return synthesizer

    def _take(self, synthesizer: Synthesis, facts: ModelFacts, checkpoint: Path | None) -> None:
        self._synthesizer, self._facts = synthesizer, facts
        self._emit(events.ModelReady(checkpoint, facts))

    def _forget(self) -> None:
        """Forget what another network made."""
        self._rendered = self._shown = self._volume_done = self._curve_done = None
        self._agreed = None
        self._sources = ()

    def _notice(self, text: str) -> None:
        self._emit(events.Notice(text))

    def _frame(self, synthesizer: Synthesis, request: RenderRequest) -> Frame:
        image = self._render(synthesizer, request)
        mask = self._judged(request)
        error, gain = None, 1.0
        top = reference_peak(image, mask)
        unit = 100.0 / top
        if request.reference is not None:
            acquired, peak = self._acquired(synthesizer, request.reference, request)
            if request.gain:
                gain = least_squares_gain(image, acquired, mask)
            error = ErrorMap.signed(image, acquired, mask, peak, gain).percent
            # Beside an error, what was expected is in the same per cent.
            unit = gain * 100.0 / peak
        expected = None
        if request.expected:
            far = synthesizer.expected_error(request.parameters, request.index)
            if far is not None:
                expected = np.where(mask, far * np.float32(unit), np.float32(np.nan))
        return Frame(request, image, error, gain, top, expected)

    def _render(self, synthesizer: Synthesis, request: RenderRequest) -> FloatArray:
        if self._rendered == request.image and self._image is not None:
            return self._image
        self._choose(synthesizer, request)
        self._image = synthesizer.render_slice(request.parameters, request.index)
        self._rendered = request.image
        return self._image

    def _choose(self, synthesizer: Synthesis, request: RenderRequest) -> None:
        if self._sources != request.sources:
            synthesizer.set_sources(list(request.sources))
            self._sources = request.sources

    def _acquired(
        self, synthesizer: Synthesis, reference: Scan, request: RenderRequest
    ) -> tuple[FloatArray, float]:
        """Return the reference's slice and its peak, both in model units."""
        scale = synthesizer.reference_scale(reference)
        axis = request.sources[0].slice_axis
        acquired = scale.to_model(reference.slice(request.index, axis))
        return acquired, self._peak(scale, reference, request)

    def _peak(self, scale: IntensityScale, reference: Scan, request: RenderRequest) -> float:
        """Return the full range of the reference in model units, from the whole volume."""
        key = (reference, request.sources[0], scale)
        if self._peak_of[0] != key:
            acquired = scale.to_model(reference.data)
            self._peak_of = (key, reference_peak(acquired, self._judged_volume(request)))
        return self._peak_of[1]

    def _judged(self, request: RenderRequest) -> BoolArray:
        """Return where the slice is compared."""
        axis = request.sources[0].slice_axis
        return np.asarray(np.take(self._judged_volume(request), request.index, axis=axis))

    def _judged_volume(self, request: RenderRequest) -> BoolArray:
        """Return where the volume is compared: head in both scans, where both had measured."""
        source, reference = request.sources[0], request.reference
        kept, mask = self._judged_of
        if mask is None or kept != (source, reference):
            mask = source.mask
            if reference is not None:
                mask = judged_mask(mask, reference.mask)
            if request.covered is not None:
                mask = mask & request.covered
            self._judged_of = ((source, reference), mask)
        return mask

    def _compared(
        self, synthesizer: Synthesis, request: RenderRequest, frame: Frame
    ) -> Compared:
        assert request.reference is not None
        acquired, peak = self._acquired(synthesizer, request.reference, request)
        numbers = compare(frame.synthesised, acquired, self._judged(request), peak)
        return Compared(request, numbers, peak)

    def _volume(self, synthesizer: Synthesis, request: RenderRequest, newer: Newer) -> None:
        source, reference = request.sources[0], request.reference
        key = (*request.scene[:3], reference, request.parameters)
        if reference is None or source.n_slices < 2 or self._volume_done == key:
            return
        volume = synthesizer.render_volume(request.parameters, cancelled=newer)
        if volume is None or newer():
            return
        scale = synthesizer.reference_scale(reference)
        acquired, peak = scale.to_model(reference.data), self._peak(scale, reference, request)
        mask = self._judged_volume(request)
        numbers = compare(volume, acquired, mask, peak, slice_axis=source.slice_axis)
        self._volume_done = key
        self._emit(VolumeCompared(request, numbers))

    def _agreement(self, synthesizer: Synthesis, request: RenderRequest) -> None:
        key = request.scene[:3]
        if self._agreed != key:
            found = synthesizer.agreement()
            self._agreed = key
            self._emit(Agreed(request, found.psnr, found.contradicting))

    def _curve(self, synthesizer: Synthesis, request: RenderRequest) -> None:
        if request.voxel is None:
            return
        others = request.parameters.at(**{request.curve_axis: 1.0})
        key = (request.scene, others, request.voxel, request.curve_axis)
        if self._curve_done == key:
            return
        along = curve_values(request.curve_axis)
        every = [request.parameters.at(**{request.curve_axis: float(v)}) for v in along]
        playable = [p.tr >= p.ti + p.te for p in every]
        x = along[playable]
        settings = [p for p, good in zip(every, playable, strict=True) if good]
        if not settings:
            return
        i, j = in_slice(request.voxel, request.sources[0].slice_axis)
        y = synthesizer.render_points(settings, request.index, i, j)
        self._curve_done = key
        self._emit(Curve(request, x, np.asarray(y, dtype=float)))


def curve_values(axis: Axis) -> NDArray[np.float64]:
    """Return the settings along which a signal curve is drawn, ms; logarithmic for TR and TE."""
    if axis == "ti":
        return np.concatenate([[0.0], np.geomspace(100.0, TI_RANGE[1], CURVE_POINTS - 1)])
    low, high = TR_RANGE if axis == "tr" else TE_RANGE
    return np.geomspace(low, high, CURVE_POINTS)


def in_slice(voxel: tuple[int, int, int], axis: int) -> tuple[int, int]:
    """Return the two array indices of a voxel inside its slice."""
    i, j = (v for n, v in enumerate(voxel) if n != axis)
    return i, j


def open_synthesizer(
    checkpoint: Path | None, notice: Callable[[str], None]
) -> tuple[Synthesis, ModelFacts]:
    """Load a checkpoint and put it on the best device there is.

    Raises
    ------
    CheckpointError
        When the file is damaged, unsafe or unknown.
    """
    from crl_core.checkpoint import default_checkpoint, load_checkpoint
    from crl_core.synthesis import Synthesizer

    loaded = load_checkpoint(checkpoint or default_checkpoint())
    synthesizer = Synthesizer(loaded, notice=notice)
    facts = replace(
        _facts(loaded.card, loaded.path),
        max_sources=loaded.model.max_sources,
        knows_fat=loaded.model.knows_fat,
        knows_doubt=loaded.model.knows_doubt,
        device=synthesizer.device_name,
    )
    return synthesizer, facts


def peek_at_card(checkpoint: Path | None) -> ModelFacts | None:
    """Return what the card says; None where it cannot be read, which loading will explain."""
    from crl_core.checkpoint import default_checkpoint, read_card

    try:
        path = checkpoint or default_checkpoint()
        return _facts(read_card(path), path)
    except CRLError:
        return None


def _facts(card: Card, path: Path) -> ModelFacts:
    return ModelFacts(
        name=card.name,
        path=path,
        coverage=card.coverage,
        intensity_rule=card.intensity_rule,
        card=card,
        sha256=card.sha256,
    )
