"""`selection` and `final`: which candidates are trained on, and which pairs are published."""

from __future__ import annotations

from pydantic import Field, model_validator

from builders.recipe.settings import Settings, check_aspects


class Selection(Settings):
    """Which candidates of an iteration the next synthesizer is trained on.

    These are the thresholds of queries/selection_verdicts.sql, so another selection calls no model.
    """

    min_score: float = Field(0.0, description="score at least, 0 to 9; 0 keeps all")
    max_per_snippet: int = Field(1, ge=1, description="candidates to keep of one snippet, the best by score")
    top_share: float = Field(
        0.5,
        gt=0.0,
        le=1.0,
        description="share to keep of what passes all else, the highest by influence (p)",
    )
    max_rows: int | None = Field(
        None, description="candidates to keep in all, the highest by influence; null: no limit"
    )
    max_per_difficulty: int | None = Field(
        None,
        ge=1,
        description="candidates to keep of one difficulty digit, the highest by influence; null: no limit",
    )
    min_influence: float = Field(-1.0, description="influence at least, -1 to 1; -1 keeps all")
    weights: dict[str, float] = Field(
        default_factory=dict,
        description="weight of each aspect for this selection; empty: the weights of scoring",
    )

    @model_validator(mode="after")
    def _weights_name_aspects(self) -> Selection:
        check_aspects(self.weights, "selection.weights")
        return self


class Final(Settings):
    """How much the last synthesizer writes, and which of it is published: the final dataset."""

    max_snippets: int | None = Field(
        None,
        description="snippets to write pairs for; null: the whole pool without the teacher's snippets",
    )
    samples: int = Field(1, ge=1, description="candidates per snippet, of which the best by score is kept")
    min_score: float = Field(0.0, description="score of a pair at least, 0 to 9; 0 keeps all")
    max_rows: int | None = Field(None, description="pairs to publish, the best by score; null: no limit")
