"""Opens what the user names: looks into it, lets them choose, reads, asks what is missing."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from crl_core.errors import Cancelled, CRLError
from crl_core.io.timing import NAMES
from crl_core.scan import Origin, Scan
from crl_core.sequence import SequenceParameters
from crl_viewer import strings
from crl_viewer.controllers.choosing import Choosing
from crl_viewer.controllers.following import Follow
from crl_viewer.controllers.scans import ScansController, most_telling, prepared
from crl_viewer.settings import Recent
from crl_viewer.state.model import Store, ViewerState
from crl_viewer.state.offers import Offer, Opened
from crl_viewer.views.bases import ShellView
from crl_viewer.workers.finding import Found
from crl_viewer.workers.loader import Loader
from crl_viewer.workers.offering import Watcher
from crl_viewer.workers.tasks import Task

Finder = Callable[[Sequence[Path], Watcher], Found]
Result = TypeVar("Result")
GIVEN = Origin("given on the command line", "given")
TYPED = Origin("typed in the window", "given")


@dataclass(frozen=True)
class _Wish:
    """What was named, and what is known of it from elsewhere."""

    paths: tuple[Path, ...]
    parameters: tuple[SequenceParameters | None, ...] = ()
    series: tuple[str, ...] = ()
    free: bool = False

    def given(self, number: int, path: Path) -> SequenceParameters | None:
        """Return what was given for the scan read as number `number`, found in `path`."""
        alone = len(self.paths) == 1 or path not in self.paths
        at = number if alone else self.paths.index(path)
        return self.parameters[at] if at < len(self.parameters) else None


class OpeningController:
    """From a path to a scan on a pane.

    Parameters
    ----------
    store, scans
        The state, and who gives scans their roles.
    follow, loader
        Run what takes long, with and without a line about it.
    shell
        Asks questions and shows what went wrong.
    find
        Looks into files, folders and archives.
    demos
        Demo data by name.
    remember
        Takes what was opened, newest last.
    """

    def __init__(
        self,
        store: Store,
        scans: ScansController,
        follow: Follow,
        loader: Loader,
        shell: ShellView,
        find: Finder,
        demos: Mapping[str, Callable[[], list[Scan]]],
        remember: Callable[[Sequence[Recent]], None],
    ) -> None:
        self._store = store
        self._scans = scans
        self._follow = follow
        self._loader = loader
        self._shell = shell
        self._find = find
        self._demos = demos
        self._remember = remember
        self._opened: dict[Scan, Opened] = {}
        self._questions: deque[tuple[Opened, bool]] = deque()
        self._asking = False
        store.changed.connect(self._on_changed)

    def open_paths(
        self,
        paths: Sequence[Path],
        parameters: Sequence[SequenceParameters | None] = (),
        series: Sequence[str] = (),
        *,
        free: bool = False,
    ) -> None:
        """Look into files, folders and archives, then read or let the user choose.

        Parameters
        ----------
        paths
            In the order in which they are to be listed.
        parameters
            TR, TE, TI for scans that carry none: one a path, or with a single path one a scan.
        series
            Keys of the series to open; nothing is asked then.
        free
            Whether the order means nothing, so that the most telling scan leads.
        """
        if not paths:
            return
        wish = _Wish(tuple(paths), tuple(parameters), tuple(series), free)
        self._follow.run(
            strings.LOOKING, partial(self._find, wish.paths), partial(self._found, wish)
        )

    def open_recent(self, recent: Recent) -> None:
        """Open again what was opened before."""
        self.open_paths([Path(recent.path)], series=recent.series)

    def open_demo(self, name: str) -> None:
        """Replace everything by one of the demos."""
        self._shell.set_notice(strings.LOADING_FILES.format(name="the demo"))
        make = self._demos[name]
        self._loader.submit(lambda: [prepared(scan) for scan in make()], self._demo_opened)

    def ask_again(self, index: int) -> None:
        """Let the user type TR, TE and TI of a loaded scan, or choose another volume."""
        scan = self._store.state.scans[index]
        self._questions.appendleft((self._opened.get(scan, Opened(scan)), True))
        self._ask_next()

    # looking and reading -----------------------------------------------------------------------

    def _found(self, wish: _Wish, future: Future[Found]) -> None:
        found = future.result()
        self._store.update(banner=" ".join(found.refusals))
        for dataset in found.datasets:
            self._choosing(wish).offer_dataset(dataset)
        if wish.series:
            self._read_wanted(wish, found.offers)
        elif found.choice:
            sentence = strings.choice_sentence(
                [path.name for path in wish.paths],
                len(found.offers),
                sum(offer.usable for offer in found.offers),
            )
            self._choosing(wish).offer(found.offers, sentence)
        else:
            self._read(wish, found.offers, free=wish.free)

    def _choosing(self, wish: _Wish) -> Choosing:
        return Choosing(self._follow.tasks, self._shell, partial(self._read, wish, free=True))

    def _read_wanted(self, wish: _Wish, offers: Sequence[Offer]) -> None:
        """Read the series whose keys were given; the others are not asked about."""
        wanted = [offer for offer in offers if offer.series in wish.series]
        missing = [key for key in wish.series if key not in {o.series for o in wanted}]
        lines = [self._store.state.banner] if self._store.state.banner else []
        lines += [offer.line for offer in wanted if not offer.usable]
        if missing and not lines:
            lines.append(strings.no_series(wish.paths[0], missing, [o.series for o in offers]))
        self._store.update(banner=" ".join(lines))
        self._read(wish, [offer for offer in wanted if offer.usable])

    def _read(self, wish: _Wish, offers: Sequence[Offer], *, free: bool = False) -> None:
        """Read scans; with `free` their order means nothing and the most telling leads."""
        if offers:
            self._follow.run(
                strings.LOADING_FILES,
                partial(_read_all, wish, tuple(offers)),
                partial(self._take, free),
            )

    def _take(self, free: bool, future: Future[list[Opened | str]]) -> None:
        results = future.result()
        opened = [r for r in results if isinstance(r, Opened)]
        refusals = [r for r in results if isinstance(r, str)]
        before = self._store.state.banner
        self._store.update(banner=" ".join(filter(None, (before, *refusals))))
        if not opened:
            return
        self._remember(_recents(opened))
        self._opened |= {one.scan: one for one in opened}
        scans = [one.scan for one in opened]
        twins = self._scans.add(scans, first=most_telling(scans) if free else 0)
        for scan in twins:
            self._opened.pop(scan, None)
        if twins:
            self._shell.set_notice(strings.open_already([scan.name for scan in twins]))
        self._questions.extend(
            (one, one.scan.parameters is None)
            for one in opened
            if one.scan.parameters is None or one.volumes > 1
        )
        self._ask_next()

    def _demo_opened(self, future: Future[list[Scan]]) -> None:
        self._shell.set_notice("")
        try:
            scans = future.result()
        except CRLError as refusal:
            self._store.update(banner=str(refusal))
            return
        self._scans.add(scans, demo=True, first=most_telling(scans))

    # asking ------------------------------------------------------------------------------------

    def _ask_next(self) -> None:
        """Ask one question at a time: nine files without times are not nine windows."""
        while self._questions and not self._asking:
            opened, parameters = self._questions.popleft()
            if opened.scan not in self._store.state.scans:
                continue
            self._asking = True
            self._shell.ask_about(
                opened.scan.name,
                parameters=parameters,
                volumes=opened.volumes,
                known=_stated(opened),
                volume=opened.volume,
                answer=partial(self._answer, opened),
                closed=self._answered,
            )

    def _answered(self) -> None:
        self._asking = False
        self._ask_next()

    def _answer(
        self, opened: Opened, parameters: SequenceParameters | None, volume: int | None
    ) -> None:
        """Take what the user says of a scan: its TR, TE, TI, which of its volumes to show."""
        job = partial(_answered, opened, parameters, volume)
        self._follow.run(
            strings.LOADING_FILES, lambda task: job(), partial(self._replaced, opened.scan)
        )

    def _replaced(self, old: Scan, future: Future[Opened]) -> None:
        try:
            fresh = future.result()
        except CRLError as refusal:
            self._store.update(banner=str(refusal))
            return
        if old in self._store.state.scans:
            self._opened[fresh.scan] = fresh
            self._scans.replaced(old, fresh.scan)

    def _on_changed(self, old: ViewerState, new: ViewerState) -> None:
        if old.scans != new.scans:
            self._opened = {s: o for s, o in self._opened.items() if s in new.scans}


def _read_all(wish: _Wish, offers: Sequence[Offer], task: Task) -> list[Opened | str]:
    """Read scans one after the other; a refusal is a line and does not stop the others."""
    results: list[Opened | str] = []
    for number, offer in enumerate(offers):
        if task.cancelled():
            raise Cancelled("the reading was given up")
        task.say(offer.title)
        task.progress(number, len(offers))
        try:
            opened = offer.read()
            scan = opened.scan
            given = wish.given(number, offer.path)
            if scan.parameters is None and given is not None:
                scan = scan.with_parameters(given, GIVEN)
            results.append(replace(opened, scan=prepared(scan)))
        except Cancelled:
            raise
        except CRLError as refusal:
            results.append(offer.refused(refusal))
    return results


def _answered(opened: Opened, parameters: SequenceParameters | None, volume: int | None) -> Opened:
    """Return the scan with what the user said of it; values left alone keep their origin."""
    fresh = opened
    if volume is not None and volume != opened.volume and opened.again is not None:
        fresh = replace(opened.again(volume), chosen=opened.chosen)
    scan = fresh.scan
    if parameters is not None:
        scan = _told(scan, parameters, _stated(fresh), fresh.timing.extras)
    return replace(fresh, scan=prepared(scan))


def _told(
    scan: Scan,
    parameters: SequenceParameters,
    stated: Mapping[str, float],
    extras: Mapping[str, Any],
) -> Scan:
    """Put typed times into a scan; a value left as the file states it keeps its origin."""
    triple = dict(zip(NAMES, parameters.triple, strict=True))
    origins = dict.fromkeys(NAMES, TYPED)
    for name in NAMES:
        known = name in stated and name in scan.origins
        if known and math.isclose(stated[name], triple[name], rel_tol=1e-9, abs_tol=1e-9):
            triple[name], origins[name] = stated[name], scan.origins[name]
    if scan.parameters is not None:
        told = scan.parameters.at(**triple)
    else:
        told = SequenceParameters(triple["tr"], triple["te"], triple["ti"], **extras)
    return replace(scan, parameters=told, origins=origins)


def _stated(opened: Opened) -> dict[str, float]:
    """Return what is known of TR, TE and TI, ms."""
    known = opened.scan.parameters
    if known is None:
        return dict(opened.timing.values)
    return dict(zip(NAMES, known.triple, strict=True))


def _recents(opened: Sequence[Opened]) -> list[Recent]:
    """Return what to remember: the paths the user named, each with the keys opened from it."""
    keys: dict[Path, list[str]] = {}
    for one in opened:
        path = one.chosen or one.scan.path
        if path is not None:
            keys.setdefault(path, []).append(one.scan.series)
    return [
        Recent(str(path.absolute()), tuple(filter(None, series))) for path, series in keys.items()
    ]
