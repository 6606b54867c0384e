"""`pool` and `docstring_judge`: what a function must be like to enter the clean pool."""

from __future__ import annotations

from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from builders.engines.settings import EngineSettings, TransformersSettings
from builders.recipe.settings import Settings, filled_as
from training.settings import TemplateArguments

PERMISSIVE = (
    "0BSD", "AFL-2.1", "AFL-3.0", "Apache-1.1", "Apache-2.0", "Artistic-2.0", "BlueOak-1.0.0", "BSD", "BSD-1-Clause",
    "BSD-2-Clause", "BSD-2-Clause-Patent", "BSD-3-Clause", "BSD-3-Clause-Clear", "BSD-Source-Code", "BSL-1.0",
    "bzip2-1.0.6", "CC0-1.0", "CNRI-Python", "ECL-2.0", "FSFAP", "FTL", "HPND", "ICU", "ISC", "libpng-2.0", "MIT", "MIT-0",
    "MIT-CMU", "MIT-Modern-Variant", "MulanPSL-2.0", "NCSA", "PostgreSQL", "PSF-2.0", "Public Domain", "Python-2.0",
    "Python-2.0.1", "Unicode-3.0", "Unicode-DFS-2016", "Unlicense", "UPL-1.0", "W3C", "WTFPL", "X11", "Zlib", "ZPL-2.0",
    "ZPL-2.1",
)  # fmt: skip
"""Licences that allow use and change in other works, also closed ones, for a notice at most: those
of the Blue Oak Council's list that occur in Python packages, those of Python itself, and
dedications to the public. "BSD" is one of the BSD licences where nobody says which. Copyleft of any
strength (GPL, LGPL, AGPL, MPL, EPL), non-commercial and proprietary terms are not among them, nor
is the advertising clause of BSD-4-Clause.
"""


class Pool(Settings):
    """The bounds that a function must keep to enter the clean pool.

    All of them are inclusive: a function with exactly `max_lines` lines passes. They are the
    thresholds of queries/pool_verdicts.sql, so a change of one costs seconds.
    """

    min_lines: int = Field(3, description="lines at least")
    max_lines: int = Field(150, description="lines at most")
    max_chars: int = Field(20_000, description="characters at most")
    min_tokens: int = Field(20, description="Python tokens at least")
    max_tokens: int = Field(2000, description="Python tokens at most")
    min_statements: int = Field(2, description="statements at least")
    max_cyclomatic: int = Field(30, description="cyclomatic complexity at most")
    min_arguments: int = Field(1, description="arguments at least")
    max_literal_share: float = Field(
        0.35, description="literals per token at most, 0 to 1; with more it is a data table"
    )
    min_docstring_words: int = Field(5, description="words of the docstring at least")
    min_docstring_ascii: float = Field(0.8, description="share of ASCII characters in the docstring at least, 0 to 1")
    min_docstring_english: float = Field(0.55, description="how English the docstring is at least, 0 to 1")
    min_docstring_sufficiency: float = Field(
        0.2,
        description="how far the docstring suffices to write the function again at least, 0 to 1; an "
        "estimate, see builders/checks/docstrings.py",
    )
    min_docstring_score: float = Field(
        5.0,
        ge=0,
        le=9,
        description="mean digit that the docstring_judge gives at least, 0 to 9; unused without a judge",
    )
    max_undefined_names: int = Field(0, description="names at most that are used and defined nowhere in the function")
    infer_imports: bool = Field(
        True,
        description="where a source has no files, take names such as np and re for imports; false: they "
        "count as undefined",
    )
    max_context_chars: int = Field(
        2000,
        ge=0,
        le=8000,
        description="characters of constants, functions and classes of its file that a function may need, "
        "at most; they are shown with it; 0: it must need none",
    )
    max_type_errors: int | None = Field(
        0,
        ge=0,
        description="type errors at most, in functions without undefined names; null: any number",
    )
    include_methods: bool = Field(False, description="take methods too; most of them make no sense without their class")
    licenses: tuple[str, ...] = Field(
        PERMISSIVE,
        description="licences that are allowed; where a file offers a choice, one choice must be "
        "allowed whole; the default are permissive ones (builders/recipe/pool.py names them); empty: "
        "all are allowed. Unknown licences: see keep_unknown_licenses of a source",
    )
    banned_imports: tuple[str, ...] = Field(
        ("argparse", "os", "subprocess", "sys", "setuptools", "distutils", "matplotlib"),
        description="modules that a function must not use; empty: none is banned",
    )
    max_repo_share: float = Field(
        0.2,
        gt=0,
        le=1,
        description="share of what passes all else that one repository may have; without repositories, one top-level "
        "folder of a source; 1: any",
    )
    max_topic_share: float = Field(
        0.2,
        gt=0,
        le=1,
        description="share of what is then left that one topic may have: the modules that functions use, or else a "
        "word of their docstrings; 1: any",
    )
    min_repos: int = Field(
        5, ge=1, description="repositories from which on the two shares are bounded; for topics, as many topics too"
    )
    test_paths: str = Field(
        r"(^|/)(tests?|testsuite|examples?|demos?|docs?|tutorials?|benchmarks?)/|(^|/)(test_[^/]*|[^/]*_tests?|conftest)\.py$",
        description="regular expression of paths; a function found only in such files is a test or an "
        "example and is left out; '': none",
    )
    generated_paths: str = Field(
        r"_pb2(_grpc)?\.py$|(^|[/_.])(auto)?generated([/_.]|$)",
        description="regular expression of paths; a function found only in such files was written by "
        "a program and is left out; '': none",
    )

    @field_validator("test_paths", "generated_paths")
    @classmethod
    def _is_an_expression(cls, value: str) -> str:
        try:
            pc.match_substring_regex(pa.array([""]), value)  # RE2, which DuckDB uses too
        except pa.ArrowInvalid as error:
            raise ValueError(f"{error} (the syntax is RE2, which has no look-around)") from None
        return value


class DocstringJudge(Settings):
    """A model that says whether a docstring suffices to write its function again.

    It costs most, so it is asked last: only about the functions that pass all other checks.
    """

    model: str = Field(description="model folder or Hub id of the judge")
    revision: str | None = Field(None, description="commit of the Hub model; null: the newest one")
    template_arguments: TemplateArguments = Field(
        default_factory=dict,
        description="arguments of the model's chat template, such as {enable_thinking: false}; empty: none",
    )
    prompt: Annotated[str, filled_as("docstring-judge")] = Field(
        "docstring-judge", description="prompt template that asks the judge"
    )
    engine: EngineSettings = Field(TransformersSettings(), description="the engine that runs the judge")
