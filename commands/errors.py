"""Turn an exception into a message and an exit code.

- What a user can mend (`store/errors.py`, `training/errors.py`, wrong usage) is one message with
  the fix, and no traceback.
- What the system refuses (a full disk, a missing right, too little memory) is one message, too.
- Everything else is a bug of ours. The message says so, where it happened, and how to report it.
"""

from __future__ import annotations

import errno
import shlex
import sys
import traceback

from commands.terminal import notes
from store.errors import UserError
from training.errors import TrainingError

OURS_TO_FIND = {errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR}
"""A path that a user gave is checked where it is read. Anywhere else, a missing file is our bug."""
OUT_OF_MEMORY = {"MemoryError", "OutOfMemoryError", "OutOfMemoryException"}
"""The exceptions of Python, torch and DuckDB. By their names, because torch is slow to import."""

REMEDIES: dict[int | None, str] = {
    errno.ENOSPC: "The disk is full: free some space, or give a place on another disk",
    errno.EDQUOT: "Your share of the disk is used up: free some space, or give a place on another disk",
    errno.EACCES: "Ask for the right, or give another place",
    errno.EPERM: "Ask for the right, or give another place",
    errno.EROFS: "Give a place that can be written to",
    errno.EMFILE: "Raise the number of open files (ulimit -n)",
}
AGAIN = ", then run the same command again: what a store holds is not made again"


def report(error: Exception) -> int:
    """Print an error for people.

    Returns the exit code: 2 for bad usage or input, 1 for a failed job.
    """
    # Wrong usage is known by its method: typer has its own copy of click, without public names.
    usage = getattr(error, "format_message", None)
    if usage is not None:
        # `scoder` alone has shown the help, and has nothing more to say
        return _say(usage(), error, 2) if usage() else 2
    if isinstance(error, UserError | TrainingError):
        return _say(str(error), error, error.exit_code)
    if type(error).__name__ in OUT_OF_MEMORY:
        return _say(f"the memory did not suffice: {error}. Free some, or ask for less at a time{AGAIN}", error, 1)
    if isinstance(error, OSError) and error.errno not in {None, *OURS_TO_FIND}:
        return _say(f"the system refused: {error}. {REMEDIES.get(error.errno, 'Mend that')}{AGAIN}", error, 1)
    return _say_bug(error)


def _say(text: str, error: Exception, code: int) -> int:
    notes.print(f"scoder: {text}", markup=False, style="red", highlight=False, soft_wrap=True)
    for note in getattr(error, "__notes__", []):
        notes.print(f"  {note}", markup=False, highlight=False, soft_wrap=True)
    return code


def _say_bug(error: Exception) -> int:
    frames = traceback.extract_tb(error.__traceback__)
    where = f", at {frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
    _say(f"this is a bug in SCoder, not a mistake of yours: {type(error).__name__}: {error}{where}", error, 1)
    command = shlex.join(["scoder", *sys.argv[1:]])
    notes.print(
        f"  To report it, send what these two commands print:\n    SCODER_TRACEBACK=1 {command}\n    scoder doctor",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return 1
