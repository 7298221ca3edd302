"""TR, TE and TI: what is missing, in the wrong unit, contradictory or impossible."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from crl_core.doctor.files import Dossier, Log, relative
from crl_core.doctor.findings import Mend, Value
from crl_core.doctor.units import FIELD_OF, UNITS, first_ms, gradient_echo, scaled, suspected
from crl_core.errors import CRLError
from crl_core.io.bids import sidecar_path
from crl_core.io.timing import NAMES, Timing, read_timing

ALIKE = 0.01
"""Values that differ by less than this share are the same setting."""

_INVERTED = "its name or sequence says inversion recovery"


def check_parameters(scans: Sequence[Dossier], log: Log) -> None:
    """Fill in `Dossier.values` and log what is wrong with them."""
    others_have = any(scan.sidecars or scan.bad_sidecars for scan in scans)
    headers: dict[str, dict[str, float]] = {}
    refused: dict[str, list[str]] = {}
    for scan in scans:
        corrected = _units(scan, log)
        timing, refused[scan.file] = _timing(scan, corrected)
        scan.values = {
            name: Value(ms, timing.origins[name].where, timing.origins[name].certainty)
            for name, ms in timing.values.items()
        }
        headers[scan.file] = _header_values(scan)
        _against_header(scan, headers[scan.file], log)
    for scan in scans:
        if scan.synthetic:
            continue
        suggestion = _suggestion(scan, headers[scan.file], scans)
        for problem in refused[scan.file]:
            text = f"{problem}{suggestion.words}"
            log.add("error", "unusable-value", text, about=scan, action=suggestion.mend(scan))
        if scan.bad_sidecars:
            _damaged_sidecars(scan, suggestion, log)
        elif not scan.sidecars:
            _no_sidecar(scan, headers[scan.file], suggestion, others_have, log)
        else:
            _missing(scan, suggestion, log)
        _impossible(scan, suggestion, log)
    _outliers(scans, log)
    _uncertain(scans, log)


def _damaged_sidecars(scan: Dossier, suggestion: Suggestion, log: Log) -> None:
    for path, problem in scan.bad_sidecars:
        if path == sidecar_path(scan.path):
            text = f"its sidecar {path.name} {problem}{suggestion.words}"
            log.add("error", "sidecar-damaged", text, about=scan, action=suggestion.mend(scan))
        else:
            log.add("error", "sidecar-damaged", problem, file=relative(path, scan.root))


def _units(scan: Dossier, log: Log) -> dict[str, Any]:
    """Log fields in the wrong unit; return the fields as they were meant."""
    corrected = dict(scan.fields)
    wrong: dict[tuple[str, Path], list[str]] = {}
    for key in UNITS:
        kind = suspected(key, scan.fields)
        if kind:
            corrected[key] = scaled(scan.fields[key], 0.001 if kind == "milliseconds" else 1000.0)
            wrong.setdefault((kind, scan.came_from[key]), []).append(key)
    for (kind, path), keys in wrong.items():
        _log_unit(kind, keys, path, corrected, scan, log)
    return corrected


def _log_unit(
    kind: str,
    keys: list[str],
    path: Path,
    corrected: Mapping[str, Any],
    scan: Dossier,
    log: Log,
) -> None:
    written = _and([f"{key} {json.dumps(scan.fields[key])[:40]}" for key in keys])
    meant = _and([f"{first_ms(corrected[key]):g} ms" for key in keys])
    one = len(keys) == 1
    if kind == "milliseconds":
        problem = (
            f"gives {written}, which {'is' if one else 'are'} milliseconds; BIDS counts seconds"
        )
    else:
        short = _and([f"{first_ms(scan.fields[key]):g} ms" for key in keys])
        problem = f"gives {written}, that is {short}: divided by 1000 once too often"
    problem = f"{path.name} {problem}; {meant} {'was' if one else 'were'} meant"
    own = path.parent == scan.path.parent and path.stem == scan.path.name.split(".")[0]
    file = scan.file if own else relative(path, scan.root)
    action = Mend("milliseconds" if kind == "milliseconds" else "thousandth", file)
    log.add(
        "error",
        kind,
        problem,
        subject=scan.subject if own else "",
        file=file,
        action=action,
    )


def _timing(scan: Dossier, fields: Mapping[str, Any]) -> tuple[Timing, list[str]]:
    """Look up TR, TE and TI; return also what is wrong with fields that had to be left out."""
    known = dict(fields)
    refused: list[str] = []
    where = "no sidecar"
    if scan.sidecars:
        where = "BIDS sidecar " + " and ".join(p.name for p in reversed(scan.sidecars))
    for key in FIELD_OF:
        try:
            return read_timing(known, _header(scan), path=scan.path, where=where), refused
        except CRLError as error:
            refused.append(error.problem)
            known.pop(next((k for k in FIELD_OF if k in known and k in error.problem), key), None)
    return Timing(), refused


def _header(scan: Dossier) -> Any:
    from nibabel import Nifti1Header

    return Nifti1Header() if scan.header is None else scan.header


def _header_values(scan: Dossier) -> dict[str, float]:
    """Return what the NIfTI header alone states, in ms."""
    timing = read_timing({}, _header(scan), path=scan.path, where="")
    return {
        name: value
        for name, value in timing.values.items()
        if timing.origins[name].where.startswith("NIfTI header, description")
    }


def _against_header(scan: Dossier, header: Mapping[str, float], log: Log) -> None:
    for name, stated in header.items():
        value = scan.values.get(name)
        if value is None or "sidecar" not in value.where or _alike(value.ms, stated):
            continue
        log.add(
            "warning",
            "header-disagrees",
            f"the sidecar gives {name.upper()} {value.ms:g} ms, the NIfTI header {stated:g} ms; "
            "the command believes the header",
            about=scan,
            action=_rewrite(scan, {name: stated}),
        )


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What to write into a sidecar.

    Parameters
    ----------
    triple
        ``TR,TE,TI`` in ms; the name stands where a number is not known.
    sure
        Whether no person has to look at it first.
    source
        Where the numbers come from; empty where a person has to supply some.
    """

    triple: str
    sure: bool
    source: str

    @property
    def words(self) -> str:
        """What to add to the description of the problem."""
        if self.source:
            return f"; the command writes {self.triple}, {self.source}"
        return "; put the numbers into the command, in ms"

    def mend(self, scan: Dossier) -> Mend:
        """Return the mend that writes the numbers."""
        return Mend("params", scan.file, self.triple, self.sure)


