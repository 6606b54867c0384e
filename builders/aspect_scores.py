"""aspect_scores: one row is the score, 0 to 9, that one scorer gives one aspect of one item.

In: items, and a model that scores them. There are four kinds of items:
    candidate   the parsed candidates of an iteration, scored by the scorer
    teacher     teacher samples that the scorer was not trained on, scored by the scorer
    label       the pairs that the scorer learns from, scored by the teacher
    snippet     the snippets that would be the pool, scored by a judge of docstrings
Out: `aspect_scores/item_kind-K/[iteration-t/]`.

How: one query reads the items in their order, once (`store/staging.py`). The scorer reads the
rubrics, then the item, then the name of one aspect. The rubrics come first because all items share
them, and the item comes next because all its aspects share it: an engine then computes the shared
part only once. The model gives the probability of each digit as its answer. `score` is the most
probable digit, `expected` the mean over the digits. An endpoint's answer that names a number off
the scale, such as 10 or 8/10, is an error of its row (`engines/choices.py`). A model of this
machine gives the probabilities of the next token alone, so 1 is there the beginning of 10, too.

Facts that need no model are rows of the scorer 'code': whether a solution parses, and its lint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

import queries
from builders import pool, raw_pool
from builders.engines import ChoiceRequest, prompts
from builders.engines.answers import batches, journals, open_answers, spent_before, usage
from builders.executors.gpu_tasks import cluster_of
from builders.pairs import labels
from builders.recipe import Executor, Recipe, Scorer
from builders.scorers import askers, by_code
from builders.scorers.askers import Asked
from store import ASPECTS, CONTRACTS, Plan, Record, Store, Usage
from store.catalog import connect
from store.staging import SMALL, staged

Item = dict[str, Any]
_ITEMS = pa.schema([(name, pa.string()) for name in ("item_id", "code", "problem", "solution")])


def question(prompt: str, code: str, problem: str, solution: str, aspect: str) -> str:
    """The text that a scorer reads for one aspect."""
    return prompts.render(prompt, code=code, problem=problem, solution=solution, aspect=aspect.capitalize())


def build(
    store: Store,
    settings: Scorer,
    scorer: dict[str, Any],
    iteration: int | None = None,
    executor: Executor | None = None,
) -> Record:
    """Score the parsed candidates of an iteration.

    Without an iteration, score the teacher samples that the fit of the weights compares them with.
    """
    where: dict[str, Any] = (
        {"item_kind": "teacher"} if iteration is None else {"item_kind": "candidate", "iteration": iteration}
    )
    query = f"{where['item_kind']}s_to_score"
    asked = askers.checkpoint(store, "scorer", settings, scorer, executor)
    if iteration is None:
        source = store.input("teacher_samples") | raw_pool.inputs(store)
    else:
        source = store.input("candidates", iteration=iteration) | store.input("raw_pool")
    given = {"iteration": iteration}
    plan = _plan(
        where,
        source,
        asked,
        prompts.versions(settings.prompt) | queries.versions(query),
        queries.rows(connect(store, source), f"{query}_count", given)[0]["num_items"],
    )

    def items() -> pa.RecordBatchReader:
        return queries.stream(connect(store, plan.inputs, **SMALL), query, given)

    return _answered(
        store, plan, asked, ASPECTS, items, ("snippet_id", "item_id"), _questions(settings.prompt), by_code.code_facts
    )


def build_labels(store: Store, recipe: Recipe) -> Record:
    """Let the teacher score what the scorer learns from and is measured on.

    These are the teacher's pairs of the splits train and validation, and corrupted copies of them.
    """
    settings = recipe.scorer
    assert settings.labels == "teacher"
    asked = askers.teacher(recipe.teacher, settings.prompt, cluster_of(store, recipe.executor))
    pairs = {labels.item_id(e): e for split in ("train", "validation") for e in labels.corrupted(store, recipe, split)}
    plan = _plan(
        {"item_kind": "label"},
        labels.pair_inputs(store, recipe),
        asked,
        labels.texts(recipe),
        len(pairs),
        **labels.fields(recipe),
    )

    def items() -> pa.RecordBatchReader:
        found = ((name, pairs[name]) for name in sorted(pairs))
        rows = [{"item_id": n, "code": e.code, "problem": e.problem, "solution": e.solution} for n, e in found]
        return pa.Table.from_pylist(rows, schema=_ITEMS).to_reader()

    return _answered(
        store, plan, asked, ASPECTS, items, ("item_id",), _questions(settings.prompt), lambda kind, found: []
    )


def _questions(prompt: str) -> Callable[[Item], list[str]]:
    def questions(item: Item) -> list[str]:
        return [question(prompt, item["code"], item["problem"], item["solution"], a) for a in ASPECTS]

    return questions


def build_snippets(store: Store, recipe: Recipe, judge: dict[str, Any]) -> Record:
    """Let a judge score the docstrings of the snippets that would be the pool without a judge.

    The judge decides nothing: `queries/pool_verdicts.sql` compares the scores with a threshold.
    """
    assert recipe.docstring_judge is not None
    asked = askers.checkpoint(store, "docstring-judge", recipe.docstring_judge, judge, recipe.executor)
    given = pool.values(recipe) | {"min_docstring_score": None}

    found = pool.unjudged_inputs(store, recipe)

    @cache
    def decided() -> duckdb.DuckDBPyConnection:
        return queries.with_verdicts(connect(store, found), pool.QUERY, given)

    def plan_for(num_items: int) -> Plan:
        return _plan(
            {"item_kind": "snippet"},
            found,
            asked,
            prompts.versions(asked.prompt) | pool.versions("snippets_to_judge"),
            num_items,
            **pool.thresholds("snippets_to_judge", given),
        )

    # The same inputs under the same thresholds give the same number of items. So the decision is
    # not made again to count them.
    old = store.record("aspect_scores", item_kind="snippet")
    if old is not None and old.plan == plan_for((old.plan.num_shards or 0) * old.plan.rows_per_shard):
        plan = old.plan
    else:
        plan = plan_for(queries.rows(decided(), "snippets_to_judge_count")[0]["num_items"])

    def items() -> pa.RecordBatchReader:
        return queries.stream(decided(), "snippets_to_judge", given)

    def questions(item: Item) -> list[str]:
        return [prompts.render(asked.prompt, code=item["code"], docstring=item["docstring"])]

    return _answered(
        store, plan, asked, (by_code.SUFFICIENCY,), items, ("place", "item_id"), questions, by_code.docstring_facts
    )


def _plan(
    where: dict[str, Any],
    inputs: dict[str, str],
    asked: Asked,
    texts: dict[str, str],
    num_items: int,
    **fields: Any,
) -> Plan:
    size = asked.settings.rows_per_shard
    return Plan(
        table="aspect_scores",
        partition=where,
        inputs=inputs | asked.inputs,
        fields={"scorer": asked.name, "engine": asked.settings.identity(), **asked.fields, **fields},
        texts=texts,
        num_shards=max(1, -(-num_items // size)),
        rows_per_shard=size,
    )


def _answered(
    store: Store,
    plan: Plan,
    asked: Asked,
    aspects: Sequence[str],
    items: Callable[[], pa.RecordBatchReader],
    order: Sequence[str],
    questions: Callable[[Item], list[str]],
    facts: Callable[[str, Sequence[Item]], list[dict[str, Any]]],
) -> Record:
    """Ask the scorer one question per aspect about every item.

    `items` reads them, `order` are the columns to sort them by, and `facts` makes the rows of the
    items that need no model.
    """
    if (built := store.built(plan)) is not None:
        return built
    item_kind = str(plan.partition["item_kind"])
    by = {"scorer": asked.name, "prompt_version": prompts.version(asked.prompt)}
    # An endpoint bills each question, so each is a request of its own and is journalled as soon as
    # it is answered. An engine of this process computes the shared start of an item's questions
    # only once.
    groups = [(a,) for a in aspects] if asked.settings.is_endpoint else [tuple(aspects)]

    def items_of(shard: int) -> list[Item]:
        return found.rows(shard * plan.rows_per_shard, (shard + 1) * plan.rows_per_shard)

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
        part = items_of(shard)
        given = answers.of(shard, [name for item in part for name in ids_of(item)])
        rows = facts(item_kind, part)
        for number, item in enumerate(part):
            said = given[number * len(groups) : (number + 1) * len(groups)]
            digits = [d for answer in said for d in answer.probabilities or ()]
            masses = [m for answer in said for m in answer.masses or (None,) * len(answer.probabilities or ())]
            if len(digits) == len(aspects):
                of_item = zip(aspects, digits, masses, strict=True)
                rows += [_row(item["item_id"], item_kind, aspect, by, d, m) for aspect, d, m in of_item]
        rows.sort(key=lambda r: (r["item_id"], r["aspect"], r["scorer"]))
        used = usage(asked.settings, given)
        return pa.Table.from_pylist(rows, schema=CONTRACTS["aspect_scores"].schema), used

    kept, state = journals(store, plan, asked.account), batches(store, plan, asked.account)
    with (
        staged(store, plan, items, order) as found,
        asked.open(spent=spent_before(store, asked.account, asked.settings), state=state) as engine,
        open_answers(
            kept,
            store.missing(plan),
            asked.settings,
            engine.choose,
            requests_of,
            per_item=len(groups),
            cluster=asked.cluster,
        ) as answers,
    ):
        return store.materialize(plan, make)


def _row(
    item_id: str, item_kind: str, aspect: str, by: dict[str, str], digits: Sequence[float], mass: float | None
) -> dict[str, Any]:
    return {
        "item_id": item_id,
        "item_kind": item_kind,
        "aspect": aspect,
        **by,
        "score": max(range(10), key=lambda d: digits[d]),
        "expected": sum(d * p for d, p in enumerate(digits)),
        "mass": mass,
    }
