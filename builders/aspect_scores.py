"""aspect_scores: one digit per aspect, item and scorer, and what code can say of a solution.

In: parsed candidates of an iteration, teacher samples that the scorer has not seen, the pairs that it learns from, or the
snippets that would be the pool; a scorer model, for the pairs the teacher, for snippets a judge of docstrings. Out:
`aspect_scores/item_kind-K/[iteration-t/]`. The model reads the rubrics, which all items share, then the item, which all its
aspects share, and last the name of an aspect, and gives its distribution over the digits at the answer position: `score` is
the most probable digit, `expected` the mean.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import queries
from builders import pool
from builders.checks import names
from builders.engines import ChoiceRequest, Engine, EngineSettings, open_engine, prompts
from builders.engines.answers import batches, journals, open_answers, spent_before, usage
from builders.engines.checkpoints import open_checkpoints
from builders.pairs import labels
from builders.recipe import Recipe, Scorer, Teacher
from store import ASPECTS, CONTRACTS, Plan, Record, Store, Usage
from store.catalog import connect

CODE = "code"
_BY_CODE = {"scorer": CODE, "prompt_version": ""}
SUFFICIENCY = "sufficiency"
"""The aspect of a snippet: whether its docstring suffices to write it again."""
SHARD = 512

Item = dict[str, Any]


@dataclass(frozen=True)
class _Asked:
    """Who scores: the name that its rows bear, its prompt, the adapter that answers, how its engine is opened, and the table
    on whose budget it is.
    """

    name: str
    prompt: str
    settings: EngineSettings
    adapter: str | None
    open: Callable[..., Engine]
    account: str


def _checkpoint(store: Store, settings: EngineSettings, prompt: str, row: dict[str, Any]) -> _Asked:
    name = row["checkpoint_id"]
    return _Asked(name, prompt, settings, name, partial(open_checkpoints, store, settings, [row]), "aspect_scores")


def _teacher(teacher: Teacher, prompt: str) -> _Asked:
    settings, model = teacher.engine_settings(), teacher.model
    return _Asked(model, prompt, settings, None, partial(open_engine, settings, model), "teacher_samples")


def question(prompt: str, code: str, problem: str, solution: str, aspect: str) -> str:
    """The text that a scorer reads for one aspect."""
    return prompts.render(prompt, code=code, problem=problem, solution=solution, aspect=aspect.capitalize())


def build(store: Store, settings: Scorer, scorer: dict[str, Any], iteration: int | None = None) -> Record:
    """Score the parsed candidates of an iteration; without one, the teacher samples of the contrast fit."""
    where: dict[str, Any] = (
        {"item_kind": "teacher"} if iteration is None else {"item_kind": "candidate", "iteration": iteration}
    )
    query = f"{where['item_kind']}s_to_score"
    asked = _checkpoint(store, settings.engine, settings.prompt, scorer)
    source = store.input("teacher_samples") if iteration is None else store.input("candidates", iteration=iteration)
    plan = _plan(
        where,
        source,
        asked,
        prompts.versions(settings.prompt) | queries.versions(query),
        queries.rows(connect(store), f"{query}_count", {"iteration": iteration})[0]["num_items"],
    )

    def items_of(shard: int) -> list[Item]:
        window = {"iteration": iteration, "start": shard * SHARD, "stop": (shard + 1) * SHARD}
        return queries.rows(connect(store), query, window)

    return _answered(store, plan, asked, ASPECTS, items_of, _questions(settings.prompt), _code_facts)


def build_labels(store: Store, settings: Scorer, teacher: Teacher, seed: int) -> Record:
    """The teacher's own scores of what a scorer learns from and is measured on: its pairs, and corrupted copies."""
    assert settings.labels == "teacher"
    asked = _teacher(teacher, settings.prompt)
    items = [
        {"item_id": labels.item_id(e), "code": e.code, "problem": e.problem, "solution": e.solution}
        for split in ("train", "validation")
        for e in labels.corrupted(store, settings, seed, split)
    ]
    items = sorted({item["item_id"]: item for item in items}.values(), key=lambda item: item["item_id"])
    plan = _plan(
        {"item_kind": "label"},
        store.input("teacher_samples"),
        asked,
        labels.texts(settings),
        len(items),
        corruptions_per_sample=settings.corruptions_per_sample,
        seed=seed,
    )

    def items_of(shard: int) -> list[Item]:
        return items[shard * SHARD : (shard + 1) * SHARD]

    return _answered(store, plan, asked, ASPECTS, items_of, _questions(settings.prompt), lambda kind, found: [])


def _questions(prompt: str) -> Callable[[Item], list[str]]:
    def questions(item: Item) -> list[str]:
        return [question(prompt, item["code"], item["problem"], item["solution"], a) for a in ASPECTS]

    return questions


