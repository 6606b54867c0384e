"""Ranking stored gradients: time per million, memory, and what another reference set costs.

    python benchmarks/influence/ranking.py [--rows 20000] [--checkpoints 3] [--references 100]
        [--dimension 4096] [--folder DIR]
    python benchmarks/influence/ranking.py --rows 1000000 --checkpoints 1       # 8.2 GB of disk
    python benchmarks/influence/ranking.py --rows 100000 --checkpoints 3        # 2.5 GB of disk

Writes a store with random gradients. Then a fresh process builds `influence` with a cold page
cache, as far as the system empties it. Other processes build further named references, cold and
warm. Each prints its time, its peak memory and whether torch was loaded; the time is compared with
reading the bytes alone. Everything written is removed.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import pyarrow as pa

from builders.recipe import Recipe
from store import CONTRACTS, Plan, Store
from store.half_floats import as_bytes
from tests.rows import put

SHARD = 1000


def recipe(checkpoints: int, references: dict[str, str], chosen: str = "teacher") -> Recipe:
    """A recipe whose influence uses these references; its other sections do not matter here."""
    return Recipe.model_validate(
        {
            "name": "ranking",
            "sources": [{"name": "here", "kind": "stdlib"}],
            "synthesizer": {"model": "none", "training": {"num_checkpoints": checkpoints}},
            "coder": {"model": "none"},
            "sampling": {"checkpoints": checkpoints},
            "influence": {"reference_sets": references, "reference": chosen},
        }
    )


def fill(store: Store, options: argparse.Namespace) -> None:
    """A store with gradients of candidates and of a reference split."""
    where = {"role": "synthesizer", "iteration": 0}
    names = [f"k{n}" for n in range(options.checkpoints)]
    saved = [{"checkpoint_id": n, "step": s, "learning_rate": 1e-4, **where} for s, n in enumerate(names)]
    put(store, "checkpoints", saved, **where)
    texts = {f"t{n:08d}": "x" * (n % 7) for n in range(options.references)}
    put(store, "teacher_samples", [{"sample_id": i, "split": "reference", "solution": s} for i, s in texts.items()])
    for kind, letter, rows in (("candidate", "c", options.rows), ("teacher", "t", options.references)):
        part = {"item_kind": kind, "iteration": 1, "batch": "main"}
        shards = [(n, start) for n in names for start in range(0, rows, SHARD)]
        plan = Plan(table="gradients", partition=part, num_shards=len(shards))
        store.materialize(
            plan, lambda i, k=kind, a=letter, s=shards, r=rows: gradients(i, s[i], k, a, r, options.dimension)
        )


def gradients(seed: int, shard: tuple[str, int], kind: str, letter: str, rows: int, dimension: int) -> pa.Table:
    """One shard of random unit gradients."""
    checkpoint, start = shard
    size = min(SHARD, rows - start)
    units = np.random.default_rng(seed).standard_normal((size, dimension), dtype=np.float32) / dimension**0.5
    columns = {
        "item_id": [f"{letter}{start + n:08d}" for n in range(size)],
        "item_kind": [kind] * size,
        "checkpoint_id": [checkpoint] * size,
        "features": ["f"] * size,
        "gradient": as_bytes(units.astype(np.float16)),
        "norm": np.ones(size, np.float32),
        "loss": np.ones(size, np.float32),
        "num_tokens": np.ones(size, np.int32),
    }
    return pa.table(columns, schema=CONTRACTS["gradients"].schema)


def rank(options: argparse.Namespace) -> None:
    """Build in a process of its own, and print what it took."""
    from builders import influence

    store = Store(options.rank)
    chosen = recipe(options.checkpoints, json.loads(options.conditions))
    start, processor = time.perf_counter(), time.process_time()
    influence.build(store, chosen, 1)
    found = {"seconds": time.perf_counter() - start, "processor": time.process_time() - processor}
    found |= {"peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "torch": "torch" in sys.modules}
    print(json.dumps(found))


def forget(folder: Path) -> int:
    """Ask the system to drop the files from its cache; return their bytes."""
    total = 0
    for path in folder.rglob("*.parquet"):
        with open(path, "rb") as handle:
            os.fsync(handle.fileno())
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        total += path.stat().st_size
    return total


def read_all(folder: Path) -> float:
    """The seconds it takes to read all files, one after the other."""
    start = time.perf_counter()
    for path in sorted(folder.rglob("*.parquet")):
        with open(path, "rb", buffering=0) as handle:
            while handle.read(1 << 22):
                pass
    return time.perf_counter() - start


def main() -> int:
    """Write, measure, remove."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--checkpoints", type=int, default=3)
    parser.add_argument("--references", type=int, default=100)
    parser.add_argument("--dimension", type=int, default=4096)
    parser.add_argument("--folder", help="where the store is written; default: the system's temporary folder")
    parser.add_argument("--rank", help=argparse.SUPPRESS)
    parser.add_argument("--conditions", default="{}", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank:
        rank(options)
        return 0
    with tempfile.TemporaryDirectory(prefix="influence-ranking-", dir=options.folder) as folder:
        start = time.perf_counter()
        fill(Store(folder), options)
        held = Path(folder, "gradients")
        size = forget(held)
        print(
            f"{options.rows:,} x {options.checkpoints} x {options.dimension}: {size / 1e9:.2f} GB written in {time.perf_counter() - start:.0f} s"
        )
        cold_read = read_all(held)
        warm_read = read_all(held)
        print(
            f"reading the bytes alone: cold {size / cold_read / 1e6:,.0f} MB/s, warm {size / warm_read / 1e6:,.0f} MB/s"
        )
        million = 1e6 / (options.rows * options.checkpoints)
        print(
            f"{'':34} {'s':>7} {'proc s':>7} {'s / 1M rows':>12} {'MB/s':>7} {'of disk':>8} {'peak GB':>8}  torch loaded"
        )
        given: dict[str, str] = {}
        for number, (name, is_cold) in enumerate(
            (
                ("first ranking, cold", True),
                ("another reference, cold", True),
                ("another reference, warm", False),
                ("three references at once, warm", False),
            )
        ):
            given |= {
                f"r{number}-{n}": f"length(solution) <> {n}" for n in range(3 if "three" in name else bool(number))
            }
            if is_cold:
                forget(held)
            else:
                read_all(held)
            command = [sys.executable, __file__, "--rank", folder, "--checkpoints", str(options.checkpoints)]
            done = subprocess.run([*command, "--conditions", json.dumps(given)], capture_output=True, text=True)
            if done.returncode:
                print(done.stderr)
                return 1
            found = json.loads(done.stdout)
            speed = size / found["seconds"] / 1e6
            disk = cold_read if is_cold else warm_read
            print(
                f"{name:34} {found['seconds']:7.1f} {found['processor']:7.1f} {found['seconds'] * million:12.1f} {speed:7,.0f} "
                f"{disk / found['seconds']:8.0%} {found['peak_gb']:8.2f}  {'yes' if found['torch'] else 'no'}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
