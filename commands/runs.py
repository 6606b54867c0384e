"""Commands that build: run, status, select, fill, fork, verify, doctor."""

from __future__ import annotations

import json
import shlex
from typing import Annotated

import typer

from commands.terminal import (
    DEFAULT_STORE,
    JsonOption,
    RecipeOption,
    SetOption,
    StoreOption,
    announce,
    app,
    console,
    open_ledger,
    open_store,
    print_rows,
    recipe_of,
)

PANEL = "A run and its store"


@app.command(rich_help_panel=PANEL)
def run(
    recipe: Annotated[
        str, typer.Argument(help="Name of a recipe that comes with SCoder, such as tiny, or a YAML file.")
    ],
    set_: SetOption = None,
    until: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the recipe and print what would be built; build nothing.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Build again what was built under another plan or is stale, and nothing else."),
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Run all stages of a recipe. After a kill, the same command resumes.

    Example:
    ```
    $ scoder run smoke --until pool
    [pool]
    raw_pool: 1,080 rows in 14.2 s
    …
    pool: 108 rows in 0.3 s
    108 rows of pool, 1,080 rows of raw_pool
    building took 17 s

    Look at it:
      scoder status
      scoder show pool
      scoder sql 'SELECT reason, count(*) AS n FROM rejects GROUP BY reason ORDER BY n DESC LIMIT 5'
    ```
    """
    from builders.recipe import estimate, files

    loaded = files.load(recipe, set_)
    if dry_run:
        print_rows([vars(s) for s in estimate.plan(loaded)], as_json, f"plan of {loaded.name}")
        return
    import scoder
    from store.lock import coordinator

    opened = open_store(store, force=force, is_new=True)
    with coordinator(opened.root):
        files.remember(opened.root, loaded, is_new=True)
        scoder.run(opened, loaded, until)
        files.remember(opened.root, loaded)
    if as_json:
        status(store=store, as_json=True)
        return
    from commands import summary

    for line in summary.lines(open_ledger(store), store):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command(rich_help_panel=PANEL)
def status(store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> None:
    """Show what a store has: rows and rejects per stage, tokens, cost, time, measured numbers.

    Example:
    ```
    $ scoder status
    │ partition           │ rows │ status   │ seconds │ … │
    │ raw_pool            │ 1080 │ complete │    14.2 │   │
    │ snippet_occurrences │ 1085 │ complete │     0.4 │   │
    …
    ```
    """
    from commands import reports
    from store.catalog import notes as notes_of
    from store.schemas import CONTRACTS

    opened = open_ledger(store)
    found = {"tables": reports.funnel(opened), **reports.rejects_and_metrics(opened)}
    if as_json:
        print(json.dumps(found, default=str))
    else:
        for title, rows in found.items():
            reports.print_rows(console, rows, title, section=reports.iteration_of if title == "tables" else None)
    for note in notes_of(opened, CONTRACTS):
        announce(note)


@app.command(rich_help_panel=PANEL)
def select(
    iteration: Annotated[int, typer.Option(help="Iteration of the loop.")],
    name: Annotated[str, typer.Option(help="Name of the selection.")],
    set_: SetOption = None,
    compare: Annotated[str | None, typer.Option(help="Also show the differences to this selection.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be kept; write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a selection of this name.")] = False,
    recipe: RecipeOption = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Write a selection under other thresholds or weights, beside the default one.

    Calls no model.

    Example:
    ```
    $ scoder select --iteration 1 --name strict --set selection.top_share=0.2
    selection strict, iteration 1
    │ scored                │         28 │
    │ - not_best_of_snippet │         13 │
    │ - duplicate           │          7 │
    │ - below_top_share     │          6 │
    │ kept                  │          2 │
    ```
    """
    import scoder
    from builders import selected
    from commands import reports
    from store import check_name
    from store.lock import coordinator

    check_name(name, "selection name")
    opened = open_store(store, force=force)
    loaded = recipe_of(store, recipe, set_)
    found = selected.verdicts(opened, loaded, iteration, name)
    report = {"selection": name, "iteration": iteration, "funnel": reports.verdict_funnel(found)}
    if compare:
        report["compared"] = reports.compare(opened, found, iteration, compare)
    if not dry_run:
        with coordinator(opened.root):
            scoder.select(opened, loaded, iteration, name)
    if as_json:
        print(json.dumps(report, default=str))
        return
    reports.print_selection(console, report)
    if reports.num_missing(found):
        again = ["scoder", "fill", "--iteration", str(iteration), "--name", name, "--store", store]
        again += ["--recipe", recipe] if recipe else []
        again += [part for setting in set_ or [] for part in ("--set", setting)]
        announce(
            f"{reports.num_missing(found)} candidates are left out because they have no influence yet. To compute it, "
            f"run: {shlex.join(again)}"
        )


@app.command(rich_help_panel=PANEL)
def fill(
    iteration: Annotated[int, typer.Option(help="Iteration of the loop.")],
    name: Annotated[str, typer.Option(help="Name of the selection.")],
    set_: SetOption = None,
    recipe: RecipeOption = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Compute the gradients and the influence that a selection lacks, and select again.

    Example:
    ```
    $ scoder fill --iteration 1 --name loose --set selection.max_per_snippet=2
    │ selection │ iteration │ filled │
    │ loose     │         1 │      6 │
    ```
    """
    import scoder
    from store.lock import coordinator

    opened = open_store(store)
    with coordinator(opened.root):
        filled = scoder.fill(opened, recipe_of(store, recipe, set_), iteration, name)
    print_rows([{"selection": name, "iteration": iteration, "filled": filled}], as_json)


@app.command(rich_help_panel=PANEL)
def fork(
    source: Annotated[str, typer.Argument(metavar="SRC", help="Store to branch from.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="New store.")],
    until: Annotated[str, typer.Option(help="Last stage to keep, such as iteration-1.")],
    as_json: JsonOption = False,
) -> None:
    """Branch off a new store without paying again: hard-link all that is built up to a stage.

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
    """Check the files, contracts, keys and audits of a store.

    The exit code is 1 if anything is wrong.

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
