"""evaluations: one row is one sample of one model for one benchmark task, run in the sandbox.

In: a checkpoint, and the tasks of a benchmark. Out: `evaluations/checkpoint-C/benchmark-B`.
`evaluate` does the same for any model, without a store. How a task is asked and graded stands in
`builders/harness`. On a machine without a sandbox, a JobError says how to get one.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from builders import sandbox
from builders.benchmarks import task_of
from builders.engines import open_engine
from builders.engines.checkpoints import input_of, open_checkpoints
from builders.harness.grading import grade
from builders.harness.tasks import Task
from builders.recipe import Benchmark, Evaluation
from store import CONTRACTS, Plan, Record, Store

TASKS_PER_SHARD = 50


def build(
    store: Store,
    settings: Evaluation,
    checkpoint: dict[str, Any],
    benchmark: Benchmark,
    seed: int,
    *,
    is_base: bool = False,
) -> Record:
    """Sample and grade one checkpoint on one benchmark."""
    sandbox.require()
    tasks = [task_of(r) for t in store.read("benchmarks", benchmark=benchmark.name) for r in t.to_pylist()]
    name = checkpoint["checkpoint_id"]
    plan = Plan(
        table="evaluations",
        partition={"checkpoint": name, "benchmark": benchmark.name},
        inputs=store.input("benchmarks", benchmark=benchmark.name) | input_of(store, checkpoint),
        fields=settings.model_dump(mode="json", exclude={"engine"})
        | {"engine": settings.engine.identity(), "seed": seed, "is_base": is_base},
        num_shards=max(1, -(-len(tasks) // TASKS_PER_SHARD)),
    )
    if (built := store.built(plan)) is not None:
        return built
    with open_checkpoints(store, settings.engine, [checkpoint]) as engine:

        def make(index: int) -> pa.Table:
            part = tasks[index * TASKS_PER_SHARD : (index + 1) * TASKS_PER_SHARD]
            graded = grade(engine, settings, part, seed, name, is_base=is_base)
            form = "completion" if is_base else "chat"
            rows = [{"checkpoint_id": name, "benchmark": benchmark.name, "form": form, **row} for row in graded]
            return pa.Table.from_pylist(rows, schema=CONTRACTS["evaluations"].schema)

        return store.materialize(plan, make)


def evaluate(
    model: str, tasks: list[Task], settings: Evaluation, adapter: str | None, seed: int, *, is_base: bool = False
) -> list[dict[str, Any]]:
    """Grade any model folder or Hub id on these tasks, without a store: one row per sample.

    Example:
        tasks = list(benchmarks.tasks(benchmarks.named("humaneval=HumanEval.jsonl.gz")))
        rows = evaluate("path/to/model", tasks, Evaluation(), adapter=None, seed=0)
    """
    sandbox.require()
    adapters = {"adapter": adapter} if adapter else {}
    with open_engine(settings.engine, model, adapters) as engine:
        return list(grade(engine, settings, tasks, seed, "adapter" if adapter else None, is_base=is_base))
