"""Whether the engines that a run will open can be opened, before any work.

In: a store, its recipe, and the stages of a run. Out: nothing, or the error that the engine would
end with hours later: vLLM is not installed, or an endpoint has no key. An engine whose answers are
all in the store is not looked at.

    for check in checks(store, recipe, ["pool", "teacher"]):
        check()
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from builders.engines import forms
from builders.engines.settings import INSTALL_VLLM, EngineSettings, VllmSettings
from builders.recipe import Recipe
from store import Store
from store.errors import InputError, MissingLibraryError


class Opened(NamedTuple):
    """An engine, the stage that opens it first, and the last partition of its answers."""

    field: str
    stage: str
    last: str
    settings: EngineSettings


def checks(store: Store, recipe: Recipe, stages: Collection[str]) -> list[Callable[[], None]]:
    """Checks of the engines that these stages open.

    Each raises an InputError or a MissingLibraryError that names the fields of the recipe.
    """
    found = [o for o in _opened(recipe) if o.stage in stages and not _is_complete(store, o.last)]
    is_here = recipe.executor.gpu is None
    vllm = [o.field for o in found if is_here and isinstance(o.settings, VllmSettings)]
    return [partial(_check_vllm, vllm), *(partial(_check_key, o) for o in found)]


def _opened(recipe: Recipe) -> Iterator[Opened]:
    judge, teacher, scorer, final = recipe.docstring_judge, recipe.teacher, recipe.scorer, recipe.iterations + 1
    if judge is not None:
        yield Opened("docstring_judge.engine", "pool", "aspect_scores/item_kind-snippet", judge.engine)
    if not teacher.is_offline:
        yield Opened("teacher.engine", "teacher", "teacher_samples", teacher.engine_settings())
    scores = f"aspect_scores/item_kind-candidate/iteration-{final}"
    yield Opened("scorer.engine", "scorer", scores, scorer.engine)
    yield Opened("synthesizer.engine", "bootstrap", f"candidates/iteration-{final}", recipe.synthesizer.engine)
    for benchmark in recipe.benchmarks:
        if benchmark.evaluate:
            passes = f"metrics/name-pass_at_1-coder-{benchmark.name}"
            yield Opened("evaluation.engine", "evaluation", passes, recipe.evaluation.engine)


def _is_complete(store: Store, where: str) -> bool:
    record = store.at(where)
    return record is not None and record.status == "complete"


def _check_vllm(fields: Sequence[str]) -> None:
    if fields and importlib.util.find_spec("vllm") is None:
        named = f"{', '.join(fields)} {'is' if len(fields) == 1 else 'are'} vllm"
        raise MissingLibraryError(f"{named}, which is not installed: {INSTALL_VLLM}")


def _check_key(opened: Opened) -> None:
    try:
        forms.require_key(opened.settings)
    except InputError as error:
        raise InputError(f"{opened.field}: {error}") from None
