"""Jobs that need a model, on several devices at once: one process for each, which keeps the model that it used last.

In: a function `(job, keeper) -> result` of some module, and jobs that pickle. Out: the results, as they are done. How: with one
device the jobs run in this process. With more, every process sees its own GPU only (or its share of the processor's cores) and
ends when the process that started it is gone.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.queues import Queue
from typing import Any, TypeVar

from store.errors import JobError

J = TypeVar("J")
R = TypeVar("R")


class Keeper:
    """The model that was asked for last: jobs that share it load it once, and no two exist at the same time."""

    def __init__(self) -> None:
        self._key: Hashable = None
        self._model: Any = None

    def get(self, load: Callable[..., Any], *arguments: Hashable) -> Any:
        """`load(*arguments)`, or what it gave the last time when it was called like that."""
        if self._key != (load, arguments):
            self._key = self._model = None
            self._model, self._key = load(*arguments), (load, arguments)
        return self._model


def devices(workers: int | None) -> list[str]:
    """The GPU of each worker, "" for none; `None` workers are one per GPU, and one on a machine without."""
    import torch

    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    found = [] if not torch.cuda.is_available() else list(map(str, range(torch.cuda.device_count())))
    if found and chosen:
        found = chosen.split(",")[: len(found)]
    return [found[i % len(found)] if found else "" for i in range(workers or max(1, len(found)))]


def run(function: Callable[[J, Keeper], R], jobs: Sequence[J], places: Sequence[str]) -> Iterator[R]:
    """The results of all jobs in the order in which they are done; a failed job ends the others."""
    if min(len(places), len(jobs)) <= 1:
        keeper = Keeper()
        for job in jobs:
            yield function(job, keeper)
        return
    context = multiprocessing.get_context("spawn")
    waiting = context.Queue()
    for place in places:
        waiting.put(place)
    threads = max(1, (os.cpu_count() or 1) // len(places))
    start = (waiting, threads, os.getpid())
    with ProcessPoolExecutor(len(places), context, initializer=_start, initargs=start) as pool:
        futures = [pool.submit(_call, function, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise JobError(
                "a worker process died, mostly for want of memory; the same command resumes, with fewer workers or a "
                "smaller batch_tokens if it dies again"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_keeper = Keeper()
"""Of a worker process; the process that starts workers never uses it."""


def _call(function: Callable[[J, Keeper], R], job: J) -> R:
    return function(job, _keeper)


def _start(waiting: Queue[str], threads: int, parent: int) -> None:
    """In a worker, before its first job and so before torch looks for devices."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    place = waiting.get()
    if place:
        os.environ["CUDA_VISIBLE_DEVICES"] = place
    os.environ["OMP_NUM_THREADS"] = str(threads)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(75)
