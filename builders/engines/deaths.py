"""Replicas that died: what is said about it, and whether it is too often to go on.

In: a member of a pool whose process is gone. Out: what to tell the user, or the error that ends the
run, with the last words of the process.
"""

from __future__ import annotations

from builders.engines.grounds import Started
from builders.engines.members import Member
from store.errors import JobError

MOST_DEATHS_IN_A_ROW = 3
"""A replica that died so often without an answer in between would die again."""
MOST_DEATHS = 24
"""Of all replicas together. A request that kills whoever is asked ends the run here."""
MOST_HANGS = 3
"""Replicas that may hang with the same request open. A hang costs minutes, not seconds."""


class Deaths:
    """See the module."""

    def __init__(self, engine: str) -> None:
        self._engine, self._num = engine, 0

    def count(self, member: Member, process: Started, num_hangs: int) -> str:
        """Count a death; return what to say about it. JobError if nothing is to be started again.

        `num_hangs` is in how many replicas that hung one of its requests was open, this one
        included.
        """
        member.deaths += 1
        # A node that was taken away after some answers is nobody's fault.
        self._num += not (process.was_taken and member.deaths == 1)
        told = f"replica {member.number} of engine {self._engine!r} on {member.place} {_what(member)}"
        if often := self._too_often(member, num_hangs):
            raise JobError(
                f"{told} {often}; the last time {_last_words(member, process)}\nAll answers are kept: mend the cause and "
                "run again"
            )
        return f"{told} and is started again, what it had not answered is asked again; {_last_words(member, process)}"

    def _too_often(self, member: Member, num_hangs: int) -> str:
        if member.deaths >= MOST_DEATHS_IN_A_ROW:
            return f"{member.deaths} times without an answer in between"
        if num_hangs >= MOST_HANGS:
            return f"and {num_hangs} replicas hung with the same requests open"
        if self._num >= MOST_DEATHS:
            return f"and all replicas together died {self._num} times"
        return ""


def _what(member: Member) -> str:
    return f"hung (it {member.hung}) and was ended" if member.hung else "died"


def _last_words(member: Member, process: Started) -> str:
    """How a process ended, or where one that hung was."""
    return f"where it was, its log says ({process.log}):\n{process.tail()}" if member.hung else process.ending()
