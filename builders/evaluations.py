"""evaluations: one row is one answer of one model to one benchmark task, judged in the sandbox.

In: a checkpoint, and the tasks of benchmarks. Out: `evaluations/checkpoint-C/benchmark-B`. How a
task is asked and judged stands in `builders/harness`. `builders/standalone/evaluation.py` does the
same for any model, without a store. On a machine without a sandbox, a JobError says how to get one.

Every model is asked in all forms of the recipe. The tasks of all benchmarks go to one engine in one
stream. Answers are kept as they come, and judged shard by shard meanwhile.

The answers are kept under what decides them: model, engine, sampling and what is asked. So whoever
changes how they are judged, such as a limit, the environment or the tests, has them judged anew
without asking the model again. The table itself then has another plan, which needs `--force`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from builders import benchmarks, sandbox
from builders.engines import Completion, Request, forms
from builders.engines.answers import Journals, batches, journals, open_answers, paid_in, spent_before, usage
from builders.engines.checkpoints import input_of, open_checkpoints, weights
from builders.executors.gpu_tasks import Cluster, cluster_of
from builders.harness import environments, references
from builders.harness.grading import JUDGING_VERSION
from builders.harness.jobs import (
    ASKED,
    Job,
    Known,
    answers_per_shard,
    jobs,
    nothing_gradable,
    obstacle,
    requests,
    tasks_hash,
    tolerant,
)
from builders.harness.obstacles import tell_ungradable, too_few
from builders.harness.rows import Row, joined, lost, rows
from builders.harness.stored_cases import CaseFile
from builders.harness.summary import summaries
from builders.harness.tasks import Form, Task
from builders.recipe import Benchmark, Evaluation, Executor
from store import CONTRACTS, Plan, Record, Store, Usage
from store.errors import JobError
from store.shards import shard_name

Ask = Callable[[Iterable[Request]], Iterator[Completion]]

APART = {"engine", "grading", "max_error_share", "template_arguments"}
"""Settings that a plan names otherwise, or not. The id of a checkpoint depends on the arguments."""


def build(
    store: Store,
    settings: Evaluation,
    checkpoint: dict[str, Any],
    given: Sequence[Benchmark],
    seed: int,
    executor: Executor | None = None,
) -> list[Record]:
    """Ask one checkpoint about the tasks of benchmarks, and judge its answers.

    JobError if too many answers are missing, also of what is built already, or if no task of a
    benchmark can be judged here.
    """
    sandbox.require()
    wanted = {benchmark.name: _tasks(store, benchmark.name) for benchmark in given}
    asked = {name: _asked(store, settings, checkpoint, name, tasks, seed) for name, tasks in wanted.items()}
    plans = {name: _plan(store, settings, checkpoint, asked[name], len(tasks), seed) for name, tasks in wanted.items()}
    for plan in plans.values():
        if store.is_built(plan):
            _check_built(store, plan, settings.max_error_share)
    built = {name: store.built(plan) for name, plan in plans.items()}
    if missing := {name: wanted[name] for name, record in built.items() if record is None}:
        state = batches(store, next(iter(asked.values())))
        folders = {name: journals(store, asked[name]) for name in missing}
        todo, cluster = {n: plans[n] for n in missing}, cluster_of(store, executor)
        built |= _build(store, settings, checkpoint, todo, missing, seed, folders, state, cluster)
    return [record for record in built.values() if record is not None]


def _asked(
    store: Store, settings: Evaluation, checkpoint: dict[str, Any], benchmark: str, tasks: list[Task], seed: int
) -> Plan:
    """What decides the answers about a benchmark. They are kept under its fingerprint."""
    return Plan(
        table="evaluations",
        partition={"checkpoint": checkpoint["checkpoint_id"], "benchmark": benchmark},
        inputs=input_of(store, checkpoint),
        fields=settings.model_dump(mode="json", exclude=APART)
        | {"engine": settings.engine.identity(), "seed": seed, "tasks": tasks_hash(tasks, ASKED)},
        rows_per_shard=answers_per_shard(settings.engine),
    )


def _plan(
    store: Store, settings: Evaluation, checkpoint: dict[str, Any], asked: Plan, num_tasks: int, seed: int
) -> Plan:
    num_answers = num_tasks * len(settings.forms) * settings.num_samples
    grading = settings.grading.identity() | {"environment": environments.contents(settings.grading.environment)}
    return Plan(
        table="evaluations",
        partition=asked.partition,
        inputs=store.input("benchmarks", benchmark=asked.partition["benchmark"]) | input_of(store, checkpoint),
        fields=settings.model_dump(mode="json", exclude=APART)
        | {"engine": settings.engine.identity(), "grading": grading, "seed": seed}
        | {"judging": JUDGING_VERSION, "questions": asked.fingerprint},
        num_shards=max(1, -(-num_answers // asked.rows_per_shard)),
        rows_per_shard=asked.rows_per_shard,
    )


def _build(
    store: Store,
    settings: Evaluation,
    checkpoint: dict[str, Any],
    plans: dict[str, Plan],
    tasks: dict[str, list[Task]],
    seed: int,
    folders: dict[str, Path],
    state: Path,
    cluster: Cluster | None,
) -> dict[str, Record]:
    """Ask for what is missing of these partitions in one stream, and build them in their order."""
    known = {name: references.prepare(part, settings.grading, store.announce) for name, part in tasks.items()}
    wanted = {name: jobs({name: part}, settings.forms, settings.num_samples) for name, part in tasks.items()}
    kept = {name for folder in folders.values() for name in paid_in(folder)}
    _check(store, known, wanted, settings.max_error_share)
    left_out = _left_out(store, settings, checkpoint, _answered(wanted, known, kept))
    parts = {name: _Part(store, plan, _jobs(plan, wanted[name], left_out), known) for name, plan in plans.items()}
    places = [(name, shard) for name, part in parts.items() for shard in part.missing]
    numbers = {place: number for number, place in enumerate(places)}
    name_of, engine = checkpoint["checkpoint_id"], tolerant(settings)

    def requests_of(number: int) -> list[Request]:
        name, shard = places[number]
        return requests(parts[name].jobs[shard], known, settings, seed, name_of)

    def make(name: str) -> Callable[[int], tuple[pa.Table, Usage]]:
        def shard_of(shard: int) -> tuple[pa.Table, Usage]:
            number = numbers[name, shard]
            given = answers.of(number, [asked.request_id for asked in requests_of(number)])
            found = list(rows(joined(parts[name].jobs[shard], given), known, settings.grading, announce=store.announce))
            parts[name].check(found, settings.max_error_share)
            return _table(found, name_of), usage(engine, given)

        return shard_of

    @contextmanager
    def asking() -> Iterator[Ask]:
        """What asks the model. If all answers are kept, it is not loaded."""
        if all(asked.request_id in kept for number in range(len(places)) for asked in requests_of(number)):
            yield _ask_nobody
            return
        spent = spent_before(store, "evaluations", engine)
        arguments = settings.template_arguments
        with open_checkpoints(
            store, engine, [checkpoint], template_arguments=arguments, spent=spent, state=state, cluster=cluster
        ) as opened:
            yield opened.generate

    at = Journals([(folders[name], shard) for name, shard in places])
    with (
        asking() as ask,
        open_answers(
            at, range(len(places)), engine, ask, requests_of, keeps_whole_shards=True, cluster=cluster
        ) as answers,
    ):
        records = {name: store.materialize(plan, make(name)) for name, plan in plans.items()}
    for name in plans:
        _announce(store, name, name_of, known, settings, left_out)
    return records


def _ask_nobody(asked: Iterable[Request]) -> Iterator[Completion]:
    """The engine where all answers are kept: reading what is asked finds them."""
    assert not list(asked), "an answer that was kept is asked for"
    return iter(())


def _answered(wanted: Mapping[str, list[Job]], known: Known, kept: set[str]) -> set[Form]:
    """The forms in which every answer is kept already, so that nothing need be found out."""
    there = [job for part in wanted.values() for job in part if obstacle(job, known) is None]
    return {job.form for job in there} - {job.form for job in there if job.name not in kept}


class _Losses:
    """How many answers were wanted in each form, and how many have no verdict so far.

    A form in which a benchmark cannot be asked at all is not wanted.
    """

    def __init__(self, wanted: Iterable[str]) -> None:
        self._wanted, self._lost = Counter(wanted), Counter[str]()
        self._examples: dict[str, str] = {}

    def add(self, found: Iterable[Row]) -> None:
        """Count rows."""
        for row in found:
            if row["form"] in self._wanted and lost([row]):
                self._lost[row["form"]] += 1
                self._examples.setdefault(row["form"], row["error"] or row["message"] or row["status"])

    def check(self, max_error_share: float, way_on: str) -> None:
        """JobError when too many answers in a form are missing."""
        for form, number in self._lost.items():
            if number > max_error_share * self._wanted[form]:
                raise JobError(
                    f"{number:,} of {self._wanted[form]:,} answers in the form {form} are missing, such as: "
                    f"{self._examples[form]!r}. That is more than evaluation.max_error_share={max_error_share:g}, so "
                    f"there is no number. All answers are kept: {way_on}"
                )


AGAIN = (
    ", which asks for what was never answered (what was answered and could not be read is asked for, and paid for, again "
    "only with --set evaluation.engine.ask_failed_again=true)"
)
COUNTED = ["form", "status", "error", "message"]


class _Part:
    """One partition under work: the jobs of each shard, and how many answers are missing so far."""

    def __init__(self, store: Store, plan: Plan, jobs_of: list[list[Job]], known: Known) -> None:
        self.jobs, self.missing = jobs_of, store.missing(plan)
        every = [job for part in jobs_of for job in part]
        there = {job.form for job in every if obstacle(job, known) is None}
        self._losses = _Losses(job.form for job in every if job.form in there)
        for shard in store.present(plan):
            path = Path(store.work_folder(plan), shard_name(shard))
            self._losses.add(pq.read_table(path, columns=COUNTED).to_pylist())

    def check(self, found: list[Row], max_error_share: float) -> None:
        """JobError, before a shard is written, when too many answers in a form are missing."""
        self._losses.add(found)
        way_on = f"mend the cause and run again{AGAIN}, or raise evaluation.max_error_share"
        self._losses.check(max_error_share, way_on)


def _check_built(store: Store, plan: Plan, max_error_share: float) -> None:
    """JobError when a partition was built with more missing answers than are borne now."""
    found = [row for table in store.read("evaluations", COUNTED, **plan.partition) for row in table.to_pylist()]
    there = {row["form"] for row in found if row["status"] != "ungradable"}
    losses = _Losses(row["form"] for row in found if row["form"] in there)
    losses.add(found)
    way_on = f"mend the cause and run with `--rebuild evaluations`{AGAIN}, or raise evaluation.max_error_share"
    losses.check(max_error_share, f"{way_on} (the benchmark is {plan.partition['benchmark']})")


def _check(store: Store, known: Known, wanted: Mapping[str, list[Job]], max_error_share: float) -> None:
    """Everything that would end the work, before the first request."""
    tell_ungradable(store.announce, known)
    for name, part in wanted.items():
        if reason := nothing_gradable(name, part, known):
            raise JobError(
                f"{reason}. Set its `evaluate` to false, or make an environment with `scoder environment` and set "
                "evaluation.grading.environment"
            )
    if reason := too_few(known, max_error_share, "evaluation.max_error_share"):
        raise JobError(f"there would be no number: {reason}")


def _left_out(store: Store, settings: Evaluation, checkpoint: dict[str, Any], answered: set[Form]) -> dict[Form, str]:
    """The forms that the model is not asked in, each with the reason."""
    model, adapter, revision = weights(store, checkpoint)
    if not answered.issuperset(settings.forms):
        forms.require_host(settings.engine)
    adapters = {checkpoint["checkpoint_id"]: adapter} if adapter else {}
    found = forms.left_out(settings.engine, model, adapters, revision, forms=settings.forms, answered=answered)
    for form, reason in found.items():
        store.announce(f"{checkpoint['role']} is not asked in the form {form}: {reason}")
    return found


def _jobs(plan: Plan, found: list[Job], left_out: Mapping[Form, str]) -> list[list[Job]]:
    """The jobs of each shard. Those of a form that is left out have a place, but are not there."""
    size = plan.rows_per_shard
    starts = range(0, (plan.num_shards or 0) * size, size)
    return [[job for job in found[start : start + size] if job.form not in left_out] for start in starts]


def _tasks(store: Store, benchmark: str) -> list[Task]:
    """The tasks of a benchmark. Their cases lie in a file, so memory does not grow with them."""
    file = CaseFile(references.own_folder())
    return [file.stored(task) for task in benchmarks.built(store, benchmark)]


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
        for remark in summary.remarks("evaluation.max_tokens"):
            store.announce(remark)
