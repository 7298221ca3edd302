"""Scans that are mirrored against the others of the same head.

A mirrored scan still looks like a head, so nothing in the scan itself gives it away: it has to be
laid on another one. With three or more scans the odd one out is named; with two, the pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crl_core.doctor.alignment import AS_IS, CLEAR, Signs, Small, compare
from crl_core.doctor.files import Dossier, Log
from crl_core.doctor.findings import Mend, command

_WORDS = {"x": "left to right", "y": "front to back", "z": "top to bottom"}


@dataclass
class Orientations:
    """How the scans of one subject lie to each other.

    Parameters
    ----------
    groups
        Scans that agree with each other, by what is mirrored against the first group's first.
    unclear
        Scans that fit no other one well enough to tell.
    same_voxels
        For scans whose voxels, taken in the order of the file, lie like those of a scan of
        another group: that scan. Their affine is wrong, not the order of their voxels.
    """

    groups: dict[Signs, list[Dossier]] = field(default_factory=dict)
    unclear: list[Dossier] = field(default_factory=list)
    same_voxels: dict[str, Dossier] = field(default_factory=dict)


def compare_subject(
    scans: Sequence[Dossier], stop: Callable[[], None] = lambda: None
) -> Orientations:
    """Compare the scans of one subject; each against one other, doubtful ones against two.

    Parameters
    ----------
    scans
        Scans of one subject at one visit whose voxels were read.
    stop
        Called before each comparison; may raise to give up.
    """
    found = Orientations()
    usable = [s for s in scans if _small(s) is not None and not s.synthetic]
    if len(usable) < 2:
        return found
    first, *rest = usable
    found.groups[AS_IS] = [first]
    doubtful: list[tuple[Dossier, Signs]] = []
    for scan in rest:
        stop()
        verdict = _compare(first, scan)
        if verdict is None:
            found.unclear.append(scan)
        elif verdict == AS_IS:
            found.groups[AS_IS].append(scan)
        else:
            doubtful.append((scan, verdict))
    for scan, signs in doubtful:
        stop()
        _confirm(scan, signs, found)
    _same_voxels(found)
    return found


def _confirm(scan: Dossier, signs: Signs, found: Orientations) -> None:
    """Believe that a scan is mirrored only when a second one of either group says so too."""
    others = found.groups[AS_IS][1:]
    if signs in found.groups:
        verdict, wanted = _compare(found.groups[signs][0], scan), AS_IS
    elif others:
        verdict, wanted = _compare(others[0], scan), signs
    else:
        verdict = wanted = signs
    if verdict == wanted:
        found.groups.setdefault(signs, []).append(scan)
    else:
        found.unclear.append(scan)


def _same_voxels(found: Orientations) -> None:
    if len(found.groups) < 2:
        return
    for signs, group in found.groups.items():
        for scan in group:
            twin = next(
                (
                    other
                    for kind, others in found.groups.items()
                    for other in others
                    if kind != signs and other.shape == scan.shape and other.codes != scan.codes
                ),
                None,
            )
            mine = _small(scan)
            theirs = None if twin is None else _small(twin)
            if (
                twin is None
                or theirs is None
                or mine is None
                or theirs.data.shape != mine.data.shape
            ):
                continue
            swapped = Small(mine.data, theirs.affine, mine.head)
            verdict = compare(theirs, swapped)
            if verdict.signs == AS_IS and verdict.margin >= CLEAR:
                found.same_voxels[scan.file] = twin


def _small(scan: Dossier) -> Small | None:
    return None if scan.looks is None else scan.looks.small


def _compare(fixed: Dossier, moving: Dossier) -> Signs | None:
    a, b = _small(fixed), _small(moving)
    if a is None or b is None:
        return None
    verdict = compare(a, b)
    return verdict.signs if verdict.margin >= CLEAR else None


def report_flips(
    subjects: Sequence[Orientations], scans: Sequence[Dossier], log: Log, root: Path
) -> None:
    """Log the odd one out of each subject, or the pair that disagrees."""
    usual = usual_codes(scans)
    for found in subjects:
        for scan in found.unclear:
            log.add(
                "note",
                "flip-unclear",
                "whether it is mirrored cannot be told: it fits no other scan of the subject",
                about=scan,
            )
        if len(found.groups) > 1:
            _report(found, usual, log, root)


def usual_codes(scans: Sequence[Dossier]) -> dict[str, str]:
    """Return for each acquisition the orientation that most of the other subjects' scans have."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(scan.acquisition for scan in scans):
        counts = Counter(s.codes for s in scans if s.acquisition == name and s.codes)
        if counts and (best := counts.most_common(1)[0])[1] > counts.total() / 2 >= 1:
            found[name] = best[0]
    return found


def _report(found: Orientations, usual: dict[str, str], log: Log, root: Path) -> None:
    groups = sorted(found.groups.items(), key=lambda item: -len(item[1]))
    (main, right), *wrong = groups
    if len(right) == len(wrong[0][1]):
        hinted = _hint(found, usual)
        if hinted is None:
            _report_tie(found, log, root)
            return
        main, right = hinted
        wrong = [(signs, group) for signs, group in groups if signs != main]
    for signs, group in wrong:
        relative = _between(main, signs)
        others = right[0].name if len(right) == 1 else f"{len(right)} other scans of the subject"
        for scan in group:
            log.add(
                "error",
                "flip",
                f"it is mirrored {_words(relative)} against {others}",
                about=scan,
                action=_mend(scan, relative, found, right),
            )


def _hint(found: Orientations, usual: dict[str, str]) -> tuple[Signs, list[Dossier]] | None:
    """Return the one group whose axes run as in the other subjects, where only one does."""
    fitting = [
        (signs, group)
        for signs, group in found.groups.items()
        if all(usual.get(s.acquisition) == s.codes for s in group)
    ]
    odd = [
        signs
        for signs, group in found.groups.items()
        if all(usual.get(s.acquisition, s.codes) != s.codes for s in group)
    ]
    return fitting[0] if len(fitting) == 1 and len(odd) == len(found.groups) - 1 else None


def _report_tie(found: Orientations, log: Log, root: Path) -> None:
    (signs_a, group_a), (signs_b, group_b), *_ = found.groups.items()
    relative = _between(signs_a, signs_b)
    a, b = group_a[0], group_b[0]
    action = Mend("flip", b.file, _axes(relative), sure=False)
    other = command("mend", root, Mend("flip", a.file, _axes(relative)).words)
    log.add(
        "error",
        "flip-pair",
        f"it and {a.name} are mirrored {_words(relative)} against each other; which one is wrong "
        f"cannot be told from {len(group_a) + len(group_b)} scans. If it is {a.name}: {other}",
        about=b,
        action=action,
    )


def _mend(scan: Dossier, signs: Signs, found: Orientations, right: Sequence[Dossier]) -> Mend:
    twin = found.same_voxels.get(scan.file)
    if twin is not None and twin in right:
        return Mend("geometry", scan.file, twin.file)
    return Mend("flip", scan.file, _axes(signs))


def _between(a: Signs, b: Signs) -> Signs:
    x, y, z = (p * q for p, q in zip(a, b, strict=True))
    return (x, y, z)


def _axes(signs: Signs) -> str:
    return "".join(axis for axis, sign in zip("xyz", signs, strict=True) if sign < 0)


def _words(signs: Signs) -> str:
    return " and ".join(_WORDS[axis] for axis in _axes(signs))
