"""teacher_samples: the superior samples that bootstrap the synthesizer.

In: the first snippets of the pool and a teacher, or a file of triples. Out: `teacher_samples`, split
by the place in the seeded order of the pool: reference serves influence only, validation serves
metrics only, and a share of train is set aside for the scorer. `builders/teacher` says how samples
come in.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from builders.engines import Request, open_engine, prompts
from builders.engines.answers import batches, journals, open_answers, spent_before, usage
from builders.pool import snippets
from builders.recipe import Teacher
from builders.teacher import asking, docstrings, importing
from builders.teacher.rows import row, table
from store import CONTRACTS, Plan, Record, Store, Usage, content_id, fingerprint

SHARD = 500


def build(store: Store, teacher: Teacher, seed: int) -> Record:
    """Ask the teacher about the first `num_snippets` snippets of the pool."""
    plan = Plan(
        table="teacher_samples",
        inputs=store.input("pool"),
        fields=_identity(teacher) | {"seed": seed},
        texts=prompts.versions(teacher.prompt) if teacher.engine != "docstring" else {},
        num_shards=-(-teacher.num_snippets // SHARD),
    )
    existing = store.record("teacher_samples")
    if existing is not None and existing.status == "complete" and not is_asked(store):
        store.announce(f"teacher_samples: {existing.rows:,} imported samples")
        return existing
    if teacher.engine == "docstring":
        return store.materialize(plan, lambda shard: _offline(store, teacher, shard))
    return _asked(store, teacher, seed, plan)


def is_asked(store: Store) -> bool:
    """Whether a teacher was asked about the pool, rather than a file imported."""
    record = store.record("teacher_samples")
    return record is not None and "file" not in record.plan.fields


def _identity(teacher: Teacher) -> dict[str, Any]:
    """What of the teacher's settings changes its samples."""
    engine = "docstring" if isinstance(teacher.engine, str) else teacher.engine.identity()
    return teacher.model_dump(mode="json", exclude={"engine"}) | {"engine": engine}


def _snippets(store: Store, teacher: Teacher, shard: int) -> list[dict[str, Any]]:
    return snippets(store, shard * SHARD, min((shard + 1) * SHARD, teacher.num_snippets))


def _offline(store: Store, teacher: Teacher, shard: int) -> pa.Table:
    return table([row(s, docstrings.pair_of(s), teacher) for s in _snippets(store, teacher, shard)])


def _asked(store: Store, teacher: Teacher, seed: int, plan: Plan) -> Record:
    settings = teacher.engine_settings()
    if teacher.run_examples:
        asking.require_sandbox()
    if (built := store.built(plan)) is not None:
        return built
    read = asking.reader(teacher)

    def requests_of(shard: int) -> list[Request]:
        return [asking.request(s, teacher, seed) for s in _snippets(store, teacher, shard)]

    def make(shard: int) -> tuple[pa.Table, Usage]:
        found = _snippets(store, teacher, shard)
        completions = answers.of(shard, [asking.request(s, teacher, seed).request_id for s in found])
        pairs = [read(c.text, c.finish_reason) for c in completions]
        if teacher.run_examples:
            pairs = asking.verified(pairs, store.announce)
        rows = [
            row(snippet, pair, teacher) | asking.price(teacher, completion)
            for snippet, pair, completion in zip(found, pairs, completions, strict=True)
        ]
        return table(rows), usage(settings, completions)

    spent, state = spent_before(store, plan.table, settings), batches(store, plan)
    with (
        open_engine(settings, teacher.model, spent=spent, state=state) as engine,
        open_answers(
            journals(store, plan), store.missing(plan), settings, engine.generate, requests_of,
            is_usable=lambda c: read(c.text, c.finish_reason).status == "ok", max_reasks=teacher.max_reasks,
        ) as answers,
    ):  # fmt: skip
        return store.materialize(plan, make)


def import_file(store: Store, path: str, teacher: Teacher) -> Record:
    """Read (snippet, problem, solution) triples from JSON lines or Parquet as the teacher samples of a store."""
    triples = list(importing.triples(path))
    known = {i for t in store.read("raw_pool", ["snippet_id"]) for i in t.column(0).to_pylist()}
    rows = importing.sample_rows(triples, teacher)
    plan = Plan(
        table="teacher_samples",
        fields={"file": fingerprint(triples), "teacher": _identity(teacher)},
        num_shards=1,
    )
    # Begin before the snippets are written: if the import is refused, nothing of it is left behind.
    if (built := store.built(plan)) is not None:
        return built
    _import_snippets(store, [t for t in triples if content_id("python", t["snippet"]) not in known])
    return store.materialize(plan, lambda index: table(rows))


def _import_snippets(store: Store, triples: list[dict[str, str]]) -> None:
    """Snippets that the pool does not know become a partition of raw_pool, so that text is written once."""
    rows = importing.snippet_rows(triples)
    fields = {"snippets": [r["snippet_id"] for r in rows]}
    plan = Plan(table="raw_pool", partition={"origin": "import"}, fields=fields, num_shards=1)
    store.materialize(plan, lambda index: pa.Table.from_pylist(rows, schema=CONTRACTS["raw_pool"].schema))
