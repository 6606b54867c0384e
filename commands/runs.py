"""Commands that build: run, status, select, fill, fork, verify, clean, doctor."""

from __future__ import annotations

import json
import shlex
import time
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
    require_iteration,
    require_selection,
)
from store.counts import counted
from store.errors import InputError, UserError
from training.errors import TrainingError

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
        plans.show(loaded, seen, as_json)
        plans.refuse(loaded, seen, until)
        try:
            scoder.check(open_store(store, is_new=True), loaded, until)
        except (UserError, TrainingError) as error:
            announce(f"this run would be refused now: {error}")
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
        _watch(store, every, as_json)
        return
    from commands import pass_rates, reports
    from store.catalog import notes as notes_of
    from store.schemas import CONTRACTS

    opened = open_ledger(store)
    found = {"tables": reports.funnel(opened), **reports.rejects_and_metrics(opened)}
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


def _watch(store: str, every: float, as_json: bool) -> None:
    """Look at a store until nobody builds in it."""
    from rich.live import Live
    from rich.text import Text

    from commands.watching import Watcher

    watcher = Watcher(open_ledger(store).root)
    look = watcher.look()
    if as_json or not console.is_terminal:
        while True:
            print(json.dumps(look.as_json()) if as_json else "\n".join(look.lines()), flush=True)
            if not look.is_running:
                return
            time.sleep(every)
            look = watcher.look()
    with Live(Text("\n".join(look.lines())), console=console, auto_refresh=False) as live:
        while look.is_running:
            time.sleep(every)
            look = watcher.look()
            live.update(Text("\n".join(look.lines())), refresh=True)


@app.command(rich_help_panel=PANEL)
def select(
    iteration: Annotated[int, typer.Option(help="Iteration of the loop.")],
    name: Annotated[str, typer.Option(help="Name of the selection.")],
    set_: SetOption = None,
    compare: Annotated[
        str | None,
        typer.Option(
            help="Also show the differences to this selection. JSON lists the first 1,000 candidates that enter and "
            "leave, and counts all."
        ),
    ] = None,
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
    │ - not_best_of_snippet │         20 │
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
    _refuse_other_settings(set_, "select", "selection.", "decontamination.min_strength", "influence.reference")
    opened = open_store(store, force=force)
    loaded = recipe_of(store, recipe, set_)
    require_iteration(opened.root, iteration)
    also = selected.without_gradient(opened, loaded, iteration)
    if compare == name and not dry_run:
        raise InputError(f"--compare {name}: it is the selection to be written. Compare with it in a --dry-run")
    if compare:
        require_selection(opened.root, iteration, compare)
        also |= selected.outputs(opened, iteration, compare)
    if dry_run:
        batches = selected.own_batches(opened, loaded, iteration, name)
        connection = selected.decided(opened, loaded, iteration, batches, also)
    else:
        with coordinator(opened.root):
            scoder.select(opened, loaded, iteration, name)
        connection = selected.written(opened, iteration, name, also)
    report = reports.selection(connection, iteration, name)
    if compare:
        report["compared"] = reports.compare(connection, iteration, compare)
    if as_json:
        print(json.dumps(report, default=str))
        return
    reports.print_selection(console, report)
    can_be_filled, without = reports.num_missing(connection)
    if can_be_filled:
        again = ["scoder", "fill", "--iteration", str(iteration), "--name", name, "--store", store]
        again += ["--recipe", recipe] if recipe else []
        again += [part for setting in set_ or [] for part in ("--set", setting)]
        announce(
            f"{counted(can_be_filled, 'candidate')} without influence yet: left out. To compute it, "
            f"run: {shlex.join(again)}"
        )
    if without:
        announce(f"{counted(without, 'candidate')} whose gradient cannot be computed: left out (stage `gradients`)")


@app.command(rich_help_panel=PANEL)
def fill(
    iteration: Annotated[int, typer.Option(help="Iteration of the loop.")],
    name: Annotated[str, typer.Option(help="Name of the selection.")],
    set_: SetOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the selection even if a model was trained on it.")
    ] = False,
    recipe: RecipeOption = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Compute the gradients and the influence that a selection lacks, and select again.

    After a kill, the same command resumes. A selection that a model was trained on stays as it is,
    unless you ask with `--force`.

    Example:
    ```
    $ scoder fill --iteration 1 --name loose --set selection.max_per_snippet=2
    │ selection │ iteration │ filled │
    │ loose     │         1 │      7 │
    ```
    """
    import scoder
    from builders import selected
    from commands import reports
    from store import check_name
    from store.lock import coordinator

    check_name(name, "selection name")
    _refuse_other_settings(set_, "fill", "selection.", "decontamination.min_strength", "influence.")
    opened = open_store(store, force=force)
    loaded = recipe_of(store, recipe, set_)
    require_iteration(opened.root, iteration)
    with coordinator(opened.root):
        filled = scoder.fill(opened, loaded, iteration, name)
    also = selected.without_gradient(opened, loaded, iteration)
    _, without = reports.num_missing(selected.written(opened, iteration, name, also))
    found = {"selection": name, "iteration": iteration, "filled": filled, "without_gradient": without or None}
    print_rows([found], as_json)


def _refuse_other_settings(overrides: list[str] | None, command: str, *read: str) -> None:
    """InputError for a `--set` that a selection does not read: it would do nothing.

    `read` are the keys that it reads; one that ends in a dot is a whole section.
    """
    for item in overrides or []:
        key = item.partition("=")[0]
        if not key:
            raise InputError(f"--set {item}: there is no field before the =. Give section.key=value")
        if not any(
            key == known or f"{key}." == known or (known[-1] == "." and key.startswith(known)) for known in read
        ):
            keys = ", ".join(known + "…" if known[-1] == "." else known for known in read)
            raise InputError(
                f"--set {item}: `scoder {command}` does not read {key}, so it would change nothing. It reads {keys}. "
                "Other fields belong in the recipe: scoder run RECIPE"
            )


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
