"""The store: what is built, resumed, left alone, refused, rebuilt and marked stale."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from store import ContractError, Plan, Record, Store, Usage, segments
from store.schemas import VERSION
from tests.rows import put, table

ROOT = Path(__file__).parents[2]


def snippets(*names: str) -> pa.Table:
    return table("pool", [{"snippet_id": n, "position": i, "license": "mit"} for i, n in enumerate(names)])


def one(index: int) -> pa.Table:
    """The shard `index` of a pool: one row named by its place."""
    return snippets(f"s{index}")


def ids(store: Store, name: str = "pool", **partition: str | int) -> list[str]:
    return [i for t in store.read(name, ["snippet_id"], **partition) for i in t["snippet_id"].to_pylist()]


def files_below(path: Path | str) -> list[str]:
    return sorted(str(p.relative_to(path)) for p in Path(path).rglob("*") if p.is_file())


def statuses(store: Store) -> dict[str, str]:
    return {segments(r.plan.table, r.plan.partition): r.status for r in store.records()}


# -- paths -------------------------------------------------------------------------------------------------------------


def test_opening_a_store_writes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "s")
    assert store.records() == []
    assert store.shard_paths("pool") == []
    assert store.record("pool") is None
    assert not (tmp_path / "s").exists()


def test_segments_follow_the_contract_not_the_caller() -> None:
    assert segments("selected", {"selection": "default", "iteration": 1}) == "selected/iteration-1/selection-default"
    assert segments("pool", {}) == "pool"


@pytest.mark.parametrize(
    ("name", "partition", "message"),
    [
        ("pools", {}, r"no table 'pools'; there are raw_pool, "),
        ("pool", {"iteration": 1}, r"pool is partitioned by \[\], not by \['iteration'\]"),
        ("selected", {"iteration": 1, "selection": "../x"}, r"partition 'selection-\.\./x' of selected must match"),
        ("selected", {"iteration": 1, "selection": "Upper"}, r"must match \[a-z0-9\]"),
        ("selected", {"iteration": 1, "selection": "a\n"}, r"must match \[a-z0-9\]"),
    ],
)
def test_names_that_are_no_path_segments_are_refused(name: str, partition: dict, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        segments(name, partition)


@pytest.mark.parametrize("path", ["s3://bucket/store", "memory://store", "no-such-protocol://store"])
def test_stores_that_are_not_local_are_refused(path: str) -> None:
    with pytest.raises(ContractError, match="only local paths are supported so far"):
        Store(path)


# -- building ----------------------------------------------------------------------------------------------------------


def test_materialize_writes_all_shards_and_a_complete_record(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record = store.materialize(Plan(table="pool", num_shards=2), one)
    assert ids(store) == ["s0", "s1"]
    assert [(s.index, s.rows) for s in record.shards] == [(0, 1), (1, 1)]
    assert (record.status, record.rows) == ("complete", 2)
    assert record == store.record("pool")
    assert files_below(tmp_path) == ["_runs/pool/record.json", "pool/part-00000.parquet", "pool/part-00001.parquet"]


def test_materialize_adds_up_what_shards_cost(tmp_path: Path) -> None:
    usage = Usage(prompt_tokens=10, completion_tokens=3, cost_usd=0.25)
    record = Store(tmp_path).materialize(Plan(table="pool", num_shards=2), lambda i: (one(i), usage))
    assert (record.usage.prompt_tokens, record.usage.completion_tokens, record.usage.cost_usd) == (20, 6, 0.5)


def test_materialize_stream_cuts_shards_of_one_size(tmp_path: Path) -> None:
    store = Store(tmp_path)
    plan = Plan(table="pool", rows_per_shard=2)
    record = store.materialize_stream(plan, lambda: snippets("a", "b", "c", "d", "e").to_batches(max_chunksize=3))
    assert [s.rows for s in record.shards] == [2, 2, 1]
    assert ids(store) == ["a", "b", "c", "d", "e"]


def test_an_empty_stream_is_one_empty_shard_that_says_its_columns(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record = store.materialize_stream(Plan(table="pool"), list)
    assert [s.rows for s in record.shards] == [0]
    assert next(store.read("pool")).column_names[0] == "snippet_id"


def test_the_same_plan_is_a_no_op_that_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    store = Store(tmp_path, said.append)
    first = store.materialize(Plan(table="pool", num_shards=1), one)
    before = {f: (tmp_path / f).stat().st_mtime_ns for f in files_below(tmp_path)}
    again = store.materialize(Plan(table="pool", num_shards=1), lambda i: pytest.fail("built again"))
    assert again == first
    assert said[-1] == "pool: up to date, 1 rows"
    assert {f: (tmp_path / f).stat().st_mtime_ns for f in files_below(tmp_path)} == before
    stream = Plan(table="near_duplicates")
    store.materialize_stream(stream, list)
    store.materialize_stream(stream, lambda: pytest.fail("streamed again"))
    assert said[-1] == "near_duplicates: up to date, 0 rows"


def test_another_plan_is_refused_with_the_fields_that_differ_and_nothing_changes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old = Plan(table="pool", fields={"min_lines": 3, "seed": 1}, texts={"queries/pool.sql": "aa"}, num_shards=1)
    store.materialize(old, one)
    before = {f: (tmp_path / f).read_bytes() for f in files_below(tmp_path)}
    new = Plan(table="pool", fields={"min_lines": 4, "seed": 1}, texts={"queries/pool.sql": "bb"}, num_shards=1)
    with pytest.raises(ContractError) as caught:
        store.materialize(new, one)
    lines = [line.strip() for line in str(caught.value).splitlines()]
    assert lines[:3] == [
        "pool was built under another plan:",
        "fields.min_lines: 3 -> 4",
        'texts.queries/pool.sql: "aa" -> "bb"',
    ]
    assert all(way in lines[3] for way in ("Nothing was changed", "--name NAME", "scoder fork", "--force"))
    assert {f: (tmp_path / f).read_bytes() for f in files_below(tmp_path)} == before


def test_a_store_of_older_contracts_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.materialize(Plan(table="pool", num_shards=1, contract=0), one)
    with pytest.raises(ContractError, match=f"contract: 0 -> {VERSION}"):
        store.materialize(Plan(table="pool", num_shards=1), one)


def test_a_failure_names_the_partition(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError) as caught:
        store.materialize(Plan(table="scored", partition={"iteration": 2}, num_shards=1), lambda i: 1 / 0)
    assert caught.value.__notes__ == [f"while building scored/iteration-2 in {tmp_path}"]


# -- killed and resumed ------------------------------------------------------------------------------------------------


def test_a_build_that_dies_leaves_whole_shards_and_resumes_with_the_missing_ones(tmp_path: Path) -> None:
    store = Store(tmp_path)
    plan = Plan(table="pool", num_shards=4)

    def dies_at_2(index: int) -> tuple[pa.Table, Usage]:
        if index == 2:
            raise RuntimeError("out of memory")
        return one(index), Usage(prompt_tokens=7)

    with pytest.raises(RuntimeError, match="out of memory"):
        store.materialize(plan, dies_at_2)
    assert files_below(tmp_path / "pool") == ["part-00000.parquet", "part-00001.parquet"]
    assert statuses(store) == {"pool": "building"}
    assert store.shard_paths("pool") == [], "queries see no half-built partition"
    assert store.missing(plan) == [2, 3]
    made: list[int] = []

    def resumed(index: int) -> tuple[pa.Table, Usage]:
        made.append(index)
        return one(index), Usage(prompt_tokens=7)

    record = Store(tmp_path).materialize(plan, resumed)
    assert made == [2, 3]
    assert ids(store) == ["s0", "s1", "s2", "s3"]
    assert record.usage.prompt_tokens == 4 * 7, "what was paid before the kill is counted"


def test_resumed_is_the_same_as_uninterrupted(tmp_path: Path) -> None:
    plan = Plan(table="pool", num_shards=3)
    straight = Store(tmp_path / "straight").materialize(plan, one)
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path / "killed").materialize(plan, _interrupted_at_1)
    assert Store(tmp_path / "killed").materialize(plan, one).content == straight.content


def _interrupted_at_1(index: int) -> pa.Table:
    if index == 1:
        raise KeyboardInterrupt
    return one(index)


def test_a_killed_stream_starts_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    plan = Plan(table="pool", rows_per_shard=1)

    def dies() -> Iterator[pa.RecordBatch]:
        yield from snippets("a", "b").to_batches()
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        store.materialize_stream(plan, dies)
    assert store.shard_paths("pool") == []
    store.materialize_stream(plan, lambda: snippets("a", "b", "c").to_batches())
    assert ids(store) == ["a", "b", "c"]


def test_a_killed_process_leaves_only_whole_shards(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from store import Plan, Store; from tests.store.test_store import one\n"
        "def make(i):\n"
        "    if i == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return one(i)\n"
        "Store(sys.argv[1]).materialize(Plan(table='pool', num_shards=3), make)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, timeout=60)
    assert done.returncode == -9
    store = Store(tmp_path)
    assert sorted(store.present(Plan(table="pool", num_shards=3))) == [0, 1]
    store.materialize(Plan(table="pool", num_shards=3), one)
    assert ids(store) == ["s0", "s1", "s2"]


def test_a_shard_of_another_plan_is_refused_when_a_build_resumes(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.materialize(Plan(table="pool", fields={"seed": 1}, num_shards=1), one)
    stray = (tmp_path / "pool" / "part-00000.parquet").read_bytes()
    other = Store(tmp_path / "other")
    other.fs.makedirs(other.directory("pool"))
    Path(other.directory("pool"), "part-00000.parquet").write_bytes(stray)
    with pytest.raises(ContractError, match="belongs to plan"):
        other.materialize(Plan(table="pool", fields={"seed": 2}, num_shards=1), one)


def test_a_rebuild_that_is_killed_while_it_removes_files_is_rebuilt(tmp_path: Path) -> None:
    old, new = (
        Plan(table="pool", fields={"seed": 1}, num_shards=2),
        Plan(table="pool", fields={"seed": 2}, num_shards=2),
    )
    Store(tmp_path).materialize(old, one)
    first, second = (tmp_path / "pool" / f"part-0000{i}.parquet" for i in range(2))
    kept = second.read_bytes()
    second.unlink()
    second.mkdir()  # a file that cannot be removed stands for the kill
    with pytest.raises(OSError, match="part-00001"):
        Store(tmp_path, force=True).materialize(new, one)
    second.rmdir()
    second.write_bytes(kept)
    store = Store(tmp_path)
    assert not first.exists()
    assert not store.is_complete("pool")
    assert store.shard_paths("pool") == []
    store.materialize(new, one)
    assert ids(store) == ["s0", "s1"]


# -- rebuilt and stale -------------------------------------------------------------------------------------------------


def chain(store: Store) -> None:
    """pool <- teacher_samples <- gradients <- influence; near_duplicates depends on none of them."""
    store.materialize(Plan(table="pool", num_shards=1), one)
    for name, parent in {"teacher_samples": "pool", "gradients": "teacher_samples", "influence": "gradients"}.items():
        store.materialize(Plan(table=name, inputs=store.input(parent), num_shards=1), lambda i, n=name: table(n, []))
    put(store, "near_duplicates", [])


def test_force_rebuilds_and_marks_everything_downstream_stale(tmp_path: Path) -> None:
    chain(Store(tmp_path))
    said: list[str] = []
    store = Store(tmp_path, said.append, force=True)
    store.materialize(Plan(table="pool", fields={"seed": 2}, num_shards=1), lambda i: snippets("new"))
    assert ids(store) == ["new"]
    assert statuses(store) == {
        "pool": "complete",
        "teacher_samples": "stale",
        "gradients": "stale",
        "influence": "stale",
        "near_duplicates": "complete",
    }
    assert "teacher_samples: stale, pool is rebuilt" in said


def files_and_times(store: Store, name: str) -> list[tuple[int, int]]:
    return [(found.st_ino, found.st_mtime_ns) for found in map(os.stat, store.shard_paths(name))]


def test_force_keeps_what_is_built_as_planned(tmp_path: Path) -> None:
    chain(Store(tmp_path))
    upstream = ("pool", "teacher_samples", "gradients", "near_duplicates")
    before = [(Store(tmp_path).record(name), files_and_times(Store(tmp_path), name)) for name in upstream]
    said: list[str] = []
    store = Store(tmp_path, said.append, force=True)

    def never(index: int) -> pa.Table:
        raise AssertionError("what is built as planned was built again")

    for record, _ in before:
        assert record is not None
        assert store.materialize(record.plan, never) == record
        assert store.materialize_stream(record.plan, lambda: never(0).to_batches()) == record
        assert store.built(record.plan) == record
    plan = Plan(table="influence", inputs=store.input("gradients"), fields={"seed": 2}, num_shards=1)
    store.materialize(plan, lambda index: table("influence", []))
    assert [(store.record(name), files_and_times(store, name)) for name in upstream] == before
    assert said[0] == "pool: up to date, 1 rows"
    assert set(statuses(store).values()) == {"complete"}


@pytest.mark.parametrize("force", [False, True])
def test_what_is_stale_is_rebuilt_under_the_same_plan(tmp_path: Path, force: bool) -> None:
    plan = Plan(table="pool", num_shards=1)
    record = Store(tmp_path).materialize(plan, one)
    store = Store(tmp_path, force=force)
    store.save(record.model_copy(update={"status": "stale"}))
    assert not store.is_built(plan)
    store.materialize(plan, lambda i: snippets("again"))
    assert ids(store) == ["again"]


@pytest.mark.parametrize("force", [False, True])
def test_what_is_half_built_goes_on_under_the_same_plan(tmp_path: Path, force: bool) -> None:
    plan = Plan(table="pool", num_shards=2)
    store = Store(tmp_path, force=force)
    assert store.built(plan) is None
    store.write(plan, 0, one(0))
    made: list[int] = []
    store.materialize(plan, lambda i: made.append(i) or one(i))
    assert made == [1]


def test_only_partitions_made_from_the_rebuilt_one_become_stale(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for iteration in (1, 2):
        put(store, "candidates", [{"candidate_id": f"c{iteration}", "iteration": iteration}], iteration=iteration)
        plan = Plan(
            table="scored",
            partition={"iteration": iteration},
            inputs=store.input("candidates", iteration=iteration),
            num_shards=1,
        )
        store.materialize(plan, lambda i: table("scored", []))
    put(Store(tmp_path, force=True), "candidates", [], iteration=1)
    assert statuses(store) == {
        "candidates/iteration-1": "complete",
        "candidates/iteration-2": "complete",
        "scored/iteration-1": "stale",
        "scored/iteration-2": "complete",
    }


def test_a_stale_partition_is_seen_by_queries_not_by_builders_and_is_rebuilt(tmp_path: Path) -> None:
    chain(Store(tmp_path))
    other = Plan(table="pool", fields={"seed": 2}, num_shards=1)
    Store(tmp_path, force=True).materialize(other, lambda i: snippets("new"))
    store = Store(tmp_path)
    assert len(store.shard_paths("teacher_samples")) == 1
    with pytest.raises(ContractError, match="teacher_samples is stale; build it first"):
        store.input("teacher_samples")
    assert {"table": "teacher_samples"} not in [
        {"table": r.plan.table} for r in store.records() if r.status == "complete"
    ]
    rows = [{"sample_id": "t1", "snippet_id": "new"}]
    plan = Plan(table="teacher_samples", inputs=store.input("pool"), num_shards=1)
    store.materialize(plan, lambda i: table("teacher_samples", rows))
    assert ids(store, "teacher_samples") == ["new"]
    assert statuses(store)["gradients"] == "stale"


def test_fewer_shards_after_a_rebuild_leave_no_old_file(tmp_path: Path) -> None:
    Store(tmp_path).materialize(Plan(table="pool", num_shards=3), one)
    store = Store(tmp_path, force=True)
    store.materialize(Plan(table="pool", num_shards=1), one)
    assert files_below(tmp_path / "pool") == ["part-00000.parquet"]
    store.materialize_stream(Plan(table="pool", rows_per_shard=1), lambda: snippets("a", "b").to_batches())
    assert files_below(tmp_path / "pool") == ["part-00000.parquet", "part-00001.parquet"]


def test_a_rebuild_leaves_partitions_in_folders_below_alone(tmp_path: Path) -> None:
    put(Store(tmp_path), "raw_pool", [{"snippet_id": "found"}])
    put(Store(tmp_path), "raw_pool", [{"snippet_id": "imported"}], origin="import")
    put(Store(tmp_path, force=True), "raw_pool", [{"snippet_id": "found-again"}])
    store = Store(tmp_path)
    assert ids(store, "raw_pool") == ["found-again"]
    assert ids(store, "raw_pool", origin="import") == ["imported"]


# -- reading -----------------------------------------------------------------------------------------------------------


def test_reading_what_is_not_built_says_what_to_do(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ContractError, match=r"scored/iteration-2 is not built; build it first \(`scoder run RECIPE`"):
        next(store.read("scored", iteration=2))
    store.begin(Plan(table="pool", num_shards=1))
    with pytest.raises(ContractError, match="pool is building; build it first"):
        next(store.read("pool"))


def test_the_content_of_an_input_changes_with_its_rows_and_its_plan(tmp_path: Path) -> None:
    plan = Plan(table="pool", num_shards=1)
    contents = [
        Store(tmp_path / "1").materialize(plan, one).content,
        Store(tmp_path / "2").materialize(plan, lambda i: snippets("other")).content,
        Store(tmp_path / "3").materialize(plan.model_copy(update={"fields": {"seed": 2}}), one).content,
    ]
    assert len(set(contents)) == 3
    assert Store(tmp_path / "1").input("pool") == {"pool": contents[0]}


def test_scratch_holds_no_records(tmp_path: Path) -> None:
    inside = tmp_path / "_runs" / "_scratch" / "store"  # a store may itself lie below a folder of that name
    store = Store(inside)
    put(store, "pool", [])
    Path(store.scratch("x")).mkdir(parents=True)
    Path(store.scratch("x"), "record.json").write_text("not a record")
    assert statuses(store) == {"pool": "complete"}
    assert store.partitions("pool") == [{}]


# -- forks -------------------------------------------------------------------------------------------------------------


def test_link_into_shares_files_and_a_rebuild_there_changes_nothing_here(tmp_path: Path) -> None:
    source, target = Store(tmp_path / "a"), Store(tmp_path / "b")
    source.materialize(Plan(table="pool", num_shards=2), one)
    put(source, "near_duplicates", [])
    source.begin(Plan(table="raw_pool", num_shards=1))

    def keep(record: Record) -> bool:
        return record.plan.table in ("pool", "raw_pool")

    assert source.link_into(target, keep) == ["pool"]
    assert statuses(target) == {"pool": "complete"}
    assert ids(target) == ["s0", "s1"]
    ours, theirs = (tmp_path / s / "pool" / "part-00000.parquet" for s in "ab")
    assert os.path.samefile(ours, theirs)
    said: list[str] = []
    Store(tmp_path / "b", said.append).materialize(Plan(table="pool", num_shards=2), one)
    assert said == ["pool: up to date, 2 rows"]
    forced = Store(tmp_path / "b", force=True)
    forced.materialize(Plan(table="pool", fields={"seed": 2}, num_shards=1), lambda i: snippets("theirs"))
    assert ids(target) == ["theirs"]
    assert ids(source) == ["s0", "s1"]
