"""The command line: a skin over `scoder.py`, the builders and the queries.

Exit codes: 0 done, 1 the job failed, 2 bad usage or input. Every command takes --json. How errors are
shown, `commands/errors.py` says; SCODER_TRACEBACK=1 shows the traceback of any.
"""

from __future__ import annotations

import os
import sys

import typer

# in the order of --help
# isort: off
from commands import runs, rows, datasets, models

# isort: on
from commands.errors import report
from commands.terminal import app, notes

__all__ = ["app", "datasets", "main", "models", "rows", "runs"]


def main() -> None:
    """Entry point of `scoder`."""
    # threads that spin at barriers make torch many times slower as soon as another process wants a core
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        sys.exit(app(standalone_mode=False))
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        notes.print("stopped; the same command resumes the work")
        sys.exit(1)
    except Exception as error:
        if os.environ.get("SCODER_TRACEBACK"):
            raise
        sys.exit(report(error))
