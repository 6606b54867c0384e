"""The journals of several plans as one, so that they can be asked for in one stream.

In: for each shard of the stream, the folder of a journal and the shard's number there. Out: what a
`Journal` gives, by the numbers of the stream.

    journals = Journals([(Path("a"), 0), (Path("b"), 0), (Path("b"), 1)])
    journals.answers(2)    # those of the shard 1 of the journal b
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from builders.engines.journal import Answer, Journal


class Journals:
    """See the module.

    Shard `n` is the one that place `n` names: the folder of its journal, and its number there.
    """

    def __init__(self, places: Sequence[tuple[Path, int]]) -> None:
        self._places = places
        self._journals = {folder: Journal(folder) for folder, _ in places}

    def _at(self, shard: int) -> tuple[Journal, int]:
        folder, number = self._places[shard]
        return self._journals[folder], number

    def add(self, shard: int, answer: Answer, cost_usd: float | None) -> None:
        """Keep an answer and what it cost."""
        journal, number = self._at(shard)
        journal.add(number, answer, cost_usd)

    def finish(self, shard: int) -> None:
        """The last answer of a shard was added."""
        journal, number = self._at(shard)
        journal.finish(number)

    def close(self) -> None:
        """Sync and close all files, also where one of them fails. Its error is raised then."""
        with ExitStack() as stack:
            for journal in self._journals.values():
                stack.callback(journal.close)

    def answers(self, shard: int) -> dict[str, Answer]:
        """Request id -> its last answer."""
        journal, number = self._at(shard)
        return journal.answers(number)

    def paid(self, shard: int, *, ask_failed_again: bool = False) -> dict[str, Answer]:
        """Request id -> an answer that is not asked for again; see `Journal.paid`."""
        journal, number = self._at(shard)
        return journal.paid(number, ask_failed_again=ask_failed_again)
