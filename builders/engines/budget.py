"""A hard budget in dollars and tokens that is never passed.

In: what was spent before, and the worst case of each call. Out: whether the call may be sent.

While a call is under way, its worst case is held back from the budget. When the answer comes, the
cost that it states takes the place of the worst case. An answer that states none keeps it, in the
journal too, so that it counts in the next run. After a time-out or a cut connection nobody
knows whether the attempt was paid for, so it keeps its worst case. It is written down, as there is
no answer to count it with (`losses.py`). One gap remains: the calls that were under way when a
process was killed are not counted. That is at most `max_in_flight` per kill.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builders.engines import losses
from builders.engines.dialect import Json, most_tokens
from builders.engines.endpoint_settings import OpenAISettings
from store.errors import JobError

# A chat template adds role names, marks and, for some models, a system text of its own.
TEMPLATE_TOKENS = 64
TOKENS_PER_MESSAGE = 16
# Dollars are sums of floats. A budget that is used up exactly is not passed.
ROUNDING = 1e-9


class BudgetError(JobError):
    """The next call could cost more than is left of the budget."""


@dataclass(frozen=True)
class Spent:
    """Tokens, prompt and completion together, and dollars.

    Dollars are 0 where no price is known. What was spent before a run also names the file of
    `losses`, in which the run writes what gave no answer.
    """

    tokens: int = 0
    usd: float = 0.0
    losses: Path | None = field(default=None, compare=False)

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.tokens + other.tokens, self.usd + other.usd)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.tokens - other.tokens, self.usd - other.usd)


class Budget:
    """See the module. All methods are called from one thread."""

    def __init__(self, settings: OpenAISettings, spent: Spent) -> None:
        self._settings = settings
        self.spent = spent
        self.held = Spent()
        self._losses = spent.losses

    def worst_case(self, said: Json) -> Spent:
        """The most that a call can cost."""
        return self.price(*most_billed(said))

    def price(self, num_prompt_tokens: int, num_completion_tokens: int) -> Spent:
        """Tokens with their price."""
        cost = self._settings.cost(num_prompt_tokens, num_completion_tokens)
        return Spent(num_prompt_tokens + num_completion_tokens, cost or 0.0)

    def fits(self, worst: Spent) -> bool:
        """Whether a call stays within the budget even if all calls under way cost their worst."""
        total = self.spent + self.held + worst
        dollars, tokens = self._settings.budget_usd, self._settings.budget_tokens
        return (dollars is None or total.usd <= dollars * (1 + ROUNDING)) and (tokens is None or total.tokens <= tokens)

    def hold(self, worst: Spent) -> None:
        """A call is sent."""
        self.held += worst

    def settle(self, worst: Spent, actual: Spent) -> None:
        """A call came back."""
        self.held -= worst
        self.spent += actual

    def lose(self, lost: Spent) -> None:
        """Write down what a call cost that came back without an answer."""
        if self._losses is not None and lost != Spent():
            losses.add(self._losses, lost.tokens, lost.usd)

    def error(self, worst: Spent) -> BudgetError:
        """What a user is told when the next call does not fit."""
        pairs = (
            (self._settings.budget_usd, f"${self.spent.usd:,.4f}", f"${worst.usd:,.4f}", "budget_usd"),
            (
                self._settings.budget_tokens,
                f"{self.spent.tokens:,} tokens",
                f"{worst.tokens:,} tokens",
                "budget_tokens",
            ),
        )
        states = [
            f"{name}={limit:,} of which {spent} are spent" for limit, spent, _, name in pairs if limit is not None
        ]
        needs = " and ".join(need for limit, _, need, _ in pairs if limit is not None)
        return BudgetError(
            f"stopped before passing the budget: {'; '.join(states)}, and the next call may cost up to {needs}. "
            "All answers are kept: raise the budget and run the same command again to go on"
        )


def most_billed(said: Json) -> tuple[int, int]:
    """The most tokens of prompt and completion that a body can be billed for."""
    return prompt_bound(said), most_tokens(said)


def prompt_bound(body: Mapping[str, Any]) -> int:
    """At least the tokens of a prompt: no byte-level tokenizer makes two tokens of one byte."""
    messages = body.get("messages")
    if messages is None:
        return len(str(body.get("prompt", "")).encode(errors="surrogatepass")) + TEMPLATE_TOKENS
    texts = sum(len(str(message.get("content", "")).encode(errors="surrogatepass")) for message in messages)
    return texts + TOKENS_PER_MESSAGE * len(messages) + TEMPLATE_TOKENS + _schema_bytes(body)


def _schema_bytes(body: Mapping[str, Any]) -> int:
    """Some endpoints put the schema of a structured answer, and of tools, into the prompt."""
    return sum(
        len(str(body[name]).encode(errors="surrogatepass")) for name in ("response_format", "tools") if name in body
    )
