"""Reports for people and programs: the funnel of a store, two selections compared, rows printed.

In: a store. Out: lists of dictionaries, and functions that print them. What they hold comes from
the run records and from `.sql` files.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

import queries
from store.catalog import connect
from store.counts import with_interval
from store.ledger import Ledger

if TYPE_CHECKING:
    import duckdb

_CODE = {"code", "solution", "completion", "tests", "prompt"}
FROM = {
    "contrast": "fitted",
    "fixed": "fixed in the recipe",
    "equal": "equal: the fit is no better than chance",
}
"""What the method of a weighting means."""
TITLES = {
    "variety": "variety of the pool (effective: inverse Simpson index, as many equal groups would be as concentrated)",
    "weak_aspects": "aspects whose digits say little",
    "weights": "weights of the aspects",
}
FOLD = 24
"""How many lines of a long text are shown."""


# -- the store at a glance -------------------------------------------------------------------------


def funnel(ledger: Ledger) -> list[dict[str, Any]]:
    """One row per partition, in the order in which they were begun, then one with the totals."""
    rows: list[dict[str, Any]] = [
        {
            "partition": entry.where,
            "rows": entry.rows if entry.status != "building" else None,
            "status": entry.status,
            "seconds": round(entry.seconds, 1),
            "prompt_tokens": entry.prompt_tokens or None,
            "completion_tokens": entry.completion_tokens or None,
            "cost_usd": entry.cost_usd,
        }
        for entry in ledger.entries
        if entry.table != "rejects"
    ]
    if rows:
        total = {k: sum(r[k] or 0 for r in rows) for k in ("seconds", "prompt_tokens", "completion_tokens")}
        costs = [r["cost_usd"] for r in rows if r["cost_usd"] is not None]
        rows.append(
            {"partition": "total", "rows": None, "status": "", **total, "cost_usd": sum(costs) if costs else None}
        )
    return rows


def rejects_and_metrics(ledger: Ledger) -> dict[str, list[dict[str, Any]]]:
    """Rejected items by stage, iteration, selection and reason; and all measured numbers."""
    connection = connect(ledger, tables=["rejects", "metrics"])
    found = {name: queries.relation(connection, f"report_{name}") for name in ("rejects", "metrics")}
    # not by way of Arrow, which is slow to import
    return {name: [dict(zip(r.columns, row, strict=True)) for row in r.fetchall()] for name, r in found.items()}


def variety(ledger: Ledger) -> list[dict[str, Any]]:
    """How many repositories, topics and licences the pool is from, and how many in effect."""
    found = queries.relation(connect(ledger, tables=["pool"]), "report_variety")
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def scoring(ledger: Ledger) -> dict[str, list[dict[str, Any]]]:
    """Aspects whose digits say little, with the reason; and where the weights come from."""
    connection = connect(ledger, tables=["aspect_scores", "aspect_weights", "metrics"])
    found = {name: queries.relation(connection, name) for name in ("weak_aspects", "report_weights")}
    rows = {name: [dict(zip(r.columns, row, strict=True)) for row in r.fetchall()] for name, r in found.items()}
    return {"weak_aspects": rows["weak_aspects"], "weights": rows["report_weights"]}


def readable_scoring(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The same as people read it. Without weak aspects there is no table of them."""
    weak = [
        {
            "aspect": row["aspect"],
            "it says little because": row["reason"],
            "measured": row["measure"],
            "value": with_interval(row["value"], row["low"], row["high"]),
            "n": row["num_items"],
        }
        for row in found["weak_aspects"]
    ]
    weights = [
        {
            "iteration": row["iteration"],
            "weights": row["weights"],
            "where from": FROM[row["method"]],
            "AUC on other snippets": with_interval(row["cv_auc"], row["cv_auc_low"], row["cv_auc_high"])
            or row["cv_method"],
            "heaviest": row["heaviest"] and f"{row['heaviest']} {row['heaviest_weight']:.2f}",
            "teacher samples": row["num_teacher"],
            "candidates": row["num_candidates"],
        }
        for row in found["weights"]
    ]
    return {"weak_aspects": weak, "weights": weights}


