"""aspect_scores: one digit per aspect, item and scorer, and what code can say of a solution.

In: parsed candidates of an iteration, or teacher samples that the scorer has not seen; a scorer model. Out:
`aspect_scores/item_kind-K/[iteration-t/]`. The model reads the rubric of each aspect after the pair (its shared prefix) and gives
its distribution over the digits at the answer position: `score` is the most probable digit, `expected` the mean.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

import queries
from builders import generation, lint, prompts
from builders.engines import ChoiceCompletion, ChoiceRequest, open_engine
from builders.models import adapter_name, engine_weights
from builders.recipe import Recipe
from store import ASPECTS, CONTRACTS, Plan, Record, Store, Usage
from store.catalog import connect

CODE = "code"
SHARD = 512


def question(prompt: str, code: str, problem: str, solution: str, aspect: str) -> str:
    """The text that a scorer reads for one aspect."""
    rubric = prompts.template(f"aspects/{aspect}")
    return prompts.render(prompt, code=code, problem=problem, solution=solution, aspect=rubric)


def build(store: Store, recipe: Recipe, scorer: dict[str, Any], iteration: int | None = None) -> Record:
    """Score the parsed candidates of an iteration; without one, the teacher samples of the contrast fit."""
    where: dict[str, Any] = (
        {"item_kind": "teacher"} if iteration is None else {"item_kind": "candidate", "iteration": iteration}
    )
    query = f"{where['item_kind']}s_to_score"
    source = store.input("teacher_samples") if iteration is None else store.input("candidates", iteration=iteration)
    items = queries.rows(connect(store), f"{query}_count", {"iteration": iteration})[0]["num_items"]
    plan = Plan(
        table="aspect_scores",
        partition=where,
        inputs=source,
        fields={"scorer": scorer["checkpoint_id"], "engine": recipe.scorer.engine.identity()},
        texts=prompts.versions(recipe.scorer.prompt, *(f"aspects/{a}" for a in ASPECTS)) | queries.versions(query),
        num_shards=max(1, -(-items // SHARD)),
        rows_per_shard=SHARD,
    )
    if store.begin(plan) is None:
        return store.record("aspect_scores", **where)  # type: ignore[return-value]
    settings = recipe.scorer.engine

    def items_of(shard: int) -> list[dict[str, Any]]:
        window = {"iteration": iteration, "start": shard * SHARD, "stop": (shard + 1) * SHARD}
        return queries.rows(connect(store), query, window)

    def requests_of(shard: int) -> list[ChoiceRequest]:
        return [_request(recipe, scorer, item) for item in items_of(shard)]

    def make(shard: int) -> tuple[pa.Table, Usage]:
        found = items_of(shard)
        given = answers.of(shard, [item["item_id"] for item in found])
        return _table(str(where["item_kind"]), scorer, found, given), generation.usage(settings, given)

    spent, state = generation.spent(store, plan.table, settings), generation.batches(store, plan)
    with (
        open_engine(settings, *engine_weights(store, [scorer]), spent=spent, state=state) as engine,
        generation.Answers(
            generation.journals(store, plan), store.missing(plan), settings, engine.choose, requests_of
        ) as answers,
    ):
        return store.materialize(plan, make)


def _request(recipe: Recipe, scorer: dict[str, Any], item: dict[str, Any]) -> ChoiceRequest:
    texts = (
        question(recipe.scorer.prompt, item["code"], item["problem"], item["solution"], aspect) for aspect in ASPECTS
    )
    return ChoiceRequest(
        request_id=item["item_id"],
        questions=tuple(({"role": "user", "content": text},) for text in texts),
        adapter=adapter_name(scorer),
    )


def _table(
    item_kind: str, scorer: dict[str, Any], items: Sequence[dict[str, Any]], answers: Sequence[ChoiceCompletion]
) -> pa.Table:
    rows = [
        _row(answer.request_id, item_kind, aspect, scorer["checkpoint_id"], digits)
        for answer in answers
        for aspect, digits in zip(ASPECTS, answer.probabilities or (), strict=False)
    ]
    rows += _code_facts(item_kind, items)
    rows.sort(key=lambda r: (r["item_id"], r["aspect"], r["scorer"]))
    return pa.Table.from_pylist(rows, schema=CONTRACTS["aspect_scores"].schema)


def _row(item_id: str, item_kind: str, aspect: str, scorer: str, digits: Sequence[float]) -> dict[str, Any]:
    return {
        "item_id": item_id,
        "item_kind": item_kind,
        "aspect": aspect,
        "scorer": scorer,
        "score": max(range(10), key=lambda d: digits[d]),
        "expected": sum(d * p for d, p in enumerate(digits)),
    }


def _code_facts(item_kind: str, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
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
