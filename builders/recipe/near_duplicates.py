"""`near_duplicates`: how near-duplicates are found, and how similar two functions must be."""

from __future__ import annotations

from pydantic import Field, model_validator

from builders.recipe.settings import Settings


class NearDuplicates(Settings):
    """How functions that resemble each other are found, and how similar they must be to count.

    Of two near-duplicates in the pool, the better one stays.

    The `min_` fields are thresholds of queries/pool_verdicts.sql. Passing one of them suffices, but
    docstrings need a second sign. Alike ones count under the same name. Under other names they must
    have the same words, and be long or stand above code that reaches `floor`.
    """

    min_similarity_raw: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Jaccard similarity of the token grams as written, from which on two functions are "
        "near-duplicates, 0 to 1",
    )
    min_similarity_renamed: float = Field(
        0.85,
        gt=0,
        le=1,
        description="the same after the names that a function binds itself are made alike",
    )
    min_similarity_docstring: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Jaccard similarity of the word grams of two docstrings, from which on they pose the same problem; "
        "under different names they must be equal word for word, and be long or have code as similar as floor",
    )
    floor: float = Field(0.6, gt=0, le=1, description="pairs less similar than this are not stored")
    raw_gram: int = Field(5, ge=1, le=32, description="tokens per gram of the code as written")
    renamed_gram: int = Field(8, ge=1, le=32, description="tokens per gram after renaming")
    short_tokens: int = Field(24, ge=1, le=32, description="functions with fewer tokens count only when they are equal")
    docstring_gram: int = Field(3, ge=1, le=32, description="words per gram of a docstring")
    short_docstring_words: int = Field(
        20, ge=0, description="docstrings with fewer words are short: equal ones may describe different functions"
    )
    bands: int = Field(
        24,
        ge=1,
        description="bands of the hash search; with 6 rows each a similarity of 0.8 is found in 99.9% of cases",
    )
    rows: int = Field(6, ge=1, description="hash values per band; more find fewer unlike pairs")
    max_heads: int = Field(
        16,
        ge=1,
        description="better functions that are stored for each one, the most similar first, by code and by docstring",
    )

    @model_validator(mode="after")
    def _can_be_decided(self) -> NearDuplicates:
        least = min(self.min_similarity_raw, self.min_similarity_renamed, self.min_similarity_docstring)
        if least < self.floor:
            raise ValueError(
                f"floor={self.floor} is above a threshold of {least}, so pairs that count would not be stored: "
                "lower floor, or raise min_similarity_raw, min_similarity_renamed and min_similarity_docstring"
            )
        longest = max(self.raw_gram, self.renamed_gram)
        if longest > self.short_tokens:
            raise ValueError(
                f"short_tokens={self.short_tokens} is below the longest gram of {longest} tokens, and a shorter "
                "function has no gram: raise short_tokens, or lower raw_gram and renamed_gram"
            )
        return self
