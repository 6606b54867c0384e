"""Tasks: worker processes make the rows that one process makes, and failures are named.

No worker outlives its coordinator.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builders.executors.build import build_sharded, num_workers
from builders.executors.work import function
from builders.recipe import Executor
from store import Plan, Store, lock
from store.lock import STOPPED, coordinator
from tests import sharded_rows
from tests.tiny_recipes import read

PROJECT = Path(__file__).resolve().parents[2]
PLAN = Plan(table="snippet_occurrences", num_shards=5)


def calls(store: Store) -> list[int]:
    """The shards that were computed, in the order of their numbers, once per computation."""
    folder = Path(f"{store.root}-calls")
    return sorted(int(p.name.split("-")[0]) for p in folder.iterdir()) if folder.exists() else []


def test_two_workers_make_what_one_process_makes(tmp_path):
    alone, shared = Store(tmp_path / "alone"), Store(tmp_path / "shared")
    build_sharded(alone, PLAN, "tests.sharded_rows:shard", Executor(workers=1))
    with coordinator(shared.root):
        build_sharded(shared, PLAN, "tests.sharded_rows:shard", Executor(workers=2))
    assert shared.record("snippet_occurrences").content == alone.record("snippet_occurrences").content
    rows = read(shared, "snippet_occurrences")
    assert [(r["snippet_id"], r["line"]) for r in rows] == [(f"s{n}", line) for n in range(5) for line in (1, 2)]
    assert calls(alone) == calls(shared) == [0, 1, 2, 3, 4]
    pids = {p.read_text() for p in Path(f"{shared.root}-calls").iterdir()}
    assert str(os.getpid()) not in pids and len(pids) <= 2


def test_a_failing_shard_is_named_and_the_next_call_makes_only_what_is_missing(tmp_path):
    store = Store(tmp_path / "store")
    broken = Path(f"{store.root}-broken")
    broken.touch()
    with coordinator(store.root), pytest.raises(ValueError, match="shard one is broken") as caught:
        build_sharded(store, PLAN, "tests.sharded_rows:failing", Executor(workers=2))
    assert f"while building shard 1 of snippet_occurrences in {store.root}" in caught.value.__notes__
    assert not store.is_complete("snippet_occurrences")
    missing, before = store.missing(PLAN), calls(store)
    assert 1 in missing
    broken.unlink()
    with coordinator(store.root):
        build_sharded(store, PLAN, "tests.sharded_rows:failing", Executor(workers=2))
    redone = list(calls(store))
    for index in before:
        redone.remove(index)
    assert redone == missing
    assert store.record("snippet_occurrences").rows == 10


def test_a_worker_that_is_killed_ends_the_build_instead_of_its_pool_waiting_for_ever(tmp_path):
    store = Store(tmp_path / "store")
    broken = Path(f"{store.root}-broken")
    broken.touch()
    with (
        coordinator(store.root),
        pytest.raises(RuntimeError, match=r"a worker process ended by signal 9 \(SIGKILL: som"),
    ):
        build_sharded(store, PLAN, "tests.sharded_rows:dying", Executor(workers=2))
    assert 1 in store.missing(PLAN) and not store.is_complete("snippet_occurrences")
    broken.unlink()
    build_sharded(store, PLAN, "tests.sharded_rows:dying", Executor(workers=1))
    assert store.record("snippet_occurrences").rows == 10


def test_one_process_names_its_failing_shard_and_keeps_those_before_it(tmp_path):
    store = Store(tmp_path / "store")
    broken = Path(f"{store.root}-broken")
    broken.touch()
    with pytest.raises(ValueError) as caught:
        build_sharded(store, PLAN, "tests.sharded_rows:failing", Executor(workers=1))
    assert caught.value.__notes__ == [f"while building shard 1 of snippet_occurrences in {store.root}"]
    assert (store.missing(PLAN), calls(store)) == ([1, 2, 3, 4], [0])
    broken.unlink()
    build_sharded(store, PLAN, "tests.sharded_rows:failing", Executor(workers=1))
    assert calls(store) == [0, 1, 2, 3, 4]


def test_building_again_computes_nothing(tmp_path):
    store = Store(tmp_path / "store")
    first = build_sharded(store, PLAN, "tests.sharded_rows:shard", Executor(workers=1))
    assert build_sharded(store, PLAN, "tests.sharded_rows:shard", Executor(workers=2)) == first
    assert calls(store) == [0, 1, 2, 3, 4]


def test_workers_without_a_coordinator_are_refused_at_once(tmp_path):
    """They would stop themselves, and the pool would wait for them for ever."""
    with pytest.raises(RuntimeError, match=r"workers need a coordinator: build in `with store\.lock\.coordinator"):
        build_sharded(Store(tmp_path / "store"), PLAN, "tests.sharded_rows:shard", Executor(workers=2))


def in_a_worker(program: str, *arguments: str) -> str:
    """What another process prints. A task ends its own process when its coordinator is gone."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_task_of_another_plan_writes_nothing(tmp_path):
    store = Store(tmp_path / "store")
    store.begin(PLAN)
    program = (
        "import sys; from builders.executors.work import Work, run_one; from store.lock import owner\n"
        "root, table = sys.argv[1], 'snippet_occurrences'\n"
        "try: run_one(Work(root, table, {}, 'another plan', 'tests.sharded_rows:shard', owner(root)), 0)\n"
        "except RuntimeError as error: print(error)"
    )
    with coordinator(store.root):
        said = in_a_worker(program, store.root)
    assert said == "snippet_occurrences: the plan changed while its tasks ran: run the same command again"
    assert (store.missing(PLAN), calls(store)) == ([0, 1, 2, 3, 4], [])


