"""Answers judged again, without a model: those of a saved evaluation, or of another harness's file.

In: the folder of an evaluation, or a file of samples with its benchmarks. Out: rows and summaries,
as `evaluate` gives them.

    grade(Path("my-evaluation"), Grading(environment="libraries")).summaries
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from builders import sandbox
from builders.engines import Completion
from builders.engines.answers import answers_in
from builders.harness import sample_files, saved
from builders.harness.jobs import ASKED, Job, jobs, tasks_hash
from builders.harness.rows import Given, joined, rows
from builders.harness.summary import require_numbers, summaries
from builders.harness.tasks import Form, Task
from builders.recipe import Benchmark, Evaluation, Grading
from builders.standalone.evaluation import Evaluated, prepared, read, silent
from store import Announce, Plan
from store.errors import InputError


def grade(
    folder: Path, grading: Grading | None = None, max_error_share: float | None = None, *, announce: Announce = silent
) -> Evaluated:
    """Judge the answers of a folder again, without a model. Rows and summary are written anew.

    Without `grading` and `max_error_share`, they are those of the evaluation.

    Example:
        grade(Path("my-evaluation"), Grading(environment="libraries"))
    """
    sandbox.require()
    kept = saved.settings_of(folder)
    settings = Evaluation.model_validate(kept["evaluation"])
    settings = settings.model_copy(update={"grading": grading or settings.grading})
    share = settings.max_error_share if max_error_share is None else max_error_share
    tasks = read([Benchmark.model_validate(benchmark) for benchmark in kept["benchmarks"]])
    plan = Plan.model_validate(kept["plan"])
    _check_asked(folder, plan, tasks, announce)
    with saved.opened(folder, plan, kept) as answers:
        known = prepared(tasks, settings.grading, announce)
        given = cast(dict[str, Completion], answers_in(answers))
        asked = jobs(tasks, settings.forms, settings.num_samples)
        left_out = dict(kept.get("left_out") or {})
        found = list(
            rows(joined([j for j in asked if j.form not in left_out], given.values()), known, settings.grading)
        )
        told = summaries(found, known, share, left_out)
        saved.write_results(folder, kept["adapter"] or kept["model"], found, told)
    require_numbers(told)
    return Evaluated(found, told)


def grade_samples(
    path: Path,
    given: Sequence[Benchmark],
    grading: Grading,
    max_error_share: float,
    *,
    announce: Announce = silent,
) -> Evaluated:
    """Judge the answers of a file of EvalPlus or of bigcode's harness. See `sample_files.read`.

    Samples are programs, and run as they are: nothing is extracted from them. A task without an
    answer counts as unanswered.

    Example:
        given = [named("humaneval=HumanEval.jsonl.gz")]
        grade_samples(Path("samples.jsonl"), given, Grading(), 0.02)
    """
    sandbox.require()
    tasks = read(given)
    samples = sample_files.read(path, tasks)
    known = prepared(tasks, grading, announce)
    forms_there = {sample.form for part in samples.values() for sample in part}
    answers = [
        pair
        for benchmark, part in tasks.items()
        for task in part
        for pair in _sampled(benchmark, task, samples.get((benchmark, task.task_id), []), forms_there)
    ]
    found = list(rows(answers, known, grading, is_code=True))
    told = summaries(found, known, max_error_share)
    require_numbers(told)
    return Evaluated(found, told)


def _check_asked(folder: Path, plan: Plan, tasks: Mapping[str, Sequence[Task]], announce: Announce) -> None:
    """InputError if the benchmarks are no longer those that the model was asked about."""
    for name, hashes in plan.fields["benchmarks"].items():
        if hashes["asked"] != tasks_hash(tasks[name], ASKED):
            raise InputError(
                f"the benchmark {name} has other tasks now than when the answers in {folder} were given: restore its "
                "file, or evaluate into another folder"
            )
        if hashes["all"] != tasks_hash(tasks[name]):
            announce(f"{name}: its tests are not those of the first verdicts")


def _sampled(benchmark: str, task: Task, samples: list[sample_files.Sample], forms_there: set[Form]) -> Given:
    """The samples of a task. One that has none in a form counts as unanswered there."""
    found: list[tuple[Job, Completion | None]] = []
    for form in sorted(forms_there):
        texts = [sample.code for sample in samples if sample.form == form]
        for number, text in enumerate(texts):
            job = Job(benchmark, task, form, number)
            found.append((job, Completion(job.name, text, "stop", 0, 0, None)))
        if not texts:
            found.append((Job(benchmark, task, form, 0), None))
    return found
