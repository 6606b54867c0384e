"""The settings of each engine, as they stand in a recipe: `engine: {engine: vllm, dtype: bfloat16}`.

There is one model per engine, and the key `engine` says which one it is. Without that key it is
the transformers engine. A key that belongs to another engine is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, TypeAdapter, model_validator


class AnyEngine(BaseModel):
    """What all engines have: a limit for errors, and what tokens cost.

    None of these fields can change an answer, so none of them is part of a plan. Prices come from
    the recipe alone: without them, tokens are counted and the cost stays unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    is_journalled: ClassVar[bool] = True
    """Whether every answer is kept on disk as it arrives, and never asked for again."""
    is_endpoint: ClassVar[bool] = False
    """Whether a server answers: it bills each question alone, and decides itself what it serves."""

    max_error_share: float = Field(
        0.05, ge=0, le=1, description="stop when a larger share of the requests ended in an engine error"
    )
    price_per_million_input: float | None = Field(None, ge=0, description="dollars")
    price_per_million_output: float | None = Field(None, ge=0, description="dollars")
    price_date: date | None = Field(None, description="the day of these prices")

    @model_validator(mode="after")
    def _a_day_needs_prices(self) -> Self:
        has_price = self.price_per_million_input is not None or self.price_per_million_output is not None
        if self.price_date is not None and not has_price:
            raise ValueError(f"price_date={self.price_date} stands without a price: set the prices of that day")
        return self

    @property
    def has_budget(self) -> bool:
        """Whether the answers of a table may cost only so much."""
        return False

    @property
    def is_collected_later(self) -> bool:
        """Whether what was asked goes on at the provider when this process ends."""
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


class _LocalModel(AnyEngine):
    """A model that is loaded on this machine."""

    max_model_tokens: int = Field(4096, ge=2, description="prompt and completion together")
    dtype: Literal["float32", "bfloat16", "auto"] = "float32"


class TransformersSettings(_LocalModel):
    """Hugging Face transformers, in this process.

    It gives the same bits again only with the same `micro_batch` and `num_threads`.
    """

    is_journalled: ClassVar[bool] = False
    """Its bits depend on which requests are decoded together, so it is asked for whole shards."""

    engine: Literal["transformers"] = "transformers"
    micro_batch: int = Field(32, ge=1, description="rows that are decoded together")
    num_threads: int | None = Field(None, ge=1, description="CPU threads; null leaves torch's choice")

    def identity(self) -> list[str | int | None]:
        return [self.engine, self.dtype, self.max_model_tokens, self.micro_batch, self.num_threads]


class VllmSettings(_LocalModel):
    """vLLM, in this process."""

    engine: Literal["vllm"] = "vllm"
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="share of the GPU's memory")
    tensor_parallel: int = Field(1, ge=1, description="GPUs that share one model")
    enforce_eager: bool = Field(False, description="no compilation: starts sooner, decodes slower")

    def identity(self) -> list[str | int | None]:
        return [self.engine, self.dtype, self.max_model_tokens]


class OpenAISettings(AnyEngine):
    """Any endpoint that speaks OpenAI's protocol: a provider's, or your own `vllm serve`.

    With `batch` the prices are those of the provider's batch API, which are about half.
    """

    is_endpoint: ClassVar[bool] = True

    engine: Literal["openai"] = "openai"
    base_url: str | None = Field(None, description="such as http://localhost:8000/v1; null is api.openai.com")
    api_key_env: str = Field(
        "OPENAI_API_KEY", pattern=r"^[A-Z_][A-Z0-9_]*$", description="environment variable that holds the key"
    )
    load_adapters: bool = Field(
        False, description="have `vllm serve` load the adapters of checkpoints as they come; see docs/scaling.md"
    )
    max_in_flight: int = Field(64, ge=1, description="calls under way at once; fewer while it is overloaded")
    timeout_s: float = Field(120, gt=0, description="of one attempt")
    max_retries: int = Field(6, ge=0, description="of one call, after the first attempt; a 429 is not counted")
    patience_s: float = Field(600, gt=0, description="stop when every attempt failed for so long")
    max_given_up: int = Field(16, ge=1, description="stop after so many calls in a row that were given up")
    requests_per_minute: float | None = Field(None, gt=0)
    tokens_per_minute: float | None = Field(None, gt=0, description="prompt and completion together")
    budget_usd: float | None = Field(
        None,
        gt=0,
        description="for all answers of a table, over all resumes; the teacher's for its samples and its scores",
    )
    budget_tokens: int | None = Field(None, gt=0, description="likewise, prompt and completion together")
    batch: bool = Field(False, description="use the provider's batch API, which answers within a day")
    batch_size: int = Field(10_000, ge=1, le=50_000, description="requests of one batch")
    poll_s: float = Field(30, gt=0, description="seconds between two looks at a batch")

    @property
    def has_budget(self) -> bool:
        return self.budget_usd is not None or self.budget_tokens is not None

    @property
    def is_collected_later(self) -> bool:
        return self.batch

    def identity(self) -> list[str | int | None]:
        return [self.engine]

    @model_validator(mode="after")
    def _dollars_need_prices(self) -> Self:
        prices = (self.price_per_million_input, self.price_per_million_output)
        if self.budget_usd is not None and None in prices:
            raise ValueError(
                f"budget_usd={self.budget_usd} needs price_per_million_input and price_per_million_output: "
                "set both, or give budget_tokens"
            )
        return self

    @model_validator(mode="after")
    def _address_holds_no_secret(self) -> Self:
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
        if self.load_adapters and (self.base_url is None or self.batch):
            raise ValueError(
                f"load_adapters needs a base_url and no batch, got base_url={self.base_url}, batch={self.batch}"
            )
        return self


def engine_kind(value: Any) -> str:
    """The name of the engine that a block of settings is for."""
    if isinstance(value, AnyEngine):
        return str(getattr(value, "engine", ""))
    return str(value.get("engine", "transformers")) if isinstance(value, Mapping) else ""


EngineSettings = Annotated[
    Annotated[TransformersSettings, Tag("transformers")]
    | Annotated[VllmSettings, Tag("vllm")]
    | Annotated[OpenAISettings, Tag("openai")],
    Discriminator(engine_kind),
]
"""The block `engine` of a recipe: whichever of the three models its key `engine` names."""

BLOCK = "engine block"
"""Between the key `engine` and the name of an engine, where pydantic tells a mistake in a union of unions."""

ENGINES: dict[str, type[AnyEngine]] = {
    "transformers": TransformersSettings,
    "vllm": VllmSettings,
    "openai": OpenAISettings,
}


def engine_settings(block: Mapping[str, Any]) -> TransformersSettings | VllmSettings | OpenAISettings:
    """The settings of a plain mapping, such as `{"engine": "vllm", "dtype": "bfloat16"}`."""
    return TypeAdapter(EngineSettings).validate_python(dict(block))
