"""Near-deduplication beside others on the same functions; and which disguised copies are found.

    # functions of the standard library and installed packages
    python benchmarks/pool/near_dedup.py
    python benchmarks/pool/near_dedup.py --functions 5000 --rounds 1
    # time and memory of ours alone, on varied functions
    python benchmarks/pool/near_dedup.py --synthetic 1000000

Texts go in, clusters come out. Peers (`near_dedup_peers.py`): datatrove's MinHash steps (need `pip
install spacy`), the core of bigcode-dataset's script, and datasketch (`pip install datasketch`).
One that is not installed is skipped.

Ours is `near_duplicates.build`, Parquet to Parquet, compiled before the clock starts. The time of
that first compilation is printed apart. Seconds are CPU seconds of all threads, so functions/s are
per core.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import json
import keyword
import random
import re
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import pyarrow as pa

from benchmarks.decontamination.disguises import relaid, renamed, with_dead_code, without_docstrings
from benchmarks.pool.near_dedup_peers import PEERS, shingles
from builders import near_duplicates
from builders.code import tokens
from builders.recipe import NearDuplicates
from store import Plan, Store, content_id
from tests.rows import make_stale, table
from tests.tiny_recipes import recipe

_ROWS = 10_000
_KEPT_WORDS = {*keyword.kwlist, *dir(builtins)}


def functions(limit: int, seed: int = 0) -> list[str]:
    """Distinct documented functions and methods of the standard library and the installed packages.

    Files are taken in a seeded order.
    """
    folders = {sysconfig.get_paths()["stdlib"], *(p for p in sys.path if p.endswith("site-packages"))}
    files = sorted({path for folder in folders for path in Path(folder).rglob("*.py")})
    random.Random(seed).shuffle(files)
    found: dict[str, None] = {}
    for path in files:
        try:
            source = path.read_text()
            with warnings.catch_warnings(action="ignore"):
                body = ast.parse(source).body
        except (SyntaxError, ValueError, OSError):
            continue
        found |= dict.fromkeys(_documented(body, source))
        if len(found) >= limit:
            break
    return list(found)[:limit]


def _documented(body: Sequence[ast.stmt], source: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _documented(node.body, source)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
            text = ast.get_source_segment(source, node) or ""
            yield textwrap.dedent(" " * node.col_offset + text)


def stored(folder: str, texts: Iterator[str] | Sequence[str], size: int) -> Store:
    """A store with the three tables that the builder reads, written in shards."""
    store, shards = Store(folder), -(-size // _ROWS)
    source = iter(texts)
    ids: list[list[str]] = []
    words: list[list[int]] = []

    def raw_pool(index: int) -> pa.Table:
        codes = [code for _, code in zip(range(min(_ROWS, size - index * _ROWS)), source, strict=False)]
        ids.append([content_id(f"{index}-{i}") for i in range(len(codes))])
        texts = zip(ids[index], codes, map(read, codes), strict=True)
        rows = [{"snippet_id": i, "code": c, "num_chars": len(c), "name": n, "docstring": d} for i, c, (n, d) in texts]
        words.append([len(row["docstring"].split()) for row in rows])
        return table("raw_pool", rows)

    store.materialize(Plan(table="raw_pool", num_shards=shards), raw_pool)

    def snippet_checks(index: int) -> pa.Table:
        counted = zip(ids[index], words[index], strict=True)
        return table("snippet_checks", [{"snippet_id": i, "num_docstring_words": w} for i, w in counted])

    def snippet_occurrences(index: int) -> pa.Table:
        return table("snippet_occurrences", [{"snippet_id": i} for i in ids[index]])

    for made in (snippet_checks, snippet_occurrences):
        store.materialize(Plan(table=made.__name__, num_shards=shards), made)
    return store


def read(code: str) -> tuple[str, str]:
    """The name and the docstring of a function; empty where it is none any more."""
    try:
        with warnings.catch_warnings(action="ignore"):
            (node,) = ast.parse(code).body
    except (SyntaxError, ValueError):
        return "", ""
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return (node.name, ast.get_docstring(node) or "") if is_function else ("", "")


def measured(folder: str) -> dict[str, float]:
    """Build near_duplicates in this process: CPU and wall seconds, rows, peak resident memory in
    MB.
    """
    # compile the kernels, or load them
    near_duplicates.gram_sets(pa.array(["def f(x): return x"]), NearDuplicates())
    if Store(folder).is_complete("near_duplicates"):  # a repeated measurement
        make_stale(Store(folder), "near_duplicates")
    wall, cpu = time.perf_counter(), time.process_time()
    record = near_duplicates.build(Store(folder), recipe(Path(folder)).near_duplicates)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cpu": cpu,
        "wall": wall,
        "rows": record.rows,
        "similar": len({r["snippet_id"] for r in _similar(Store(folder))}),
        "peak": used.ru_maxrss / 1024,
    }


def _similar(store: Store) -> Iterator[dict[str, str]]:
    """The pairs at the default thresholds."""
    settings = NearDuplicates()
    for part in store.read("near_duplicates"):
        for row in part.to_pylist():
            is_raw = row["similarity_raw"] >= settings.min_similarity_raw
            if is_raw or row["similarity_renamed"] >= settings.min_similarity_renamed:
                yield row


def in_new_process(folder: str) -> dict[str, float]:
    """The same in a process of its own, whose memory is its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", folder], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def speed(texts: list[str], rounds: int) -> None:
    """The table of speeds; ours is measured before and after every peer."""
    ours: list[float] = []
    theirs: dict[str, list[float]] = {}
    dropped: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="near-dedup-") as folder:
        stored(folder, texts, len(texts))
        start = time.perf_counter()
        in_new_process(folder)
        print(f"first build, with what is not yet compiled: {time.perf_counter() - start:.1f} s")
        for _ in range(rounds):
            for name, (peer, packages) in PEERS.items():
                ours.append(in_new_process(folder)["cpu"])
                begin = time.process_time()
                try:
                    dropped[name] = peer(texts)
                except ImportError as error:
                    print(f"{name} skipped: {error} (pip install {packages})")
                    continue
                theirs.setdefault(name, []).append(time.process_time() - begin)
        last = in_new_process(folder)
    mine = statistics.median([*ours, last["cpu"]])
    size = sum(map(len, texts)) / 1e6
    print(f"\n{len(texts):,} functions, {size:.1f} MB; CPU seconds, median\n")
    print(f"{'':12}{'seconds':>9}{'functions/s':>13}{'MB/s':>8}{'ours is':>9}  would drop")
    print(
        f"{'ours':12}{mine:9.2f}{len(texts) / mine:13,.0f}{size / mine:8.1f}{'':9}  {last['similar']:,.0f} resemble a better one"
    )
    for name, seconds in theirs.items():
        median = statistics.median(seconds)
        row = f"{name:12}{median:9.2f}{len(texts) / median:13,.0f}{size / median:8.1f}{median / mine:8.0f}x  {dropped[name]:,}"
        print(row)
    print(f"\nours: {last['wall']:.1f} s wall, peak of resident memory {last['peak']:,.0f} MB")


