"""Tokens and hours follow the limits of the recipe, and the plan says what it takes for granted."""

from __future__ import annotations

from typing import Any

import pytest

from builders.recipe import files, planned
from commands import plans
from store import ASPECTS

SEVEN = "qwen2.5-coder-7b"


def rows_of(name: str, *changes: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["stage"], row["field"]): row for row in planned.rows(files.load(name, list(changes)), [80.0])}


def test_answers_are_no_longer_than_they_may_be() -> None:
    """160,000 candidates of 100 tokens; what is made of them is shorter as well."""
    free, bound = rows_of(SEVEN), rows_of(SEVEN, "sampling.max_tokens=100")
    sample = bound["iteration-1", "synthesizer.engine"]
    assert sample["tokens"] == 160_000 * (300 + 100)
    reading = 160_000 * 300 * 2 * 7.615487488e9 / (989e12 * 0.4) / 3600
    writing = 160_000 * 100 / (4000 * 7e9 / 7.615487488e9) / 3600
    assert sample["gpu_hours"] == pytest.approx(reading + writing, rel=1e-3)
    assert free["iteration-1", "synthesizer.engine"]["tokens"] == 160_000 * 900
    assert bound["iteration-1", "scorer.engine"]["tokens"] == 160_000 * (300 + 100 + 6 * 10)
    assert bound["iteration-1", "influence.gradients"]["tokens"] == 4 * (20_000 * 400 + 450 * 900)
    assert bound["iteration-1", "synthesizer.training"]["tokens"] == 3 * (2100 * 900 + 5000 * 400)
    assert bound["coder", "coder.training"]["tokens"] == 2 * 60_000 * 100


def test_rows_of_a_training_are_no_longer_than_it_takes() -> None:
    """Smoke trains on 29 of the 36 samples, in rows of 512 tokens at most."""
    found = rows_of("smoke")
    assert found["bootstrap", "synthesizer.training"]["tokens"] == 29 * min(300 + 600, 512) * 5
    assert found["coder", "coder.training"]["tokens"] == 16 * min(160, 512)
    scorer = found["scorer", "scorer.training"]
    assert scorer["tokens"] == int(scorer["rows"] * 768 * 0.25), "a question would have 1,110"
    gradients = found["iteration-1", "influence.gradients"]
    assert gradients["tokens"] == 2 * (10 * (300 + 160) + 3 * 512)


def test_a_teacher_writes_and_bills_no_more_than_it_may() -> None:
    asked = rows_of(SEVEN, "teacher.max_tokens=200")["teacher", "teacher.engine"]
    free = planned.rows(files.load(SEVEN, ["teacher.max_tokens=200"]), [80.0])[2]
    assert free["tokens"] == 3000 * (300 + 200) and free["cost_usd"] == pytest.approx(3000 * (750 + 2000) / 1e6)
    assert asked["field"] == "teacher.engine"


def grounds(*changes: str, gb: float = 80.0) -> str:
    return "\n".join(planned.grounds(files.load(SEVEN, list(changes)), [gb]))


def test_what_is_assumed_is_printed() -> None:
    said = grounds()
    assert "300 of a snippet, 600 of a pair" in said
    assert f"{(300 + 600 + len(ASPECTS) * 10) / len(ASPECTS):.0f} in the mean" in said and "1,110 each time" in said
    assert "100 of one that is written (sampling.max_tokens)" in grounds("sampling.max_tokens=100")
    assert "The start of engines and trainings" in said
    endpoint = "scorer.engine={engine: openai}"
    assert "1,110, as an endpoint bills each whole" in grounds(endpoint)


@pytest.mark.parametrize("number", [1, 8])
def test_the_hours_of_all_stages_are_added_up(number: int) -> None:
    *steps, total = planned.rows(files.load(SEVEN), [80.0] * number)
    said = plans.totals(steps, total)[0]
    hours = sum(row["gpu_hours"] or 0 for row in steps) / number
    assert f"which are {hours:.1f} hours, one stage after another, on {number} GPU" in said


def test_a_machine_that_is_said_to_have_no_gpu_is_told_as_such() -> None:
    said = grounds("machine.gpus=0")
    assert said.startswith("machine: the recipe names a machine without a GPU (machine.gpus=0)")
    assert "names none" not in said


def test_gradients_of_which_every_row_is_recomputed_say_so() -> None:
    said = grounds(gb=19.4)
    assert "every row is computed forward twice, which takes half as long again; the hours count it" in said
    assert "more than 0" not in said
