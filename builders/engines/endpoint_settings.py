"""The settings of an endpoint, as in a recipe: `engine: {engine: openai, budget_usd: 5}`.

In: the keys of the block. Out: `OpenAISettings`, or an error that names the key. No secret can
stand in them, as they are written into run records, and nothing that a budget does not know of.

    OpenAISettings(base_url="http://localhost:8000/v1").max_in_flight    # 64
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, model_validator

from builders.engines.any_engine import AnyEngine

ENVIRONMENT_VALUE = re.compile(r"\$\{([A-Z_][A-Z0-9_]*)\}")
"""A value that stands in the environment, such as ${AZURE_OPENAI_KEY}."""
_SECRET_NAME = re.compile(r"key|token|auth|secret|cookie|passw|signature|^sig$|^code$", re.IGNORECASE)
_SECRET_FIELD = re.compile(r"(^|_)(api_?key|secret|password|authorization|(access|auth)_?token)$", re.IGNORECASE)
OWN_FIELDS = (
    "model", "messages", "prompt", "max_tokens", "max_completion_tokens", "n", "best_of", "stream", "stream_options",
    "logprobs", "top_logprobs", "response_format",
)  # fmt: skip
"""What a call says itself: budgets and answers hang on it."""
TOKEN_LIMITS = (
    "max_output_tokens", "max_new_tokens", "max_gen_tokens", "max_gen_len", "max_length", "max_tokens_to_sample",
    "maximum_tokens", "maxOutputTokens", "maxTokens", "max_tokens", "max_completion_tokens", "num_predict",
    "n_predict",
)  # fmt: skip
"""How endpoints call the most tokens of an answer. A budget knows of max_tokens alone."""
SET_ELSEWHERE = ("temperature", "top_p", "seed", "stop")
"""What a call says itself, and may leave out."""


class OpenAISettings(AnyEngine):
    """Any endpoint that speaks OpenAI's protocol: a provider's, or your own `vllm serve`.

    With `batch` the prices are those of the provider's batch API, which are about half.
    """

    is_endpoint: ClassVar[bool] = True

    engine: Literal["openai"] = Field("openai", description="the name of this engine")
    base_url: str | None = Field(
        None,
        description="address of the endpoint, such as http://localhost:8000/v1, with the query that every call needs, "
        "such as ?api-version=2024-10-21; null: https://api.openai.com/v1",
    )
    api_key_env: str = Field(
        "OPENAI_API_KEY",
        pattern=r"^[A-Z_][A-Z0-9_]*$",
        description="environment variable that holds the key; its name ends in _KEY or _TOKEN",
    )
    headers: dict[str, str] = Field(
        default_factory=dict,
        description="further headers of every call; a key stands in the environment, as in "
        "{api-key: '${AZURE_OPENAI_KEY}'}, and is sent instead of that of api_key_env",
    )
    extra_body: dict[str, Any] = Field(
        default_factory=dict,
        description="further fields of every request, such as {reasoning_effort: low}; null leaves a field out, as in "
        "{temperature: null, seed: null}",
    )
    allow_http: bool = Field(
        False, description="true: a key may be sent without encryption, over http, to another machine"
    )
    load_adapters: bool = Field(
        False, description="true: have `vllm serve` load the adapters of checkpoints; see docs/scaling.md"
    )
    max_in_flight: int = Field(64, ge=1, description="calls under way at once; fewer while the endpoint is overloaded")
    timeout_s: float = Field(120, gt=0, description="seconds that one attempt may take")
    max_retries: int = Field(
        6, ge=0, description="further attempts of one call; an answer 429 (too many requests) is not counted"
    )
    patience_s: float = Field(600, gt=0, description="seconds; stop when every attempt has failed for so long")
    max_given_up: int = Field(16, ge=1, description="stop when so many calls in a row were given up")
    requests_per_minute: float | None = Field(None, gt=0, description="requests per minute at most; null: no limit")
    tokens_per_minute: float | None = Field(
        None, gt=0, description="tokens per minute at most, prompt and completion; null: no limit"
    )
    budget_usd: float | None = Field(
        None,
        gt=0,
        description="dollars at most for all answers of a table, over all resumed runs; one budget for the "
        "teacher's samples and its scores; null: no limit",
    )
    budget_tokens: int | None = Field(
        None,
        gt=0,
        description="tokens at most for all answers of a table, prompt and completion; null: no limit",
    )
    batch: bool = Field(
        False, description="true: use the provider's batch API, which answers within a day at a lower price"
    )
    batch_size: int = Field(10_000, ge=1, le=50_000, description="requests of one batch at most")
    poll_s: float = Field(30, gt=0, description="seconds between two looks at a batch")

    @property
    def has_budget(self) -> bool:
        return self.budget_usd is not None or self.budget_tokens is not None

    @property
    def is_collected_later(self) -> bool:
        return self.batch

    def identity(self) -> list[str | int | None]:
        extra = [json.dumps(self.extra_body, sort_keys=True)] if self.extra_body else []
        return [self.engine, *extra, *self._thinking()]

    @model_validator(mode="after")
    def _headers_hold_no_secret(self) -> Self:
        for name, value in self.headers.items():
            if not re.fullmatch(r"[A-Za-z0-9-]+", name) or not value.isascii() or not value.isprintable():
                raise ValueError(f"headers.{name} is no header: give a name of letters and hyphens, and plain text")
            if _SECRET_NAME.search(name) and not ENVIRONMENT_VALUE.search(value):
                raise ValueError(
                    f"headers.{name} may be a key, and it would be written into run records: put it into an environment "
                    "variable, and name that one, as in ${MY_PROVIDER_KEY}"
                )
        return self

    @model_validator(mode="after")
    def _extra_fields_are_extra(self) -> Self:
        for name, value in self.extra_body.items():
            if name in OWN_FIELDS:
                raise ValueError(f"extra_body.{name} is said by the call itself: leave it out")
            if name in SET_ELSEWHERE and value is not None:
                raise ValueError(f"extra_body.{name} can only be null, which leaves it out: set it beside the engine")
            if limit := next((one for one in (name, *_inner(value)) if one in TOKEN_LIMITS), None):
                raise ValueError(f"extra_body.{name} sets {limit}, which no budget knows of: set max_tokens instead")
            if not _is_json(value):
                raise ValueError(f"extra_body.{name}={value!r} is no JSON: give texts, numbers, lists and mappings")
            if _SECRET_FIELD.search(name):
                raise ValueError(f"extra_body.{name} may be a key, and it would be written to disk: use headers")
        return self

    @model_validator(mode="after")
    def _dollars_need_prices(self) -> Self:
        prices = (self.price_per_million_input, self.price_per_million_output)
        if self.budget_usd is not None and None in prices:
            raise ValueError(
                f"budget_usd={self.budget_usd} needs both prices: set price_per_million_input and "
                "price_per_million_output, or give budget_tokens instead"
            )
        return self

    @model_validator(mode="after")
    def _address_holds_no_secret(self) -> Self:
        if self.base_url is None:
            return self
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url is no http or https address: give one such as http://localhost:8000/v1")
        has_key = any(
            not name or _SECRET_NAME.search(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True)
        )
        if parts.username or parts.password or has_key:
            raise ValueError(
                "base_url holds a user, a password or a key, and it would be written into run records: "
                "give the plain address, and put the key into the environment variable that api_key_env names"
            )
        return self

    @model_validator(mode="after")
    def _adapters_are_loaded_by_a_server(self) -> Self:
        if self.load_adapters and (self.base_url is None or self.batch):
            raise ValueError(
                f"load_adapters needs base_url set and batch off, got base_url={self.base_url}, batch={self.batch}"
            )
        return self


def _inner(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Mapping) else []


def _is_json(value: Any) -> bool:
    """Whether it can be sent: a YAML file may hold days, sets and .nan."""
    try:
        json.dumps(value, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
