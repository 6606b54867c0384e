"""What came of an evaluation, with nothing left out: one `Summary` per benchmark and form.

In: the rows of an evaluation. Out: how many tasks were answered, cut, refused, judged, and what the
rest is about; and pass@k over what was judged. There is no number where too much is missing:
`require_numbers` raises then.

    for summary in summaries(rows, known):
        print(summary.benchmark, summary.form, summary.rates)
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

from builders.harness.jobs import Known
from builders.harness.libraries import PACKAGES
from builders.harness.references import Ready
from builders.harness.rows import Row, lost
from builders.harness.statistics import NOT_GRADED, UNJUDGED, pass_rates
from builders.harness.tasks import Form
from store import Announce
from store.counts import counted, with_interval
from store.errors import JobError

SHOWN = 3
"""How many of the errors and reasons of a summary are told to people. JSON has all."""
COUNTED = ("answered", "truncated", "empty", "unanswered", "ungradable")
MANY = 0.1
"""From this share of the answers on, it is said that they are cut or empty."""
_MISSING = re.compile(r"(?:No module named|Missing optional dependency) '(\w[\w.]*)'")


@dataclass(frozen=True)
class Summary:
    """One benchmark in one form. `rates` is None where there is no number.

    `answers` counts those that were wanted, `empty` those without any text, and `num_poor` those
    that are empty or cut, so that a model could not do better. `ungradable_tasks` says why, by
    task. `errors` and `reasons` say how often which text came, `missing_modules` for how many
    answers and tasks a library is missing. `left_out` says why the model was not asked in this form
    at all. `base_rates` is about the tests of the original benchmark, where others were added to
    them.
    """

    benchmark: str
    form: str
    tasks: int = 0
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
    together: int = 0
    rates: dict[str, Any] | None = None
    base_rates: dict[str, Any] | None = None
    problem: str | None = None
    left_out: str | None = None

    def as_json(self) -> dict[str, Any]:
        """All of it, for programs. The rates stand beside the counts."""
        told = asdict(self)
        rates, base = told.pop("rates"), told.pop("base_rates")
        return told | (rates or {"pass@1": None}) | {f"base {k}": v for k, v in (base or {}).items()}

    def as_line(self) -> dict[str, Any]:
        """A line of a table for people: a number without a name is a count of answers."""
        line: dict[str, Any] = {"benchmark": self.benchmark, "form": self.form, "tasks": self.tasks}
        line |= _in_one(self.rates) or {"pass@1": "not asked" if self.left_out else "no number"}
        line |= {f"base {k}": v for k, v in _in_one(self.base_rates).items() if k == "pass@1"}
        counts = {name: getattr(self, name) for name in COUNTED}
        counts |= {"timed out": self.statuses.get("timeout", 0), "lacks a library": self.statuses.get("missing", 0)}
        return line | counts

    def remarks(self) -> list[str]:
        """What people should know of it, in sentences."""
        where = f"{self.benchmark} ({self.form})"
        if self.left_out:
            return [f"{where}: not asked, as {self.left_out}"]
        said = self._warnings(where)
        said += [f"{where}: {counted(self.unanswered, 'answer')} missing: {_most(self.errors)}"] * bool(self.errors)
        if self.reasons:
            said.append(f"{where}: {counted(self.ungradable, 'task')} cannot be graded here: {_most(self.reasons)}")
        if self.missing_modules:
            said.append(f"{where}: libraries that the sandbox lacks: {_listed(self.missing_modules)}")
        if self.statuses.get("missing"):
            said.append(f"{where}: to have them: {_install(self.missing_modules)}")
        if failed := self.statuses.get("error"):
            said.append(f"{where}: the sandbox failed for {counted(failed, 'answer')}")
        if self.together:
            said.append(f"{where}: {counted(self.together, 'answer')} judged in one process with the tests")
        return said

    def _warnings(self, where: str) -> list[str]:
        """What makes the number doubtful."""
        said = []
        if self.num_poor > 0.5 * self.answered:
            said.append(f"{where}: the number says little, as more than half of the answers are empty or cut")
        if self.empty > MANY * self.answered:
            said.append(
                f"{where}: {self.empty:,} of {self.answered:,} answers are empty: the model's text may be in another "
                "field, or it was not given enough tokens"
            )
        if self.truncated > MANY * self.answered:
            at = f" at max_tokens={self.max_tokens}" if self.max_tokens else ""
            said.append(f"{where}: {self.truncated:,} of {self.answered:,} answers were cut{at}: raise --max-tokens")
        return said


class NoNumberError(JobError):
    """An evaluation that gives no number. `summaries` and `rows` say all that is known."""

    def __init__(
        self,
        message: str,
        summaries: Sequence[Summary],
        exit_code: int = JobError.exit_code,
        rows: Sequence[Row] = (),
    ) -> None:
        super().__init__(message)
        self.summaries, self.exit_code, self.rows = list(summaries), exit_code, list(rows)


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


def tell_ungradable(announce: Announce, known: Known) -> None:
    """Say, before the first request, which tasks cannot be judged here, and what they lack."""
    for benchmark, tasks in known.items():
        lacking = {task_id: ready for task_id, ready in tasks.items() if ready.ungradable}
        if not lacking:
            continue
        announce(f"{benchmark}: {len(lacking)} of {len(tasks)} tasks cannot be judged here, and are not asked:")
        by_reason: dict[str, list[str]] = {}
        for task_id, ready in lacking.items():
            by_reason.setdefault(str(ready.ungradable), []).append(task_id)
        for reason, names in by_reason.items():
            announce(f"  {reason}: {first_names(names, 10)}")
        if modules := sorted({name for ready in lacking.values() for name in _lacking(ready)}):
            announce(
                f"  missing libraries: {', '.join(modules)}. `scoder environment DIR --benchmarks …` installs them; "
                "then give --environment DIR, or set evaluation.grading.environment"
            )


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
    problem = _problem(rows, judged, max_error_share)
    return Summary(
        benchmark=benchmark,
        form=form,
        tasks=len({row["task_id"] for row in rows}),
        answers=len(rows),
        answered=len(answered),
        truncated=len(cut),
        empty=len(empty),
        num_poor=len(cut) + sum(row["finish_reason"] == "stop" for row in empty),
        max_tokens=max_tokens,
        unanswered=statuses["unanswered"],
        errors=_counts(row["error"] or "unknown" for row in rows if row["status"] == "unanswered"),
        ungradable=len(reasons),
        reasons=_counts(reasons.values()),
        ungradable_tasks=reasons,
        statuses=dict(sorted(statuses.items())),
        missing_modules=_missing_modules(rows, known[benchmark]),
        together=sum(not row["is_apart"] for row in judged),
        rates=None if problem else _rates(judged),
        base_rates=None if problem else _base_rates(judged),
        problem=problem,
    )


def _problem(rows: list[Row], judged: list[Row], max_error_share: float) -> str | None:
    """Why there is no number."""
    wanted = [row for row in rows if row["status"] != "ungradable"]
    if not wanted:
        reasons = _counts(row["message"] or "" for row in rows)
        return f"none of the {counted(len(rows), 'answer')} could be judged here: {_most(reasons)}"
    num_lost = lost(wanted).total()
    if judged and num_lost <= max_error_share * len(wanted):
        return None
    errors = _counts(_loss(row) for row in wanted if lost([row]))
    modules = _counts(name for row in wanted if row["status"] == "missing" for name in _modules_of(row["message"]))
    is_borne = num_lost <= max_error_share * len(wanted)
    share = "" if is_borne else f", more than --max-error-share {max_error_share:g} allows"
    advice = f". To have them: {_install(modules)}" if modules else ""
    return f"{num_lost:,} of {len(wanted):,} answers are missing{share}: {_most(errors)}{advice}"


def _loss(row: Row) -> str:
    """Why an answer has no verdict, in words that the same cause always has."""
    modules = _modules_of(row["message"]) if row["status"] == "missing" else []
    if modules:
        return f"the sandbox lacks {modules[0]}"
    return str(row["error"] or row["message"] or "the sandbox failed")


def _install(modules: Iterable[str]) -> str:
    """The command that gives these libraries to answers."""
    names = ",".join(sorted({PACKAGES.get(name, name) for name in modules}))
    return f"`scoder environment DIR --packages {names}`, then give --environment DIR to evaluate or grade"


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


def _missing_modules(rows: list[Row], known: Mapping[str, Any]) -> dict[str, int]:
    tasks = {row["task_id"] for row in rows if row["status"] == "ungradable"}
    of_tasks = [name for task_id in tasks for name in _lacking(known[task_id])]
    return _counts([*of_tasks, *(n for row in rows if row["status"] == "missing" for n in _modules_of(row["message"]))])


def _lacking(ready: Ready) -> list[str]:
    """The libraries that a task's own solution lacks, also those that we do not know."""
    return list(ready.missing) or [n for n in _modules_of(ready.ungradable) if n not in sys.stdlib_module_names]


def _modules_of(message: str | None) -> list[str]:
    found = _MISSING.search(message or "")
    return [found.group(1).split(".")[0]] if found else []


def _counts(texts: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(texts).items(), key=lambda item: (-item[1], item[0])))


def _most(counts: Mapping[str, int]) -> str:
    """The most frequent texts with their numbers."""
    told = [f"{number} × {text}" for text, number in list(counts.items())[:SHOWN]]
    return "; ".join(told) + (f"; and {len(counts) - SHOWN} other reasons" if len(counts) > SHOWN else "")


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({number})" for name, number in counts.items())
