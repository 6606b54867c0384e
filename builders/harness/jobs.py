"""What is asked in an evaluation: every task in every form, once per sample, in one order.

In: tasks by benchmark. Out: a list of `Job`, and the request of each. The order is the same in
every run, so that a run that was killed finds its shards again.

    found = jobs({"humaneval": tasks}, ("chat",), num_samples=1)
    request(found[0], settings, seed=0)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from builders.engines import EngineSettings, Request
from builders.harness import asking
from builders.harness.references import Ready
from builders.harness.stored_cases import cases_hash
from builders.harness.tasks import Form, Task
from builders.recipe import Evaluation
from store import content_id

Known = Mapping[str, Mapping[str, Ready]]
"""What `references.prepare` says, by benchmark and then by task."""


ANSWERS_PER_SHARD = 256
"""Answers that are judged together while the next ones come."""
ASKED = ("task_id", "prompt", "chat", "completion", "stops")
"""What of a task decides what a model is asked. The other fields decide how it is judged."""


@dataclass(frozen=True)
class Job:
    """One answer that is wanted."""

    benchmark: str
    task: Task
    form: Form
    number: int

    @property
    def name(self) -> str:
        """The id of its request. Two benchmarks may have tasks of the same name."""
        return content_id(self.benchmark, self.task.task_id, self.form, self.number)


def jobs(tasks: Mapping[str, Sequence[Task]], forms: Iterable[Form], num_samples: int) -> list[Job]:
    """All answers that are wanted. The samples of a task stand together: they share its prompt."""
    return [
        Job(benchmark, task, form, number)
        for benchmark, of_benchmark in tasks.items()
        for task in of_benchmark
        for form in forms
        for number in range(num_samples)
    ]


def obstacle(job: Job, known: Known) -> str | None:
    """Why no answer of a job can be judged here, so that none is asked for. None if it can."""
    reason = known[job.benchmark][job.task.task_id].ungradable
    if reason is None and job.form not in asking.forms(job.task):
        return f"it cannot be asked in the form {job.form}"
    return reason


def nothing_gradable(benchmark: str, wanted: Iterable[Job], known: Known) -> str | None:
    """Why no answer about a benchmark can be judged here. None if one can."""
    reasons = {obstacle(job, known) for job in wanted}
    if None in reasons:
        return None
    return f"no task of {benchmark} can be judged here: {'; '.join(sorted(map(str, reasons))[:3]) or 'it has none'}"


def request(job: Job, settings: Evaluation, seed: int, adapter: str | None = None) -> Request:
    """The request of a job. Its id is the job's name."""
    return asking.request(job.task, job.number, job.form, settings, seed, adapter, benchmark=job.benchmark)


def requests(
    wanted: Iterable[Job], known: Known, settings: Evaluation, seed: int, adapter: str | None = None
) -> list[Request]:
    """The requests of those jobs whose answers can be judged."""
    return [request(job, settings, seed, adapter) for job in wanted if obstacle(job, known) is None]


def tasks_hash(tasks: Iterable[Task], names: Sequence[str] = ()) -> str:
    """A hash of tasks in their order, or of some of their fields."""
    names = names or [field.name for field in fields(Task)]
    return content_id(*(repr([_hashed(task, name) for name in names]) for task in tasks))


def _hashed(task: Task, name: str) -> object:
    """What stands for a field in a hash. For cases it is their own hash, as they may be GBs."""
    return cases_hash(task.cases) if name == "cases" else getattr(task, name)


def tolerant(settings: Evaluation) -> EngineSettings:
    """The engine of an evaluation. It bears as many errors as the evaluation does."""
    share = max(settings.engine.max_error_share, settings.max_error_share)
    return settings.engine.model_copy(update={"max_error_share": share})


def answers_per_shard(engine: EngineSettings) -> int:
    """Answers of a shard. An engine without a journal is asked for what it decodes together."""
    return ANSWERS_PER_SHARD if engine.is_journalled else engine.rows_per_shard
