"""The command line: a skin over `scoder.py`, the builders and the queries.

Every command takes --json. The exit code is 0 when all is done, 1 when the job failed, and 2 for
bad usage or input. How an error is shown stands in `commands/errors.py`. With SCODER_TRACEBACK=1 in
the environment, every error is shown with its traceback.
"""

from __future__ import annotations

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


def main() -> None:
    """Run the command line: the entry point of `scoder`."""
    # Waiting threads must not spin: torch becomes many times slower as soon as another process
    # wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        sys.exit(app(standalone_mode=False))
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        notes.print("stopped; run the same command again to resume")
        sys.exit(1)
    except Exception as error:
        if os.environ.get("SCODER_TRACEBACK"):
            raise
        sys.exit(report(error))
