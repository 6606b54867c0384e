"""Answers judged again, without a model: those of a saved evaluation, or of another harness's file.

In: the folder of an evaluation, or a file of samples with its benchmarks. Out: rows and summaries,
as `evaluate` gives them. A folder of verdicts on samples keeps the samples, too, so it can be
judged again as well.

    grade(Path("my-evaluation"), Grading(environment="libraries")).summaries
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from builders import sandbox
from builders.engines import Completion
from builders.engines.answers import answers_in, unreadable_in
from builders.harness import asking, references, sample_files, saved
from builders.harness.jobs import Job, jobs
from builders.harness.rows import Row, is_answered, joined, rows
from builders.harness.sample_files import Samples
from builders.harness.summary import first_names, require_numbers, summaries
from builders.harness.tasks import FORMS, Task
from builders.recipe import Benchmark, Evaluation, Grading
from builders.standalone.evaluation import Evaluated, Tasks, prepared, read, silent
from builders.standalone.evaluation_identity import found_again, hashes_of
from store import Announce, Plan
from store.errors import InputError, MissingError

NO_SAMPLE = "the file has no sample for it"
NOT_YET_ASKED = "it was not asked for: the same `scoder evaluate` again asks for it"


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
    benchmarks = [Benchmark.model_validate(benchmark) for benchmark in kept["benchmarks"]]
    tasks = _read_again(folder, benchmarks)
    if saved.is_of_samples(kept):
        _tell_other_tests(kept, tasks, announce)
        return _judged(folder, benchmarks, tasks, settings.grading, share, folder, announce)
    plan = Plan.model_validate(kept["plan"])
    _check_asked(folder, plan, tasks, announce)
    left_out = dict(kept.get("left_out") or {})
    asked = [job for job in jobs(tasks, settings.forms, settings.num_samples) if job.form not in left_out]
    with saved.opened(folder, plan, kept) as answers:
        given = cast(dict[str, Completion], answers_in(answers))
        _check_whole(folder, answers, asked, given, announce)
        known = prepared(tasks, settings.grading, announce)
        found = list(rows(joined(asked, given.values()), known, settings.grading, NOT_YET_ASKED, announce=announce))
        told = summaries(found, known, share, left_out, settings.max_tokens)
        saved.write_results(folder, kept["adapter"] or kept["model"], found, told)
        saved.add(folder, {saved.JUDGED: _judged_by(tasks, settings.grading)})
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
    return _judged(path, given, read(given), grading, max_error_share, folder, announce)


def _judged(
    path: Path,
    given: Sequence[Benchmark],
    tasks: Tasks,
    grading: Grading,
    max_error_share: float,
    folder: Path | None,
    announce: Announce,
) -> Evaluated:
    """The verdicts on the samples of a file, or of the rows of a folder."""
    samples = saved.samples(path, tasks) if saved.holds_verdicts_alone(path) else sample_files.read(path, tasks)
    _tell_absent(path, tasks, samples, announce)
    _tell_fences(path, tasks, samples, announce)
    known = prepared(tasks, grading, announce)
    found = list(_rows(tasks, samples, known, grading, announce))
    told = summaries(found, known, max_error_share)
    if folder is not None:
        about = {
            "benchmarks": [found_again(benchmark) for benchmark in given],
            "evaluation": {"grading": grading.model_dump(mode="json"), "max_error_share": max_error_share},
            saved.JUDGED: _judged_by(tasks, grading),
        }
        saved.write_verdicts(folder, path, about, found, told)
    require_numbers(told, found)
    return Evaluated(found, told)


def _judged_by(tasks: Tasks, grading: Grading) -> dict[str, Any]:
    """What the verdicts in a folder come from: its tests and limits, which may not be the first."""
    return {"benchmarks": hashes_of(tasks), "grading": grading.model_dump(mode="json")}


def _read_again(folder: Path, benchmarks: Sequence[Benchmark]) -> Tasks:
    """The tasks of the benchmarks of a folder. MissingError with the fix where one has gone."""
    try:
        return read(benchmarks)
    except MissingError as error:
        raise MissingError(
            f"{folder} cannot be judged again: {error} Put the file back; or, if it has only moved, write its new path "
            f"into {folder / saved.SETTINGS}, below benchmarks"
        ) from None


def _tell_fences(path: Path, tasks: Tasks, samples: Samples, announce: Announce) -> None:
    """Say how many samples are no programs, because they still have the fences of a chat."""
    for benchmark in tasks:
        part = [sample for (name, _), found in samples.items() if name == benchmark for sample in found]
        first, fenced = sample_files.not_python(part)
        if fenced:
            what = "begin with" if first == fenced else "hold"
            announce(
                f"{benchmark}: {fenced:,} of {len(part):,} samples are not Python (they {what} a fence), and they run "
                f"as they are: write their code alone into a file (`evalplus.sanitize --samples {path}` does so), and "
                "grade that"
            )


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


def _check_asked(folder: Path, plan: Plan, tasks: Tasks, announce: Announce) -> None:
    """InputError if the benchmarks are no longer those that the model was asked about."""
    now = hashes_of(tasks)
    for name, hashes in plan.fields["benchmarks"].items():
        if hashes["asked"] != now[name]["asked"]:
            raise InputError(
                f"the benchmark {name} has other tasks now than when the answers in {folder} were given: restore its "
                "file, or evaluate into another folder"
            )
    _tell_other_tests({saved.JUDGED: {"benchmarks": plan.fields["benchmarks"]}}, tasks, announce)


def _tell_other_tests(kept: Mapping[str, Any], tasks: Tasks, announce: Announce) -> None:
    now = hashes_of(tasks)
    for name, hashes in kept[saved.JUDGED]["benchmarks"].items():
        if hashes["all"] != now[name]["all"]:
            announce(f"{name}: its tests are not those of the first verdicts")


def _rows(
    tasks: Tasks,
    samples: Samples,
    known: Mapping[str, Mapping[str, references.Ready]],
    grading: Grading,
    announce: Announce,
) -> Iterator[Row]:
    """A row per sample. A task that has none in one of the file's forms counts as unanswered there.

    A sample can be judged whatever the form in which its model was asked. So the job gets a form
    that its task has, and the row that of the sample.
    """
    forms_there = sorted({sample.form for part in samples.values() for sample in part})
    pairs: list[tuple[Job, Completion | None]] = []
    forms: list[str] = []
    for benchmark, task, form in (
        (b, task, form) for b, part in tasks.items() for task in part for form in forms_there
    ):
        texts = [sample.code for sample in samples.get((benchmark, task.task_id), []) if sample.form == form]
        asked = next(iter(asking.forms(task)), FORMS[0])
        for number, text in enumerate(texts or [None]):
            job = Job(benchmark, task, asked, number)
            pairs.append((job, None if text is None else Completion(job.name, text, "stop", 0, 0, None)))
            forms.append(form)
    found = rows(pairs, known, grading, NO_SAMPLE, is_code=True, announce=announce)
    return ({**row, "form": form} for row, form in zip(found, forms, strict=True))
