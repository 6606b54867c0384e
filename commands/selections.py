"""Commands that select the candidates of an iteration by other settings: select, fill."""

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
    require_iteration,
    require_selection,
)
from store.counts import counted
from store.errors import InputError

PANEL = "A run and its store"


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
