"""The command that compares two evaluated models: compare."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from commands.terminal import JsonOption, app, print_rows
from store.errors import InputError

PANEL = "Models"


@app.command(rich_help_panel=PANEL)
def compare(
    before: Annotated[str, typer.Argument(help="Folder of `evaluate -o`: the model to compare with.")],
    after: Annotated[str, typer.Argument(help="Folder of `evaluate -o`: the other model.")],
    as_json: JsonOption = False,
) -> None:
    """Compare two evaluated models, task by task, in the forms in which both were asked.

    With one answer per task p is McNemar's exact one, with several that of a bootstrap over tasks.

    Example:
    ```
    $ scoder compare my-base my-coder
    │ benchmark │ form │ tasks │ before │ after │ difference │ verdict │ p │
    …
    ```
    """
    from builders.harness import saved
    from commands import pass_rates

    first, second = saved.task_counts(Path(before)), saved.task_counts(Path(after))
    rows = [
        {"benchmark": benchmark, "form": form}
        | pass_rates.compared(first[benchmark, form], second[benchmark, form], "before", "after")
        for benchmark, form in first
        if (benchmark, form) in second
    ]
    if not rows:
        raise InputError(
            f"{before} and {after} have no benchmark in the same form: they hold {_held(first)} and {_held(second)}"
        )
    title = f"{before} to {after}"
    print_rows(rows if as_json else list(map(pass_rates.readable_row, rows)), as_json, title)


def _held(found: Mapping[tuple[str, str], Any]) -> str:
    return ", ".join(f"{benchmark} ({form})" for benchmark, form in found) or "nothing"
