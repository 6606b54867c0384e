"""Settings of the generation engines, as they stand in a recipe."""

from datetime import date
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Pace(BaseModel):
    """How fast, how patiently and at what price an endpoint is asked. Nothing here is part of a plan.

    Prices are the recipe's alone: without them tokens are counted and cost stays unknown. With `batch` they are those
    of the provider's batch API, which are about half.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_key_env: str = Field(
        "OPENAI_API_KEY",
        pattern=r"^[A-Z_][A-Z0-9_]*$",
        description="openai: name of the environment variable with the key",
    )
    max_in_flight: int = Field(64, ge=1, description="openai: calls under way at once; fewer while it is overloaded")
    timeout_s: float = Field(120, gt=0, description="openai: of one attempt")
    max_retries: int = Field(6, ge=0, description="openai: of one call, after the first attempt; a 429 is not counted")
    patience_s: float = Field(600, gt=0, description="openai: stop when every attempt failed for so long")
    max_given_up: int = Field(16, ge=1, description="openai: stop after so many calls in a row that were given up")
    max_error_share: float = Field(
        0.05, ge=0, le=1, description="stop when more than this share of the requests ended in an engine error"
    )
    requests_per_minute: float | None = Field(None, gt=0, description="openai")
    tokens_per_minute: float | None = Field(None, gt=0, description="openai: prompt and completion together")
    price_per_million_input: float | None = Field(None, ge=0, description="dollars")
    price_per_million_output: float | None = Field(None, ge=0, description="dollars")
    price_date: date | None = Field(None, description="the day of these prices")
    budget_usd: float | None = Field(
        None,
        gt=0,
        description="openai: for all answers of a table, over all resumes; the teacher's for its samples and its scores",
    )
    budget_tokens: int | None = Field(None, gt=0, description="openai: likewise, prompt and completion together")
    batch: bool = Field(False, description="openai: through the provider's batch API, within a day")
    batch_size: int = Field(10_000, ge=1, le=50_000, description="openai: requests of one batch")
    poll_s: float = Field(30, gt=0, description="openai: between two looks at a batch")

    @model_validator(mode="after")
    def _dollars_need_prices(self) -> Self:
        known = [self.price_per_million_input is not None, self.price_per_million_output is not None]
        if self.budget_usd is not None and not all(known):
            raise ValueError(
                f"budget_usd={self.budget_usd} needs price_per_million_input and price_per_million_output: "
                "set both, or give budget_tokens"
            )
        if self.price_date is not None and not any(known):
            raise ValueError(f"price_date={self.price_date} stands without a price: set the prices of that day")
        return self

    def cost(self, num_prompt_tokens: int, num_completion_tokens: int) -> float | None:
        """What these tokens cost in dollars; None where a price is not set."""
        if self.price_per_million_input is None or self.price_per_million_output is None:
            return None
        return (
            num_prompt_tokens * self.price_per_million_input + num_completion_tokens * self.price_per_million_output
        ) / 1e6


class EngineSettings(Pace):
    """Which engine answers, and how it is driven.

    Of these only `engine`, `max_model_tokens`, `dtype` and `base_url` say what is asked of whom; the
    transformers engine repeats its bits only for an equal `micro_batch` and `num_threads` as well. The rest
    is pace and price.
    """

    engine: Literal["transformers", "vllm", "openai"] = "transformers"
    max_model_tokens: int = Field(4096, ge=2, description="prompt and completion together")
    dtype: Literal["float32", "bfloat16", "auto"] = "float32"

    micro_batch: int = Field(32, ge=1, description="transformers: rows that are decoded together")
    num_threads: int | None = Field(None, ge=1, description="transformers: CPU threads; None leaves torch's choice")

    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="vllm")
    tensor_parallel: int = Field(1, ge=1, description="vllm: GPUs that share one model")
    enforce_eager: bool = Field(False, description="vllm: no compilation: starts sooner, decodes slower")

    base_url: str | None = Field(None, description="openai: such as http://localhost:8000/v1; None is api.openai.com")

    load_adapters: bool = Field(
        False, description="openai: have `vllm serve` load the checkpoints' adapters as they come; see docs/scaling.md"
    )

    @model_validator(mode="after")
    def _check_base_url(self) -> Self:
        if self.base_url is None:
            return self
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url is not an http or https address: give one such as http://localhost:8000/v1")
        if parts.username or parts.password or parts.query:
            raise ValueError(
                "base_url holds credentials or a query, which would be written into run records: "
                "give the plain address and put the key into the environment variable named by api_key_env"
            )
        return self

    @model_validator(mode="after")
    def _adapters_are_loaded_by_a_server(self) -> Self:
        if self.load_adapters and (self.engine != "openai" or self.base_url is None or self.batch):
            raise ValueError(
                f"load_adapters is for engine openai with a base_url and without batch, got engine {self.engine}, "
                f"base_url={self.base_url}, batch={self.batch}"
            )
        return self

    def identity(self) -> list[str | int | None]:
        """What of these settings can change an answer, for the plan of a table."""
        pace = [self.micro_batch, self.num_threads] if self.engine == "transformers" else []
        return [self.engine, self.dtype, self.max_model_tokens, *pace]
