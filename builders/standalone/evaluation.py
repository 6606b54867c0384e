"""Any model, and any answers, on any benchmarks, without a store.

In: a model, benchmarks, and how to ask and judge. Out: one row per answer, and a `Summary` per
benchmark and form. With a folder, the answers are kept as they come, the same call resumes, and
`builders/standalone/grading.py` judges them again without a model.

    settings = Evaluation(forms=("chat",))
    found = evaluate("path/to/model", [named("humaneval=HumanEval.jsonl.gz")], settings)
    found.summaries[0].rates    # {'pass@1': 0.8171}

`NoNumberError` is raised where something went wrong. Its summaries say what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from builders import sandbox
from builders.benchmarks import tasks as tasks_of
from builders.engines import Completion, EngineSettings, Request, forms, open_engine, require_weights
from builders.engines.answers import StormError, answers_in, open_answers, spent_in, way_on
from builders.harness import references, saved
from builders.harness.jobs import (
    Job,
    Known,
    answers_per_shard,
    jobs,
    nothing_gradable,
    requests,
    tolerant,
)
from builders.harness.obstacles import tell_ungradable, too_few
from builders.harness.rows import Row, is_answered, joined, rows, unjudged
from builders.harness.stored_cases import CaseFile
from builders.harness.summary import NoNumberError, Summary, require_numbers, summaries
from builders.harness.tasks import FORMS, Form, Task
from builders.recipe import Benchmark, Evaluation, Grading
from builders.standalone.evaluation_identity import found_again, plan_of
from store import Announce
from store.errors import InputError, UserError
from store.files import check_folder
from store.held_folders import temporary
from store.store import Track

Tasks = dict[str, list[Task]]
KEPT = "All answers are kept"
"""Engines say so, whose answers have a folder."""


@dataclass(frozen=True)
class Evaluated:
    """The rows of an evaluation and what came of it."""

    rows: list[Row]
    summaries: list[Summary]


def silent(message: str) -> None:
    """An `announce` that says nothing."""


def untracked(items: Sequence[int], label: str) -> Sequence[int]:
    """A `track` that shows nothing."""
    return items


def evaluate(
    model: str,
    given: Sequence[Benchmark],
    settings: Evaluation,
    *,
    adapter: str | None = None,
    revision: str | None = None,
    seed: int = 0,
    folder: Path | None = None,
    announce: Announce = silent,
    track: Track = untracked,
) -> Evaluated:
    """Ask a model folder, a Hub id or a served model about benchmarks, and judge its answers.

    InputError if `folder` holds another run. NoNumberError if too many answers are missing; those
    that came are kept.

    Example:
        found = evaluate("path/to/model", [named("humaneval=HumanEval.jsonl.gz")], Evaluation())
    """
    sandbox.require()
    if folder is not None:
        check_folder(folder)
    if not settings.engine.is_endpoint and not _is_asked(folder):
        require_weights(model, {"adapter": adapter} if adapter else {}, revision)
    _require_endpoint(settings.engine, folder)
    tasks = read(given)
    if folder is None:
        announce("nothing is kept: with -o DIR, answers and rows are saved, and the same command resumes")
    plan = plan_of(model, tasks, settings, adapter, revision, seed)
    about = {
        "model": model,
        "adapter": adapter,
        "benchmarks": [found_again(benchmark) for benchmark in given],
        "evaluation": settings.model_dump(mode="json"),
    }
    with _place(folder) as place, saved.opened(place, plan, about) as answers, _honest(folder):
        known = prepared(tasks, settings.grading, announce, settings.max_error_share)
        run = _Run(model, adapter, revision, seed, settings, jobs(tasks, settings.forms, settings.num_samples), known)
        run.find_forms(answers, announce)
        saved.add(place, {"left_out": run.left_out})
        found = run.rows(answers, track, announce)
        told = summaries(found, known, settings.max_error_share, run.left_out, settings.max_tokens)
        saved.write_results(place, adapter or model, found, told)
    require_numbers(told, found)
    return Evaluated(found, told)


def _require_endpoint(engine: EngineSettings, folder: Path | None) -> None:
    """Say what an endpoint lacks before any work: its host, and its key if it will be asked."""
    forms.require_host(engine)
    if not _is_asked(folder):
        forms.require_key(engine)


def _is_asked(folder: Path | None) -> bool:
    """Whether the model was asked about everything before."""
    return folder is not None and (folder / saved.ROWS).exists()


def read(given: Sequence[Benchmark]) -> Tasks:
    """The tasks of benchmarks by their names. InputError if two have the same name.

    Their cases lie in a file, so that memory does not grow with them.
    """
    names = [benchmark.name for benchmark in given]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"two benchmarks are called {', '.join(twice)}: write NAME=FILE to tell them apart")
    file = CaseFile(references.own_folder())
    return {benchmark.name: [file.stored(task) for task in tasks_of(benchmark)] for benchmark in given}


def prepared(
    tasks: Tasks, grading: Grading, announce: Announce, max_error_share: float = 1.0
) -> dict[str, dict[str, references.Ready]]:
    """What is known of the tasks, by benchmark. What cannot be judged here is told.

    NoNumberError if that is all of a benchmark, or more than `max_error_share` of one.
    """
    known = {name: references.prepare(part, grading, announce) for name, part in tasks.items()}
    tell_ungradable(announce, known)
    for name, part in tasks.items():
        if reason := nothing_gradable(name, jobs({name: part}, FORMS, 1), known):
            told = summaries(unjudged([(Job(name, task, "chat", 0), None) for task in part], known), known, 1.0)
            raise NoNumberError(reason, told)
    if reason := too_few(known, max_error_share):
        every = [(Job(name, task, "chat", 0), None) for name, part in tasks.items() for task in part]
        told = summaries(unjudged(every, known, "nothing was asked"), known, max_error_share)
        raise NoNumberError(f"there would be no number: {reason}", told)
    return known


class _Run:
    """One model asked about all jobs, in one stream. `left_out` is known once it was asked."""

    def __init__(
        self,
        model: str,
        adapter: str | None,
        revision: str | None,
        seed: int,
        settings: Evaluation,
        wanted: list[Job],
        known: Known,
    ) -> None:
        self.model, self.revision, self.seed, self.settings, self.known = model, revision, seed, settings, known
        self.adapters = {"adapter": adapter} if adapter else {}
        size = answers_per_shard(settings.engine)
        self.wanted, self.starts = wanted, range(0, len(wanted), size)
        self.left_out: dict[Form, str] = {}

    def rows(self, folder: Path, track: Track, announce: Announce) -> list[Row]:
        """A row for each job. The answers are kept in a folder."""
        found: list[Row] = []
        try:
            with self._answers(folder) as of:
                for shard in track(range(len(self.starts)), "answers"):
                    found += rows(
                        joined(self._jobs(shard), of(shard)), self.known, self.settings.grading, announce=announce
                    )
        except UserError as error:
            told = self._broken_off(folder)
            # The summary of a finished run stays beside its rows.
            if not (folder.parent / saved.ROWS).exists():
                saved.write_summary(folder.parent, told)
            lost = (
                f"{sum(one.unanswered for one in told):,} of {sum(one.answers for one in told):,} answers are missing"
            )
            raise NoNumberError(
                f"there is no number, as {lost}: {_advice(error, self.settings.max_error_share)}", told
            ) from error
        return found

    def find_forms(self, folder: Path, announce: Announce) -> None:
        """Find out in which forms the model can be asked."""
        kept = cast(dict[str, Completion], answers_in(folder))
        answered = {job.form for job in self.wanted if job.name in kept and is_answered(kept[job.name])}
        self.left_out = forms.left_out(
            self.settings.engine,
            self.model,
            self.adapters,
            self.revision,
            forms=self.settings.forms,
            answered=answered,
        )
        for form, reason in self.left_out.items():
            announce(f"{self.model} is not asked in the form {form}: {reason}")

    def _jobs(self, shard: int) -> list[Job]:
        start = self.starts[shard]
        return [job for job in self.wanted[start : start + self.starts.step] if job.form not in self.left_out]

    def _requests(self, shard: int) -> list[Request]:
        adapter = next(iter(self.adapters), None)
        return requests(self._jobs(shard), self.known, self.settings, self.seed, adapter)

    @contextmanager
    def _answers(self, folder: Path) -> Iterator[Callable[[int], list[Completion]]]:
        """A function that gives the answers of a shard. If all are kept, no model is loaded."""
        shards = range(len(self.starts))
        kept = cast(dict[str, Completion], answers_in(folder))
        asked = [one.request_id for shard in shards for one in self._requests(shard)]
        if all(name in kept and is_answered(kept[name]) for name in asked):
            yield lambda shard: [kept[one.request_id] for one in self._requests(shard)]
            return
        settings = tolerant(self.settings)
        with (
            open_engine(
                settings,
                self.model,
                self.adapters,
                self.revision,
                template_arguments=self.settings.template_arguments,
                spent=spent_in(folder, settings),
                state=folder / "batches.jsonl",
            ) as engine,
            open_answers(folder, shards, settings, engine.generate, self._requests, keeps_whole_shards=True) as answers,
        ):
            yield lambda shard: answers.of(shard, [one.request_id for one in self._requests(shard)])

    def _broken_off(self, folder: Path) -> list[Summary]:
        """What is known of a run that ended early."""
        kept = cast(dict[str, Completion], answers_in(folder))
        wanted = [job for shard in range(len(self.starts)) for job in self._jobs(shard)]
        found = list(unjudged(joined(wanted, kept.values()), self.known))
        return summaries(found, self.known, self.settings.max_error_share, self.left_out, self.settings.max_tokens)


def _advice(error: UserError, max_error_share: float) -> str:
    """What an engine says, with the option of an evaluation where one can mend it."""
    if not isinstance(error, StormError):
        return str(error)
    return (
        f"their requests ended in an engine error, such as: {error.example!r}, or were not sent after that. {KEPT}: "
        f"mend the cause and run the same command again{way_on(error.is_unread, '--set engine.ask_failed_again=true')}, or bear it with "
        f"--max-error-share, which is {max_error_share:g}"
    )


@contextmanager
def _honest(folder: Path | None) -> Iterator[None]:
    """Engines say that all answers are kept. Without a folder they are not, and that is said."""
    try:
        yield
    except NoNumberError as error:
        if folder is not None:
            raise
        text = str(error).replace(KEPT, "Nothing of this evaluation is kept, as no folder was given (-o DIR)")
        raise NoNumberError(text, error.summaries) from error


@contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    """The folder, or one that goes at the end."""
    if folder is not None:
        yield folder
        return
    with temporary("evaluation") as around:
        inside = around / "evaluation"  # it may hold nothing else, not even a lock
        inside.mkdir()
        yield inside
