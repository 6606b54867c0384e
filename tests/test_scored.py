"""scored and its rejects: made of the partitions that their plans name, and of no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders import rejects, scored
from store import ASPECTS, CODE_ASPECTS, Store
from tests.rows import Row, put
from tests.tiny_recipes import read

EVERY = (*ASPECTS, *CODE_ASPECTS)


def scores(item: str, digit: int) -> list[Row]:
    same = {"item_id": item, "item_kind": "candidate", "scorer": "k1", "score": digit, "expected": digit - 0.25}
    return [{**same, "aspect": aspect} for aspect in EVERY]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """c1 is scored in iteration 1, c2 could not be. Iteration 2 holds false rows of both."""
    found = Store(tmp_path)
    base = {"iteration": 1, "snippet_id": "s1", "parse_status": "ok"}
    put(found, "candidates", [base | {"candidate_id": c} for c in ("c1", "c2")], iteration=1)
    put(found, "aspect_scores", scores("c1", 5), item_kind="candidate", iteration=1)
    put(found, "aspect_scores", scores("c1", 9) + scores("c2", 9), item_kind="candidate", iteration=2)
    weights = [{"weights": "default", "iteration": 1, "aspect": a, "weight": 1 / 8} for a in EVERY]
    put(found, "aspect_weights", weights, iteration=1, weights="default")
    put(found, "scored", [{"candidate_id": "c2", "iteration": 2, "snippet_id": "s1"}], iteration=2)
    return found


def test_digits_and_expected_digits_stand_side_by_side(store: Store) -> None:
    scored.build(store, 1)
    (row,) = read(store, "scored", iteration=1)
    assert (row["candidate_id"], row["score"], row["expected_score"]) == ("c1", 5.0, 4.75)
    assert {row[a] for a in EVERY} == {5} and {row[f"{a}_expected"] for a in EVERY} == {4.75}


def test_rejects_see_what_their_plan_names(store: Store) -> None:
    scored.build(store, 1)
    both = store.input("candidates", iteration=1) | store.input("scored", iteration=1)
    rejects.build(store, "scored", both, {"iteration": 1}, iteration=1)
    found = [(r["item_id"], r["reason"]) for r in read(store, "rejects", stage="scored", iteration=1)]
    assert found == [("c2", "not_scored")]
