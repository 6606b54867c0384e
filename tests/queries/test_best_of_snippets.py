"""best_of_snippets.sql: the best of each snippet, without equal texts; the next one moves up.

It is compared with a walk over the candidates, one after the other.
"""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import queries

Candidate = tuple[str, str]
"""Snippet and text; a list of them is in the order in which they are looked at."""
Verdict = tuple[str, int | None]
"""accepted, not best or duplicate; the place among those of the snippet that are no duplicates."""


def walked(rows: list[Candidate], per_snippet: int) -> list[Verdict]:
    """The same decision, as a person would make it."""
    accepted: dict[str, int] = {}
    texts: set[str] = set()
    taken = []
    for snippet, text in rows:
        is_taken = accepted.get(snippet, 0) < per_snippet and text not in texts
        taken.append(is_taken)
        if is_taken:
            accepted[snippet] = accepted.get(snippet, 0) + 1
            texts.add(text)
    found: list[Verdict] = []
    before: dict[str, int] = {}
    places: dict[str, int] = {}
    for (snippet, _), is_taken in zip(rows, taken, strict=True):
        is_full = before.get(snippet, 0) == per_snippet
        if not is_taken and not is_full:
            found.append(("duplicate", None))
            continue
        places[snippet] = places.get(snippet, 0) + 1
        before[snippet] = before.get(snippet, 0) + is_taken
        found.append(("accepted" if is_taken else "not best", places[snippet]))
    return found


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def decided(connection: duckdb.DuckDBPyConnection, rows: list[Candidate], per_snippet: int) -> list[Verdict]:
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE weighed"
        " (place BIGINT, snippet_id VARCHAR, text_hash VARCHAR, is_leaked BOOLEAN, score DOUBLE)"
    )
    # further ones with the same texts that may not be kept at all, and are in nobody's way
    more = [(0, "a", "t0", True, 9.0), (-1, "b", "t1", False, 4.9)]
    listed = [(n + 1, s, t, False, 5.0) for n, (s, t) in enumerate(rows)]
    connection.executemany("INSERT INTO weighed VALUES (?, ?, ?, ?, ?)", [*more, *listed])
    found = queries.rows(connection, "best_of_snippets", {"min_score": 5.0, "max_per_snippet": per_snippet})
    by_place = {r["place"]: r for r in found}
    assert sorted(by_place) == list(range(1, len(rows) + 1)), "each candidate is decided once"
    verdicts: list[Verdict] = []
    for place in sorted(by_place):
        row = by_place[place]
        reason = "accepted" if row["is_accepted"] else "duplicate" if row["snippet_place"] is None else "not best"
        verdicts.append((reason, row["snippet_place"]))
    return verdicts


ROWS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "d"]), st.sampled_from([f"t{n}" for n in range(6)])), max_size=16
)


@settings(max_examples=150, deadline=None)
@given(rows=ROWS, per_snippet=st.integers(1, 3))
@example(rows=[("a", "y"), ("a", "x"), ("b", "x")], per_snippet=1)
@example(rows=[("a", "x"), ("b", "x"), ("b", "y"), ("c", "y"), ("c", "z"), ("d", "z")], per_snippet=1)
def test_the_rounds_are_the_walk_over_all_candidates(
    connection: duckdb.DuckDBPyConnection, rows: list[Candidate], per_snippet: int
) -> None:
    assert decided(connection, rows, per_snippet) == walked(rows, per_snippet)


def test_the_text_of_a_candidate_that_is_not_kept_is_free_for_another_snippet(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    """a has a better candidate than the one with text x: so b may keep x."""
    rows = [("a", "y"), ("a", "x"), ("b", "x")]
    assert decided(connection, rows, 1) == [("accepted", 1), ("not best", 2), ("accepted", 1)]


def test_the_next_candidate_moves_up_for_one_that_loses_as_a_duplicate(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [("a", "x"), ("b", "x"), ("b", "y"), ("b", "z")]
    assert decided(connection, rows, 1) == [("accepted", 1), ("duplicate", None), ("accepted", 1), ("not best", 2)]


def test_a_long_chain_of_losers_ends(connection: duckdb.DuckDBPyConnection) -> None:
    """Each snippet loses its first text to the one before it, and takes its second: 60 rounds."""
    rows = [("s0", "t0")] + [(f"s{n}", f"t{n + step}") for n in range(1, 60) for step in (-1, 0)]
    found = decided(connection, rows, 1)
    assert found == walked(rows, 1)
    assert [reason for reason, _ in found] == ["accepted"] + ["duplicate", "accepted"] * 59
