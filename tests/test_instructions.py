"""instructions: the plan names all that is read, and says whose snippets were trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import pytest

from builders import instructions
from builders.publishing import sets
from store import Store
from tests.queries.test_instruction_verdicts import filled
from tests.rows import put
from tests.tiny_recipes import read, recipe


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Pairs of three snippets in the final generation; s1 and s2 were trained on, in 1 and 2."""
    found = filled(Store(tmp_path / "store"), [("a", "s1", 9.0), ("b", "s2", 8.0), ("c", "s3", 7.0)])
    for iteration, snippet in ((1, "s1"), (2, "s2")):
        row = {"candidate_id": f"of {snippet}", "snippet_id": snippet, "iteration": iteration, "selection": "default"}
        put(found, "selected", [row], iteration=iteration, selection="default")
    other = {"candidate_id": "of s3", "snippet_id": "s3", "iteration": 2, "selection": "wide"}
    put(found, "selected", [other], iteration=2, selection="wide")
    return found


def trained_on(store: Store, tmp_path: Path, **synthesizer: Any) -> list[str]:
    """The snippets that are marked, for a synthesizer of two iterations."""
    found = recipe(tmp_path, synthesizer={"model": "none", **synthesizer}, iterations=2)
    instructions.build(Store(store.root, force=True), found)
    return [r["snippet_id"] for r in read(store, "instructions") if r["is_snippet_trained_on"]]


def test_snippets_that_the_last_synthesizer_was_trained_on_are_marked(store: Store, tmp_path: Path) -> None:
    assert trained_on(store, tmp_path) == ["s2"], "from the base model, on the last selection alone"
    assert trained_on(store, tmp_path, accumulate=True) == ["s1", "s2"]
    assert trained_on(store, tmp_path, train_from="previous") == ["s1", "s2"]


def test_the_selections_are_inputs_of_the_plan(store: Store, tmp_path: Path) -> None:
    trained_on(store, tmp_path, accumulate=True)
    of_table, of_rejects = store.record("instructions"), store.record("rejects", stage="instructions")
    for record, own in ((of_table, []), (of_rejects, ["instructions"])):
        assert record is not None and sorted(record.plan.inputs) == [
            "candidates/iteration-3",
            *own,
            "raw_pool",
            "scored/iteration-3",
            "selected/iteration-1/selection-default",
            "selected/iteration-2/selection-default",
        ]


def test_a_benchmark_that_left_the_recipe_leaves_no_trace(store: Store, tmp_path: Path) -> None:
    hit = {"item_id": "a", "item_kind": "candidate", "strength": 1.0}
    put(store, "contamination", [hit], item_kind="candidate", iteration=3, benchmark="dropped")
    instructions.build(store, recipe(tmp_path, iterations=2))
    assert [r["candidate_id"] for r in read(store, "instructions")] == ["a", "b", "c"]


def test_the_published_dataset_has_the_mark_and_its_card_explains_it(store: Store, tmp_path: Path) -> None:
    trained_on(store, tmp_path)
    sets.instructions(store, "test", str(tmp_path / "out"))
    found = datasets.load_dataset(str(tmp_path / "out"), split="train")
    assert dict(zip(found["candidate_id"], found["is_snippet_trained_on"], strict=True)) == {
        "a": False,
        "b": True,
        "c": False,
    }
    card = Path(tmp_path, "out", "README.md").read_text()
    assert "is_snippet_trained_on" in card and "trained on another pair of the same snippet" in card
