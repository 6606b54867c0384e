"""What came of an evaluation, with nothing left out: one `Summary` per benchmark and form.

In: the rows of an evaluation. Out: how many tasks were answered, cut, refused, judged, and what the
rest is about; and pass@k over what was judged. There is no number where too much is missing:
`require_numbers` raises then. An answer is missing if the engine gave none, if its task cannot be
judged here, if the sandbox lacks a library of it, or if the sandbox failed.

What a model may do, and what is no number:

- An answer that is empty, or that was cut at max_tokens, is judged like any other.
- It is poor if it did not pass and is empty. In a chat it is also poor if it did not pass and was
  cut. A completion that was cut is not: base models go on until something ends them.
- If more than half of the answers are poor, the set-up was measured and not the model. So there is
  no number, unless `max_error_share` bears this share as well. In the loop this is only said, as
  its arms are asked in the same way.

    for summary in summaries(rows, known):
        print(summary.benchmark, summary.form, summary.rates)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

from builders.harness.jobs import Known
from builders.harness.missing import counts, install, missing_modules, modules_of, unknown_modules
from builders.harness.rows import Row, lost
from builders.harness.statistics import NOT_GRADED, UNJUDGED, pass_rates, rates_if_missing, task_counts
from builders.harness.tasks import Form
from store.counts import counted, with_interval
from store.errors import JobError

SHOWN = 3
"""How many of the errors and reasons of a summary are told to people. JSON has all."""
COUNTED = ("answered", "truncated", "empty", "unanswered", "ungradable")
MANY = 0.1
"""From this share of the answers on, it is said that they are cut or empty."""
MOST = 0.5
"""If more than this share of the answers is poor, there is no number."""


@dataclass(frozen=True)
class Summary:
    """One benchmark in one form. `rates` is None where there is no number.

    `judged` counts the tasks with a judged answer: `rates` are about them. `if_missing` is
    pass@1 of all tasks if all missing answers had failed, and if all had passed. `answers`
    counts those that were wanted, `empty` those without any text, and `num_poor` the poor ones
    (see the module). `ungradable_tasks` says why, by task. `errors` and `reasons` say how often
    which text came, `missing_modules` for how many answers and tasks a library is missing, and
    `unknown_modules` how many failed answers import what is no library that we know. `left_out`
    says why the model was not asked in this form at all. `base_rates` is about the tests of the
    original benchmark, where others were added to them.
    """

    benchmark: str
    form: str
    tasks: int = 0
    judged: int = 0
    answers: int = 0
    answered: int = 0
    truncated: int = 0
    empty: int = 0
    num_poor: int = 0
    max_tokens: int | None = None
    unanswered: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    ungradable: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    ungradable_tasks: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    missing_modules: dict[str, int] = field(default_factory=dict)
    unknown_modules: dict[str, int] = field(default_factory=dict)
    together: int = 0
    rates: dict[str, Any] | None = None
    base_rates: dict[str, Any] | None = None
    if_missing: tuple[float, float] | None = None
    problem: str | None = None
    left_out: str | None = None

    def as_json(self) -> dict[str, Any]:
        """All of it, for programs. The rates stand beside the counts."""
        told = asdict(self) | {"warnings": self.warnings()}
        rates, base = told.pop("rates"), told.pop("base_rates")
        return told | (rates or {"pass@1": None}) | {f"base {k}": v for k, v in (base or {}).items()}

    def as_line(self) -> dict[str, Any]:
        """A line of a table for people: a number without a name is a count of answers."""
        line: dict[str, Any] = {"benchmark": self.benchmark, "form": self.form, "tasks": self.tasks}
        line |= {"judged": self.judged}
        over = f" over {self.judged:,} of {self.tasks:,} tasks" if self.judged < self.tasks else ""
        rates = {name: number + over for name, number in _in_one(self.rates).items()}
        line |= rates or {"pass@1": "not asked" if self.left_out else "no number"}
        line |= {f"base {k}": v for k, v in _in_one(self.base_rates).items() if k == "pass@1"}
        counts = {name: getattr(self, name) for name in COUNTED}
        counts |= {"timed out": self.statuses.get("timeout", 0), "lacks a library": self.statuses.get("missing", 0)}
        return line | counts

    def remarks(self, setting: str = "--max-tokens") -> list[str]:
        """What people should know of it, in sentences. `setting` is what bounds an answer."""
        where = f"{self.benchmark} ({self.form})"
        if self.left_out:
            return [f"{where}: not asked, as {self.left_out}"]
        said = [f"{where}: {warning}" for warning in self.warnings(setting)]
        said += [f"{where}: {counted(self.unanswered, 'answer')} missing: {most(self.errors)}"] * bool(self.errors)
        if self.if_missing and self.rates:
            low, high = self.if_missing
            said.append(
                f"{where}: the number is over {self.judged:,} of {self.tasks:,} tasks. Of all tasks, pass@1 would be "
                f"{low:.3f} if all missing answers failed, and {high:.3f} if all passed"
            )
        if self.reasons:
            said.append(f"{where}: {counted(self.ungradable, 'task')} cannot be graded here: {most(self.reasons)}")
        if self.missing_modules:
            said.append(f"{where}: libraries that the sandbox lacks: {_listed(self.missing_modules)}")
        if self.statuses.get("missing"):
            said.append(f"{where}: to have them: {install(self.missing_modules)}")
        if failed := self.statuses.get("error"):
            said.append(f"{where}: the sandbox failed for {counted(failed, 'answer')}")
        if self.together:
            said.append(f"{where}: {counted(self.together, 'answer')} judged in one process with the tests")
        return said

    def warnings(self, setting: str = "--max-tokens") -> list[str]:
        """What makes the number doubtful. `setting` is what bounds an answer."""
        said = []
        if self.num_poor > MOST * self.answered:
            said.append("more than half of the answers failed and are empty or cut: that says little about the model")
        if self.empty > MANY * self.answered:
            said.append(
                f"{self.empty:,} of {self.answered:,} answers are empty: the model's text may be in another "
                "field, or it was not given enough tokens"
            )
        if self.truncated > MANY * self.answered:
            at = f" at max_tokens={self.max_tokens}" if self.max_tokens else ""
            said.append(f"{self.truncated:,} of {self.answered:,} answers were cut{at}: raise {setting}")
        if self.unknown_modules:
            number = counted(sum(self.unknown_modules.values()), "answer")
            said.append(f"{number} failed with an import that is not known here: {_listed(self.unknown_modules)}")
        return said


class NoNumberError(JobError):
    """An evaluation that gives no number. `summaries` and `rows` say all that is known."""

    def __init__(self, message: str, summaries: Sequence[Summary], rows: Sequence[Row] = ()) -> None:
        super().__init__(message)
        self.summaries, self.rows = list(summaries), list(rows)


def summaries(
    rows: Iterable[Row],
    known: Known,
    max_error_share: float,
    left_out: Mapping[Form, str] | None = None,
    max_tokens: int | None = None,
) -> list[Summary]:
    """One summary per benchmark and form, in the order of the benchmarks."""

    def key(row: Row) -> tuple[int, str]:
        return list(known).index(row["benchmark"]), row["form"]

    found = []
    for (number, form), part in groupby(sorted(rows, key=key), key):
        found.append(_summary(list(known)[number], form, list(part), known, max_error_share, max_tokens))
    found += [
        Summary(benchmark, form, tasks=len(known[benchmark]), left_out=reason)
        for form, reason in (left_out or {}).items()
        for benchmark in known
    ]
    return sorted(found, key=lambda summary: list(known).index(summary.benchmark))


def first_names(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many more there are.

    first_names(["a", "b", "c", "d"])    # 'a, b, c and 1 more'
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def require_numbers(found: Sequence[Summary], rows: Sequence[Row] = ()) -> None:
    """NoNumberError if one of the summaries has no number although the model was asked."""
    problems = [f"{s.benchmark} ({s.form}): {s.problem}" for s in found if s.problem]
    if problems:
        raise NoNumberError("there is no number for " + "; ".join(problems), found, rows=rows)


def _summary(
    benchmark: str, form: str, rows: list[Row], known: Known, max_error_share: float, max_tokens: int | None
) -> Summary:
    answered = [row for row in rows if row["finish_reason"] in ("stop", "length")]
    cut = [row for row in answered if row["finish_reason"] == "length"]
    empty = [row for row in answered if not row["completion"].strip()]
    statuses = Counter(row["status"] for row in rows)
    judged = [row for row in rows if row["status"] not in (*NOT_GRADED, UNJUDGED)]
    reasons = {row["task_id"]: row["message"] for row in rows if row["status"] == "ungradable"}
    num_poor = sum(_is_poor(row) for row in answered)
    problem = _problem(rows, judged, max_error_share) or _poor(num_poor, len(answered), max_error_share)
    per_task = task_counts(rows)
    return Summary(
        benchmark=benchmark,
        form=form,
        tasks=len(per_task),
        judged=sum(graded > 0 for graded, _ in per_task.values()),
        answers=len(rows),
        answered=len(answered),
        truncated=len(cut),
        empty=len(empty),
        num_poor=num_poor,
        max_tokens=max_tokens,
        unanswered=statuses["unanswered"],
        errors=counts(row["error"] or "unknown" for row in rows if row["status"] == "unanswered"),
        ungradable=len(reasons),
        reasons=counts(reasons.values()),
        ungradable_tasks=reasons,
        statuses=dict(sorted(statuses.items())),
        missing_modules=missing_modules(rows, known[benchmark]),
        unknown_modules=unknown_modules(rows),
        together=sum(not row["is_apart"] for row in judged),
        rates=None if problem else _rates(judged),
        base_rates=None if problem else _base_rates(judged),
        if_missing=None if problem or len(judged) == len(rows) else rates_if_missing(rows),
        problem=problem,
    )


def _problem(rows: list[Row], judged: list[Row], max_error_share: float) -> str | None:
    """Why there is no number."""
    if all(row["status"] == "ungradable" for row in rows):
        reasons = counts(row["message"] or "" for row in rows)
        return f"none of the {counted(len(rows), 'answer')} could be judged here: {most(reasons)}"
    num_lost = lost(rows).total()
    is_borne = num_lost <= max_error_share * len(rows)
    if judged and is_borne:
        return None
    errors = counts(_loss(row) for row in rows if lost([row]))
    modules = counts(name for row in rows if row["status"] == "missing" for name in modules_of(row["message"]))
    share = "" if is_borne else f", more than --max-error-share {max_error_share:g} allows"
    advice = f". To have them: {install(modules)}" if modules else ""
    return f"{num_lost:,} of {len(rows):,} answers are missing{share}: {most(errors)}{advice}"


def _is_poor(row: Row) -> bool:
    """Whether an answer that did not pass is no real answer: see the module."""
    is_cut = row["finish_reason"] == "length" and row["form"] == "chat"
    return not row["is_passed"] and (is_cut or not row["completion"].strip())


def _poor(num_poor: int, num_answered: int, max_error_share: float) -> str | None:
    """Why there is no number where the answers are no real ones."""
    if num_poor <= max(MOST, max_error_share) * num_answered:
        return None
    return (
        f"{num_poor:,} of {num_answered:,} answers failed and are empty or were cut at --max-tokens: raise --max-tokens, "
        "or look for the text in the answers (-o DIR keeps them). A --max-error-share of at least "
        f"{num_poor / num_answered:.3g} bears them"
    )


def _loss(row: Row) -> str:
    """Why an answer has no verdict, in words that the same cause always has."""
    modules = modules_of(row["message"]) if row["status"] == "missing" else []
    if modules:
        return f"the sandbox lacks {modules[0]}"
    return str(row["error"] or row["message"] or "the sandbox failed")


def _rates(judged: list[Row]) -> dict[str, Any]:
    found = pass_rates(judged)
    return {name: value for name, value in found.items() if name.startswith("pass@")}


def _base_rates(judged: list[Row]) -> dict[str, Any] | None:
    """The rates by the tests of the original benchmark. None if nothing was added to these."""
    if all(row["is_base_passed"] is None for row in judged):
        return None
    base = [
        row | {"is_passed": row["is_passed"] if row["is_base_passed"] is None else row["is_base_passed"]}
        for row in judged
    ]
    return _rates(base)


def _in_one(rates: dict[str, float] | None) -> dict[str, str]:
    """pass@1 and the pass@k of the largest k, each with its interval."""
    names = [name for name in rates or {} if not name.endswith(("_low", "_high"))]
    told = {n: with_interval(rates[n], rates.get(f"{n}_low"), rates.get(f"{n}_high")) for n in names} if rates else {}
    return {name: str(told[name]) for name in dict.fromkeys([*names[:1], *names[-1:]])}


def most(counts: Mapping[str, int]) -> str:
    """The most frequent texts with their numbers."""
    told = [f"{number} × {text}" for text, number in list(counts.items())[:SHOWN]]
    return "; ".join(told) + (f"; and {len(counts) - SHOWN} other reasons" if len(counts) > SHOWN else "")


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({number})" for name, number in counts.items())
