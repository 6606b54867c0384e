"""A run that is under way, looked at from outside: how far, how fast, how long still."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from commands.watching import Watcher
from store import CONTRACTS, Plan, Store
from store.lock import coordinator
from training import train_log
from training.gpus import in_use
from training.train_log import StepRecord


def step(number: int, loss: float = 0.5) -> StepRecord:
    return StepRecord(
        step=number,
        num_steps=60,
        loss=loss,
        learning_rate=1e-4,
        gradient_norm=0.7,
        num_tokens=3000 * number,
        tokens_per_second=5230.4,
        gpu_memory_gb=41.2,
        seconds=5.9,
        num_processes=4,
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_training_is_told_by_its_last_step(store: Store) -> None:
    plan = Plan(table="checkpoints", partition={"role": "coder"}, num_shards=1)
    store.begin(plan)
    folder = Path(store.root, "_models", f".coder-{plan.fingerprint[:8]}.partial")
    folder.mkdir(parents=True)
    train_log.append(folder, step(4))
    with coordinator(store.root):
        watcher = Watcher(store.root)
        assert watcher.look().builds[0].text == (
            "checkpoints/role-coder: 4 of 60 steps, loss 0.500, 5,230 tokens/s, on 4 GPUs, 41.2 GB each"
        )
        time.sleep(0.05)
        for number in (5, 6):
            train_log.append(folder, step(number, 0.25))
        (build,) = watcher.look().builds
    assert (build.done, build.total, build.unit) == (6, 60, "steps")
    assert build.rate is not None and build.seconds_left == pytest.approx(54 / build.rate)
    assert build.text.startswith("checkpoints/role-coder: 6 of 60 steps, ")
    assert build.text.endswith(" left, loss 0.250, 5,230 tokens/s, on 4 GPUs, 41.2 GB each")
    folder.rename(folder.with_name(folder.name.removeprefix(".").removesuffix(".partial")))
    (build,) = Watcher(store.root).look().builds
    assert (build.done, build.total) == (6, 60), "a training that has just ended has its steps still"


def test_a_training_without_a_step_counts_no_shards(store: Store) -> None:
    store.begin(Plan(table="checkpoints", partition={"role": "coder"}, num_shards=1))
    with coordinator(store.root):
        (build,) = Watcher(store.root).look().builds
    assert build.text == "checkpoints/role-coder: no step yet"
    assert (build.done, build.total, build.unit) == (0, None, "steps")


@pytest.mark.parametrize(
    ("processes", "memory", "where"),
    [
        (1, None, "1 process on the CPU"),
        (2, None, "2 processes on the CPU"),
        (1, 41.2, "on 1 GPU, 41.2 GB"),
        (8, 41.2, "on 8 GPUs, 41.2 GB each"),
    ],
)
def test_a_step_says_how_many_train(processes: int, memory: float | None, where: str) -> None:
    record = step(4).model_copy(update={"num_processes": processes, "gpu_memory_gb": memory})
    assert record.text() == f"loss 0.500, 5,230 tokens/s, {where}"


def test_answers_are_counted_and_their_number_is_known_after_the_first_shard(store: Store) -> None:
    plan = Plan(table="candidates", partition={"iteration": 1}, num_shards=3)
    store.begin(plan)
    journal = Path(store.scratch(f"journal-candidates-{plan.fingerprint}"))
    journal.mkdir(parents=True)
    (journal / "shard-00000.jsonl").write_text("{}\n" * 20)
    (journal / "shard-00001.jsonl").write_text("{}\n" * 7 + "{half")
    (build,) = Watcher(store.root).look().builds
    assert (build.done, build.total, build.unit) == (27, None, "answers")
    store.write(plan, 0, CONTRACTS["candidates"].schema.empty_table())
    (build,) = Watcher(store.root).look().builds
    assert (build.done, build.total) == (27, 60)


def test_shards_are_counted_where_no_model_is_asked(store: Store) -> None:
    plan = Plan(table="snippet_checks", num_shards=4)
    store.begin(plan)
    store.write(plan, 2, CONTRACTS["snippet_checks"].schema.empty_table())
    look = Watcher(store.root).look()
    assert [b.text for b in look.builds] == ["snippet_checks: 1 of 4 shards"]
    assert not look.is_running
    assert look.lines()[:2] == [
        "no run is under way in this store",
        "snippet_checks: 1 of 4 shards; it is not finished: run the same command to go on",
    ]


def test_the_memory_of_gpus_is_that_of_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '0, NVIDIA H100 80GB HBM3, 58300, 81559, 97'\necho '1, X, [N/A], 1000, [N/A]'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    first, second = in_use()
    assert first.text() == "GPU 0 (NVIDIA H100 80GB HBM3): 61.1 of 85.5 GB, 97% busy"
    assert (second.used_gb, second.busy_percent) == (0.0, 0.0)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert in_use() == []


def test_the_command_looks_until_the_run_ends(store: Store) -> None:
    plan = Plan(table="snippet_checks", num_shards=4)
    store.begin(plan)
    with coordinator(store.root):
        watching = subprocess.Popen(
            [sys.executable, "-m", "commands", "status", "--watch", "--every", "0.2", "--json", "--store", store.root],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        assert first["is_running"] and first["builds"][0]["total"] == 4
    rest = [json.loads(line) for line in watching.stdout]
    assert watching.wait(30) == 0 and not rest[-1]["is_running"]
