"""Contexts that can never work are refused, with a value that does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import scoder
from builders.engines import prompts
from builders.recipe import contexts, estimate, files
from builders.recipe.needs import Gpus, need_of
from store.errors import SettingError
from tests.smoke_run import scoder_here

SEVEN = "qwen2.5-coder-7b"


def said_of(name: str, *changes: str, stages: list[str] | None = None) -> str:
    made = files.load(name, list(changes))
    try:
        contexts.check(made, stages or scoder.stages(made))
    except SettingError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", sorted(path.stem for path in files.SHIPPED.glob("*.yaml")))
def test_our_recipes_work(name: str) -> None:
    assert said_of(name) == ""


@pytest.mark.parametrize(
    ("name", "change", "mend"),
    [
        (SEVEN, "sampling.max_tokens=5000", "sampling.max_tokens=2048"),
        (SEVEN, "sampling.max_tokens=4096", "sampling.max_tokens=2048"),
        (SEVEN, "evaluation.max_tokens=4096", "evaluation.max_tokens=2048"),
        ("smoke", "sampling.max_tokens=600", "sampling.max_tokens=256"),
        ("smoke", "synthesizer.engine.max_model_tokens=100", "sampling.max_tokens=50"),
        (SEVEN, "synthesizer.engine.max_model_tokens=40000", "synthesizer.engine.max_model_tokens=32768"),
    ],
)
def test_what_cannot_work_is_refused_and_its_mend_works(name: str, change: str, mend: str) -> None:
    said = said_of(name, change)
    assert change.split("=")[0] in said and f"set {mend}" in said
    assert said_of(name, change, mend) == ""


@pytest.mark.parametrize(
    ("field", "places"),
    [("synthesizer.training", 32768), ("coder.training", 16384), ("influence.gradients", 32768)],
)
def test_rows_longer_than_a_model_has_places_for_are_rejected_so_they_need_no_memory(field: str, places: int) -> None:
    """A training takes fewer tokens by itself, and rejects the rows that are longer."""
    needs = []
    for tokens in (places, 2 * places):
        made = files.load(SEVEN, [f"{field}.max_tokens={tokens}"])
        assert said_of(SEVEN, f"{field}.max_tokens={tokens}") == ""
        (work, *_) = [step.work for step in estimate.plan(made) if step.work is not None and step.work.field == field]
        needs.append(need_of(work, Gpus(1, 80e9, True)))
    assert needs[0] == needs[1]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ("scorer.engine.max_model_tokens=150", "scorer.engine.max_model_tokens"),
        ("docstring_judge.engine.max_model_tokens=60", "docstring_judge.engine.max_model_tokens"),
        ("synthesizer.training.max_tokens=50", "synthesizer.training.max_tokens"),
        ("scorer.training.max_tokens=100", "scorer.training.max_tokens"),
        ("influence.gradients.max_tokens=50", "influence.gradients.max_tokens"),
    ],
)
def test_words_of_a_prompt_that_fill_all_are_refused(change: str, field: str) -> None:
    said = said_of(SEVEN, change)
    assert field in said and len(said.splitlines()) == 1, said
    assert said_of(SEVEN, change.split("=")[0] + "=1700") == ""


def test_an_answer_just_fits_beside_the_words_of_its_prompt() -> None:
    """The least prompt: each word of the template, without its slots, and one token of text."""
    text = Path(prompts.__file__).with_name("synthesizer.txt").read_text()
    least = len(re.sub(r"{code}", " ", text).split()) + 1
    assert least > 70
    assert said_of(SEVEN, f"sampling.max_tokens={4096 - least}") == ""
    assert f"{least} at least" in said_of(SEVEN, f"sampling.max_tokens={4097 - least}")


def test_a_teacher_in_vllm_is_looked_at_and_one_at_an_endpoint_is_not() -> None:
    assert said_of(SEVEN, "teacher.max_tokens=100000") == ""
    local = "teacher={model: m, engine: {engine: vllm, max_model_tokens: 2048}}"
    assert "teacher.max_tokens is 2,048" in said_of(SEVEN, local)


def test_stages_that_are_not_run_are_not_looked_at() -> None:
    assert said_of(SEVEN, "evaluation.max_tokens=4096", stages=["pool", "teacher", "bootstrap"]) == ""


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("sampling.max_tokens=600", 2),
        ("synthesizer.engine={engine: vllm, max_model_tokens: 2048}", 2),
        ("benchmarks.0.path=data/none.jsonl", 0),
        ("synthesizer.training.devices=3", 2),
    ],
)
def test_a_plan_of_what_can_never_work_ends_with_2_and_says_all(tmp_path: Path, change: str, code: int) -> None:
    missing = ("--set", "benchmarks.0.path=data/none.jsonl")
    done = scoder_here("run", "smoke", "--dry-run", "--store", "s", "--set", change, *missing, folder=tmp_path)
    assert done.returncode == code, done.stdout + done.stderr
    assert "benchmark 'demo'" in done.stderr and (code == 0 or change.split(".")[0] in done.stderr)
