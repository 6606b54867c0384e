"""The tables of docs/scaling.md and the comments of the recipes have the numbers of the plan."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from builders.recipe import files, planned

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()
ROWS = {
    "docstring judge (vLLM)": ("pool", "docstring_judge.engine"),
    "scorer, 8 × 6,144 tokens": ("scorer", "scorer.training"),
    "synthesizer, 8 × 4,096": ("bootstrap", "synthesizer.training"),
    "sampling, 4 adapters": ("iteration-1", "synthesizer.engine"),
    "scoring": ("iteration-1", "scorer.engine"),
    "gradients, the fullest batch": ("iteration-1", "influence.gradients"),
    "coder, all weights, 4 × 2,048": ("coder", "coder.training"),
    "evaluation": ("evaluation", "evaluation.engine"),
}
"""What the page calls a step of the plan. The final generation has two steps in one line."""


def rows_of(name: str, number: int = 1) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["stage"], row["field"]): row for row in planned.rows(files.load(name), [80.0] * number)}


def cells(title: str) -> list[str]:
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {title} |")]
    return [cell.strip() for cell in line.strip("| ").split("|")][1:]


@pytest.mark.parametrize("title", ROWS)
def test_what_each_stage_needs_is_what_the_plan_says(title: str) -> None:
    row, eight = rows_of("qwen2.5-coder-7b")[ROWS[title]], rows_of("qwen2.5-coder-7b", 8)[ROWS[title]]
    *parts, taken, one, many = cells(title)
    keys = ("weights_gb", "states_gb", "activations_gb", "cache_gb")
    assert parts == [f"{row[key]:.1f}" if row[key] else "0" for key in keys]
    assert taken.split(";")[0] == f"{row['gpu_gb']:.1f}"
    assert ";" not in taken or f" {eight['gpu_gb']:.1f} on each of 8" in taken
    if row["hours"] is None:
        assert (one, many) == ("unknown", "unknown")
        return
    for cell, hours in ((one, row["hours"]), (many, eight["hours"])):
        told = float(re.match(r"[\d.]+", cell)[0])  # type: ignore[index] # each begins with a number
        assert told == pytest.approx(hours, abs=0.05 if hours > 1 else 0.005)


def test_the_hours_of_all_stages_stand_on_the_page() -> None:
    totals = [planned.rows(files.load("qwen2.5-coder-7b"), [80.0] * n)[-1]["known_hours"] for n in (1, 8)]
    assert f"{totals[0]:.1f} hours on one GPU and {totals[1]:.1f} on eight" in PAGE


@pytest.mark.parametrize("name", ["qwen2.5-coder-7b", "qwen2.5-coder-14b", "llama-3.1-8b"])
def test_comments_of_the_recipes_have_the_numbers_of_the_plan(name: str) -> None:
    found, text = rows_of(name), (files.SHIPPED / f"{name}.yaml").read_text()
    sampling, coder = found["iteration-1", "synthesizer.engine"], found["coder", "coder.training"]
    assert f"{found['pool', 'docstring_judge.engine']['weights_gb']:.1f} GB are weights" in text
    assert f"# {sampling['cache_gb']:.0f} GB of cache hold" in text
    assert f"# {found['bootstrap', 'synthesizer.training']['gpu_gb']:.0f} GB." in text
    assert f"takes {found['scorer', 'scorer.training']['gpu_gb']:.0f} GB." in text
    assert f"# {coder['gpu_gb']:.0f} GB. All weights" in text
    assert f"takes {rows_of(name, 8)['coder', 'coder.training']['gpu_gb']:.0f} GB of each" in text
