"""Slurm executor: arrays make what one process makes. Jobs that fail or are interrupted end well.

No test has a real Slurm. The commands are those of `tests/fake_slurm.py`, which run the tasks as
real processes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builders import executors
from builders.executors import slurm
from builders.executors.build import build_sharded
from builders.recipe import Executor
from store import Plan, Store
from store.lock import STOPPED, coordinator
from tests import fake_slurm
from tests.tiny_recipes import read

PROJECT = Path(__file__).resolve().parents[2]
PLAN = Plan(table="snippet_occurrences", num_shards=5)
SETTINGS = {"kind": "slurm", "partition": "cpu", "time": "00:10:00", "poll_s": 0.1}


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """The folder of a cluster whose commands stand first on PATH."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{fake_slurm.install(folder)}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    return folder


def calls(store: Store) -> list[int]:
    folder = Path(f"{store.root}-calls")
    return sorted(int(p.name.split("-")[0]) for p in folder.iterdir()) if folder.exists() else []


def scratch(store: Store) -> list[Path]:
    return list(Path(store.scratch("slurm")).glob("*"))


def eventually(condition, seconds: float = 120.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


def test_an_array_makes_what_one_process_makes_while_the_controller_is_busy(cluster, tmp_path):
    alone, said = Store(tmp_path / "alone"), []
    shared = Store(tmp_path / "shared", said.append)
    build_sharded(alone, PLAN, "tests.sharded_rows:shard", Executor(workers=1))
    (cluster / "busy").write_text("once\ntwice")
    asked = Executor.model_validate(
        SETTINGS | {"shards_per_task": 3, "qos": "low", "workers": 2, "sbatch": {"constraint": "fast"}}
    )
    with coordinator(shared.root):
        build_sharded(shared, PLAN, "tests.sharded_rows:shard", asked)
    assert shared.record("snippet_occurrences").content == alone.record("snippet_occurrences").content
    assert read(shared, "snippet_occurrences") == read(alone, "snippet_occurrences")
    assert calls(shared) == [0, 1, 2, 3, 4]
    assert len({p.read_text() for p in Path(f"{shared.root}-calls").iterdir()}) == 2, "5 shards by 3 are 2 tasks"
    script = (cluster / "jobs" / "1" / "script").read_text()
    for line in ("array=0-1%2", "time=00:10:00", "qos=low", "constraint=fast", "mem-per-cpu=2G"):
        assert f"#SBATCH --{line}\n" in script
    assert "Slurm job 1, 2 tasks" in said[0] and "Slurm job 1: " in said[1]
    assert len(list((cluster / "jobs").iterdir())) == 1 and scratch(shared) == []


def test_a_failing_shard_ends_its_job_and_the_next_build_makes_the_rest(cluster, tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecret")
    Path(f"{store.root}-broken").touch()
    with (
        coordinator(store.root),
        pytest.raises(RuntimeError, match=r"Slurm job 1: ValueError: shard one is broken\nwhile building shard 1 of"),
    ):
        build_sharded(store, PLAN, "tests.sharded_rows:failing", Executor.model_validate(SETTINGS | {"workers": 1}))
    assert eventually(lambda: not {"PENDING", "RUNNING"} & set(fake_slurm.states(cluster)))
    assert "CANCELLED" in fake_slurm.states(cluster)
    missing = store.missing(PLAN)
    assert missing == [1, 2, 3, 4]
    [kept] = scratch(store)
    written = [p for p in kept.rglob("*") if p.is_file()]
    assert {"executor.pik", "executor.json", "launch_script.slurm"} <= {p.name for p in written}
    assert not [p for p in written if b"hf_secretsecret" in p.read_bytes()]
    os.unlink(f"{store.root}-broken")
    with coordinator(store.root):
        build_sharded(
            store, PLAN, "tests.sharded_rows:failing", Executor.model_validate(SETTINGS | {"shards_per_task": 4})
        )
    assert calls(store) == [0, 1, 2, 3, 4] and scratch(store) == []


def test_a_task_that_was_killed_is_named_with_what_to_do(cluster, tmp_path):
    store = Store(tmp_path / "store")
    Path(f"{store.root}-broken").touch()
    with (
        coordinator(store.root),
        pytest.raises(RuntimeError, match=r"1 OUT_OF_MEMORY.*again with a larger `executor\.mem_per_cpu_gb` to resume"),
    ):
        build_sharded(
            store, PLAN, "tests.sharded_rows:dying", Executor.model_validate(SETTINGS | {"shards_per_task": 3})
        )
    assert store.missing(PLAN) == [1, 2]


def test_what_the_controller_refuses_is_said(cluster, tmp_path, capfd):
    store = Store(tmp_path / "store")
    with coordinator(store.root), pytest.raises(RuntimeError, match=r"sbatch refused the job .* check partition, time"):
        build_sharded(
            store, PLAN, "tests.sharded_rows:shard", Executor.model_validate(SETTINGS | {"partition": "closed"})
        )
    assert "invalid partition specified: closed" in capfd.readouterr().err


def building(store: Path, cluster: Path) -> subprocess.Popen[bytes]:
    """A build in a process of its own that has tasks running and more in the queue."""
    program = (
        "import sys\n"
        "from builders.recipe import Executor\n"
        "from builders.executors.build import build_sharded\n"
        "from store import Plan, Store\n"
        "from store.lock import coordinator\n"
        "plan = Plan(table='snippet_occurrences', num_shards=5)\n"
        f"asked = Executor.model_validate({SETTINGS!r})\n"
        "with coordinator(sys.argv[1]):\n"
        "    build_sharded(Store(sys.argv[1]), plan, 'tests.sharded_rows:waiting', asked)\n"
    )
    Path(f"{store}-held").touch()
    process = subprocess.Popen([sys.executable, "-c", program, str(store)], cwd=PROJECT, stderr=subprocess.DEVNULL)
    assert eventually(lambda: len(calls(Store(store))) == 2), "no task began"
    assert sorted(fake_slurm.states(cluster)) == ["PENDING"] * 3 + ["RUNNING"] * 2
    return process


def test_an_interrupted_build_cancels_its_job(cluster, tmp_path):
    process = building(tmp_path / "store", cluster)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) != 0
    assert fake_slurm.states(cluster) == ["CANCELLED"] * 5
    assert not list((tmp_path / "store").glob("_runs/_scratch/shards-*/*.parquet"))


def test_tasks_of_a_killed_build_stop_and_the_next_build_cancels_the_rest(cluster, tmp_path):
    process = building(tmp_path / "store", cluster)
    process.kill()
    process.wait()
    assert eventually(
        lambda: len([p for p in (cluster / "jobs" / "1").glob("task-*") if p.read_text() == f"FAILED {STOPPED}"]) >= 2
    )
    store = Store(tmp_path / "store")
    assert not list((tmp_path / "store").glob("_runs/_scratch/shards-*/*.parquet"))
    os.unlink(f"{store.root}-held")
    with coordinator(store.root):
        build_sharded(
            store, PLAN, "tests.sharded_rows:waiting", Executor.model_validate(SETTINGS | {"shards_per_task": 5})
        )
    assert store.record("snippet_occurrences").rows == 10 and scratch(store) == []
    first = [p.read_text() for p in (cluster / "jobs" / "1").glob("task-*")]
    assert not [state for state in first if state.startswith(("PENDING", "RUNNING", "COMPLETED"))]


def test_arrays_stay_within_the_limit_of_the_cluster(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(
        slurm, "_submit", lambda executor: pytest.fail(f"{executor.tasks} tasks: {executor.pipeline[0].batches}")
    )
    store = Store(tmp_path / "store")
    asked = Executor.model_validate(SETTINGS | {"max_array_size": 2})
    with coordinator(store.root), pytest.raises(pytest.fail.Exception, match=r"2 tasks: \[\[0, 1, 2\], \[3, 4\]\]"):
        build_sharded(store, PLAN, "tests.sharded_rows:shard", asked)


def test_a_path_that_a_batch_script_cannot_name_is_refused(cluster, tmp_path):
    store = Store(tmp_path / "my store")
    with coordinator(store.root), pytest.raises(ValueError, match="use a store whose path has no blanks"):
        build_sharded(store, PLAN, "tests.sharded_rows:shard", Executor.model_validate(SETTINGS))


def test_what_this_machine_lacks_is_said_before_any_work(cluster, monkeypatch):
    asked = Executor.model_validate(SETTINGS)
    executors.check(asked)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    with pytest.raises(ValueError, match="this process is itself a task of a job array"):
        executors.check(asked)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ValueError, match="there is no sbatch, squeue, scancel here"):
        executors.check(asked)
