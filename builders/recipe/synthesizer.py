"""`synthesizer` and `sampling`: the model that learns to write the data, and how much it writes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from builders.engines.settings import EngineSettings, TransformersSettings
from builders.recipe.settings import Settings, filled_as, named
from training.settings import SftSettings, TemplateArguments


class Synthesizer(Settings):
    """Which small model learns to write (problem, solution) pairs, and how it is trained."""

    model: str | None = Field(
        None,
        description="model folder or Hub id of the base model; null: none, which is enough for the stages pool and teacher",
    )
    revision: str | None = Field(None, description="commit of the Hub model; null: the newest one")
    template_arguments: TemplateArguments = Field(
        default_factory=dict,
        description="arguments of the model's chat template, such as {enable_thinking: false}; empty: none",
    )
    prompt: Annotated[str, filled_as("synthesizer")] = Field(
        "synthesizer",
        description="prompt template that asks for a pair; synthesizer-short: for a very small model",
    )
    engine: EngineSettings = Field(TransformersSettings(), description="the engine that runs the synthesizer")
    training: SftSettings = Field(SftSettings(), description="how the synthesizer is trained in each iteration")
    train_from: Literal["base", "previous"] = Field(
        "base",
        description="where each training starts; base: from the base model; previous: from the last "
        "iteration's synthesizer",
    )
    accumulate: bool = Field(
        False,
        description="train on the selections of all iterations so far; false: on the last one alone",
    )

    @property
    def base(self) -> str:
        """The base model. SettingError if the recipe names none."""
        return named(self.model, "synthesizer.model")


class Sampling(Settings):
    """How many candidates the synthesizer writes in an iteration, and how.

    Each of the last `checkpoints` of a training writes `samples_per_checkpoint` candidates for each
    snippet. The numbers multiply: 4 x 4 x 10,000 are 160,000 candidates.
    """

    checkpoints: int = Field(4, ge=1, description="checkpoints of a training that write, the last ones (M)")
    samples_per_checkpoint: int = Field(
        4, ge=1, description="candidates that each checkpoint writes for each snippet (N)"
    )
    snippets_per_iteration: int = Field(10_000, ge=1, description="snippets per iteration, others in each")
    temperature: float | None = Field(
        0.8, ge=0, description="sampling temperature; 0 always takes the most probable token; null: the endpoint's own"
    )
    top_p: float | None = Field(
        0.95,
        gt=0,
        le=1,
        description="probability mass of the tokens to sample from; 1: all tokens; null: the endpoint's own",
    )
    max_tokens: int = Field(1024, ge=1, description="tokens of a candidate at most")
    requests_per_shard: int | None = Field(
        None,
        ge=1,
        description="candidates per shard; after a kill the transformers engine repeats the unfinished shard; "
        "null: 4,096, or 8 micro-batches with the transformers engine",
    )
    base_snippets: int = Field(
        0,
        ge=0,
        description="snippets that the untrained base model is tried on, to report how many of its "
        "answers parse; 0: not tried",
    )
