"""Measure what each part of a crl-plus checkpoint is worth: take it away and measure again.

Run on a dataset of digital subjects whose anatomies the checkpoint never saw::

    python docs/recipes/ablate_checkpoint.py crl-plus.safetensors DATASET --subject sub-09a

Nothing is trained again, so a part that others could have learnt to stand in for looks more
valuable than it is. Every figure is PSNR in the head mask after one least-squares gain, peak =
99.5th percentile of the reference, averaged over the seen sequences that are not sources.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from crl_core.checkpoint import Checkpoint, load_checkpoint
from crl_core.evaluation.baselines import score
from crl_core.evaluation.benchmark.protocol import key_of
from crl_core.io.bids import find_subjects, load_subject
from crl_core.models.mixture import MixtureCRL
from crl_core.scan import FloatArray, Scan
from crl_core.sequence import SequenceParameters
from crl_core.synthesis import Synthesizer

SEEN = (1, 2, 3, 5, 7, 8, 9)
GROUPS = (*((n,) for n in SEEN), (1, 7), (5, 7), (1, 5), (1, 5, 7))


def whole(net: MixtureCRL) -> None:
    """Take nothing away."""


def no_correction(net: MixtureCRL) -> None:
    """Render what the tissues alone give."""
    _zero(net.correction)


def no_overview(net: MixtureCRL) -> None:
    """Look at each place without the mean of the image."""
    _zero(net.context)


def no_gains(net: MixtureCRL) -> None:
    """Take every source to be as bright as usual."""

    def usual(images: Tensor, parameters: Tensor, present: Tensor, voxels: int = 0) -> Tensor:
        return torch.zeros_like(present)

    net.tissues.fit_gains = usual  # type: ignore[method-assign]


def no_amount(net: MixtureCRL) -> None:
    """Correct which tissues there are, not how much."""
    _zero(net.amount)
    no_correction(net)


def no_context(net: MixtureCRL) -> None:
    """Leave what the intensities of each voxel alone say."""
    for layer in (net.shares, net.amount, net.correction):
        _zero(layer)
    nn.init.ones_(net.trust)


VARIANTS: Mapping[str, tuple[Callable[[MixtureCRL], None], bool]] = {
    "as it is": (whole, True),
    "nothing carried from the sources": (whole, False),
    "... and no correction of the signal equation": (no_correction, False),
    "... and amounts from intensities alone": (no_amount, False),
    "... and shares from intensities alone": (no_context, False),
    "as it is, but without the mean of the image": (no_overview, True),
    "as it is, but brightness of sources not fitted": (no_gains, True),
}


def _zero(layer: nn.Module) -> None:
    with torch.no_grad():
        for value in layer.parameters():
            value.zero_()


def image_of(synthesizer: Synthesizer, parameters: SequenceParameters, carried: bool) -> FloatArray:
    """Render a volume."""
    if carried:
        return synthesizer.render_volume(parameters)
    planes = [synthesizer.raw_slice(parameters, k) for k in range(synthesizer.n_slices)]
    return np.stack(planes, axis=synthesizer.slice_axis)


def numbered(scans: Sequence[Scan]) -> dict[int, Scan]:
    """Name a subject's scans by their sequence of the paper."""
    named = {key_of(scan.parameters, ""): scan for scan in scans if scan.parameters}
    return {int(key): scan for key, scan in named.items() if key}


def measure(
    checkpoint: Checkpoint, people: Sequence[Mapping[int, Scan]], carried: bool
) -> list[float]:
    """Return the mean PSNR of each group of sources."""
    synthesizer = Synthesizer(checkpoint, device="cpu")
    means = []
    for group in GROUPS:
        found = []
        for scans in people:
            sources = [scans[n] for n in group]
            synthesizer.set_sources(sources)
            for number in SEEN:
                sequence = scans[number].parameters
                if number in group or sequence is None:
                    continue
                reference = synthesizer.scale.to_model(scans[number].data)
                image = image_of(synthesizer, sequence, carried)
                found.append(score(image, reference, sources[0].mask))
        means.append(float(np.mean(found)))
    return means


def say(line: str) -> None:
    """Print a line at once: a table takes minutes."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--subject", action="append", help="only this one; several times")
    options = parser.parse_args()
    labels = [files.label for files in find_subjects(options.dataset)]
    chosen = [label for label in labels if not options.subject or label in options.subject]
    people = [numbered(load_subject(options.dataset, label).scans) for label in chosen]
    say(f"{len(people)} subjects: {', '.join(chosen)}\n")
    say("| | one source | 1+7 | 5+7 | 1+5 | 1+5+7 |\n|---|---|---|---|---|---|")
    for name, (change, carried) in VARIANTS.items():
        checkpoint = load_checkpoint(options.checkpoint)
        assert isinstance(checkpoint.model, MixtureCRL)
        change(checkpoint.model)
        row = measure(checkpoint, people, carried)
        cells = [float(np.mean(row[: len(SEEN)])), *row[len(SEEN) :]]
        say(f"| {name} | {' | '.join(f'{c:.2f}' for c in cells)} |")


if __name__ == "__main__":
    main()
