"""Commands that build: run, status, select, fill, fork, verify, clean, doctor."""

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
    status(store=store, as_json=as_json)


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

    opened = open_store(store)
    found = {"tables": reports.funnel(opened), "rejects": reports.rejects(opened), "metrics": reports.metrics(opened)}
    if as_json:
        print(json.dumps(found, default=str))
        return
    for title, rows in found.items():
        reports.print_rows(console, rows, title)


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
    announce(f"{total:,} bytes in {len(waste)} paths {'would be' if dry_run else 'were'} removed")


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
