"""teacher_samples: one row is one superior sample: a snippet, and a teacher's problem and solution.

In: the first snippets of the pool and a teacher that is asked about them, or a file of (snippet,
problem, solution) triples, which the recipe names (engine samples) or which is imported. Out:
`teacher_samples`. How a teacher is asked and how a file is read stands in `builders/teacher`.

The place of its snippet decides the split of a sample: the place in the seeded order of the pool,
or in a file the order of the snippets' hashes.
    train        synthesizers are trained on it; a share of it is set aside for the scorer
    reference    serves influence and nothing else
    validation   serves metrics and nothing else
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

import queries
from builders import raw_pool, rejects, unusable_answers
from builders.engines import Request
from builders.engines.answers import usage
from builders.executors.gpu_tasks import Cluster, cluster_of
from builders.pairs import Parsed
from builders.recipe import Executor, Teacher
from builders.teacher import asked, asked_again, asking, docstrings, importing
from builders.teacher.rows import row, table
from store import CONTRACTS, Plan, Record, Store, Usage, content_id, fingerprint
from store.catalog import connect
from store.counts import counted
from store.errors import InputError, MissingError
from store.staging import SMALL, Staged, staged


def build(store: Store, teacher: Teacher, seed: int, executor: Executor | None = None) -> Record:
    """Ask the teacher about the first `num_snippets` snippets of the pool, or read its file."""
    existing = store.record("teacher_samples") if _is_imported(store) else None
    if existing is not None and existing.status == "complete":
        store.announce(
            f"teacher_samples: {existing.rows:,} imported samples; `scoder import teacher FILE --force` replaces them"
        )
        return existing
    if existing is not None and existing.status == "building":
        raise InputError(
            "an import of teacher samples was not finished: give `scoder import teacher FILE` again, and then run"
        )
    if existing is not None and existing.status == "stale":
        raise InputError(
            "the teacher samples were imported from a file, and raw_pool was built again since: import the file again "
            "with `scoder import teacher FILE`, so that the texts of its snippets are found"
        )
    if teacher.path is not None:
        return _read(store, teacher, teacher.path)
    is_offline, plan = teacher.is_offline, asked.plan(store, teacher, seed)
    again = asked_again.accepted(store.record("teacher_samples"), plan)
    if again is not None and (store.is_built(again) or asked_again.is_written(store, again)):
        return store.materialize(again, lambda index: asked_again.made(store, again))
    if teacher.run_examples and not is_offline:
        asking.require_sandbox()
    if (built := store.built(plan)) is not None:
        return built
    _check_size(store, teacher)
    with staged(store, plan, lambda: _snippets(store, plan, teacher), by=("position", "snippet_id")) as snippets:
        if is_offline:
            return store.materialize(plan, lambda shard: _offline(store, teacher, plan, shard, snippets))
        return _asked(store, teacher, seed, plan, snippets, cluster_of(store, executor))


def is_asked(store: Store) -> bool:
    """Whether the samples come from a teacher that was asked about the pool, not from a file."""
    record = store.record("teacher_samples")
    return record is not None and not {"file", "samples"} & record.plan.fields.keys()


def _is_imported(store: Store) -> bool:
    record = store.record("teacher_samples")
    return record is not None and "file" in record.plan.fields


def check(store: Store, teacher: Teacher) -> None:
    """InputError, before any work, if the file that the recipe names cannot be used.

    Nothing is looked for where the samples were imported, or were read before.
    """
    if teacher.path is not None and not _is_complete(store):
        _samples(teacher, teacher.path, is_new=True)


def asks_teacher(store: Store) -> bool:
    """Whether the recipe's teacher writes the samples: imported ones take its place."""
    return not (_is_imported(store) and _is_complete(store))


def _is_complete(store: Store) -> bool:
    record = store.record("teacher_samples")
    return record is not None and record.status == "complete"


def _read(store: Store, teacher: Teacher, path: str) -> Record:
    """Use the samples of the file that the recipe names.

    Their snippets need not stand in the pool. No candidate is written for those that do. Samples
    that were read before stay if the file is gone.
    """
    if not Path(path).exists() and (kept := _kept(store, teacher)) is not None:
        store.announce(f"teacher_samples: {path} is gone. The samples that were read from it stay")
        return kept
    named = _samples(teacher, path, is_new=not _is_complete(store))
    triples = [triple for _, triple in named]
    plan = _plan(store, teacher, fingerprint(triples))
    if teacher.run_examples:
        asking.require_sandbox()
    if (built := store.built(plan)) is not None:
        return built
    _import_snippets(store, triples, plan.fields["samples"])
    return store.materialize(plan, lambda index: table(_checked(store, teacher, named)))


