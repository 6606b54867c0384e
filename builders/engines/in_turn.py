"""Engines in turn: several models behind one engine, of which only one is loaded at a time.

In: a function that opens the engine of a name, and requests whose `adapter` is such a name. Out:
their completions. Requests for the same name that follow each other go through one engine as one
stream. When another name comes, that engine is closed and the next one opened. So ask model by
model: every change of name loads a model. Several threads may ask at once: one that needs another
model waits until nobody asks the one that is loaded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import groupby

from builders.engines.types import ChoiceCompletion, ChoiceRequest, Completion, Engine, Request

MOMENT_S = 0.5
"""Seconds that nobody asks the loaded model before another one is loaded."""


class EnginesInTurn(Engine):
    """See the module."""

    def __init__(self, open_one: Callable[[str | None], Engine]) -> None:
        self._open_one = open_one
        self._name: str | None = None
        self._engine: Engine | None = None
        self._num_asking = self._num_turns = 0
        self._changed = threading.Condition()

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        for name, run in groupby(requests, lambda request: request.adapter):
            with self._turn_of(name) as engine:
                yield from engine.generate(replace(request, adapter=None) for request in run)

    def choose(self, requests: Iterable[ChoiceRequest]) -> Iterator[ChoiceCompletion]:
        for name, run in groupby(requests, lambda request: request.adapter):
            with self._turn_of(name) as engine:
                yield from engine.choose(replace(request, adapter=None) for request in run)

    def close(self) -> None:
        with self._changed:
            engine, self._engine = self._engine, None  # also if it fails: it is of no use any more
            if engine is not None:
                engine.close()

    @contextmanager
    def _turn_of(self, name: str | None) -> Iterator[Engine]:
        """The engine of this name, which stays open meanwhile."""
        with self._changed:
            self._wait_for(name)
            if self._engine is None or not self._is_open(name):
                self.close()
                self._engine, self._name = self._open_one(name), name
            engine = self._engine
            self._num_asking += 1
            self._num_turns += 1
        try:
            yield engine
        finally:
            with self._changed:
                self._num_asking -= 1
                self._changed.notify_all()

    def _wait_for(self, name: str | None) -> None:
        """Wait until this model is loaded, or the loaded one is let go.

        A thread that is about to ask the loaded one may be a moment late. To load it once more
        would cost much more than this moment.
        """
        while self._engine is not None and not self._is_open(name):
            self._changed.wait_for(lambda: self._is_open(name) or not self._num_asking)
            turns = self._num_turns
            if not self._is_open(name):
                self._changed.wait_for(partial(self._has_turned, turns), MOMENT_S)
            if self._num_turns == turns and not self._num_asking:
                return

    def _has_turned(self, turns: int) -> bool:
        return self._num_turns != turns

    def _is_open(self, name: str | None) -> bool:
        return self._engine is not None and name == self._name
