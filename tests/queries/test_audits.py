"""Audits return nothing on a sound store, and the offending rows on one that was broken."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import queries
from store import Store
from store.catalog import connect
from tests.rows import Row, put


@pytest.fixture
def store(sound: Store, tmp_path: Path) -> Store:
    """A copy of the sound store that a test may break."""
    shutil.copytree(sound.root, tmp_path / "store")
    return Store(tmp_path / "store")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two of three snippets in the pool, one of two teachers, four candidates, one instruction."""
    found = Store(tmp_path_factory.mktemp("sound"))
    put(found, "raw_pool", [{"snippet_id": s} for s in ("s1", "s2", "s3")])
    put(found, "snippet_checks", [{"snippet_id": s} for s in ("s1", "s2", "s3")])
    put(found, "pool", [{"snippet_id": "s1", "position": 0}, {"snippet_id": "s2", "position": 1}])
    put(found, "teacher_samples", [{"sample_id": "t1", "snippet_id": "s1"}])
    put(found, "checkpoints", [{"checkpoint_id": "k1", "role": "synthesizer"}])
    for iteration, prefix in ((1, "c"), (2, "d")):
        parsed = {f"{prefix}1": "ok", f"{prefix}2": "ok", f"{prefix}3": "ok", f"{prefix}4": "no_problem"}
        base = {"iteration": iteration, "snippet_id": "s1", "checkpoint_id": "k1"}
        rows = [base | {"candidate_id": c, "parse_status": s} for c, s in parsed.items()]
        put(found, "candidates", rows, iteration=iteration)
        scored = [{"candidate_id": f"{prefix}{n}", "iteration": iteration} for n in (1, 2)]
        put(found, "scored", scored, iteration=iteration)
        rejected(found, "candidates", [(f"{prefix}4", "no_problem")], iteration=iteration)
        rejected(found, "scored", [(f"{prefix}3", "not_scored")], iteration=iteration)
    for name in ("default", "strict"):
        row = {"selection": name, "iteration": 1, "candidate_id": "c1", "rank": 1}
        put(found, "selected", [row], iteration=1, selection=name)
        rejected(found, "selected", [("c2", "low_score")], iteration=1, selection=name)
    put(found, "instructions", [{"candidate_id": "d1"}])
    put(found, "rejects", [reject("instructions", "d2", "low_score", iteration=2)], stage="instructions")
    rejected(found, "pool", [("s3", "test"), ("s3", "trivial")])
    rejected(found, "teacher", [("s2", "teacher_answer_unusable")])
    return found


def reject(stage: str, item: str, reason: str, **where: Any) -> Row:
    return {"stage": stage, "item_kind": "candidate", "item_id": item, "reason": reason, **where}


def rejected(store: Store, stage: str, items: list[tuple[str, str]], **where: Any) -> None:
    put(store, "rejects", [reject(stage, i, r, **where) for i, r in items], stage=stage, **where)


def audit(store: Store, name: str, **values: Any) -> list[Row]:
    given = {"num_teacher_snippets": 2, "min_strength": 0.5, "stages": None} | values
    return queries.rows(connect(store), f"audits/{name}", given)


def again(store: Store) -> Store:
    """The same store, opened to overwrite what is there."""
    return Store(store.root, force=True)


def test_a_sound_store_has_no_offending_rows(store: Store) -> None:
    assert [audit(store, name.removeprefix("audits/")) for name in queries.names("audits")] == [[], [], []]


def test_an_empty_store_has_no_offending_rows(tmp_path: Path) -> None:
    empty = Store(tmp_path / "empty")
    assert [audit(empty, name.removeprefix("audits/")) for name in queries.names("audits")] == [[], [], []]


# -- conservation ----------------------------------------------------------------------------------

Offence = tuple[str, int | None, str | None, int, int, int]
"""Stage, iteration, selection, items in, items out, items rejected."""


@pytest.mark.parametrize(
    ("stage", "where", "offence"),
    [
        ("pool", {}, ("pool", None, None, 3, 2, 0)),
        ("teacher", {}, ("teacher", None, None, 2, 1, 0)),
        ("candidates", {"iteration": 1}, ("candidates", 1, None, 4, 3, 0)),
        ("scored", {"iteration": 2}, ("scored", 2, None, 3, 2, 0)),
        ("selected", {"iteration": 1, "selection": "strict"}, ("selected", 1, "strict", 2, 1, 0)),
        ("instructions", {}, ("instructions", 2, None, 2, 1, 0)),
    ],
)
def test_rejects_that_are_gone_are_seen(store: Store, stage: str, where: Row, offence: Offence) -> None:
    put(again(store), "rejects", [], stage=stage, **where)
    assert [tuple(r.values()) for r in audit(store, "conservation")] == [offence]


