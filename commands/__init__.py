"""The command line: a skin over `scoder.py`, the builders and the queries.

Every command takes --json. The exit code is 0 when all is done, 1 when the job failed, 2 for bad
usage or input, 130 when Ctrl-C stopped it, and 128 + n when signal n did (143 for SIGTERM, 138 for
SIGUSR1, 129 for SIGHUP). How an error is shown stands in `commands/errors.py`. With
SCODER_TRACEBACK=1 in the environment, every error is shown with its traceback.
"""

from __future__ import annotations

import gc
import os
import shlex
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer

# The order of these imports is the order of the commands in --help.
# isort: off
from commands import runs, selections, stores, rows, datasets, models, evaluation, comparison, environments

# isort: on
from commands.errors import report
from commands.terminal import app, notes
from training.library_notes import hush

__all__ = [
    "app",
    "comparison",
    "datasets",
    "environments",
    "evaluation",
    "main",
    "models",
    "rows",
    "runs",
    "selections",
    "stores",
]


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


RESUMED = {"ask-again", "fill", "import", "influence", "run", "select", "train"}
"""Commands that go on where they were stopped when they are given again."""


STOPPED = 128 + signal.SIGINT
"""The exit code after Ctrl-C. Typer uses it, too."""
INTERRUPTED = "Query interrupted"
"""The RuntimeError that DuckDB raises for KeyboardInterrupt when a signal ends a query."""


ENDING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
"""SIGTERM comes from Slurm, from a container, from `kill`. SIGUSR1 is what Slurm is mostly asked to
send earlier. SIGHUP comes when a terminal or a connection is closed."""


@contextmanager
def _terminable() -> Iterator[list[int]]:
    """Let a signal of ENDING end the work as Ctrl-C does.

    Locks are freed, workers end, and it is said. Gives a list, to which the signal is added. It
    raises SystemExit, because the prompt of `scoder sql` goes on after a KeyboardInterrupt. A
    process that was forked meanwhile inherits this. It just dies, as it would have without. What
    nohup ignores stays ignored.
    """
    own, came = os.getpid(), list[int]()

    def stop(number: int, frame: Any) -> None:
        if os.getpid() == own:
            came.append(number)
            _leave_lost_terminal()
            raise SystemExit(128 + number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    before = {number: signal.getsignal(number) for number in ENDING}
    for number in ENDING:
        if number == signal.SIGTERM or before[number] != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield came
    finally:
        for number in ENDING:
            if signal.getsignal(number) is stop:  # and not `_deaf`
                signal.signal(number, before[number])


def _leave_lost_terminal() -> None:
    """Write nowhere from now on if the terminal was closed.

    An error of a write would come in the way of an end in order.
    """
    for number in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(number).st_mode) and not os.isatty(number):
                with open(os.devnull, "wb") as nowhere:
                    os.dup2(nowhere.fileno(), number)


def _deaf() -> None:
    """Ignore these signals from now on: the process is ending, and must do so in order."""
    for number in (signal.SIGINT, *ENDING):
        signal.signal(number, signal.SIG_IGN)


def _stopped(words: list[str], by: int | None) -> int:
    """Say that a signal stopped the work, and how it goes on. Returns the exit code of a shell."""
    said = "stopped" if by is None else f"stopped by {signal.Signals(by).name}"
    if words[:1] == ["evaluate"] and not _has_output(words):
        said += ". Nothing is kept, and the same command begins anew: with -o DIR it would go on from here"
    elif words[:1] and words[0] in {"evaluate", *RESUMED}:
        said += f". What is done is kept, and the same command goes on from there:\n  {shlex.join(['scoder', *words])}"
    notes.print(said, markup=False, highlight=False, soft_wrap=True)
    return STOPPED if by is None else 128 + by


def _has_output(words: list[str]) -> bool:
    return any(word.startswith("-o") or word.partition("=")[0] == "--output" for word in words)


def _run(words: list[str]) -> Any:
    """Run one command. Returns its exit code, which is STOPPED after Ctrl-C."""
    try:
        return narrowed(words)(standalone_mode=False)
    except typer.Exit as stop:
        return stop.exit_code
    except (typer.Abort, KeyboardInterrupt):
        _deaf()
        return STOPPED
    except Exception as error:
        if type(error) is RuntimeError and str(error) == INTERRUPTED:
            return STOPPED
        if os.environ.get("SCODER_TRACEBACK"):
            raise
        return report(error)


def main() -> None:
    """Run the command line: the entry point of `scoder`."""
    # Waiting threads must not spin: torch becomes many times slower as soon as another process
    # wants a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    hush()
    # What is loaded by now stays. Python need not look through it for garbage, now and at the end.
    gc.freeze()
    words = sys.argv[1:]
    with _terminable() as came:
        try:
            code = _run(words)
        except KeyboardInterrupt:  # a second one, soon after the first
            code = STOPPED
        except SystemExit as stop:
            code = stop.code
        if came or code == STOPPED:
            _deaf()
            code = _stopped(words, came[0] if came else None)
    sys.exit(code)
