"""`benchmarks` and `decontamination`: what must not leak into the data, and how we look for it."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field, model_validator

from builders.recipe.settings import Settings
from store import check_name


class Benchmark(Settings):
    """One benchmark. Its tasks must not be in the data. With `evaluate`, it also grades models."""

    name: str = Field(description="name of the benchmark in tables and reports: lower case, digits, - and _")
    path: str = Field(description="file, dataset folder or Hub id that holds the tasks")
    config: str | None = Field(
        None, description="configuration of the Hub dataset, such as humaneval-py; null: its default"
    )
    split: str | None = Field(None, description="split of the Hub dataset; null: test, or the only split there is")
    revision: str | None = Field(None, description="commit of the Hub dataset; null: the newest one")
    evaluate: bool = Field(False, description="also grade models on this benchmark")
    contest_from: date | None = Field(
        None, description="first day of the contests that count, such as 2024-08-01; null: all. For LiveCodeBench"
    )
    contest_until: date | None = Field(None, description="last day of the contests that count; null: all")

    @model_validator(mode="after")
    def _name_is_a_path_segment(self) -> Benchmark:
        check_name(self.name, "benchmark name")
        return self

    @model_validator(mode="after")
    def _window_has_days(self) -> Benchmark:
        if self.contest_from and self.contest_until and self.contest_from > self.contest_until:
            raise ValueError(
                f"benchmark {self.name}: contest_from {self.contest_from} is after contest_until {self.contest_until}: "
                "exchange them"
            )
        return self


class MeaningModel(Settings):
    """A sentence-embedding model that compares weak hits with the statement of their task."""

    model: str = Field(description="model folder or Hub id, such as sentence-transformers/all-MiniLM-L6-v2")
    revision: str | None = Field(None, description="commit of the Hub model; null: the newest one")
    min_similarity: float = Field(
        0.65, gt=0, lt=1, description="cosine that is a strength of 0.5; ours was chosen for all-MiniLM-L6-v2"
    )


class Decontamination(Settings):
    """Which detectors look for benchmarks, and how strong a hit must be to count.

    What each detector finds is told in builders/decontamination/detectors.
    """

    detectors: tuple[Literal["string", "ngram", "renamed", "prose", "literals"], ...] = Field(
        ("string", "ngram", "renamed", "prose", "literals"),
        min_length=1,
        description="detectors to run; where two of (ngram or renamed), prose and literals point to the same task, that is a hit too",
    )
    ngram: int = Field(6, ge=1, le=32, description="tokens per n-gram of the ngram detector")
    min_string_chars: int = Field(
        40, ge=1, description="characters; shorter texts of a benchmark are too common to count"
    )
    min_strength: float = Field(
        0.5,
        ge=0.2,
        le=1,
        description="strength from which a hit leaves an item out, 0 to 1; detectors are calibrated "
        "to 0.5, and hits weaker than 0.2 are not kept",
    )
    meaning: MeaningModel | None = Field(
        None,
        description="a model of sentences that looks at weak hits once more, to find statements in other words; null: none",
    )
    execution: bool = Field(
        False,
        description="also run the functions of snippets, samples and candidates on the benchmarks' recorded calls, in "
        "the sandbox: it finds solutions that were written anew, and takes far longer than all detectors",
    )
