"""What evaluations say, for `scoder status`: models, gains, and tasks that the training resembles.

In: the records of a store. Out: lists of dictionaries with numbers for programs, and the same with
`value [low, high]` for people. A gain is always between two models that were asked in one form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

import queries
from store.catalog import connect
from store.counts import with_interval
from store.ledger import Ledger

if TYPE_CHECKING:
    import duckdb

    from builders.statistics.comparison import Difference
    from builders.statistics.intervals import Estimate

Row = dict[str, Any]
Counts = Mapping[str, tuple[int, int]]
"""Task -> (graded answers, passed ones)."""
QUIET = ("unanswered", "ungradable", "errors", "timeouts", "missing", "truncated")
"""Columns that are shown where they count something."""
HIDDEN = ("graded_tasks", "answers", "graded")
"""Counts that people can tell from the others."""
TITLES = {
    "gains": "coder-base to coder, in the same form",
    "touched_tasks": "pass@1 on tasks that the instructions resemble",
}


def report(ledger: Ledger) -> dict[str, list[Row]]:
    """`evaluations`, `gains` and `touched_tasks`; nothing at all if no model was evaluated."""
    if not any(entry.table == "evaluations" and entry.rows for entry in ledger.entries):
        return {}
    connection = connect(ledger, tables=["evaluations", "checkpoints", "contamination", "instructions"])
    models = _rows(connection, "report_evaluations")
    tasks = _counts(connection)
    return {
        "evaluations": [_evaluated(model, tasks[_key(model)]) for model in models],
        "gains": list(_gains(models, tasks)),
        "touched_tasks": list(_touched(connection, ledger, models, tasks)),
    }


def _rows(connection: duckdb.DuckDBPyConnection, name: str) -> list[Row]:
    found = queries.relation(connection, name)
    # not by way of Arrow, which is slow to import
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def _key(row: Row) -> tuple[str, str, str]:
    return row["checkpoint_id"], row["benchmark"], row["form"]


def _counts(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str, str], Counts]:
    grouped = groupby(_rows(connection, "evaluated_tasks"), _key)
    return {key: {t["task_id"]: (t["num_graded"], t["num_passed"]) for t in tasks} for key, tasks in grouped}


def _evaluated(model: Row, tasks: Counts) -> Row:
    """A model on a benchmark in one form: pass@1, pass@k for the largest k, and its answers."""
    from builders.harness import statistics
    from builders.statistics import intervals

    found = statistics.passes([n for n, _ in tasks.values()], [c for _, c in tasks.values()])
    most = max(found)
    return {
        "model": model["model"],
        "benchmark": model["benchmark"],
        "form": model["form"],
        "num_tasks": len(tasks),
        "num_graded_tasks": found[1].num_items,
        **_named("pass_at_1", found[1]),
        "k": most if most > 1 else None,
        **_named("pass_at_k", found[most] if most > 1 else intervals.nothing()),
        **{name: count for name, count in model.items() if name.startswith("num_")},
    }


def _gains(models: list[Row], tasks: dict[tuple[str, str, str], Counts]) -> Iterable[Row]:
    """The coder minus its base, on each benchmark and in each form that both were asked in."""
    for base in (m for m in models if m["model"] == "coder-base"):
        for coder in models:
            if coder["model"] != "coder" or _key(coder)[1:] != _key(base)[1:]:
                continue
            found = compared(tasks[_key(base)], tasks[_key(coder)], "base", "coder")
            yield {"benchmark": base["benchmark"], "form": base["form"], **found}


def compared(before: Counts, after: Counts, one: str, other: str) -> Row:
    """pass@1 of two models on the tasks that both have graded answers to, and the difference."""
    from builders.harness import statistics

    both = [t for t in before if before[t][0] and after.get(t, (0, 0))[0]]
    difference = statistics.compared(before, after)
    return {
        "num_tasks": len(both),
        **_named(one, _pass_at_1(before, both)),
        **_named(other, _pass_at_1(after, both)),
        **_difference(difference),
        "p": difference.p,
    }


def _touched(
    connection: duckdb.DuckDBPyConnection, ledger: Ledger, models: list[Row], tasks: dict[tuple[str, str, str], Counts]
) -> Iterable[Row]:
    """pass@1 on the tasks that the training set is clean of, and on the others.

    Only for benchmarks that the instructions were checked against: without hits, a benchmark that
    nobody looked for would seem clean.
    """
    from builders.statistics import comparison

    touched = {(r["benchmark"], r["task_id"]) for r in _rows(connection, "report_touched_tasks")}
    for model in models:
        name, found = model["benchmark"], tasks[_key(model)]
        if not _is_checked(ledger, name):
            continue
        clean = _pass_at_1(found, [t for t in found if (name, t) not in touched])
        other = _pass_at_1(found, [t for t in found if (name, t) in touched])
        yield {
            "model": model["model"],
            "benchmark": name,
            "form": model["form"],
            "num_clean_tasks": clean.num_items,
            **_named("clean", clean),
            "num_touched_tasks": other.num_items,
            **_named("touched", other),
            **_difference(comparison.independent(clean, other)),
        }


def _is_checked(ledger: Ledger, benchmark: str) -> bool:
    """Whether the last generation, which instructions are chosen from, was searched for it."""
    generations = [e.where.split("/")[1] for e in ledger.entries if e.table == "candidates" and e.status != "building"]
    last = max(generations, key=lambda part: int(part.removeprefix("iteration-")), default="")
    where = f"contamination/item_kind-candidate/{last}/benchmark-{benchmark}"
    has_instructions = any(e.table == "instructions" and e.status != "building" for e in ledger.entries)
    return has_instructions and any(e.where == where and e.status != "building" for e in ledger.entries)


def _pass_at_1(tasks: Counts, chosen: list[str]) -> Estimate:
    from builders.harness import statistics

    pairs = [tasks[task] for task in chosen]
    return statistics.passes([n for n, _ in pairs], [c for _, c in pairs])[1]


def _named(name: str, of: Estimate) -> Row:
    return {name: of.value, f"{name}_low": of.low, f"{name}_high": of.high}


def _difference(of: Difference) -> Row:
    return {"difference": of.value, "difference_low": of.low, "difference_high": of.high, "verdict": of.verdict}


def readable(found: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """The same rows as people read them. `found` may also hold other lists, which are left out."""
    return {
        title: [readable_row(row) for row in found[title]]
        for title in ("evaluations", "gains", "touched_tasks")
        if title in found
    }


def readable_row(row: Row) -> Row:
    """A row with intervals beside their numbers, and without counts of nothing."""
    shown: Row = {}
    for key, value in row.items():
        name = key.removeprefix("num_")
        if name.endswith(("_low", "_high")) or name in HIDDEN:
            continue
        if f"{key}_low" in row:
            value = with_interval(value, row[f"{key}_low"], row[f"{key}_high"])
        shown[name.replace("pass_at_", "pass@").replace("_", " ")] = None if value == 0 and name in QUIET else value
    if "num_graded_tasks" in row and row["num_graded_tasks"] < row["num_tasks"]:
        shown["tasks"] = f"{row['num_graded_tasks']} of {row['num_tasks']}"
    return shown
