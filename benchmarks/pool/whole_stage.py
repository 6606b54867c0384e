"""The whole pool stage on real code: time, memory, the funnel, and snippets to read.

    python benchmarks/pool/whole_stage.py                  # about 160 MB of source
    # all packages; the store stays in DIR
    python benchmarks/pool/whole_stage.py --megabytes 1000 --keep DIR

Sources are the running Python's standard library without its tests, and installed packages in a
fixed shuffled order until the size is reached. Benchmarks are HumanEval, MBPP, LiveCodeBench and
BigCodeBench-Hard, as far as the folder SCODER_DATA has them.

Memory is the sum over the process tree, sampled: resident (pages that processes share count in
each) and, where the kernel tells it, proportional. At the end comes the speed of the checks alone,
beside one walk per measurement and the standard tokenizer.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import hashlib
import io
import os
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import time
import tokenize
from collections.abc import Callable
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))

from builders import snippet_checks
from builders.checks import names, types
from builders.code.functions import FunctionNode
from store import Store
from store.catalog import connect

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SCODER_DATA", ROOT.parent / "shared" / "data"))
BENCHMARKS = {
    "humaneval": "human-eval/HumanEval.jsonl.gz",
    "mbpp": "mbpp/mbpp_test.jsonl",
    "livecodebench": "livecodebench/o1-mini_eval_all.json",
    "bigcodebench-hard": "bigcodebench-hard/bigcodebench_hard.json",
}


def source_bytes(folder: Path, leave_out: tuple[str, ...] = ()) -> int:
    """Bytes of the `.py` files below a folder."""
    found = (f for f in folder.rglob("*.py") if not str(f.relative_to(folder)).startswith(leave_out))
    return sum(f.stat().st_size for f in found if not f.is_symlink())


def recipe(megabytes: float) -> tuple[dict, float]:
    """The recipe, and the megabytes of source that it reads."""
    stdlib, packages = (Path(sysconfig.get_paths()[k]) for k in ("stdlib", "purelib"))
    tests = ["test/", "idlelib/", "lib2to3/", "turtledemo/", "ensurepip/", "pydoc_data/"]
    size = source_bytes(stdlib, (*tests, "site-packages"))
    tops = sorted(packages.iterdir(), key=lambda p: hashlib.md5(p.name.encode()).hexdigest())
    left_out = []
    for top in tops:
        grows = source_bytes(top) if top.is_dir() else top.stat().st_size * (top.suffix == ".py")
        if not grows or top.name.endswith("-info"):
            continue
        if size >= megabytes * 1e6:
            left_out.append(f"{top.name}/" if top.is_dir() else top.name)
        else:
            size += grows
    made = {
        "name": "pool-benchmark",
        "sources": [
            {"name": "stdlib", "kind": "stdlib", "exclude": tests},
            {"name": "packages", "kind": "packages", "exclude": left_out},
        ],
        "benchmarks": [{"name": n, "path": str(DATA / f)} for n, f in BENCHMARKS.items() if (DATA / f).exists()],
        "synthesizer": {"model": "none"},
        "coder": {"model": "none"},
        "sampling": {"checkpoints": 1},
    }
    return made, size / 1e6


def memory_mb(root: int) -> tuple[float, float]:
    """Resident and proportional memory of a process and all below it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    waiting, resident, proportional = [root], 0.0, 0.0
    while waiting:
        pid = waiting.pop()
        waiting += parents.get(pid, [])
        with contextlib.suppress(OSError):
            lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
            resident += int(lines["Rss"].split()[0]) / 1024
            proportional += int(lines["Pss"].split()[0]) / 1024
    return resident, proportional


