"""Shards in local processes.

In: the work, the missing shards, a number of processes. Out: nothing; the shards are in the store. datatrove's own pool waits
for ever for the task of a worker that the kernel killed, mostly for its memory; this one ends with what happened.
"""

from __future__ import annotations

import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from datatrove.executor import LocalPipelineExecutor

from builders.executors.shard_step import Ranks, ShardStep
from builders.executors.work import Work, watch_coordinator

_mine: list[LocalShards] = []
"""In a worker: the executor that it works for, so that a task is one number."""


def run(work: Work, missing: list[int], workers: int) -> None:
    """Build the shards in `workers` processes; the first failure of a shard ends all of them and is raised."""
    step = ShardStep(work, [[index] for index in missing])
    LocalShards([step], len(missing), min(workers, len(missing))).run()


class LocalShards(Ranks, LocalPipelineExecutor):
    """datatrove's local executor over the standard library's pool."""

    def run(self) -> None:
        """Run all ranks."""
        context = multiprocessing.get_context("forkserver")
        # forked from a server that has imported this, a worker starts in 0.02 s
        context.set_forkserver_preload(["__main__", "builders.executors.shard_step"])
        others, workers = set(multiprocessing.active_children()), list[Any]()
        pool = ProcessPoolExecutor(self.workers, context, initializer=_begin, initargs=(self,))
        try:
            tasks = [pool.submit(_run_rank, rank) for rank in range(self.tasks)]
            workers += [child for child in multiprocessing.active_children() if child not in others]
            for task in as_completed(tasks):
                task.result()
        except BrokenProcessPool:
            pool.shutdown()
            raise RuntimeError(_death(workers)) from None
        except BaseException:
            for worker in workers:
                worker.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(executor: LocalShards) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes: the coordinator ends its workers
    _mine.append(executor)
    watch_coordinator(executor.pipeline[0].work)


def _run_rank(rank: int) -> None:
    _mine[0]._run_for_rank(rank)


def _death(workers: list[Any]) -> str:
    """What happened to the worker that died first; a broken pool ends the others with SIGTERM."""
    codes = [w.exitcode for w in workers if w.exitcode not in (None, 0, -signal.SIGTERM)]
    how = f"exit code {codes[0]}; -9 mostly means out of memory" if codes else "its exit code is unknown"
    return f"a worker process died ({how}); run the same command again to resume, with fewer `executor.workers`"
