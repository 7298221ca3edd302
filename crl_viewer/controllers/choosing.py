"""One open chooser: what it lists, the pictures that fill it, and what was chosen in it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial

import numpy as np

from crl_core.errors import CRLError
from crl_core.scan import FloatArray
from crl_viewer import strings
from crl_viewer.state.offers import Offer, preselected
from crl_viewer.views.bases import ChooserView, ShellView
from crl_viewer.workers.finding import Dataset, offers_of_person
from crl_viewer.workers.tasks import Task, Tasks

log = logging.getLogger(__name__)


class Choosing:
    """Lists scans in a chooser and fills in their pictures as they come.

    Parameters
    ----------
    tasks
        Reads headers and makes pictures elsewhere.
    shell
        Opens the chooser.
    chosen
        Gets the offers that are to be opened.
    """

    def __init__(
        self, tasks: Tasks, shell: ShellView, chosen: Callable[[list[Offer]], None]
    ) -> None:
        self._tasks = tasks
        self._shell = shell
        self._chosen = chosen
        self._offers: list[Offer] = []
        self._dataset: Dataset | None = None
        self._view: ChooserView | None = None
        self._work: list[Task] = []

    def offer(self, offers: Sequence[Offer], sentence: str) -> None:
        """Open the chooser on a list; without anybody to ask, take what would be ticked."""
        if not self._shell.asks:
            self._chosen([offers[i] for i in preselected(offers)])
            return
        self._view = self._shell.choose_scans(
            strings.CHOOSE_TITLE, sentence, (), self._accepted, self._person, self._closed
        )
        self._list(offers)

    def offer_dataset(self, dataset: Dataset) -> None:
        """Open the chooser on the people of a dataset; the first one's scans are listed."""
        self._dataset = dataset
        if self._shell.asks:
            people = [(strings.person(p.label), len(p.images)) for p in dataset.people]
            self._view = self._shell.choose_scans(
                strings.CHOOSE_TITLE,
                strings.dataset_sentence(dataset.root.name, len(people)),
                people if len(people) > 1 else (),
                self._accepted,
                self._person,
                self._closed,
            )
        self._person(0)

    def _person(self, index: int) -> None:
        """List the scans of another person."""
        if self._dataset is None:
            return
        person = self._dataset.people[index]
        self._stop()
        if self._view is not None:
            self._view.set_message(strings.LISTING.format(name=strings.person(person.label)))
        task = self._tasks.start(partial(offers_of_person, person), self._listed)
        self._work.append(task)

    def _listed(self, future: Future[list[Offer]]) -> None:
        try:
            offers = future.result()
        except CRLError as refusal:
            if self._view is not None:
                self._view.set_message(str(refusal))
            return
        if self._view is None:
            self._chosen([offers[i] for i in preselected(offers)])
        else:
            self._list(offers)

    def _list(self, offers: Sequence[Offer]) -> None:
        assert self._view is not None
        self._offers = list(offers)
        self._view.set_offers(self._offers, preselected(offers))
        view = self._view
        self._work.append(
            self._tasks.start(partial(_pictures, self._offers, view), lambda future: None)
        )

    def _accepted(self, indices: Sequence[int]) -> None:
        self._chosen([self._offers[i] for i in indices])

    def _closed(self) -> None:
        self._stop()
        self._view = None

    def _stop(self) -> None:
        for task in self._work:
            task.cancel()
        self._work.clear()


def _pictures(offers: Sequence[Offer], view: ChooserView, task: Task) -> None:
    """Make one picture after the other and hand each over; one that fails is left out."""
    for index, offer in enumerate(offers):
        if task.cancelled():
            return
        task.deliver(partial(view.set_picture, index, _picture(offer)))


def _picture(offer: Offer) -> FloatArray | None:
    if offer.thumbnail is None:
        return None
    try:
        return np.asarray(offer.thumbnail(), dtype=np.float32)
    except CRLError:
        return None
    except Exception as error:
        # A list without one picture is still of use; the text may quote the file, so it is left.
        log.warning("no small picture: %s", type(error).__name__)
        return None
