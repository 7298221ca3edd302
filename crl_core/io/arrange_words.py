"""The words file names are made of, and one name taken apart into them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath

Key = tuple[str, ...]
"""Tokens in lower case, which is how they are compared."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PERSON = {
    **dict.fromkeys(_words("sub subj subject"), "sub"),
    **dict.fromkeys(_words("patient pat pt"), "patient"),
    **dict.fromkeys(_words("control ctrl hc"), "control"),
    **{word: word for word in _words("case participant person volunteer proband id")},
}
_PERSON_LETTERS = {"p": "patient", "s": "sub"}
"""Mean a person only where they begin a name: further on, s003 is a series."""

_VISIT = {
    **dict.fromkeys(_words("ses sess session"), "ses"),
    **dict.fromkeys(_words("visit v"), "visit"),
    **dict.fromkeys(_words("tp timepoint"), "tp"),
    **dict.fromkeys(_words("followup fu"), "followup"),
    **dict.fromkeys(_words("baseline bl"), "baseline"),
    **{word: word for word in _words("study exam month week year scan")},
}
_ALONE = _words("baseline bl followup fu")
"""Words that mean a visit without a number."""

_SCOPE = _words("site center centre hospital cohort scanner")
_GROUPS = _words("patients controls healthy volunteers")
"""Folders inside which the numbers of people begin anew."""

_SEQUENCE = _words(
    "w wi weighted flair star tse fse se ir c ce gd km post pre mprage mpr space cube vista blade"
    " ax axial tra trans sag sagittal cor coronal 2d 3d iso fs fatsat fat sat dark fluid propeller"
    " stir tirm contrast te tr ti echo seq series"
)
_PROCESSING = _words(
    "raw orig original reg registered coreg coregistered aligned preproc preprocessed processed"
    " bias n4 bfc corrected nifti nii niis image images img imgs data anat anatomical mri mr scans"
    " native mni deface defaced skullstripped stripped skull brain bet resampled norm normalized"
    " normalised denoised rigid affine to in run acq rec desc head"
)
_CONTRAST = re.compile(
    r"(t1|t2|pd|flair|stir|tirm|psir|dir|mp2?rage|fgatir)"
    r"(w|wi|weighted|flair|star|tse|fse|se|ir|c|ce|gd|km|post|pre|mprage|mpr|space|cube|vista|blade"
    r"|ax|sag|cor|fs|stir|tirm)*"
)
_SETTING = re.compile(r"(ir|te|tr|ti|tse|fse|echo|seq|acq|series|contrast)\d{1,5}(ms)?")
_SIZE = re.compile(r"\d{1,2}|\d+mm|\d+t|s\d+|r\d+")
_DATE = re.compile(
    r"(?<!\d)((?:19|20)\d\d)([-._]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)"
    r"(?:[-_T]?\d{6}(?![0-9A-Za-z]))?"
)
_ENTITY = re.compile(r"(?<![A-Za-z0-9])(sub|ses)-([A-Za-z0-9]+)", re.IGNORECASE)
_NUMBERED = re.compile(r"([a-z]+)(\d+)([a-z]?)")

_NO_SCANS = (
    (
        _words(
            "mask masks brainmask seg segs segm segmentation segmentations dseg probseg label"
            " labels labelmap aseg aparc roi rois gt groundtruth annotation consensus lesion"
            " lesions lesionmask headmask defacemask"
        ),
        "its name says mask or segmentation",
    ),
    (
        _words("warp warps xfm transform deformation displacement jacobian"),
        "its name says transform",
    ),
    (
        _words(
            "adc t1map t2map pdmap r1map r2map t2starmap fieldmap b0map b1map phase cbf cbv mtt"
        ),
        "its name says map, not scan",
    ),
    (_words("localizer localiser scout survey"), "its name says localiser"),
)


@dataclass
class Name:
    """One file name with its folders, taken apart.

    Parameters
    ----------
    people
        Explicit people such as ``("patient", "1")``, each once.
    digits
        The number of the last of them, as written.
    scope
        Words of folders inside which people's numbers begin anew.
    visits
        Explicit visits such as ``("study", "1")``, each once.
    date
        The first date; ``""`` without one.
    contrast
        Words of contrast as written, of the file or else of the innermost folder that has some.
    settings
        Words such as ``te100`` in the file's name, as written.
    extras
        Other words about sequence or processing in the file's name, and all unknown words behind
        the contrast, as written; they tell two images of one contrast apart.
    place
        Words about processing, and unknown words, in folders that do not name the person.
    folder
        Unknown words of the folders.
    rest
        Unknown words of the file's name before the contrast, as written.
    """

    people: list[Key] = field(default_factory=list)
    digits: str = ""
    scope: list[str] = field(default_factory=list)
    visits: list[Key] = field(default_factory=list)
    date: str = ""
    contrast: list[str] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    extras: list[str] = field(default_factory=list)
    place: list[str] = field(default_factory=list)
    folder: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)


def take_apart(relative: str) -> Name:
    """Take a path apart, relative to the folder, without the ending of the file."""
    *folders, stem = PurePosixPath(relative).parts
    name = Name()
    for part in folders:
        _folder(name, part)
    _file(name, stem)
    return name


def is_contrast(token: str) -> bool:
    """Return whether a token is a word of contrast, such as ``T1w``."""
    return _CONTRAST.fullmatch(token.lower()) is not None


