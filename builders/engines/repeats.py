"""Asking for an answer again, and putting answers in order.

An answer that is of no use may be asked for again, under another name and with another seed. A row
then has the last answer that is more than an error, and the tokens of all its attempts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

from builders.engines.journal import is_final
from builders.engines.types import ChoiceCompletion, ChoiceRequest, Completion, Request
from store import seed_from

Asked = TypeVar("Asked", Request, ChoiceRequest)
Answered = TypeVar("Answered", Completion, ChoiceCompletion)


@dataclass(frozen=True)
class UnderWay(Generic[Asked]):
    """A request that was given to the engine: its shard, and how often it was asked before."""

    shard: int
    request: Asked
    num_reasks: int

    @property
    def name(self) -> str:
        """The id of this attempt."""
        return name_of(self.request, self.num_reasks)

    def sent(self) -> Asked:
        """The request as this attempt asks it."""
        return _renamed(self.request, self.name) if self.num_reasks else self.request

    def again(self) -> UnderWay[Asked]:
        """The next attempt."""
        return replace(self, num_reasks=self.num_reasks + 1)


@dataclass(frozen=True)
class Repeats(Generic[Answered]):
    """When an answer is asked for again: while it is not usable, up to `most` times."""

    is_usable: Callable[[Answered], bool]
    most: int

    def wanted(self, answer: Answered, num_reasks: int) -> bool:
        """Whether an answer that was asked for `num_reasks` times before is asked for once more."""
        is_answered = answer.finish_reason in ("stop", "length")
        return is_answered and num_reasks < self.most and not self.is_usable(answer)

    def unanswered(self, shard: int, requests: Sequence[Asked], given: Mapping[str, Any]) -> list[UnderWay[Asked]]:
        """What of a shard's requests is still to be asked, when these answers are there by name."""
        names = [request.request_id for request in requests]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"request {twice} is asked twice: the ids of a plan must be unique")
        to_ask = []
        for request in requests:
            entry = UnderWay(shard, request, 0)
            while (answer := given.get(entry.name)) and self.wanted(answer, entry.num_reasks):
                entry = entry.again()
            if answer is None:
                to_ask.append(entry)
        return to_ask


def name_of(request: Request | ChoiceRequest, num_reasks: int) -> str:
    """The id of an attempt: the request's own, or with `#1`, `#2` … when it is asked again."""
    return f"{request.request_id}#{num_reasks}" if num_reasks else request.request_id


def _renamed(request: Asked, name: str) -> Asked:
    seed = {"seed": seed_from(name, request.seed)} if isinstance(request, Request) else {}
    return cast(Asked, replace(cast(Any, request), request_id=name, **seed))


def in_order(request_ids: Iterable[str], found: dict[str, Answered]) -> list[Answered]:
    """The last answer to each id that is more than an error, with the tokens of all."""
    ordered = []
    for request_id in request_ids:
        given = [found[request_id]]
        while (name := f"{request_id}#{len(given)}") in found:
            given.append(found[name])
        best = next((a for a in reversed(given) if is_final(a)), given[-1])
        ordered.append(
            replace(
                best,
                request_id=request_id,
                num_prompt_tokens=sum(a.num_prompt_tokens for a in given),
                num_completion_tokens=sum(a.num_completion_tokens for a in given),
                notes=tuple(dict.fromkeys(note for a in given for note in a.notes)),
            )
        )
    return ordered
