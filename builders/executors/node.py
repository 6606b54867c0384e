"""A task with GPUs, on the node where it runs: a command in a session of its own.

In: the folder of a task (`gpu_tasks.py`), which holds `task.json`. Out: `end.json` with the exit
code of the command. What it writes goes where this process writes.

    python -P -m builders.executors.node FOLDER

This process ends when its coordinator is gone, or the process that started it. The command sees
that its parent is gone, and ends as well. What the command leaves behind is ended here, before
anybody is told that the task has ended: another task may go on with the same files.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from store import files
from store.lock import stop_with_coordinator
from training.watchdog import end_with

TASK, END = "task.json", "end.json"


PR_SET_CHILD_SUBREAPER = 36
"""An option of `prctl`, which only Linux has: orphans below this process become its children."""


def run(folder: str) -> int:
    """Run the command of a task, and return its exit code."""
    task = json.loads(Path(folder, TASK).read_bytes())
    end_with(os.getppid())
    stop_with_coordinator(task["root"], task["owner"])
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    with open(task["stdin"] or os.devnull, "rb") as given:
        child = subprocess.Popen(
            [sys.executable, "-P", *task["arguments"]],
            stdin=given,
            env=os.environ | {"PYTHONPATH": task["python_path"]},
            start_new_session=True,
        )
    # Slurm sends one before it takes the node away. A training saves its state then, and ends.
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda came, frame: child.send_signal(came))
    code = child.wait()
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    _end_orphans()
    write_json(Path(folder, END), {"code": code})
    return code


def write_json(path: Path, value: object) -> None:
    """Write a file that others, on other machines, see whole or not at all."""
    fs, root = files.open_root(str(path))
    files.write_atomic(fs, root, json.dumps(value).encode())


def _end_orphans() -> None:
    """End what the command had started and did not end, and what that had started."""
    while found := _children():
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(path.parent.name))
    return found


if __name__ == "__main__":
    code = run(sys.argv[1])
    sys.exit(code if code >= 0 else 128 - code)
