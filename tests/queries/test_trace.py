"""A trace: where a row came from, and what came of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from queries.trace import trace
from store import ContractError, Store
from tests.rows import Row, put


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One snippet, one checkpoint, two candidates of which one is selected, and a teacher sample."""
    found = Store(tmp_path)
    put(found, "raw_pool", [{"snippet_id": "s1", "code": "def f(x): ..."}, {"snippet_id": "s2"}])
    put(found, "checkpoints", [{"checkpoint_id": "k1", "role": "synthesizer"}])
    base: Row = {"iteration": 1, "snippet_id": "s1", "checkpoint_id": "k1", "parse_status": "ok"}
    put(found, "candidates", [base | {"candidate_id": c} for c in ("c1", "c2")], iteration=1)
    selected = {"candidate_id": "c1", "snippet_id": "s1", "iteration": 1, "selection": "default", "score": 8.0}
    put(found, "selected", [selected], iteration=1, selection="default")
    rejects = {"stage": "selected", "iteration": 1, "selection": "default", "item_id": "c2", "reason": "low_score"}
    put(found, "rejects", [rejects], stage="selected", iteration=1, selection="default")
    put(found, "teacher_samples", [{"sample_id": "t1", "snippet_id": "s2"}])
    return found


def test_a_trace_shows_where_a_candidate_came_from_and_what_came_of_it(store: Store) -> None:
    found = trace(store, "c1")
    assert {name: len(rows) for name, rows in found.items()} == {
        "raw_pool": 1,
        "checkpoints": 1,
        "candidates": 1,
        "selected": 1,
    }
    assert [r["candidate_id"] for r in found["candidates"]] == ["c1"], "it did not come from its siblings"
    assert found["raw_pool"][0]["code"] == "def f(x): ..."
    assert [r["reason"] for r in trace(store, "c2")["rejects"]] == ["low_score"]


def test_a_trace_of_a_snippet_shows_all_that_came_of_it(store: Store) -> None:
    assert [r["candidate_id"] for r in trace(store, "s1")["candidates"]] == ["c1", "c2"]
    assert {name: len(rows) for name, rows in trace(store, "t1").items()} == {"raw_pool": 1, "teacher_samples": 1}
    with pytest.raises(ContractError, match="no table holds the id 'nobody'"):
        trace(store, "nobody")
    with pytest.raises(ContractError, match="no table holds"):
        trace(store, "' OR true --")
