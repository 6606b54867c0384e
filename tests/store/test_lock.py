"""One coordinator per store: a second one is refused, a dead one replaced; workers end with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from store import ContractError
from store.lock import STALE_S, STOPPED, coordinator, coordinator_alive

ROOT = Path(__file__).parents[2]
HOLD = "import sys, time; from store.lock import coordinator\nwith coordinator(sys.argv[1]): print('held', flush=True); time.sleep(60)"
WORK = (
    "import sys, time; from store.lock import stop_with_coordinator\n"
    "stop_with_coordinator(sys.argv[1]); print('works', flush=True); time.sleep(60)"
)


def started(code: str, store: Path) -> subprocess.Popen[str]:
    """A process that runs `code` and has printed its first line."""
    process = subprocess.Popen([sys.executable, "-c", code, str(store)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() in ("held\n", "works\n")
    return process


def stop(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=10)


def lock_of(store: Path) -> Path:
    return store / "_runs" / "lock.json"


def written(store: Path, **owner: str) -> Path:
    """A lock file with some owner."""
    path = lock_of(store)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"host": socket.gethostname(), "pid": str(os.getpid()), "started": "1"} | owner))
    return path


def test_a_block_owns_the_store_and_gives_it_back(tmp_path: Path) -> None:
    assert not coordinator_alive(tmp_path)
    with coordinator(tmp_path):
        assert coordinator_alive(tmp_path)
    assert not coordinator_alive(tmp_path)
    assert not lock_of(tmp_path).exists()
    with pytest.raises(RuntimeError, match="inside"), coordinator(tmp_path):
        raise RuntimeError("inside")
    assert not lock_of(tmp_path).exists()


def test_a_second_coordinator_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    owner = started(HOLD, tmp_path)
    try:
        with (
            pytest.raises(ContractError, match=rf"is in use by process {owner.pid} on {socket.gethostname()}"),
            coordinator(tmp_path),
        ):
            pytest.fail("two coordinators")
        assert coordinator_alive(tmp_path), "the refused one must not take the owner's lock along"
    finally:
        stop(owner)


def test_a_killed_owner_is_found_dead_and_its_lock_taken_over(tmp_path: Path) -> None:
    owner = started(HOLD, tmp_path)
    os.kill(owner.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while coordinator_alive(tmp_path):  # killed and not waited for: a zombie counts as dead
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert lock_of(tmp_path).exists()
    with coordinator(tmp_path):
        assert json.loads(lock_of(tmp_path).read_text())["pid"] == str(os.getpid())
    stop(owner)


def test_a_process_that_reuses_the_pid_is_not_the_owner(tmp_path: Path) -> None:
    written(tmp_path, started="12")  # our own pid, but started long before us
    assert not coordinator_alive(tmp_path)
    with coordinator(tmp_path):
        assert coordinator_alive(tmp_path)


def test_an_owner_on_another_host_lives_by_its_heartbeat(tmp_path: Path) -> None:
    path = written(tmp_path, host="elsewhere")
    with pytest.raises(ContractError, match="on elsewhere"), coordinator(tmp_path):
        pytest.fail("two coordinators")
    os.utime(path, (time.time() - STALE_S - 1,) * 2)
    assert not coordinator_alive(tmp_path)
    with coordinator(tmp_path):
        assert coordinator_alive(tmp_path)


DAMAGED = {
    "half": b'{"host": "a',
    "nothing": b"",
    "zeros": b"\0" * 60,
    "no text": b"\xff\xfe\x00{",
    "a list": b"[1, 2]",
    "a word": b'"host"',
    "without a host": b'{"pid": "1", "started": "2"}',
    "a number": b'{"host": "a", "pid": 7, "started": "2"}',
    "no process": b'{"host": "a", "pid": "seven", "started": "2"}',
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_lock_names_its_file_and_blocks_only_until_it_is_stale(tmp_path: Path, data: bytes) -> None:
    path = written(tmp_path)
    path.write_bytes(data)
    assert coordinator_alive(tmp_path)
    with pytest.raises(ContractError, match=r"_runs/lock\.json is damaged.* remove it, or wait"), coordinator(tmp_path):
        pytest.fail("two coordinators")
    assert path.read_bytes() == data
    os.utime(path, (time.time() - STALE_S - 1,) * 2)
    assert not coordinator_alive(tmp_path)
    with coordinator(tmp_path):
        assert coordinator_alive(tmp_path)
    assert [p.name for p in path.parent.iterdir()] == ["lock.guard"]


def test_a_lock_that_somebody_else_took_is_not_removed(tmp_path: Path) -> None:
    with coordinator(tmp_path):
        path = written(tmp_path, host="elsewhere")
    assert path.exists()


def test_of_several_finders_of_a_dead_lock_one_takes_it(tmp_path: Path) -> None:
    context = get_context("fork")
    barrier, twice = context.Barrier(4), context.Value("i", 0)

    def find() -> None:
        for number in range(150):
            store = tmp_path / str(number)
            barrier.wait(timeout=20)
            try:
                with coordinator(store):
                    try:
                        (store / "held").touch(exist_ok=False)
                    except FileExistsError:
                        twice.value += 1
                    time.sleep(0.003)
                    (store / "held").unlink(missing_ok=True)
            except ContractError:
                continue

    for number in range(150):
        written(tmp_path / str(number), pid="999999999")
    finders = [context.Process(target=find) for _ in range(4)]
    for finder in finders:
        finder.start()
    for finder in finders:
        finder.join()
    assert [f.exitcode for f in finders] == [0, 0, 0, 0]
    assert twice.value == 0


def test_a_worker_stops_within_seconds_of_its_coordinator(tmp_path: Path) -> None:
    owner = started(HOLD, tmp_path)
    worker = started(WORK, tmp_path)
    try:
        time.sleep(0.3)
        assert worker.poll() is None, "a worker lives while its coordinator does"
        stop(owner)
        assert worker.wait(timeout=5) == 75
    finally:
        stop(owner)
        stop(worker)


def test_a_worker_without_a_coordinator_does_not_start_work(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WORK, str(tmp_path)], cwd=ROOT, capture_output=True, timeout=20)
    assert done.returncode == 75


def test_a_coordinator_that_lost_its_lock_ends_at_once(tmp_path: Path) -> None:
    owner = started(f"import store.lock; store.lock.HEARTBEAT_S = 0.1; {HOLD}", tmp_path)
    try:
        time.sleep(0.3)
        assert owner.poll() is None
        written(tmp_path, host="elsewhere")
        assert owner.wait(timeout=10) == STOPPED
        assert json.loads(lock_of(tmp_path).read_text())["host"] == "elsewhere"
    finally:
        stop(owner)


def test_a_wrong_clock_does_not_bury_a_living_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, host="elsewhere")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 10 * STALE_S)
    with pytest.raises(ContractError, match="on elsewhere"), coordinator(tmp_path):
        pytest.fail("two coordinators")


def test_a_worker_on_another_host_lives_by_a_heartbeat_that_moves_whatever_its_clock_says(tmp_path: Path) -> None:
    path = written(tmp_path, host="elsewhere")
    worker = started(f"import store.lock; store.lock.STALE_S = 2; {WORK}", tmp_path)
    try:
        for beat in range(5):
            os.utime(path, (beat, beat))  # long ago, by the clock here
            time.sleep(0.5)
        assert worker.poll() is None
        assert worker.wait(timeout=15) == STOPPED
    finally:
        stop(worker)


def test_a_worker_does_not_serve_the_next_coordinator(tmp_path: Path) -> None:
    path = written(tmp_path, host="elsewhere")
    worker = started(WORK, tmp_path)
    try:
        time.sleep(0.3)
        assert worker.poll() is None
        successor = path.with_name("next")
        successor.write_text(json.dumps({"host": "elsewhere", "pid": "1", "started": "2"}))
        successor.replace(path)
        assert worker.wait(timeout=15) == STOPPED
    finally:
        stop(worker)
