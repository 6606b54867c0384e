"""aspect_scores: one digit per aspect, item and scorer, and what code can say of a solution.

In: parsed candidates of an iteration, teacher samples that the scorer has not seen, or the snippets that would be the pool; a
scorer model, for snippets a judge of docstrings. Out: `aspect_scores/item_kind-K/[iteration-t/]`. The model reads the rubrics, which all
items share, then the item, which all its aspects share, and last the name of an aspect, and gives its distribution over
the digits at the answer position: `score` is the most probable digit, `expected` the mean.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import queries
from builders import generation, lint, pool, prompts
from builders.engines import ChoiceRequest, EngineSettings
from builders.models import open_checkpoints
from builders.recipe import Recipe
from store import ASPECTS, CONTRACTS, Plan, Record, Store, Usage
from store.catalog import connect

CODE = "code"
SUFFICIENCY = "sufficiency"
"""The aspect of a snippet: whether its docstring suffices to write it again."""
SHARD = 512

Item = dict[str, Any]


def question(prompt: str, code: str, problem: str, solution: str, aspect: str) -> str:
    """The text that a scorer reads for one aspect."""
    return prompts.render(prompt, code=code, problem=problem, solution=solution, aspect=aspect.capitalize())


def build(store: Store, recipe: Recipe, scorer: dict[str, Any], iteration: int | None = None) -> Record:
    """Score the parsed candidates of an iteration; without one, the teacher samples of the contrast fit."""
    where: dict[str, Any] = (
        {"item_kind": "teacher"} if iteration is None else {"item_kind": "candidate", "iteration": iteration}
    )
    query = f"{where['item_kind']}s_to_score"
    source = store.input("teacher_samples") if iteration is None else store.input("candidates", iteration=iteration)
    plan = _plan(
        where,
        source,
        scorer,
        recipe.scorer.engine,
        prompts.versions(recipe.scorer.prompt) | queries.versions(query),
        queries.rows(connect(store), f"{query}_count", {"iteration": iteration})[0]["num_items"],
    )

    def items_of(shard: int) -> list[Item]:
        window = {"iteration": iteration, "start": shard * SHARD, "stop": (shard + 1) * SHARD}
        return queries.rows(connect(store), query, window)

    def questions(item: Item) -> list[str]:
        return [question(recipe.scorer.prompt, item["code"], item["problem"], item["solution"], a) for a in ASPECTS]

    return _answered(store, plan, recipe.scorer.engine, scorer, ASPECTS, items_of, questions, _code_facts)


def build_snippets(store: Store, recipe: Recipe, judge: dict[str, Any]) -> Record:
    """Judge the docstrings of what would be the pool without a judge; the threshold of the scores is pool.sql's."""
    assert recipe.docstring_judge is not None
    settings, prompt = recipe.docstring_judge.engine, recipe.docstring_judge.prompt
    given = pool.values(recipe) | {"min_docstring_score": None}

    def plan_for(num_items: int) -> Plan:
        return _plan(
            {"item_kind": "snippet"},
            pool.unjudged_inputs(store, recipe),
            judge,
            settings,
            prompts.versions(prompt) | queries.versions("pool", "snippets_to_judge"),
            num_items,
            **pool.thresholds(given),
        )

    built = store.record("aspect_scores", item_kind="snippet")
    if (
        built is not None
        and built.plan == plan_for((built.plan.num_shards or 0) * SHARD)
        and store.begin(built.plan) is None
    ):
        return built
    staged = Path(store.scratch("unjudged"), "part.parquet")
    plan = plan_for(_stage(staged, queries.stream(connect(store), "pool", given)))

    def items_of(shard: int) -> list[Item]:
        window = {"start": shard * SHARD, "stop": (shard + 1) * SHARD}
        return queries.rows(connect(store, extra={"unjudged": [str(staged)]}), "snippets_to_judge", window)

    def questions(item: Item) -> list[str]:
        return [prompts.render(prompt, code=item["code"], docstring=item["docstring"])]

    record = _answered(store, plan, settings, judge, (SUFFICIENCY,), items_of, questions, _docstring_facts)
    shutil.rmtree(staged.parent, ignore_errors=True)
    return record


