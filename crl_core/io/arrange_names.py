"""Who is on which image: person, visit and contrast from the names of files and folders.

Two people never become one, because their scans would be registered to each other. One person
never becomes two, because a split would then train on those it is tested on. Where names leave
that open, explicit words such as patient01 decide before folders, and folders before the rest.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from crl_core.io.arrange_words import Key, Name, is_contrast, is_known, natural, take_apart

UNNAMED = "scan"
"""The contrast of an image whose name says nothing."""

_MOST_DIGITS = 4
"""Longer numbers may be those of a hospital and are not kept."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image belongs.

    Parameters
    ----------
    person
        Label of digits; never a name.
    visit
        Label of digits; ``""`` where everybody was seen once.
    contrast
        As the files call it.
    """

    person: str
    visit: str
    contrast: str


@dataclass
class _Entry:
    """One image while it is sorted in."""

    path: str
    name: Name
    person: Key = ()
    visit: tuple[Hashable, ...] = ()
    contrast: tuple[str, ...] = ()

    @property
    def look(self) -> Hashable:
        """What tells two images of one visit apart."""
        words = (*self.contrast, *self.name.settings, *self.name.extras)
        return tuple(word.lower() for word in words)


def place_all(paths: Sequence[str]) -> list[Place]:
    """Return person, visit and contrast of each image.

    Parameters
    ----------
    paths
        Relative to the folder, with forward slashes, without ``.nii`` or ``.nii.gz``.
    """
    entries = [_Entry(path, take_apart(path)) for path in paths]
    for entry in entries:
        entry.contrast = tuple(entry.name.contrast)
    _find_people(entries)
    _find_visits(entries)
    _find_contrasts(entries)
    people, visits = _person_labels(entries), _visit_labels(entries)
    spelling = _spellings(entries)
    return [
        Place(people[e.person], visits[e.person, e.visit], spelling[_lower(e.contrast)])
        for e in entries
    ]


def acquisition_labels(contrasts: Iterable[str]) -> dict[str, str]:
    """Return what to call contrasts in file names: known words only, the rest is numbered.

    An unknown word of a file name may be that of a person, so it is not written.
    """
    labels: dict[str, str] = {}
    taken: set[str] = set()
    for contrast in sorted(set(contrasts), key=natural):
        tokens = contrast.split("-")
        known = "".join(token for token in tokens if is_known(token) and token.isascii())
        counted = (f"{known}other{number}" for number in itertools.count(1))
        whole = [known] if all(map(is_known, tokens)) and known else []
        labels[contrast] = next(
            label for label in itertools.chain(whole, counted) if label.lower() not in taken
        )
        taken.add(labels[contrast].lower())
    return labels


# people -----------------------------------------------------------------------------------------


def _find_people(entries: Sequence[_Entry]) -> None:
    _explicit_people(entries)
    free = [e for e in entries if not e.person]
    _contrast_of_the_nameless(free)
    _free_people([e for e in free if e.name.folder and e.name.rest])
    _numbered_images([e for e in free if not e.person and e.name.rest])
    for entry in free:
        if not entry.person:
            entry.person = _free(entry.name.rest or entry.name.folder)
    for entry in entries:
        # Words that do not say who it is may say which of two images it is.
        entry.name.extras = [w for w in entry.name.rest if w.lower() not in entry.person] + (
            entry.name.extras
        )


def _explicit_people(entries: Sequence[_Entry]) -> None:
    """Take the words that say who it is; the site counts where all images of a person name one."""
    for entry in entries:
        entry.person = tuple(word for key in entry.name.people for word in key)
    for group in _grouped((e for e in entries if e.person), lambda e: e.person):
        if all(e.name.scope for e in group):
            for entry in group:
                entry.person = (*entry.name.scope, *entry.person)


def _contrast_of_the_nameless(free: Sequence[_Entry]) -> None:
    """Where no word of contrast is known, the last word before the ending is taken for it."""
    certain = {_free(e.name.rest) for e in free if e.contrast}
    for entry in free:
        rest = entry.name.rest
        if entry.contrast or entry.name.settings or not rest or _free(rest) in certain:
            continue
        entry.contrast = (rest[-1],)
        entry.name.rest = rest[:-1]


def _free_people(both: Sequence[_Entry]) -> None:
    """Decide whether file names or folders say who it is, where both could.

    File names, as long as nobody then has the same image twice; else folders on that condition;
    else only both together name a person.
    """
    by_name: Callable[[_Entry], Key] = lambda e: _free(e.name.rest)  # noqa: E731
    by_folder: Callable[[_Entry], Key] = lambda e: _free(e.name.folder)  # noqa: E731
    several = len({by_name(e) for e in both}) > 1
    if several and not _twice(both, by_name):
        chosen = by_name
    elif not _twice(both, by_folder):
        chosen = by_folder
    else:
        chosen = lambda e: (*by_name(e), *e.name.folder)  # noqa: E731
    for entry in both:
        entry.person = chosen(entry)


def _numbered_images(flat: Sequence[_Entry]) -> None:
    """Tell 1_T1 beside 2_T2, numbers of scans, from numbers of people."""
    short = all(
        len(e.name.rest) == 1 and re.fullmatch(r"\d{1,2}", e.name.rest[0]) and not _when(e)
        for e in flat
    )
    alone = len({e.look for e in flat}) == len(flat) == len({_free(e.name.rest) for e in flat})
    if short and alone and len(flat) > 1:
        for entry in flat:
            entry.name.rest = []


def _twice(entries: Sequence[_Entry], person: Callable[[_Entry], Key]) -> bool:
    keys = [(person(e), _when(e), e.look) for e in entries]
    return len(set(keys)) < len(keys)


def _free(words: Iterable[str]) -> Key:
    key = tuple(word.lower() for word in words)
    return ("named", *key) if key else ()


def _person_labels(entries: Sequence[_Entry]) -> dict[Key, str]:
    """Return a label of digits for each person.

    The numbers of the files where everybody has a short one of their own, else counted.
    """
    written: dict[Key, str] = {}
    for entry in entries:
        number = _own_number(entry)
        written[entry.person] = max(written.get(entry.person, ""), number, key=len)
    numbers = list(written.values())
    kept = all(0 < len(n) <= _MOST_DIGITS for n in numbers)
    if kept and len({int(n) for n in numbers}) == len(numbers):
        return written
    order = sorted(written, key=lambda key: natural(" ".join(key)))
    width = max(2, len(str(len(order))))
    return {key: f"{i:0{width}d}" for i, key in enumerate(order, 1)}


def _own_number(entry: _Entry) -> str:
    """Return the number a person is known by; ``""`` where that is not all they are known by."""
    if entry.name.people:
        return entry.name.digits if len(entry.person) == 2 else ""
    if len(entry.person) != 2:
        return ""
    found = re.fullmatch(r"[a-z]{0,4}([0-9]+)", entry.person[1])
    return found[1] if found else ""


# visits -----------------------------------------------------------------------------------------


def _when(entry: _Entry) -> tuple[Hashable, ...]:
    name = entry.name
    return tuple(sorted(name.visits)) if name.visits else ((name.date,) if name.date else ())


def _find_visits(entries: Sequence[_Entry]) -> None:
    """Take the words that say when; the folder counts where a visit holds an image twice."""
    for entry in entries:
        entry.visit = (_when(entry), ())
    for group in _grouped(entries, lambda e: (e.person, e.visit)):
        looks = [e.look for e in group]
        if len(set(looks)) < len(looks):
            for entry in group:
                own = set(entry.person)
                place = tuple(word for word in entry.name.place if word not in own)
                entry.visit = (_when(entry), place)


def _visit_labels(entries: Sequence[_Entry]) -> dict[tuple[Key, tuple[Hashable, ...]], str]:
    """Return a label of digits for each visit of each person; dates are counted, not written."""
    visits: dict[Key, list[tuple[Hashable, ...]]] = defaultdict(list)
    for entry in entries:
        if entry.visit not in visits[entry.person]:
            visits[entry.person].append(entry.visit)
    labels: dict[tuple[Key, tuple[Hashable, ...]], str] = {}
    once = all(len(own) == 1 for own in visits.values())
    for person, own in visits.items():
        taken: set[str] = set()
        for visit in sorted(own, key=_visit_order):
            number = _visit_number(visit)
            if not number or number in taken:
                stated = {_visit_number(v) for v in own}
                number = next(n for n in map(str, range(1, 10**6)) if n not in taken | stated)
            taken.add(number)
            labels[person, visit] = "" if once else number
    return labels


def _visit_order(visit: tuple[Hashable, ...]) -> tuple[object, ...]:
    when, place = visit
    text = " ".join(map(str, when)) if isinstance(when, tuple) else ""
    return (bool(place), "baseline" not in text, natural(text), str(place))


def _visit_number(visit: tuple[Hashable, ...]) -> str:
    when, place = visit
    if place or not isinstance(when, tuple) or len(when) != 1 or not isinstance(when[0], tuple):
        return ""
    number = str(when[0][1])
    return number if re.fullmatch(r"[0-9]{1,3}", number) else ""


# contrasts --------------------------------------------------------------------------------------


def _find_contrasts(entries: Sequence[_Entry]) -> None:
    _unknown_contrasts([e for e in entries if not e.contrast])
    apart: dict[Key, set[str]] = defaultdict(set)
    for group in _grouped(entries, lambda e: (e.person, e.visit, _lower(e.contrast))):
        spoken = [set(_lower(e.name.settings + e.name.extras)) for e in group]
        apart[_lower(group[0].contrast)] |= set[str]().union(*spoken) - spoken[0].intersection(
            *spoken
        )
    for entry in entries:
        telling = apart[_lower(entry.contrast)] - set(_lower(entry.contrast))
        words = entry.name.settings + entry.name.extras
        entry.contrast += tuple(dict.fromkeys(w for w in words if w.lower() in telling))


def _unknown_contrasts(entries: Sequence[_Entry]) -> None:
    """Take words such as te100, else the words in which the images of a visit differ."""
    for group in _grouped(entries, lambda e: (e.person, e.visit)):
        own = set(group[0].person)
        unknown = [[word for word in e.name.extras if word.lower() not in own] for e in group]
        common = set(_lower(unknown[0])).intersection(*map(_lower, unknown))
        for entry, words in zip(group, unknown, strict=True):
            differing = [w for w in words if len(group) == 1 or w.lower() not in common]
            entry.contrast = tuple(entry.name.settings or differing or (UNNAMED,))


def _spellings(entries: Sequence[_Entry]) -> dict[Key, str]:
    """Return one spelling of each contrast, the most usual one."""
    counts: dict[Key, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        counts[_lower(entry.contrast)]["-".join(entry.contrast)] += 1
    return {key: min(found, key=lambda text: (-found[text], text)) for key, found in counts.items()}


def contrast_of(name: str, fallback: str) -> str:
    """Return the words of contrast in the name of one scan, or `fallback`."""
    found = [token for token in re.split(r"[\W_]+", name) if is_contrast(token)]
    return "-".join(found) or fallback


def _lower(words: Iterable[str]) -> Key:
    return tuple(word.lower() for word in words)


def _grouped(entries: Iterable[_Entry], key: Callable[[_Entry], Hashable]) -> list[list[_Entry]]:
    groups: dict[Hashable, list[_Entry]] = defaultdict(list)
    for entry in entries:
        groups[key(entry)].append(entry)
    return list(groups.values())
