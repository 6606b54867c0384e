"""Ray executor: two nodes make what one process makes, also when one of them is lost."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from builders.executors import ray as executor
from builders.executors.build import build_sharded
from builders.recipe import Executor
from store import Plan, Store
from store.lock import coordinator

ray = pytest.importorskip("ray", reason="Ray is an extra: pip install 'scoder[ray]'")

PROJECT = Path(__file__).resolve().parents[2]
PLAN = Plan(table="snippet_occurrences", num_shards=8)
NODE = {"num_cpus": 1, "memory": 2**30, "object_store_memory": 80 * 2**20}


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes of one CPU each that notice a loss soon. All their processes end with the test."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    started = Cluster(initialize_head=True, head_node_args=NODE | {"include_dashboard": False, "_system_config": soon})
    try:
        started.add_node(**NODE)
        yield started
    finally:
        ray.shutdown()
        started.shutdown()


def settings(cluster, **more) -> Executor:
    return Executor.model_validate({"kind": "ray", "address": cluster.address, "mem_per_cpu_gb": 1} | more)


def nodes(store: Store) -> Counter[str]:
    """How many shards were begun on each node."""
    return Counter(path.name.split("-")[1] for path in Path(f"{store.root}-nodes").glob("*"))


def lose(cluster, store: Store, lost: list[int]) -> None:
    """Kill the second node in the middle of its second shard. `lost` gets the processes there."""
    node = cluster.worker_nodes.copy().pop()
    for _ in range(3000):
        pids = [path.read_text() for path in Path(f"{store.root}-nodes").glob(f"*-{node.node_id}")]
        if len(pids) == 2 and all(pids):
            lost.extend(map(int, pids))
            cluster.remove_node(node, allow_graceful=False)
            break
        time.sleep(0.02)
    Path(f"{store.root}-held-{cluster.head_node.node_id}").unlink()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
def test_two_nodes_make_what_one_process_makes_and_one_of_them_may_be_lost(cluster, tmp_path):
    """Slow: Ray starts some ten processes, and takes seconds to notice that a node is gone."""
    alone, shared, broken = Store(tmp_path / "alone"), Store(tmp_path / "shared"), Store(tmp_path / "broken")
    content = build_sharded(alone, PLAN, "tests.sharded_rows:shard", Executor(workers=1)).content
    with coordinator(broken.root):
        with pytest.raises(
            ValueError, match=r"a task needs 4 CPUs and 4 GiB, and no node of the cluster has that \(they have 1 CPUs"
        ):
            build_sharded(broken, PLAN, "tests.sharded_rows:shard", settings(cluster, cpus_per_task=4))
        assert executor.capacity(settings(cluster)) == 2

        Path(f"{broken.root}-broken").touch()
        with pytest.raises(ValueError, match=r"^shard one is broken") as caught:
            build_sharded(broken, PLAN, "tests.sharded_rows:failing", settings(cluster))
        assert f"while building shard 1 of snippet_occurrences in {broken.root}" in caught.value.__notes__
        with pytest.raises(RuntimeError, match=r"a Ray worker was lost more than 0 times .* executor\.mem_per_cpu_gb"):
            build_sharded(broken, PLAN, "tests.sharded_rows:dying", settings(cluster, retries=0))
        assert broken.missing(PLAN) and not broken.is_complete("snippet_occurrences")
        os.unlink(f"{broken.root}-broken")
        assert build_sharded(broken, PLAN, "tests.sharded_rows:shard", settings(cluster)).content == content

    second = cluster.worker_nodes.copy().pop().node_id
    for node in (cluster.head_node.node_id, second):
        Path(f"{shared.root}-held-{node}").touch()
    lost = list[int]()
    killer = threading.Thread(target=lose, args=(cluster, shared, lost))
    with coordinator(shared.root):
        killer.start()
        assert build_sharded(shared, PLAN, "tests.sharded_rows:placed", settings(cluster)).content == content
    killer.join()
    assert nodes(shared) == {cluster.head_node.node_id: PLAN.num_shards - 1, second: 2}, "one shard was given out again"
    assert not any(map(is_running, lost)), "the workers of a lost node go with it"


def test_an_address_where_no_cluster_is_says_how_to_start_one(tmp_path):
    store = Store(tmp_path / "store")
    with (
        coordinator(store.root),
        pytest.raises(ValueError, match=r"no Ray cluster at '127\.0\.0\.1:1'\. Start one with `ray"),
    ):
        build_sharded(store, PLAN, "tests.sharded_rows:shard", Executor(kind="ray", address="127.0.0.1:1"))
