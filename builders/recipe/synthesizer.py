"""`synthesizer` and `sampling`: the model that becomes the data synthesizer, and how it is sampled."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from builders.engines.settings import EngineSettings, TransformersSettings
from builders.recipe.settings import Settings, filled_as
from training.settings import SftSettings


class Synthesizer(Settings):
    """The small model that becomes the data synthesizer."""

    model: str
    revision: str | None = None
    prompt: Annotated[str, filled_as("synthesizer")] = "synthesizer"
    engine: EngineSettings = TransformersSettings()
    training: SftSettings = SftSettings()
    train_from: Literal["base", "previous"] = "base"
    accumulate: bool = Field(False, description="train G_t on the selections of all iterations instead of the last")


class Sampling(Settings):
    """Multi-checkpoint sampling."""

    checkpoints: int = Field(4, ge=1, description="M")
    samples_per_checkpoint: int = Field(4, ge=1, description="N")
    snippets_per_iteration: int = Field(10_000, ge=1)
    temperature: float = Field(0.8, ge=0)
    top_p: float = Field(0.95, gt=0, le=1)
    max_tokens: int = Field(1024, ge=1)
    requests_per_shard: int = Field(256, ge=1)
    base_snippets: int = Field(
        0, ge=0, description="snippets that the untrained base is sampled on, to report its parse rate"
    )
