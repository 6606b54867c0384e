"""Benchmarks as they are written on the command line, for all commands that read some.

In: texts such as `humaneval=HumanEval.jsonl.gz`. Out: what the recipe calls a benchmark. Mistakes
are told with the names of options, not with those of a recipe's keys.

    named(["openai/openai_humaneval"])
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from store.errors import InputError

if TYPE_CHECKING:
    from builders.recipe import Benchmark

BENCHMARK = "Benchmark: [NAME=]FILE or [NAME=]HUB_ID[:CONFIG][@SPLIT]; repeat for several."

OPTIONS = {
    "contest_from": "--from",
    "contest_until": "--until",
    "num_samples": "--samples",
    "max_tokens": "--max-tokens",
    "top_p": "--top-p",
    "max_error_share": "--max-error-share",
    "memory_mb": "--memory-mb",
    "wall_s": "--wall-s",
    "workers": "--workers",
}
"""The options that stand for keys of a recipe."""


@contextmanager
def in_options() -> Iterator[None]:
    """What is wrong with a recipe's key is told of the option.

    An InputError `contest_from: Input should be …` becomes `--from: Input should be …`.
    """
    try:
        yield
    except InputError as error:
        told = re.sub(rf"(?<![\w.=])(?:grading\.)?({'|'.join(OPTIONS)})\b", lambda found: OPTIONS[found[1]], str(error))
        raise InputError(told.removeprefix("evaluation: ")) from None


def named(given: list[str], since: str | None = None, until: str | None = None) -> list[Benchmark]:
    """The benchmarks, of contests in a window. MissingError, before any work, for no file."""
    from builders.benchmarks import check, named
    from builders.recipe import Benchmark, files

    dates = {name: day for name, day in (("contest_from", since), ("contest_until", until)) if day}
    found = [named(text) for text in given]
    for benchmark in found:
        check(benchmark)
    names = [benchmark.name for benchmark in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"two benchmarks are called {', '.join(twice)}: write NAME=FILE to tell them apart")
    with in_options():
        if since and until and since > until:
            raise InputError(f"contest_from {since} is after contest_until {until}: no contest lies in between")
        return [files.checked(Benchmark, b.model_dump() | dates) for b in found] if dates else found