def _plan(store: Store, teacher: Teacher, content: str) -> Plan:
    fields = {"samples": content, "teacher": asked.identity(teacher)}
    return Plan(table="teacher_samples", inputs=store.input("raw_pool"), fields=fields, num_shards=1)


def _kept(store: Store, teacher: Teacher) -> Record | None:
    """The record of samples that were read under the same settings, and are not to be rebuilt."""
    record = store.record("teacher_samples")
    if record is None or "samples" not in record.plan.fields:
        return None
    plan = _plan(store, teacher, record.plan.fields["samples"])
    return store.built(plan) if store.is_built(plan) else None


def _samples(teacher: Teacher, path: str, *, is_new: bool) -> list[tuple[str, importing.Triple]]:
    """The samples of the file that are to be used, with the names of their rows.

    With `is_new`, InputError where two have the same id, or where none can be used.
    """
    if not Path(path).is_file():
        raise MissingError(_missing(path))
    found = list(importing.named_triples(path, has_own_ids=is_new))
    if not found:
        raise InputError(f"{path} holds no triples: each row needs snippet, problem and solution")
    named = importing.chosen(found, teacher.num_snippets)
    if is_new and len(faults := importing.faults(named)) == len(named):
        raise InputError(f"{path}: no sample can be used: {_told(named, faults)}. Mend the file")
    return named


def _missing(path: str) -> str:
    if Path(path).is_absolute():
        return f"there is no file of samples {path}: check teacher.path"
    shipped = ", and among the files that come with SCoder" if Path(path).name == path else ""
    return (
        f"there is no file of samples {path}. It was looked for beside the recipe, in {Path.cwd()}{shipped}: check "
        "teacher.path"
    )


def _checked(store: Store, teacher: Teacher, named: list[tuple[str, importing.Triple]]) -> list[dict[str, Any]]:
    """The rows of the table. What is left out is told, with its row and the reason."""
    faults = importing.faults(named)
    if faults:
        store.announce(
            f"teacher_samples: {len(faults)} of {counted(len(named), 'sample')} left out: {_told(named, faults)}"
        )

    def verified(pairs: list[Parsed]) -> list[Parsed]:
        usable = [Parsed("syntax_error", p.problem, p.solution) if n in faults else p for n, p in enumerate(pairs)]
        return asking.verified(usable, store.announce, [name for name, _ in named]) if teacher.run_examples else usable

    rows = importing.sample_rows([triple for _, triple in named], teacher, verified)
    if not any(row["status"] == "ok" for row in rows):
        raise InputError(f"{teacher.path}: no sample can be used, as each is left out. Mend the file")
    return rows


def _told(named: list[tuple[str, importing.Triple]], faults: dict[int, str]) -> str:
    return importing.shown([f"{named[place][0]}: {fault}" for place, fault in faults.items()])


def build_rejects(store: Store, teacher: Teacher) -> None:
    """Write the rejects of the stage `teacher`. There are none for an imported file."""
    if teacher.path is not None and not _is_imported(store):
        _build_failed(store, teacher, teacher.path)
    elif is_asked(store):
        unusable_answers.build(store)
        made = store.input("pool") | store.input("teacher_samples") | store.input("unusable_answers")
        rejects.build(store, "teacher", made, {"num_snippets": teacher.num_snippets})


def _build_failed(store: Store, teacher: Teacher, path: str) -> None:
    """Write the snippets of a file whose samples are left out."""

    def make(index: int) -> pa.Table:
        triples = [triple for _, triple in _samples(teacher, path, is_new=False)]
        kept = {n for part in store.read("teacher_samples", ["sample_id"]) for n in part.column(0).to_pylist()}
        failed = sorted({snippet for sample, snippet in map(importing.keys, triples) if sample not in kept})
        row = {"stage": "teacher", "item_kind": "snippet", "reason": "teacher_answer_unusable"}
        return pa.Table.from_pylist([row | {"item_id": name} for name in failed], schema=CONTRACTS["rejects"].schema)

    inputs = store.input("teacher_samples")
    store.materialize(Plan(table="rejects", partition={"stage": "teacher"}, inputs=inputs, num_shards=1), make)


