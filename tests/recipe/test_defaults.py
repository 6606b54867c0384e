"""Defaults agree: the smallest recipes are valid and have a plan, with any section left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import scoder
from builders.recipe import Recipe, contexts, estimate, fitting, sharing, unnamed
from builders.recipe.files import checked, recall, remember
from builders.recipe.planned import grounds
from store import Store
from store.errors import InputError, SettingError
from store.refusals import together

SOURCE = {"name": "code", "kind": "stdlib"}
POOL = {"name": "mine", "sources": [SOURCE]}
MODELS = {"synthesizer": {"model": "a/model"}, "coder": {"model": "a/model"}}
OFF = {"enable_thinking": False}
SECTIONS = [name for name, field in Recipe.model_fields.items() if not field.is_required()]


def stages(made: Recipe) -> list[str]:
    return list(dict.fromkeys(step.stage for step in estimate.plan(made)))


def assert_planned(made: Recipe, wanted: list[str]) -> None:
    """The recipe has a plan of these stages, and nothing of it refuses another part."""
    assert stages(made) == wanted
    contexts.check(made, wanted)
    sharing.check(made, wanted)
    fitting.check(made, wanted, [])
    unnamed.check(made, wanted)


@pytest.mark.parametrize(
    "source",
    [
        SOURCE,
        {"name": "code", "kind": "packages"},
        *({"name": "code", "kind": kind, "path": "here"} for kind in ("tree", "archive", "jsonl", "parquet")),
        {"name": "code", "kind": "hub", "dataset": "a/set"},
    ],
    ids=lambda s: s["kind"],
)
def test_the_smallest_recipe_of_a_source_is_valid_and_has_a_plan(source: dict[str, Any]) -> None:
    whole = checked(Recipe, {"name": "mine", "sources": [source], **MODELS})
    assert_planned(whole, list(scoder.stages(whole)))
    assert_planned(checked(Recipe, {"name": "mine", "sources": [source]}), ["pool", "teacher"])


@pytest.mark.parametrize("given", [{}, {"training": {}}, {"training": {"epochs": 1, "lora": None}}])
@pytest.mark.parametrize("sampled", [1, 4, 7])
def test_a_training_saves_as_many_checkpoints_as_write(given: dict[str, Any], sampled: int) -> None:
    raw = POOL | MODELS | {"synthesizer": {"model": "a/model"} | given, "sampling": {"checkpoints": sampled}}
    made = checked(Recipe, raw)
    assert made.synthesizer.training.num_checkpoints == sampled
    assert (
        checked(Recipe, POOL | MODELS).synthesizer.training.num_checkpoints == made.sampling.checkpoints or sampled != 4
    )
    assert checked(Recipe, made.model_dump(mode="json")) == made


def test_a_number_of_checkpoints_that_is_given_is_kept_or_refused() -> None:
    def training(number: int) -> dict[str, Any]:
        return POOL | MODELS | {"synthesizer": {"model": "a", "training": {"num_checkpoints": number}}}

    assert checked(Recipe, training(9)).synthesizer.training.num_checkpoints == 9
    with pytest.raises(InputError, match=r"sampling.checkpoints is 4, .*\.num_checkpoints=1: make the two fit"):
        checked(Recipe, training(1))


@pytest.mark.parametrize("section", SECTIONS)
def test_each_section_may_be_left_out(section: str) -> None:
    """The other sections say as little as they may."""
    lists = {"benchmarks": [], "docstring_judge": None, "seed": 0, "iterations": 1, "selection_name": "default"}
    raw = POOL | {name: lists.get(name, {}) for name in SECTIONS} | MODELS
    del raw[section]
    wanted = ["pool", "teacher"]
    if section != "synthesizer":
        wanted += (
            ["scorer", "bootstrap", "iteration-1"] + ["iteration-2"] * (section == "iterations") + ["instructions"]
        )
        wanted += ["coder", "evaluation"] * (section != "coder")
    assert_planned(checked(Recipe, raw), wanted)


def test_a_scorer_reads_the_form_of_the_synthesizer_whose_model_it_is() -> None:
    synthesizer = {"model": "a/model", "template_arguments": OFF}
    made = checked(Recipe, POOL | MODELS | {"synthesizer": synthesizer})
    assert made.scorer.template_arguments == OFF
    other = checked(Recipe, POOL | MODELS | {"synthesizer": synthesizer, "scorer": {"model": "b/model"}})
    assert other.scorer.template_arguments == {}
    assert checked(Recipe, made.model_dump(mode="json")) == made


@pytest.mark.parametrize(
    ("sections", "first", "text"),
    [
        (
            {},
            "scorer",
            "synthesizer.model is not set, and the run needs it from stage scorer on; coder.model is not set",
        ),
        (
            {"scorer": {"model": "a"}},
            "bootstrap",
            "synthesizer.model is not set, and the run needs it from stage bootstrap",
        ),
        (
            {"synthesizer": {"model": "a"}},
            "coder",
            "coder.model is not set, and the run needs it from stage coder on: set",
        ),
    ],
)
def test_a_run_without_a_model_ends_before_the_stage_that_needs_it(
    tmp_path: Path, sections: dict[str, Any], first: str, text: str
) -> None:
    made, store = checked(Recipe, POOL | sections), Store(tmp_path)
    before = list(scoder.stages(made))[: list(scoder.stages(made)).index(first)]
    assert stages(made) == before
    assert scoder.refusals(store, made, before[-1], []) == []
    with pytest.raises(InputError, match=f"--until {before[-1]}") as caught:
        raise together(scoder.refusals(store, made, None, []))
    assert text in str(caught.value) and not isinstance(caught.value, SettingError)
    with pytest.raises(SettingError, match=r"(synthesizer|coder)\.model is not set"):
        _ = made.coder.base if first == "coder" else made.synthesizer.base
    assert any(f"the plan ends before {first}" in line for line in grounds(made, []))
    remember(str(tmp_path), made)
    assert recall(str(tmp_path)) == made
