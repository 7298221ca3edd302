"""TR, TE and TI: what is missing, written in the wrong unit, contradictory or impossible.

Fast spin echo leaves wide gaps between the units. Echo times run from 5 to some 300 ms, so a
field in seconds holds 0.005 to 0.3, the same in milliseconds 5 to 300, and divided by 1000 once
too often 0.000005 to 0.0003: no value belongs to two of them. The same holds for TI (20 to
5000 ms). A TR of a few milliseconds exists in gradient echo, so it needs a second sign.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from crl_core.doctor.files import Dossier, Log, described, relative
from crl_core.doctor.findings import Mend, Value
from crl_core.errors import CRLError
from crl_core.io.timing import FIELDS, NAMES, Timing, read_timing

LONGEST_S: Mapping[str, float] = {"tr": 30.0, "te": 1.0, "ti": 10.0}
"""Above these a number of seconds was written in milliseconds."""

SHORTEST_S: Mapping[str, float] = {"tr": 0.03, "te": 0.001, "ti": 0.01}
"""Below these a number of seconds was divided by 1000 once too often; TR needs a second sign."""

ALIKE = 0.01
"""Values that differ by less than this share are the same setting."""

_FIELD_OF = {key: name for name in NAMES for key in FIELDS[name]}
_INVERTED = "its name or sequence says inversion recovery"


def check_parameters(scans: Sequence[Dossier], log: Log) -> None:
    """Fill in `Dossier.values` and log what is wrong with them."""
    others_have = any(scan.sidecars or scan.bad_sidecars for scan in scans)
    headers: dict[str, dict[str, float]] = {}
    for scan in scans:
        _damaged_sidecars(scan, log)
        corrected = _units(scan, log)
        timing = _timing(scan, corrected, log)
        scan.values = {
            name: Value(ms, timing.origins[name].where, timing.origins[name].certainty)
            for name, ms in timing.values.items()
        }
        headers[scan.file] = _header_values(scan)
        _against_header(scan, headers[scan.file], log)
    for scan in scans:
        if scan.synthetic or scan.bad_sidecars:
            continue
        suggestion = _suggestion(scan, headers[scan.file], scans)
        if not scan.sidecars:
            _no_sidecar(scan, headers[scan.file], suggestion, others_have, log)
        else:
            _missing(scan, suggestion, log)
        _impossible(scan, suggestion, log)
    _outliers(scans, log)
    _uncertain(scans, log)


def _damaged_sidecars(scan: Dossier, log: Log) -> None:
    for path, problem in scan.bad_sidecars:
        log.add(
            "error",
            "sidecar-damaged",
            f"its sidecar {path.name} {problem}",
            about=scan,
            action=Mend("params", scan.file, "TR,TE,TI", sure=False),
        )


def _units(scan: Dossier, log: Log) -> dict[str, Any]:
    """Log fields in the wrong unit; return the fields as they were meant."""
    corrected = dict(scan.fields)
    wrong: dict[tuple[str, Path], list[str]] = {}
    for key in _FIELD_OF:
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
    written = described(scan.fields, keys)
    meant = " and ".join(f"{1000 * numbers(corrected[key])[0]:g} ms" for key in keys)
    if kind == "milliseconds":
        problem = f"{path.name} gives {written}, which is in milliseconds; BIDS counts seconds"
    else:
        short = " and ".join(f"{1000 * numbers(scan.fields[key])[0]:g} ms" for key in keys)
        problem = f"{path.name} gives {written}, that is {short}: divided by 1000 once too often"
    own = path.parent == scan.path.parent and path.stem == scan.path.name.split(".")[0]
    file = scan.file if own else relative(path, scan.root)
    action = Mend("milliseconds" if kind == "milliseconds" else "thousandth", file)
    log.add(
        "error",
        kind,
        f"{problem}; {meant} was meant",
        subject=scan.subject if own else "",
        file=file,
        action=action,
    )


def suspected(key: str, fields: Mapping[str, Any]) -> str:
    """Return ``"milliseconds"``, ``"thousandth"`` or nothing for one BIDS field.

    Parameters
    ----------
    key
        Name of the field.
    fields
        All fields of the scan, in seconds as BIDS has them.
    """
    name = _FIELD_OF[key]
    values = [v for v in numbers(fields.get(key)) if v > 0]
    if not values:
        return ""
    low, high = SHORTEST_S[name], LONGEST_S[name]
    if all(v > high and low <= v / 1000.0 <= high for v in values):
        return "milliseconds"
    if not all(v < low and v * 1000.0 <= high for v in values) or _gradient_echo(fields):
        return ""
    if name != "tr":
        return "thousandth"
    # A TR of a few ms is that of a gradient echo unless something else speaks against it.
    echo = [v for v in numbers(fields.get("EchoTime")) if v > 0]
    too_short = bool(echo) and (min(echo) < SHORTEST_S["te"] or values[0] <= max(echo))
    inverted = [v for v in numbers(fields.get("InversionTime")) if v > 0]
    too_short |= bool(inverted) and values[0] <= max(inverted)
    return "thousandth" if too_short or "SE" in str(fields.get("ScanningSequence", "")) else ""


def numbers(value: Any) -> list[float]:
    """Return the finite numbers a field holds, alone or in a list."""
    items = value if isinstance(value, list) else [value]
    return [
        float(v)
        for v in items
        if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)
    ]


def scaled(value: Any, factor: float) -> Any:
    """Return a number, or every number of a list, times a power of ten, without rounding dust."""
    if isinstance(value, list):
        return [scaled(v, factor) for v in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return float(f"{value * factor:.12g}")


def _gradient_echo(fields: Mapping[str, Any]) -> bool:
    listed = str(fields.get("ScanningSequence", "")).upper()
    return "GR" in listed and "SE" not in listed


def _timing(scan: Dossier, fields: Mapping[str, Any], log: Log) -> Timing:
    """Look up TR, TE and TI; a field that is no number is logged and left out."""
    known = dict(fields)
    where = "no sidecar"
    if scan.sidecars:
        where = "BIDS sidecar " + " and ".join(p.name for p in reversed(scan.sidecars))
    for key in _FIELD_OF:
        try:
            return read_timing(known, _header(scan), path=scan.path, where=where)
        except CRLError as error:
            bad = next((k for k in _FIELD_OF if k in known and k in error.problem), key)
            log.add(
                "error",
                "no-number",
                error.problem,
                about=scan,
                action=Mend("params", scan.file, "TR,TE,TI", sure=False),
            )
            known.pop(bad, None)
    return Timing()


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
            f"the sidecar gives {name.upper()} {value.ms:g} ms, the NIfTI header {stated:g} ms",
            about=scan,
        )


def _suggestion(
    scan: Dossier, header: Mapping[str, float], scans: Iterable[Dossier]
) -> tuple[str, bool, str]:
    """Return ``TR,TE,TI`` for a mend, whether it is sure, and where it was found."""
    known = {name: value.ms for name, value in scan.values.items()}
    if {"tr", "te", "ti"} <= header.keys():
        return _triple(header), True, "as its NIfTI header says"
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
        count = len(peers)
        who = "the other scan" if count == 1 else f"the {count} other scans"
        return _triple({**typical, **header, **known}), False, f"as {who} named {scan.name}"
    return _triple({**header, **known}), False, ""


def _triple(values: Mapping[str, float]) -> str:
    return ",".join(f"{values[n]:.9g}" if n in values else n.upper() for n in NAMES)


def _no_sidecar(
    scan: Dossier,
    header: Mapping[str, float],
    suggestion: tuple[str, bool, str],
    others_have: bool,
    log: Log,
) -> None:
    triple, sure, source = suggestion
    unknown = [n.upper() for n in NAMES if n not in scan.values]
    if unknown:
        tail = f" and its header does not state {' and '.join(unknown)}"
    else:
        where = "its header" if header else "nothing but its name"
        tail = f"; TR, TE and TI come from {where}"
    log.add(
        "error" if unknown or others_have else "warning",
        "sidecar-missing",
        f"it has no sidecar{tail}" + (f" (mended {source})" if source else ""),
        about=scan,
        action=Mend("params", scan.file, triple, sure),
    )


def _missing(scan: Dossier, suggestion: tuple[str, bool, str], log: Log) -> None:
    unknown = [n for n in NAMES if n not in scan.values]
    if not unknown:
        return
    triple, sure, source = suggestion
    names = " and ".join(n.upper() for n in unknown)
    why = f", although {_INVERTED}" if unknown == ["ti"] else ""
    gradient = _gradient_echo(scan.fields)
    log.add(
        "warning" if gradient else "error",
        "missing",
        f"no sidecar and no header states {names}{why}"
        + (f" (mended {source})" if source else "")
        + ("; it is a gradient echo and cannot be used" if gradient else ""),
        about=scan,
        action=Mend("leave-out", scan.file)
        if gradient
        else Mend("params", scan.file, triple, sure),
    )


def _impossible(scan: Dossier, suggestion: tuple[str, bool, str], log: Log) -> None:
    if not {"tr", "te"} <= scan.values.keys():
        return
    tr, te = scan.values["tr"].ms, scan.values["te"].ms
    ti = scan.values["ti"].ms if "ti" in scan.values else 0.0
    if tr >= te + ti:
        if _gradient_echo(scan.fields):
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
                    )


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
