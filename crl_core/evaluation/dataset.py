"""How a checkpoint does on a whole dataset: every scan of a subject from every other one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crl_core.errors import InputError
from crl_core.evaluation.baselines import BASELINES, score
from crl_core.evaluation.masks import judged_mask
from crl_core.evaluation.metrics import compare, reference_peak
from crl_core.io.bids import SubjectFiles, find_subjects
from crl_core.preprocess.subject import usable_subject
from crl_core.scan import Scan, Subject
from crl_core.sequence import SequenceParameters

if TYPE_CHECKING:
    from crl_core.synthesis import Synthesizer

_SUMMARISED = ("psnr", "ssim", "mae_percent", "psnr_gain", "ssim_gain", "mae_percent_gain")


def evaluate_dataset(
    root: str | Path,
    synthesizer: Synthesizer,
    *,
    subjects: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Synthesise every scan of every subject from every other scan and compare.

    A reference is compared in the model units of the source, inside the head mask of both,
    with the 99.5th percentile of the reference there as full range; see
    `crl_core.evaluation.metrics.compare`. Baselines are fitted on the reference itself, which
    favours them; they are PSNR after one gain.

    Parameters
    ----------
    root
        A BIDS dataset.
    synthesizer
        The engine with the checkpoint.
    subjects
        Labels of the subjects to use; all by default.
    progress
        Called with how many pairs of how many are done.

    Returns
    -------
    dict
        ``pairs``, one entry a pair; ``summary``, means over pairs, also those of settings
        inside and outside the training coverage; ``left_out``, scans that could not
        take part, each with the reason.

    Raises
    ------
    InputError
        When the dataset holds no two scans of one subject with parameters.
    CRLError
        When a file is damaged.
    """
    loaded = [usable_subject(files) for files in _chosen(root, subjects)]
    found = [subject for subject, _ in loaded]
    left_out = [reason for _, reasons in loaded for reason in reasons]
    tasks = [task for subject in found for task in _tasks(subject)]
    if not tasks:
        raise InputError(
            "holds no subject with two scans whose TR, TE and TI are known",
            path=root,
            remedy="Check the sidecars with crl inspect",
        )
    pairs: list[dict[str, Any]] = []
    current: Scan | None = None
    for done, (subject, source, target) in enumerate(tasks):
        if source is not current:
            synthesizer.set_sources([source])
            current = source
        pairs.append({"subject": subject.name, **_pair(synthesizer, source, target)})
        if progress is not None:
            progress(done + 1, len(tasks))
    return {"pairs": pairs, "summary": _summary(pairs), "left_out": left_out}


def _chosen(root: str | Path, wanted: Sequence[str]) -> list[SubjectFiles]:
    """Return the files of the subjects asked for, of all where none is named."""
    every = {files.label: files for files in find_subjects(root)}
    labels = [w if w.startswith("sub-") else f"sub-{w}" for w in wanted] or list(every)
    for label in labels:
        if label not in every:
            raise InputError(
                f"has no subject '{label}'", path=root, remedy="Look at its sub-* folders"
            )
    return [every[label] for label in labels]


def _tasks(subject: Subject) -> Iterator[tuple[Subject, Scan, Scan]]:
    for source in subject.scans:
        for target in subject.scans:
            if target is not source:
                yield subject, source, target


def _pair(synthesizer: Synthesizer, source: Scan, target: Scan) -> dict[str, Any]:
    wanted, known = _parameters(target), _parameters(source)
    image = synthesizer.render_volume(wanted)
    reference = synthesizer.reference_scale(target).to_model(target.data)
    mask = judged_mask(source.mask, target.mask)
    peak = reference_peak(reference, mask)
    result = compare(image, reference, mask, peak, slice_axis=target.slice_axis)
    given = synthesizer.scale.to_model(source.data)
    return {
        "source": source.name,
        "target": target.name,
        "source_parameters_ms": list(known.triple),
        "target_parameters_ms": list(wanted.triple),
        "fat_suppressed": {"source": known.fat_suppression, "target": wanted.fat_suppression},
        "inside_coverage": synthesizer.checkpoint.card.coverage.inside(wanted),
        **result.as_dict(),
        "baselines_psnr_gain": {
            name: score(baseline(given, reference, mask), reference, mask)
            for name, baseline in BASELINES.items()
        },
    }


def _parameters(scan: Scan) -> SequenceParameters:
    if scan.parameters is None:
        raise InputError("states no TR, TE and TI", path=scan.path)
    return scan.parameters


def _summary(pairs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    groups = {
        "all": list(pairs),
        "inside_coverage": [p for p in pairs if p["inside_coverage"]],
        "outside_coverage": [p for p in pairs if not p["inside_coverage"]],
    }
    return {name: _means(group) for name, group in groups.items() if group}


def _means(pairs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    means: dict[str, Any] = {"n_pairs": len(pairs)}
    for key in _SUMMARISED:
        means[key] = _mean([p[key] for p in pairs])
    for name in BASELINES:
        means[f"baseline_{name}_psnr_gain"] = _mean([p["baselines_psnr_gain"][name] for p in pairs])
    return means


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of the finite values; None where there is none."""
    usable = [v for v in values if v is not None and np.isfinite(v)]
    return float(np.mean(usable)) if usable else None
