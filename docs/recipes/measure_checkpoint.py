"""Measure a checkpoint on subjects it never saw and write the result into its card.

Run once by a maintainer after training::

    python docs/recipes/measure_checkpoint.py RUN/model.safetensors -o NAME.safetensors \
        --labels training_seg_14.nii.gz training_seg_15.nii.gz --data "..."

Digital subjects are simulated from label maps that were not trained on; the real slice is the one
shipped with the program. Every figure is PSNR in the head mask after one least-squares gain, peak =
99.5th percentile of the reference. Identity, affine and table are fitted on the reference itself,
which no method could do without having it; the "table of other subjects" is fitted on the other
test subjects, as a method must be.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crl_core import demo
from crl_core.card import Card
from crl_core.checkpoint import load_checkpoint, save_checkpoint
from crl_core.evaluation.baselines import BASELINES, IntensityTable, score
from crl_core.evaluation.metrics import compare, reference_peak
from crl_core.io.bids import find_subjects, load_subject
from crl_core.physics.dataset import simulate_dataset
from crl_core.scan import Scan
from crl_core.sequence import PAPER_SEQUENCES, SequenceParameters
from crl_core.synthesis import Synthesizer
from crl_core.training.coverage import ancestors_saw, never_seen
from crl_core.trust import TrainingCoverage

SUBJECTS_PER_MAP = 2
SEED = 2024


def learnt_tables(
    subjects: Sequence[dict[int, Scan]], left_out: int, source: int
) -> dict[int, IntensityTable]:
    """Fit one table a target on all subjects but one, in units of each subject's source."""
    others = [s for n, s in enumerate(subjects) if n != left_out]
    found = {}
    for target in PAPER_SEQUENCES:
        pairs = []
        for scans in others:
            scale, mask = scans[source].scale, scans[source].mask
            x, y = (scale.to_model(scans[n].data)[mask] for n in (source, target))
            pairs.append(np.stack([x, y]).astype(np.float64))
        x, y = np.concatenate(pairs, axis=1)
        found[target] = IntensityTable.fit(x, y)
    return found


def measure_each(
    synthesizer: Synthesizer,
    sources: Sequence[Scan],
    targets: Sequence[Scan],
    tables: dict[int, IntensityTable] | None = None,
) -> list[dict[str, float]]:
    """Return the PSNR of each target: of the network, and of baselines from the first source."""
    synthesizer.set_sources(sources)
    mask = sources[0].mask
    given = synthesizer.scale.to_model(sources[0].data)
    rows = []
    for target in targets:
        assert target.parameters is not None
        reference = synthesizer.scale.to_model(target.data)
        image = synthesizer.render_volume(target.parameters)
        peak = reference_peak(reference, mask)
        result = compare(image, reference, mask, peak, slice_axis=target.slice_axis)
        row = {"network": float(result.psnr_gain)}
        for name, baseline in BASELINES.items():
            row[name] = score(baseline(given, reference, mask), reference, mask)
        if tables is not None:
            image = tables[number_of(target)](given)
            row["table of other subjects"] = score(image, reference, mask)
        rows.append(row)
    return rows


def measure_group(
    synthesizer: Synthesizer, sources: Sequence[Scan], targets: Sequence[Scan]
) -> dict[str, float]:
    """Return the mean over targets of `measure_each`."""
    return mean_of(measure_each(synthesizer, sources, targets))


def raw_identity(synthesizer: Synthesizer, source: Scan) -> float:
    """Return PSNR of the network alone at the source's own parameters."""
    synthesizer.set_sources([source])
    assert source.parameters is not None
    planes = [synthesizer.raw_slice(source.parameters, k) for k in range(synthesizer.n_slices)]
    image = np.stack(planes, axis=synthesizer.slice_axis)
    reference = synthesizer.scale.to_model(source.data)
    peak = reference_peak(reference, source.mask)
    result = compare(image, reference, source.mask, peak, slice_axis=source.slice_axis)
    return round(result.psnr_gain, 2)


