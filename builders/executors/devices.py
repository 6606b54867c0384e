"""Jobs that need a model, on several devices at once. Each keeps the last model that it used.

In: a function `(job, keeper) -> result` of some module, and jobs that pickle. Out: the results, as
they are done. With one place and no GPU, the jobs run in this process. Else each process sees only
its own GPU, or its share of the CPU cores. This process never opens a GPU itself: it would hold
some of its memory until it ends.

A process that dies, that somebody stops, or that hangs (`device_worker.py`) is ended and started
again, and its job is given out again. If that goes on so without a result, the run ends.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from builders.executors.cpus import usable_cpus
from builders.executors.device_worker import TICK_S, Keeper, Outcome, Worker
from builders.executors.endings import COUNTED
from store.errors import JobError
from training.gpus import visible

__all__ = ["Keeper", "devices", "run"]

J = TypeVar("J")
R = TypeVar("R")

MOST_LOSSES = 3
"""Times that a worker may die in a row without a result, and that a job may be lost."""


def devices(workers: int | None) -> list[str]:
    """The GPU of each worker, "" for none. `None` workers are one per GPU, or one without a GPU."""
    found = [gpu.name for gpu in visible()]
    return [found[i % len(found)] if found else "" for i in range(workers or max(1, len(found)))]


def run(function: Callable[[J, Keeper], R], jobs: Sequence[J], places: Sequence[str]) -> Iterator[R]:
    """The results of all jobs, in the order in which they are done.

    A failed job ends the others: those under way are done, and no other one is begun.
    """
    if not jobs:
        return
    if min(len(places), len(jobs)) <= 1 and not any(places):
        keeper = Keeper()
        for job in jobs:
            yield function(job, keeper)
        return
    with closing(_Crew(function, jobs, places)) as crew:
        yield from crew.results()


class _Crew:
    """The workers, the jobs that wait, and what comes of them."""

    def __init__(self, function: Callable[..., Any], jobs: Sequence[Any], places: Sequence[str]) -> None:
        self._function, self._jobs = function, jobs
        self._waiting = deque(range(len(jobs)))
        self._came: SimpleQueue[Outcome] = SimpleQueue()
        threads = max(1, usable_cpus() // len(places))
        self._workers = [Worker(i, place, threads, self._came) for i, place in enumerate(places[: len(jobs)])]
        self._lost: Counter[int] = Counter()
        self._error: BaseException | None = None

    def close(self) -> None:
        """End the workers. What they have not written is done again by the next run."""
        for worker in self._workers:
            worker.dismiss()
        for worker in self._workers:
            worker.end()

    def results(self) -> Iterator[Any]:
        """The results, as they come."""
        looked = time.monotonic()
        while self._hand_out():
            try:
                outcome = self._came.get(timeout=TICK_S)
            except Empty:
                pass
            else:
                yield from self._taken(outcome)
            if time.monotonic() - looked >= TICK_S:
                looked = time.monotonic()
                self._look()
        if self._error is not None:
            raise self._error

    def _hand_out(self) -> bool:
        """Give a job to each worker that has none. False if nothing is left or under way."""
        for worker in self._workers:
            if worker.job is None and self._waiting:
                number = self._waiting.popleft()
                worker.give(number, self._function, self._jobs[number])
        return any(worker.job is not None for worker in self._workers)

    def _taken(self, outcome: Outcome) -> Iterator[Any]:
        worker = next((worker for worker in self._workers if worker.job == outcome.number), None)
        if worker is None:
            return  # it was given out again
        worker.job, worker.losses = None, 0
        if outcome.error is not None:
            outcome.error.__cause__ = outcome.error.__cause__ or RuntimeError(outcome.raised_at)
            self._fail(outcome.error)
        elif self._error is None:
            yield outcome.result

    def _look(self) -> None:
        for worker in self._workers:
            worker.look(TICK_S)
            if worker.job is not None and worker.has_ended() and self._came.empty():
                self._bury(worker, worker.job)

    def _bury(self, worker: Worker, number: int) -> None:
        """A process is dead: give its job out again, unless that was tried too often."""
        how = worker.bury()
        self._lost[number] += 1
        if self._error is not None:
            return
        if max(worker.losses, self._lost[number]) >= MOST_LOSSES:
            what = (
                f"{worker} died {worker.losses} times"
                if worker.losses >= MOST_LOSSES
                else f"{MOST_LOSSES} workers died"
            )
            fewer = ", with fewer workers or a smaller batch_tokens" if COUNTED in how else ""
            self._fail(
                JobError(
                    f"{what} in a row without a result; the last one {how}. What is done is kept: run the same command "
                    f"again to resume{fewer}"
                )
            )
            return
        print(f"{worker} {how}; its job is given out again", file=sys.stderr, flush=True)
        self._waiting.appendleft(number)

    def _fail(self, error: BaseException) -> None:
        """Begin nothing more, and raise the first error when what is under way has come."""
        self._error = self._error or error
        self._waiting.clear()
