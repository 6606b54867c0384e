"""`benchmarks` and `decontamination`: what must not leak into the data, and how it is looked for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from builders.recipe.settings import Settings
from store import check_name


class Benchmark(Settings):
    """A benchmark to decontaminate against and, if asked, to evaluate on."""

    name: str
    path: str = Field(description="file, dataset folder or Hub id")
    config: str | None = Field(None, description="configuration of the Hub dataset, such as humaneval-py")
    split: str | None = Field(None, description="split of the dataset; None: test, or the only one")
    revision: str | None = Field(None, description="commit of the Hub dataset")
    evaluate: bool = False

    @model_validator(mode="after")
    def _name_is_a_path_segment(self) -> Benchmark:
        check_name(self.name, "benchmark name")
        return self


class Decontamination(Settings):
    """The detectors and when a hit counts; what each finds is told in builders/decontamination/detectors."""

    detectors: tuple[Literal["string", "ngram", "renamed", "prose", "literals"], ...] = Field(
        ("string", "ngram", "renamed", "prose", "literals"),
        min_length=1,
        description="what is looked for; where two of ngram or renamed, prose and literals are, their agreement counts too",
    )
    ngram: int = Field(6, ge=1, le=32, description="tokens of a raw n-gram")
    min_string_chars: int = Field(40, ge=1, description="benchmark texts shorter than this are too common to count")
    min_strength: float = Field(
        0.5,
        ge=0.2,
        le=1,
        description="a hit of this strength leaves an item out; every detector is calibrated to 0.5; weaker hits than 0.2"
        " are not kept",
    )