def mean_of(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Average entries over rows."""
    return {key: round(float(np.mean([row[key] for row in rows])), 2) for key in rows[0]}


def digital(synthesizer: Synthesizer, labels: Sequence[Path], several: bool) -> dict[str, Any]:
    """Measure on simulated subjects: every source to every other sequence, and pairs of sources."""
    sequences = {f"paper{n}": p for n, p in PAPER_SEQUENCES.items()}
    trained = synthesizer.checkpoint.card.training.get("settings", {}).get("sequences")
    held_out = set(PAPER_SEQUENCES) - set(trained or PAPER_SEQUENCES)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "test"
        simulate_dataset(
            labels, root, sequences, subjects=SUBJECTS_PER_MAP, seed=SEED, n_slices=10,
            thickness_mm=6.0,
        )  # fmt: skip
        subjects = [load_subject(root, files.label) for files in find_subjects(root)]
        by_source: dict[str, list[dict[str, float]]] = {}
        by_block: dict[str, list[dict[str, float]]] = {}
        raw: list[float] = []
        everyone = [{number_of(s): s for s in subject.scans} for subject in subjects]
        for n, scans in enumerate(everyone):
            for own, source in scans.items():
                others = {k: s for k, s in scans.items() if k != own}
                tables = learnt_tables(everyone, n, own)
                rows = measure_each(synthesizer, [source], [*others.values()], tables)
                by_source.setdefault(f"from {own}", []).append(mean_of(rows))
                for target, row in zip(others, rows, strict=True):
                    by_block.setdefault(block_of(own, target, held_out), []).append(row)
                raw.append(raw_identity(synthesizer, source))
            for chosen in ((5, 7), (1, 7), (1, 5), (1, 5, 7)) if several else ():
                targets = [scans[k] for k in (2, 3, 8, 9)]
                row = measure_group(synthesizer, [scans[k] for k in chosen], targets)
                key = f"from {'+'.join(map(str, chosen))} to 2, 3, 8, 9"
                by_source.setdefault(key, []).append(row)
    card = synthesizer.checkpoint.card
    table = {key: mean_of(rows) for key, rows in sorted(by_source.items())}
    blocks = {key: mean_of(rows) for key, rows in sorted(by_block.items())}
    singles = [row for key, row in table.items() if " to " not in key]
    return {
        "what": f"{len(subjects)} digital subjects from {len(labels)} label maps never trained on",
        "one source, all 72 pairs": mean_of(singles),
        "at the source's own parameters, network alone": round(float(np.mean(raw)), 2),
        "by source": table,
        **({"by block": blocks, "held back": _held_words(held_out, card)} if held_out else {}),
    }


def _held_words(held_out: set[int], card: Card) -> str:
    seen = {number(p) for p in ancestors_saw(card.training)} & held_out
    words = f"{' and '.join(map(str, sorted(held_out)))} in the last training"
    return f"{words}; a network that it goes back to had seen them" if seen else words


def block_of(source: int, target: int, held_out: set[int]) -> str:
    """Name the part of the table that a pair belongs to."""
    if target in held_out:
        return "between held back ones" if source in held_out else f"to {target}, held back"
    return f"from {source}, held back" if source in held_out else "seen to seen"


def number_of(scan: Scan) -> int:
    """Return which sequence of the paper a scan is."""
    assert scan.parameters is not None
    return number(scan.parameters)


def number(parameters: SequenceParameters) -> int:
    """Return which sequence of the paper parameters are."""
    triple = parameters.triple
    return next(n for n, p in PAPER_SEQUENCES.items() if np.allclose(p.triple, triple, rtol=1e-4))


def real_slice(synthesizer: Synthesizer, several: bool) -> dict[str, Any]:
    """Measure on the real slice: from each image to the others, within and across the series."""
    scans = demo.real_slice()
    series = [[s for s in scans if s.parameters and s.parameters.inverted == inv] for inv in (0, 1)]
    table: dict[str, dict[str, float]] = {}
    for own, other in (series, series[::-1]):
        for source in own:
            within = [s for s in own if s is not source]
            table[f"{source.name} within its series"] = measure_group(synthesizer, [source], within)
            table[f"{source.name} across"] = measure_group(synthesizer, [source], other)
    if several:
        spin = {s.name: s for s in scans}
        pair = [spin["SE TE 10"], spin["SE TE 90"]]
        rest = [s for s in series[0] if s not in pair]
        table["SE TE 10 + SE TE 90 within their series"] = measure_group(synthesizer, pair, rest)
    return {
        "what": "one real axial slice, twelve acquisitions; the inversion series is registered to "
        "the spin echo series and its TE estimated; across series maps fitted to the data "
        "themselves reach about 22 dB",
        "by source": table,
    }


def main() -> None:
    """Measure and write the checkpoint with its card under the output name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--labels", type=Path, nargs="+", required=True)
    parser.add_argument("--data", default="")
    options = parser.parse_args()
    checkpoint = load_checkpoint(options.checkpoint)
    synthesizer = Synthesizer(checkpoint, device="cpu")
    several = checkpoint.model.max_sources > 1
    metrics = {
        "unit": "PSNR in dB, head mask, after one least-squares gain, peak p99.5 of the reference",
        "validation PSNR, dB": checkpoint.card.metrics.get("validation PSNR, dB", {}),
        "digital": digital(synthesizer, options.labels, several),
        "real slice": real_slice(synthesizer, several),
    }
    training = dict(checkpoint.card.training)
    if options.data:
        training["data"] = options.data
    name = checkpoint.card.preset  # the shipped one
    # What its predecessors had seen is not held back, whatever the last training did.
    coverage = never_seen(checkpoint.card.coverage, TrainingCoverage(), training)
    card = replace(
        checkpoint.card, name=name, metrics=metrics, training=training, coverage=coverage
    )
    save_checkpoint(options.output, checkpoint.model, card, overwrite=True)


if __name__ == "__main__":
    main()
