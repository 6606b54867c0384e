"""Shards as a Slurm job array, on nodes that share the store's file system and this checkout.

In: the work, the missing shards, the recipe's executor. Out: nothing; the shards are in the store.

The job is submitted, and then we wait. The shards that appear in the store say what is done. The
queue only says whether more will come. An interrupted build cancels its job. A build that was
killed leaves tasks behind: those that run stop by themselves, and the next build cancels those in
the queue.

The pickle that the tasks load holds no part of the environment. sbatch hands the environment on by
itself (`--export=ALL`), as it always does.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from datatrove.executor import SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.stats import PipelineStats
from loguru import logger

from builders.executors.work import Work, run_one
from builders.recipe import Executor
from store import Store, files
from store.errors import InputError, JobError
from store.shards import work_names

LAG_S = 30.0
"""Seconds that a file which a node has written may stay unseen through a network file system."""

SILENCE_S = 300.0
"""Seconds that squeue may fail before the build gives up.

A controller that restarts answers again.
"""

_FAILED = {"BOOT_FAIL", "CANCELLED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"}
"""Failed states of sacct. It lags behind the queue: an ended task may still be RUNNING there."""

_HINTS = {
    "OUT_OF_MEMORY": " with a larger `executor.mem_per_cpu_gb`",
    "TIMEOUT": " with a longer `executor.time`",
}


class Job(NamedTuple):
    """A submitted job: its number, its own name, and the folder of its pickle and logs."""

    number: str
    name: str
    folder: Path


def run(store: Store, work: Work, missing: list[int], settings: Executor) -> None:
    """Build the shards as one job array. The first failed shard ends the job, and is raised."""
    sweep(store)
    name = f"scoder-{work.table.replace('_', '-')}-{uuid.uuid4().hex[:8]}"
    folder = Path(store.scratch("slurm"), name)
    executor = _executor(work, missing, settings, name, folder)
    try:
        job = Job(_submit(executor), name, folder)
        store.announce(f"{work.table}: Slurm job {job.number}, {executor.tasks} tasks; logs in {folder}")
        _wait(store, work, {name for index in missing for name in work_names(index)}, job, settings.poll_s)
    except BaseException:
        cancel(name)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def sweep(store: Store) -> None:
    """Cancel and forget the jobs of builds that were killed or failed.

    Call it with the store's lock.
    """
    for old in sorted(Path(store.scratch("slurm")).glob("scoder-*")):
        cancel(old.name)
        shutil.rmtree(old, ignore_errors=True)


def cancel(name: str) -> None:
    """Cancel a job by its name. The name is unique, and known before the job has a number."""
    subprocess.run(["scancel", "--name", name], capture_output=True, check=False)


class ShardStep(PipelineStep):
    """The one step of the pipeline that the tasks load.

    Rank r builds the shards of batch r in turn.
    """

    name = "shard"
    type = "builder"

    def __init__(self, work: Work, batches: list[list[int]]):
        super().__init__()
        self.work = work
        self.batches = batches
        _quiet()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load the step in the process of a task."""
        self.__dict__.update(state)
        _quiet()

    def run(self, data=None, rank: int = 0, world_size: int = 1):  # type: ignore[no-untyped-def]
        """Build the batch of this rank."""
        for index in self.batches[rank]:
            run_one(self.work, index)
        yield from ()


def _quiet() -> None:
    """Silence datatrove, which logs a dozen lines per task. The store announces what was built."""
    logger.disable("datatrove")


class SlurmShards(SlurmPipelineExecutor):
    """datatrove's Slurm executor. A task writes what went wrong into a file, which `run` reads."""

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> PipelineStats:
        """Run the step only. datatrove would also write logs and statistics that nobody reads."""
        try:
            for _ in self.pipeline[0].run(None, rank, self.world_size):
                pass
        except Exception as error:
            said = "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
            fs, root = files.open_root(self.logging_dir.path)
            files.write_atomic(fs, f"{root}/failures/{rank:05d}.txt", said.encode())
            raise
        return PipelineStats()

    def launch_merge_stats(self) -> None:
        """Do not submit datatrove's second job. It would wait for ever where a task failed."""


