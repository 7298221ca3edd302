"""The training loop: a generator of events, the same for the command line and the window.

Whoever iterates decides: not asking for the next event pauses the run, closing the generator
stops it with its state on disk. A run also does what is left for it in its folder: pause,
continue, stop, and finish now (`crl_core.training.folder.RunFolder.send`).

Nothing is lost: the state is on disk before the first step, then every half minute, and a run that
was killed goes on from there and ends bit for bit where it would have ended (on one device, with a
budget in steps).
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from crl_core.checkpoint import Checkpoint, save_checkpoint
from crl_core.devices import device_name
from crl_core.errors import CRLError, InputError, OutputError
from crl_core.training import events
from crl_core.training.batches import batches
from crl_core.training.config import TrainingConfig
from crl_core.training.data import TrainingData
from crl_core.training.data_config import DataConfig
from crl_core.training.environment import new_run, same_threads
from crl_core.training.events import HELD_BACK, Event
from crl_core.training.finish import CardMaker, step_of_best, write_model
from crl_core.training.folder import (
    BEST,
    CONFIG,
    MODEL,
    PREVIEWS,
    STATE,
    Command,
    RunFolder,
)
from crl_core.training.log import Recorder
from crl_core.training.meter import Meter
from crl_core.training.run import Run, make_fabric, together
from crl_core.training.validation import Judge, names_of_held, seen_score

SHARE_FOR_SAVING = 0.03
"""At most this share of the time goes into saving; a slow disk is asked less often."""

SHARE_FOR_JUDGING = 0.1
"""At most this share of a run by the clock goes into judging; a slow one is done less often."""

HOPELESS = 20
"""After so many steps in a row without a number a run gives up."""

FIRST_PREVIEW = 25
POLL_S = 0.1


@dataclass(frozen=True)
class Job:
    """What is to be trained, on what and where.

    Parameters
    ----------
    config
        The settings; a resumed run has those of its folder.
    data
        The opened data.
    folder
        The run's folder; made when missing.
    source
        Where the data came from, kept with the run so that it can be resumed.
    start
        A trained network of the same architecture to go on from with a fresh schedule.
    device
        A torch device name.
    workers
        Processes that prepare batches ahead; 0 prepares them in this one.
    """

    config: TrainingConfig
    data: TrainingData
    folder: Path
    source: DataConfig = DataConfig()  # noqa: RUF009  (frozen)
    start: Checkpoint | None = None
    device: str = "cpu"
    workers: int = 1


def train(job: Job, *, resume: bool = False) -> Generator[Event, None, None]:
    """Train and yield what happens; everything is also written into the run's log.

    Parameters
    ----------
    job
        What to train.
    resume
        Go on from the folder's state; a run that was killed before its first state begins anew.

    Yields
    ------
    event
        See `crl_core.training.events`. When the generator is closed early the state is saved.

    Raises
    ------
    OutputError
        When the folder is not empty and `resume` is False, or belongs to another process.
    InputError
        When there is nothing to resume, or the loss stays without a number.
    """
    folder = RunFolder(job.folder)
    if resume:
        folder.check_run()
        job = replace(job, config=TrainingConfig.load_begun(folder / CONFIG))
    fabric = make_fabric(job.device, job.config.precision, job.config.preset)
    fabric.launch()
    with together(fabric):
        yield from _trained(job, folder, fabric, resume)


def _trained(
    job: Job, folder: RunFolder, fabric: Fabric, resume: bool
) -> Generator[Event, None, None]:
    """Train in this process, which may be one of several."""
    if not fabric.is_global_zero:
        yield from _Loop(job, _begun(job, folder, fabric)).events(resume)
        return
    if not resume:
        folder.check_free()
    run = _begun(job, folder, fabric)
    with folder.owned():
        folder.tidy()
        if not resume:
            new_run(folder, job.config, job.source, run.fabric.device)
        same_threads(folder, job.device)
        recorder = Recorder(folder)
        yield from recorder.recorded(_Loop(job, run).events(resume), lambda: run.step)


def _begun(job: Job, folder: RunFolder, fabric: Fabric) -> Run:
    """Return a run at its first step; what cannot start is refused before anything is written."""
    run = Run(job.config, folder, fabric)
    run.rows()
    if job.start is not None:
        run.begin_from(job.start.model)
    return run


class _Loop:
    """One sitting of a run."""

    def __init__(self, job: Job, run: Run) -> None:
        self.job, self.run = job, run
        self.config, self.folder = job.config, run.folder
        unseen = job.data.validate
        self.judge = Judge(unseen or job.data.train, unseen=unseen is not None)
        start = None if job.start is None else job.start.card
        self.cards = CardMaker(job.config, job.data, start, run.fabric.device)
        self.metrics: dict[str, Any] = {}
        self.meter = Meter(run.fabric.device.type)
        self.saved_at = time.monotonic()
        self.saved_step = -1
        self.rests_until = 0.0
        self.spent = 0.0
        self.interval = self.config.save_seconds
        self.ending: Command | None = None

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return bool(self.run.fabric.is_global_zero)

    def events(self, resume: bool) -> Generator[Event, None, None]:
        """Run from here to the end."""
        run = self.run
        if resume and (self.folder / STATE).exists():
            run.load()
        yield from self._begin()
        try:
            yield from self._steps()
            if self.ending == "stop":
                yield from self._saved(must=True)
                yield events.Stopped(run.step)
            else:
                yield from self._finish()
        except (KeyboardInterrupt, GeneratorExit):
            # Whoever asks for the end must learn that the state could not be saved.
            if self.first and run.whole:
                self._save()
            raise
        except BaseException:
            self._save_in_the_end()
            raise

    def _steps(self) -> Iterator[Event]:
        """Do the steps that are left."""
        run = self.run
        source = batches(self.job.data.train, run, self.job.workers)
        try:
            if run.step > run.looked:
                # It was stopped after a step, before anybody looked at what had come of it.
                yield from self._looked()
            while run.progress < 1.0 and self.ending is None:
                yield from self._step(source)
                yield from self._obey()
        finally:
            source.close()

    def _begin(self) -> Iterator[Event]:
        run, job = self.run, self.job
        whom = "nobody"
        if self.judge.judges:
            whom = "people never trained on" if self.judge.unseen else HELD_BACK
        yield events.Started(
            step=run.step,
            data=job.data.train.describe(),
            n_parameters=run.model.n_parameters,
            total=run.total,
            seconds=run.seconds,
            device=device_name(run.fabric.device),
            precision=job.config.precision,
            validated_on=whom,
            held_back=names_of_held(job.data.train),
        )
        for note in job.data.notes:
            yield events.Noted(run.step, note)
        if run.step == 0:
            yield from self._saved()
            # A network that is fine-tuned has to get better than it was.
            yield from self._preview() if job.start is None else self._validated()

    # one step ----------------------------------------------------------------------------------

    def _step(self, source: Iterator[Any]) -> Iterator[Event]:
        run = self.run
        began = time.monotonic()
        with self._counted():
            batch = next(source)
            loss, parts, counted = run.advance(batch)
        self.meter.step(run.pairs(batch.images.shape[1]), time.monotonic() - began)
        self._settle()
        while run.notes:
            yield events.Noted(run.step, run.notes.pop(0))
        yield self._told(loss, parts, counted)
        yield from self._looked()
        if time.monotonic() - self.saved_at >= self.interval:
            yield from self._saved()

    def _looked(self) -> Iterator[Event]:
        """Judge the network or show what it does, where that is due after this step."""
        run = self.run
        due = run.step % self.config.validate_steps == 0 and run.progress < 1.0
        # With a budget in steps the steps alone decide, so that a run can be repeated exactly.
        if due and (self.config.minutes is None or run.seconds >= self.rests_until):
            yield from self._validated()
        elif run.step in self._early():
            yield from self._preview()
        run.looked = run.step

    def _told(self, loss: float, parts: dict[str, float], counted: bool) -> Event:
        run = self.run
        if not counted:
            run.skipped_in_a_row += 1
            if run.skipped_in_a_row >= HOPELESS:
                raise InputError(
                    f"the loss was not a number for {HOPELESS} steps in a row",
                    path=self.folder.path,
                    remedy="Start again with a lower learning rate",
                )
            text = "One batch skipped: loss was not a number. Learning rate kept."
            return events.Skipped(run.step, text)
        run.skipped_in_a_row = 0
        return events.Stepped(
            step=run.step,
            progress=run.progress,
            loss=loss,
            parts=parts,
            learning_rate=run.learning_rate(),
            seconds=run.seconds,
            pairs_per_second=self.meter.pairs_per_second(),
            remaining=self._remaining(),
            memory_mb=self.meter.memory_mb(),
            busy_percent=self.meter.busy_percent(),
        )

    def _remaining(self) -> float:
        run = self.run
        by_steps = (self.config.steps - run.step) * self.meter.seconds_per_step()
        if self.config.minutes is None:
            return by_steps
        return max(0.0, min(by_steps, 60.0 * self.config.minutes - run.seconds))

    def _early(self) -> set[int]:
        """Return the steps of the first pictures, which change the most."""
        return {FIRST_PREVIEW * 2**k for k in range(6)} - {self.config.validate_steps}

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count the time of what is done inside; not that of whoever listens to the events."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.spent += time.monotonic() - began

    def _settle(self) -> None:
        """Add what was counted to the time used.

        All processes must agree on it, because it may drive the schedule and the end, and only the
        first one judges and saves: its account is that of all.
        """
        used, self.spent = self.spent, 0.0
        if self.run.fabric.world_size > 1:
            used = float(self.run.fabric.broadcast(used))
        self.run.seconds += used

    # judging and saving ------------------------------------------------------------------------

    def _preview(self, model: Any = None) -> Iterator[Event]:
        if not self.first:
            return
        try:
            with self._counted():
                self.folder.check_here()
                if not (self.folder / PREVIEWS / "fixed.npz").exists():
                    self.judge.write_fixed(self.folder / PREVIEWS / "fixed.npz")
                self.judge.write_preview(
                    model or self.run.averaged_model(), self.folder.preview_path(self.run.step)
                )
        except OutputError as refusal:
            yield events.Noted(self.run.step, f"No preview of this step: {refusal}")
        else:
            yield events.Previewed(self.run.step)

    def _validated(self) -> Iterator[Event]:
        run = self.run
        if self.first:
            began = run.seconds + self.spent
            model = run.averaged_model()
            yield from self._preview(model)
            if self.judge.judges:
                with self._counted():
                    psnr, ssim = self.judge.scores(model)
                what = "validation" if self.judge.unseen else f"{HELD_BACK}:"
                self.metrics = {f"{what} PSNR, dB": psnr, f"{what} SSIM": ssim}
                yield events.Validated(run.step, psnr, ssim)
                score = seen_score(psnr)
                if score is not None and (run.best_score is None or score > run.best_score):
                    yield from self._improved(model, score)
            ended = run.seconds + self.spent
            self.rests_until = ended + (ended - began) * (1 / SHARE_FOR_JUDGING - 1)
        if run.fabric.world_size > 1:
            # All have to agree on when the next one is due; this is also where they wait.
            self.rests_until = float(run.fabric.broadcast(self.rests_until))

    def _improved(self, model: Any, score: float) -> Iterator[Event]:
        run = self.run
        try:
            self._write_best(model)
        except OutputError as refusal:
            yield events.Noted(run.step, f"The best network so far is not on disk: {refusal}")
            return
        run.best_score, run.best_step = score, run.step
        yield events.Improved(run.step, score)

    def _write_best(self, model: Any) -> None:
        self.folder.check_here()
        card = self.cards.card(model, self.run.step, self.run.seconds, self.metrics)
        save_checkpoint(self.folder / BEST, model, card, overwrite=True)

    def _saved(self, must: bool = False) -> Iterator[Event]:
        """Save the state. A refusal of the disk is told, and tried again, unless it `must` be."""
        if not self.first:
            return
        began = time.monotonic()
        try:
            self._save()
        except OutputError as refusal:
            if must:
                raise
            self.saved_at = time.monotonic()
            text = f"State not saved: {refusal.problem}. It is tried again in "
            yield events.Noted(self.run.step, f"{text}{self.interval:.0f} s.")
            return
        cost = time.monotonic() - began
        self.saved_at = time.monotonic()
        self.saved_step = self.run.step
        self.interval = max(self.config.save_seconds, cost / SHARE_FOR_SAVING)
        self.spent += cost
        yield events.Saved(self.run.step, self.folder / STATE, round(cost, 3))

    def _save(self) -> None:
        run = self.run
        run.save(self.cards.card(run.model, run.step, run.seconds, self.metrics))

    def _save_in_the_end(self) -> None:
        """Save what there is before the run goes down; the first failure is the one to report."""
        if self.first and self.run.whole:
            with suppress(CRLError, OSError, RuntimeError):
                self._save()

    # commands ----------------------------------------------------------------------------------

    def _obey(self) -> Iterator[Event]:
        command = self._command()
        if command == "pause":
            yield from self._saved()
            yield events.Paused(self.run.step)
            while command not in ("continue", "stop", "finish"):
                time.sleep(POLL_S)
                command = self._command()
            self.saved_at = time.monotonic()
            yield events.Continued(self.run.step)
        if command in ("stop", "finish"):
            self.ending = command

    def _command(self) -> Command | None:
        command = self.folder.take_command() if self.first else None
        if self.run.fabric.world_size > 1:
            command = self.run.fabric.broadcast(command)
        return command

    # the end -----------------------------------------------------------------------------------

    def _finish(self) -> Iterator[Event]:
        """Judge the last weights too, and make the best ones the finished network."""
        run = self.run
        if self.saved_step != run.step:
            # Whatever becomes of the finished network, the work is safe.
            yield from self._saved()
        yield from self._validated()
        if not self.first:
            yield events.Finished(run.step, self.folder / MODEL)
            return
        if not self.judge.unseen or step_of_best(self.folder) is None:
            # Nobody to judge on: the last weights are what there is.
            self._write_best(run.averaged_model())
            run.best_step = run.step
        early = run.progress < 1.0
        self.folder.check_here()
        path = write_model(self.folder, early)
        yield from self._saved()
        yield events.Finished(run.step, path, step_of_best(self.folder) or run.step)
