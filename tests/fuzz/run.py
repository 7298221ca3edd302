"""Opens thousands of damaged files and tells which were not refused well.

    python -m tests.fuzz.run --count 2000 [--seed 0] [--also FOLDER_OF_DICOM_OR_NIFTI]

Each file is opened by a worker process the way ``crl inspect`` opens it. A file fails when the
worker dies, when it takes longer than `SECONDS`, when the worker's memory grows by more than
`MEGABYTES`, or when anything but one clear line of a `CRLError` comes out. A file that still
opens is fine: damage may lie in the voxels, or in a field that says nothing of importance.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fuzz.mutations import mutate, seeds

SECONDS = 2.0
MEGABYTES = 1024.0


@dataclass(frozen=True)
class Outcome:
    """What became of one damaged file."""

    name: str
    mutation: str
    seed: int
    result: str
    """``opened``, ``refused`` or ``failed``."""
    detail: str
    seconds: float
    megabytes: float


class Worker:
    """A process that opens files, replaced when it dies, hangs or has grown."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def _start(self) -> None:
        self._pipe, child = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(child,), daemon=True)
        self._process.start()
        child.close()
        self._base = float(self._pipe.recv())  # imports are done; they count for nobody

    def open(self, path: Path) -> tuple[str, str, float, float]:
        """Return result, detail, seconds and growth of memory (MB) for one file."""
        started = time.perf_counter()
        self._pipe.send(str(path))
        # Twice the limit: a machine that is busy elsewhere should not hide the figure.
        answered = self._pipe.poll(2 * SECONDS)
        took = time.perf_counter() - started
        if not answered:
            return self._replace("failed", f"no answer after {2 * SECONDS:g} s", took)
        try:
            result, detail, peak, used = self._pipe.recv()
        except EOFError:
            return self._replace("failed", "the process died", took)
        grown = float(peak) - self._base
        if grown > MEGABYTES:
            return self._replace("failed", f"{grown:.0f} MB of memory", took, grown)
        if used > SECONDS:
            return "failed", f"{used:.1f} s of processor time", took, grown
        return str(result), str(detail), took, grown

    def _replace(
        self, result: str, detail: str, took: float, grown: float = 0.0
    ) -> tuple[str, str, float, float]:
        self.close()
        self._start()
        return result, detail, took, grown

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe: Connection) -> None:
    """Open what is asked for until the other end closes."""
    import warnings

    from crl_core.io.inspect import describe

    warm_up = seeds()
    with tempfile.TemporaryDirectory() as folder:
        for name, data in warm_up.items():  # imports happen on first use
            path = Path(folder) / name
            path.write_bytes(data)
            describe(path)
    pipe.send(_peak_megabytes())
    warnings.simplefilter("error")
    while True:
        try:
            path = Path(pipe.recv())
        except EOFError:
            return
        started = time.process_time()
        result, detail = _attempt(path)
        pipe.send((result, detail, _peak_megabytes(), time.process_time() - started))


def _attempt(path: Path) -> tuple[str, str]:
    from crl_core.errors import CRLError
    from crl_core.io.inspect import describe

    try:
        found = describe(path)
        json.dumps(found, allow_nan=False)  # what the command would print
    except CRLError as refusal:
        text = str(refusal)
        clear = path.name in text and "\n" not in text and 20 < len(text) < 500
        return ("refused", text) if clear else ("failed", f"unclear refusal: {text!r}")
    except Exception as error:  # anything else is a bug; the kind and place tell which
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        at = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else ""
        return "failed", f"{type(error).__name__}: {str(error)[:120]} at {at}"
    return "opened", ""


def _peak_megabytes() -> float:
    """Return the most memory this process ever held, MB."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024.0 if sys.platform != "darwin" else peak / 1024.0**2


def fuzz(count: int, seed: int = 0, files: Mapping[str, bytes] | None = None) -> Iterator[Outcome]:
    """Damage and open `count` files, the seeds in turn."""
    known = dict(files or seeds())
    names = list(known)
    worker = Worker()
    try:
        with tempfile.TemporaryDirectory() as folder:
            for number in range(count):
                name = names[number % len(names)]
                this = seed * 1_000_003 + number
                mutation, data = mutate(known[name], this)
                path = Path(folder) / name
                path.write_bytes(data)
                yield Outcome(name, mutation, this, *worker.open(path))
    finally:
        worker.close()


def _others(folder: Path) -> dict[str, bytes]:
    """Return real files to damage as well, each under a name without blanks."""
    endings = (".dcm", ".nii", ".nii.gz", ".ima", ".zip")
    paths = [p for p in sorted(folder.rglob("*")) if p.name.lower().endswith(endings)]
    return {f"{i:03d}_{p.name.replace(' ', '_')}": p.read_bytes() for i, p in enumerate(paths)}


def main() -> int:
    """Run from the command line; the exit code is 1 when any file was not handled well."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--also", type=Path, help="folder of real files to damage too")
    options = parser.parse_args()
    files = seeds() | (_others(options.also) if options.also else {})
    results: collections.Counter[tuple[str, str]] = collections.Counter()
    slowest, largest, failures = 0.0, 0.0, 0
    for outcome in fuzz(options.count, options.seed, files):
        results[(outcome.mutation, outcome.result)] += 1
        slowest, largest = max(slowest, outcome.seconds), max(largest, outcome.megabytes)
        if outcome.result == "failed":
            failures += 1
            print(f"{outcome.name} seed {outcome.seed} {outcome.mutation}: {outcome.detail}")  # noqa: T201
    for (mutation, result), number in sorted(results.items()):
        print(f"{mutation:30} {result:8} {number}")  # noqa: T201
    print(  # noqa: T201
        f"{options.count} files, {failures} failed; slowest {slowest:.2f} s, "
        f"most memory {largest:.0f} MB over the start"
    )
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