def _triples(path: str) -> list[importing.Triple]:
    importing.require_python(path)
    found = list(importing.triples(path))
    if not found:
        raise InputError(f"{path} holds no triples: each row needs snippet, problem and solution")
    return found


def _check_size(store: Store, teacher: Teacher) -> None:
    """InputError when the pool has fewer snippets than the teacher is to be asked about."""
    pool = store.record("pool")
    if pool is not None and pool.rows < teacher.num_snippets:
        raise InputError(
            f"the pool has {pool.rows:,} snippets, but the teacher is to be asked about {teacher.num_snippets:,}: relax "
            "the thresholds of `pool`, add sources, or lower teacher.num_snippets"
        )


def _snippets(store: Store, plan: Plan, teacher: Teacher) -> pa.RecordBatchReader:
    connection = connect(store, plan.inputs, **SMALL)
    return queries.stream(connection, "snippets", {"num_snippets": teacher.num_snippets})


def _of_shard(snippets: Staged, plan: Plan, shard: int) -> list[dict[str, Any]]:
    return snippets.rows(shard * plan.rows_per_shard, (shard + 1) * plan.rows_per_shard)


def _offline(store: Store, teacher: Teacher, plan: Plan, shard: int, snippets: Staged) -> pa.Table:
    rows = [row(s, docstrings.pair_of(s), teacher) for s in _of_shard(snippets, plan, shard)]
    unusable_answers.keep(store, plan, shard, rows)
    return table(rows)


def _asked(store: Store, teacher: Teacher, seed: int, plan: Plan, snippets: Staged, cluster: Cluster | None) -> Record:
    def requests_of(shard: int) -> list[Request]:
        return [asking.request(s, teacher, seed) for s in _of_shard(snippets, plan, shard)]

    def make(shard: int) -> tuple[pa.Table, Usage]:
        found = _of_shard(snippets, plan, shard)
        completions = answers.of(shard, [asking.request(s, teacher, seed).request_id for s in found])
        rows = asking.rows(teacher, found, completions, store.announce)
        unusable_answers.keep(store, plan, shard, rows)
        return table(rows), usage(teacher.engine_settings(), completions)

    with asked.answers(store, teacher, plan, cluster, requests_of, store.missing(plan)) as answers:
        return store.materialize(plan, make)


def import_file(store: Store, path: str, teacher: Teacher) -> Record:
    """Use the (snippet, problem, solution) triples of a file as the teacher samples of a store.

    The file is JSON lines or Parquet, and the store has its pool already.

    Example:
        teacher = files.load("tiny").teacher  # builders.recipe.files
        import_file(Store("store-data"), "triples.jsonl", teacher)
    """
    triples = _triples(path)
    imported = teacher.model_copy(update={"engine": "docstring", "path": None, "model": "import"})
    rows = importing.sample_rows(triples, imported)
    file = fingerprint(triples)
    plan = Plan(
        table="teacher_samples",
        inputs=store.input("raw_pool"),
        fields={"file": file, "teacher": asked.identity(teacher)},
        num_shards=1,
    )
    # Begin before the snippets are written: if the import is refused, nothing of it is left behind.
    if (built := store.built(plan)) is not None:
        return built
    _import_snippets(store, triples, file)
    return store.materialize(plan, lambda index: table(rows))


def _import_snippets(store: Store, triples: list[importing.Triple], file: str) -> None:
    """Write the snippets that raw_pool does not have to a partition of it: texts are kept there.

    The partition is stale as soon as raw_pool has other rows: it might have one of these texts
    then, too, and a text must be there once.
    """
    inputs = store.input("raw_pool")
    plan = Plan(table="raw_pool", partition=raw_pool.IMPORTED, inputs=inputs, fields={"file": file}, num_shards=1)

    def make(index: int) -> pa.Table:
        wanted = {content_id("python", t["snippet"]): t for t in triples}
        for part in store.read("raw_pool", ["snippet_id"]):
            for known in part.column(0).to_pylist():
                wanted.pop(known, None)
        return pa.Table.from_pylist(importing.snippet_rows(list(wanted.values())), schema=CONTRACTS["raw_pool"].schema)

    store.materialize(plan, make)
