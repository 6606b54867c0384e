"""Asking a teacher again about the snippets whose answers were of no use.

In: complete `teacher_samples` and `unusable_answers`, and which statuses are to be asked again.
Out: both tables as they were, but for these snippets: a usable answer is a sample now, and another
one takes the place of the old.

    ask_again(store, recipe.teacher, recipe.seed, ["no_problem"])

- The new answers have a journal of their own, so a killed command goes on where it was. Both tables
  stay as they are until the last answer is there.
- The plan of the samples then names each time that they were asked again (`again`). A recipe with
  the teacher of the first time, or with that of any later time, accepts them.
- Each time has other request ids and seeds, so an endpoint that repeats itself is asked anew.
- The new tables are written whole into `_runs/_scratch/again-<plan>/` first. So a kill between the
  two tables loses nothing: the next run takes them from there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import queries
from builders.engines import Completion, Request
from builders.engines.answers import usage
from builders.executors.gpu_tasks import cluster_of
from builders.recipe import Executor, Teacher
from builders.teacher import asked, asking
from builders.teacher import rows as teacher_rows
from store import CONTRACTS, Plan, Record, Store, Usage, content_id, fingerprint, seed_from
from store.catalog import connect
from store.errors import InputError, MissingError
from store.files import write_text
from store.staging import SMALL

SHARES = ("num_snippets", "reference_share", "validation_share", "scorer_share")
"""Settings that decide the splits. They are those of the first time."""

Row = dict[str, Any]


def ask_again(
    store: Store, teacher: Teacher, seed: int, statuses: Sequence[str], executor: Executor | None = None
) -> dict[str, int]:
    """Ask the teacher again about the snippets whose answers have one of these statuses, or any.

    Returns how many were asked, and how many of them are samples now.
    """
    first = _first_plan(store, teacher)
    teacher = _as_first(teacher, first)
    wanted = _unusable(store, statuses)
    snippets = _snippets_of(store, teacher, {row["snippet_id"] for row in wanted})
    size = teacher.engine_settings().rows_per_shard
    now = asked.plan(store, teacher, seed)
    asking_plan = now.model_copy(
        update={
            "inputs": now.inputs | store.input("teacher_samples") | store.input("unusable_answers"),
            "fields": now.fields | {"asked_again": sorted(row["request_id"] for row in wanted)},
            "num_shards": -(-len(snippets) // size),
        }
    )
    if teacher.run_examples:
        asking.require_sandbox()

    def requests_of(shard: int) -> list[Request]:
        part = snippets[shard * size : (shard + 1) * size]
        return [_request(s, teacher, seed, asking_plan) for s in part]

    shards, given = range(asking_plan.num_shards or 0), list[Completion]()
    with asked.answers(store, teacher, asking_plan, cluster_of(store, executor), requests_of, shards) as answers:
        for shard in store.track(shards, "teacher_samples asked again"):
            given += answers.of(shard, [r.request_id for r in requests_of(shard)])
    rows = asking.rows(teacher, snippets, given, store.announce)
    again = [*first.fields.get("again", []), {"asked": asking_plan.fingerprint, "teacher": _teacher_of(now)}]
    plan = first.model_copy(update={"fields": first.fields | {"again": again}, "num_shards": 1})
    spent = _record(store).usage.add(usage(teacher.engine_settings(), given))
    _write(store, plan, wanted, rows, spent)
    forced = Store(store.root, store.announce, store.track, force=True)
    forced.materialize(plan, lambda index: made(store, plan))
    return {"asked": len(rows), "usable": sum(row["status"] == "ok" for row in rows)}


def _as_first(teacher: Teacher, first: Plan) -> Teacher:
    """The teacher with the splits of the plan that the samples were built under."""
    return teacher.model_copy(update={name: first.fields[name] for name in SHARES})


def accepted(record: Record | None, plan: Plan) -> Plan | None:
    """The plan of samples that were asked again, if it stands for `plan`. None if not."""
    if record is None or not (again := record.plan.fields.get("again")):
        return None
    first = {name: value for name, value in record.plan.fields.items() if name != "again"}
    is_first = first == plan.fields and record.plan.texts == plan.texts
    is_one = is_first or _teacher_of(plan) in [one["teacher"] for one in again]
    return record.plan if is_one and record.plan.inputs == plan.inputs else None


def _teacher_of(plan: Plan) -> str:
    """A hash of the teacher, its settings and its prompt."""
    return fingerprint({"fields": plan.fields, "texts": plan.texts})


def _unusable(store: Store, statuses: Sequence[str]) -> list[Row]:
    """The rows that are to be asked again. InputError, with those that there are, if none is."""
    rows = [row for part in store.read("unusable_answers") for row in part.to_pylist()]
    found = [row for row in rows if not statuses or row["status"] in statuses]
    if not found:
        there = {status: sum(r["status"] == status for r in rows) for status in sorted({r["status"] for r in rows})}
        told = ", ".join(f"{status} ({number:,})" for status, number in there.items()) or "none"
        raise InputError(
            f"no unusable answer of the teacher has the status {', '.join(statuses)}; there are: {told}"
            if rows
            else "no answer of the teacher is unusable: there is nothing to ask again"
        )
    return found


def _first_plan(store: Store, teacher: Teacher) -> Plan:
    """The plan of the samples that are there. InputError where nobody was asked for them."""
    record = store.record("teacher_samples")
    is_offline = teacher.is_offline if record is None else record.plan.fields.get("engine", "docstring") == "docstring"
    if is_offline:
        raise InputError(
            "nobody was asked for the teacher samples of this store, so nobody can be asked again: they come from "
            "docstrings or from a file"
        )
    plan = _record(store).plan
    if teacher.is_offline:
        raise InputError(
            "this recipe has no teacher who can be asked, but that of the samples was one: give its recipe by --recipe"
        )
    return plan


def _record(store: Store) -> Record:
    record = store.record("teacher_samples")
    if record is None or record.status != "complete":
        raise MissingError(
            "the teacher has not been asked for all samples yet: `scoder run RECIPE --until teacher` asks for the rest, "
            "and then those of no use can be asked again"
        )
    return record


def _snippets_of(store: Store, teacher: Teacher, wanted: set[str]) -> list[dict[str, Any]]:
    """These snippets with their texts, in the order of their positions."""
    connection = connect(store, store.input("pool") | store.input("raw_pool"), **SMALL)
    found = queries.rows(connection, "snippets", {"num_snippets": teacher.num_snippets})
    return sorted((row for row in found if row["snippet_id"] in wanted), key=lambda row: row["position"])


def _request(snippet: Row, teacher: Teacher, seed: int, plan: Plan) -> Request:
    """The question about one snippet, under a name and a seed of this time."""
    first = asking.request(snippet, teacher, seed)
    name = content_id(first.request_id, "again", plan.fingerprint)
    return replace(first, request_id=name, seed=seed_from(name, seed))


def _write(store: Store, plan: Plan, wanted: Sequence[Row], answered: list[Row], usage: Usage) -> None:
    """Write the rows of both tables where `made` and `unusable_answers.build` find them.

    `wanted` are the unusable rows that were asked again, `answered` the rows of their new answers.
    """
    gone = {row["request_id"] for row in wanted}
    samples = [*store.read("teacher_samples"), teacher_rows.table(answered)]
    old = [row for part in store.read("unusable_answers") for row in part.to_pylist() if row["request_id"] not in gone]
    left = pa.Table.from_pylist(old, schema=CONTRACTS["unusable_answers"].schema)
    schema = CONTRACTS["teacher_samples"].schema
    folder, beside = _folder(store, plan), Path(store.scratch(f"unusable-{plan.fingerprint}"))
    for place in (folder, beside):
        place.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.concat_tables([part.cast(schema) for part in samples]), folder / "samples.parquet")
    pq.write_table(pa.concat_tables([left, teacher_rows.unusable(answered)]), beside / "part-00000.parquet")
    write_text(folder / "usage.json", json.dumps(usage.model_dump()))


def is_written(store: Store, plan: Plan) -> bool:
    """Whether the tables of this plan were written."""
    return (_folder(store, plan) / "usage.json").is_file()


def made(store: Store, plan: Plan) -> tuple[pa.Table, Usage]:
    """The samples that were written, and what they cost, with those of before."""
    folder = _folder(store, plan)
    usage = Usage.model_validate_json((folder / "usage.json").read_bytes())
    return pq.read_table(folder / "samples.parquet", schema=CONTRACTS["teacher_samples"].schema), usage


def _folder(store: Store, plan: Plan) -> Path:
    return Path(store.scratch(f"again-{plan.fingerprint}"))
