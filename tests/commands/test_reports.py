"""Reports: the funnel, selections compared, and what is printed of rows."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import duckdb
import pytest
from rich.console import Console

from builders import selected
from commands.reports import (
    compare,
    funnel,
    num_missing,
    print_records,
    print_rows,
    print_selection,
    printable,
    readable_scoring,
    scoring,
    selection,
)
from store import Plan, Store, Usage
from store.catalog import connect
from store.ledger import Ledger
from tests.rows import Row, put, table


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One snippet, one checkpoint, two candidates, of which one is selected, one teacher sample."""
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


def printed(call, *arguments) -> str:
    out = StringIO()
    call(Console(file=out, width=120), *arguments)
    return out.getvalue()


def test_the_funnel_has_a_row_per_partition_and_a_total(tmp_path: Path) -> None:
    store = Store(tmp_path)
    paid = Usage(prompt_tokens=10, completion_tokens=4, cost_usd=0.5)
    store.materialize(Plan(table="pool", num_shards=2), lambda i: (table("pool", [{"snippet_id": f"s{i}"}]), paid))
    put(store, "rejects", [], stage="pool")
    store.begin(Plan(table="candidates", partition={"iteration": 1}, num_shards=3))
    found = [
        (r["partition"], r["rows"], r["status"], r["prompt_tokens"], r["cost_usd"]) for r in funnel(Ledger(store.root))
    ]
    assert found == [
        ("pool", 2, "complete", 20, 1.0),
        ("candidates/iteration-1", None, "building", None, None),
        ("total", None, "", 20, 1.0),
    ]
    assert funnel(Ledger(tmp_path / "empty")) == []


Verdict = tuple[str, int | None, str | None]
"""Candidate, its rank, and the reason why it is left out."""


def verdicts(store: Store, *rows: Verdict, other: str = "default") -> duckdb.DuckDBPyConnection:
    """A connection with these verdicts, which sees another selection of the store."""
    found = connect(store, selected.outputs(store, 1, other))
    found.execute(
        "CREATE TABLE verdicts"
        " (candidate_id VARCHAR, rank INTEGER, reason VARCHAR, score DOUBLE DEFAULT 5, influence DOUBLE DEFAULT 0.5)"
    )
    if rows:
        found.executemany("INSERT INTO verdicts (candidate_id, rank, reason) VALUES (?, ?, ?)", rows)
    return found


OTHERS: list[Verdict] = [("c1", None, "low_score"), ("c3", None, "low_score"), ("c4", None, "influence_missing")]


def test_a_selection_is_counted_and_compared(store: Store) -> None:
    found = verdicts(store, ("c2", 1, None), *OTHERS)
    assert selection(found, 1, "mine") == {
        "selection": "mine",
        "iteration": 1,
        "funnel": [
            {"verdict": "scored", "candidates": 4},
            {"verdict": "- low_score", "candidates": 2},
            {"verdict": "- influence_missing", "candidates": 1},
            {"verdict": "kept", "candidates": 1},
        ],
    }
    assert compare(found, 1, "default") == {
        "selection": "default",
        "funnel": [{"verdict": "- low_score", "candidates": 1}, {"verdict": "kept", "candidates": 1}],
        "overlap": 0,
        "jaccard": 0.0,
        "num_enter": 1,
        "num_leave": 1,
        "enter": [{"candidate_id": "c2", "score": 5.0, "influence": 0.5}],
        "leave": [{"candidate_id": "c1", "score": 8.0, "influence": 0.0, "reason": "low_score"}],
    }
    same = compare(verdicts(store, ("c1", 1, None)), 1, "default")
    assert (same["overlap"], same["jaccard"], same["enter"], same["leave"]) == (1, 1.0, [], [])
    nothing = compare(verdicts(store), 1, "default")
    assert nothing["leave"] == [{"candidate_id": "c1", "score": 8.0, "influence": 0.0, "reason": None}]


def test_what_cannot_be_filled_is_counted_apart(store: Store) -> None:
    too_long = {"stage": "gradients", "iteration": 1, "item_kind": "candidate", "item_id": "c5", "reason": "too_long"}
    put(store, "rejects", [too_long], stage="gradients", iteration=1)
    also = selected.outputs(store, 1, "default") | store.input("rejects", stage="gradients", iteration=1)
    found = connect(store, also)
    found.execute(
        "CREATE TABLE verdicts AS SELECT unnest(['c4', 'c5', 'c6']) AS candidate_id, 'influence_missing' AS reason"
    )
    assert num_missing(found) == (2, 1)


def test_many_that_enter_are_counted_and_the_best_are_listed(store: Store) -> None:
    many: list[Verdict] = [(f"n{n:04d}", 2000 - n, None) for n in range(1500)]
    report = selection(found := verdicts(store, *many), 1, "mine")
    report["compared"] = compare(found, 1, "default")
    assert report["compared"]["num_enter"] == 1500
    assert [r["candidate_id"] for r in report["compared"]["enter"]] == [f"n{n:04d}" for n in range(1499, 499, -1)]
    shown = printed(print_selection, report)
    assert "1,500 enter" in shown and "n1490" in shown and "n1489" not in shown
    assert "… 1,490 more enter" in shown


# -- printing --------------------------------------------------------------------------------------


def test_text_of_models_is_printed_as_it_is_not_as_markup() -> None:
    hostile = "[red]not a colour[/red] [link=file:///etc]x[/link]"
    assert hostile in printed(print_rows, [{"text": hostile, "n": 1}], "rows")
    assert hostile in printed(print_records, [{"text": hostile}], "candidates")


def test_empty_reports_say_so_and_columns_without_values_are_left_out() -> None:
    assert printed(print_rows, [], "metrics") == "metrics: no rows\n"
    assert "nothing" not in printed(print_rows, [{"a": 1, "nothing": None}], "")


def test_long_text_is_folded() -> None:
    out = printed(print_records, [{"code": "\n".join(f"line {n}" for n in range(100))}], "raw_pool")
    assert "line 23" in out
    assert "line 24" not in out
    assert "… 76 more lines" in out


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b[31mred\x07\nb\tc") == "a\ufffd[31mred\ufffd\nb\tc"


def test_status_says_which_aspects_and_weights_are_no_better_than_chance(tmp_path: Path) -> None:
    store = Store(tmp_path)
    digit = {"item_kind": "teacher", "aspect": "clarity", "scorer": "s", "score": 1, "expected": 1.4, "mass": 0.01}
    put(store, "aspect_scores", [digit | {"item_id": f"t{n}"} for n in range(60)], item_kind="teacher")
    fit = {"cv_auc": 0.52, "cv_auc_low": 0.4, "cv_auc_high": 0.64, "cv_method": "delong", "method": "equal"}
    rows = [{"weights": "default", "iteration": 1, "aspect": a, "weight": 0.5} | fit for a in ("clarity", "lint")]
    put(store, "aspect_weights", rows, iteration=1, weights="default")
    found = readable_scoring(scoring(Ledger(tmp_path)))
    assert [(r["aspect"], r["it says little because"], r["value"]) for r in found["weak_aspects"]] == [
        ("clarity", "its digits do not vary", "1.000"),
        ("clarity", "little probability on digits", "0.010"),
    ]
    (weighting,) = found["weights"]
    assert weighting["where from"] == "equal: the fit is no better than chance"
    assert (weighting["AUC on other snippets"], weighting["heaviest"]) == ("0.520 [0.400, 0.640]", None)
    assert scoring(Ledger(tmp_path / "empty")) == {"weak_aspects": [], "weights": []}
