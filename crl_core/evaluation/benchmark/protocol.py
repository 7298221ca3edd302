"""Who is trained on, validated on and tested, and what is synthesised from what."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crl_core.errors import InputError
from crl_core.evaluation.benchmark.folds import Fold, share_out
from crl_core.io.bids import SubjectFiles, read_sidecar, scan_name
from crl_core.io.timing import Timing, read_timing
from crl_core.sequence import PAPER_HELD_OUT, PAPER_SEQUENCES, SequenceParameters, distance
from crl_core.training.coverage import distinct, near
from crl_core.training.data_config import SAME, DataConfig
from crl_core.training.visits import clusters_of, visits

PAPER_PAIRS = (("5", "9"), ("5", "1"), ("5", "7"), ("7", "5"), ("7", "1"), ("7", "9"))
"""The six pairs of Table 2, in its order."""

PAPER_GROUPS = (("1", "7"), ("5", "7"), ("1", "5"), ("1", "5", "7"))
"""Several sources at once, where a dataset has the nine sequences."""

_ALIKE = 0.01
"""Times within a hundredth are those of a sequence of the paper."""


@dataclass(frozen=True)
class Task:
    """One image to synthesise: from which scans of a visit, and which one.

    Parameters
    ----------
    sources
        Keys of the contrasts given, the one that sets the unit first.
    target
        Key of the contrast wanted.
    """

    sources: tuple[str, ...]
    target: str

    @property
    def name(self) -> str:
        """Such as ``7>1`` or ``5+7>2``."""
        return f"{'+'.join(self.sources)}>{self.target}"


@dataclass(frozen=True)
class VisitFiles:
    """One visit of a person, known from the names and headers of its files.

    `nominal` are the contrasts whose times are assumed or estimated rather than stated.
    """

    person: str
    files: SubjectFiles
    contrasts: Mapping[str, SequenceParameters]
    nominal: tuple[str, ...] = ()


@dataclass(frozen=True)
class Protocol:
    """What is measured on a dataset; the same in every process that takes part.

    Parameters
    ----------
    dataset
        The BIDS dataset.
    visits
        Everybody who takes part.
    contrasts
        Key to TR, TE and TI: ``1`` to ``9`` for the sequences of the paper, else the scan's name.
        Where people differ, the first one's.
    held_back
        Keys that no training sees.
    groups
        Several sources at once.
    folds
        Who is trained on, validated on and tested.
    fingerprint
        Changes with the files of the dataset, not with the place where it lies.
    """

    dataset: Path
    visits: tuple[VisitFiles, ...]
    contrasts: Mapping[str, SequenceParameters]
    held_back: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    folds: tuple[Fold, ...]
    fingerprint: str

    @property
    def people(self) -> tuple[str, ...]:
        """Everybody, once."""
        return tuple(dict.fromkeys(v.person for v in self.visits))

    @property
    def seen(self) -> tuple[str, ...]:
        """Keys of the contrasts that training sees."""
        return tuple(k for k in self.contrasts if k not in self.held_back)

    @property
    def held_settings(self) -> tuple[SequenceParameters, ...]:
        """Every setting with which anybody was scanned in a contrast that is held back."""
        every = [v.contrasts[k] for v in self.visits for k in self.held_back if k in v.contrasts]
        return tuple(distinct(every))

    @property
    def is_paper(self) -> bool:
        """Whether the nine sequences of the paper are there."""
        return all(str(n) in self.contrasts for n in PAPER_SEQUENCES)

    @property
    def shared_targets(self) -> tuple[str, ...]:
        """Seen contrasts that no group of sources holds, so that all groups compare on them."""
        used = {key for group in self.groups for key in group}
        return tuple(k for k in self.seen if k not in used) if self.groups else ()

    def visits_of(self, people: Iterable[str]) -> list[VisitFiles]:
        """Return the visits of some people."""
        wanted = set(people)
        return [v for v in self.visits if v.person in wanted]

    def tasks(self, present: Iterable[str]) -> list[Task]:
        """Return all ordered pairs, identities and groups among the contrasts of a visit."""
        keys = [k for k in self.contrasts if k in set(present)]
        singles = [Task((s,), t) for s in keys for t in keys]
        several = [
            Task(group, t)
            for group in self.groups
            if set(group) <= set(keys)
            for t in keys
            if t not in group
        ]
        return singles + several

    def blocks(self, task: Task) -> tuple[str, ...]:
        """Return the blocks of the table that a task belongs to."""
        held = set(self.held_back)
        target_held = task.target in held
        if len(task.sources) > 1:
            return self._group_blocks(task)
        (source,) = task.sources
        if source == task.target:
            return ("identity",)
        if source in held:
            return ("between held back",) if target_held else (f"from {source}",)
        if target_held:
            return (f"to {task.target}",)
        alone = {key for group in self.groups for key in group}
        found = ["seen to seen"]
        if source in alone and task.target in self.shared_targets:
            found.append(self._shared("one source"))
        return tuple(found)

    def _group_blocks(self, task: Task) -> tuple[str, ...]:
        sources = "+".join(task.sources)
        if task.target in self.held_back:
            return (f"{sources} to {task.target}",)
        if task.target not in self.shared_targets:
            return (f"{sources} to other sources",)
        own = self._shared(sources)
        if len(task.sources) == 2 and self._several_pairs:
            return (own, self._shared("two sources"))
        return (own,)

    @property
    def _several_pairs(self) -> bool:
        return sum(len(group) == 2 for group in self.groups) > 1

    def _shared(self, sources: str) -> str:
        targets = self.shared_targets
        # A column cannot hold a dozen names of scans.
        words = ", ".join(targets) if len(targets) <= 5 else f"{len(targets)} other contrasts"
        return f"{sources} to {words}"

    def block_names(self) -> list[str]:
        """Return the blocks in the order of the table."""
        held = self.held_back
        names = ["seen to seen", *(f"to {k}" for k in held), *(f"from {k}" for k in held)]
        if len(held) > 1:
            names.append("between held back")
        names.append("identity")
        if self.shared_targets:
            names.append(self._shared("one source"))
            if self._several_pairs:
                names.append(self._shared("two sources"))
            names += [self._shared("+".join(group)) for group in self.groups]
        names += [f"{'+'.join(group)} to {k}" for k in held for group in self.groups]
        return names + [f"{'+'.join(group)} to other sources" for group in self.groups]

    def fold_of(self, person: str) -> Fold:
        """Return the fold in which a person is tested."""
        return next(f for f in self.folds if person in f.test)


def open_protocol(
    dataset: str | Path,
    *,
    folds: int | None = None,
    hold_back: Sequence[str] | None = None,
    groups: Sequence[tuple[str, ...]] | None = None,
) -> Protocol:
    """Read what a dataset holds and settle the protocol.

    Parameters
    ----------
    dataset
        A BIDS dataset; a person with two sessions is one person.
    folds
        Number of groups of people; five, or as many as there are people, by default.
    hold_back
        Keys of contrasts, or ``TR,TE,TI`` in ms. None holds back 4 and 6 of the paper where all
        nine are there, and nothing elsewhere.
    groups
        Sources to be used together; None takes those of the paper's sequences where they are there.

    Raises
    ------
    InputError
        When the dataset, the folds or a name cannot be used.
    """
    root = Path(dataset)
    found = _visits(root)
    contrasts = _all_contrasts(found)
    paper = all(str(n) in contrasts for n in PAPER_SEQUENCES)
    if hold_back is None:
        held = tuple(str(n) for n in PAPER_HELD_OUT) if paper else ()
    else:
        held = tuple(dict.fromkeys(k for w in hold_back for k in _matching(w, contrasts, root)))
    held = _with_repeats(held, found, contrasts)
    if len(contrasts) - len(held) < 2:
        raise InputError(
            "too many settings are held back: fewer than two are left to train on",
            path=root,
            remedy="Hold back fewer",
        )
    chosen = (PAPER_GROUPS if paper else ()) if groups is None else tuple(groups)
    for key in (k for group in chosen for k in group):
        _check_key(key, contrasts, root)
    people = list(dict.fromkeys(v.person for v in found))
    return Protocol(
        root,
        tuple(found),
        contrasts,
        held,
        tuple(tuple(group) for group in chosen),
        share_out(_together(people, root), folds, root),
        _fingerprint(root, found),
    )


def _together(people: Sequence[str], root: Path) -> dict[str, str]:
    """Return whom not to tear apart; where all share one anatomy nothing else is left."""
    found = clusters_of(people, root)
    return found if len(set(found.values())) > 1 else {person: person for person in people}


def key_of(parameters: SequenceParameters, name: str) -> str:
    """Return what a contrast is called: a number of the paper by its times, else its name.

    With suppressed fat it is none of the paper's, whatever its times.
    """
    if parameters.fat_suppression:
        return name
    for number, known in PAPER_SEQUENCES.items():
        if distance(parameters, known) < _ALIKE:
            return str(number)
    return name


def slug(text: str) -> str:
    """Return a text as part of a file name."""
    return "".join(c if c.isalnum() or c in "-+." else "-" for c in text).strip("-.") or "x"


# reading ----------------------------------------------------------------------------------------


def _visits(root: Path) -> list[VisitFiles]:
    found = []
    for visit in visits(DataConfig((str(root),))):
        timings = _timings(visit.files)
        contrasts = {k: t.parameters for k, t in timings.items() if t.parameters is not None}
        doubt = tuple(k for k, t in timings.items() if _nominal(t))
        if len(contrasts) >= 2:
            found.append(VisitFiles(visit.person, visit.files, contrasts, doubt))
    if not found:
        raise InputError(
            "holds no subject with two scans whose TR, TE and TI are known",
            path=root,
            remedy="Check the sidecars with crl inspect",
        )
    return found


def _timings(files: SubjectFiles) -> dict[str, Timing]:
    """Read headers and sidecars only: a dataset may be large."""
    found: dict[str, Timing] = {}
    for path in files.images:
        timing = _timing(path)
        parameters = None if timing is None else timing.parameters
        if timing is None or parameters is None:
            continue
        if parameters.tr < parameters.ti + parameters.te:
            continue
        key = key_of(parameters, scan_name(path))
        # A repeated sequence goes by its own name beside the first.
        found[scan_name(path) if key in found else key] = timing
    return found


def _nominal(timing: Timing) -> bool:
    """Return whether a time is assumed; that there is no inversion where none is told is not."""
    found = timing.parameters
    return any(
        origin.certainty in ("nominal", "estimated")
        for name, origin in timing.origins.items()
        if name != "ti" or (found is not None and found.inverted)
    )


def _timing(path: Path) -> Timing | None:
    import nibabel

    try:
        header = nibabel.load(path).header
    except (OSError, ValueError, EOFError, nibabel.filebasedimages.ImageFileError):
        raise InputError("is no readable NIfTI image", path=path, remedy="Replace it") from None
    fields, where = read_sidecar(path)
    if fields.get("Synthetic") is True:
        return None
    return read_timing(fields, header, path=path, where=where, volume=0)


def _all_contrasts(found: Sequence[VisitFiles]) -> dict[str, SequenceParameters]:
    contrasts: dict[str, SequenceParameters] = {}
    for visit in found:
        for key, parameters in visit.contrasts.items():
            contrasts.setdefault(key, parameters)
    return dict(sorted(contrasts.items(), key=lambda item: (not item[0].isdigit(), item[0])))


def _matching(word: str, contrasts: Mapping[str, SequenceParameters], root: Path) -> list[str]:
    """Return the contrasts that a word of ``--hold-back`` means: a key, or TR,TE,TI."""
    if "," not in word:
        _check_key(word, contrasts, root)
        return [word]
    from crl_core.sequence import parse_parameters

    wanted = parse_parameters(word)
    found = [k for k, p in contrasts.items() if distance(p, wanted) < SAME]
    if not found:
        raise InputError(
            f"holds no scan with {wanted}", path=root, remedy="Look at it with crl check"
        )
    return found


def _with_repeats(
    held: Sequence[str],
    found: Sequence[VisitFiles],
    contrasts: Mapping[str, SequenceParameters],
) -> tuple[str, ...]:
    """Hold back too what has the times of a held-back contrast in anybody: a second run of it."""
    settings = [v.contrasts[k] for v in found for k in held if k in v.contrasts]
    same = (
        key
        for key in contrasts
        if any(key in v.contrasts and near(v.contrasts[key], settings) for v in found)
    )
    return tuple(dict.fromkeys((*held, *same)))


def _check_key(key: str, contrasts: Mapping[str, SequenceParameters], root: Path) -> None:
    if key not in contrasts:
        raise InputError(
            f"holds no contrast '{key}'", path=root, remedy=f"There are {', '.join(contrasts)}"
        )


def _fingerprint(root: Path, found: Sequence[VisitFiles]) -> str:
    """Hash names and sizes of images, what was read from their sidecars, and small files whole."""
    images = [path for visit in found for path in visit.files.images]
    derived = [p for p in sorted((root / "derivatives").rglob("*")) if p.is_file()]
    lines = [f"{p.relative_to(root).as_posix()} {p.stat().st_size}" for p in (*images, *derived)]
    lines += [
        f"{visit.person} {key} {p.numbers}" for visit in found for key, p in visit.contrasts.items()
    ]
    text = hashlib.sha256("\n".join(lines).encode())
    for path in (root / "participants.tsv", *(p for p in derived if p.suffix in (".json", ".tsv"))):
        if path.is_file():
            text.update(path.read_bytes())
    return text.hexdigest()[:16]