def disguised(text: str, kind: str, rng: random.Random) -> str:
    """A copy of a function in a disguise."""
    if kind == "reformatted":
        return relaid(text, rng)
    tree = ast.parse(text)
    if "renamed" in kind:
        renamed(tree, rng)
    if "no docstring" in kind:
        without_docstrings(tree)
    if "dead code" in kind:
        with_dead_code(tree, rng)
    return ast.unparse(tree)


DISGUISES = (
    "reformatted",
    "no docstring, no comments",
    "renamed, docstring kept",
    "renamed, no docstring",
    "renamed, no docstring, dead code",
)


def recall(texts: list[str], size: int, seed: int) -> None:
    """The table of disguises: how many copies are found among all other functions, end to end.

    Word shingles are compared pair by pair.
    """
    settings, rng = NearDuplicates(), random.Random(seed)
    num_tokens = np.diff(tokens.code(tokens.lex(texts)).offsets)
    long = [t for t, n in zip(texts, num_tokens, strict=True) if n >= settings.short_tokens and _parses(t)]
    sample = rng.sample(long, min(size, len(long)))
    print(
        f"\n{len(sample):,} functions of {settings.short_tokens} code tokens or more, a copy of each among the originals\n"
    )
    print(f"{'disguise':36}{'ours':>8}{'word 5-grams, Jaccard >= 0.7':>32}")
    for kind in DISGUISES:
        copies = [disguised(text, kind, rng) for text in sample]
        with tempfile.TemporaryDirectory(prefix="near-dedup-") as folder:
            store = stored(folder, [*sample, *copies], 2 * len(sample))
            near_duplicates.build(store, recipe(Path(folder)).near_duplicates)
            names = [i for part in store.read("raw_pool", ["snippet_id"]) for i in part["snippet_id"].to_pylist()]
            pairs = {frozenset((r["snippet_id"], r["cluster_id"])) for r in _similar(store)}
        found = sum(frozenset((names[i], names[i + len(sample)])) in pairs for i in range(len(sample)))
        theirs = sum(_jaccard(a, b) >= 0.7 for a, b in zip(sample, copies, strict=True))
        print(f"{kind:36}{found / len(sample):8.1%}{theirs / len(sample):32.1%}")


def _parses(text: str) -> bool:
    """Whether a function stands alone: a method may use what only a class body has."""
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def _jaccard(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b) if a | b else 1.0


def synthetic(texts: list[str], size: int, seed: int) -> Iterator[str]:
    """Functions whose names all carry the number of their variant.

    Every fifth is a copy of the one before it.
    """
    rng = random.Random(seed)
    word = re.compile(r"\b[A-Za-z_]{3,}\b")
    last = ""
    for number in range(size):
        if number % 5 == 4:
            yield f"{last}\n# copy {number}"
            continue
        suffix = f"_{number // len(texts)}_{rng.randrange(10**6)}"
        last = word.sub(lambda m, s=suffix: m[0] if m[0] in _KEPT_WORDS else m[0] + s, texts[number % len(texts)])
        yield last


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--functions", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--copies", type=int, default=1500, help="functions that are disguised")
    parser.add_argument("--synthetic", type=int, default=0, help="only ours, on this many varied functions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(options.measure)))
        return 0
    texts = functions(options.functions, options.seed)
    if options.synthetic:
        with tempfile.TemporaryDirectory(prefix="near-dedup-") as folder:
            stored(folder, synthetic(texts, options.synthetic, options.seed), options.synthetic)
            result = in_new_process(folder)
        per_second = options.synthetic / result["cpu"]
        print(
            f"{options.synthetic:,} functions: {result['cpu']:.1f} CPU s ({per_second:,.0f}/s), {result['wall']:.1f} s wall,"
        )
        print(
            f"{result['rows']:,.0f} similar pairs, peak of resident memory {result['peak']:,.0f} MB (mapped files count)"
        )
        return 0
    speed(texts, options.rounds)
    recall(texts, options.copies, options.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
