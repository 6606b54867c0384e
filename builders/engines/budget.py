"""A hard budget in dollars and tokens that is never passed.

In: what was spent before, and the worst case of each call. Out: whether the call may be sent. How: the worst case is
held while a call is under way and replaced by what its answer says that it cost. An attempt that may have been paid for
without an answer (a time-out, a cut connection) keeps its worst case. What was under way when a process was killed is
known to nobody: at most `max_in_flight` calls per kill are missing from the count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builders.engines.settings import OpenAISettings
from store.errors import JobError

# A chat template adds role names, marks and, for some models, a system text of its own.
TEMPLATE_TOKENS = 64
TOKENS_PER_MESSAGE = 16
# Dollars are sums of floats: a budget that is met exactly is not passed.
ROUNDING = 1e-9


class BudgetError(JobError):
    """The next call could pass the budget."""


@dataclass(frozen=True)
class Spent:
    """Tokens, prompt and completion together, and dollars; dollars are 0 where no price is known."""

    tokens: int = 0
    usd: float = 0.0

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

    def worst_case(self, body: Mapping[str, Any], num_completion_tokens: int) -> Spent:
        """The most that a call can cost."""
        return self.price(prompt_bound(body), num_completion_tokens)

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
            f"stopped before the budget would be passed: {'; '.join(states)}, and the next call may cost up to {needs}. "
            "What was answered is kept: raise the budget and run again to go on"
        )


def prompt_bound(body: Mapping[str, Any]) -> int:
    """More tokens than a prompt can have: no byte-level tokenizer makes more than one token of a byte."""
    messages = body.get("messages")
    if messages is None:
        return len(str(body.get("prompt", "")).encode(errors="surrogatepass")) + TEMPLATE_TOKENS
    texts = sum(len(str(message.get("content", "")).encode(errors="surrogatepass")) for message in messages)
    return texts + TOKENS_PER_MESSAGE * len(messages) + TEMPLATE_TOKENS + _schema_bytes(body)


def _schema_bytes(body: Mapping[str, Any]) -> int:
    """Some endpoints put the schema of a structured answer into the prompt."""
    return len(str(body.get("response_format", "")).encode())
