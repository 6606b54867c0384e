"""Reports for people and programs: the funnel of a store, two selections compared, rows printed.

In: a store. Out: lists of dictionaries, and functions that print them. What they hold comes from
the run records and from `.sql` files.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

import queries
from store.catalog import connect
from store.ledger import Ledger

if TYPE_CHECKING:
    import pyarrow as pa

    from store import Store
    from store.runs import Partition

_CODE = {"code", "solution", "completion", "tests", "prompt"}
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


# -- selections ------------------------------------------------------------------------------------


def verdict_funnel(verdicts: pa.Table) -> list[dict[str, Any]]:
    """How many scored candidates are left out for which reason, and how many are kept."""
    counts = Counter(r or "kept" for r in verdicts["reason"].to_pylist())
    kept = counts.pop("kept", 0)
    rows = [{"verdict": "scored", "candidates": verdicts.num_rows}]
    rows += [{"verdict": f"- {reason}", "candidates": n} for reason, n in counts.most_common()]
    return [*rows, {"verdict": "kept", "candidates": kept}]


def num_missing(verdicts: pa.Table) -> int:
    """Candidates that a selection would admit but that have no influence yet."""
    return verdicts["reason"].to_pylist().count("influence_missing")


def compare(store: Store, verdicts: pa.Table, iteration: int, other: str) -> dict[str, Any]:
    """The other selection's funnel, the overlap, and the candidates that enter and leave."""
    where: Partition = {"iteration": iteration, "selection": other}
    store.input("selected", **where)
    theirs = {r["candidate_id"]: r for t in store.read("selected", **where) for r in t.to_pylist()}
    ours = {r["candidate_id"]: r for r in verdicts.to_pylist() if r["reason"] is None}
    reasons = {r["candidate_id"]: r["reason"] for r in verdicts.to_pylist()}
    why = queries.rows(connect(store), "report_selection_rejects", where)
    union = ours.keys() | theirs.keys()
    return {
        "selection": other,
        "funnel": [*why, {"verdict": "kept", "candidates": len(theirs)}],
        "overlap": len(ours.keys() & theirs.keys()),
        "jaccard": round(len(ours.keys() & theirs.keys()) / len(union), 4) if union else 1.0,
        "enter": [_brief(ours[c]) for c in sorted(ours.keys() - theirs.keys())],
        "leave": [_brief(theirs[c]) | {"reason": reasons.get(c)} for c in sorted(theirs.keys() - ours.keys())],
    }


def _brief(row: dict[str, Any]) -> dict[str, Any]:
    return {k: row[k] for k in ("candidate_id", "score", "influence")}


def print_selection(console: Console, report: dict[str, Any]) -> None:
    """Print both funnels, the overlap, and the first rows that enter and leave."""
    print_rows(console, report["funnel"], f"selection {report['selection']}, iteration {report['iteration']}")
    other = report.get("compared")
    if not other:
        return
    print_rows(console, other["funnel"], f"selection {other['selection']}")
    console.print(f"overlap {other['overlap']:,} candidates, Jaccard {other['jaccard']}")
    for side in ("enter", "leave"):
        print_rows(console, other[side][:10], f"{len(other[side])} {side}")


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
