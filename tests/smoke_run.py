"""Running the smoke recipe as a user does, and comparing stores."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa

from store import CONTRACTS, Store, segments
from store.catalog import connect

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "recipes" / "smoke.yaml"


def command(*arguments: str) -> list[str]:
    """`scoder …` in this interpreter."""
    return [sys.executable, "-m", "commands", *map(str, arguments)]


def scoder(*arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=timeout)


def run_and_kill(store: Path, after_s: float, *arguments: str) -> bool:
    """Start a run and `kill -9` its coordinator after some seconds. Whether it was still alive."""
    process = subprocess.Popen(
        command("run", str(RECIPE), "--store", str(store), *arguments),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        process.wait(timeout=after_s)
        return False
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return True


def kill_repeatedly(store: Path, times: int, seed: int, longest_s: float) -> int:
    """Kill `times` runs at random moments; how many were really killed."""
    rng = random.Random(seed)
    killed = 0
    for _ in range(times):
        killed += run_and_kill(store, rng.uniform(3.0, longest_s))
        time.sleep(0.2)
    return killed


def contents(store: Path) -> dict[str, str]:
    """Partition -> fingerprint of plan and Parquet bytes: equal fingerprints are equal bytes."""
    return {segments(r.plan.table, r.plan.partition): r.content for r in Store(store).records()}


def rows(store: Path, table: str) -> pa.Table:
    """All rows of a table, ordered by its key and then by all columns."""
    contract = CONTRACTS[table]
    order = ", ".join([*contract.key, *(n for n in contract.schema.names if n not in contract.key)])
    names = ", ".join(contract.schema.names)
    return connect(Store(store)).sql(f"SELECT {names} FROM {table} ORDER BY {order}").to_arrow_table()
