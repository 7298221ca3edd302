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

_TRIES = 5
"""Scans of the largest group that a doubtful one is compared with, at most."""

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

    @property
    def main(self) -> tuple[Signs, list[Dossier]]:
        """The largest group; of two as large the later one.

        The first scan is as likely wrong as any other.
        """
        return max(reversed(self.groups.items()), key=lambda item: len(item[1]))


def compare_subject(
    scans: Sequence[Dossier], stop: Callable[[], None] = lambda: None
) -> Orientations:
    """Sort the scans of one subject into groups that lie alike.

    Each scan is compared with one of the largest group so far; what then stands against the
    largest group is compared with a second one of it before it is believed.

    Parameters
    ----------
    scans
        Scans of one subject at one visit whose voxels were read.
    stop
        Called before each comparison; may raise to give up.
    """
    usable = [s for s in scans if _small(s) is not None and not s.synthetic]
    pairs = _Pairs(stop)
    found = _sorted(usable, pairs)
    left = list(usable)
    while len(found.unclear) > 1 and len(found.main[1]) == 1 and len(left) > len(usable) - 2:
        # The first scan fits none of the others: it may be the one that is beyond comparing.
        left = left[1:]
        found = _sorted(left, pairs)
    found.unclear += [scan for scan in usable if scan not in left]
    _retry(found, pairs)
    _confirm(found, pairs)
    _same_voxels(found)
    return found


def _sorted(usable: Sequence[Dossier], pairs: _Pairs) -> Orientations:
    """Compare each scan with one of the largest group so far."""
    found = Orientations()
    for scan in usable:
        if not found.groups:
            found.groups[AS_IS] = [scan]
            continue
        signs, group = found.main
        verdict = pairs.compare(group[0], scan)
        if verdict is None:
            found.unclear.append(scan)
        else:
            found.groups.setdefault(_between(signs, verdict), []).append(scan)
    return found


def _retry(found: Orientations, pairs: _Pairs) -> None:
    """Give scans that fit the first of the largest group badly a chance with others of it."""
    if not found.groups:
        return
    signs, group = found.main
    others = group[1:_TRIES]
    for scan in list(found.unclear):
        verdicts = (pairs.compare(other, scan) for other in others)
        verdict = next((v for v in verdicts if v is not None), None)
        if verdict is not None:
            found.unclear.remove(scan)
            found.groups.setdefault(_between(signs, verdict), []).append(scan)


class _Pairs:
    """Comparisons of two scans, each made once."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._known: dict[frozenset[str], Signs | None] = {}

    def compare(self, a: Dossier, b: Dossier) -> Signs | None:
        """Return what is mirrored between two scans; None where that is not clear."""
        key = frozenset((a.file, b.file))
        if key not in self._known:
            self._stop()
            one, other = _small(a), _small(b)
            assert one is not None
            assert other is not None
            verdict = compare(one, other)
            self._known[key] = verdict.signs if verdict.margin >= CLEAR else None
        return self._known[key]


def _confirm(found: Orientations, pairs: _Pairs) -> None:
    """Keep a scan against the largest group only where a second one of it agrees."""
    if not found.groups:
        return
    main, right = found.main
    for signs, group in list(found.groups.items()):
        if signs == main:
            continue
        for scan in list(group):
            if not _believed(scan, _between(main, signs), right, pairs):
                group.remove(scan)
                found.unclear.append(scan)
        if not group:
            del found.groups[signs]


def _believed(scan: Dossier, signs: Signs, right: Sequence[Dossier], pairs: _Pairs) -> bool:
    """Return whether two of a group, or its only one, see a scan mirrored so and none otherwise."""
    agreeing = 0
    for other in right[:_TRIES]:
        verdict = pairs.compare(other, scan)
        if verdict is not None and verdict != signs:
            return False
        agreeing += verdict == signs
        if agreeing == min(2, len(right)):
            return True
    return False


def _same_voxels(found: Orientations) -> None:
    """Find scans whose voxels lie right once they take the affine of another group's scan."""
    for signs, group in found.groups.items():
        others = [s for kind, scans in found.groups.items() if kind != signs for s in scans]
        for scan in group:
            twin = next(
                (o for o in others if o.shape == scan.shape and o.codes != scan.codes), None
            )
            mine, theirs = _small(scan), None if twin is None else _small(twin)
            if twin is None or mine is None or theirs is None:
                continue
            if mine.data.shape != theirs.data.shape:
                continue
            verdict = compare(theirs, Small(mine.data, theirs.affine, mine.head))
            if verdict.signs == AS_IS and verdict.margin >= CLEAR:
                found.same_voxels[scan.file] = twin


def _small(scan: Dossier) -> Small | None:
    return None if scan.looks is None else scan.looks.small


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
                "whether it is mirrored cannot be told: it fits the other scans badly",
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
