"""Requests in runs of neighbours, which go to one replica, and what is left of a run.

In: the requests of one call of an engine. Out: runs. Neighbours share a prefix, which an engine
computes once, so they stay together. A short stream is divided evenly over all replicas.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from queue import SimpleQueue
from typing import Any

from builders.engines.messages import Kind, Run
from builders.engines.types import ChoiceCompletion, ChoiceRequest, Completion, Request

Asked = Request | ChoiceRequest
Answered = Completion | ChoiceCompletion

RUN = {"generate": 64, "choose": 8}
"""Requests of a run. One to choose asks about ten questions."""

_numbers = count()


class Call:
    """One call of a pooled engine: where its answers go, in the order in which they come."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.came: SimpleQueue[Answered | BaseException] = SimpleQueue()
        self.open: dict[str, int] = {}
        """What is not answered: request id -> its prompts. Only the caller's thread uses this."""
        self.num_open_prompts = 0

    def begin(self, run: list[Any]) -> None:
        """Count requests that are asked now."""
        for request in run:
            if request.request_id in self.open:
                raise ValueError(f"request {request.request_id!r} is asked twice at once: give each its own id")
            self.open[request.request_id] = num_prompts(request)
            self.num_open_prompts += num_prompts(request)

    def end(self, answer: Answered) -> None:
        """Count an answer."""
        self.num_open_prompts -= self.open.pop(answer.request_id)


@dataclass(eq=False)
class Part:
    """A run of a call, as it was sent once. `left` holds what of it has no answer, by its id, and
    how many prompts that is. `num_hangs` of the replicas that had requests of it hung.
    """

    call: Call
    requests: list[Any]
    is_whole: bool
    left: dict[str, int] = field(default_factory=dict)
    num_hangs: int = 0
    number: int = field(default_factory=_numbers.__next__)
    num_prompts: int = field(init=False)
    is_begun: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.left = self.left or {request.request_id: num_prompts(request) for request in self.requests}
        self.num_prompts = sum(self.left.values())

    def again(self, *, hung: bool = False) -> Part:
        """What is to be asked again: what has no answer, or all of it, where the bits of an answer
        depend on what was asked with it."""
        kept = self.requests if self.is_whole else [r for r in self.requests if r.request_id in self.left]
        return Part(self.call, kept, self.is_whole, self.left, self.num_hangs + hung)

    def sent(self) -> Run:
        """The run as a replica gets it."""
        return Run(self.number, self.call.kind, self.requests, self.is_whole)


def num_prompts(request: Asked) -> int:
    """How many prompts a request is for an engine."""
    return len(request.questions) if isinstance(request, ChoiceRequest) else 1


def whole_runs(requests: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Runs of a fixed size."""
    stream = iter(requests)
    while run := list(islice(stream, size)):
        yield run


def even_runs(requests: Iterable[Any], size: int, num_replicas: int) -> Iterator[list[Any]]:
    """Runs of this size, or smaller ones if there are too few requests for all replicas."""
    stream = iter(requests)
    first = list(islice(stream, size * num_replicas))
    yield from whole_runs(first, max(1, min(size, -(-len(first) // num_replicas))))
    yield from whole_runs(stream, size)
