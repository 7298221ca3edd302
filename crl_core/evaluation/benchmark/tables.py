"""The tables of the paper for the data at hand, as rows of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crl_core.evaluation.benchmark.protocol import PAPER_PAIRS, Protocol, Task
from crl_core.evaluation.benchmark.results import HEADLINE, MethodRows, Results
from crl_core.evaluation.benchmark.statistics import Difference

DASH = "-"

_PAPER_NAMES = {"1": "T1-FLAIR", "5": "PD", "7": "T2", "9": "T2-FLAIR"}


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Parameters
    ----------
    title
        What it shows.
    head
        Names of the columns.
    rows
        As many texts a row as there are columns.
    note
        What has to be said below.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def text(self) -> str:
        """Return it as aligned text."""
        lines = [self.head, *self.rows]
        widths = [max(len(row[i]) for row in lines) for i in range(len(self.head))]
        shown = [
            "  ".join(
                cell.ljust(w) if i == 0 else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in lines
        ]
        return "\n".join([self.title, *shown, *([self.note] if self.note else [])])


def pairs_of_table_2(protocol: Protocol) -> list[Task]:
    """Return the six pairs of the paper, or the first six seen pairs where it has others."""
    paper = [
        Task((s,), t) for s, t in PAPER_PAIRS if s in protocol.contrasts and t in protocol.contrasts
    ]
    seen = protocol.seen
    return paper or [Task((s,), t) for s in seen for t in seen if s != t][:6]


def table_2(results: Results, ending: str = "_gain") -> Table:
    """Return PSNR and SSIM of every method on the pairs of the paper's Table 2.

    Parameters
    ----------
    results
        What was measured.
    ending
        ``"_gain"`` after one gain in the mask, ``""`` as is, ``"_whole"`` as is in the whole
        image, which is how the paper judged.
    """
    pairs = pairs_of_table_2(results.protocol)
    head = ["method"]
    for task in pairs:
        source, target = (_PAPER_NAMES.get(k, k) for k in (task.sources[0], task.target))
        head += [f"{source} to {target}", "SSIM%"]
    rows = []
    for name in results.methods:
        cells = [name]
        for task in pairs:
            psnr = results.spread(name, f"psnr{ending}", [task])
            ssim = results.spread(name, f"ssim{ending}", [task])
            cells.append(DASH if psnr is None else psnr.text())
            cells.append(DASH if ssim is None else ssim.text(factor=100.0))
        if any(cell != DASH for cell in cells[1:]):
            rows.append(tuple(cells))
    return Table(f"Table 2: PSNR, dB, and SSIM, %, mean±SD over people ({_reading(ending)})",
                 tuple(head), tuple(rows))  # fmt: skip


def table_3(results: Results, method: MethodRows) -> Table:
    """Return PSNR from each contrast to each other one, as the paper's Table 3.

    Averages leave the diagonal out, which shows the network alone at the source's own parameters.
    """
    protocol = results.protocol
    keys = list(protocol.contrasts)
    rows = []
    for source in keys:
        cells, others = [_starred(source, protocol)], []
        for target in keys:
            found = results.spread(method.name, HEADLINE, [Task((source,), target)])
            cells.append(DASH if found is None else f"{found.mean:.2f}")
            if found is not None and target != source:
                others.append(found.mean)
        rows.append((*cells, f"{np.mean(others):.2f}" if others else DASH))
    head = ("from \\ to", *(_starred(k, protocol) for k in keys), "Avg")
    title = f"Table 3: {method.name}, PSNR, dB, head, after one gain"
    return Table(title, head, tuple(rows), held_back_words(results, method))


def held_back_words(results: Results, method: MethodRows) -> str:
    """Return what the star means: a checkpoint from elsewhere may have seen what is held back."""
    held = results.protocol.held_back
    if not held:
        return ""
    known = [k for k in held if k in method.covered]
    if known:
        return (
            f"* held back here, but this checkpoint's own training covered {' and '.join(known)}."
        )
    return "* never seen in training."


def main_blocks(results: Results) -> tuple[list[str], list[str]]:
    """Return the blocks of one source, and those of several."""
    several = [b for b, tasks in results.tasks.items() if any(len(t.sources) > 1 for t in tasks)]
    shared = [b for b in results.tasks if b.startswith("one source to ")]
    return [b for b in results.tasks if b not in several and b not in shared], shared + several


def block_table(
    results: Results, metric: str = HEADLINE, blocks: Sequence[str] | None = None
) -> Table:
    """Return every method on some blocks, mean and spread over people.

    The longer of the two lists runs downwards.
    """
    chosen = list(results.tasks) if blocks is None else list(blocks)
    digits = 1 if metric.endswith("_percent") else 3 if metric.startswith("ssim") else 2
    rows = []
    for name in results.methods:
        found = [results.spread(name, metric, results.tasks[block]) for block in chosen]
        if any(one is not None for one in found):
            rows.append((name, *(DASH if s is None else s.text(digits) for s in found)))
    several = any(len(t.sources) > 1 for block in chosen for t in results.tasks[block])
    what = "Blocks of several sources" if several else "Blocks"
    title = f"{what}: {METRIC_WORDS[metric]}"
    if len(chosen) <= max(9, len(rows)):
        return Table(title, ("method", *chosen), tuple(rows))
    columns = list(zip(*rows, strict=True))
    turned = [(block, *cells) for block, cells in zip(chosen, columns[1:], strict=False)]
    return Table(title, ("block", *(columns[0] if columns else ())), tuple(turned))


def skill_table(
    results: Results, metric: str = HEADLINE, blocks: Sequence[str] | None = None
) -> Table:
    """Return skill, (PSNR - table) / (oracle - table), where the oracle is above the table."""
    chosen = list(results.tasks) if blocks is None else list(blocks)
    rows = []
    for name, method in results.methods.items():
        if method.kind == "reference":
            continue
        found = [results.skill(name, results.tasks[block], metric) for block in chosen]
        if any(value is not None for value in found):
            rows.append((name, *(DASH if v is None else f"{v:.2f}" for v in found)))
    return Table(
        f"Skill, (PSNR - table) / (oracle - table): {METRIC_WORDS[metric]}",
        ("method", *chosen),
        tuple(rows),
    )


def comparison_table(results: Results, blocks: Sequence[str] | None = None) -> Table:
    """Return each network against the best baseline of each block, person by person."""
    rows = []
    for block, tasks in results.tasks.items():
        best = results.best_baseline(tasks)
        # At the source's own parameters a table has nothing to do.
        if best is None or block == "identity" or (blocks is not None and block not in blocks):
            continue
        for method in results.networks:
            found = results.against(method.name, best, tasks)
            if found is None:
                continue
            rows.append((block, method.name, best, *_difference(found)))
    return Table(
        "Networks against the best baseline of each block (PSNR, dB, head, after one gain)",
        (
            "block",
            "method",
            "best baseline",
            "difference",
            "95 % bootstrap",
            "Wilcoxon p",
            "people",
        ),
        tuple(rows),
    )


def duel_table(results: Results) -> Table:
    """Return the first network against each other one, on the pairs of Table 2 and main blocks."""
    networks = results.networks
    groups = {t.name: [t] for t in pairs_of_table_2(results.protocol)}
    groups |= {block: results.tasks[block] for block in main_blocks(results)[0]}
    rows = []
    for other in networks[1:]:
        for what, tasks in groups.items():
            found = results.against(networks[0].name, other.name, tasks)
            if found is not None:
                rows.append((what, f"{networks[0].name} - {other.name}", *_difference(found)))
    return Table(
        "The first network against the others (PSNR, dB, head, after one gain)",
        ("pair or block", "methods", "difference", "95 % bootstrap", "Wilcoxon p", "people"),
        tuple(rows),
    )


def _difference(found: Difference) -> tuple[str, ...]:
    p = DASH if found.p is None else f"{found.p:.3g}"
    # One person has no spread to draw from.
    interval = DASH if found.n < 2 else f"{found.low:+.2f} to {found.high:+.2f}"
    return f"{found.mean:+.2f}", interval, p, str(found.n)


METRIC_WORDS = {
    "psnr_gain": "PSNR, dB, head, after one gain",
    "psnr": "PSNR, dB, head, as is",
    "psnr_gain_brain": "PSNR, dB, brain tissue, after one gain",
    "psnr_whole": "PSNR, dB, whole image, as is",
    "psnr_gain_whole": "PSNR, dB, whole image, after one gain",
    "ssim_gain": "SSIM, head, after one gain",
    "ssim": "SSIM, head, as is",
    "grey_white_percent": "size of the error of grey / white matter, per cent",
    "csf_grey_percent": "size of the error of fluid / grey matter, per cent",
    "lesion_white_percent": "size of the error of lesion / white matter, per cent",
}
"""What a figure is, in words."""


def _reading(ending: str) -> str:
    where = "whole image" if ending.endswith("_whole") else "head"
    return f"{where}, {'after one gain' if ending.startswith('_gain') else 'as is'}"


def _starred(key: str, protocol: Protocol) -> str:
    return f"{key}*" if key in protocol.held_back else key
