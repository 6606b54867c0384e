"""What a scorer learns from and is measured on: pairs with the digits that they deserve.

In: `teacher_samples`. If the recipe says `scorer.labels: teacher`, also the teacher's own scores in
`aspect_scores/item_kind-label`. Out: `Labelled` pairs: teacher pairs and corrupted copies of them.
`publishing.sets.scorer` makes the training set of them, and `metrics` the AUC.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import queries
from builders.engines import prompts
from builders.pairs.corruptions import Labelled, labelled
from builders.recipe import Scorer
from store import ASPECTS, Store, content_id
from store.catalog import connect

SEED_OFFSET = {"train": 0, "validation": 1}


def labels(
    store: Store, scorer: Scorer, seed: int, split: str, inputs: Mapping[str, str] | None = None
) -> list[Labelled]:
    """The pairs of a split with their digits: the teacher's if it was asked, else the corruption's.

    If the teacher left an aspect of a pair unanswered, the pair is left out. The pairs are read
    from the `inputs` of a plan.
    """
    pairs = corrupted(store, scorer, seed, split, inputs)
    if scorer.labels == "corruptions":
        return pairs
    digits: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for part in store.read("aspect_scores", ["item_id", "aspect", "score"], item_kind="label"):
        for row in part.to_pylist():
            digits[row["item_id"]][row["aspect"]] = row["score"]
    found = [(pair, digits[item_id(pair)]) for pair in pairs]
    return [replace(pair, labels=given) for pair, given in found if given.keys() == set(ASPECTS)]


def corrupted(
    store: Store, scorer: Scorer, seed: int, split: str, inputs: Mapping[str, str] | None = None
) -> list[Labelled]:
    """The pairs of a split and their corrupted copies, with the digits of the corruption.

    Every call gives the same.
    """
    pairs = queries.rows(connect(store, inputs), "scorer_pairs", {"split": split})
    return labelled(pairs, scorer.corruptions_per_sample, seed + SEED_OFFSET[split])


def inputs(store: Store, scorer: Scorer) -> dict[str, str]:
    """The inputs that the labels come from, for the plans of tables that read them."""
    given = store.input("teacher_samples")
    return given | store.input("aspect_scores", item_kind="label") if scorer.labels == "teacher" else given


def texts(scorer: Scorer) -> dict[str, str]:
    """The prompt and the query behind the pairs, for the plans of the same tables."""
    return prompts.versions(scorer.prompt) | queries.versions("scorer_pairs")


def item_id(pair: Labelled) -> str:
    """The key of a pair's scores: a hash of its texts."""
    return content_id("label", pair.code, pair.problem, pair.solution)