def is_known(token: str) -> bool:
    """Return whether a token is a word about sequences or processing, so that it names nobody."""
    word = token.lower()
    return (
        is_contrast(word)
        or word in _SEQUENCE
        or word in _PROCESSING
        or bool(_SETTING.fullmatch(word) or _SIZE.fullmatch(word))
    )


def why_no_scan(relative: str) -> str:
    """Return what in a name says that the image is no scan; empty when nothing does."""
    *folders, stem = PurePosixPath(relative.lower()).parts
    words = set(_split(stem)) | set(folders[-1:])
    return next((reason for known, reason in _NO_SCANS if words & known), "")


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key by which 2 comes before 10."""
    parts = re.findall(r"\d+|\D+", text.lower())
    return tuple((0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts)


def _split(text: str) -> list[str]:
    return [token for token in re.split(r"[\W_]+", text) if token]


def _folder(name: Name, part: str) -> None:
    before = len(name.people)
    tokens = _explicit(name, part)
    contrast = [t for t in tokens if is_contrast(t)]
    if contrast:
        name.contrast = contrast
    scope = _scope(tokens)
    name.scope += scope
    unknown = [t.lower() for t in tokens if not is_known(t) and t.lower() not in scope]
    # A folder such as raw_patient01 is another place than no folder at all.
    about = [t.lower() for t in tokens if t.lower() in _PROCESSING]
    name.place += about + unknown
    if len(name.people) == before:
        name.folder += unknown


def _file(name: Name, stem: str) -> None:
    tokens = _explicit(name, stem)
    contrast = [i for i, token in enumerate(tokens) if is_contrast(token)]
    if contrast:
        name.contrast = [tokens[i] for i in contrast]
    behind = contrast[0] if contrast else len(tokens)
    for i, token in enumerate(tokens):
        if i in contrast or token.lower() in ("acq", "rec", "desc"):
            continue
        # Before the contrast a number belongs to who it is, unless that is known already.
        number = token.isdecimal() and not name.people
        if i < behind and (number or not is_known(token)):
            name.rest.append(token)
        elif _SETTING.fullmatch(token.lower()):
            name.settings.append(token)
        else:
            name.extras.append(token)


def _scope(tokens: list[str]) -> list[str]:
    words = [t.lower() for t in tokens]
    found: list[str] = []
    for i, word in enumerate(words):
        head = re.fullmatch(r"([a-z]+?)(\d*|[a-z])", word)
        if word in _GROUPS:
            found.append(word)
        elif word in _SCOPE:
            found += words[i : i + 2]
        elif head is not None and head[1] in _SCOPE:
            found.append(word)
    return found


def _explicit(name: Name, text: str) -> list[str]:
    """Note people, visits and dates of one part of a path; return the tokens left."""

    def entity(match: re.Match[str]) -> str:
        word, value = match[1].lower(), match[2]
        _note(name, word, value)
        return " "

    def date(match: re.Match[str]) -> str:
        name.date = name.date or match[1] + match[3] + match[4]
        return " "

    text = _DATE.sub(date, _ENTITY.sub(entity, text))
    tokens = _split(text)
    has_contrast = any(is_contrast(t) for t in tokens)
    left: list[str] = []
    i = 0
    while i < len(tokens):
        used = _pair(name, tokens, i, has_contrast, not left)
        if not used:
            left.append(tokens[i])
        i += max(used, 1)
    return left


def _pair(name: Name, tokens: list[str], i: int, has_contrast: bool, first: bool) -> int:
    """Note a person or a visit that begins at a token; return how many tokens it takes."""
    word = tokens[i].lower()
    following = tokens[i + 1] if i + 1 < len(tokens) else ""
    if is_contrast(word):
        return 0
    # scan1.nii beside scan2.nii are two contrasts, scan1_T1.nii is one of two visits.
    if re.fullmatch(r"scan\d*", word) and not has_contrast:
        return 0
    if word in _PERSON or word in _VISIT:
        if following.isdecimal() or (word in _PERSON and _may_name(following)):
            _note(name, word, following)
            return 2
        if word in _ALONE:
            _note(name, word, "")
        return 1
    numbered = _NUMBERED.fullmatch(word)
    if numbered is None:
        return 0
    if numbered[1] in _PERSON or numbered[1] in _VISIT:
        _note(name, numbered[1], numbered[2] + numbered[3])
        return 1
    if first and numbered[1] in _PERSON_LETTERS and not name.people:
        _note(name, numbered[1], numbered[2] + numbered[3])
        return 1
    return 0


def _may_name(token: str) -> bool:
    word = token.lower()
    numbered = _NUMBERED.fullmatch(word)
    taken = word in _VISIT or (numbered is not None and numbered[1] in _VISIT)
    return bool(word) and not taken and not is_known(word)


def _note(name: Name, word: str, value: str) -> None:
    number = re.fullmatch(r"(\d+)([A-Za-z]?)", value)
    person = _PERSON.get(word) or _PERSON_LETTERS.get(word)
    same = person or _VISIT[word]
    key = (same, f"{int(number[1])}{number[2].lower()}" if number else value.lower())
    if person:
        if key not in name.people:
            name.people.append(key)
        name.digits = value if number and not number[2] and value.isascii() else ""
    elif key not in name.visits:
        name.visits.append(key)
