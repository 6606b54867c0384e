"""Shards as tasks of a Ray cluster whose machines share the store's file system.

In: the work, the missing shards, the recipe's executor. Out: nothing; the shards are in the store.
If a worker or a node is lost, Ray gives its shard out again. Workers are used for many shards.
Nothing of the environment is sent: a worker has the variables (such as HF_TOKEN) that `ray start`
had on its node.
"""

from __future__ import annotations

import logging
import os
import socket
from itertools import islice
from typing import Any

from builders.executors.work import Work, run_one
from builders.recipe import Executor
from store.errors import InputError, JobError


def run(work: Work, missing: list[int], settings: Executor) -> None:
    """Build the shards on the cluster. The first failed shard ends the others, and is raised."""
    connect(settings.address)
    import ray
    from ray.exceptions import NodeDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError

    fit = capacity(settings)
    at_a_time = fit if settings.workers == "auto" else settings.workers
    task = ray.remote(run_one).options(
        num_cpus=settings.cpus_per_task,
        memory=settings.mem_per_cpu_gb * settings.cpus_per_task * 2**30,
        max_retries=settings.retries,
        scheduling_strategy="SPREAD",
    )
    shared, waiting = ray.put(work), iter(missing)
    running: list[Any] = [task.remote(shared, index) for index in islice(waiting, at_a_time)]
    try:
        while running:
            ended, running = ray.wait(running, num_returns=1)
            ray.get(ended)
            running += [task.remote(shared, index) for index in islice(waiting, len(ended))]
    except RayTaskError as error:
        raise error.cause if isinstance(error.cause, Exception) else error from error
    except (WorkerCrashedError, NodeDiedError, OutOfMemoryError) as error:
        is_memory = isinstance(error, OutOfMemoryError)
        why = "memory ran out" if is_memory else f"{type(error).__name__}; the logs of Ray say why"
        raise JobError(
            f"a Ray worker was lost more than {settings.retries} times for the same shard ({why}). Run the same command "
            f"again to resume, {'' if is_memory else 'if memory ran out '}with a larger executor.mem_per_cpu_gb"
        ) from None
    finally:
        for left in running:
            ray.cancel(left, force=True)


def connect(address: str) -> None:
    """Join the cluster for the rest of this process.

    InputError says how to start one if there is none.
    """
    # Without the first, a shard that does not fit into memory is tried for ever.
    os.environ.setdefault("RAY_task_oom_retries", "3")
    # Without the second, Ray warns about GPUs that no task uses.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():
        return
    _knock(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError:
        raise _nobody(address) from None


def _knock(address: str) -> None:
    """Fail at once if nobody listens at the address. Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError:
            raise _nobody(address) from None


def _nobody(address: str) -> InputError:
    return InputError(
        f"executor.address: there is no Ray cluster at {address!r}. Start one with `ray start --head` on this machine "
        "and `ray start --address HOST:6379` on the others, or give the HOST:PORT of one that runs"
    )


def capacity(settings: Executor) -> int:
    """How many tasks the living nodes can run at a time.

    InputError where no node can run even one: it would wait for ever.
    """
    import ray

    cpus, memory = settings.cpus_per_task, settings.cpus_per_task * settings.mem_per_cpu_gb * 2**30
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    total = sum(int(min(node.get("CPU", 0) // cpus, node.get("memory", 0) // memory)) for node in nodes)
    if total < 1:
        have = "; ".join(f"{n.get('CPU', 0):g} CPUs, {n.get('memory', 0) / 2**30:.1f} GiB" for n in nodes)
        raise InputError(
            f"executor: a task needs {cpus} CPUs and {memory / 2**30:g} GiB, and no node of the cluster has that (they "
            f"have {have}): lower executor.cpus_per_task or executor.mem_per_cpu_gb"
        )
    return total
