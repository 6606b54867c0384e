"""What is asked in an evaluation: every task in every form, once per sample, in one order.

In: tasks by benchmark. Out: a list of `Job`, and the request of each. The order is the same in
every run, so that a run that was killed finds its shards again.

    found = jobs({"humaneval": tasks}, ("chat",), num_samples=1)
    request(found[0], settings, seed=0)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from builders.engines import EngineSettings, Request
from builders.harness import asking
from builders.harness.references import Ready
from builders.harness.tasks import Form, Task
from builders.recipe import Evaluation
from store import content_id

Known = Mapping[str, Mapping[str, Ready]]
"""What `references.prepare` says, by benchmark and then by task."""


ANSWERS_PER_SHARD = 256
"""Answers that are judged together while the next ones come."""


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


def request(job: Job, settings: Evaluation, seed: int, adapter: str | None = None) -> Request:
    """The request of a job."""
    asked = asking.request(job.task, job.number, job.form, settings, seed, adapter, benchmark=job.benchmark)
    return replace(asked, request_id=job.name, top_p=settings.top_p)


def tolerant(settings: Evaluation) -> EngineSettings:
    """The engine of an evaluation. It bears as many errors as the evaluation does."""
    share = max(settings.engine.max_error_share, settings.max_error_share)
    return settings.engine.model_copy(update={"max_error_share": share})


def answers_per_shard(engine: EngineSettings) -> int:
    """Answers of a shard. An engine without a journal is asked for what it decodes together."""
    return ANSWERS_PER_SHARD if engine.is_journalled else engine.rows_per_shard
