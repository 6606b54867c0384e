"""Jobs on several devices: one process each, one model at a time, and no waiting for the dead."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import cast

import pytest

from builders.executors import device_worker
from builders.executors.devices import Keeper, devices, run
from builders.executors.endings import COUNTED, SENT, ended
from store.errors import JobError
from training import gpus, host_memory
from training.host_memory import HostMemory
from training.watchdog import PATIENCE_S


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


def test_a_job_whose_process_always_dies_ends_the_work(capfd: pytest.CaptureFixture[str]) -> None:
    said = r"died 3 times in a row without a result; the last one ended with exit code 9\. .*run the same command again"
    with pytest.raises(JobError, match=said) as raised:
        list(run(place_and_process, [0, 1, 2], ["", ""]))
    assert "memory" not in str(raised.value)
    assert capfd.readouterr().err.count("ended with exit code 9; its job is given out again") == 2


Task = tuple[str, int, str]


def obedient(task: Task, keeper: Keeper) -> int:
    """The number of the job. What it is told to do, it does the first time only."""
    folder, number, does = task
    marker = Path(folder, f"{number}-{does.replace(' ', '-')}")
    if does and not marker.exists():
        marker.touch()
        DOES[does](keeper)
    return number


def steady(keeper: Keeper) -> None:
    for _ in range(14):
        time.sleep(0.5)
        keeper.alive()


def at_work(keeper: Keeper) -> None:
    until = time.process_time() + 6
    while time.process_time() < until:
        pass


def begins_and_hangs(keeper: Keeper) -> None:
    """As one that waits for its GPU, and computes meanwhile."""
    keeper.alive()
    while True:
        pass


def fails(keeper: Keeper) -> None:
    raise JobError("no room for it")


def fails_strangely(keeper: Keeper) -> None:
    class StrangeError(Exception):
        pass

    raise StrangeError("no name in any module")


DOES: dict[str, Callable[[Keeper], object]] = {
    "stop": lambda keeper: os.kill(os.getpid(), signal.SIGSTOP),
    "kill": lambda keeper: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda keeper: time.sleep(600),
    "begin and hang": begins_and_hangs,
    "steady": steady,
    "work": at_work,
    "fail": fails,
    "fail strangely": fails_strangely,
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_worker, "STOPPED_S", 1.0)
    monkeypatch.setattr(device_worker, "SILENT_S", 5.0)
    monkeypatch.setattr(device_worker, "WORK_S", 0.2)  # a full machine is slow to start


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("stop", "was stopped by a signal for 1 s, and was ended"),
        ("kill", "ended by signal 9 (SIGKILL: somebody sent it, or the cluster"),
        ("hang", "gave no sign of life for 5 s, and was ended"),
        ("begin and hang", "gave no sign of life for 5 s, and was ended"),
    ],
)
def test_a_process_that_does_not_get_on_is_started_again(
    does: str, said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tasks = [(str(tmp_path), number, does if number == 1 else "") for number in range(6)]
    assert sorted(run(obedient, tasks, ["3", "7"])) == list(range(6))
    assert re.fullmatch(
        rf"worker \d on GPU [37] {re.escape(said)}.*; its job is given out again\n", capfd.readouterr().err
    )


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("does", ["steady", "work"])
def test_a_long_job_that_gets_on_is_left_alone(does: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert sorted(run(obedient, [(str(tmp_path), n, does) for n in range(2)], ["", ""])) == [0, 1]
    assert capfd.readouterr().err == ""


def test_memory_is_named_where_the_kernel_counts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    counter = tmp_path / "vmstat"
    counter.write_text("oom_kill 3\n")
    monkeypatch.setattr(host_memory, "VMSTAT", counter)
    memory = HostMemory()
    assert ended(-9, memory) == f"by signal 9 (SIGKILL: {SENT})" and ended(2, memory) == "with exit code 2"
    assert ended(-15, memory) == "by signal 15 (SIGTERM)" and ended(-64, memory).startswith("by signal 64 (")
    counter.write_text("oom_kill 4\n")
    assert ended(-9, memory) == f"by signal 9 (SIGKILL: {COUNTED})"
    assert ended(-15, memory) == "by signal 15 (SIGTERM)" and "memory" not in SENT


@pytest.mark.parametrize(("does", "said"), [("fail", "no room for it"), ("fail strangely", "StrangeError: no name in")])
def test_the_error_of_a_job_is_raised_when_those_under_way_are_done(does: str, said: str, tmp_path: Path) -> None:
    tasks = [
        (str(tmp_path), 0, does),
        (str(tmp_path), 1, "steady"),
        *[(str(tmp_path), n, "steady") for n in range(2, 9)],
    ]
    with pytest.raises(RuntimeError, match=said) as raised:
        list(run(obedient, tasks, ["", ""]))
    assert isinstance(raised.value, JobError) is (does == "fail")
    assert len(list(tmp_path.glob("*-steady"))) == 1


def test_leaving_early_ends_the_processes_at_once(tmp_path: Path) -> None:
    results = run(obedient, [(str(tmp_path), 0, ""), (str(tmp_path), 1, "hang")], ["", ""])
    assert next(results) == 0
    while not list(tmp_path.glob("*-hang")):
        time.sleep(0.05)
    before = time.monotonic()
    cast(Generator[int], results).close()
    assert time.monotonic() - before < 3 and multiprocessing.active_children() == []


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
    assert len(workers) == 2
    if is_stopped:  # a run that somebody stops goes on
        parent.send_signal(signal.SIGSTOP)
        time.sleep(PATIENCE_S + 3)
        parent.send_signal(signal.SIGCONT)
        assert {int(parent.stdout.readline()) for _ in range(8)} == workers
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
