"""The command that installs what benchmarks and answers import: environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.benchmarks import BENCHMARK, named
from commands.terminal import JsonOption, announce, app, local_folder, print_rows
from store.errors import InputError

PANEL = "Models"


@app.command(rich_help_panel=PANEL)
def environment(
    folder: Annotated[str, typer.Argument(help="Folder to make or to complete.", callback=local_folder)],
    benchmarks: Annotated[list[str] | None, typer.Option(help=BENCHMARK)] = None,
    packages: Annotated[
        str | None, typer.Option(help="Libraries that answers import, with commas: numpy,pandas. As evaluate says.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Install libraries that benchmarks or answers import, for evaluate and grade --environment.

    Each library is installed by itself. What cannot be installed is said, and the others stay.

    Example:
    ```
    $ scoder environment libraries --benchmarks recipes/demo-benchmark.jsonl
    libraries: no library is needed
    ```
    """
    from builders.harness import environments
    from builders.standalone.evaluation import read

    if not benchmarks and not packages:
        raise InputError("nothing is to be installed: give --benchmarks, or --packages with names")
    asked = {package.name: package for package in environments.named((packages or "").split(","))}
    tasks = [task for part in read(named(benchmarks or [])).values() for task in part]
    wanted = {**asked, **{package.name: package for package in environments.packages(tasks)}}
    found = environments.build(Path(folder), list(wanted.values()), announce)
    rows = [
        {"package": p.name, "imported as": ", ".join(p.modules), "tasks": p.tasks, "installed": p.problem or "yes"}
        for p in found
    ]
    if rows or as_json:
        print_rows(rows, as_json, folder)
    else:
        announce(f"{folder}: no library is needed")
    if failed := [package.name for package in found if package.problem]:
        raise typer.Exit(_say_failed(failed, len(found)))


def _say_failed(failed: list[str], num_wanted: int) -> int:
    announce(f"{len(failed)} of {num_wanted} packages are not installed: {', '.join(failed)}")
    return 1
