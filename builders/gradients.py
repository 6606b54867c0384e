"""gradients: one row is the projected gradient of one item at one checkpoint.

In: the texts of candidates or of the teacher's reference split, and the checkpoints of G_{t-1}.
Out: `gradients/item_kind-K/iteration-t/batch-B`. Items without a gradient are rejects of the stage
`gradients`; those of the teacher are rejects of the stage `reference`.

How: the loop computes gradients for `influence.margin` candidates per snippet, on average and best
first. It looks at no threshold of a selection, so these can be changed later. When a selection
admits candidates that have no gradient, `scoder fill` adds them as a batch named by their ids.
Each shard is a job for one of `influence.workers` processes, or
for a task with a GPU (`executor.gpu`). The texts of a batch are read once, in
the order of the ids, into a file (`store/staging.py`), and each job reads its own from there.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

import queries
from builders import raw_pool
from builders.engines import prompts
from builders.engines.checkpoints import last_checkpoints, weights
from builders.executors import gpu_jobs
from builders.executors.devices import Keeper
from builders.executors.gpu_tasks import cluster_of
from builders.pairs import render
from builders.recipe import Recipe
from store import CONTRACTS, Plan, Record, Store, Usage, fingerprint, segments
from store.catalog import connect
from store.half_floats import as_bytes
from store.shards import shard_name
from store.staging import SMALL, Staged, staged
from training.settings import GradientSettings, features_name

MAIN = "main"
SHARD = 1000


def features(recipe: Recipe) -> str:
    """The name of everything that two gradients must share to be comparable."""
    return features_name(recipe.influence.gradients, prompts.version(recipe.synthesizer.prompt))


def items(store: Store, recipe: Recipe, iteration: int, item_kind: str) -> list[str]:
    """The ids of the main batch, sorted.

    For the item kind teacher it is the reference split, else the best candidates of each snippet.
    """
    connection = connect(store, inputs(store, recipe, iteration, item_kind))
    values: dict[str, Any] = {"iteration": iteration, "min_strength": recipe.decontamination.min_strength}
    if item_kind == "teacher":
        return _ids(queries.stream(connection, "reference_items", values))
    count = queries.rows(connection, "scored_snippets_count", values)[0]["num_snippets"]
    values["limit"] = math.ceil(recipe.influence.margin * count)
    values |= {"min_score": 0.0, "max_per_snippet": 1}  # every score is 0 or more
    return _ids(queries.stream(connection, "gradient_items", values))


def _ids(reader: pa.RecordBatchReader) -> list[str]:
    return [name for batch in reader for name in batch.column("item_id").to_pylist()]


def inputs(store: Store, recipe: Recipe, iteration: int, item_kind: str) -> dict[str, str]:
    """What the items are chosen from, and where their texts are."""
    if item_kind == "teacher":
        where: dict[str, Any] = {"item_kind": item_kind}
        found = store.input("teacher_samples") | raw_pool.inputs(store)
    else:
        where = {"item_kind": item_kind, "iteration": iteration}
        found = store.input("scored", iteration=iteration) | store.input("candidates", iteration=iteration)
        found |= store.input("raw_pool")
    for benchmark in recipe.benchmarks:
        found |= store.input("contamination", benchmark=benchmark.name, **where)
    return found


@dataclass(frozen=True)
class Job:
    """One shard: some items at one checkpoint.

    Their texts stand in the staged file `texts`, at the places `start` (included) to `stop`.
    """

    root: str
    plan: Plan
    index: int
    checkpoint_id: str
    location: tuple[str, str | None, str | None]
    settings: GradientSettings
    dtype: str
    prompt: str
    texts: str
    start: int
    stop: int


def build(
    store: Store,
    recipe: Recipe,
    iteration: int,
    item_kind: str,
    batch: str = MAIN,
    chosen: list[str] | None = None,
) -> Record:
    """Write the gradients of a batch, and why some of its items have none.

    Each item has a gradient at every checkpoint that the candidates of the iteration come from.
    `chosen` are the ids of the batch's candidates; without it, the items are those of the main
    batch.
    """
    found = items(store, recipe, iteration, item_kind) if chosen is None else sorted(chosen)
    used = last_checkpoints(store, "synthesizer", iteration - 1, recipe.sampling.checkpoints)
    blocks = [(c, start) for c in used for start in range(0, max(1, len(found)), SHARD)]
    given = inputs(store, recipe, iteration, item_kind)
    given |= store.input("checkpoints", role="synthesizer", iteration=iteration - 1)
    if batch != MAIN:
        # A larger main batch may hold candidates of this one, and none may have two gradients.
        given |= store.input("gradients", item_kind=item_kind, iteration=iteration, batch=MAIN)
    settings = settings_of(recipe, item_kind)
    plan = Plan(
        table="gradients",
        partition={"item_kind": item_kind, "iteration": iteration, "batch": batch},
        inputs=given,
        fields={
            "gradients": settings.identity(),
            "checkpoints": [c["checkpoint_id"] for c in used],
            "items": fingerprint(found),
            "features": features(recipe),
        },
        texts=prompts.versions(recipe.synthesizer.prompt) | queries.versions("gradient_texts"),
        num_shards=len(blocks),
        rows_per_shard=SHARD,
    )
    scratch = Path(store.scratch(f"gradients-{plan.fingerprint}"))
    with store.building(plan) as record:
        if record.status != "complete":
            start, missing = time.monotonic(), store.missing(plan)
            with staged(store, plan, lambda: _texts(store, plan, found), by=("item_id",)) as texts:
                assert texts.num_rows == len(found), f"{texts.num_rows} texts of {len(found)} items"
                job = partial(_job, store, recipe, plan, settings, texts.path)
                todo, cluster = [job(i, *blocks[i]) for i in missing], cluster_of(store, recipe.executor)
                done = gpu_jobs.run(_write_shard, todo, recipe.influence.workers, cluster)
                for _ in zip(store.track(missing, segments("gradients", plan.partition)), done, strict=True):
                    pass
                usage = record.usage.add(Usage(wall_s=time.monotonic() - start))
                record = store.finish(record, list(store.present(plan).values()), usage)
    _build_rejects(store, plan, found, scratch)
    return record


def settings_of(recipe: Recipe, item_kind: str) -> GradientSettings:
    """The recipe's settings for candidates, and the plain gradient (`sgd`) for the reference.

    As in LESS: only what a model would be trained on goes through the map of the optimizer.
    """
    settings = recipe.influence.gradients
    return settings.model_copy(update={"optimizer_map": "sgd"}) if item_kind == "teacher" else settings


def aligned_shards(store: Store, checkpoint_ids: list[str], **partition: str | int) -> Iterator[list[str]]:
    """Paths of the shards that hold the same items, one per checkpoint, block after block."""
    store.input("gradients", **partition)
    record = store.record("gradients", **partition)
    assert record is not None, partition
    num_blocks = len(record.shards) // len(checkpoint_ids)
    directory = store.directory("gradients", **partition)
    for block in range(num_blocks):
        yield [f"{directory}/{shard_name(c * num_blocks + block)}" for c in range(len(checkpoint_ids))]


def _job(
    store: Store,
    recipe: Recipe,
    plan: Plan,
    settings: GradientSettings,
    texts: str,
    index: int,
    checkpoint: dict[str, Any],
    start: int,
) -> Job:
    return Job(
        root=str(store.root),
        plan=plan,
        index=index,
        checkpoint_id=checkpoint["checkpoint_id"],
        location=weights(store, checkpoint),
        settings=settings,
        dtype=recipe.synthesizer.training.dtype,
        prompt=recipe.synthesizer.prompt,
        texts=texts,
        start=start,
        stop=start + SHARD,
    )


def _texts(store: Store, plan: Plan, found: list[str]) -> pa.RecordBatchReader:
    """The items of a batch with their texts, in any order."""
    connection = connect(store, plan.inputs, **SMALL)
    connection.register("batch_items", pa.table({"item_id": pa.array(found, pa.string())}))
    return queries.stream(connection, "gradient_texts")


def _write_shard(job: Job, keeper: Keeper) -> None:
    from training.gradients import GradientModel

    store, schema = Store(job.root), CONTRACTS["gradients"].schema
    base, adapter, revision = job.location
    model = keeper.get(GradientModel, base, adapter, job.settings, job.dtype, revision)
    items = Staged(job.texts).rows(job.start, job.stop)
    tables, rejects = [schema.empty_table()], []
    for batch in model.stream([(item["item_id"], conversation(job.prompt, item)) for item in items]):
        rejects += [reject.model_dump() for reject in batch.rejects]
        size = len(batch.ids)
        columns = {
            "item_id": batch.ids,
            "item_kind": [job.plan.partition["item_kind"]] * size,
            "checkpoint_id": [job.checkpoint_id] * size,
            "features": [job.plan.fields["features"]] * size,
            "gradient": as_bytes(batch.unit_ND),
            "norm": batch.norm_N,
            "loss": batch.loss_N,
            "num_tokens": batch.num_tokens_N,
        }
        tables.append(pa.table(columns, schema=schema))
        keeper.alive()
    # The rejects come before the shard: a resumed build takes a shard that is there for done.
    scratch = Path(store.scratch(f"gradients-{job.plan.fingerprint}"))
    scratch.mkdir(parents=True, exist_ok=True)
    (scratch / f"rejects-{job.index:05d}.json").write_text(json.dumps(rejects), encoding="utf-8")
    store.write(job.plan, job.index, pa.concat_tables(tables))


def _build_rejects(store: Store, plan: Plan, found: list[str], scratch: Path) -> None:
    """Write the items that lack a gradient at some checkpoint, with the reason noted on the way."""
    part = plan.partition
    of = {"stage": "reference" if part["item_kind"] == "teacher" else "gradients", "iteration": part["iteration"]}
    if part["batch"] != MAIN:
        of["selection"] = part["batch"]

    def make(index: int) -> pa.Table:
        counts: dict[str, int] = {}
        for table in store.read("gradients", ["item_id"], **part):
            for item in table.column("item_id").to_pylist():
                counts[item] = counts.get(item, 0) + 1
        noted = [
            r for path in sorted(scratch.glob("rejects-*.json")) for r in json.loads(path.read_text(encoding="utf-8"))
        ]
        why = {str(r["row"]): r for r in reversed(noted)}
        lacking = [item for item in found if counts.get(item, 0) < len(plan.fields["checkpoints"])]
        unknown = {"reason": "no_gradient", "value": None, "threshold": None}
        rows = [{**unknown, **why.get(item, {}), "item_id": item} for item in sorted(lacking)]
        same = {"selection": None, **of, "item_kind": part["item_kind"]}
        names = CONTRACTS["rejects"].schema.names
        return pa.Table.from_pylist(
            [{k: v for k, v in (row | same).items() if k in names} for row in rows], schema=CONTRACTS["rejects"].schema
        )

    made = store.input("gradients", **part)
    store.materialize(Plan(table="rejects", partition=of, inputs=made, num_shards=1), make)
    if store.builds:  # a preview takes rejects for built that are still to be made of these notes
        shutil.rmtree(scratch, ignore_errors=True)


def conversation(prompt: str, item: dict[str, Any]) -> list[dict[str, str]]:
    """An item in the form that the synthesizer is trained on: snippet -> problem and solution."""
    return [
        {"role": "user", "content": prompts.render(prompt, code=item["code"])},
        {"role": "assistant", "content": render(item["problem"], item["solution"])},
    ]
