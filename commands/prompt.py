"""The prompt of `scoder sql`: lines of a person in, statements out.

In: lines of the standard input. Out: statements, one after the other. A statement ends with `;`,
with an empty line, or with the input. A line alone says nothing: `SELECT count(*)` is a statement,
and so is the `FROM pool` that follows it. The lines of a terminal are kept, outside of any store,
so that the arrow keys find them again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from commands.terminal import announce
from store.errors import UserError

HELP = """\
A statement ends with ; or with an empty line. Ctrl-C ends what is running, Ctrl-D leaves.
  .tables   the tables and how many rows they have
  .help     this text
  exit      leave"""
KEPT_LINES = 1000


def history_file() -> Path:
    """Where the lines are kept: below XDG_STATE_HOME, which is ~/.local/state if it is not set."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "scoder" / "sql_history"


def run(answer: Callable[[str], None], complain: Callable[[UserError], object], tables: Callable[[], None]) -> None:
    """Ask for statements until the input ends, and hand each to `answer`.

    What is wrong with one goes to `complain`, and the prompt goes on. So it does after Ctrl-C.
    """
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        _read_history()
    held: list[str] = []
    try:
        while True:
            try:
                line = input(("        ...> " if held else "scoder sql> ") if is_terminal else "")
                if not held and _is_word(line, tables):
                    continue
                held = _add(held, line, answer, complain)
            except KeyboardInterrupt:
                held = []
                announce("\nstopped")
    except EOFError:
        if held:
            _try("\n".join(held), answer, complain)
    finally:
        if is_terminal:
            _keep_history()


def _is_word(line: str, tables: Callable[[], None]) -> bool:
    """Whether a line is empty or one of the words of the prompt, which is then obeyed."""
    word = line.strip().rstrip(";").lower()
    if word in ("exit", "quit", ".exit", ".quit", "\\q"):
        raise EOFError
    if word == ".tables":
        tables()
    elif word.startswith("."):
        announce(HELP)
    return not word or word.startswith(".")


def _add(
    held: list[str], line: str, answer: Callable[[str], None], complain: Callable[[UserError], object]
) -> list[str]:
    """The lines of a statement that is not whole yet, with one line more; none if it was run."""
    lines = [*held, line]
    if line.strip() and not line.rstrip().endswith(";"):
        return lines
    _try("\n".join(lines), answer, complain)
    return []


def _try(text: str, answer: Callable[[str], None], complain: Callable[[UserError], object]) -> None:
    try:
        answer(text)
    except UserError as error:
        complain(error)


def _read_history() -> None:
    with suppress(ImportError, OSError):
        import readline

        readline.set_history_length(KEPT_LINES)
        readline.read_history_file(history_file())


def _keep_history() -> None:
    """Write the lines to a file that only its owner reads: statements can hold what is private."""
    with suppress(ImportError, OSError):
        import readline

        path = history_file()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        before = os.umask(0o077)
        try:
            readline.write_history_file(path)
            path.chmod(0o600)
        finally:
            os.umask(before)
