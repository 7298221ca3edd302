"""The report: JSON, CSV, figures and one HTML file that stands alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from crl_core import __version__
from crl_core.evaluation.benchmark import figures
from crl_core.evaluation.benchmark.plan import Plan, Unit, write_text
from crl_core.evaluation.benchmark.results import Results
from crl_core.evaluation.benchmark.tables import (
    Table,
    block_table,
    comparison_table,
    duel_table,
    main_blocks,
    skill_table,
    table_2,
    table_3,
)
from crl_core.io.bids import write_json
from crl_core.training.visits import clusters_of

JSON, CSV, HTML = "results.json", "results.csv", "report.html"

WARNING = (
    "SYNTHETIC images are no acquired images. Nothing here is evidence that a network may be used"
    " for diagnosis."
)


def write_report(plan: Plan, units: Sequence[Unit]) -> Results:
    """Write all of the report from measured units, replacing an older one.

    Parameters
    ----------
    plan
        The benchmark.
    units
        What is measured; not more.

    Returns
    -------
    Results
        The figures, for a terminal.
    """
    results = Results(plan, units)
    write_json(plan.folder / JSON, _as_json(results), overwrite=True)
    write_text(plan.folder / CSV, _as_csv(results))
    drawn = _figures(results)
    for name, svg in drawn.items():
        write_text(plan.folder / name, svg)
    write_text(plan.folder / HTML, _as_html(results, drawn))
    return results


def _as_json(results: Results) -> dict[str, Any]:
    return {
        "what": "crl benchmark",
        "version": __version__,
        "caption": caption(results),
        "protocol": results.plan.settings(),
        "methods": {
            m.name: {"title": m.title, "kind": m.kind, "folds": list(m.folds),
                     "training": [u["training"] for u in m.units if u["training"]],
                     "calibration": m.calibration and m.calibration.as_dict()}
            for m in results.methods.values()
        },
        "blocks": results.summary(),
    }  # fmt: skip


def _as_csv(results: Results) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    head, rows = results.long_rows()
    writer.writerow(head)
    writer.writerows(rows)
    return stream.getvalue()


def _figures(results: Results) -> dict[str, str]:
    first, third, fourth = figures.SHOWN
    found: dict[str, str | None] = {first: figures.parameter_space(results.protocol)}
    found[third] = figures.methods_side_by_side(results)
    for number, method in enumerate(results.whole_networks):
        name = fourth if number == 0 else fourth.replace(".svg", f"-{number + 1}.svg")
        found[name] = figures.all_contrasts(results, method)
    found[figures.CALIBRATION] = figures.calibration(results)
    return {name: svg for name, svg in found.items() if svg is not None}


def caption(results: Results) -> list[str]:
    """Return what has to be said below every table: data, people, mask, gain, peak and budgets."""
    protocol = results.protocol
    kind = "digital subjects, no person was scanned" if results.simulated else "acquired scans"
    held = ", ".join(protocol.held_back) or "none"
    references = [m.name for m in results.methods.values() if m.kind == "reference" and m.by_task]
    return [
        f"{protocol.dataset.name}: {kind}. {_people(results)} tested in"
        f" {len({f for m in results.methods.values() for f in m.folds})} of {len(protocol.folds)}"
        f" folds.{_fold_words(results)} {_split_words(results)}"
        f" Contrasts held back from training: {held}.",
        "PSNR and SSIM inside the head mask of the first source and the target; peak: 99.5th"
        " percentile of the target in that mask; gain: one least-squares factor a volume. Spread is"
        " the standard deviation over people, each the mean over visits, seeds and pairs.",
        "Methods fitted on the answer or on the truth are marks on the scale, not competitors:"
        f" {', '.join(references) or 'none'}."
        " A dash stands where a method has no answer to a task or a block.",
        "Tissue masks for ratios of contrasts: " + _tissue_words(results) + ".",
        *_nominal(results),
        *_budgets(results),
        WARNING,
    ]


def _tissue_words(results: Results) -> str:
    words = {
        "stated": "read from the dataset's derivatives",
        "estimated": "ESTIMATED from the acquired scans",
        "none": "could not be had",
    }
    return " and ".join(words[how] for how in sorted(results.tissues, reverse=True)) or "none"


def _fold_words(results: Results) -> str:
    if not results.folds:
        return " WARNING: no fold was measured with every method, so means are over other people."
    if results.left_out:
        numbers = ", ".join(str(n) for n in results.left_out)
        return f" Folds {numbers}, not measured with every method, are in {CSV} alone."
    return ""


def _split_words(results: Results) -> str:
    if len(results.protocol.folds) == 1:
        return "Everybody is tested, nobody learnt from; what needs other people has dashes."
    words = "Nobody is in two groups of a fold, both visits of a person stay together"
    if _anatomies(results) == 1:
        return f"{words}. WARNING: all share one anatomy, so the brains tested were learnt from."
    return f"{words}, and digital subjects of one anatomy too."


def _people(results: Results) -> str:
    """Return how many people, and of how many anatomies where several share one."""
    protocol = results.protocol
    words = f"{len(results.people)} of {len(protocol.people)} people"
    anatomies = _anatomies(results)
    if anatomies < len(protocol.people):
        words += f" (from {anatomies} anatom{'ies' if anatomies > 1 else 'y'}, so they are not"
        words += " independent)"
    return words


def _anatomies(results: Results) -> int:
    protocol = results.protocol
    return len(set(clusters_of(protocol.people, protocol.dataset).values()))


def _nominal(results: Results) -> list[str]:
    found = dict.fromkeys(key for visit in results.protocol.visits for key in visit.nominal)
    if not found:
        return []
    names = ", ".join(found)
    return [f"NOMINAL: TR, TE and TI of {names} are assumed or estimated, not stated by the files."]


def _budgets(results: Results) -> list[str]:
    """Return a line on each network: size, what was spent on it, and where."""
    lines = []
    for method in results.networks:
        about = [u["training"] for u in method.units if u["training"]]
        if about:
            parts = _budget(about)
            if "covers held back" in about[0]:
                parts.append("whether it learnt from these people or anatomies is not known")
            if method.covered:
                parts.append(f"its own training covered {' and '.join(method.covered)}")
            lines.append(f"{method.title}: {'; '.join(p.rstrip('.') for p in parts)}.")
    return lines


def _budget(about: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the parts of such a line, from one entry for each fold and seed."""
    one = about[0]
    parts = [f"{int(one['n_parameters']):,} parameters"]
    each = ""
    if one.get("trainings", 1) > 1:
        parts.append(f"{one['trainings']} networks a fold, one for each pair")
        each = " for all of them"
    steps = [int(a["steps"]) for a in about if a.get("steps") is not None]
    parts.append(f"{_range(steps)} steps{each}" if steps else "steps not stated")
    best = [int(n) for a in about for n in a.get("best steps", ())]
    if best:
        parts[-1] += f", best after {_range(best)}"
    minutes = [float(a["seconds"]) / 60 for a in about if a.get("seconds") is not None]
    minutes += [60 * float(a["hours"]) for a in about if a.get("hours") is not None]
    if minutes:
        parts.append(f"{_range(minutes)} minutes{each}")
    if one.get("hardware"):
        parts.append(f"on {one['hardware']}")
    return [*parts, *one.get("remarks", ())]


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    digits = 0 if high >= 10 or isinstance(values[0], int) else 1
    first, last = f"{low:,.{digits}f}", f"{high:,.{digits}f}"
    return first if first == last else f"{first} to {last}"


