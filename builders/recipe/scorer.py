"""`scorer` and `scoring`: who scores candidates by aspect, and how much each aspect counts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from builders.engines.settings import EngineSettings, TransformersSettings
from builders.recipe.settings import Settings, check_aspects, filled_as
from training.settings import SftSettings, TemplateArguments


class Scorer(Settings):
    """Which model scores candidates: a digit from 0 to 9 for each aspect.

    It can be used as it is, or trained for this on labelled pairs.
    """

    model: str | None = Field(
        None, description="model folder or Hub id of the scorer; null: the synthesizer's base model"
    )
    revision: str | None = Field(None, description="commit of the Hub model; null: the newest one")
    template_arguments: TemplateArguments = Field(
        default_factory=dict,
        description="arguments of the model's chat template, such as {enable_thinking: false}; left out where the "
        "model is the synthesizer's: those of the synthesizer",
    )
    prompt: Annotated[str, filled_as("scorer")] = Field(
        "scorer",
        description="prompt template; scorer: rubrics, then the pair; scorer-short: no rubrics, for a "
        "small trained scorer",
    )
    engine: EngineSettings = Field(TransformersSettings(), description="the engine that runs the scorer")
    training: SftSettings | None = Field(
        None, description="how the scorer is trained on labelled pairs; null: the model as it is"
    )
    labels: Literal["corruptions", "teacher"] = Field(
        "corruptions",
        description="digits to learn; corruptions: from what a corruption is known to spoil, at no "
        "cost; teacher: the teacher's own scores of the same pairs",
    )
    corruptions_per_sample: int = Field(
        4, ge=0, description="corrupted copies of each teacher sample to learn from; at most 5 are made"
    )


class Scoring(Settings):
    """How much each aspect counts in the score of a candidate.

    The weights sum to 1, so the score lies between 0 and 9.
    """

    method: Literal["contrast", "fixed"] = Field(
        "contrast",
        description="contrast: fit the weights that tell teacher samples from candidates; fixed: use the weights below",
    )
    weights: dict[str, float] = Field(
        default_factory=dict, description="weight of each aspect, for fixed; empty: equal weights"
    )
    l2: float = Field(1.0, ge=0, description="how firmly the contrast fit is drawn to equal weights; 0: not at all")

    @model_validator(mode="after")
    def _weights_name_aspects(self) -> Scoring:
        check_aspects(self.weights, "scoring.weights")
        return self
