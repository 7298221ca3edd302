"""Which image belongs where, before anything is written."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from crl_core.errors import InputError
from crl_core.io.arrange_names import acquisition_labels
from crl_core.io.arrange_words import natural
from crl_core.io.timing import NAMES, Timing
from crl_core.scan import Origin
from crl_core.sequence import SequenceParameters

Typed = Literal["nominal", "given"]

TYPED = "given by the user"
"""Where a typed value comes from."""

_BELIEVED = ("stated", "given")
"""Values of these kinds in a file are not replaced by what is typed for a whole contrast."""


@dataclass(frozen=True)
class ArrangedImage:
    """One image and where it belongs.

    Parameters
    ----------
    path
        The file.
    person, visit
        Labels of digits, as they will be written; `visit` is ``""`` where nobody came twice.
    contrast
        As the files call it.
    parameters
        TR, TE and TI; None while one of them is not known.
    why_left_out
        In one line; empty for an image that takes part.
    origins
        Where each known value was read, and how certain it is.
    stated
        What the files themselves say.
    """

    path: Path
    person: str
    visit: str
    contrast: str
    parameters: SequenceParameters | None = None
    why_left_out: str = ""
    origins: Mapping[str, Origin] = field(default_factory=dict, hash=False)
    stated: Timing = field(default_factory=Timing, compare=False, repr=False)


@dataclass(frozen=True)
class Arrangement:
    """What a folder would be as a dataset."""

    folder: Path
    images: tuple[ArrangedImage, ...]

    @property
    def kept(self) -> tuple[ArrangedImage, ...]:
        """The images that take part."""
        return tuple(image for image in self.images if not image.why_left_out)

    @property
    def people(self) -> tuple[str, ...]:
        """Labels of the people with an image that takes part."""
        return tuple(sorted({image.person for image in self.kept}, key=natural))

    def contrasts(self) -> tuple[str, ...]:
        """Return the contrasts in use."""
        return tuple(sorted({image.contrast for image in self.kept}, key=natural))

    def missing(self) -> tuple[str, ...]:
        """Return the contrasts in use with an image whose TR, TE or TI is not known."""
        unknown = {image.contrast for image in self.kept if image.parameters is None}
        return tuple(contrast for contrast in self.contrasts() if contrast in unknown)

    def with_parameters(
        self, mapping: Mapping[str, SequenceParameters], certainty: Typed = "nominal"
    ) -> Arrangement:
        """Return the same with TR, TE and TI typed for whole contrasts.

        What the files themselves state is kept, value by value; what was typed before is replaced.

        Parameters
        ----------
        mapping
            Contrast to parameters; case and punctuation do not matter.
        certainty
            ``"given"`` for values from the protocol, ``"nominal"`` for usual ones.

        Raises
        ------
        InputError
            When no image has such a contrast.
        ParameterError
            When TR cannot hold TI and TE.
        """
        names = {_plain(contrast): contrast for contrast in self.contrasts()}
        typed: dict[str, SequenceParameters] = {}
        for contrast, parameters in mapping.items():
            if _plain(contrast) not in names:
                raise InputError(
                    f"holds no image of contrast '{contrast}'",
                    path=self.folder,
                    remedy=f"Its contrasts are {', '.join(names.values()) or 'none'}",
                )
            parameters.check_order()
            typed[names[_plain(contrast)]] = parameters
        changed = [
            _typed(image, typed[image.contrast], certainty) if image.contrast in typed else image
            for image in self.images
        ]
        return replace(self, images=tuple(changed))

    def uses_typed(self, contrast: str) -> bool:
        """Return whether a value typed for a contrast was needed for one of its images."""
        own = [image for image in self.kept if _plain(image.contrast) == _plain(contrast)]
        return any(o.where == TYPED for image in own for o in image.origins.values())

    def without(self, paths: Iterable[str | Path]) -> Arrangement:
        """Return the same without some files; they stay listed, with that as the reason."""
        unwanted = {Path(path) for path in paths}
        changed = [
            replace(image, why_left_out=image.why_left_out or "left out by you")
            if image.path in unwanted
            else image
            for image in self.images
        ]
        return replace(self, images=tuple(changed))

    def targets(self) -> dict[Path, str]:
        """Return for each file that takes part its name in the dataset."""
        labels = acquisition_labels(self.contrasts())
        visits = any(image.visit for image in self.kept)
        usual: dict[str, set[str]] = defaultdict(set)
        suffixes = {image.path: _suffix(image) for image in self.kept}
        for image in self.kept:
            usual[suffixes[image.path]].add(image.contrast)
        wanted: dict[Path, tuple[str, str]] = {}
        for image in self.kept:
            suffix, label = suffixes[image.path], labels[image.contrast]
            parts = [f"sub-{image.person}", *([f"ses-{image.visit or 1}"] if visits else [])]
            plain = label.lower() in (suffix.lower(), suffix[:-1].lower())
            # sub-01_T1w is enough where nobody has another T1w.
            acq = [] if plain and len(usual[suffix]) == 1 else [f"acq-{label}"]
            stem = "/".join([*parts, "anat", "_".join([*parts, *acq])])
            wanted[image.path] = (stem, suffix)
        return _numbered(wanted)


def _typed(image: ArrangedImage, typed: SequenceParameters, certainty: Typed) -> ArrangedImage:
    """Fill in what the files do not state."""
    timing = Timing(extras=dict(image.stated.extras))
    for name, value in image.stated.values.items():
        if image.stated.origins[name].certainty in _BELIEVED:
            timing.add(name, value, image.stated.origins[name])
    origin = Origin(TYPED, certainty)
    for name, value in zip(NAMES, typed.triple, strict=True):
        timing.add(name, value, origin)
    parameters = timing.parameters
    assert parameters is not None
    return replace(image, parameters=parameters, origins=dict(timing.origins))


def _numbered(wanted: Mapping[Path, tuple[str, str]]) -> dict[Path, str]:
    """Return file names; images that would have one name become runs 1, 2 and so on."""
    counts, run = Counter(wanted.values()), Counter[tuple[str, str]]()
    names: dict[Path, str] = {}
    for path, (stem, suffix) in wanted.items():
        run[stem, suffix] += 1
        number = f"_run-{run[stem, suffix]}" if counts[stem, suffix] > 1 else ""
        names[path] = f"{stem}{number}_{suffix}.nii.gz"
    return names


def _suffix(image: ArrangedImage) -> str:
    """Return the BIDS suffix: by the words of contrast, else by the parameters."""
    word = _plain(image.contrast)
    for start, suffix in (("t1w", "T1w"), ("t2w", "T2w"), ("pd", "PDw")):
        if word.startswith(start):
            return suffix
    if "flair" in word:
        return "FLAIR"
    for start, suffix in (("t1", "T1w"), ("t2", "T2w")):
        if word.startswith(start):
            return suffix
    return "T2w" if image.parameters is None else suffix_by(image.parameters)


def suffix_by(parameters: SequenceParameters) -> str:
    """Return the suffix simulated scans with these parameters have."""
    from crl_core.physics.making import suffix_of

    return suffix_of(parameters)


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).lower()
