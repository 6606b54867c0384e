"""Replicas of the transformers engine give the bytes that one gives, whoever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.engines import ChoiceRequest, Completion, Request, TransformersSettings, VllmSettings, open_engine
from builders.engines.answers import open_answers
from builders.engines.pooled import PooledEngine
from builders.engines.transformers import TransformersEngine
from tests.engine_models import save_adapter, save_model
from tests.replica_engines import is_alive, wait_until
from training import gpus

ROOT = Path(__file__).parents[2]
ONE = TransformersSettings(max_model_tokens=256, micro_batch=2, num_threads=1)
TWO = ONE.model_copy(update={"replicas": 2})
SHARDS = 6
ADAPTERS = (None, "a", "b")


def shard_of(shard: int) -> list[Request]:
    """As many requests as the engine sorts at a time, of different lengths, with all adapters."""
    return [
        Request(f"{shard}/{n}", prompt=f"def f{shard}_{n}(" + "x" * n, adapter=ADAPTERS[n % 3], max_tokens=24, seed=n)
        for n in range(ONE.rows_per_shard)
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> tuple[str, dict[str, str]]:
    folder = tmp_path_factory.mktemp("model")
    base = save_model(folder / "base")
    return base, {name: save_adapter(base, folder / name, seed) for seed, name in enumerate("ab")}


def asked(model, settings: TransformersSettings, folder: Path) -> Iterator[list[Completion]]:
    """The answers of each shard, as they are written."""
    with (
        open_engine(settings, *model) as engine,
        open_answers(folder, range(SHARDS), settings, engine.generate, shard_of, keeps_whole_shards=True) as answers,
    ):
        for shard in range(SHARDS):
            yield answers.of(shard, [r.request_id for r in shard_of(shard)])


@pytest.fixture(scope="module")
def expected(model, tmp_path_factory) -> list[list[Completion]]:
    return list(asked(model, ONE, tmp_path_factory.mktemp("expected")))


@pytest.mark.drill
def test_a_killed_replica_changes_no_byte(model, expected, tmp_path: Path) -> None:
    with (
        open_engine(TWO, *model) as engine,
        open_answers(tmp_path, range(SHARDS), TWO, engine.generate, shard_of) as answers,
    ):
        assert isinstance(engine, PooledEngine)
        found = []
        for shard in range(SHARDS):
            if shard == 1:
                process = max(engine._members, key=lambda replica: replica.load).process
                assert process is not None
                os.kill(process.pid, signal.SIGKILL)
            found.append(answers.of(shard, [r.request_id for r in shard_of(shard)]))
        questions = (({"role": "user", "content": "How clear?"},), ({"role": "user", "content": "How right?"},))
        chosen = {c.request_id: c for c in engine.choose([ChoiceRequest(str(n), questions) for n in range(9)])}
    assert found == expected
    with open_engine(ONE, *model) as engine:
        assert isinstance(engine, TransformersEngine), "one replica without a GPU stays in this process"
        assert chosen == {c.request_id: c for c in engine.choose([ChoiceRequest(str(n), questions) for n in range(9)])}


KILLED = """
import sys
from pathlib import Path
from tests.engines.test_transformers_replicas import TWO, asked

if __name__ == "__main__":
    base, a, b, folder = sys.argv[1:]
    for shard in asked((base, {"a": a, "b": b}), TWO, Path(folder)):
        print("a shard", flush=True)
"""


@pytest.mark.drill
def test_a_killed_coordinator_changes_no_byte(model, expected, tmp_path: Path) -> None:
    base, adapters = model
    command = [sys.executable, "-c", KILLED, base, *adapters.values(), str(tmp_path / "journal")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    coordinator = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, cwd=ROOT)
    assert coordinator.stdout is not None and coordinator.stdout.readline()
    children = Path(f"/proc/{coordinator.pid}/task")
    found = [int(pid) for file in children.glob("*/children") for pid in file.read_text().split()]
    coordinator.kill()
    coordinator.wait()
    coordinator.stdout.close()
    assert len(found) == 2
    wait_until(lambda: not any(map(is_alive, found)), 5)
    assert list(asked(model, TWO, tmp_path / "journal")) == expected


@pytest.mark.drill
def test_every_gpu_gets_a_process_that_sees_only_it(model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.SIMULATED, "2")
    with open_engine(ONE, *model) as engine:
        assert isinstance(engine, PooledEngine)
        engine.wait_for_all()
        seen = [Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") for pid in engine.sessions]
    assert [[word for word in words if word.startswith(b"CUDA_V")] for words in seen] == [
        [b"CUDA_VISIBLE_DEVICES=0"],
        [b"CUDA_VISIBLE_DEVICES=1"],
    ]


def test_settings_of_another_number_of_replicas_resume_a_plan() -> None:
    assert TWO.identity() == ONE.identity() and VllmSettings(replicas=3).identity() == VllmSettings().identity()