def _executor(work: Work, missing: list[int], settings: Executor, name: str, folder: Path) -> SlurmShards:
    if not re.fullmatch(r"[A-Za-z0-9_./@+=:,~-]+", str(folder)):
        raise InputError(
            f"the store's path {folder} cannot stand in a batch script: for executor.kind slurm, use a store whose path "
            "has no blanks or special characters"
        )
    size = max(settings.shards_per_task, -(-len(missing) // settings.max_array_size))
    batches = [missing[start : start + size] for start in range(0, len(missing), size)]
    return SlurmShards(
        [ShardStep(work, batches)],
        len(batches),
        settings.time or "",
        settings.partition or "",
        cpus_per_task=settings.cpus_per_task,
        mem_per_cpu_gb=settings.mem_per_cpu_gb,
        workers=-1 if settings.workers == "auto" else settings.workers,
        job_name=name,
        qos=settings.qos or "",
        env_command=settings.activate or f"source {shlex.quote(f'{sys.prefix}/bin/activate')}",
        sbatch_args=settings.sbatch | ({"account": settings.account} if settings.account else {}),
        max_array_size=settings.max_array_size,
        # `Submitted batch job 7`, and on federations the name of the cluster after it
        job_id_position=3,
        logging_dir=str(folder),
        skip_completed=False,
        requeue_signals=None,
        with_srun=False,
    )


def _submit(executor: SlurmShards) -> str:
    try:
        executor.launch_job()
    except subprocess.CalledProcessError as error:
        raise JobError(
            f"sbatch refused the job (exit code {error.returncode}; its message stands above): check partition, time, "
            "qos, account and sbatch in the recipe's section executor"
        ) from None
    return str(executor.job_id)


def _wait(store: Store, work: Work, wanted: set[str], job: Job, poll_s: float) -> None:
    """Return when all files are there.

    JobError when a task failed, or the job ended without them.
    """
    directory = store.scratch(f"shards-{work.plan_id}")
    answered, left, said = time.monotonic(), 0.0, set[str]()
    while wanted - set(files.names(store.fs, directory, "")):
        if failures := sorted(job.folder.glob("failures/*.txt")):
            raise JobError(f"Slurm job {job.number}: {failures[0].read_text()}")
        queued, now = _queue(job.name), time.monotonic()
        if queued is None:
            if now - answered > SILENCE_S:
                raise JobError(f"squeue has failed for {SILENCE_S:g} s: run the same command again to resume")
        elif queued:
            answered, left = now, 0.0
            if queued.keys() - said:
                said = set(queued)
                states = ", ".join(f"{count} {state}" for state, count in queued.items())
                store.announce(f"{work.table}: Slurm job {job.number}: {states}")
        else:
            answered, left = now, left or now
            ends = _ends(job.number)
            if ends.keys() & _FAILED or now - left > LAG_S:
                raise JobError(_loss(job, ends))
        time.sleep(poll_s)


def _queue(name: str) -> Counter[str] | None:
    """The tasks of a job in the queue: `{"running": 3, "pending (Priority)": 5}`.

    None when squeue fails.
    """
    asked = ["squeue", "--noheader", "--array", "--name", name, "--format", "%T %r"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    lines = [line.strip().partition(" ") for line in done.stdout.splitlines() if line.strip()]
    return Counter(
        state.lower() + (f" ({reason.strip()})" if reason.strip() not in ("", "None") else "")
        for state, _, reason in lines
    )


def _ends(job: str) -> Counter[str]:
    """How the tasks of a job ended: `{"COMPLETED": 7, "OUT_OF_MEMORY": 1}`.

    It is empty where Slurm keeps no accounts.
    """
    asked = ["sacct", "--noheader", "--allocations", "--parsable2", "--jobs", job, "--format", "State"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return Counter()
    # `CANCELLED by 1000`
    return Counter(line.split()[0] for line in done.stdout.splitlines() if line.strip() and not done.returncode)


def _loss(job: Job, ends: Counter[str]) -> str:
    """The message for a job that ended without all shards: its states, a log, and what to do."""
    how = ", ".join(f"{count} {state}" for state, count in ends.items()) or "Slurm keeps no accounts of how"
    hint = next((text for state, text in _HINTS.items() if state in ends), "")
    logs = sorted(job.folder.glob("slurm_logs/*.out"), key=lambda path: path.stat().st_mtime)
    tail = "\n".join(logs[-1].read_text(errors="replace").splitlines()[-5:]) if logs else "(no log was written)"
    return (
        f"Slurm job {job.number} has ended without all shards ({how}). Run the same command again{hint} to resume. "
        f"Logs are in {job.folder}; the last one ends:\n{tail}"
    )
