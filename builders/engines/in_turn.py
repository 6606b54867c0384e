"""Engines in turn: several models behind one engine, of which only one is loaded at a time.

In: a function that opens the engine of a name, and requests whose `adapter` is such a name. Out:
their completions. Requests for the same name that follow each other go through one engine as one
stream. When another name comes, that engine is closed and the next one opened. So ask model by
model: every change of name loads a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby

from builders.engines.types import ChoiceCompletion, ChoiceRequest, Completion, Engine, Request


class EnginesInTurn(Engine):
    """See the module."""

    def __init__(self, open_one: Callable[[str | None], Engine]) -> None:
        self._open_one = open_one
        self._name: str | None = None
        self._engine: Engine | None = None

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        for name, run in groupby(requests, lambda request: request.adapter):
            yield from self._opened(name).generate(replace(request, adapter=None) for request in run)

    def choose(self, requests: Iterable[ChoiceRequest]) -> Iterator[ChoiceCompletion]:
        for name, run in groupby(requests, lambda request: request.adapter):
            yield from self._opened(name).choose(replace(request, adapter=None) for request in run)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _opened(self, name: str | None) -> Engine:
        if self._engine is None or name != self._name:
            self.close()
            self._engine, self._name = self._open_one(name), name
        return self._engine