def _suggestion(scan: Dossier, header: Mapping[str, float], scans: Iterable[Dossier]) -> Suggestion:
    """Take TR, TE and TI from the header, else from the same acquisition of other subjects."""
    known = {name: value.ms for name, value in scan.values.items()}
    if set(NAMES) <= header.keys():
        return Suggestion(_triple(header), True, "as its NIfTI header says")
    peers = [
        s
        for s in scans
        if s.acquisition == scan.acquisition
        and s is not scan
        and s.sidecars
        and len(s.values) == len(NAMES)
    ]
    if peers:
        typical = {name: median(p.values[name].ms for p in peers) for name in NAMES}
        others = "another scan" if len(peers) == 1 else f"{len(peers)} other scans"
        triple = _triple({**typical, **header, **known})
        return Suggestion(triple, False, f"the values of {others} named {scan.name}")
    triple = _triple({**header, **known})
    complete = set(NAMES) <= {**header, **known}.keys()
    return Suggestion(triple, False, "what is known without it" if complete else "")


def _triple(values: Mapping[str, float]) -> str:
    return ",".join(f"{values[n]:.9g}" if n in values else n.upper() for n in NAMES)


def _no_sidecar(
    scan: Dossier,
    header: Mapping[str, float],
    suggestion: Suggestion,
    others_have: bool,
    log: Log,
) -> None:
    unknown = [n.upper() for n in NAMES if n not in scan.values]
    if unknown:
        tail = f" and its header does not state {_and(unknown)}"
    else:
        tail = "; its header alone states TR and TE" if header else ""
    log.add(
        "error" if unknown or others_have else "warning",
        "sidecar-missing",
        f"it has no sidecar{tail}{suggestion.words}",
        about=scan,
        action=suggestion.mend(scan),
    )


