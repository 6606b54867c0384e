"""selection_verdicts.sql: the reasons why a selection leaves a candidate out, in their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import queries
from store import ASPECTS, CODE_ASPECTS, Store
from store.catalog import connect
from tests.rows import Row, put

VALUES: Row = {
    "iteration": 1,
    "weights": dict.fromkeys((*ASPECTS, *CODE_ASPECTS), 0.0) | {"lint": 1.0},
    "min_strength": 0.5,
    "min_score": 5.0,
    "max_per_snippet": 1,
    "max_per_difficulty": None,
    "reference": "teacher",
    "features": "f",
    "batches": ["main"],
    "min_influence": -1.0,
    "top_share": 1.0,
    "max_rows": None,
}
Candidate = tuple[str, str, int, float | None]
"""Candidate, its snippet, its score, its influence."""


def filled(store: Store, rows: list[Candidate], *, leaks: Row | None = None, texts: Row | None = None) -> Store:
    """Scored candidates of iteration 1: one aspect, influence in batch main, leaks, equal texts."""
    base: Row = {"iteration": 1, "parse_status": "ok"}
    text = texts or {}
    put(
        store,
        "candidates",
        [base | {"candidate_id": c, "snippet_id": s, "text_hash": text.get(c, c)} for c, s, *_ in rows],
        iteration=1,
    )
    put(store, "scored", [scored(c, s, digit) for c, s, digit, _ in rows], iteration=1)
    known = [influenced(c, number) for c, *_, number in rows if number is not None]
    put(store, "influence", known, iteration=1, reference="teacher", batch="main")
    hits = [{"item_id": c, "item_kind": "candidate", "strength": s} for c, s in (leaks or {}).items()]
    put(store, "contamination", hits, item_kind="candidate", iteration=1, benchmark="b")
    return store


def scored(candidate: str, snippet: str, lint: int, **columns: Any) -> Row:
    row = {"candidate_id": candidate, "snippet_id": snippet, "iteration": 1, "lint": lint, "lint_expected": lint}
    return row | columns


def influenced(name: str, number: float, **columns: Any) -> Row:
    row = {"candidate_id": name, "iteration": 1, "reference": "teacher", "features": "f", "batch": "main"}
    return row | {"influence": number} | columns


def verdicts(store: Store, **changed: Any) -> list[Row]:
    """The kept ones by rank, then the others by their key."""
    found = queries.rows(connect(store), "selection_verdicts", VALUES | changed)
    return sorted(found, key=lambda r: (r["rank"] is None, r["rank"], r["candidate_id"]))


def reasons(store: Store, **changed: Any) -> dict[str, str | None]:
    return {r["candidate_id"]: r["reason"] for r in verdicts(store, **changed)}


def kept(store: Store, **changed: Any) -> list[str]:
    """Kept candidates by rank."""
    return [r["candidate_id"] for r in verdicts(store, **changed) if r["reason"] is None]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_every_scored_candidate_has_one_verdict_with_the_number_behind_it(store: Store) -> None:
    rows: list[Candidate] = [
        ("best", "s1", 9, 0.75),
        ("copied", "s2", 7, 0.5),
        ("copy", "s3", 6, 0.25),
        ("leaked", "s4", 9, 0.9),
        ("low", "s5", 4, 0.9),
        ("second", "s1", 8, 0.9),
        ("harmful", "s6", 9, -0.25),
        ("third", "s7", 9, 0.125),
        ("unknown", "s8", 9, None),
    ]
    filled(store, rows, leaks={"leaked": 0.75, "best": 0.25}, texts={"copied": "same", "copy": "same"})
    found = verdicts(store, min_influence=0.0, top_share=0.5)
    assert [(r["candidate_id"], r["rank"], r["reason"], r["value"], r["threshold"]) for r in found] == [
        ("best", 1, None, None, None),
        ("copied", 2, None, None, None),
        ("third", 3, "below_top_share", 3, 2),
        ("copy", None, "duplicate", None, None),
        ("harmful", None, "low_influence", -0.25, 0),
        ("leaked", None, "contaminated", 0.75, 0.5),
        ("low", None, "low_score", 4, 5),
        ("second", None, "not_best_of_snippet", 2, 1),
        ("unknown", None, "influence_missing", None, None),
    ]


def test_the_first_reason_wins(store: Store) -> None:
    """Each candidate fails all checks from its own on."""
    rows: list[Candidate] = [
        ("a", "s1", 1, -1.0),
        ("b", "s1", 1, -1.0),
        ("c", "s1", 8, -1.0),
        ("d", "s3", 8, -1.0),
        ("z", "s1", 9, -1.0),
    ]
    filled(store, rows, leaks={"a": 1.0}, texts=dict.fromkeys("abcdz", "t"))
    assert reasons(store, min_influence=0.0) == {
        "a": "contaminated",
        "b": "low_score",
        "c": "not_best_of_snippet",
        "d": "duplicate",
        "z": "low_influence",
    }


def test_thresholds_include_their_own_value(store: Store) -> None:
    filled(store, [("a", "s1", 5, 0.5), ("b", "s2", 4, 0.5)], leaks={"a": 0.7})
    assert kept(store, min_score=5.0, min_influence=0.5, min_strength=0.71) == ["a"]
    assert reasons(store, min_strength=0.7)["a"] == "contaminated", "a 32-bit column against a 64-bit threshold"


def test_a_candidate_that_is_left_out_does_not_stand_in_the_way_of_its_snippet(store: Store) -> None:
    rows: list[Candidate] = [
        ("leaked", "s1", 9, 0.5),
        ("clean", "s1", 8, 0.5),
        ("copy", "s2", 6, 0.5),
        ("own", "s2", 5, 0.5),
    ]
    filled(store, rows, leaks={"leaked": 1.0}, texts={"copy": "same", "clean": "same"})
    assert reasons(store) == {"clean": None, "own": None, "copy": "duplicate", "leaked": "contaminated"}


def test_a_looser_threshold_admits_without_a_model_and_counts_what_it_lacks(store: Store) -> None:
    filled(store, [("a", "s1", 9, 0.5), ("b", "s2", 4, 0.25), ("c", "s3", 3, None)])
    assert kept(store) == ["a"]
    assert reasons(store, min_score=3.0) == {"a": None, "b": None, "c": "influence_missing"}


def test_a_filled_batch_counts_only_for_the_selection_it_was_filled_for(store: Store) -> None:
    filled(store, [("a", "s1", 9, 0.25), ("b", "s2", 9, None)])
    put(store, "influence", [influenced("b", 0.5, batch="loose")], iteration=1, reference="teacher", batch="loose")
    assert kept(store) == ["a"]
    assert kept(store, batches=["main", "loose"]) == ["b", "a"]


@pytest.mark.parametrize("other", [{"reference": "swapped"}, {"features": "g"}, {"batches": []}])
def test_influence_on_another_reference_or_of_other_features_does_not_count(store: Store, other: Row) -> None:
    filled(store, [("a", "s1", 9, 0.25)])
    assert reasons(store, **other) == {"a": "influence_missing"}


def test_own_weights_change_the_score_and_with_it_the_best(store: Store) -> None:
    filled(store, [("tidy", "s1", 9, 0.5), ("clear", "s1", 1, 0.5)])
    rows = [scored("tidy", "s1", 9, clarity=2), scored("clear", "s1", 1, clarity=8)]
    put(Store(store.root, force=True), "scored", rows, iteration=1)
    assert [(r["candidate_id"], r["score"]) for r in verdicts(store)] == [("tidy", 9.0), ("clear", 1.0)]
    found = verdicts(store, weights=VALUES["weights"] | {"clarity": 0.75, "lint": 0.25})
    assert [(r["candidate_id"], r["score"], r["reason"]) for r in found] == [
        ("clear", 6.25, None),
        ("tidy", 3.75, "low_score"),
    ]


def test_several_per_snippet(store: Store) -> None:
    filled(store, [("a", "s1", 9, 0.1), ("b", "s1", 8, 0.2), ("c", "s1", 7, 0.3), ("d", "s2", 6, 0.4)])
    assert kept(store, max_per_snippet=2) == ["d", "b", "a"]
    assert reasons(store, max_per_snippet=2)["c"] == "not_best_of_snippet"


def test_ties_are_broken_by_expected_score_and_then_by_key(store: Store) -> None:
    filled(store, [(name, "s1", 9, 0.5) for name in ("c", "a", "b")])
    assert kept(store) == ["a"]
    filled(Store(store.root, force=True), [(name, name, 9, 0.5) for name in ("c", "a", "b")])
    assert kept(store) == ["a", "b", "c"]
    rows = [scored(c, c, 9, lint_expected=e) for c, e in [("a", 9.0), ("b", 9.25), ("c", 9.125)]]
    put(Store(store.root, force=True), "scored", rows, iteration=1)
    assert kept(store) == ["b", "c", "a"]


def test_equal_texts_keep_the_best_score_and_on_a_tie_the_smaller_key(store: Store) -> None:
    filled(store, [("a", "s1", 7, 0.5), ("b", "s2", 8, 0.5), ("c", "s3", 8, 0.5)], texts=dict.fromkeys("abc", "same"))
    assert reasons(store) == {"b": None, "a": "duplicate", "c": "duplicate"}


@pytest.mark.parametrize(
    ("num", "share", "num_kept"),
    # 0.07 * 100 is a bit over 7
    [(4, 0.5, 2), (5, 0.5, 3), (3, 0.01, 1), (3, 1.0, 3), (100, 0.07, 7), (0, 0.5, 0)],
)
def test_the_top_share_is_rounded_up(store: Store, num: int, share: float, num_kept: int) -> None:
    filled(store, [(f"c{n:03d}", f"s{n}", 9, -n / 1000) for n in range(num)])
    assert kept(store, top_share=share) == [f"c{n:03d}" for n in range(num_kept)]


def test_a_quota_per_difficulty_comes_before_the_top_share(store: Store) -> None:
    rows: list[Candidate] = [(f"c{n}", f"s{n}", 9, -n / 8) for n in range(6)]
    filled(store, rows)
    digits = {"c0": 7, "c1": 7, "c2": 7, "c3": 2, "c4": 2, "c5": 5}
    put(
        Store(store.root, force=True),
        "scored",
        [scored(c, s, 9, difficulty=digits[c]) for c, s, *_ in rows],
        iteration=1,
    )
    assert kept(store, max_per_difficulty=1) == ["c0", "c3", "c5"]
    found = verdicts(
        store, max_per_difficulty=2, top_share=0.5
    )  # the quota leaves c0, c1, c3, c4 and c5: half is three
    assert [(r["candidate_id"], r["reason"], r["value"], r["threshold"]) for r in found] == [
        ("c0", None, None, None),
        ("c1", None, None, None),
        ("c3", None, None, None),
        ("c4", "below_top_share", 4, 3),
        ("c5", "below_top_share", 5, 3),
        ("c2", "over_quota", 3, 2),
    ]


@pytest.mark.parametrize(("max_rows", "num_kept"), [(None, 3), (2, 2), (0, 0), (9, 3)])
def test_max_rows_caps_what_the_share_keeps(store: Store, max_rows: int | None, num_kept: int) -> None:
    filled(store, [(f"c{n}", f"s{n}", 9, -n / 8) for n in range(6)])
    found = verdicts(store, top_share=0.5, max_rows=max_rows)
    assert [r["candidate_id"] for r in found if r["reason"] is None] == [f"c{n}" for n in range(num_kept)]
    assert {r["threshold"] for r in found if r["reason"] == "below_top_share"} == {num_kept}


def test_other_iterations_do_not_count(store: Store) -> None:
    filled(store, [("a", "s1", 9, 0.5)])
    put(store, "candidates", [{"candidate_id": "z", "iteration": 2, "snippet_id": "s1", "text_hash": "a"}], iteration=2)
    put(store, "scored", [scored("z", "s1", 9, iteration=2)], iteration=2)
    assert reasons(store) == {"a": None}
    assert reasons(store, iteration=2) == {"z": "influence_missing"}


def test_selected_rejects_and_missing_items_follow_from_the_verdicts(store: Store) -> None:
    filled(
        store,
        [("a", "s1", 9, 0.25), ("b", "s2", 9, 0.5), ("c", "s3", 2, 0.5), ("d", "s4", 9, None), ("e", "s5", 9, None)],
    )
    too_long = {"stage": "gradients", "iteration": 1, "item_kind": "candidate", "reason": "too_long"}
    put(store, "rejects", [too_long | {"item_id": "e"}], stage="gradients", iteration=1)
    put(store, "raw_pool", [{"snippet_id": f"s{n}", "code": f"code {n}"} for n in range(1, 5)])
    connection = queries.with_verdicts(connect(store), "selection_verdicts", VALUES)
    named = {"iteration": 1, "selection": "mine"}
    selected = queries.rows(connection, "selected", named)
    assert [(r["rank"], r["candidate_id"], r["selection"], r["influence"]) for r in selected] == [
        (1, "b", "mine", 0.5),
        (2, "a", "mine", 0.25),
    ]
    rejects = queries.rows(connection, "rejects_selected", named)
    assert [(r["item_id"], r["reason"], r["selection"], r["iteration"]) for r in rejects] == [
        ("c", "low_score", "mine", 1),
        ("d", "influence_missing", "mine", 1),
        ("e", "influence_missing", "mine", 1),
    ]
    assert queries.rows(connection, "missing_items") == [{"item_id": "d"}], "the gradient of e cannot be computed"
    put(store, "selected", selected, iteration=1, selection="mine")
    shown = queries.rows(connect(store), "selected_rows", named)
    assert [(r["rank"], r["candidate_id"]) for r in shown] == [(1, "b"), (2, "a")]


SCORED = st.tuples(
    st.sampled_from(["s1", "s2", "s3"]),  # snippet
    st.integers(3, 9),  # score
    st.none() | st.sampled_from([-0.5, 0.0, 0.25, 0.5]),  # influence
    st.sampled_from(["t1", "t2", "t3", "t4"]),  # text
    st.sampled_from([0.0, 0.4, 1.0]),  # strength of the leak
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    drawn=st.lists(SCORED, max_size=9),
    per_snippet=st.integers(1, 3),
    share=st.sampled_from([0.1, 0.5, 1.0]),
    max_rows=st.none() | st.integers(0, 3),
    quota=st.none() | st.integers(1, 3),
)
def test_a_selection_is_a_ranked_keyed_subset_of_the_scored(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list[tuple[str, int, float | None, str, float]],
    per_snippet: int,
    share: float,
    max_rows: int | None,
    quota: int | None,
) -> None:
    row = {f"c{n}": values for n, values in enumerate(drawn)}
    store = filled(
        Store(tmp_path_factory.mktemp("selection")),
        [(c, snippet, score, influence) for c, (snippet, score, influence, *_) in row.items()],
        texts={c: values[3] for c, values in row.items()},
        leaks={c: values[4] for c, values in row.items() if values[4]},
    )
    found = verdicts(
        store,
        min_influence=0.0,
        top_share=share,
        max_per_snippet=per_snippet,
        max_rows=max_rows,
        max_per_difficulty=quota,
    )
    assert sorted(r["candidate_id"] for r in found) == sorted(row), "each scored candidate has exactly one verdict"
    chosen = [r for r in found if r["reason"] is None]
    names = [r["candidate_id"] for r in chosen]
    assert [r["rank"] for r in chosen] == list(range(1, len(chosen) + 1))
    influences = [r["influence"] for r in chosen]
    assert influences == sorted(influences, reverse=True)
    snippets = [row[c][0] for c in names]
    assert max(map(snippets.count, snippets), default=0) <= per_snippet
    assert len({row[c][3] for c in names}) == len(names)
    assert all(row[c][1] >= 5 and row[c][2] >= 0.0 and row[c][4] < 0.5 for c in names)
    assert max_rows is None or len(names) <= max_rows
    assert quota is None or len(names) <= quota, "all have one difficulty here"
    below = [r["influence"] for r in found if r["reason"] == "below_top_share"]
    assert not below or not influences or max(below) <= min(influences)
