"""`selection` and `final`: which candidates are trained on, and which pairs are published."""

from __future__ import annotations

from pydantic import Field, model_validator

from builders.recipe.settings import Settings, check_aspects


class Selection(Settings):
    """Thresholds of queries/selected.sql."""

    min_score: float = 0.0
    max_per_snippet: int = Field(1, ge=1)
    top_share: float = Field(0.5, gt=0.0, le=1.0, description="p, kept by influence")
    max_rows: int | None = None
    max_per_difficulty: int | None = Field(None, ge=1, description="quota: candidates of one difficulty digit")
    min_influence: float = -1.0
    weights: dict[str, float] = Field(
        default_factory=dict, description="another weighting than scoring's; empty: scoring's"
    )

    @model_validator(mode="after")
    def _weights_name_aspects(self) -> Selection:
        check_aspects(self.weights, "selection.weights")
        return self


class Final(Settings):
    """The final generation and the published instructions."""

    max_snippets: int | None = Field(None, description="None: the whole pool outside the teacher's snippets")
    samples: int = Field(1, ge=1)
    min_score: float = 0.0
    max_rows: int | None = None
