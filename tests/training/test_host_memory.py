"""A process that the kernel ends for want of memory: it is said, and fewer rows are tried if they
help.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.small_training import SETTINGS, unlucky, write_rows
from tests.tiny_models import tiny_qwen
from training import host_memory, launch
from training.alone import Held
from training.attempt import Attempt
from training.worker import Job

KILLED = "the kernel ended it, as this machine ran out of memory"


@pytest.fixture
def vmstat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "vmstat"
    path.write_text("nr_free_pages 5\noom_kill 3\n")
    monkeypatch.setattr(host_memory, "VMSTAT", path)
    monkeypatch.setenv("UNLUCKY_VMSTAT", str(path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return path


def test_without_gpus_it_goes_on_with_fewer_rows(vmstat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unlucky(monkeypatch, "host-memory 0 0")
    told: list[str] = []
    (tmp_path / "data").mkdir()
    data, base = write_rows(tmp_path / "data"), tiny_qwen(tmp_path / "base")
    report = launch.train(data, base, str(tmp_path / "out"), SETTINGS, announce=told.append)
    assert report.layout is not None and report.layout.rows == 1
    assert len(told) == 1
    assert told[0].startswith(f"process 0 of the training died (signal SIGKILL: {KILLED}; it held 0.")
    assert told[0].endswith(" GB of this machine's memory): it goes on with micro_batch 1")


@pytest.mark.parametrize(
    ("num_killed", "gpus", "said", "is_memory"),
    [
        (3, "0", "signal SIGKILL; somebody sent it", False),
        (4, "0", KILLED, True),
        (4, "2", f"{KILLED}); fewer rows at once would not help: give the job more host memory, or set devices", False),
    ],
)
def test_how_a_kill_is_told(
    num_killed: int,
    gpus: str,
    said: str,
    is_memory: bool,
    vmstat: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SCODER_SIMULATED_GPUS", gpus)
    job = Job(
        dataset="d",
        base="b",
        output=str(tmp_path / "out"),
        settings=SETTINGS,
        options={},
        processes=1,
        launcher=os.getpid(),
    )
    (tmp_path / "rank-0.log").touch()
    attempt = Attempt(job, Held(tmp_path), 900)
    vmstat.write_text(f"oom_kill {num_killed}\n")
    end = attempt._killed(0, -signal.SIGKILL)
    assert said in end.reason and end.is_memory is is_memory and end.may_pass
