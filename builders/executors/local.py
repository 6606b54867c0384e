"""Shards in local processes.

In: the work, the missing shards, a number of processes. Out: nothing; the shards are in the store.
If a worker dies, the build ends and says how.
"""

from __future__ import annotations

import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from builders.executors.endings import COUNTED, ended
from builders.executors.work import Work, run_one, watch_coordinator
from store.errors import JobError
from training.host_memory import HostMemory


def run(work: Work, missing: list[int], workers: int) -> None:
    """Build the shards in `workers` processes.

    The first failed shard ends them all, and is raised.
    """
    context = multiprocessing.get_context("forkserver")
    # Workers are forked from a server that has imported this module, so they start in 0.02 s.
    context.set_forkserver_preload(["__main__", __name__])
    memory = HostMemory()
    others, processes = set(multiprocessing.active_children()), list[Any]()
    pool = ProcessPoolExecutor(min(workers, len(missing)), context, initializer=_begin, initargs=(work,))
    try:
        tasks = [pool.submit(run_one, work, index) for index in missing]
        processes += [child for child in multiprocessing.active_children() if child not in others]
        for task in as_completed(tasks):
            task.result()
    except BrokenProcessPool:
        pool.shutdown()
        raise JobError(_death(processes, memory)) from None
    except BaseException:
        for process in processes:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(work: Work) -> None:
    # Ctrl-C reaches all processes. The coordinator handles it and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watch_coordinator(work)


def _death(workers: list[Any], memory: HostMemory) -> str:
    """What happened to the worker that died first. A broken pool ends the others with SIGTERM."""
    codes = [w.exitcode for w in workers if w.exitcode not in (None, 0, -signal.SIGTERM)]
    how = ended(codes[0] if codes else None, memory)
    fewer = ", with fewer executor.workers" if COUNTED in how else ""
    return f"a worker process ended {how}. Run the same command again to resume{fewer}"