def test_a_task_of_another_coordinator_writes_nothing(tmp_path):
    """Such as one that waited in a queue while its coordinator died and the next one came."""
    store = Store(tmp_path / "store")
    store.begin(PLAN)
    program = (
        "import sys; from builders.executors.work import Work, run_one\n"
        "root, plan_id = sys.argv[1:]\n"
        "before = {'host': 'elsewhere', 'pid': '1', 'started': '1'}\n"
        "run_one(Work(root, 'snippet_occurrences', {}, plan_id, 'tests.sharded_rows:shard', before), 0)\n"
    )
    with coordinator(store.root):
        done = subprocess.run([sys.executable, "-c", program, store.root, PLAN.fingerprint], cwd=PROJECT)
    assert done.returncode == STOPPED
    assert (store.missing(PLAN), calls(store)) == ([0, 1, 2, 3, 4], [])


def test_rows_of_a_coordinator_that_lost_its_lock_meanwhile_are_not_written(tmp_path, monkeypatch):
    # This process is the coordinator. Its heart would see the loss, too, and end it.
    monkeypatch.setattr(lock, "HEARTBEAT_S", 600.0)
    store = Store(tmp_path / "store")
    store.begin(PLAN)
    program = (
        "import sys; from builders.executors import work; from store.lock import owner\n"
        "root, plan_id = sys.argv[1:]\n"
        "work.watch_coordinator = lambda task: None\n"  # the last look comes before the write
        "def lose(store, plan, index):\n"
        "    import pathlib; pathlib.Path(root, '_runs', 'lock.json').unlink(); return make(store, plan, index)\n"
        "make = work.function('tests.sharded_rows:shard'); work.function = lambda dotted: lose\n"
        "work.run_one(work.Work(root, 'snippet_occurrences', {}, plan_id, 'any', owner(root)), 0)\n"
    )
    with coordinator(store.root):
        done = subprocess.run([sys.executable, "-c", program, store.root, PLAN.fingerprint], cwd=PROJECT)
    assert done.returncode == STOPPED
    assert (store.missing(PLAN), calls(store)) == ([0, 1, 2, 3, 4], [0])


def test_a_task_that_is_given_out_again_makes_no_shard_twice(tmp_path):
    store = Store(tmp_path / "store")
    store.begin(PLAN)
    program = (
        "import sys; from builders.executors.work import Work, run_one; from store.lock import owner\n"
        "root, plan_id = sys.argv[1:]\n"
        "work = Work(root, 'snippet_occurrences', {}, plan_id, 'tests.sharded_rows:shard', owner(root))\n"
        "for n in (0, 1, 0): run_one(work, n)\n"
    )
    with coordinator(store.root):
        in_a_worker(program, store.root, PLAN.fingerprint)
    assert calls(store) == [0, 1]