def run(file: Path, store: Path) -> None:
    """Build the pool as a user does, and print time and memory."""
    began, peak = time.monotonic(), (0.0, 0.0)
    command = [sys.executable, "-m", "commands", "run", str(file), "--until", "pool", "--store", str(store)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None:
        peak = tuple(map(max, peak, memory_mb(process.pid)))  # type: ignore[assignment]
        time.sleep(1.0)
    if process.returncode:
        raise SystemExit(f"scoder failed:\n{process.stderr.read() if process.stderr else ''}")
    seconds = time.monotonic() - began
    print(
        f"end to end {seconds:.1f} s; peak of the process tree {peak[0]:.0f} MB resident, {peak[1]:.0f} MB proportional"
    )


def funnel(store: Store) -> None:
    """Print seconds per table, and for each reason how many snippets have it, and only it."""
    for record in store.records():
        where = "/".join([record.plan.table, *(str(v) for v in record.plan.partition.values())])
        print(f"  {where:50} {record.rows:9,} rows {record.usage.wall_s:8.1f} s")
    rows = connect(store).sql(
        """SELECT stage, reason, count(*) AS items, count(*) FILTER (others = 1) AS alone
        FROM (SELECT stage, reason, count(*) OVER (PARTITION BY stage, item_id) AS others FROM rejects)
        GROUP BY stage, reason ORDER BY stage, items DESC, reason"""
    )
    print(f"  {'stage':8} {'reason':26} {'items':>9} {'for it alone':>12}")
    for stage, reason, items, alone in rows.fetchall():
        print(f"  {stage:8} {reason:26} {items:9,} {alone:12,}")


def to_read(store: Store, number: int, seed: str) -> None:
    """Print snippets drawn from the pool, and rejected ones with their reasons."""
    connection = connect(store)
    kept = """SELECT r.name, shown_code(r.imports, r.context, r.code) AS code, p.license AS why FROM pool AS p JOIN raw_pool AS r USING (snippet_id)
        ORDER BY md5(snippet_id || $seed), snippet_id LIMIT $number"""
    left = """SELECT r.name, shown_code(any_value(r.imports), any_value(r.context), r.code) AS code, string_agg(reason || coalesce(' ' || round(value, 2), ''), ', ' ORDER BY reason) AS why
        FROM rejects AS j JOIN raw_pool AS r ON r.snippet_id = j.item_id WHERE j.stage = 'pool'
        GROUP BY r.snippet_id, r.name, r.code ORDER BY md5(r.snippet_id || $seed), r.snippet_id LIMIT $number"""
    for title, query in (("KEPT", kept), ("LEFT OUT", left)):
        found = connection.execute(query, {"seed": seed, "number": number}).fetchall()
        for place, (name, code, why) in enumerate(found, 1):
            lines = code.split("\n")
            print(f"\n=== {title} {place}: {name} ({why})")
            print(textwrap.indent("\n".join(lines[:40] + ["…"] * (len(lines) > 40)), "    "))


def naive(code: str) -> tuple[int, ...]:
    """Five of the measurements in the plain way: a walk each, and the standard tokenizer."""
    node = ast.parse(code).body[0]
    assert isinstance(node, FunctionNode)
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return (
        sum(t.type < tokenize.COMMENT for t in tokens),
        sum(isinstance(n, ast.stmt) for n in ast.walk(node)),
        sum(isinstance(n, (ast.If, ast.For, ast.While, ast.IfExp)) for n in ast.walk(node)),
        sum(isinstance(n, ast.Return) and n.value is not None for n in ast.walk(node)),
        sum(isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.walk(node)),
    )


def speed(store: Store, number: int) -> None:
    """Print functions per second of each part of the checks, single process."""
    query = (
        "SELECT snippet_id, name, code, docstring, license FROM raw_pool ORDER BY md5(snippet_id), snippet_id LIMIT $n"
    )
    columns = ("snippet_id", "name", "code", "docstring", "license")
    found = connect(store).execute(query, {"n": number}).fetchall()
    rows = [dict(zip(columns, row, strict=True)) for row in found]
    codes = [r["code"] for r in rows]
    undefined: list[list[str]] = []
    measured: list[dict] = []
    parts: dict[str, Callable[[], object]] = {
        "five measurements, a walk each": lambda: [naive(code) for code in codes],
        "undefined names (ruff)": lambda: undefined.extend(names.undefined_names(codes)),
        "all measurements, one walk": lambda: measured.extend(
            snippet_checks.measure(r["name"], r["code"], r["docstring"], u, r["license"])
            for r, u in zip(rows, undefined, strict=True)
        ),
    }
    for name, part in parts.items():
        began = time.perf_counter()
        part()
        print(f"  {name:34} {len(rows) / (time.perf_counter() - began):8.0f} functions/s")
    known = [c for c, m in zip(codes, measured, strict=True) if m["is_parsed"] and not m["num_undefined_names"]]
    began = time.perf_counter()
    types.errors(known)
    print(
        f"  {'type errors (ty) of the ' + str(len(known)) + ' left':34} {len(known) / (time.perf_counter() - began):8.0f} functions/s"
    )


def main() -> None:
    """Build, report, print snippets to read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=160.0, help="of source, at least")
    parser.add_argument("--keep", help="folder for the store; a temporary one by default")
    parser.add_argument("--read", type=int, default=20, help="snippets to print of each kind")
    parser.add_argument("--seed", default="0", help="of the draw")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pool-benchmark-") as scratch:
        folder = Path(options.keep or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        made, megabytes = recipe(options.megabytes)
        (folder / "recipe.yaml").write_text(yaml.safe_dump(made))
        absent = BENCHMARKS.keys() - {b["name"] for b in made["benchmarks"]}
        print(f"{megabytes:.0f} MB of source" + (f"; no {', '.join(sorted(absent))} under {DATA}" if absent else ""))
        run(folder / "recipe.yaml", folder / "store")
        store = Store(folder / "store")
        funnel(store)
        print("checks alone, one process:")
        speed(store, 2000)
        to_read(store, options.read, options.seed)


if __name__ == "__main__":
    main()
