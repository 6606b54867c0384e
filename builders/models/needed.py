"""Whether the local models that a run needs are there, before any work.

In: a recipe, and the stages of a run. Out: nothing, or a MissingError that names the model, the
section of the recipe and the way on. Only what cannot be on the Hub is looked for here: a path, or
the name of a model that `scoder model` makes. An id of the Hub is asked for when it is needed.

    check(recipe, {"pool", "teacher", "scorer"}, asks_teacher=True)
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from builders.recipe import Recipe
from store.errors import MissingError

MADE = ("smollm2",)
"""The models that `scoder model` makes."""
_HUB_ID = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)?\Z")


def check(recipe: Recipe, stages: set[str], *, asks_teacher: bool) -> None:
    """MissingError if stages need local models that are not there: it names all of them.

    Without `asks_teacher` the teacher writes nothing, so its model is not needed.
    """
    said: dict[str, str] = {}
    for stage, field, model in _models(recipe, asks_teacher):
        if stage in stages and not Path(model).exists() and (way_on := _way_on(model)):
            places = "" if Path(model).is_absolute() else f" It was looked for beside the recipe and in {Path.cwd()}."
            said.setdefault(field, f"{field}: there is no folder {model}, and stage {stage} needs it.{places} {way_on}")
    if said:
        raise MissingError("\n".join(said.values()))


def _way_on(model: str) -> str | None:
    """What to do about a model that is not there. None if the Hub may have it."""
    name, may_be_on_hub = Path(model).name, _HUB_ID.match(model) is not None
    if name in MADE and (model == name or not may_be_on_hub):
        return f"To make it, run: {shlex.join(['scoder', 'model', name, model])}"
    return None if may_be_on_hub else "Check the path"


def _models(recipe: Recipe, asks_teacher: bool) -> Iterator[tuple[str, str, str]]:
    """(stage, field of the recipe, model) of the models that are loaded here, at no endpoint."""
    judge, teacher, scorer = recipe.docstring_judge, recipe.teacher, recipe.scorer
    if judge is not None and not judge.engine.is_endpoint:
        yield "pool", "docstring_judge.model", judge.model
    if (meaning := recipe.decontamination.meaning) is not None and recipe.benchmarks:
        yield "pool", "decontamination.meaning.model", meaning.model
    if asks_teacher and not teacher.is_offline and not teacher.engine_settings().is_endpoint:
        yield "teacher", "teacher.model", teacher.model
    if scorer.training is not None or not scorer.engine.is_endpoint:
        owner = "scorer" if scorer.model else "synthesizer"
        yield from _named("scorer", f"{owner}.model", scorer.model or recipe.synthesizer.model)
    yield from _named("bootstrap", "synthesizer.model", recipe.synthesizer.model)
    yield from _named("coder", "coder.model", recipe.coder.model)


def _named(stage: str, field: str, model: str | None) -> Iterator[tuple[str, str, str]]:
    """What lacks a name is refused by `builders.recipe.unnamed`."""
    if model is not None:
        yield stage, field, model
