"""contamination: one row per hit of a detector on an item; whether a hit is a verdict is decided in SQL.

In: the texts of one item kind and one benchmark. Out: `contamination/item_kind-K/[iteration-I/]benchmark-B`, so that a new
benchmark is checked without repeating the others. Two detectors:
    string   a benchmark solution or statement stands in the item, with case and white space normalised (strength 1)
    ngram    the share of the token n-grams of the task's statement or solution, whichever is larger, that the item holds
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from builders.extraction import FunctionNode, parsed
from builders.recipe import Benchmark, Recipe
from builders.tasks import build_sharded
from store import CONTRACTS, Plan, Record, Store, fields_of
from store.shards import shard_name

TEXTS = {
    "snippet": ("raw_pool", "snippet_id", ("code",)),
    "teacher": ("teacher_samples", "sample_id", ("problem", "solution")),
    "candidate": ("candidates", "candidate_id", ("problem", "solution")),
}
"""Item kind -> table, key, text columns."""

FLOOR = 0.2
"""Weaker n-gram hits are not kept: they are the shared idioms of the language."""

_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Index:
    """The n-grams and strings of one benchmark."""

    ngram: int
    grams: dict[int, list[tuple[str, int]]]
    sizes: dict[tuple[str, int], int]
    strings: list[tuple[str, str]]


def build(store: Store, recipe: Recipe, item_kind: str, benchmark: Benchmark, iteration: int | None = None) -> Record:
    """Check the items of one kind (and iteration) against one benchmark."""
    table, _, _ = TEXTS[item_kind]
    where: dict[str, Any] = {} if iteration is None else {"iteration": iteration}
    source = store.record(table, **where)
    plan = Plan(
        table="contamination",
        partition={"item_kind": item_kind, **where, "benchmark": benchmark.name},
        inputs=store.input(table, **where) | store.input("benchmarks", benchmark=benchmark.name),
        fields=fields_of(recipe.decontamination) | {"min_strength": None, "floor": FLOOR},
        num_shards=len(source.shards) if source else 0,
    )
    return build_sharded(store, plan, "builders.contamination:shard", recipe.executor.workers)


def shard(store: Store, plan: Plan, index: int) -> pa.Table:
    """The hits in one shard of the items."""
    kind = str(plan.partition["item_kind"])
    table, key, columns = TEXTS[kind]
    where = {k: v for k, v in plan.partition.items() if k == "iteration"}
    name = str(plan.partition["benchmark"])
    tasks = [t for part in store.read("benchmarks", benchmark=name) for t in part.to_pylist()]
    ready = index_tasks(tasks, plan.fields["ngram"], plan.fields["min_string_chars"])
    path = f"{store.directory(table, **where)}/{shard_name(index)}"
    rows = []
    for batch in pq.ParquetFile(path).iter_batches(batch_size=2000, columns=[key, *columns]):
        for item in batch.to_pylist():
            text = "\n".join(item[c] for c in columns if item[c])
            rows += [{"item_id": item[key], "item_kind": kind, "benchmark": name, **hit} for hit in hits(ready, text)]
    return pa.Table.from_pylist(rows, schema=CONTRACTS["contamination"].schema)


def index_tasks(tasks: list[dict[str, Any]], ngram: int, min_string_chars: int) -> Index:
    """The n-grams and strings of benchmark tasks: statement (0) and solution (1) of each apart."""
    grams: dict[int, list[tuple[str, int]]] = defaultdict(list)
    sizes: dict[tuple[str, int], int] = {}
    strings = []
    for task in tasks:
        for part, text in enumerate((statement(task["prompt"]), task["solution"] or "")):
            found = gram_hashes(text, ngram)
            if found:
                sizes[task["task_id"], part] = len(found)
            for gram in found:
                grams[gram].append((task["task_id"], part))
            if len(squeezed(text)) >= min_string_chars:
                strings.append((task["task_id"], squeezed(text)))
    return Index(ngram, dict(grams), sizes, strings)


def hits(index: Index, text: str) -> Iterator[dict[str, Any]]:
    """The hits of one text, at most one per task and detector."""
    flat = squeezed(text)
    seen = set()
    for task_id, string in index.strings:
        if task_id not in seen and string in flat:
            seen.add(task_id)
            yield {"task_id": task_id, "detector": "string", "strength": 1.0, "evidence": string[:200]}
    yield from _ngram_hits(index, text)


def _ngram_hits(index: Index, text: str) -> Iterator[dict[str, Any]]:
    found = gram_hashes(text, index.ngram)
    counts = Counter(place for gram in found.keys() & index.grams.keys() for place in index.grams[gram])
    best: dict[str, tuple[float, int]] = {}
    for (task_id, part), count in counts.items():
        best[task_id] = max(best.get(task_id, (0.0, 0)), (count / index.sizes[task_id, part], part))
    for task_id, (strength, part) in sorted(best.items()):
        if strength >= FLOOR:
            shared = next(found[g] for g in found if (task_id, part) in index.grams.get(g, ()))
            yield {"task_id": task_id, "detector": "ngram", "strength": rounded_up(strength), "evidence": shared}


def rounded_up(share: float) -> float:
    """The share as a 4-byte float that is not below it: 7/10 stored as 0.69999999 would pass a threshold of 0.7."""
    stored = np.float32(share)
    return float(stored if float(stored) >= share else np.nextafter(stored, np.float32(2)))


def gram_hashes(text: str, n: int) -> dict[int, str]:
    """Hash of each token n-gram -> its text; tokens are lower-cased words and single signs."""
    tokens = _TOKEN.findall(text.lower())
    return {hash(tuple(tokens[i : i + n])): " ".join(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}


def squeezed(text: str) -> str:
    """Lower case, all white space removed: line ends, tabs, indentation and width do not matter."""
    return "".join(text.lower().split())


def statement(prompt: str) -> str:
    """The prose of a prompt: its docstring without doctests when it is code, else all of it."""
    try:
        documented = [ast.get_docstring(n) for n in ast.walk(parsed(prompt)) if isinstance(n, FunctionNode)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return prompt
    prose = "\n".join(d for d in documented if d)
    return prose.split(">>>")[0] if prose else prompt
