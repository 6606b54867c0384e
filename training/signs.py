"""Signs of life between two steps: a process has come, has met the others, saves.

In: the job of a training, or its folder. Out: empty files, which the launcher reads.

    .out.run/here-1    process 1 has loaded its libraries and looks for the others
    .out.run/met-1     process 1 has heard of all others
    .out.partial/saving    weights or a state are written, which may take long
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE, MET, SAVING = "here", "met", "saving"
SAVING_S = 7200.0
"""Seconds that saving may take. 54 GB at 10 MB/s are 1.5 hours."""


def give(job: Path, sign: str, rank: int) -> None:
    """Say that a process is so far."""
    job.with_name(f"{sign}-{rank}").touch()


def given(job: Path, sign: str, processes: int) -> set[int]:
    """The processes that are so far."""
    return {rank for rank in range(processes) if job.with_name(f"{sign}-{rank}").exists()}


@contextmanager
def saving(partial: Path, *, is_first: bool) -> Iterator[None]:
    """Inside this block something is saved. The first process says it for all."""
    if is_first:
        (partial / SAVING).touch()
    try:
        yield
    finally:
        if is_first:
            (partial / SAVING).unlink(missing_ok=True)
