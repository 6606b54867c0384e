"""evaluations: one row per sample of one model on one benchmark task, run in the sandbox.

In: a checkpoint and the tasks of a benchmark. Out: `evaluations/checkpoint-C/benchmark-B`; `evaluate` does the same for any
model without a store. Where no sandbox can be had, RuntimeError says how to get one.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from builders import sandbox
from builders.engines import Engine, Request, open_engine, prompts
from builders.engines.checkpoints import open_checkpoints
from builders.harness.programs import Task, test_program
from builders.recipe import Benchmark, Evaluation, Recipe
from store import CONTRACTS, Plan, Record, Store, content_id, seed_from

PROMPT = "evaluation"
TASKS_PER_SHARD = 50
STOP = ("\ndef ", "\nclass ", "\nif __name__", "\nprint(", "\n#")
"""Where a base model has finished the function and goes on with something else."""


def build(
    store: Store, recipe: Recipe, checkpoint: dict[str, Any], benchmark: Benchmark, *, is_base: bool = False
) -> Record:
    """Sample and grade one checkpoint on one benchmark."""
    sandbox.require()
    tasks = [_task(r) for t in store.read("benchmarks", benchmark=benchmark.name) for r in t.to_pylist()]
    name = checkpoint["checkpoint_id"]
    settings = recipe.evaluation
    plan = Plan(
        table="evaluations",
        partition={"checkpoint": name, "benchmark": benchmark.name},
        inputs=store.input("benchmarks", benchmark=benchmark.name),
        fields=settings.model_dump(mode="json", exclude={"engine"})
        | {"engine": settings.engine.identity(), "seed": recipe.seed, "is_base": is_base},
        texts=prompts.versions(PROMPT),
        num_shards=max(1, -(-len(tasks) // TASKS_PER_SHARD)),
    )
    if (built := store.built(plan)) is not None:
        return built
    with open_checkpoints(store, settings.engine, [checkpoint]) as engine:

        def make(index: int) -> pa.Table:
            part = tasks[index * TASKS_PER_SHARD : (index + 1) * TASKS_PER_SHARD]
            graded = grade(engine, settings, part, recipe.seed, name, is_base=is_base)
            rows = [{"checkpoint_id": name, "benchmark": benchmark.name, **row} for row in graded]
            return pa.Table.from_pylist(rows, schema=CONTRACTS["evaluations"].schema)

        return store.materialize(plan, make)


def grade(
    engine: Engine,
    settings: Evaluation,
    tasks: Iterable[Task],
    seed: int,
    adapter: str | None = None,
    *,
    is_base: bool = False,
) -> Iterator[dict[str, Any]]:
    """Sample each task and run its tests; rows in the order of tasks and samples. Tasks without tests are passed over.

    A base model (`is_base`) continues the prompt as it stands; any other is asked in a chat.
    """
    gradable = [t for t in tasks if t.tests]
    jobs = {_id(t, n): (t, n) for t in gradable for n in range(settings.num_samples)}
    requests = [
        Request(
            request_id=name,
            messages=None if is_base else _question(task),
            prompt=task.prompt if is_base else None,
            stop=STOP if is_base else (),
            adapter=adapter,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            seed=seed_from(name, seed),
        )
        for name, (task, _) in jobs.items()
    ]
    answers = {c.request_id: c for c in engine.generate(requests)}
    programs = ((name, test_program(task, answers[name].text)) for name, (task, _) in jobs.items())
    limits = sandbox.SandboxLimits(wall_s=settings.wall_s)
    for name, result in sandbox.run_many(programs, workers=os.cpu_count() or 1, limits=limits):
        task, number = jobs[name]
        yield {
            "task_id": task.task_id,
            "sample_index": number,
            "completion": answers[name].text,
            "is_passed": result.status == "passed",
            "status": result.status,
            "completion_tokens": answers[name].num_completion_tokens,
        }


def _question(task: Task) -> tuple[dict[str, str], ...]:
    return ({"role": "user", "content": prompts.render(PROMPT, prompt=task.prompt.rstrip())},)


def evaluate(
    model: str, tasks: list[Task], settings: Evaluation, adapter: str | None, seed: int, *, is_base: bool = False
) -> list[dict[str, Any]]:
    """Grade any model folder or Hub id, without a store."""
    sandbox.require()
    adapters = {"adapter": adapter} if adapter else {}
    with open_engine(settings.engine, model, adapters) as engine:
        return list(grade(engine, settings, tasks, seed, "adapter" if adapter else None, is_base=is_base))


def pass_at_k(num_samples: int, num_passed: int, k: int) -> float:
    """Unbiased estimate of pass@k for one task (Chen et al. 2021, eq. 1)."""
    if num_samples - num_passed < k:
        return 1.0
    failing = 1.0
    for i in range(num_samples - num_passed + 1, num_samples + 1):
        failing *= 1.0 - k / i
    return 1.0 - failing


def pass_rates(graded: list[dict[str, Any]], samples: int) -> dict[str, Any]:
    """pass@1, and pass@k for k = samples, over tasks."""
    passed: dict[str, int] = defaultdict(int)
    for row in graded:
        passed[row["task_id"]] += row["is_passed"]
    tasks = max(1, len(passed))
    return {
        "tasks": len(passed),
        "pass@1": round(sum(pass_at_k(samples, n, 1) for n in passed.values()) / tasks, 4),
        f"pass@{samples}": round(sum(pass_at_k(samples, n, samples) for n in passed.values()) / tasks, 4),
    }


def _id(task: Task, number: int) -> str:
    return content_id(task.task_id, number)


def _task(row: dict[str, Any]) -> Task:
    return Task(**{k: row[k] for k in ("task_id", "prompt", "solution", "tests", "entry_point", "language")})
