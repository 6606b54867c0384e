"""What a run made, in a few lines: rows, where they lie, models, measured numbers, time and cost.

In: the records of a store. Out: lines for people, and three commands that look further. What is not
built yet is left out, so it also fits a run that stopped after some stage.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import queries
from commands.progress import duration
from commands.reports import printable
from commands.terminal import DEFAULT_STORE
from store.catalog import connect, notes
from store.counts import counted, dollars, with_interval
from store.ledger import Ledger
from store.schemas import CONTRACTS

SHOWN = ("instructions", "selected", "scored", "candidates", "teacher_samples", "pool", "raw_pool")
"""Tables that are worth a look, the last to be made first."""
MEASURED = {"parse_rate": "parse rate", "heldout_nll": "held-out NLL", "pass_at_1": "pass@1"}


def lines(ledger: Ledger, store: str) -> list[str]:
    """The whole summary. `store` is the store as the user wrote it."""
    tables = [name for name in SHOWN if _rows(ledger, name) is not None]
    return [*_made(ledger, store, tables), *_measured(ledger), *_spent(ledger), "", *_next(ledger, store, tables)]


def _rows(ledger: Ledger, table: str) -> int | None:
    """How many rows of a table queries see; None if it has no finished partition."""
    found = [e.rows for e in ledger.entries if e.table == table and e.status != "building"]
    return sum(found) if found else None


def _counted(ledger: Ledger, table: str) -> str:
    return f"{counted(_rows(ledger, table) or 0, 'row')} of {table}"


def _made(ledger: Ledger, store: str, tables: list[str]) -> list[str]:
    dataset = Path(store, "_datasets", "instructions")
    if tables[:1] == ["instructions"]:
        where = f": {dataset}" if dataset.is_dir() else ""
        found = [f"{counted(_rows(ledger, 'instructions') or 0, 'instruction')}{where}"]
    else:
        found = [", ".join(_counted(ledger, name) for name in tables[:3]) or "nothing is built"]
    found += _varied(ledger)
    models = connect(ledger, tables=["checkpoints"]).execute(
        "SELECT role, iteration, location FROM checkpoints WHERE is_final AND location IS NOT NULL "
        "QUALIFY row_number() OVER (PARTITION BY role ORDER BY iteration DESC) = 1 ORDER BY role DESC"
    )
    for role, iteration, location in models.fetchall():
        name = role if iteration is None else f"{role} G{iteration}"
        found.append(f"{name}: {Path(store, location)}")
    return found


def _varied(ledger: Ledger) -> list[str]:
    """From how many repositories the pool is. Nothing without a pool, or where none is known."""
    relation = queries.relation(connect(ledger, tables=["pool"]), "report_variety")
    for grouped_by, _, num_groups, effective, largest, share in relation.fetchall():
        if grouped_by == "repository" and num_groups > 1:
            one = f"the largest, {printable(largest)}, has {share:.0%} of its rows"
            return [f"the pool is from {num_groups:,} repositories, in effect {effective:.1f}: {one}"]
    return []


def _measured(ledger: Ledger) -> list[str]:
    rows = connect(ledger, tables=["metrics"]).execute(
        "SELECT name, subject, value, low, high FROM metrics ORDER BY iteration, subject, name"
    )
    found: dict[str, list[str]] = {name: [] for name in MEASURED}
    for name, subject, *measured in rows.fetchall():
        if name in found and (text := with_interval(*measured)):
            found[name].append(f"{subject} {text}")
    return [f"{MEASURED[name]}: {', '.join(values)}" for name, values in found.items() if values]


def _spent(ledger: Ledger) -> list[str]:
    entries = ledger.entries
    asked, written = sum(e.prompt_tokens for e in entries), sum(e.completion_tokens for e in entries)
    costs = [e.cost_usd for e in entries if e.cost_usd is not None]
    said = [duration(sum(e.seconds for e in entries))]
    said += [f"{asked:,} tokens read and {written:,} written"] if asked or written else []
    said += [f"{dollars(sum(costs))} USD"] if costs else []
    return [f"all builds of this store took {', '.join(said)}", *notes(ledger, CONTRACTS)]


def _next(ledger: Ledger, store: str, tables: list[str]) -> list[str]:
    """Three commands that look at what is there."""
    at = [] if store == DEFAULT_STORE else ["--store", store]
    sql = "SELECT reason, count(*) AS n FROM rejects GROUP BY reason ORDER BY n DESC LIMIT 5"
    if _rows(ledger, "metrics"):
        sql = "SELECT name, iteration, subject, value, low, high FROM metrics ORDER BY ALL"
    commands = [["status"], ["sql", sql]]
    if tables:
        commands.insert(1, ["show", tables[0]])
    return ["Look at it:", *(f"  {_program()} {shlex.join([*words, *at])}" for words in commands)]


def _program() -> str:
    """How this program was called, so that its lines can be copied."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m commands"
    on_path = shutil.which("scoder")
    return "scoder" if on_path and Path(on_path).resolve() == called.resolve() else str(called)
