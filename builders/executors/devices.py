"""Jobs that need a model, on several devices at once. Each keeps the last model that it used.

In: a function `(job, keeper) -> result` of some module, and jobs that pickle. Out: the results, as
they are done. With one place and no GPU, the jobs run in this process. Else each process sees only
its own GPU, or its share of the CPU cores. It ends when the process that started it is gone. This
process never opens a GPU itself: it would hold some of its memory until it ends.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.queues import Queue
from typing import Any, TypeVar

from builders.executors.cpus import usable_cpus
from store.errors import JobError
from training.gpus import visible
from training.library_notes import hush
from training.watchdog import end_with

J = TypeVar("J")
R = TypeVar("R")


class Keeper:
    """The model that was asked for last. Jobs that share a model load it once.

    The old model is let go before the next one is loaded, so no two exist at the same time.
    """

    def __init__(self) -> None:
        self._key: Hashable = None
        self._model: Any = None

    def get(self, load: Callable[..., Any], *arguments: Hashable) -> Any:
        """`load(*arguments)`, or its last result if the last call was the same."""
        if self._key != (load, arguments):
            self._key = self._model = None
            self._model, self._key = load(*arguments), (load, arguments)
        return self._model


def devices(workers: int | None) -> list[str]:
    """The GPU of each worker, "" for none. `None` workers are one per GPU, or one without a GPU."""
    found = [gpu.name for gpu in visible()]
    return [found[i % len(found)] if found else "" for i in range(workers or max(1, len(found)))]


def run(function: Callable[[J, Keeper], R], jobs: Sequence[J], places: Sequence[str]) -> Iterator[R]:
    """The results of all jobs, in the order in which they are done.

    A failed job ends the others.
    """
    if not jobs:
        return
    if min(len(places), len(jobs)) <= 1 and not any(places):
        keeper = Keeper()
        for job in jobs:
            yield function(job, keeper)
        return
    context = multiprocessing.get_context("spawn")
    waiting = context.Queue()
    for place in places:
        waiting.put(place)
    threads = max(1, usable_cpus() // len(places))
    start = (waiting, threads, os.getpid())
    with ProcessPoolExecutor(len(places), context, initializer=_start, initargs=start) as pool:
        futures = [pool.submit(_call, function, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise JobError(
                "a worker process died, most likely because memory ran out. Run the same command again to resume; if it "
                "dies again, set fewer workers or a smaller batch_tokens"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_keeper = Keeper()
"""The keeper of a worker process. The process that starts workers never uses it."""


def _call(function: Callable[[J, Keeper], R], job: J) -> R:
    return function(job, _keeper)


def _start(waiting: Queue[str], threads: int, parent: int) -> None:
    """Set up a worker. This runs before its first job, so before torch looks for devices."""
    end_with(parent, dies_with=True)
    hush()
    place = waiting.get()
    if place:
        os.environ["CUDA_VISIBLE_DEVICES"] = place
    os.environ["OMP_NUM_THREADS"] = str(threads)
