"""Tasks with GPUs as Slurm jobs: one job each, on one node.

In: the folder of a task, and its number of GPUs. Out: a job. One call of `squeue` looks at all of
them, at most every `executor.poll_s`. Whether a job that is gone ended by its time or with its
node, `sacct` says, if there is one.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from builders.executors.task_states import LOG, State
from builders.recipe import Executor
from store.errors import InputError, JobError

SILENCE_S = 300.0
"""Seconds that squeue may fail before the run gives up.

A controller that restarts answers again.
"""
GONE_S = 60.0
"""Seconds that a job which was cancelled has to leave the queue."""
TAKEN = {"BOOT_FAIL", "CANCELLED", "DEADLINE", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"}
"""Ends that are not the command's own. After those nothing more is written."""
FAILED = {"FAILED", *TAKEN}
REFUSED = ("unable to contact", "socket timed out", "temporarily")
ATTEMPTS, PAUSE_S = 5, 15.0


class SlurmJobs:
    """The jobs of one `Tasks`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._lock = threading.Lock()
        self._names: dict[str, None] = {}
        self._queue: dict[str, str] = {}
        self._looked = self._answered = time.monotonic()
        self._is_stale = True

    def submit(self, folder: Path, gpus: int) -> SlurmJob:
        script = folder / "script.slurm"
        script.write_text(self._script(folder, gpus), encoding="utf-8")
        number = _submit(script)
        with self._lock:
            self._names[folder.name] = None
            self._is_stale = True
        return SlurmJob(self, folder.name, number)

    def cancel_old(self, folders: Sequence[Path]) -> None:
        """Cancel jobs of another coordinator, and wait until they have left the queue."""
        names = [folder.name for folder in folders]
        cancel(names)
        until = time.monotonic() + GONE_S
        while names and _queue(names) and time.monotonic() < until:
            time.sleep(min(1.0, self._executor.poll_s))

    def forget(self, name: str) -> None:
        """Ask for a job no more."""
        with self._lock:
            self._names.pop(name, None)

    def queued(self, name: str) -> str | None:
        """The state and the reason of a job in the queue, None if it is not there any more."""
        with self._lock:
            now = time.monotonic()
            if name in self._names and (self._is_stale or now - self._looked >= self._executor.poll_s):
                found = _queue(list(self._names))
                self._looked, self._is_stale = now, False
                if found is not None:
                    self._queue, self._answered = found, now
                elif now - self._answered > SILENCE_S:
                    raise JobError(f"squeue has failed for {SILENCE_S:g} s: run the same command again to resume")
                else:
                    return self._queue.get(name, "UNKNOWN")
            return self._queue.get(name)

    def _script(self, folder: Path, gpus: int) -> str:
        executor, gpu = self._executor, self._executor.gpu
        assert gpu is not None
        for path in (str(folder), sys.executable):
            if not re.fullmatch(r"[A-Za-z0-9_./@+=:,~-]+", path):
                raise InputError(
                    f"the path {path} cannot stand in a batch script: for executor.kind slurm, use paths without blanks "
                    "or special characters"
                )
        given: dict[str, str | int | None] = {
            "job-name": folder.name,
            "output": str(folder / LOG),
            "open-mode": "append",
            "partition": gpu.partition or executor.partition,
            "time": gpu.time or executor.time,
            "nodes": 1,
            "ntasks": 1,
            "cpus-per-task": gpu.cpus_per_gpu * gpus,
            "mem": f"{gpu.mem_per_gpu_gb * gpus}G",
            "gres" if gpu.gres else "gpus-per-node": f"{gpu.gres}:{gpus}" if gpu.gres else gpus,
            "qos": executor.qos,
            "account": executor.account,
        }
        options = {**given, **executor.sbatch, **gpu.sbatch}
        lines = [f"#SBATCH --{name}={value}" for name, value in options.items() if value is not None]
        path = shlex.quote(":".join(path for path in sys.path if path))
        return "\n".join(
            [
                "#!/bin/bash",
                *lines,
                # Requests are given out again, and a training goes on, in a job of its own.
                "#SBATCH --no-requeue",
                executor.activate or "",
                f"export PYTHONPATH={path}",
                f"exec {'python' if executor.activate else sys.executable} -P -m builders.executors.node {folder}",
                "",
            ]
        )


class SlurmJob:
    """One job: its name, which is unique, and its number."""

    def __init__(self, jobs: SlurmJobs, name: str, number: str) -> None:
        self._jobs, self._name, self._number = jobs, name, number
        self._ended: State | None = None

    def state(self) -> State:
        if self._ended is not None:
            return self._ended
        queued = self._jobs.queued(self._name)
        if queued is not None:
            return State(is_waiting=queued.startswith(("PENDING", "CONFIGURING")), told=queued)
        end = _end(self._number)
        found = State(is_gone=True, told=f"Slurm job {self._number}: {end or 'no accounts'}", was_taken=end in TAKEN)
        if end in FAILED or end == "COMPLETED":
            self._ended = found
            self._jobs.forget(self._name)
        return found

    def cancel(self) -> None:
        self._jobs.forget(self._name)
        cancel([self._name])


def cancel(names: Sequence[str]) -> None:
    """Cancel jobs by their names. They are unique, and known before a job has a number."""
    if names:
        subprocess.run(["scancel", "--name", ",".join(names)], capture_output=True, check=False)


def _submit(script: Path) -> str:
    for attempt in range(ATTEMPTS):
        done = subprocess.run(["sbatch", str(script)], capture_output=True, text=True, check=False)
        if done.returncode == 0 and (found := re.search(r"job (\d+)", done.stdout)):
            return found[1]
        is_away = any(text in done.stderr.lower() for text in REFUSED)
        if not is_away or attempt == ATTEMPTS - 1:
            break
        time.sleep(PAUSE_S)
    raise JobError(
        f"sbatch refused a task with GPUs ({done.stderr.strip() or f'exit code {done.returncode}'}): check partition, time, "
        f"gres and sbatch in executor.gpu, qos and account in executor. The script is {script}"
    )


def _queue(names: Sequence[str]) -> dict[str, str] | None:
    """Of the jobs in the queue the state and the reason, by name. None when squeue fails."""
    asked = ["squeue", "--noheader", "--name", ",".join(names), "--format", "%j %T %r"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    found = (line.strip().partition(" ") for line in done.stdout.splitlines() if line.strip())
    return {name: state.strip() for name, _, state in found if not state.startswith("COMPLETED")}


def _end(number: str) -> str:
    """How a job ended: `COMPLETED`, `TIMEOUT`. Empty where Slurm keeps no accounts."""
    asked = ["sacct", "--noheader", "--allocations", "--parsable2", "--jobs", number, "--format", "State"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    words = done.stdout.split()  # `CANCELLED by 1000`
    return words[0] if words and not done.returncode else ""
