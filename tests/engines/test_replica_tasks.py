"""Replicas as tasks of a cluster: they come over the network, and each request is answered once.

The cluster is the Slurm of one machine of `tests/fake_slurm.py`. The engines are those of
`tests/replica_engines.py`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from multiprocessing.connection import Client
from pathlib import Path

import pytest

from builders.engines import dispatch
from builders.engines.places import Place, on_nodes
from builders.engines.pooled import PooledEngine
from builders.engines.replica_tasks import OnNodes
from builders.engines.settings import TransformersSettings, VllmSettings
from builders.executors import gpu_tasks
from builders.executors.gpu_tasks import Cluster
from builders.recipe import Executor
from store.errors import InputError, JobError
from store.lock import coordinator
from tests import fake_slurm
from tests.engines.test_pooled import check, processes, requests
from tests.executors.test_gpu_tasks import GPU, SLURM
from tests.replica_engines import is_alive, job, notes, wait_until

ROOT = Path(__file__).parents[2]
NODES = [Place(num_gpus=1)] * 2


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "slurm"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{fake_slurm.install(folder)}:{os.environ['PATH']}")
    monkeypatch.setattr(gpu_tasks, "LAG_S", 0.5)
    return folder


@pytest.fixture
def ground(slurm, tmp_path):
    cluster = Cluster(str(tmp_path / "store"), Executor.model_validate(SLURM))
    with coordinator(cluster.root):
        yield OnNodes(cluster)


def scripts(slurm: Path) -> list[str]:
    return [path.read_text() for path in sorted(slurm.glob("jobs/*/script"))]


def test_each_replica_is_a_task_with_its_gpus() -> None:
    gpu = Executor.model_validate(SLURM).gpu
    assert gpu is not None
    assert on_nodes(VllmSettings(tensor_parallel=4), gpu) == [Place(num_gpus=4)] * 2
    assert on_nodes(TransformersSettings(replicas=3), gpu) == [Place(num_gpus=1)] * 3


def test_two_replicas_answer_and_one_that_is_killed_is_submitted_again(ground, slurm, tmp_path, capfd) -> None:
    asked = requests(300, {150: "kill once"} | dict.fromkeys(range(150), "sleep 0.01"))
    with PooledEngine(job(tmp_path / "model"), NODES, ground=ground) as engine:
        engine.wait_for_all()
        keys = list(engine.folder.glob("start-*.json"))
        assert len(keys) == 2 and all(path.stat().st_mode & 0o777 == 0o600 for path in keys)
        secret = [path.read_text().partition('"key": "')[2][:64] for path in keys]
        check(list(engine.generate(asked)), asked)
        wait_until(lambda: len(processes(tmp_path / "model")) == 3)
    times = Counter(name for _, name in notes(tmp_path / "model" / "asked"))
    twice = [name for name, number in times.items() if number == 2]
    assert 0 < len(twice) <= 8 and max(times.values()) == 2 and "r150" in twice
    told = capfd.readouterr().err
    assert "on a node with 1 GPU died and is started again" in told and "signal 9 (SIGKILL)" in told
    assert len(scripts(slurm)) == 3 and not any(key in script for key in secret for script in scripts(slurm))
    assert not list(engine.folder.glob("start-*")) and list(engine.folder.glob("*/log")), "only logs are kept"
    assert not any(map(is_alive, processes(tmp_path / "model")))


def test_the_run_begins_with_the_first_replica_and_the_queue_is_no_death(ground, slurm, tmp_path) -> None:
    asked = requests(200)
    (slurm / "held").write_text("1")
    with PooledEngine(job(tmp_path / "model"), NODES, ground=ground) as engine:
        wait_until(lambda: fake_slurm.states(slurm) == ["RUNNING", "PENDING"])
        # Nothing is kept for the one that waits.
        wait_until(lambda: engine._dispatch.most() == dispatch.PROMPTS_AT_A_REPLICA)
        check(list(engine.generate(asked)), asked)
        assert len(processes(tmp_path / "model")) == 1
        assert fake_slurm.states(slurm) == ["RUNNING", "PENDING"]
        (slurm / "held").unlink()
        engine.wait_for_all()
        assert len(processes(tmp_path / "model")) == 2 and len(scripts(slurm)) == 2


def test_who_has_no_key_is_sent_away_and_keeps_nobody_out(ground, tmp_path) -> None:
    with PooledEngine(job(tmp_path / "model"), NODES, ground=ground) as engine:
        port = engine._address[1]
        silent = socket.create_connection(("127.0.0.1", port))
        rude = socket.create_connection(("127.0.0.1", port))
        rude.sendall(b"\0\0\0\x20" + b"x" * 32)
        start = json.loads(next(engine.folder.glob("start-replica-0-*.json")).read_text())
        with Client(("127.0.0.1", port), authkey=bytes.fromhex(start["key"])) as old:
            old.send((0, 99))  # a replica that was lost, and came back when another had its place
            with pytest.raises(EOFError):
                old.recv()
        asked = requests(100, {50: "kill once"})
        check(list(engine.generate(asked)), asked)
        engine.wait_for_all()
        silent.close()
        rude.close()


def test_an_engine_that_cannot_be_opened_says_why(ground, tmp_path) -> None:
    with pytest.raises(InputError, match=r"^there is no such model: name another one$"):
        PooledEngine(job(tmp_path / "model", opens="open_never"), NODES, ground=ground)
    other = OnNodes(ground._cluster)
    with pytest.raises(JobError, match=r"(?s)died 3 times.*exit code 7.*no memory is left on this GPU"):
        PooledEngine(job(tmp_path / "dead", opens="open_dead"), NODES[:1], ground=other)


def test_a_host_that_nodes_cannot_reach_is_named(slurm, tmp_path) -> None:
    gpu = GPU | {"host": "nowhere.invalid"}
    cluster = Cluster(str(tmp_path / "store"), Executor.model_validate(SLURM | {"gpu": gpu}))
    with (
        coordinator(cluster.root),
        pytest.raises(JobError, match=r"(?s)cannot reach its coordinator at \('nowhere.invalid'.*executor\.gpu\.host"),
    ):
        PooledEngine(job(tmp_path / "model"), NODES[:1], ground=OnNodes(cluster))


ASKING = """
import sys
from multiprocessing.connection import Client
from pathlib import Path
from builders.engines.pooled import PooledEngine
from builders.engines.replica_tasks import OnNodes
from builders.executors.gpu_tasks import Cluster
from builders.recipe import Executor
from store.lock import coordinator
from tests.engines.test_pooled import requests
from tests.engines.test_replica_tasks import NODES
from tests.executors.test_gpu_tasks import SLURM
from tests.replica_engines import job

root, model = sys.argv[1:]
with coordinator(root):
    ground = OnNodes(Cluster(root, Executor.model_validate(SLURM)))
    with PooledEngine(job(Path(model)), NODES, ground=ground) as engine:
        list(engine.generate(requests(10_000, {n: "sleep 0.01" for n in range(10_000)})))
"""


def test_nothing_is_left_when_the_coordinator_is_killed(slurm, tmp_path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "has_child").touch()
    run = [sys.executable, "-c", ASKING, str(tmp_path / "store"), str(model)]
    process = subprocess.Popen(run, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    wait_until(lambda: len(processes(model)) == 4 and len(notes(model / "asked")) > 50, 120)
    found = processes(model)
    assert all(map(is_alive, found))
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: not any(map(is_alive, found)), 20)
    wait_until(lambda: not {"RUNNING", "PENDING"} & set(fake_slurm.states(slurm)), 10)
