"""Jobs on several devices: one process each, one model at a time, and no waiting for the dead."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builders.executors.devices import Keeper, devices, run
from training import gpus


def place_and_process(job: int, keeper: Keeper) -> tuple[int, int, str | None]:
    """The job, the process and its GPU; job 0 is one that the kernel kills."""
    if job == 0:
        os._exit(9)
    time.sleep(0.2)  # so that one process cannot do all
    return job, os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")


def test_every_process_has_its_own_device() -> None:
    found = list(run(place_and_process, list(range(1, 9)), ["3", "7"]))
    assert sorted(job for job, *_ in found) == list(range(1, 9))
    assert {place for *_, place in found} == {"3", "7"}
    assert len({process for _, process, _ in found} - {os.getpid()}) == 2


def test_one_place_without_a_gpu_needs_no_process() -> None:
    assert {process for _, process, _ in run(place_and_process, [1, 2], [""])} == {os.getpid()}


def test_one_gpu_is_never_opened_by_this_process() -> None:
    found = list(run(place_and_process, [1, 2], ["5"]))
    assert {place for *_, place in found} == {"5"}
    assert os.getpid() not in {process for _, process, _ in found}
    assert list(run(place_and_process, [], ["5"])) == []


def test_a_killed_process_ends_the_work() -> None:
    with pytest.raises(RuntimeError, match="Run the same command again to resume; if it dies again, set fewer workers"):
        list(run(place_and_process, [0, 1, 2], ["", ""]))


@pytest.mark.parametrize("is_stopped", [False, True])
def test_workers_end_with_the_process_that_started_them(is_stopped: bool, tmp_path: Path) -> None:
    code = (
        "import os, sys; sys.path.insert(0, '.')\n"
        "from tests.executors.test_devices import place_and_process\n"
        "from builders.executors.devices import run\n"
        "if __name__ == '__main__':\n"
        "    for _, process, _ in run(place_and_process, list(range(1, 999)), ['', '']): print(process, flush=True)\n"
    )
    (tmp_path / "main.py").write_text(code)
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "main.py")],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": "."},
    )
    assert parent.stdout is not None
    workers = {int(parent.stdout.readline()) for _ in range(8)}
    if is_stopped:
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 30
    while any(Path(f"/proc/{worker}/cmdline").exists() for worker in workers) and time.monotonic() < until:
        time.sleep(0.1)
    assert not [worker for worker in workers if Path(f"/proc/{worker}/cmdline").exists()]


def test_a_keeper_loads_once() -> None:
    loaded: list[int] = []
    keeper = Keeper()
    for wanted in (1, 1, 2, 2, 1):
        keeper.get(loaded.append, wanted)
    assert loaded == [1, 2, 1]


def test_without_a_gpu_workers_are_processes_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.SIMULATED, "0")
    assert devices(None) == [""] and devices(3) == ["", "", ""]


def test_gpus_are_those_that_this_process_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.SIMULATED, "2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert devices(None) == ["4", "6"] and devices(3) == ["4", "6", "4"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert devices(None) == ["0", "1"]
