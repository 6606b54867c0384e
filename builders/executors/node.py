"""A task with GPUs, on the node where it runs: a command in a session of its own.

In: the folder of a task (`gpu_tasks.py`), which holds `task.json`. Out: `end.json` with the exit
code of the command. What it writes goes where this process writes.

    python -P -m builders.executors.node FOLDER

This process ends when its coordinator is gone. The command sees that its parent is gone, and ends
as well. What the command leaves behind is ended here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO

from store import files
from store.lock import stop_with_coordinator

TASK, END = "task.json", "end.json"


def run(folder: str, log: IO[bytes] | None = None) -> int:
    """Run the command of a task, and return its exit code. `log` is where it writes."""
    task = json.loads(Path(folder, TASK).read_bytes())
    _watch(task["root"], **task["owner"])
    with open(task["stdin"] or os.devnull, "rb") as given:
        child = subprocess.Popen(
            [sys.executable, "-P", *task["arguments"]],
            stdin=given,
            stdout=log,
            stderr=log,
            env=os.environ | {"PYTHONPATH": task["python_path"]},
            start_new_session=True,
        )
    code = child.wait()
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    write_json(Path(folder, END), {"code": code})
    return code


def write_json(path: Path, value: object) -> None:
    """Write a file that others, on other machines, see whole or not at all."""
    fs, root = files.open_root(str(path))
    files.write_atomic(fs, root, json.dumps(value).encode())


@cache
def _watch(root: str, **started_by: str) -> None:
    """One thread watches, for any number of tasks of a process."""
    stop_with_coordinator(root, started_by)


if __name__ == "__main__":
    code = run(sys.argv[1])
    sys.exit(code if code >= 0 else 128 - code)
