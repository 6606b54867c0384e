"""The store: what is built, resumed, left alone, refused, rebuilt and marked stale."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from store import ContractError, Plan, Record, Store, Usage, segments
from store.errors import MissingError
from store.rebuild import fulfilled, requested
from store.schemas import VERSION
from store.shards import Shard, joined
from tests.rows import make_stale, put, table

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


# -- paths -----------------------------------------------------------------------------------------


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
        ("pools", {}, r"no table 'pools'; the tables are raw_pool, "),
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
    with pytest.raises(ContractError, match="a store must be a local directory, got"):
        Store(path)


# -- building --------------------------------------------------------------------------------------


def test_materialize_writes_all_shards_and_a_complete_record(tmp_path: Path) -> None:
    store = Store(tmp_path)
    record = store.materialize(Plan(table="pool", num_shards=2), one)
    assert ids(store) == ["s0", "s1"]
    assert [(s.index, s.rows) for s in record.shards] == [(0, 2)], "small shards become one file"
    assert (record.status, record.rows) == ("complete", 2)
    assert record == store.record("pool")
    assert files_below(tmp_path) == ["_runs/pool/record.json", "pool/part-00000.parquet"]


def test_materialize_adds_up_what_shards_cost(tmp_path: Path) -> None:
    usage = Usage(prompt_tokens=10, completion_tokens=3, cost_usd=0.25)
    record = Store(tmp_path).materialize(Plan(table="pool", num_shards=2), lambda i: (one(i), usage))
    assert (record.usage.prompt_tokens, record.usage.completion_tokens, record.usage.cost_usd) == (20, 6, 0.5)


def test_small_shards_of_a_stream_become_one_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    plan = Plan(table="pool", rows_per_shard=2)
    record = store.materialize_stream(plan, lambda: snippets("a", "b", "c", "d", "e").to_batches(max_chunksize=3))
    assert [s.rows for s in record.shards] == [5]
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
    assert said[-1] == "pool: up to date, 1 row"
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
        "pool was built under another plan. What differs (built -> now):",
        "fields.min_lines: 3 -> 4",
        'texts.queries/pool.sql: "aa" -> "bb"',
    ]
    ways = "\n".join(lines[3:])
    assert all(way in ways for way in ("Nothing was changed", "scoder fork", "--force"))
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


# -- killed and resumed ----------------------------------------------------------------------------


def test_a_build_that_dies_leaves_whole_shards_and_resumes_with_the_missing_ones(tmp_path: Path) -> None:
    store = Store(tmp_path)
    plan = Plan(table="pool", num_shards=4)

    def dies_at_2(index: int) -> tuple[pa.Table, Usage]:
        if index == 2:
            raise RuntimeError("out of memory")
        return one(index), Usage(prompt_tokens=7)

    with pytest.raises(RuntimeError, match="out of memory"):
        store.materialize(plan, dies_at_2)
    assert sorted(store.present(plan)) == [0, 1]
    assert not (tmp_path / "pool").exists(), "a plain glob must not read half of a partition"
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


def test_shards_of_another_plan_or_cut_ones_are_made_again(tmp_path: Path) -> None:
    store, plan, other = Store(tmp_path), *(Plan(table="pool", fields={"seed": i}, num_shards=2) for i in (1, 2))
    for begun in (plan, other):
        Store(tmp_path, force=True).begin(begun)
        store.write(begun, 0, one(0))
    shutil.copy(f"{store.work_folder(plan)}/part-00000.parquet", store.work_folder(other))
    assert store.missing(other) == [0, 1], "its footer names another plan"
    store.write(other, 0, one(0))
    whole = Path(store.work_folder(other), "part-00000.parquet")
    whole.write_bytes(whole.read_bytes()[:-1])
    assert store.missing(other) == [0, 1], "it was cut"
    store.write(other, 0, one(0))
    Path(store.work_folder(other), "part-00000.json").unlink()
    assert store.missing(other) == [0, 1], "killed between the shard and its note"
    store.write(other, 0, one(0))
    assert store.missing(other) == [1]


def test_a_build_begun_with_force_and_killed_goes_on_without(tmp_path: Path) -> None:
    old, new = (Plan(table="pool", fields={"seed": i}, num_shards=2) for i in (1, 2))
    Store(tmp_path).materialize(old, one)
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path, force=True).materialize(new, _interrupted_at_1)
    store = Store(tmp_path)
    assert store.shard_paths("pool") == []
    assert files_below(tmp_path / "pool") == [], "a plain glob must not read the rows of the old plan"
    made: list[int] = []
    store.materialize(new, lambda i: made.append(i) or one(i))
    assert made == [1]
    assert ids(store) == ["s0", "s1"]


def test_finish_leaves_nothing_of_an_earlier_try(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), Plan(table="pool", rows_per_shard=2)

    def killed() -> Iterator[pa.RecordBatch]:
        yield from snippets(*"abcdefgh").to_batches(max_chunksize=2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.materialize_stream(plan, killed)
    (tmp_path / "pool").mkdir()
    for left in ("part-00003.parquet", "part-00000.parquet.1a2b3c4d.tmp"):
        (tmp_path / "pool" / left).write_bytes(b"of an earlier try")
    store.materialize_stream(plan, lambda: snippets("w", "x", "y").to_batches())
    assert files_below(tmp_path) == ["_runs/pool/record.json", "pool/part-00000.parquet"]
    assert ids(store) == ["w", "x", "y"]


def test_a_kill_while_shards_are_moved_loses_none(tmp_path: Path) -> None:
    plan = Plan(table="gradients", partition={"item_kind": "candidate", "iteration": 1, "batch": "main"}, num_shards=3)
    rows = [table("gradients", [{"item_id": f"c{i}", "gradient": b"ab"}]) for i in range(3)]
    store = Store(tmp_path)
    record = store.begin(plan)
    shards = [store.write(plan, i, rows[i]) for i in range(3)]
    directory = Path(store.directory(plan.table, **plan.partition))
    directory.mkdir(parents=True)
    # The kill comes after the first of three links.
    os.link(f"{store.work_folder(plan)}/part-00000.parquet", directory / "part-00000.parquet")
    assert Store(tmp_path).shard_paths("gradients") == []
    resumed = Store(tmp_path).materialize(plan, lambda i: pytest.fail("made again"))
    assert resumed.shards == shards
    assert resumed.content == Store(tmp_path / "straight").materialize(plan, lambda i: rows[i]).content
    assert record.plan == resumed.plan


def test_joined_files_keep_the_order_and_depend_on_rows_and_bytes_alone(tmp_path: Path) -> None:
    def shard(index: int, rows: int, size: int) -> Shard:
        return Shard(index=index, rows=rows, size=size, sha256="x")

    few = [shard(i, 4096, 3_000_000) for i in range(7)]
    assert [[s.index for s in group] for group in joined(few)] == [[0, 1, 2], [3, 4, 5], [6]]
    narrow = [shard(i, 20_000, 1_000_000) for i in range(5)]
    assert [[s.index for s in group] for group in joined(narrow)] == [[0, 1, 2, 3], [4]]
    large = [shard(i, 10_000, 50_000_000) for i in range(3)]
    assert [[s.index for s in group] for group in joined(large)] == [[0], [1], [2]]


# -- another plan ----------------------------------------------------------------------------------


def test_a_build_without_a_finished_shard_gives_way_to_another_plan(tmp_path: Path) -> None:
    Store(tmp_path).begin(Plan(table="pool", fields={"seed": 1}, num_shards=2))
    Store(tmp_path).materialize(Plan(table="pool", fields={"seed": 2}, num_shards=1), one)
    assert ids(Store(tmp_path)) == ["s0"]


def test_a_build_with_a_finished_shard_is_refused_under_another_plan(tmp_path: Path) -> None:
    begun = Plan(table="pool", fields={"seed": 1}, num_shards=2)
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path).materialize(begun, _interrupted_at_1)
    with pytest.raises(ContractError, match="seed: 1 -> 2"):
        Store(tmp_path).begin(Plan(table="pool", fields={"seed": 2}, num_shards=2))
    assert Store(tmp_path).missing(begun) == [1], "nothing is lost"


def test_a_file_that_is_gone_or_cut_is_named_with_the_way_to_mend_it(tmp_path: Path) -> None:
    plan = Plan(table="pool", num_shards=1)
    Store(tmp_path).materialize(plan, one)
    file = tmp_path / "pool" / "part-00000.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ContractError, match=r"pool is damaged: part-00000.parquet .* --rebuild pool"):
        Store(tmp_path).begin(plan)


def test_a_refusal_offers_another_selection_only_where_there_is_one(tmp_path: Path) -> None:
    for name, where in (("pool", {}), ("selected", {"iteration": 1, "selection": "default"})):
        put(Store(tmp_path), name, [], **where)
        plan = Plan(table=name, partition=where, fields={"seed": 2}, num_shards=1)
        with pytest.raises(ContractError) as caught:
            Store(tmp_path).begin(plan)
        assert ("another selection" in str(caught.value)) == (name == "selected")


# -- rebuilt and stale -----------------------------------------------------------------------------


def test_a_rebuilt_partition_is_built_once_for_each_request(tmp_path: Path) -> None:
    plan, made = Plan(table="pool", num_shards=1), list[int]()
    make = lambda i: made.append(i) or one(i)  # noqa: E731
    Store(tmp_path).materialize(plan, make)
    wish = requested(str(tmp_path), "pool", {"pool"})
    for _ in range(2):  # the second stands for the same command after a kill
        Store(tmp_path, rebuild=requested(str(tmp_path), "pool", {"pool"})).materialize(plan, make)
    assert made == [0, 0]
    fulfilled(str(tmp_path))
    assert requested(str(tmp_path), "pool", {"pool"}).id != wish.id
    Store(tmp_path, rebuild=requested(str(tmp_path), "pool", {"pool"})).materialize(plan, make)
    assert made == [0, 0, 0]


def test_a_request_that_saw_too_little_takes_in_what_the_same_command_sees_later(tmp_path: Path) -> None:
    """The first run ended early, at something damaged, and knew none of the partitions."""
    early = requested(str(tmp_path), "pool", set())
    later = requested(str(tmp_path), "pool", {"pool"})
    assert (later.id, later.partitions) == (early.id, {"pool"})
    assert requested(str(tmp_path), "pool", set()) == later, "what was known stays known"


def test_the_same_rows_again_leave_what_came_from_them_valid(tmp_path: Path) -> None:
    chain(Store(tmp_path))
    wish = requested(str(tmp_path), "pool", {"pool"})
    store = Store(tmp_path, rebuild=wish)
    plan = store.record("pool").plan  # type: ignore[union-attr]
    store.begin(plan)
    assert statuses(store)["influence"] == "stale", "while its source is being built"
    store.materialize(plan, one)
    assert set(statuses(store).values()) == {"complete"}


def test_old_values_given_again_make_what_came_from_them_valid_again(tmp_path: Path) -> None:
    chain(Store(tmp_path))
    for seed, expected in ((2, "stale"), (None, "complete")):
        plan = Plan(table="pool", fields={"seed": seed} if seed else {}, num_shards=1)
        Store(tmp_path, force=True).materialize(plan, one)
        assert statuses(Store(tmp_path))["influence"] == expected


def chain(store: Store) -> None:
    """pool <- teacher_samples <- gradients <- influence; near_duplicates stands apart."""
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
    assert "pool: built again" in said
    assert [r.plan.table for r in store.downstream(["pool"])] == ["teacher_samples", "gradients", "influence"]


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
    assert said[0] == "pool: up to date, 1 row"
    assert set(statuses(store).values()) == {"complete"}


@pytest.mark.parametrize("force", [False, True])
def test_what_is_stale_is_built_again(tmp_path: Path, force: bool) -> None:
    plan = Plan(table="pool", num_shards=1)
    Store(tmp_path).materialize(plan, one)
    make_stale(Store(tmp_path), "pool")
    store = Store(tmp_path, force=force)
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
    with pytest.raises(ContractError, match="teacher_samples is needed, but it is stale; `scoder run RECIPE` builds"):
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
    assert files_below(tmp_path / "pool") == ["part-00000.parquet"]


def test_a_rebuild_leaves_partitions_in_folders_below_alone(tmp_path: Path) -> None:
    put(Store(tmp_path), "raw_pool", [{"snippet_id": "found"}])
    put(Store(tmp_path), "raw_pool", [{"snippet_id": "imported"}], origin="import")
    put(Store(tmp_path, force=True), "raw_pool", [{"snippet_id": "found-again"}])
    store = Store(tmp_path)
    assert ids(store, "raw_pool") == ["found-again"]
    assert ids(store, "raw_pool", origin="import") == ["imported"]


# -- reading ---------------------------------------------------------------------------------------


def test_reading_what_is_not_built_says_what_to_do(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(ContractError, match="scored/iteration-2 is needed, but it is not built; `scoder run RECIPE`"):
        next(store.read("scored", iteration=2))
    store.begin(Plan(table="pool", num_shards=1))
    with pytest.raises(ContractError, match="pool is needed, but it is building; "):
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
    inside = tmp_path / "_runs" / "_scratch" / "store"  # a store may lie in a folder of that name
    store = Store(inside)
    put(store, "pool", [])
    Path(store.scratch("x")).mkdir(parents=True)
    Path(store.scratch("x"), "record.json").write_text("not a record")
    assert statuses(store) == {"pool": "complete"}
    assert store.partitions("pool") == [{}]


# -- forks -----------------------------------------------------------------------------------------


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


def test_a_store_that_is_not_there_is_not_an_empty_one(tmp_path: Path) -> None:
    for look in (lambda: Store(tmp_path / "gone").scan("pool"), lambda: Store(tmp_path / "gone").sql("SELECT 1")):
        with pytest.raises(MissingError, match="no store at"):
            look()
    assert Store(tmp_path).scan("pool").collect().height == 0
