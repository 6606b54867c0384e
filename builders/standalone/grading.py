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
from builders.engines.answers import answers_in, unreadable_in
from builders.harness import sample_files, saved
from builders.harness.jobs import ASKED, Job, jobs, tasks_hash
from builders.harness.rows import Given, is_answered, joined, rows
from builders.harness.sample_files import Samples
from builders.harness.summary import first_names, require_numbers, summaries
from builders.harness.tasks import Form, Task
from builders.recipe import Benchmark, Evaluation, Grading
from builders.standalone.evaluation import Evaluated, prepared, read, silent
from store import Announce, Plan
from store.errors import InputError

NO_SAMPLE = "the file has no sample for it"


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
    left_out = dict(kept.get("left_out") or {})
    asked = [job for job in jobs(tasks, settings.forms, settings.num_samples) if job.form not in left_out]
    with saved.opened(folder, plan, kept) as answers:
        given = cast(dict[str, Completion], answers_in(answers))
        _check_whole(folder, answers, asked, given, announce)
        known = prepared(tasks, settings.grading, announce)
        found = list(rows(joined(asked, given.values()), known, settings.grading, announce=announce))
        told = summaries(found, known, share, left_out, settings.max_tokens)
        saved.write_results(folder, kept["adapter"] or kept["model"], found, told)
    require_numbers(told, found)
    return Evaluated(found, told)


def grade_samples(
    path: Path,
    given: Sequence[Benchmark],
    grading: Grading,
    max_error_share: float,
    *,
    folder: Path | None = None,
    announce: Announce = silent,
) -> Evaluated:
    """Judge the answers of a file of EvalPlus or of bigcode's harness. See `sample_files.read`.

    Samples are programs, and run as they are: nothing is extracted from them. A task without an
    answer counts as unanswered. With a folder, rows and summary are written there, as `evaluate`
    does. InputError if it holds anything else.

    Example:
        given = [named("humaneval=HumanEval.jsonl.gz")]
        grade_samples(Path("samples.jsonl"), given, Grading(), 0.02)
    """
    sandbox.require()
    if folder is not None:
        saved.open_for_results(folder)
    tasks = read(given)
    samples = sample_files.read(path, tasks)
    _tell_absent(path, tasks, samples, announce)
    known = prepared(tasks, grading, announce)
    forms_there = {sample.form for part in samples.values() for sample in part}
    answers = [
        pair
        for benchmark, part in tasks.items()
        for task in part
        for pair in _sampled(benchmark, task, samples.get((benchmark, task.task_id), []), forms_there)
    ]
    found = list(rows(answers, known, grading, NO_SAMPLE, is_code=True, announce=announce))
    told = summaries(found, known, max_error_share)
    if folder is not None:
        saved.write_results(folder, path.name, found, told)
    require_numbers(told, found)
    return Evaluated(found, told)


def _tell_absent(path: Path, tasks: Mapping[str, Sequence[Task]], samples: Samples, announce: Announce) -> None:
    """Say which tasks a file answers in no form."""
    for benchmark, part in tasks.items():
        absent = [task.task_id for task in part if not samples.get((benchmark, task.task_id))]
        if absent:
            announce(
                f"{path} has no sample for {len(absent):,} of {len(part):,} tasks of {benchmark}, which count as "
                f"unanswered: {first_names(absent)}"
            )


def _check_whole(
    folder: Path, answers: Path, asked: Sequence[Job], given: Mapping[str, Completion], announce: Announce
) -> None:
    """InputError if answers that were there are lost: what was judged before must not be replaced.

    A kill leaves a last line that was cut. If nothing was judged since, that is only said.
    """
    there = {name for name, completion in given.items() if is_answered(completion)}
    lost = [job for job in asked if job.name not in there]
    judged = saved.answered_before(folder)
    vanished = [job for job in lost if (job.benchmark, job.form, job.task.task_id, job.number) in judged]
    damaged = unreadable_in(answers)
    where = f"{answers}: {first_names(damaged)} cannot be read" if damaged else f"{answers} does not hold them any more"
    if vanished:
        names = list(dict.fromkeys(job.task.task_id for job in vanished))
        raise InputError(
            f"{len(vanished):,} of {len(asked):,} answers of {folder} are lost, those to {first_names(names)}: {where}. "
            f"Nothing was changed, and {saved.ROWS} still has their verdicts. Restore the files, or run the same "
            "`scoder evaluate` again, which asks for what is missing"
        )
    torn = [path for path in sorted(answers.glob("shard-*.jsonl")) if not path.read_bytes().endswith(b"\n")]
    if lost and len(damaged) > len(torn):
        raise InputError(
            f"{where}, and {len(lost):,} of {len(asked):,} answers are missing. Nothing was changed. Restore the file, "
            "or run the same `scoder evaluate` again, which asks for what is missing"
        )
    if damaged:
        announce(f"{where}: {f'{len(lost):,} answers are missing' if lost else 'all answers are there all the same'}")


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
