"""Benchmarks as they are written on the command line, for all commands that read some.

In: texts such as `humaneval=HumanEval.jsonl.gz`. Out: what the recipe calls a benchmark.

    named(["openai/openai_humaneval"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from builders.recipe import Benchmark

BENCHMARK = "Benchmark: [NAME=]FILE or [NAME=]HUB_ID[:CONFIG][@SPLIT]; repeat for several."


def named(given: list[str], since: str | None = None, until: str | None = None) -> list[Benchmark]:
    """The benchmarks, of contests in a window. MissingError, before any work, for no file."""
    from builders.benchmarks import check, named
    from builders.recipe import Benchmark, files

    dates = {name: day for name, day in (("contest_from", since), ("contest_until", until)) if day}
    found = [named(text) for text in given]
    for benchmark in found:
        check(benchmark)
    return [files.checked(Benchmark, b.model_dump() | dates) for b in found] if dates else found
