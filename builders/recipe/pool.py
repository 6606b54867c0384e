"""`pool` and `docstring_judge`: what a snippet must be like to enter the clean pool."""

from __future__ import annotations

from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from builders.engines.settings import EngineSettings, TransformersSettings
from builders.recipe.settings import Settings, filled_as


class Pool(Settings):
    """Thresholds of queries/pool_verdicts.sql; all are inclusive."""

    min_lines: int = 3
    max_lines: int = 150
    max_chars: int = 20_000
    min_tokens: int = 20
    max_tokens: int = 2000
    min_statements: int = 2
    max_cyclomatic: int = 30
    min_arguments: int = 1
    max_literal_share: float = Field(0.35, description="literals per token; more is a data table")
    min_docstring_words: int = 5
    min_docstring_ascii: float = 0.8
    min_docstring_english: float = 0.55
    min_docstring_sufficiency: float = Field(0.2, description="estimate; see builders/checks/docstrings.py")
    min_docstring_score: float = Field(
        5.0, ge=0, le=9, description="mean digit of the docstring_judge, if there is one"
    )
    max_undefined_names: int = 0
    infer_imports: bool = Field(True, description="names such as np and re count as known; else as undefined")
    max_type_errors: int | None = Field(
        0, description="of snippets without undefined names; null: type errors do not matter"
    )
    include_methods: bool = Field(False, description="methods need their class: off by default")
    licenses: tuple[str, ...] = Field(
        (), description="allow-list; a text needs all licences of one of its choices. Empty allows all"
    )
    banned_imports: tuple[str, ...] = ("argparse", "os", "subprocess", "sys", "setuptools", "distutils", "matplotlib")
    test_paths: str = Field(
        r"(^|/)(tests?|testsuite|examples?|demos?|docs?|tutorials?|benchmarks?)/|(^|/)(test_[^/]*|[^/]*_tests?|conftest)\.py$",
        description="regular expression; a snippet that was found in such files alone is a test or an example. '' is none",
    )
    generated_paths: str = Field(
        r"_pb2(_grpc)?\.py$|(^|[/_.])(auto)?generated([/_.]|$)",
        description="likewise for files that a program wrote. '' is none",
    )

    @field_validator("test_paths", "generated_paths")
    @classmethod
    def _is_an_expression(cls, value: str) -> str:
        try:
            pc.match_substring_regex(pa.array([""]), value)  # RE2, as DuckDB's
        except pa.ArrowInvalid as error:
            raise ValueError(f"{error} (RE2: no look-around)") from None
        return value


class DocstringJudge(Settings):
    """A model that says whether a docstring suffices to write its function again; asked last, of what would be the pool."""

    model: str
    revision: str | None = None
    prompt: Annotated[str, filled_as("docstring-judge")] = "docstring-judge"
    engine: EngineSettings = TransformersSettings()
