"""Tasks with GPUs on a real Ray: jobs and replicas, one killed in the middle."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from builders.engines.places import Place
from builders.engines.pooled import PooledEngine
from builders.engines.replica_tasks import OnNodes
from builders.executors import gpu_jobs, gpu_tasks
from builders.executors.gpu_tasks import Cluster, Tasks
from builders.recipe import Executor
from store.errors import InputError, JobError
from store.lock import coordinator
from tests.engines.test_pooled import check, processes, requests
from tests.executors.test_gpu_tasks import GPU, processes_with
from tests.gpu_job import Report, measure
from tests.replica_engines import is_alive, job, notes, wait_until

ray = pytest.importorskip("ray", reason="Ray is an extra: pip install 'scoder[ray]'")

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def address(monkeypatch):
    """One node of four CPUs that says it has two GPUs."""
    from ray.cluster_utils import Cluster as Nodes

    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setattr(gpu_tasks, "LAG_S", 0.5)
    node = {"num_cpus": 4, "num_gpus": 2, "memory": 4 * 2**30, "object_store_memory": 80 * 2**20}
    started = Nodes(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    try:
        yield started.address
    finally:
        ray.shutdown()
        started.shutdown()


@pytest.mark.drill
def test_jobs_and_replicas_on_ray(address, tmp_path, capfd):
    """Slow: Ray starts some ten processes."""
    gpu = GPU | {"cpus_per_gpu": 1, "mem_per_gpu_gb": 1}
    executor = Executor.model_validate({"kind": "ray", "address": address, "gpu": gpu})
    said: list[str] = []
    cluster = Cluster(str(tmp_path / "store"), executor, said.append)
    with coordinator(cluster.root):
        with Tasks(cluster, "test") as tasks:
            with pytest.raises(InputError, match=r"a task needs 3 GPUs, 3 CPUs and 3 GiB, and no node .* has that"):
                tasks.start("large", ["-c", "pass"], 3)
            one = tasks.start("one", ["-c", "import os; print('GPU', os.environ['CUDA_VISIBLE_DEVICES'])"], 2)
            wait_until(one.has_ended)
            assert one.code == 0 and one.tail() == "GPU 0,1"
            long = tasks.start("long", ["-c", "import time; time.sleep(600)"], 1)
            wait_until(lambda: bool(processes_with(str(long.folder))))
            long.has_ended()
            assert not long.is_waiting
            found = processes_with(str(long.folder))
        wait_until(lambda: not any(map(is_alive, found)), 10)

        jobs = [(str(tmp_path), number, "die once" if number == 4 else "") for number in range(6)]
        done = list(gpu_jobs.run(measure, jobs, 1, cluster))
        assert sorted(done, key=lambda r: r.number) == [Report(number=n, square=n * n) for n in range(6)]
        assert [line for line in said if "was lost, and is started again" in line]
        with pytest.raises(JobError, match=r"^no memory for 1: use less$"):
            list(gpu_jobs.run(measure, [(str(tmp_path), 1, "fail")], 1, cluster))

        asked = requests(300, {150: "kill once"} | dict.fromkeys(range(150), "sleep 0.01"))
        model = tmp_path / "model"
        with PooledEngine(job(model), [Place(num_gpus=1)] * 2, ground=OnNodes(cluster)) as engine:
            engine.wait_for_all()
            assert sorted(gpu for _, gpu in notes(model / "opened")) == ["0", "1"]
            check(list(engine.generate(asked)), asked)
            wait_until(lambda: len(processes(model)) == 3)
            # A worker of Ray that is lost is told as such, and its replica ends with it.
            first = next(pid for pid in processes(model)[::-1] if is_alive(pid))
            node_of = int(Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[1])
            worker = int(Path(f"/proc/{node_of}/stat").read_text().rpartition(")")[2].split()[1])
            os.kill(worker, signal.SIGKILL)
            wait_until(lambda: not is_alive(first) and len(processes(model)) == 4, 40)
            engine.wait_for_all()
            check(list(engine.generate(requests(50))), requests(50))
        times = Counter(name for _, name in notes(model / "asked") if name == "r150")
        assert times["r150"] == 2
        assert not any(map(is_alive, processes(model)))
    assert "died and is started again" in capfd.readouterr().err
