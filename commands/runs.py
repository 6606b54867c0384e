"""Commands that run a recipe, and that show what came of it: run, status."""

from __future__ import annotations

import json
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
        bool,
        typer.Option("--dry-run", help="Check the recipe and print what would be built; build nothing."),
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Build again what was built under another plan or is stale, and nothing else. What that is, and "
            "what it took last time, is said before.",
        ),
    ] = False,
    rebuild: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE_OR_TABLE",
            help="Build this again although its plan is the same: after damage, say. What came from it is built "
            "again only if it comes out otherwise. Answers that were paid for are not asked for again.",
        ),
    ] = None,
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
    all builds of this store took 17 s

    Look at it:
      scoder status
      scoder show pool
      scoder sql 'SELECT reason, count(*) AS n FROM rejects GROUP BY reason ORDER BY n DESC LIMIT 5'
    ```
    """
    import scoder
    from builders.recipe import files, fitting

    loaded = files.load(recipe, set_)
    if dry_run:
        from commands import plans

        seen = list(fitting.seen_by(loaded))
        opened = open_store(store, is_new=True)
        if as_json:
            plans.as_object(opened, loaded, seen, until)
            return
        plans.show(loaded, seen, until)
        plans.refuse(opened, loaded, seen, until)
        return
    from commands import rebuilds
    from store.lock import coordinator
    from store.rebuild import fulfilled

    opened = open_store(store, force=force, is_new=True)
    with coordinator(opened.root):
        files.remember(opened.root, loaded, is_new=True)
        if force or rebuild:
            rebuilds.announce(opened, loaded, until, rebuild)
        scoder.run(opened, loaded, until)
        files.remember(opened.root, loaded)
        if rebuild is not None or until is None:
            fulfilled(opened.root)
    if as_json:
        status(store=store, watch=False, as_json=True)
        return
    from commands import summary

    for line in summary.lines(open_ledger(store), store):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command("ask-again", rich_help_panel=PANEL)
def ask_again(
    reason: Annotated[
        list[str] | None,
        typer.Option(
            help="Status of the answers to ask again, such as no_problem; give it once for each. Default: all."
        ),
    ] = None,
    set_: SetOption = None,
    recipe: RecipeOption = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Ask the teacher again about the snippets whose answers were of no use.

    The others stay as they are. Give it after you have mended the prompt or the server. What the
    answers were, and what is wrong with them, stands in the table `unusable_answers`: `scoder sql
    'SELECT status, reason, answer FROM unusable_answers'`. After a kill, the same command resumes.
    What was made from the samples is built again by the next run.

    Example:
    ```
    $ scoder ask-again --reason no_problem --set teacher.temperature=0.3
    │ asked │ usable │
    │    41 │     38 │
    ```
    """
    import scoder
    from store.lock import coordinator

    opened = open_store(store)
    loaded = recipe_of(store, recipe, set_)
    with coordinator(opened.root):
        found = scoder.ask_again(opened, loaded, reason or [])
    print_rows([found], as_json)


@app.command(rich_help_panel=PANEL)
def status(
    store: StoreOption = DEFAULT_STORE,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Show what a run in this store does right now, until it ends: how much is done, how fast, the time left, "
            "the last step of a training, the memory of this machine's GPUs. With --json one line per look.",
        ),
    ] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks of --watch.")] = 2.0,
    as_json: JsonOption = False,
) -> None:
    """Show what a store has: rows and rejects per stage, tokens, cost, time, measured numbers.

    Numbers come with their intervals of 95%. A difference whose interval holds 0 is called noise.
    Aspects whose digits say little are named, and so are weights that fell back to equal ones.
    The pool is said to come from so many repositories in effect: as many of equal size would be as
    concentrated.
    The coder is compared with its base on the same tasks in the same form, and pass@1 on tasks that
    the instructions resemble with pass@1 on the others.

    Example:
    ```
    $ scoder status
    │ partition           │ rows │ status   │ seconds │ … │
    │ raw_pool            │ 1080 │ complete │    14.2 │   │
    │ snippet_occurrences │ 1085 │ complete │     0.4 │   │
    …
    $ scoder status --watch
    checkpoints/role-coder: 40 of 366 steps, 12/min, 27 min left, loss 0.831, 5,230 tokens/s
    GPU 0 (NVIDIA H100 80GB HBM3): 61.2 of 85.5 GB, 97% busy
    ```
    """
    if watch:
        from commands.watching import watch as look_at

        look_at(open_ledger(store).root, every, as_json)
        return
    from commands import pass_rates, reports
    from store.catalog import notes as notes_of
    from store.schemas import CONTRACTS

    opened = open_ledger(store)
    found = {"tables": reports.funnel(opened), "variety": reports.variety(opened)}
    found |= reports.rejects_and_metrics(opened)
    found |= {**reports.scoring(opened), **pass_rates.report(opened)}
    if as_json:
        print(json.dumps(found, default=str))
    else:
        readable = {"metrics": reports.readable_metrics(found["metrics"]), **pass_rates.readable(found)}
        titles = {**reports.TITLES, **pass_rates.TITLES}
        for title, rows in (found | readable | reports.readable_scoring(found)).items():
            title = titles.get(title, title)
            reports.print_rows(console, rows, title, section=reports.iteration_of if title == "tables" else None)
    for note in notes_of(opened, CONTRACTS):
        announce(note)
