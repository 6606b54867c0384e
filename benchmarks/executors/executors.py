"""What a shard costs apart from its rows: shards per second of each executor, with shards of two
rows.

    python benchmarks/executors/executors.py --shards 200 --rounds 3
    python benchmarks/executors/executors.py --only local        # no Ray cluster

Compared are: this process alone; two local processes; a Ray cluster of two nodes with one CPU each
on this machine (pip install 'scoder[ray]'); and datatrove's own executors with the same step.

Rounds run in turn, and the median is given. `first` is the first build of the process, which also
starts its workers. The later builds find the workers ready, or a server that forks them. Every
build also syncs each file to the disk, which limits all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from datatrove.executor import LocalPipelineExecutor, RayPipelineExecutor
from datatrove.pipeline.base import PipelineStep

from builders.executors.build import build_sharded
from builders.executors.slurm import ShardStep
from builders.executors.work import Work
from builders.recipe import Executor
from store import Plan, Store
from store.lock import coordinator, owner

DOTTED = "tests.sharded_rows:shard"
Build = Callable[[Store, Plan], None]


def main() -> None:
    """Time every executor on the same shards, round by round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--peer-shards", type=int, default=4, help="for datatrove's own Ray executor: seconds per shard"
    )
    parser.add_argument("--only", choices=("local",), help="leave Ray out")
    options = parser.parse_args()
    os.environ |= {"PYTHONPATH": sys.path[0], "RAY_USAGE_STATS_ENABLED": "0"}  # for the workers
    with contextlib.ExitStack() as stack:
        address = None if options.only else stack.enter_context(ray_cluster())
        builds = executors(address)
        times: dict[str, list[float]] = {name: [] for name in builds}
        for _ in range(options.rounds):
            for name, build in builds.items():
                shards = options.peer_shards if name == "datatrove ray" else options.shards
                times[name].append(seconds(build, shards) / shards)
                print(f"  {name}: {1 / times[name][-1]:.1f} shards/s", file=sys.stderr)
        print_rates(times)


def executors(address: str | None) -> dict[str, Build]:
    """The ways to build a plan, by name."""

    def ours(**settings: object) -> Build:
        asked = Executor.model_validate(settings)
        return lambda store, plan: build_sharded(store, plan, DOTTED, asked) and None

    found: dict[str, Build] = {
        "one process": ours(workers=1),
        "local, 2 processes": ours(workers=2),
        "datatrove local, 2 processes": lambda store, plan: run_peer(
            store, plan, lambda step, tasks, logs: LocalPipelineExecutor(step, tasks, 2, logs, skip_completed=False)
        ),
    }
    if address is not None:
        found["ray, 2 nodes"] = ours(kind="ray", address=address, mem_per_cpu_gb=1)
        found["datatrove ray"] = lambda store, plan: run_peer(
            store,
            plan,
            lambda step, tasks, logs: RayPipelineExecutor(
                step, tasks, 2, logging_dir=logs, skip_completed=False, mem_per_cpu_gb=1
            ),
        )
    return found


def run_peer(store: Store, plan: Plan, executor: Callable[[list[PipelineStep], int, str], object]) -> None:
    """datatrove's executor as it comes, with our step."""
    record, missing = store.begin(plan), store.missing(plan)
    mine = owner(store.root)
    assert record is not None and mine is not None
    work = Work(store.root, plan.table, {}, plan.fingerprint, DOTTED, mine)
    step = ShardStep(work, [[index] for index in missing])
    executor([step], len(missing), f"{store.root}-logs").run()  # type: ignore[attr-defined]
    assert not store.missing(plan), "the peer's tasks failed"


def seconds(build: Build, shards: int) -> float:
    """Wall time of one build in a fresh store."""
    with tempfile.TemporaryDirectory(prefix="executors-") as folder:
        store = Store(f"{folder}/store")
        with coordinator(store.root):
            start = time.perf_counter()
            build(store, Plan(table="snippet_occurrences", num_shards=shards))
            return time.perf_counter() - start


@contextlib.contextmanager
def ray_cluster() -> Iterator[str | None]:
    """The address of a cluster of two nodes with one CPU each.

    Without Ray it is None, and how to install Ray is printed.
    """
    try:
        import ray
        from ray.cluster_utils import Cluster
    except ImportError:
        print("Ray is left out: pip install 'scoder[ray]'")
        yield None
        return
    node = {"num_cpus": 1, "memory": 2**30, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=node | {"include_dashboard": False})
    try:
        cluster.add_node(**node)
        yield cluster.address
    finally:
        ray.shutdown()
        cluster.shutdown()


def print_rates(times: dict[str, list[float]]) -> None:
    """Shards per second, of the first round and as the median of the others.

    Each is also given as a multiple of datatrove's own.
    """
    rates = {name: 1 / statistics.median(took[1:] or took) for name, took in times.items()}
    print(f"{'executor':30} {'first':>9} {'shards/s':>9} {'ms/shard':>9} {'x datatrove':>12}")
    for name, took in times.items():
        peer = "datatrove ray" if "ray" in name else "datatrove local, 2 processes"
        ratio = rates[name] / rates[peer] if peer in rates else float("nan")
        print(f"{name:30} {1 / took[0]:9.1f} {rates[name]:9.1f} {1000 / rates[name]:9.1f} {ratio:12.1f}")


if __name__ == "__main__":
    main()
