"""Settings of the generation engines, as they stand in a recipe."""

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator


class EngineSettings(BaseModel):
    """Which engine answers, and how it is driven.

    Of these only `engine`, `max_model_tokens`, `dtype` and `base_url` say what is asked of whom; the
    transformers engine repeats its bits only for an equal `micro_batch` and `num_threads` as well. The rest
    is pace and price.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal["transformers", "vllm", "openai"] = "transformers"
    max_model_tokens: int = Field(4096, ge=2, description="prompt and completion together")
    dtype: Literal["float32", "bfloat16", "auto"] = "float32"

    micro_batch: int = Field(32, ge=1, description="transformers: rows that are decoded together")
    num_threads: int | None = Field(None, ge=1, description="transformers: CPU threads; None leaves torch's choice")

    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="vllm")
    tensor_parallel: int = Field(1, ge=1, description="vllm: GPUs that share one model")

    base_url: str | None = Field(None, description="openai: such as http://localhost:8000/v1; None is api.openai.com")
    api_key_env: str = Field(
        "OPENAI_API_KEY",
        pattern=r"^[A-Z_][A-Z0-9_]*$",
        description="openai: name of the environment variable with the key",
    )
    max_in_flight: int = Field(64, ge=1, description="openai: calls under way at once")
    timeout_s: float = Field(120, gt=0, description="openai: of one call")
    max_retries: int = Field(6, ge=0, description="openai: of one call, after the first attempt")
    price_per_million_input: float | None = Field(None, ge=0)
    price_per_million_output: float | None = Field(None, ge=0)

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

    def cost(self, num_prompt_tokens: int, num_completion_tokens: int) -> float | None:
        """What these tokens cost in the currency of the prices; None where a price is not set."""
        if self.price_per_million_input is None or self.price_per_million_output is None:
            return None
        return (
            num_prompt_tokens * self.price_per_million_input + num_completion_tokens * self.price_per_million_output
        ) / 1e6

    def identity(self) -> list[str | int | None]:
        """What of these settings can change an answer, for the plan of a table."""
        pace = [self.micro_batch, self.num_threads] if self.engine == "transformers" else []
        return [self.engine, self.dtype, self.max_model_tokens, *pace]
