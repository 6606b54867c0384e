"""selected: decided once, from the partitions that the plan names; `fill` goes on where it was
killed, and leaves the selection alone that a model was trained on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scoder
from builders import influence, selected
from builders.gradients import features
from builders.recipe import Recipe
from builders.recipe.files import override
from builders.recipe.selection import Selection
from store import ASPECTS, CODE_ASPECTS, ContractError, Plan, Store
from store.errors import InputError
from tests.queries.test_selection_verdicts import filled
from tests.rows import Row, put, table
from tests.tiny_recipes import read, recipe

LINT: Row = {"weights": {"lint": 1.0}, "top_share": 1.0}
WHERE: dict[str, Any] = {"iteration": 1, "reference": "teacher"}


def chosen(tmp_path: Path, **selection: Any) -> Recipe:
    """A recipe of one iteration that keeps the cleanest code, and looks for benchmark b alone."""
    return recipe(tmp_path, selection=LINT | selection, benchmarks=[{"name": "b", "path": "none"}], iterations=1)


def put_influence(store: Store, found: Recipe, batch: str, **numbers: float) -> None:
    same = {**WHERE, "features": features(found), "batch": batch}
    rows = [{"candidate_id": c, "influence": n, **same} for c, n in numbers.items()]
    put(Store(store.root, force=True), "influence", rows, **WHERE, batch=batch)


def put_gradients(store: Store, found: Recipe, kind: str, batch: str, ids: str, rejected: str = "") -> None:
    """Gradients of items at the one checkpoint k0, and why others have none."""
    vector = np.array([0.6, 0.8], dtype=np.float16).tobytes()
    same = {"item_kind": kind, "checkpoint_id": "k0", "features": features(found), "gradient": vector, "norm": 1.0}
    plan = Plan(
        table="gradients",
        partition={"item_kind": kind, "iteration": 1, "batch": batch},
        fields={"features": features(found), "ids": ids},
        num_shards=1,
    )
    store.materialize(plan, lambda index: table("gradients", [{**same, "item_id": i} for i in ids]))
    of = {"iteration": 1, "stage": "gradients" if kind == "candidate" else "reference"}
    of |= {"selection": batch} if batch != "main" else {}
    why = [{**of, "item_kind": kind, "item_id": i, "reason": "too_long"} for i in rejected]
    put(store, "rejects", why, **of)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """a has influence, b and c have none yet, d scores low and has none either."""
    found = filled(
        Store(tmp_path / "store"), [("a", "A", 9, None), ("b", "B", 8, None), ("c", "C", 7, None), ("d", "D", 3, None)]
    )
    weights = [{"weights": "default", "iteration": 1, "aspect": a, "weight": 1 / 8} for a in (*ASPECTS, *CODE_ASPECTS)]
    put(found, "aspect_weights", weights, iteration=1, weights="default")
    put(
        found,
        "checkpoints",
        [{"checkpoint_id": "k0", "role": "synthesizer", "iteration": 0, "learning_rate": 1.0}],
        role="synthesizer",
        iteration=0,
    )
    put_gradients(found, chosen(tmp_path), "teacher", "main", "t")
    put_gradients(found, chosen(tmp_path), "candidate", "main", "a")
    influence.build(Store(found.root, force=True), chosen(tmp_path), 1)
    return found


def kept(store: Store, name: str) -> list[str]:
    return sorted(r["candidate_id"] for r in read(store, "selected", iteration=1, selection=name))


def batches(store: Store, name: str) -> list[str]:
    record = store.record("selected", iteration=1, selection=name)
    assert record is not None
    return record.plan.fields["batches"]


# -- one decision, from what the plan names --------------------------------------------------------


def test_another_plan_is_refused_before_the_decision_and_the_same_plan_needs_none(store: Store, tmp_path: Path) -> None:
    scoder.select(store, chosen(tmp_path), 1, "mine")
    for path in Path(store.root, "scored").rglob("*.parquet"):
        path.unlink()  # a decision would fail
    with pytest.raises(ContractError, match=r"(?s)was built under another plan.*fields\.min_score: 0\.0 -> 5\.0"):
        scoder.select(store, chosen(tmp_path, min_score=5.0), 1, "mine")
    scoder.select(store, chosen(tmp_path), 1, "mine")
    found = selected.written(store, 1, "mine")
    assert found.sql("SELECT candidate_id, reason FROM verdicts ORDER BY ALL").fetchall() == [
        ("a", None),
        ("b", "influence_missing"),
        ("c", "influence_missing"),
        ("d", "influence_missing"),
    ]


def test_kept_candidates_that_do_harm_are_said(store: Store, tmp_path: Path) -> None:
    said: list[str] = []
    put_influence(store, chosen(tmp_path), "main", a=-0.1, b=0.0, c=-0.2, d=0.3)
    heard = Store(store.root, force=True, announce=said.append)
    selected.build(heard, chosen(tmp_path), 1, "mine")
    (words,) = [words for words in said if "below 0" in words]
    assert words.startswith("selection mine: 2 of 4 kept candidates have an influence below 0: ")
    said.clear()
    selected.build(heard, chosen(tmp_path, min_influence=0.0), 1, "mine")
    assert kept(store, "mine") == ["b", "d"] and not [words for words in said if "below 0" in words]


def test_a_plan_with_other_weights_says_which_differ(store: Store, tmp_path: Path) -> None:
    scoder.select(store, chosen(tmp_path), 1, "mine")
    with pytest.raises(ContractError, match=r"fields\.weights\.clarity: 0\.0 -> 0\.5"):
        scoder.select(store, chosen(tmp_path, weights={"lint": 1.0, "clarity": 1.0}), 1, "mine")


def test_a_benchmark_that_left_the_recipe_leaves_no_trace(store: Store, tmp_path: Path) -> None:
    """Its hits are still in the store."""
    hit = {"item_id": "a", "item_kind": "candidate", "strength": 1.0}
    put(store, "contamination", [hit], item_kind="candidate", iteration=1, benchmark="dropped")
    scoder.select(store, chosen(tmp_path), 1, "mine")
    assert kept(store, "mine") == ["a"]


def test_a_plan_names_all_that_the_decision_reads(store: Store, tmp_path: Path) -> None:
    scoder.select(store, chosen(tmp_path), 1, "mine")
    record = store.record("selected", iteration=1, selection="mine")
    assert record is not None and sorted(record.plan.inputs) == [
        "candidates/iteration-1",
        "contamination/item_kind-candidate/iteration-1/benchmark-b",
        "influence/iteration-1/reference-teacher/batch-main",
        "scored/iteration-1",
    ]


# -- fill ------------------------------------------------------------------------------------------


def test_fill_that_was_killed_before_the_new_selection_goes_on(store: Store, tmp_path: Path) -> None:
    """The influence is there; the selection is that of before."""
    wanted = chosen(tmp_path, min_score=5.0)
    scoder.select(store, wanted, 1, "wide")
    batch = selected.new_batch(wanted, ["b", "c"])
    put_gradients(store, wanted, "candidate", batch, "bc")
    put_influence(store, wanted, batch, b=0.5, c=0.25)
    assert scoder.fill(store, wanted, 1, "wide") == 2
    assert kept(store, "wide") == ["a", "b", "c"] and batches(store, "wide") == ["main", batch]
    before = store.record("selected", iteration=1, selection="wide")
    assert scoder.fill(store, wanted, 1, "wide") == 0
    scoder.select(store, wanted, 1, "wide")
    assert store.record("selected", iteration=1, selection="wide") == before, "nothing was left to do"


def test_fill_that_was_killed_before_the_influence_goes_on(store: Store, tmp_path: Path) -> None:
    """The gradients are there, also under thresholds that differ from those of now."""
    put_gradients(store, chosen(tmp_path), "candidate", selected.new_batch(chosen(tmp_path), ["b", "c", "d"]), "bcd")
    assert scoder.fill(store, chosen(tmp_path, min_score=5.0), 1, "wide") == 2
    assert kept(store, "wide") == ["a", "b", "c"]
    rows = [r["candidate_id"] for b in batches(store, "wide") for r in read(store, "influence", **WHERE, batch=b)]
    assert sorted(rows) == ["a", "b", "c", "d"], "each candidate stands in one batch"


def test_fill_again_with_other_thresholds_takes_what_is_there(store: Store, tmp_path: Path) -> None:
    put_influence(store, chosen(tmp_path), "fill-11111111", b=0.5, c=0.25)
    put_influence(store, chosen(tmp_path), "fill-22222222", d=0.125)
    assert scoder.fill(store, chosen(tmp_path, min_score=5.0), 1, "wide") == 2
    assert kept(store, "wide") == ["a", "b", "c"]
    assert scoder.fill(store, chosen(tmp_path, min_score=1.0), 1, "wide") == 3, "it began with main again"
    assert kept(store, "wide") == ["a", "b", "c", "d"]
    gradients = [p for p in store.partitions("gradients") if p["batch"] != "main"]
    assert gradients == [], "nothing was computed"


def test_the_thresholds_of_before_give_the_plan_of_before(store: Store, tmp_path: Path) -> None:
    strict, wide = chosen(tmp_path, min_score=5.0, top_share=0.5), chosen(tmp_path, min_score=1.0)
    scoder.select(store, strict, 1, "mine")
    before = store.record("selected", iteration=1, selection="mine")
    put_influence(store, wide, "fill-11111111", b=0.5, c=0.25, d=0.125)
    scoder.fill(store, wide, 1, "mine")
    scoder.select(Store(store.root, force=True), strict, 1, "mine")
    after = store.record("selected", iteration=1, selection="mine")
    assert before is not None and after is not None and after.content == before.content


def test_the_default_selection_does_not_read_what_another_one_was_filled_with(store: Store, tmp_path: Path) -> None:
    scoder.select(store, chosen(tmp_path), 1, "default")
    before = store.record("selected", iteration=1, selection="default")
    put_influence(store, chosen(tmp_path), "fill-11111111", b=0.5, c=0.25, d=0.125)
    scoder.fill(store, chosen(tmp_path), 1, "wide")
    scoder.select(store, chosen(tmp_path), 1, "default")
    assert store.record("selected", iteration=1, selection="default") == before
    assert (kept(store, "default"), kept(store, "wide")) == (["a"], ["a", "b", "c", "d"])


def test_a_candidate_without_gradient_is_not_asked_for_again(store: Store, tmp_path: Path) -> None:
    found = chosen(tmp_path, min_score=5.0)
    put_gradients(store, found, "candidate", selected.new_batch(found, ["b", "c"]), "b", rejected="c")
    assert scoder.fill(store, found, 1, "wide") == 1, "c is not filled"
    assert kept(store, "wide") == ["a", "b"]
    assert selected.missing(store, found, 1, batches(store, "wide")) == []
    assert scoder.fill(store, found, 1, "wide") == 0


def test_the_selection_that_a_model_was_trained_on_is_replaced_only_when_asked(store: Store, tmp_path: Path) -> None:
    scoder.select(store, chosen(tmp_path), 1, "default")
    model = Plan(
        table="checkpoints",
        partition={"role": "synthesizer", "iteration": 1},
        inputs=store.input("selected", iteration=1, selection="default"),
        num_shards=1,
    )
    store.materialize(model, lambda index: table("checkpoints", [{"checkpoint_id": "k1"}]))
    before = store.record("selected", iteration=1, selection="default")
    put_influence(store, chosen(tmp_path), "fill-11111111", b=0.5, c=0.25, d=0.125)
    for looser in (chosen(tmp_path), chosen(tmp_path, min_score=9.0)):
        with pytest.raises(
            InputError, match=r"checkpoints/role-synthesizer/iteration-1 was trained on selected/.*--force"
        ):
            scoder.fill(store, looser, 1, "default")
    assert store.record("selected", iteration=1, selection="default") == before
    assert scoder.fill(Store(store.root, force=True), chosen(tmp_path), 1, "default") == 3
    assert kept(store, "default") == ["a", "b", "c", "d"]


def test_a_batch_has_the_name_of_its_candidates(tmp_path: Path) -> None:
    names = [selected.new_batch(chosen(tmp_path), ids) for ids in (["b", "c"], ["b", "c"], ["b"])]
    assert names[0] == names[1] != names[2]
    other = recipe(tmp_path, influence={"gradients": {"seed": 9}})
    assert selected.new_batch(other, ["b", "c"]) != names[0], "gradients of another kind are another batch"


def test_a_candidate_in_two_batches_counts_once(store: Store, tmp_path: Path) -> None:
    put_influence(store, chosen(tmp_path), "fill-11111111", a=-1.0, b=0.5)
    scoder.select(store, chosen(tmp_path), 1, "mine", ["main", "fill-11111111"])
    found = {r["candidate_id"]: r["influence"] for r in read(store, "selected", iteration=1, selection="mine")}
    assert sorted(found) == ["a", "b"] and found["a"] > 0.9, "main comes first"
    scoder.select(store, chosen(tmp_path), 1, "other", ["fill-11111111", "main"])
    found = {r["candidate_id"]: r["influence"] for r in read(store, "selected", iteration=1, selection="other")}
    assert found == {"a": -1.0, "b": 0.5}


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["min_score", "min_influence", "top_share"])
def test_a_threshold_that_is_not_a_number_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=r"must be a number, not NaN|less than or equal to 1"):
        Selection.model_validate(override({}, [f"{field}=.nan"]))


@pytest.mark.parametrize("weight", [float("nan"), float("inf")])
def test_weights_are_finite(weight: float) -> None:
    with pytest.raises(ValueError, match=r"not NaN|must be a finite number"):
        Selection(weights={"lint": weight})


def test_a_kill_between_a_selection_and_its_rejects_is_no_damage(store: Store, tmp_path: Path) -> None:
    scoder.select(store, chosen(tmp_path, min_score=5.0), 1, "mine")

    class Killed(Store):
        def finish(self, *of: Any) -> Any:
            super().finish(*of)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scoder.select(Killed(store.root, force=True), chosen(tmp_path, min_score=1.0), 1, "mine")
    rejects = store.record("rejects", stage="selected", iteration=1, selection="mine")
    assert rejects is not None and rejects.status == "stale", "so no audit counts the old rejects"
    scoder.select(store, chosen(tmp_path, min_score=1.0), 1, "mine")
    assert store.is_complete("rejects", stage="selected", iteration=1, selection="mine")
