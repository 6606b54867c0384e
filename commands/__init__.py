"""The command line: a skin over `scoder.py`, the builders and the queries.

Every command takes --json. The exit code is 0 when all is done, 1 when the job failed, and 2 for
bad usage or input. How an error is shown stands in `commands/errors.py`. With SCODER_TRACEBACK=1 in
the environment, every error is shown with its traceback.
"""

from __future__ import annotations

import gc
import os
import sys

import typer

# The order of these imports is the order of the commands in --help.
# isort: off
from commands import runs, rows, datasets, models

# isort: on
from commands.errors import report
from commands.terminal import app, notes

__all__ = ["app", "datasets", "main", "models", "rows", "runs"]


def narrowed(words: list[str]) -> typer.Typer:
    """The application with the one command that `words` begin with, or with all if there is none.

    Typer looks at the parameters of every command before it runs one. That takes 40 ms.
    """
    chosen = [c for c in app.registered_commands if c.callback and words[:1] == [c.name or c.callback.__name__]]
    if not chosen:
        return app
    alone = typer.Typer(
        name="scoder", rich_markup_mode="markdown", pretty_exceptions_enable=False, add_completion=False
    )
    alone.registered_commands = chosen
    # Without a callback, Typer would take the name of an only command for an argument.
    alone.callback()(lambda: None)
    return alone


def main() -> None:
    """Run the command line: the entry point of `scoder`."""
    # Waiting threads must not spin: torch becomes many times slower as soon as another process
    # wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # What is loaded by now stays. Python need not look through it for garbage, now and at the end.
    gc.freeze()
    try:
        sys.exit(narrowed(sys.argv[1:])(standalone_mode=False))
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        notes.print("stopped; run the same command again to resume")
        sys.exit(1)
    except BrokenPipeError:
        # `scoder sql … | head` has seen enough. Python would complain once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if os.environ.get("SCODER_TRACEBACK"):
            raise
        sys.exit(report(error))