def test_a_progress_bar_counts_the_shards_of_all_workers(tmp_path):
    seen: list[tuple[str, int]] = []

    def track(items, label):
        for item in items:
            yield item
            seen.append((label, item))

    store = Store(tmp_path / "store", track=track)
    store.begin(PLAN)
    store.write(PLAN, 4, sharded_rows.shard(store, PLAN, 4))
    with coordinator(store.root):
        build_sharded(store, PLAN, "tests.sharded_rows:slow", Executor(workers=2))
    assert seen == [("snippet_occurrences", n) for n in range(1, len(seen) + 1)] and seen, "4 were missing"


def test_the_executor_is_no_part_of_a_plan(tmp_path):
    """What one made is up to date for any other, and not a process or a cluster is asked."""
    store = Store(tmp_path / "store")
    build_sharded(store, PLAN, "tests.sharded_rows:shard", Executor(workers=1))
    for other in (Executor(workers=7), Executor(kind="ray"), Executor(kind="slurm", partition="cpu", time="01:00:00")):
        assert (
            build_sharded(store, PLAN, "tests.sharded_rows:shard", other).content
            == store.record("snippet_occurrences").content
        )
    assert calls(store) == [0, 1, 2, 3, 4]


def test_auto_is_one_worker_per_cpu_that_this_process_may_use():
    allowed = os.sched_getaffinity(0)
    assert 1 <= num_workers(Executor()) <= len(allowed)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert num_workers(Executor()) == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert num_workers(Executor(workers=5)) == 5


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kind": "slurm"}, "needs `partition` and `time`"),
        ({"partition": "cpu"}, "executor.partition is only for slurm, but executor.kind is 'local': leave it out"),
        ({"kind": "slurm", "partition": "cpu", "time": 36000}, "write it in quotes"),
        ({"kind": "slurm", "partition": "cpu\n#SBATCH --x", "time": "1:00"}, "match pattern"),
        ({"kind": "slurm", "partition": "cpu", "time": "1:00", "sbatch": {"x": "a\nrm"}}, "match pattern"),
        ({"kind": "ray", "address": "ray://head:10001"}, "ray:// addresses are not supported"),
        ({"workers": 0}, "at least 1"),
    ],
)
def test_settings_of_an_executor_that_do_not_fit_are_refused(settings, says):
    with pytest.raises(ValueError, match=says):
        Executor.model_validate(settings)


def test_a_worker_has_one_watching_thread_for_all_its_shards(tmp_path):
    store = Store(tmp_path / "store")
    store.begin(PLAN)
    program = (
        "import sys, threading; from builders.executors.work import Work, run_one; from store.lock import owner\n"
        "root, plan_id = sys.argv[1:]\n"
        "work = Work(root, 'snippet_occurrences', {}, plan_id, 'tests.sharded_rows:shard', owner(root))\n"
        "run_one(work, 0); first = threading.active_count()\n"
        "for n in range(1, 5): run_one(work, n)\n"
        "print(threading.active_count() - first)"
    )
    with coordinator(store.root):
        assert in_a_worker(program, store.root, PLAN.fingerprint) == "0"
    assert store.missing(PLAN) == []


def test_the_dotted_name_is_the_function():
    assert function("tests.sharded_rows:shard") is sharded_rows.shard


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


def test_workers_stop_when_their_coordinator_is_killed(tmp_path):
    root = tmp_path / "store"
    program = (
        "import sys\n"
        "from builders.recipe import Executor\n"
        "from builders.executors.build import build_sharded\n"
        "from store import Plan, Store\n"
        "from store.lock import coordinator\n"
        "plan = Plan(table='snippet_occurrences', num_shards=5)\n"
        "with coordinator(sys.argv[1]):\n"
        "    build_sharded(Store(sys.argv[1]), plan, 'tests.sharded_rows:sleeping', Executor(workers=2))\n"
    )
    folder = Path(f"{root}-calls")
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(root)], cwd=PROJECT, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:

        def both_began() -> bool:
            return folder.exists() and [bool(p.read_text()) for p in folder.iterdir()] == [True, True]

        assert eventually(both_began, 60), "no worker began"
        workers = [int(p.read_text()) for p in folder.iterdir()]
        assert len(set(workers)) == 2 and all(is_running(pid) for pid in workers)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        assert eventually(lambda: not any(is_running(pid) for pid in workers), 15), "workers outlive their coordinator"
        assert not list(root.glob("_runs/_scratch/shards-*/*.parquet"))
    finally:
        with contextlib.suppress(ProcessLookupError):
            # the group that this test started, should something be left of it
            os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