def _missing(scan: Dossier, suggestion: Suggestion, log: Log) -> None:
    unknown = [n for n in NAMES if n not in scan.values]
    if not unknown:
        return
    if gradient_echo(scan.fields):
        log.add(
            "warning",
            "missing",
            f"no {_and([n.upper() for n in unknown])}; it is a gradient echo and cannot be used",
            about=scan,
            action=Mend("leave-out", scan.file, sure=False),
        )
        return
    why = f", although {_INVERTED}" if unknown == ["ti"] else ""
    log.add(
        "error",
        "missing",
        f"neither sidecar nor header states {_and([n.upper() for n in unknown])}{why}"
        f"{suggestion.words}",
        about=scan,
        action=suggestion.mend(scan),
    )


def _and(words: Sequence[str]) -> str:
    """Return ``a``, ``a and b`` or ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _impossible(scan: Dossier, suggestion: Suggestion, log: Log) -> None:
    if not {"tr", "te"} <= scan.values.keys():
        return
    tr, te = scan.values["tr"].ms, scan.values["te"].ms
    ti = scan.values["ti"].ms if "ti" in scan.values else 0.0
    if tr >= te + ti:
        if gradient_echo(scan.fields):
            log.add(
                "warning",
                "gradient-echo",
                "its sidecar says gradient echo; the signal equation is that of fast spin echo",
                about=scan,
                action=Mend("leave-out", scan.file, sure=False),
            )
        return
    inner = f"TI {ti:g} and TE {te:g}" if ti else f"TE {te:g}"
    log.add(
        "error",
        "impossible",
        f"TR {tr:g} ms cannot hold {inner} ms",
        about=scan,
        action=Mend("params", scan.file, "TR,TE,TI", sure=False),
    )


def _outliers(scans: Sequence[Dossier], log: Log) -> None:
    """Compare each value with the same acquisition of the other subjects."""
    groups: dict[str, list[Dossier]] = {}
    for scan in scans:
        groups.setdefault(scan.acquisition, []).append(scan)
    for group in groups.values():
        for name in NAMES:
            known = [s for s in group if name in s.values]
            if len(known) < 3:
                continue
            for scan in known:
                typical = median(s.values[name].ms for s in known if s is not scan)
                value = scan.values[name].ms
                if _far(value, typical) and _agree([s for s in known if s is not scan], name):
                    log.add(
                        "warning",
                        "outlier",
                        f"{name.upper()} {value:g} ms, but {typical:g} ms in the "
                        f"{len(known) - 1} other scans named {scan.name}",
                        about=scan,
                        action=_rewrite(scan, {name: typical}),
                    )


def _rewrite(scan: Dossier, changes: Mapping[str, float]) -> Mend:
    """Return the mend that changes one value and keeps the others; for a person to decide."""
    known = {name: value.ms for name, value in scan.values.items()}
    return Mend("params", scan.file, _triple({**known, **changes}), sure=False)


def _far(a: float, b: float) -> bool:
    return abs(a - b) > 0.25 * max(a, b)


def _agree(scans: Sequence[Dossier], name: str) -> bool:
    values = [s.values[name].ms for s in scans]
    return not _far(min(values), max(values))


def _alike(a: float, b: float) -> bool:
    return abs(a - b) <= ALIKE * max(abs(a), abs(b))


def _uncertain(scans: Sequence[Dossier], log: Log) -> None:
    """Say once per subject which values are assumed."""
    for subject in dict.fromkeys(s.subject for s in scans):
        own = [s for s in scans if s.subject == subject]
        assumed = [s for s in own if any(_assumed(n, v) for n, v in s.values.items())]
        if assumed:
            log.add(
                "note",
                "nominal",
                f"TR, TE or TI of {len(assumed)} of {len(own)} scans is nominal or estimated, "
                "not stated by the scanner",
                subject=subject,
            )


def _assumed(name: str, value: Value) -> bool:
    """Return whether a value is a guess; a TI taken as none in plain spin echo is not one."""
    if name == "ti" and value.ms == 0:
        return False
    return value.certainty in ("nominal", "estimated")
