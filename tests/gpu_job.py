"""A job for tasks with GPUs that does as it is told: `die`, `die once`, `fail`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pydantic import BaseModel

from builders.executors.devices import Keeper
from store.errors import JobError


class Report(BaseModel):
    """What was measured."""

    number: int
    square: int


def measure(job: tuple[str, int, str], keeper: Keeper) -> Report:
    """The square of a number. Each one that is done leaves a line, with the process."""
    folder, number, does = job
    marker = Path(folder, f"died-{number}")
    if does == "die" or (does == "die once" and not marker.exists()):
        marker.touch()
        print("my last words", file=sys.stderr, flush=True)
        os._exit(9)
    if does == "fail":
        raise JobError(f"no memory for {number}: use less")
    with open(Path(folder, "done"), "a") as file:
        file.write(f"{number} {os.getpid()}\n")
    return Report(number=number, square=number**2)
