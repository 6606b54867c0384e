"""cpus: the affinity and the quotas of both versions of control groups, whichever is smaller."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builders.executors import cpus


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    for name, content in {"proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


CPUS = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("", {}, CPUS),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, CPUS),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "25000 100000\n"}, 1),
        # the group above has the limit
        ("0::/a/b\n", {"sys/fs/cgroup/a/b/cpu.max": "max 100000", "sys/fs/cgroup/a/cpu.max": "100000 100000"}, 1),
        ("3:cpu,cpuacct:/a\n", {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1"}, CPUS),
        (
            "3:cpu,cpuacct:/a\n",
            {
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        # a quota of another group does not count
        ("0::/a\n", {"sys/fs/cgroup/b/cpu.max": "100000 100000\n"}, CPUS),
    ],
)
def test_the_smallest_limit_counts(tmp_path, groups, files, expected):
    assert cpus.usable_cpus(machine(tmp_path, groups, files)) == expected


def test_a_process_bound_to_one_cpu_has_one():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert cpus.usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, allowed)
