"""Shards for the tests of tasks: functions that worker processes import by name.

In: a store, a plan whose fields say what to do, an index. Out: rows of `snippet_occurrences`, or a
failure.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pyarrow as pa

from store import Plan, Store
from tests import rows


def shard(store: Store, plan: Plan, index: int) -> pa.Table:
    """Two rows that say which shard they are of.

    Each call leaves a file with its process id beside the store.
    """
    Path(f"{store.root}-calls").mkdir(exist_ok=True)
    Path(f"{store.root}-calls", f"{index}-{time.monotonic_ns()}").write_text(str(os.getpid()))
    return rows.table("snippet_occurrences", [{"snippet_id": f"s{index}", "line": line} for line in (1, 2)])


def failing(store: Store, plan: Plan, index: int) -> pa.Table:
    """As `shard`, but shard 1 fails as long as the store has a neighbour called `...-broken`."""
    if index == 1 and Path(f"{store.root}-broken").exists():
        raise ValueError("shard one is broken")
    return shard(store, plan, index)


def dying(store: Store, plan: Plan, index: int) -> pa.Table:
    """As `shard`, but while the store's neighbour exists, the worker of shard 1 is killed.

    It dies as if for its memory.
    """
    if index == 1 and Path(f"{store.root}-broken").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return shard(store, plan, index)


def sleeping(store: Store, plan: Plan, index: int) -> pa.Table:
    """As `shard`, but much later."""
    made = shard(store, plan, index)
    time.sleep(120)
    return made


def placed(store: Store, plan: Plan, index: int) -> pa.Table:
    """As `shard`, but it notes its Ray node.

    The second shard of a node does not end before the neighbour file `...-held-NODE` is gone.
    """
    from ray import get_runtime_context

    node = get_runtime_context().get_node_id()
    folder = Path(f"{store.root}-nodes")
    folder.mkdir(exist_ok=True)
    Path(folder, f"{index}-{node}").write_text(str(os.getpid()))
    while len(list(folder.glob(f"*-{node}"))) == 2 and Path(f"{store.root}-held-{node}").exists():
        time.sleep(0.02)
    return shard(store, plan, index)


def slow(store: Store, plan: Plan, index: int) -> pa.Table:
    """As `shard`, a second later."""
    made = shard(store, plan, index)
    time.sleep(1)
    return made


def waiting(store: Store, plan: Plan, index: int) -> pa.Table:
    """As `shard`, but not before the store's neighbour `...-held` is gone.

    It waits for five minutes at most.
    """
    made = shard(store, plan, index)
    for _ in range(6000):
        if not Path(f"{store.root}-held").exists():
            break
        time.sleep(0.05)
    return made
