"""Commands that keep a store in order, and the machine: fork, verify, clean, doctor."""

from __future__ import annotations

from typing import Annotated

import typer

from commands.terminal import DEFAULT_STORE, JsonOption, StoreOption, announce, app, open_store, print_rows
from store.counts import counted

PANEL = "A run and its store"


@app.command(rich_help_panel=PANEL)
def fork(
    source: Annotated[str, typer.Argument(metavar="SRC", help="Store to branch from.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="New store.")],
    until: Annotated[str, typer.Option(help="Last stage to keep, such as iteration-1.")],
    as_json: JsonOption = False,
) -> None:
    """Branch off a new store without paying again: hard-link all that is built up to a stage.

    On another disk it is copied. What is stale stays behind.

    Example:
    ```
    $ scoder fork store-data other-data --until bootstrap
    linked into other-data
    │ raw_pool                                       │
    │ snippet_occurrences                            │
    …
    ```
    """
    from store.fork import fork as branch

    linked = branch(open_store(source), open_store(target, is_new=True), until)
    print_rows([{"partition": p} for p in linked], as_json, f"linked into {target}")


@app.command(rich_help_panel=PANEL)
def verify(store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> None:
    """Check the files, contracts, keys and audits of a store, its models and datasets.

    All problems are told. The exit code is 1 if anything is wrong.

    Example:
    ```
    $ scoder verify
    │ check │ result │
    │ all   │ ok     │
    ```
    """
    from queries.verify import verify as check

    problems = check(open_store(store))
    print_rows(problems or [{"check": "all", "result": "ok"}], as_json, "verify")
    if problems:
        raise typer.Exit(1)


@app.command(rich_help_panel=PANEL)
def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed; remove nothing.")] = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Remove what nothing needs any more: scratch, answers of finished tables, what kills left.

    It says what and how large before it removes. Tables, models, datasets and whatever an
    unfinished build goes on with stay. What removed answers cost still counts for budgets.

    Example:
    ```
    $ scoder clean --dry-run
    │ path                                   │ what                          │  bytes │
    │ _runs/_scratch/journal-teacher_samples… │ answers of a finished table   │ 192048 │
    │ total                                  │                               │ 192048 │
    ```
    """
    from commands.clean import found, remove
    from store.lock import coordinator

    opened = open_store(store)
    with coordinator(opened.root):
        waste = found(opened)
        total = sum(w.bytes for w in waste)
        rows = [{"path": w.path, "what": w.what, "bytes": w.bytes} for w in waste]
        print_rows([*rows, {"path": "total", "what": "", "bytes": total}], as_json, "clean")
        if not dry_run:
            remove(opened, waste)
    announce(f"{total:,} bytes in {counted(len(waste), 'path')} {'would be' if dry_run else 'were'} removed")


@app.command(rich_help_panel=PANEL)
def doctor(as_json: JsonOption = False) -> None:
    """Check what this machine has and lacks: Python, packages, sandbox, GPU, disk.

    Example:
    ```
    $ scoder doctor
    │ check          │    ok │ found            │ fix │ needed │
    │ python         │  true │ 3.11.7           │     │   true │
    …
    ```
    """
    from commands.doctor import checks

    found = checks()
    print_rows(found, as_json, "doctor")
    if any(c["needed"] and not c["ok"] for c in found):
        raise typer.Exit(1)
