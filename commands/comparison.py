"""The command that compares two evaluated models: compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.terminal import JsonOption, announce, app, print_rows

PANEL = "Models"


@app.command(rich_help_panel=PANEL)
def compare(
    before: Annotated[str, typer.Argument(help="Folder of `evaluate -o` or `grade -o`: the model to compare with.")],
    after: Annotated[str, typer.Argument(help="Folder of `evaluate -o` or `grade -o`: the other model.")],
    as_json: JsonOption = False,
) -> None:
    """Compare two evaluated models, task by task, in the forms in which both were asked.

    With one answer per task p is McNemar's exact one, with several that of a bootstrap over tasks.
    Verdicts of other tests are refused. What only one of the two has, or was asked or judged
    otherwise, is said.

    Example:
    ```
    $ scoder compare my-base my-coder
    │ benchmark │ form │ tasks │ before │ after │ difference │ verdict │ p │
    …
    ```
    """
    from builders.standalone import comparing
    from commands import pass_rates

    found = comparing.shared(Path(before), Path(after))
    rows = [
        {"benchmark": benchmark, "form": form} | pass_rates.compared(*counts, "before", "after")
        for (benchmark, form), counts in found.counts.items()
    ]
    print_rows(rows if as_json else list(map(pass_rates.readable_row, rows)), as_json, f"{before} to {after}")
    for remark in found.remarks:
        announce(remark)
