"""Writes what a run tells into its log, without ever standing in its way."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import replace

from crl_core.errors import CRLError
from crl_core.training import events
from crl_core.training.events import Event
from crl_core.training.folder import RunFolder

EVERY_S = 0.25
"""Steps are written at most this often, each with the mean of those since the last."""


class Recorder:
    """The log of one sitting.

    Parameters
    ----------
    folder
        The run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._told_at = float("-inf")
        self._since: list[events.Stepped] = []
        self._refused = ""

    def recorded(
        self, told: Generator[Event, None, None], step: Callable[[], int]
    ) -> Generator[Event, None, None]:
        """Pass events on and write them; an end that nobody told of is written too.

        Parameters
        ----------
        told
            The events of the run.
        step
            Says which step it is at.
        """
        ended = False
        try:
            for event in told:
                ended = isinstance(event, events.Stopped | events.Finished)
                refusal = self._write(event)
                yield event
                if refusal:
                    yield refusal
        except CRLError as error:
            self._last(events.Failed(step(), str(error)))
            ended = True
            raise
        except Exception as error:
            # Its own text may quote a file; the kind and the traceback on stderr must do.
            self._last(events.Failed(step(), f"Something went wrong: {type(error).__name__}."))
            ended = True
            raise
        finally:
            if not ended:
                self._stopped(told, step)
            told.close()

    def _stopped(self, told: Generator[Event, None, None], step: Callable[[], int]) -> None:
        """End a run that nobody asks any more; what it could not save is written as a failure."""
        try:
            told.close()
        except CRLError as error:
            self._last(events.Failed(step(), str(error)))
            raise
        self._last(events.Stopped(step()))

    def _last(self, event: Event) -> None:
        self._flush()
        self._folder.log(event)

    def _write(self, event: Event) -> Event | None:
        """Write an event; returns what to say when the log cannot be written, once."""
        if isinstance(event, events.Stepped):
            self._since.append(event)
            if time.monotonic() - self._told_at < EVERY_S:
                return None
            return self._checked(self._flush(), event.step)
        self._flush()
        return self._checked(self._folder.log(event), event.step)

    def _flush(self) -> str:
        """Write the steps since the last as one."""
        if not self._since:
            return ""
        last, count = self._since[-1], len(self._since)
        parts = {
            name: sum(s.parts.get(name, value) for s in self._since) / count
            for name, value in last.parts.items()
        }
        loss = sum(s.loss for s in self._since) / count
        self._since.clear()
        self._told_at = time.monotonic()
        return self._folder.log(replace(last, loss=loss, parts=parts))

    def _checked(self, refusal: str, step: int) -> Event | None:
        if refusal == self._refused:
            return None
        self._refused = refusal
        if not refusal:
            return None
        text = f"The log cannot be written ({refusal.lower()}). It is completed when it can be."
        return events.Noted(step, text)