def readable_metrics(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The measured numbers as people read them: with their intervals, and what has changed."""
    return [
        {
            "name": row["name"],
            "iteration": row["iteration"],
            "subject": row["subject"],
            "value": with_interval(row["value"], row["low"], row["high"]) or row["method"],
            "n": row["num_items"],
            "since the iteration before": with_interval(row["change"], row["change_low"], row["change_high"]),
            "that is": row["verdict"],
        }
        for row in rows
    ]


# -- selections ------------------------------------------------------------------------------------


SHOWN = 10
"""How many of the candidates that enter or leave are shown on a terminal."""
LISTED = 1000
"""How many of them stand in JSON. An SQL query gives all."""


def selection(connection: duckdb.DuckDBPyConnection, iteration: int, name: str) -> dict[str, Any]:
    """How many scored candidates a selection leaves out for which reason, and how many it keeps.

    The connection has its verdicts: `builders.selected.decided` or `written`.
    """
    counts = {r["reason"]: r["candidates"] for r in queries.rows(connection, "report_verdicts")}
    kept = counts.pop(None, 0)
    rows = [{"verdict": "scored", "candidates": kept + sum(counts.values())}]
    rows += [{"verdict": f"- {reason}", "candidates": n} for reason, n in counts.items()]
    return {
        "selection": name,
        "iteration": iteration,
        "funnel": [*rows, {"verdict": "kept", "candidates": kept}],
    }


def num_missing(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """Candidates that are left out because they have no influence.

    First those that `scoder fill` can compute, then those whose gradient cannot be computed.
    """
    counts = {r["reason"]: r["candidates"] for r in queries.rows(connection, "report_verdicts")}
    can_be_filled = queries.table(connection, "missing_items").num_rows
    return can_be_filled, counts.get("influence_missing", 0) - can_be_filled


def compare(connection: duckdb.DuckDBPyConnection, iteration: int, other: str) -> dict[str, Any]:
    """The other selection's funnel, the overlap, and the candidates that enter and leave.

    Of those there are the first 1,000, best first; `num_enter` and `num_leave` count all. The
    connection has the verdicts, and sees the other selection and its rejects.
    """
    where = {"iteration": iteration, "selection": other, "limit": LISTED}
    why = queries.rows(connection, "report_selection_rejects", where)
    (counts,) = queries.rows(connection, "report_compared", where)
    ours, theirs, both = counts["num_ours"], counts["num_theirs"], counts["num_both"]
    return {
        "selection": other,
        "funnel": [*why, {"verdict": "kept", "candidates": theirs}],
        "overlap": both,
        "jaccard": round(both / (ours + theirs - both), 4) if ours + theirs else 1.0,
        "num_enter": ours - both,
        "num_leave": theirs - both,
        "enter": queries.rows(connection, "report_entering", where),
        "leave": queries.rows(connection, "report_leaving", where),
    }


def print_selection(console: Console, report: dict[str, Any]) -> None:
    """Print both funnels, the overlap, and the first rows that enter and leave."""
    print_rows(console, report["funnel"], f"selection {report['selection']}, iteration {report['iteration']}")
    other = report.get("compared")
    if not other:
        return
    print_rows(console, other["funnel"], f"selection {other['selection']}")
    console.print(f"overlap {other['overlap']:,} candidates, Jaccard {other['jaccard']}")
    for side in ("enter", "leave"):
        total = other[f"num_{side}"]
        print_rows(console, other[side][:SHOWN], f"{total:,} {side}")
        if total > SHOWN:
            console.print(f"… {total - SHOWN:,} more {side}", style="dim")


# -- printing --------------------------------------------------------------------------------------


def iteration_of(row: dict[str, Any]) -> str:
    """The iteration that a row of the funnel belongs to, '' outside of the loop."""
    return next((part for part in row["partition"].split("/") if part.startswith("iteration-")), "")


def print_rows(
    console: Console,
    rows: list[dict[str, Any]],
    title: str = "",
    section: Callable[[dict[str, Any]], object] | None = None,
) -> None:
    """Print rows as a table. Columns without any value are left out.

    There is a line between two rows of which `section` says different things.
    """
    if not rows:
        console.print(f"{title}: no rows" if title else "no rows", style="dim")
        return
    columns = [c for c in rows[0] if any(r.get(c) is not None for r in rows)]
    table = Table(title=title or None, title_justify="left")
    for column in columns:
        is_number = all(isinstance(r.get(column), int | float | None) for r in rows)
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row, following in zip(rows, [*rows[1:], rows[-1]], strict=True):
        is_last = section is not None and section(row) != section(following)
        table.add_row(*(Text(_cell(row.get(c))) for c in columns), end_section=is_last)
    console.print(table)


def print_records(console: Console, rows: list[dict[str, Any]], title: str) -> None:
    """Print rows one below the other, with code highlighted and long texts folded."""
    from rich.panel import Panel

    for row in rows:
        short = {k: v for k, v in row.items() if not _is_long(v)}
        console.print(
            Panel(Text("\n".join(f"{k}: {_cell(v)}" for k, v in short.items())), title=title, title_align="left")
        )
        for name, value in row.items():
            if _is_long(value):
                console.print(Text(f"{name}:", style="bold"))
                text = _folded(value)
                console.print(_highlighted(text) if name in _CODE else Text(text))
    if not rows:
        console.print(f"{title}: no rows", style="dim")


def _highlighted(text: str) -> Any:
    from rich.syntax import Syntax

    return Syntax(text, "python", word_wrap=True)


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and ("\n" in value or len(value) > 100)


def _folded(text: str) -> str:
    lines = printable(text).split("\n")
    return "\n".join(lines) if len(lines) <= FOLD else "\n".join([*lines[:FOLD], f"… {len(lines) - FOLD} more lines"])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return f"[{len(value)} values]" if len(value) > 8 else str(value)
    text = printable(str(value))
    return text if len(text) <= 300 else text[:300] + "…"


def printable(text: str) -> str:
    """A text without control characters: a model or a source could steer the terminal with them."""
    return "".join(c if c in "\n\t" or not unicodedata.category(c).startswith("C") else "\ufffd" for c in text)
