"""Reports: the funnel, selections compared, and what is printed of rows."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from commands.reports import (
    compare,
    funnel,
    num_missing,
    print_records,
    print_rows,
    printable,
    verdict_funnel,
)
from store import ContractError, Plan, Store, Usage
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


def verdicts(*rows: tuple[str, str | None]) -> pa.Table:
    """Candidates with the reason why they are left out."""
    return pa.Table.from_pylist([{"candidate_id": c, "reason": r, "score": 5.0, "influence": 0.5} for c, r in rows])


def test_a_selection_is_counted_and_compared(store: Store) -> None:
    found = verdicts(("c2", None), ("c1", "low_score"), ("c3", "low_score"), ("c4", "influence_missing"))
    assert verdict_funnel(found) == [
        {"verdict": "scored", "candidates": 4},
        {"verdict": "- low_score", "candidates": 2},
        {"verdict": "- influence_missing", "candidates": 1},
        {"verdict": "kept", "candidates": 1},
    ]
    assert num_missing(found) == 1
    report = compare(store, found, 1, "default")
    assert report == {
        "selection": "default",
        "funnel": [{"verdict": "- low_score", "candidates": 1}, {"verdict": "kept", "candidates": 1}],
        "overlap": 0,
        "jaccard": 0.0,
        "enter": [{"candidate_id": "c2", "score": 5.0, "influence": 0.5}],
        "leave": [{"candidate_id": "c1", "score": 8.0, "influence": 0.0, "reason": "low_score"}],
    }
    assert compare(store, verdicts(("c1", None)), 1, "default")["jaccard"] == 1.0
    with pytest.raises(ContractError, match="selection-other is needed, but it is not built"):
        compare(store, found, 1, "other")


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
