"""instruction_verdicts.sql: the final dataset is one clean pair per snippet, the best by score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import queries
from store import Store
from store.catalog import connect
from tests.rows import Row, put

VALUES: Row = {
    "iteration": 3,
    "min_strength": 0.5,
    "min_score": 5.0,
    "max_per_snippet": 1,
    "max_rows": None,
    "iterations": [2],
    "selection": "default",
}
Candidate = tuple[str, str, float]
"""Candidate, its snippet, its score."""


def filled(store: Store, rows: list[Candidate], *, leaks: Row | None = None, texts: Row | None = None) -> Store:
    """Scored candidates of the final generation, iteration 3."""
    text = texts or {}
    generated = [{"candidate_id": c, "snippet_id": s, "iteration": 3, "text_hash": text.get(c, c)} for c, s, _ in rows]
    texts_of = [
        r | {"problem": f"problem {r['candidate_id']}", "solution": "pass", "parse_status": "ok"} for r in generated
    ]
    put(store, "candidates", texts_of, iteration=3)
    scored = [{"candidate_id": c, "snippet_id": s, "iteration": 3, "score": n, "expected_score": n} for c, s, n in rows]
    put(store, "scored", scored, iteration=3)
    hits = [{"item_id": c, "item_kind": "candidate", "strength": s} for c, s in (leaks or {}).items()]
    put(store, "contamination", hits, item_kind="candidate", iteration=3, benchmark="b")
    put(store, "raw_pool", [{"snippet_id": s, "license": f"licence of {s}"} for s in sorted({s for _, s, _ in rows})])
    return store


def verdicts(store: Store, **changed: Any) -> list[Row]:
    return queries.rows(connect(store), "instruction_verdicts", VALUES | changed)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Each reason once, and three pairs that are kept."""
    rows = [
        ("best", "s1", 9.0),
        ("copied", "s2", 8.0),
        ("copy", "s3", 7.0),
        ("leaked", "s4", 9.0),
        ("low", "s5", 4.5),
        ("plain", "s6", 5.0),
        ("second", "s1", 8.5),
    ]
    return filled(Store(tmp_path), rows, leaks={"leaked": 0.75, "best": 0.25}, texts={"copied": "same", "copy": "same"})


def test_every_scored_candidate_has_one_verdict_with_the_number_behind_it(store: Store) -> None:
    found = [(r["candidate_id"], r["reason"], r["value"], r["threshold"]) for r in verdicts(store, max_rows=2)]
    assert found == [
        ("best", None, None, None),
        ("copied", None, None, None),
        ("copy", "duplicate", None, None),
        ("leaked", "contaminated", 0.75, 0.5),
        ("low", "low_score", 4.5, 5.0),
        ("plain", "over_max_rows", 3.0, 2.0),
        ("second", "not_best_of_snippet", 2.0, 1.0),
    ]
    assert [r["candidate_id"] for r in verdicts(store) if r["reason"] is None] == ["best", "copied", "plain"]


def test_instructions_and_rejects_follow_from_the_verdicts(store: Store) -> None:
    trained = [("s2", 2, "default"), ("s1", 1, "default"), ("s6", 2, "other")]
    for snippet, iteration, selection in trained:
        row = {"candidate_id": f"of {snippet}", "snippet_id": snippet, "iteration": iteration, "selection": selection}
        put(store, "selected", [row], iteration=iteration, selection=selection)
    connection = queries.with_verdicts(connect(store), "instruction_verdicts", VALUES)
    pairs = queries.rows(connection, "instructions", VALUES)
    assert {r["candidate_id"]: r["is_snippet_trained_on"] for r in pairs} == {
        "best": False,
        "copied": True,
        "plain": False,
    }
    both = queries.rows(connection, "instructions", VALUES | {"iterations": [1, 2]})
    assert [r["candidate_id"] for r in both if r["is_snippet_trained_on"]] == ["best", "copied"]
    assert [(r["candidate_id"], r["problem"], r["license"], r["score"], r["is_contaminated"]) for r in pairs] == [
        ("best", "problem best", "licence of s1", 9.0, False),
        ("copied", "problem copied", "licence of s2", 8.0, False),
        ("plain", "problem plain", "licence of s6", 5.0, False),
    ]
    rejects = queries.rows(connection, "rejects_instructions", VALUES)
    assert [r["item_id"] for r in rejects] == ["copy", "leaked", "low", "second"]
    assert {(r["stage"], r["iteration"], r["selection"]) for r in rejects} == {("instructions", 3, None)}