def build_snippets(store: Store, recipe: Recipe, judge: dict[str, Any]) -> Record:
    """Judge the docstrings of what would be the pool without a judge; the threshold of the scores is pool_verdicts.sql's."""
    assert recipe.docstring_judge is not None
    asked = _checkpoint(store, recipe.docstring_judge.engine, recipe.docstring_judge.prompt, judge)
    given = pool.values(recipe) | {"min_docstring_score": None}

    def plan_for(num_items: int) -> Plan:
        return _plan(
            {"item_kind": "snippet"},
            pool.unjudged_inputs(store, recipe),
            asked,
            prompts.versions(asked.prompt) | queries.versions(pool.QUERY, "pool", "snippets_to_judge"),
            num_items,
            **pool.thresholds(given),
        )

    old = store.record("aspect_scores", item_kind="snippet")
    is_same = old is not None and old.plan == plan_for((old.plan.num_shards or 0) * SHARD)
    if old is not None and is_same and (built := store.built(old.plan)) is not None:
        return built
    staged = Path(store.scratch("unjudged"), "part.parquet")
    plan = plan_for(_stage(staged, pool.rows(store, given)))

    def items_of(shard: int) -> list[Item]:
        window = {"start": shard * SHARD, "stop": (shard + 1) * SHARD}
        return queries.rows(connect(store, extra={"unjudged": [str(staged)]}), "snippets_to_judge", window)

    def questions(item: Item) -> list[str]:
        return [prompts.render(asked.prompt, code=item["code"], docstring=item["docstring"])]

    record = _answered(store, plan, asked, (SUFFICIENCY,), items_of, questions, _docstring_facts)
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
    asked: _Asked,
    texts: dict[str, str],
    num_items: int,
    **fields: Any,
) -> Plan:
    return Plan(
        table="aspect_scores",
        partition=where,
        inputs=inputs,
        fields={"scorer": asked.name, "engine": asked.settings.identity(), **fields},
        texts=texts,
        num_shards=max(1, -(-num_items // SHARD)),
        rows_per_shard=SHARD,
    )


def _answered(
    store: Store,
    plan: Plan,
    asked: _Asked,
    aspects: Sequence[str],
    items_of: Callable[[int], list[Item]],
    questions: Callable[[Item], list[str]],
    facts: Callable[[str, Sequence[Item]], list[dict[str, Any]]],
) -> Record:
    """Ask the scorer one question per aspect about every item; `facts` are the rows that need no model."""
    if (built := store.built(plan)) is not None:
        return built
    item_kind = str(plan.partition["item_kind"])
    by = {"scorer": asked.name, "prompt_version": prompts.version(asked.prompt)}
    # An endpoint is paid for each question: each is a request of its own, journalled when it is answered. In this process
    # the questions of an item share their prefix.
    groups = [(a,) for a in aspects] if asked.settings.is_endpoint else [tuple(aspects)]

    def ids_of(item: Item) -> list[str]:
        return [item["item_id"] if len(groups) == 1 else f"{item['item_id']}/{group[0]}" for group in groups]

    def requests_of(shard: int) -> list[ChoiceRequest]:
        requests = []
        for item in items_of(shard):
            texts = zip(aspects, questions(item), strict=True)
            chats = {aspect: ({"role": "user", "content": text},) for aspect, text in texts}
            for name, group in zip(ids_of(item), groups, strict=True):
                requests.append(ChoiceRequest(name, tuple(chats[a] for a in group), adapter=asked.adapter))
        return requests

    def make(shard: int) -> tuple[pa.Table, Usage]:
        items = items_of(shard)
        given = answers.of(shard, [name for item in items for name in ids_of(item)])
        rows = facts(item_kind, items)
        for number, item in enumerate(items):
            parts = given[number * len(groups) : (number + 1) * len(groups)]
            digits = [d for part in parts for d in part.probabilities or ()]
            if len(digits) == len(aspects):
                of_item = zip(aspects, digits, strict=True)
                rows += [_row(item["item_id"], item_kind, aspect, by, d) for aspect, d in of_item]
        rows.sort(key=lambda r: (r["item_id"], r["aspect"], r["scorer"]))
        used = usage(asked.settings, given)
        return pa.Table.from_pylist(rows, schema=CONTRACTS["aspect_scores"].schema), used

    kept, state = journals(store, plan, asked.account), batches(store, plan, asked.account)
    with (
        asked.open(spent=spent_before(store, asked.account, asked.settings), state=state) as engine,
        open_answers(
            kept, store.missing(plan), asked.settings, engine.choose, requests_of, per_item=len(groups)
        ) as answers,
    ):
        return store.materialize(plan, make)


def _row(item_id: str, item_kind: str, aspect: str, by: dict[str, str], digits: Sequence[float]) -> dict[str, Any]:
    return {
        "item_id": item_id,
        "item_kind": item_kind,
        "aspect": aspect,
        **by,
        "score": max(range(10), key=lambda d: digits[d]),
        "expected": sum(d * p for d, p in enumerate(digits)),
    }


def _docstring_facts(item_kind: str, items: Sequence[Item]) -> list[dict[str, Any]]:
    """The estimate from counting words, on the scale of the digits; it also tells which snippets the judge was asked about."""
    rows = []
    for item in items:
        fact = {"item_id": item["item_id"], "item_kind": item_kind, "aspect": SUFFICIENCY, **_BY_CODE}
        value = 9 * item["docstring_sufficiency"]
        rows.append({**fact, "score": round(value), "expected": value})
    return rows


def _code_facts(item_kind: str, items: Sequence[Item]) -> list[dict[str, Any]]:
    counts = names.findings([i["solution"] for i in items], names.PYFLAKES)
    rows = []
    for item, count in zip(items, counts, strict=True):
        for aspect, score in (("lint", max(0, 9 - count)), ("parses", parses(item["solution"]))):
            fact = {"item_id": item["item_id"], "item_kind": item_kind, "aspect": aspect, **_BY_CODE}
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
