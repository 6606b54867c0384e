"""What a scorer learns from and is measured on: pairs with the digits that they deserve.

In: clean `teacher_samples`. If the recipe says `scorer.labels: teacher`, also the teacher's own
scores in `aspect_scores/item_kind-label`. Out: `Labelled` pairs: teacher pairs and corrupted copies
of them. `publishing.sets.scorer` makes the training set of them, and `metrics` the AUC.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import queries
from builders import contamination, raw_pool
from builders.engines import prompts
from builders.pairs.corruptions import Labelled, labelled
from builders.recipe import Recipe
from store import ASPECTS, Store, content_id
from store.catalog import connect

SEED_OFFSET = {"train": 0, "validation": 1}


def labels(store: Store, recipe: Recipe, split: str) -> list[Labelled]:
    """The pairs of a split with their digits: the teacher's if it was asked, else the corruption's.

    If the teacher left an aspect of a pair unanswered, the pair is left out.
    """
    given = corrupted(store, recipe, split)
    if recipe.scorer.labels == "corruptions":
        return given
    digits: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for part in store.read("aspect_scores", ["item_id", "aspect", "score"], item_kind="label"):
        for row in part.to_pylist():
            digits[row["item_id"]][row["aspect"]] = row["score"]
    found = [(pair, digits[item_id(pair)]) for pair in given]
    return [replace(pair, labels=said) for pair, said in found if said.keys() == set(ASPECTS)]


def corrupted(store: Store, recipe: Recipe, split: str) -> list[Labelled]:
    """The pairs of a split and their corrupted copies, with the digits of the corruption.

    Every call gives the same.
    """
    seed = recipe.seed + SEED_OFFSET[split]
    return labelled(pairs(store, recipe, split), recipe.scorer.corruptions_per_sample, seed)


def pairs(store: Store, recipe: Recipe, split: str) -> list[dict[str, Any]]:
    """The teacher's clean pairs of a split, with code and licence."""
    values = {"split": split, "min_strength": recipe.decontamination.min_strength}
    return queries.rows(connect(store, pair_inputs(store, recipe)), "scorer_pairs", values)


def pair_inputs(store: Store, recipe: Recipe) -> dict[str, str]:
    """The inputs that the pairs come from."""
    found = store.input("teacher_samples") | raw_pool.inputs(store)
    return found | contamination.inputs(store, recipe.benchmarks, "teacher")


def fields(recipe: Recipe) -> dict[str, Any]:
    """What decides which pairs there are, for the plans of tables that read them."""
    return {
        "corruptions_per_sample": recipe.scorer.corruptions_per_sample,
        "min_strength": recipe.decontamination.min_strength,
        "seed": recipe.seed,
    }


def inputs(store: Store, recipe: Recipe) -> dict[str, str]:
    """The inputs that the labels come from, for the plans of tables that read them."""
    given = pair_inputs(store, recipe)
    return given | store.input("aspect_scores", item_kind="label") if recipe.scorer.labels == "teacher" else given


def texts(recipe: Recipe) -> dict[str, str]:
    """The prompt and the query behind the pairs, for the plans of the same tables."""
    return prompts.versions(recipe.scorer.prompt) | queries.versions("scorer_pairs")


def item_id(pair: Labelled) -> str:
    """The key of a pair's scores: a hash of its texts."""
    return content_id("label", pair.code, pair.problem, pair.solution)
