"""Reports: the funnel, selections compared, a row's lineage, and `verify`, which finds what was broken on purpose."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from queries.console import (
    compare,
    funnel,
    num_missing,
    print_records,
    print_rows,
    printable,
    trace,
    verdict_funnel,
    verify,
)
from store import ContractError, Plan, Store, Usage
from tests.rows import Row, put, table


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
    found = [(r["partition"], r["rows"], r["status"], r["prompt_tokens"], r["cost_usd"]) for r in funnel(store)]
    assert found == [
        ("pool", 2, "complete", 20, 1.0),
        ("candidates/iteration-1", None, "building", None, None),
        ("total", None, "", 20, 1.0),
    ]
    assert funnel(Store(tmp_path / "empty")) == []


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
    with pytest.raises(ContractError, match="selection-other is not built"):
        compare(store, found, 1, "other")


def test_a_trace_shows_where_a_candidate_came_from_and_what_came_of_it(store: Store) -> None:
    found = trace(store, "c1")
    assert {name: len(rows) for name, rows in found.items()} == {
        "raw_pool": 1,
        "checkpoints": 1,
        "candidates": 1,
        "selected": 1,
    }
    assert [r["candidate_id"] for r in found["candidates"]] == ["c1"], "its siblings are not its lineage"
    assert found["raw_pool"][0]["code"] == "def f(x): ..."
    assert [r["reason"] for r in trace(store, "c2")["rejects"]] == ["low_score"]


def test_a_trace_of_a_snippet_shows_all_that_came_of_it(store: Store) -> None:
    assert [r["candidate_id"] for r in trace(store, "s1")["candidates"]] == ["c1", "c2"]
    assert {name: len(rows) for name, rows in trace(store, "t1").items()} == {"raw_pool": 1, "teacher_samples": 1}
    with pytest.raises(ContractError, match="no table holds the id 'nobody'"):
        trace(store, "nobody")
    with pytest.raises(ContractError, match="no table holds"):
        trace(store, "' OR true --")


# -- verify ------------------------------------------------------------------------------------------------------------


def checks(store: Store) -> list[tuple[str, str]]:
    return [(p["check"], p["result"]) for p in verify(store)]


def test_a_sound_store_has_no_problems(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, "raw_pool", [{"snippet_id": "s1"}])
    put(store, "near_duplicates", [])
    assert checks(store) == []


def test_verify_finds_a_changed_and_a_missing_file(store: Store) -> None:
    changed, gone = store.shard_paths("raw_pool")[0], store.shard_paths("teacher_samples")[0]
    metadata = pq.read_schema(changed).metadata
    pq.write_table(pq.read_table(changed).replace_schema_metadata(metadata).slice(1), changed)
    Path(gone).unlink()
    assert checks(store) == [
        ("checksum", "raw_pool/part-00000.parquet"),
        ("missing", "teacher_samples/part-00000.parquet"),
    ]


def test_verify_finds_a_file_of_another_plan_and_half_a_file(store: Store) -> None:
    foreign, half = store.shard_paths("raw_pool")[0], store.shard_paths("teacher_samples")[0]
    pq.write_table(pq.read_table(foreign).replace_schema_metadata(None), foreign)
    Path(half).write_bytes(Path(half).read_bytes()[:-100])
    found = checks(store)
    assert [check for check, _ in found] == ["contract", "contract"]
    assert "belongs to plan" in found[0][1]
    assert found[1][1].startswith("teacher_samples: ")


def test_verify_finds_keys_that_occur_twice_and_failed_audits(tmp_path: Path) -> None:
    store = Store(tmp_path)
    put(store, "raw_pool", [{"snippet_id": "s1"}])
    put(store, "raw_pool", [{"snippet_id": "s1"}], origin="import")
    put(store, "selected", [{"candidate_id": "c9", "selection": "a", "iteration": 1}], iteration=1, selection="a")
    assert checks(store) == [
        ("key", "raw_pool: 1 keys (snippet_id) occur more than once"),
        ("audits/conservation", "stage=selected, iteration=1, selection=a, num_in=0, num_out=1, num_rejected=0"),
        ("audits/orphans", "table_name=selected, item_id=c9, missing=candidate_id"),
    ]


# -- printing ----------------------------------------------------------------------------------------------------------


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
