"""`scorer` and `scoring`: who scores the aspects, and how much each aspect counts."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from builders.engines.settings import EngineSettings, TransformersSettings
from builders.recipe.settings import Settings, check_aspects, filled_as
from training.settings import SftSettings


class Scorer(Settings):
    """Who scores the aspects."""

    model: str | None = Field(None, description="None: the synthesizer's base")
    revision: str | None = None
    prompt: Annotated[str, filled_as("scorer")] = Field(
        "scorer", description="scorer: rubrics, then the item; scorer-short: no rubrics, for a small fine-tuned scorer"
    )
    engine: EngineSettings = TransformersSettings()
    training: SftSettings | None = Field(None, description="fine-tune it on labelled pairs; None: as it is")
    labels: Literal["corruptions", "teacher"] = Field(
        "corruptions",
        description="whose digits it learns: what a corruption is known to spoil, or the teacher's own scores of the same pairs",
    )
    corruptions_per_sample: int = Field(4, ge=0)


class Scoring(Settings):
    """The weighting of the aspects."""

    method: Literal["contrast", "fixed"] = "contrast"
    weights: dict[str, float] = Field(default_factory=dict, description="for fixed; empty gives equal weights")
    l2: float = Field(1.0, ge=0)

    @model_validator(mode="after")
    def _weights_name_aspects(self) -> Scoring:
        check_aspects(self.weights, "scoring.weights")
        return self
