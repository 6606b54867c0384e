"""What the settings of every engine have: a limit for errors, room to think, and what tokens cost.

In: the keys of a recipe's block `engine` that belong to no engine alone. Out: `AnyEngine`, which
the settings of each engine extend (`settings.py`, `endpoint_settings.py`).
"""

from __future__ import annotations

from datetime import date
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

ROWS_PER_SHARD = 4096


class AnyEngine(BaseModel):
    """What all engines have: a limit for errors, and what tokens cost.

    Of these fields, only `max_thinking_tokens` can change an answer, so the others are no part of a
    plan. Prices come from the recipe alone: without them, tokens are counted and the cost stays
    unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    is_journalled: ClassVar[bool] = True
    """Whether every answer is kept on disk as it arrives, and never asked for again."""
    is_endpoint: ClassVar[bool] = False
    """Whether a server answers. It bills each question alone, and decides itself what it serves."""

    max_error_share: float = Field(
        0.05, ge=0, le=1, description="stop when more than this share of the requests fails, 0 to 1"
    )
    max_thinking_tokens: int = Field(
        0,
        ge=0,
        description="tokens that a reasoning model may think beside the max_tokens of its answer; they are added to it",
    )
    ask_failed_again: bool = Field(
        False,
        description="true: ask again, and pay again, for what an earlier run was answered and could not read; an answer "
        "that never came is asked for again anyway",
    )
    price_per_million_input: float | None = Field(
        None, ge=0, description="dollars for a million prompt tokens; null: unknown, the cost is not counted"
    )
    price_per_million_output: float | None = Field(
        None, ge=0, description="dollars for a million completion tokens; null: unknown, the cost is not counted"
    )
    price_date: date | None = Field(None, description="the day of these prices, as YYYY-MM-DD; null: not noted")

    @model_validator(mode="after")
    def _a_day_needs_prices(self) -> Self:
        has_price = self.price_per_million_input is not None or self.price_per_million_output is not None
        if self.price_date is not None and not has_price:
            raise ValueError(f"price_date={self.price_date} is set, but no price: set the prices of that day")
        return self

    @property
    def rows_per_shard(self) -> int:
        """Items whose answers are written together as one shard.

        A journal keeps every answer of an unfinished shard, so shards can be large.
        """
        return ROWS_PER_SHARD

    @property
    def has_budget(self) -> bool:
        """Whether the answers of a table may cost only so much."""
        return False

    @property
    def is_collected_later(self) -> bool:
        """Whether the provider goes on when this process ends, and answers are fetched later."""
        return False

    def cost(self, num_prompt_tokens: int, num_completion_tokens: int) -> float | None:
        """What these tokens cost in dollars; None where a price is not set."""
        if self.price_per_million_input is None or self.price_per_million_output is None:
            return None
        return (
            num_prompt_tokens * self.price_per_million_input + num_completion_tokens * self.price_per_million_output
        ) / 1e6

    def identity(self) -> list[str | int | None]:
        """The part of the settings that can change an answer, for the plan of a table."""
        raise NotImplementedError

    def _thinking(self) -> list[str | int | None]:
        """What it adds to the identity: nothing for models that do not think."""
        return [f"thinking {self.max_thinking_tokens}"] if self.max_thinking_tokens else []
