"""`near_duplicates`: how near-duplicates are found, and from when on one counts."""

from __future__ import annotations

from pydantic import Field, model_validator

from builders.recipe.settings import Settings


class NearDuplicates(Settings):
    """How near-duplicates are found.

    The `min_` fields are thresholds of queries/pool_verdicts.sql; either suffices.
    """

    min_similarity_raw: float = Field(0.8, gt=0, le=1, description="Jaccard similarity of raw token grams")
    min_similarity_renamed: float = Field(
        0.85, gt=0, le=1, description="the same up to the names that a function binds"
    )
    floor: float = Field(0.6, gt=0, le=1, description="less similar pairs are not stored")
    raw_gram: int = Field(5, ge=1, le=32, description="tokens per gram")
    renamed_gram: int = Field(8, ge=1, le=32)
    short_tokens: int = Field(24, ge=1, le=32, description="functions of fewer tokens must be equal")
    bands: int = Field(24, ge=1, description="of the LSH; with 6 rows a similarity of 0.8 is found in 99.9% of cases")
    rows: int = Field(6, ge=1)
    max_heads: int = Field(16, ge=1, description="stored per snippet, the most similar ones")

    @model_validator(mode="after")
    def _can_be_decided(self) -> NearDuplicates:
        least = min(self.min_similarity_raw, self.min_similarity_renamed)
        if least < self.floor:
            raise ValueError(f"a threshold of {least} needs a floor of at most that, got {self.floor}")
        longest = max(self.raw_gram, self.renamed_gram)
        if longest > self.short_tokens:
            raise ValueError(f"grams of {longest} tokens need short_tokens of at least that, got {self.short_tokens}")
        return self
