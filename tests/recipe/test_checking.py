"""What decontamination by execution and by meaning costs, in the plan of a run."""

from __future__ import annotations

from typing import Any

import pytest

import scoder
from builders.recipe import checking, estimate, planned
from builders.recipe.checking import ANSWERS, Costs
from tests.tiny_recipes import recipe

BENCHMARKS = [{"name": "one", "path": "one.jsonl"}, {"name": "two", "path": "two.jsonl"}]
SIZES = {
    "benchmarks": BENCHMARKS,
    "iterations": 2,
    "teacher": {"num_snippets": 40},
    "synthesizer": {"model": "m", "training": {"num_checkpoints": 3}},
    "sampling": {"checkpoints": 3, "samples_per_checkpoint": 2, "snippets_per_iteration": 50, "base_snippets": 9},
    "final": {"max_snippets": 100, "samples": 2},
}
TEXTS = {"teacher": 40, "bootstrap": 0, "iteration-1": 300, "iteration-2": 300, "instructions": 200}


def hours_by_stage(made: Any) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for row in planned.rows(made, [])[:-1]:
        left = found.get(row["stage"], 0.0)
        found[row["stage"]] = None if left is None or row["cpu_hours"] is None else left + row["cpu_hours"]
    return found


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ({"execution": True}, ANSWERS.run_s),
        ({"meaning": {"model": "m"}}, ANSWERS.read_share * ANSWERS.read_s),
        ({"execution": True, "meaning": {"model": "m"}}, ANSWERS.run_s + ANSWERS.read_share * ANSWERS.read_s),
    ],
)
def test_hours_are_texts_times_benchmarks_times_measured_seconds(tmp_path, settings, seconds):
    made = recipe(tmp_path, **SIZES, decontamination=settings)
    found = hours_by_stage(made)
    assert found["pool"] is None, "nobody knows the number of functions"
    for stage, texts in TEXTS.items():
        assert found[stage] == pytest.approx(texts * 2 * seconds / 3600), stage
    total = planned.rows(made, [])[-1]
    assert total["cpu_hours"] is None
    assert total["known_cpu_hours"] == pytest.approx(840 * 2 * seconds / 3600)


def test_the_figures_of_one_recipe(tmp_path):
    """As measured: 6.5 ms to run an answer, and 66 ms to read 19% of them, for two benchmarks."""
    made = recipe(tmp_path, **SIZES, decontamination={"execution": True, "meaning": {"model": "m"}})
    assert hours_by_stage(made)["iteration-1"] == pytest.approx(300 * 2 * (0.0065 + 0.19 * 0.066) / 3600)
    assert planned.rows(made, [])[-1]["known_cpu_hours"] == pytest.approx(0.0088853, rel=1e-4)


def test_neither_costs_nothing_and_is_not_told(tmp_path):
    made = recipe(tmp_path, **SIZES)
    assert set(hours_by_stage(made).values()) == {0.0}
    alone = recipe(tmp_path, **SIZES | {"benchmarks": []}, decontamination={"execution": True})
    assert set(hours_by_stage(alone).values()) == {0.0}, "there is nothing to compare with"
    for one in (made, alone):
        assert not [line for line in planned.grounds(one, []) if line.startswith("decontamination.")]
        assert "also by" not in estimate.plan(one)[0].what


def test_the_plan_says_what_its_figures_rest_on(tmp_path, monkeypatch):
    monkeypatch.setattr(checking, "ANSWERS", Costs(run_s=0.5, read_share=0.1, read_s=0.04))
    monkeypatch.setattr(checking, "FUNCTIONS", Costs(run_s=0.25, read_share=0.02, read_s=0.02))
    made = recipe(tmp_path, **SIZES, decontamination={"execution": True, "meaning": {"model": "mini"}})
    assert estimate.plan(made)[0].what.endswith("one, two, also by execution and by meaning")
    run, read = [line for line in planned.grounds(made, []) if line.startswith("decontamination.")]
    assert "840 texts" in run and "2 benchmarks: 0.23 hours of one core" in run
    assert "14 for every 100,000 functions" in run and "0.5 s of a core per text" in run
    assert "10% for each of 2 benchmarks" in read and "mini" in read and "0.0019 hours of one core" in read
    assert "0.022 for every 100,000" in read and "40 ms" in read and "there is no GPU" in read
    (seen,) = [line for line in planned.grounds(made, [80.0]) if line.startswith("decontamination.meaning")]
    assert "on a GPU it was not measured" in seen


def test_a_whole_pool_is_unknown(tmp_path):
    made = recipe(tmp_path, **SIZES | {"final": {"max_snippets": None}}, decontamination={"execution": True})
    assert hours_by_stage(made)["instructions"] is None
    (line,) = [line for line in planned.grounds(made, []) if line.startswith("decontamination.")]
    assert "640 texts (the teacher's samples and candidates, without the rest of the pool)" in line


def test_a_run_to_the_pool_shows_the_pool_alone(tmp_path):
    made = recipe(tmp_path, **SIZES, decontamination={"execution": True, "meaning": {"model": "m"}})
    wanted = scoder.stages_until(made, "pool")
    assert [row["stage"] for row in planned.rows(made, [], wanted)] == ["pool", "total"]
    run, read = [line for line in planned.grounds(made, [], wanted) if line.startswith("decontamination.")]
    assert "all functions of the sources are run" in run and "teacher" not in run + read
    assert ": 0.67 hours of one core for every 100,000 functions" in run