@pytest.mark.parametrize(
    ("name", "rows", "where", "offence"),
    [
        ("pool", [{"snippet_id": "s1"}], {}, ("pool", None, None, 3, 1, 1)),
        ("scored", [{"candidate_id": "c1", "iteration": 1}], {"iteration": 1}, ("scored", 1, None, 3, 1, 1)),
    ],
)
def test_items_that_are_gone_are_seen(store: Store, name: str, rows: list[Row], where: Row, offence: Offence) -> None:
    put(again(store), name, rows, **where)
    assert offence in [tuple(r.values()) for r in audit(store, "conservation")]


def test_an_item_that_is_kept_and_rejected_is_seen(store: Store) -> None:
    both = [("c1", "low_score"), ("c2", "low_score")]
    rejected(again(store), "selected", both, iteration=1, selection="default")
    assert [tuple(r.values()) for r in audit(store, "conservation")] == [("selected", 1, "default", 2, 1, 2)]


def test_imported_teachers_are_not_counted_against_the_pool(store: Store) -> None:
    put(again(store), "rejects", [], stage="teacher")
    assert audit(store, "conservation", num_teacher_snippets=None) == []


def test_only_stages_that_are_complete_are_compared(store: Store) -> None:
    for stage, where in (("candidates", {"iteration": 1}), ("selected", {"iteration": 1, "selection": "strict"})):
        put(again(store), "rejects", [], stage=stage, **where)
    put(again(store), "rejects", [], stage="instructions")
    assert [r["stage"] for r in audit(store, "conservation")] == ["candidates", "instructions", "selected"]
    complete = ["candidates/2", "selected/1/default", "instructions"]
    assert [r["stage"] for r in audit(store, "conservation", stages=complete)] == ["instructions"]
    assert [r["stage"] for r in audit(store, "conservation", stages=["selected/1/strict"])] == ["selected"]
    assert audit(store, "conservation", stages=[]) == []


# -- leaks -----------------------------------------------------------------------------------------


def test_leaks_into_published_tables_are_seen(store: Store) -> None:
    hits = [
        {"item_id": "s1", "item_kind": "snippet", "task_id": "b/1", "detector": "string", "strength": 1.0},
        {"item_id": "s3", "item_kind": "snippet", "task_id": "b/1", "detector": "string", "strength": 1.0},
        {"item_id": "d1", "item_kind": "candidate", "task_id": "b/2", "detector": "ngram", "strength": 0.5},
        {"item_id": "d1", "item_kind": "candidate", "task_id": "b/3", "detector": "ngram", "strength": 0.25},
        {"item_id": "c1", "item_kind": "candidate", "task_id": "b/2", "detector": "ngram", "strength": 0.75},
        {"item_id": "c1", "item_kind": "teacher", "task_id": "b/9", "detector": "ngram", "strength": 0.75},
    ]
    put(store, "contamination", hits)
    found = [(r["table_name"], r["item_id"], r["task_id"], r["strength"]) for r in audit(store, "leaks")]
    assert found == [
        ("instructions", "d1", "b/2", 0.5),
        ("pool", "s1", "b/1", 1.0),
        ("selected", "c1", "b/2", 0.75),
        ("selected", "c1", "b/2", 0.75),
    ]
    assert audit(store, "leaks", min_strength=1.1) == []
    put(again(store), "contamination", [{"item_id": "s1", "item_kind": "snippet", "strength": 0.7}])
    assert len(audit(store, "leaks", min_strength=0.7)) == 1, "a 32-bit column against a 64-bit threshold"


# -- orphans ---------------------------------------------------------------------------------------


def test_rows_without_their_parent_are_seen(store: Store) -> None:
    lost = {"candidate_id": "x1", "iteration": 3, "snippet_id": "gone", "checkpoint_id": "lost", "parse_status": "ok"}
    put(store, "candidates", [lost], iteration=3)
    put(store, "aspect_scores", [{"item_id": "x2", "item_kind": "candidate", "aspect": "lint"}], item_kind="candidate")
    put(store, "aspect_scores", [{"item_id": "t9", "item_kind": "teacher", "aspect": "lint"}], item_kind="teacher")
    put(store, "selected", [{"candidate_id": "x3", "selection": "lost"}], iteration=1, selection="lost")
    put(again(store), "instructions", [{"candidate_id": "x4"}])
    assert [(r["table_name"], r["item_id"], r["missing"]) for r in audit(store, "orphans")] == [
        ("aspect_scores", "x2", "candidate_id"),
        ("candidates", "x1", "checkpoint_id"),
        ("candidates", "x1", "snippet_id"),
        ("instructions", "x4", "candidate_id"),
        ("selected", "x3", "candidate_id"),
    ]