def test_a_candidate_that_is_left_out_does_not_stand_in_the_way_of_its_snippet(tmp_path: Path) -> None:
    rows = [("leaked", "s1", 9.0), ("clean", "s1", 8.0), ("copy", "s2", 7.0), ("own", "s2", 6.0)]
    store = filled(Store(tmp_path), rows, leaks={"leaked": 1.0}, texts={"clean": "same", "copy": "same"})
    assert [r["candidate_id"] for r in verdicts(store) if r["reason"] is None] == ["clean", "own"]


def test_max_rows_keeps_the_best_by_score(tmp_path: Path) -> None:
    store = filled(Store(tmp_path), [("a", "s1", 6.0), ("b", "s2", 9.0), ("c", "s3", 8.0)])
    assert [r["candidate_id"] for r in verdicts(store, max_rows=2) if r["reason"] is None] == ["b", "c"]


def test_a_leak_at_the_threshold_is_out(tmp_path: Path) -> None:
    store = filled(Store(tmp_path), [("a", "s1", 9.0)], leaks={"a": 0.7})
    assert [r["reason"] for r in verdicts(store, min_strength=0.7)] == ["contaminated"]
    assert [r["reason"] for r in verdicts(store, min_strength=0.71)] == [None]


def test_ties_go_to_the_smaller_key(tmp_path: Path) -> None:
    store = filled(Store(tmp_path), [(c, "s1", 9.0) for c in "cab"] + [(c, c, 9.0) for c in "fde"])
    assert [r["candidate_id"] for r in verdicts(store, max_rows=3) if r["reason"] is None] == ["a", "d", "e"]


SCORED = st.tuples(
    st.sampled_from(["s1", "s2", "s3"]),
    st.sampled_from([4.0, 5.0, 6.5, 9.0]),
    st.sampled_from(["t1", "t2", "t3", "t4"]),
    st.sampled_from([0.0, 0.4, 1.0]),
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.lists(SCORED, max_size=9), max_rows=st.none() | st.integers(0, 3))
def test_instructions_and_rejects_are_the_scored_candidates(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[str, float, str, float]], max_rows: int | None
) -> None:
    row = {f"c{n}": values for n, values in enumerate(drawn)}
    store = filled(
        Store(tmp_path_factory.mktemp("instructions")),
        [(c, snippet, score) for c, (snippet, score, *_) in row.items()],
        texts={c: values[2] for c, values in row.items()},
        leaks={c: values[3] for c, values in row.items() if values[3]},
    )
    given_values = VALUES | {"max_rows": max_rows}
    connection = queries.with_verdicts(connect(store), "instruction_verdicts", given_values)
    kept = queries.rows(connection, "instructions", given_values)
    rejects = queries.rows(connection, "rejects_instructions", given_values)
    assert sorted([r["candidate_id"] for r in kept] + [r["item_id"] for r in rejects]) == sorted(row)
    names = [r["candidate_id"] for r in kept]
    assert len({row[c][0] for c in names}) == len({row[c][2] for c in names}) == len(names)
    assert all(row[c][1] >= 5.0 and row[c][3] < 0.5 for c in names)
    assert max_rows is None or len(names) <= max_rows
    put(store, "instructions", kept)
    put(store, "rejects", rejects, stage="instructions")
    published = connect(store)
    assert queries.rows(published, "audits/conservation", {"num_teacher_snippets": None, "stages": None}) == []
    assert queries.rows(published, "audits/leaks", VALUES) == []
