"""contamination: one row is one hit of one detector: an item that resembles a benchmark task.

In: the texts of one kind of items (snippet, teacher or candidate), and one benchmark. Out:
`contamination/item_kind-K/[iteration-I/]benchmark-B`. Each benchmark has a partition of its own, so
adding one does not repeat the others. Its hits are the same whether it is looked for alone or with
others. What the detectors look for stands in `builders/decontamination/detectors`. With
`decontamination.execution`, the functions of all items are also run on the calls of the benchmark's
own tests (`builders/decontamination/execution`); those that pass are hits of strength 1. With
`decontamination.meaning`, a model of sentences looks at each pair of item and task that another
detector has seen (`builders/decontamination/meaning.py`).

A hit is only a measurement. How strong it must be to leave an item out is decided in SQL.

How: one task reads one shard of the items and passes its texts through the detectors in batches. A
worker process keeps the index of a benchmark, and its recorded calls, for its next shards.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from builders.executors.build import build_sharded
from builders.recipe import Benchmark, Decontamination, Executor, MeaningModel
from store import CONTRACTS, Plan, Record, Store, fields_of, segments
from store.errors import JobError
from store.shards import shard_name
from store.shown import shown_code

if TYPE_CHECKING:  # compiled kernels: a command that only looks starts without them
    from builders.decontamination.detectors import Index
    from builders.decontamination.execution import Oracle
    from builders.decontamination.meaning import Meaning

TEXTS = {
    "snippet": ("raw_pool", "snippet_id", ("imports", "context", "code")),
    "teacher": ("teacher_samples", "sample_id", ("problem", "solution")),
    "candidate": ("candidates", "candidate_id", ("problem", "solution")),
}
"""Item kind -> table, key, text columns."""

BATCH_ROWS = 4000


def build(
    store: Store,
    settings: Decontamination,
    executor: Executor,
    item_kind: str,
    benchmark: Benchmark,
    iteration: int | None = None,
) -> Record:
    """Check the items of one kind (and iteration) against one benchmark."""
    if settings.execution:
        _require_sandbox()
    table, _, _ = TEXTS[item_kind]
    where: dict[str, Any] = {} if iteration is None else {"iteration": iteration}
    source = store.record(table, **where)
    plan = Plan(
        table="contamination",
        partition={"item_kind": item_kind, **where, "benchmark": benchmark.name},
        inputs=store.input(table, **where) | store.input("benchmarks", benchmark=benchmark.name),
        fields=fields_of(settings) | {"min_strength": None} | _rules(settings),
        num_shards=len(source.shards) if source else 0,
    )
    return build_sharded(store, plan, "builders.contamination:shard", executor)


def _rules(settings: Decontamination) -> dict[str, Any]:
    """What decides about hits besides the settings. Models and the sandbox are loaded if wanted."""
    from builders.decontamination.detectors import rules

    found = {"rules": rules(), "execution": None}
    if settings.execution:
        from builders.decontamination import execution

        found["execution"] = execution.rules()
    if settings.meaning:
        from builders.decontamination import meaning

        found["meaning_rules"] = meaning.rules(settings.meaning)
    return found


def inputs(store: Store, benchmarks: Sequence[Benchmark], item_kind: str) -> dict[str, str]:
    """The hits of one kind of items on all benchmarks, as inputs of a plan."""
    found: dict[str, str] = {}
    for benchmark in benchmarks:
        found |= store.input("contamination", item_kind=item_kind, benchmark=benchmark.name)
    return found


def shard(store: Store, plan: Plan, index: int) -> pa.Table:
    """The hits in one shard of the items."""
    from builders.decontamination import detectors, execution

    kind = str(plan.partition["item_kind"])
    table, key, columns = TEXTS[kind]
    where = {k: v for k, v in plan.partition.items() if k == "iteration"}
    name = str(plan.partition["benchmark"])
    decided = {k: plan.fields[k] for k in Decontamination.model_fields if k not in ("min_strength", "execution")}
    settings, place = (
        Decontamination(**decided),
        (store.root, name, plan.inputs[segments("benchmarks", {"benchmark": name})]),
    )
    ready = _index(*place, settings)
    meaning = _meaning(*place, settings.meaning) if settings.meaning else None
    oracle = _oracle(*place) if plan.fields["execution"] else None
    path = f"{store.directory(table, **where)}/{shard_name(index)}"
    schema = CONTRACTS["contamination"].schema
    found = [schema.empty_table()]
    for batch in pq.ParquetFile(path).iter_batches(batch_size=BATCH_ROWS, columns=[key, *columns]):
        texts = _shown(batch) if kind == "snippet" else _joined([batch[c] for c in columns])
        hits = detectors.hits(ready, batch[key], texts)
        if meaning is not None:
            hits = pa.concat_tables([hits, meaning.hits(hits, batch[key], texts)])
        if oracle is not None:
            hits = pa.concat_tables(
                [hits, execution.hits(oracle, batch[key], texts if kind == "snippet" else batch[columns[-1]])]
            )
        hits = hits.append_column("item_kind", pa.array([kind] * len(hits), pa.string()))
        found.append(hits.select(schema.names).cast(schema))
    return pa.concat_tables(found)


@lru_cache(maxsize=4)
def _index(root: str, benchmark: str, content: str, settings: Decontamination) -> Index:
    """The index of a benchmark, built once per worker process, and kept for the next ones.

    `content` is the fingerprint of its tasks: other tasks under the same name get another index.
    """
    from builders.decontamination.detectors import kept

    return kept.index(_tasks(root, benchmark), settings, kept.own_folder())


@lru_cache(maxsize=4)
def _meaning(root: str, benchmark: str, content: str, settings: MeaningModel) -> Meaning:
    """The model of sentences, with the statements of a benchmark, once per worker process."""
    from builders.decontamination.meaning import Meaning

    return Meaning(settings, _tasks(root, benchmark))


@lru_cache(maxsize=4)
def _oracle(root: str, benchmark: str, content: str) -> Oracle:
    """The recorded calls of a benchmark's tasks, once per worker process."""
    from builders.decontamination import execution

    return execution.record_oracle(_tasks(root, benchmark))


def _tasks(root: str, benchmark: str) -> list[dict[str, Any]]:
    return [task for part in Store(root).read("benchmarks", benchmark=benchmark) for task in part.to_pylist()]


def _require_sandbox() -> None:
    """JobError where no sandbox can run functions."""
    from builders import sandbox

    try:
        sandbox.require()
    except RuntimeError as error:
        raise JobError(f"{error} Or set decontamination.execution to false: then texts are only compared.") from None


def _shown(batch: pa.RecordBatch) -> pa.Array:
    """Snippets as they are shown: what leaks may stand in the context, too."""
    columns = (batch[c].to_pylist() for c in ("imports", "context", "code"))
    return pa.array(list(map(shown_code, *columns)), pa.string())


def _joined(columns: list[pa.Array]) -> pa.Array:
    """The texts of an item as one text, each on lines of its own. A NULL text counts as empty."""
    if len(columns) == 1:
        return columns[0]
    return pc.binary_join_element_wise(*(column.fill_null("") for column in columns), "\n")
