"""The superior samples of recipes/teacher-samples.jsonl: whole, right, and clean of benchmarks."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from builders import sandbox
from builders.executors.cpus import usable_cpus
from builders.pairs import examples, render
from builders.recipe import Benchmark
from builders.standalone import contamination
from tests.benchmark_rows import DATA, needs_data

FILE = Path(__file__).parents[2] / "recipes" / "teacher-samples.jsonl"
ROWS = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
BY_ID = {row["id"]: row for row in ROWS}
FIELDS = [
    "id",
    "topic",
    "difficulty",
    "source",
    "license",
    "license_of_sample",
    "snippet",
    "problem",
    "solution",
    "tests",
]
BENCHMARKS = [
    "human-eval/HumanEval.jsonl.gz",
    "humaneval-plus/HumanEvalPlus.jsonl.gz",
    "mbpp/mbpp.jsonl",
    "mbpp/mbpp_test.jsonl",
    "mbpp-plus/MbppPlus.jsonl.gz",
    "bigcodebench-hard/bigcodebench_hard.json",
    "livecodebench/o1-mini_eval_all.json",
    "leetcode/LeetCodeDataset-v0.1.0-train.jsonl.gz",
    "cruxeval/cruxeval.jsonl",
]
in_sandbox = pytest.mark.skipif(not sandbox.is_available(), reason="no bubblewrap sandbox can be started here")


def test_there_are_enough_samples_and_each_has_all_fields_in_their_order() -> None:
    assert len(ROWS) >= 120
    assert [row["id"] for row in ROWS] == sorted(BY_ID)
    for row in ROWS:
        assert list(row) == FIELDS, row["id"]
        assert all(isinstance(value, str) and value.strip() for value in row.values()), row["id"]
        assert (row["license"], row["license_of_sample"]) == ("PSF-2.0", "Apache-2.0"), row["id"]
        assert row["difficulty"] in ("easy", "medium", "hard"), row["id"]


@pytest.mark.parametrize("field", ["id", "source", "snippet", "problem", "solution", "tests"])
def test_no_two_samples_share_a_text(field: str) -> None:
    texts = [row[field] for row in ROWS]
    assert sorted({text for text in texts if texts.count(text) > 1}) == []


def test_topics_and_difficulties_are_varied() -> None:
    topics, levels = [row["topic"] for row in ROWS], [row["difficulty"] for row in ROWS]
    assert len(set(topics)) == 20 and all(5 <= topics.count(topic) <= 8 for topic in topics)
    assert all(levels.count(level) >= 0.15 * len(ROWS) for level in ("easy", "medium", "hard"))


def test_a_problem_does_not_quote_the_snippet_and_has_the_form_of_training() -> None:
    for row in ROWS:
        render(row["problem"], row["solution"])
        assert "```" not in row["problem"] and not re.search(r"^###", row["problem"], re.MULTILINE), row["id"]
        assert row["snippet"] not in row["problem"] and row["snippet"] not in row["solution"], row["id"]
        first = inspect.cleandoc(_docstring(row["snippet"])).split("\n")[0]
        assert len(first.split()) < 4 or first not in row["problem"], row["id"]


def _docstring(snippet: str) -> str:
    found = re.search(r'r?("""|\'\'\')(.*?)\1', snippet, re.DOTALL)
    return found.group(2) if found else ""


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the snippets are those of Python 3.11")
@pytest.mark.parametrize("name", BY_ID)
def test_a_snippet_is_the_text_of_the_standard_library(name: str) -> None:
    row = BY_ID[name]
    assert row["snippet"] in _texts(row["source"])


def _texts(source: str) -> list[str]:
    """The functions of a dotted name, as they stand in the file of their module."""
    parts = source.split(".")
    length = next(n for n in range(len(parts) - 1, 0, -1) if _spec(".".join(parts[:n])) is not None)
    text = Path(_spec(".".join(parts[:length])).origin).read_text(encoding="utf-8")
    nodes = [ast.parse(text)]
    for name in parts[length:]:
        nodes = [n for node in nodes for n in ast.walk(node) if getattr(n, "name", None) == name and n is not node]
    lines = text.splitlines()
    spans = [(min([n.lineno, *(d.lineno for d in n.decorator_list)]) - 1, n.end_lineno) for n in nodes]
    return [textwrap.dedent("\n".join(lines[start:end])) for start, end in spans]


def _spec(module: str) -> Any:
    try:
        return importlib.util.find_spec(module)
    except ModuleNotFoundError:  # its parent is a module, not a package
        return None


@in_sandbox
def test_every_solution_passes_its_tests_and_its_examples() -> None:
    programs = [((row["id"], "tests"), sandbox.tested_program(row["solution"], row["tests"])) for row in ROWS]
    for row in ROWS:
        shown = examples.program(row["problem"], row["solution"])
        assert shown is not None, f"{row['id']} has no example"
        programs.append(((row["id"], "examples"), shown))
    results = dict(sandbox.run_many(programs, workers=usable_cpus()))
    assert len(results) == 2 * len(ROWS)
    assert {name: r.stderr[-500:] for name, r in results.items() if r.status != "passed"} == {}


@in_sandbox
def test_the_tests_fail_for_a_solution_that_does_nothing() -> None:
    nothing = "def __getattr__(name): raise AttributeError(name)\n"
    programs = [(row["id"], sandbox.tested_program(nothing, row["tests"])) for row in ROWS]
    passed = [name for name, result in sandbox.run_many(programs, workers=usable_cpus()) if result.status == "passed"]
    assert passed == []


def found_in(benchmarks: list[Path], columns: list[str], folder: Path) -> list[str]:
    """The ids of the samples that a benchmark is found in."""
    import polars

    verdicts = str(folder / "verdicts.parquet")
    asked = [Benchmark(name=path.name.split(".")[0].lower(), path=str(path)) for path in benchmarks]
    contamination.check(
        contamination.Request(Benchmark(name="samples", path=str(FILE)), asked, columns=columns, verdicts=verdicts)
    )
    found = polars.read_parquet(verdicts)
    assert len(found) == len(ROWS)
    return found.filter("is_contaminated")["item_id"].to_list()


def test_the_samples_and_their_snippets_are_clean_of_the_demo_benchmark(tmp_path: Path) -> None:
    assert found_in([FILE.with_name("demo-benchmark.jsonl")], ["snippet", "problem", "solution"], tmp_path) == []


@needs_data
def test_the_samples_and_their_snippets_are_clean_of_the_public_benchmarks(tmp_path: Path) -> None:
    there = [DATA / name for name in BENCHMARKS if (DATA / name).is_file()]
    assert there
    assert found_in(there, ["snippet", "problem", "solution"], tmp_path) == []
