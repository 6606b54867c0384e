"""evaluations: one row is one answer of one model to one benchmark task, judged in the sandbox.

In: a checkpoint, and the tasks of benchmarks. Out: `evaluations/checkpoint-C/benchmark-B`. How a
task is asked and judged stands in `builders/harness`. `builders/standalone/evaluation.py` does the
same for any model, without a store. On a machine without a sandbox, a JobError says how to get one.

Every model is asked in all forms of the recipe. The tasks of all benchmarks go to one engine in one
stream. Answers are kept as they come, and judged shard by shard meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from builders import benchmarks, sandbox
from builders.engines import Request, forms
from builders.engines.answers import Journals, batches, journals, open_answers, spent_before, usage
from builders.engines.checkpoints import input_of, open_checkpoints, weights
from builders.harness import references
from builders.harness.jobs import Job, Known, answers_per_shard, jobs, obstacle, request, tolerant
from builders.harness.rows import Row, joined, lost, rows
from builders.harness.summary import summaries, tell_ungradable
from builders.harness.tasks import Form, Task
from builders.recipe import Benchmark, Evaluation
from store import CONTRACTS, Plan, Record, Store, Usage
from store.errors import JobError
from store.shards import shard_name


def build(
    store: Store, settings: Evaluation, checkpoint: dict[str, Any], given: Sequence[Benchmark], seed: int
) -> list[Record]:
    """Ask one checkpoint about the tasks of benchmarks, and judge its answers.

    JobError if too many answers are missing, or if no task of a benchmark can be judged here.
    """
    sandbox.require()
    wanted = {benchmark.name: _tasks(store, benchmark.name) for benchmark in given}
    plans = {name: _plan(store, settings, checkpoint, name, len(tasks), seed) for name, tasks in wanted.items()}
    built = {name: store.built(plan) for name, plan in plans.items()}
    if missing := {name: wanted[name] for name, record in built.items() if record is None}:
        state = batches(store, next(iter(plans.values())))
        built |= _build(store, settings, checkpoint, {name: plans[name] for name in missing}, missing, seed, state)
    return [record for record in built.values() if record is not None]


def _plan(
    store: Store, settings: Evaluation, checkpoint: dict[str, Any], benchmark: str, num_tasks: int, seed: int
) -> Plan:
    size = answers_per_shard(settings.engine)
    num_answers = num_tasks * len(settings.forms) * settings.num_samples
    return Plan(
        table="evaluations",
        partition={"checkpoint": checkpoint["checkpoint_id"], "benchmark": benchmark},
        inputs=store.input("benchmarks", benchmark=benchmark) | input_of(store, checkpoint),
        fields=settings.model_dump(mode="json", exclude={"engine", "grading", "max_error_share"})
        | {"engine": settings.engine.identity(), "grading": settings.grading.identity(), "seed": seed},
        num_shards=max(1, -(-num_answers // size)),
        rows_per_shard=size,
    )


def _build(
    store: Store,
    settings: Evaluation,
    checkpoint: dict[str, Any],
    plans: dict[str, Plan],
    tasks: dict[str, list[Task]],
    seed: int,
    state: Path,
) -> dict[str, Record]:
    """Ask for what is missing of these partitions in one stream, and build them in their order."""
    known = {name: references.prepare(part, settings.grading, store.announce) for name, part in tasks.items()}
    _check(store, known, settings)
    left_out = _left_out(store, settings, checkpoint)
    parts = {
        name: _Part(store, plan, _jobs(plan, name, tasks[name], settings, left_out), known)
        for name, plan in plans.items()
    }
    places = [(name, shard) for name, part in parts.items() for shard in part.missing]
    numbers = {place: number for number, place in enumerate(places)}
    name_of, engine = checkpoint["checkpoint_id"], tolerant(settings)

    def requests_of(number: int) -> list[Request]:
        name, shard = places[number]
        return [request(j, settings, seed, name_of) for j in parts[name].jobs[shard] if obstacle(j, known) is None]

    def make(name: str) -> Callable[[int], tuple[pa.Table, Usage]]:
        def shard_of(shard: int) -> tuple[pa.Table, Usage]:
            number = numbers[name, shard]
            given = answers.of(number, [asked.request_id for asked in requests_of(number)])
            found = list(rows(joined(parts[name].jobs[shard], given), known, settings.grading))
            parts[name].check(found, settings.max_error_share)
            return _table(found, name_of), usage(engine, given)

        return shard_of

    spent = spent_before(store, "evaluations", engine)
    with (
        open_checkpoints(store, engine, [checkpoint], spent=spent, state=state) as opened,
        open_answers(
            Journals([(journals(store, plans[name]), shard) for name, shard in places]),
            range(len(places)),
            engine,
            opened.generate,
            requests_of,
        ) as answers,
    ):
        records = {name: store.materialize(plan, make(name)) for name, plan in plans.items()}
    for name in plans:
        _announce(store, name, name_of, known, settings, left_out)
    return records


class _Part:
    """One partition under work: the jobs of each shard, and how many answers are missing so far."""

    def __init__(self, store: Store, plan: Plan, jobs_of: list[list[Job]], known: Known) -> None:
        self.jobs, self.missing = jobs_of, store.missing(plan)
        self._wanted: Counter[str] = Counter(
            job.form for part in jobs_of for job in part if obstacle(job, known) is None
        )
        self._lost: Counter[str] = Counter()
        for shard in store.present(plan):
            path = Path(store.work_folder(plan), shard_name(shard))
            self._lost += lost(pq.read_table(path, columns=["form", "status"]).to_pylist())

    def check(self, found: list[Row], max_error_share: float) -> None:
        """JobError, before a shard is written, when too many answers in a form are missing."""
        self._lost += lost(found)
        for form, number in self._lost.items():
            if number > max_error_share * self._wanted[form]:
                texts = [row["error"] or row["message"] for row in found if lost([row])]
                raise JobError(
                    f"{number:,} of {self._wanted[form]:,} answers in the form {form} are missing, such as: "
                    f"{texts[0]!r}. That is more than evaluation.max_error_share={max_error_share:g}, so there is no "
                    "number. All answers are kept, and the failed requests are asked again: mend the cause and run "
                    "again, or raise evaluation.max_error_share"
                )


def _check(store: Store, known: Known, settings: Evaluation) -> None:
    """Everything that would end the work, before the first request."""
    tell_ungradable(store.announce, known)
    for name, tasks in known.items():
        if all(ready.ungradable for ready in tasks.values()):
            reasons = sorted({str(ready.ungradable) for ready in tasks.values()})
            raise JobError(
                f"no task of the benchmark {name} can be judged here ({'; '.join(reasons[:3])}): set its `evaluate` to "
                "false, or make an environment with `scoder environment` and set evaluation.grading.environment"
            )
    forms.require_host(settings.engine)


def _left_out(store: Store, settings: Evaluation, checkpoint: dict[str, Any]) -> dict[Form, str]:
    model, adapter, revision = weights(store, checkpoint)
    adapters = {checkpoint["checkpoint_id"]: adapter} if adapter else {}
    found = forms.left_out(settings.engine, model, adapters, revision, forms=settings.forms)
    for form, reason in found.items():
        store.announce(f"{checkpoint['role']} is not asked in the form {form}: {reason}")
    return found


def _jobs(
    plan: Plan, benchmark: str, tasks: list[Task], settings: Evaluation, left_out: Mapping[Form, str]
) -> list[list[Job]]:
    """The jobs of each shard. Those of a form that is left out have a place, but are not there."""
    found, size = jobs({benchmark: tasks}, settings.forms, settings.num_samples), plan.rows_per_shard
    starts = range(0, (plan.num_shards or 0) * size, size)
    return [[job for job in found[start : start + size] if job.form not in left_out] for start in starts]


def _tasks(store: Store, benchmark: str) -> list[Task]:
    return [benchmarks.task_of(row) for t in store.read("benchmarks", benchmark=benchmark) for row in t.to_pylist()]


def _table(found: list[Row], checkpoint: str) -> pa.Table:
    return pa.Table.from_pylist(
        [{"checkpoint_id": checkpoint, **row} for row in found], schema=CONTRACTS["evaluations"].schema
    )


def _announce(
    store: Store, benchmark: str, checkpoint: str, known: Known, settings: Evaluation, left_out: dict[Form, str]
) -> None:
    """Say what came of a benchmark."""
    where = {"checkpoint": checkpoint, "benchmark": benchmark}
    found = [row for table in store.read("evaluations", **where) for row in table.to_pylist()]
    for summary in summaries(
        found, {benchmark: known[benchmark]}, settings.max_error_share, left_out, settings.max_tokens
    ):
        for remark in summary.remarks():
            store.announce(remark)