def _stage(path: Path, rows: pa.RecordBatchReader) -> int:
    """Write the rows to a file of this run; their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, rows.schema) as writer:
        for batch in rows:
            writer.write_batch(batch)
    return pq.read_metadata(path).num_rows


def _plan(
    where: dict[str, Any],
    inputs: dict[str, str],
    scorer: dict[str, Any],
    settings: EngineSettings,
    texts: dict[str, str],
    num_items: int,
    **fields: Any,
) -> Plan:
    return Plan(
        table="aspect_scores",
        partition=where,
        inputs=inputs,
        fields={"scorer": scorer["checkpoint_id"], "engine": settings.identity(), **fields},
        texts=texts,
        num_shards=max(1, -(-num_items // SHARD)),
        rows_per_shard=SHARD,
    )


def _answered(
    store: Store,
    plan: Plan,
    settings: EngineSettings,
    scorer: dict[str, Any],
    aspects: Sequence[str],
    items_of: Callable[[int], list[Item]],
    questions: Callable[[Item], list[str]],
    facts: Callable[[str, Sequence[Item]], list[dict[str, Any]]],
) -> Record:
    """Ask the scorer one question per aspect about every item; `facts` are the rows that need no model."""
    if store.begin(plan) is None:
        return store.record("aspect_scores", **plan.partition)  # type: ignore[return-value]
    item_kind, scorer_id = str(plan.partition["item_kind"]), scorer["checkpoint_id"]

    def requests_of(shard: int) -> list[ChoiceRequest]:
        asked = [(item["item_id"], questions(item)) for item in items_of(shard)]
        return [
            ChoiceRequest(i, tuple(({"role": "user", "content": q},) for q in qs), adapter=scorer_id) for i, qs in asked
        ]

    def make(shard: int) -> tuple[pa.Table, Usage]:
        items = items_of(shard)
        given = answers.of(shard, [item["item_id"] for item in items])
        rows = facts(item_kind, items) + [
            _row(answer.request_id, item_kind, aspect, scorer_id, digits)
            for answer in given
            for aspect, digits in zip(aspects, answer.probabilities or (), strict=False)
        ]
        rows.sort(key=lambda r: (r["item_id"], r["aspect"], r["scorer"]))
        return pa.Table.from_pylist(rows, schema=CONTRACTS["aspect_scores"].schema), generation.usage(settings, given)

    spent, state = generation.spent(store, plan.table, settings), generation.batches(store, plan)
    with (
        open_checkpoints(store, settings, [scorer], spent=spent, state=state) as engine,
        generation.Answers(
            generation.journals(store, plan), store.missing(plan), settings, engine.choose, requests_of
        ) as answers,
    ):
        return store.materialize(plan, make)


def _row(item_id: str, item_kind: str, aspect: str, scorer: str, digits: Sequence[float]) -> dict[str, Any]:
    return {
        "item_id": item_id,
        "item_kind": item_kind,
        "aspect": aspect,
        "scorer": scorer,
        "score": max(range(10), key=lambda d: digits[d]),
        "expected": sum(d * p for d, p in enumerate(digits)),
    }


def _docstring_facts(item_kind: str, items: Sequence[Item]) -> list[dict[str, Any]]:
    """The estimate from counting words, on the scale of the digits; it also tells which snippets the judge was asked about."""
    rows = []
    for item in items:
        fact = {"item_id": item["item_id"], "item_kind": item_kind, "aspect": SUFFICIENCY, "scorer": CODE}
        value = 9 * item["docstring_sufficiency"]
        rows.append({**fact, "score": round(value), "expected": value})
    return rows


def _code_facts(item_kind: str, items: Sequence[Item]) -> list[dict[str, Any]]:
    counts = lint.findings([i["solution"] for i in items], lint.PYFLAKES)
    rows = []
    for item, count in zip(items, counts, strict=True):
        for aspect, score in (("lint", max(0, 9 - count)), ("parses", parses(item["solution"]))):
            fact = {"item_id": item["item_id"], "item_kind": item_kind, "aspect": aspect, "scorer": CODE}
            rows.append({**fact, "score": score, "expected": float(score)})
    return rows


def parses(solution: str) -> int:
    """9 when the solution defines a function with a body, 5 when it only parses, 0 otherwise."""
    try:
        tree = ast.parse(solution)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return 0
    bodies = [n.body for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return 9 if any(not isinstance(b[-1], ast.Pass) for b in bodies) else 5
