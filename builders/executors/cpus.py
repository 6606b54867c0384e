"""How many CPUs this process may use. In: nothing. Out: a number, at least 1.

The smaller of two: its affinity, and the quota of its control groups. In a small container,
`os.cpu_count` gives the CPUs of the large host.

    usable_cpus()    # 2
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def usable_cpus(root: Path = Path("/")) -> int:
    """CPUs that this process may use. `root` is where /proc and /sys lie."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min([float(allowed), *_quotas(root)]) + 0.5))


def _quotas(root: Path) -> Iterator[float]:
    """The CPUs that each control group of this process and each group above it allows."""
    for line in _words(root / "proc/self/cgroup", "\n"):
        _, _, rest = line.partition(":")
        controllers, _, own = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        for folder in _folders(root / "sys/fs/cgroup", controllers):
            for group in (PurePosixPath(own), *PurePosixPath(own).parents):
                yield from _quota(folder / str(group).lstrip("/"))


def _folders(mounts: Path, controllers: str) -> list[Path]:
    """Where the groups of a line of /proc/self/cgroup may be mounted, version 2 or 1."""
    return [mounts / controllers, mounts / "cpu"] if controllers else [mounts, mounts / "unified"]


def _quota(group: Path) -> Iterator[float]:
    limits = _words(group / "cpu.max")
    if len(limits) != 2:
        limits = [*_words(group / "cpu.cfs_quota_us"), *_words(group / "cpu.cfs_period_us")]
    if len(limits) == 2 and limits[0].isdigit() and int(limits[1]):
        yield int(limits[0]) / int(limits[1])


def _words(file: Path, border: str | None = None) -> list[str]:
    try:
        return file.read_text().split(border)
    except OSError:
        return []