# HTML -------------------------------------------------------------------------------------------


def tables(results: Results) -> list[Table]:
    """Return every table of the report."""
    main, several = main_blocks(results)
    found = [table_2(results), table_2(results, ""), table_2(results, "_whole")]
    found += [table_3(results, method) for method in results.whole_networks]
    for metric in ("psnr_gain", "psnr_gain_brain", "ssim_gain", "grey_white_percent",
                   "csf_grey_percent", "lesion_white_percent"):  # fmt: skip
        found.append(block_table(results, metric, main))
        if several and metric in ("psnr_gain", "psnr_gain_brain"):
            found.append(block_table(results, metric, several))
    found += [skill_table(results, metric, main) for metric in ("psnr_gain", "psnr_gain_brain")]
    found += [comparison_table(results), duel_table(results)]
    return [table for table in found if table.rows]


def _as_html(results: Results, drawn: Mapping[str, str]) -> str:
    notes = "".join(f"<li>{escape(line)}</li>" for line in caption(results))
    parts = [
        f"<h1>Benchmark on {escape(results.protocol.dataset.name)}</h1>",
        f'<p class="warning">{escape(WARNING)}</p>',
        f"<ul>{notes}</ul>",
        *(_html_table(table) for table in tables(results)),
        *(_html_figure(name, svg) for name, svg in drawn.items()),
        _html_methods(results),
        f"<p>CRL Explorer {escape(__version__)}</p>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>Benchmark on {escape(results.protocol.dataset.name)}</title>"
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _html_table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.head)
    rows = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    return (
        f'<h2>{escape(table.title)}</h2><div class="wide"><table><tr>{head}</tr>\n{rows}</table>'
        f"</div>{note}"
    )


_FIGURE_WORDS = {
    "calibration": "Expected against actual error: on the line a network knows how far off it is.",
    "figure-1": "Counterpart of figure 1: where the contrasts lie in the space of parameters.",
    "figure-3": "Counterpart of figure 3: methods side by side, with signed errors below.",
    "figure-4": "Counterpart of figure 4: every contrast from one source.",
}


def _html_figure(name: str, svg: str) -> str:
    words = next(text for key, text in _FIGURE_WORDS.items() if name.startswith(key))
    made = "" if name.startswith("figure-1") else f" {WARNING}"
    return (
        f'<figure><div class="wide">{svg}</div>'
        f"<figcaption>{escape(words + made)}</figcaption></figure>"
    )


def _html_methods(results: Results) -> str:
    rows = "".join(
        f"<tr><td>{escape(m.name)}</td><td>{escape(m.kind)}</td><td>{escape(m.title)}</td></tr>"
        for m in results.methods.values()
    )
    return f"<h2>Methods</h2><table><tr><th>name</th><th>kind</th><th>what</th></tr>{rows}</table>"


_STYLE = """
body { font: 14px/1.45 Helvetica, Arial, sans-serif; color: #222; margin: 2em auto;
max-width: 1500px; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.1em; margin-top: 2em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25em .7em; text-align: right; border-bottom: 1px solid #ddd; }
th, td { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.wide { overflow-x: auto; } figure { margin: 2em 0; }
.warning { border-left: 4px solid #c0392b; padding: .4em .8em; background: #fbeeec; }
"""


def report_path(folder: Path) -> Path:
    """Return where the report lies."""
    return folder / HTML
