"""Staging: rows are read once, in order, survive a kill, and go when the build is done."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pytest

from store import Plan, Store, staging
from store.staging import Staged, staged

PLAN = Plan(table="candidates", partition={"iteration": 1}, num_shards=3)


def counted(num: int) -> tuple[Callable[[], pa.RecordBatchReader], list[int]]:
    """A query of `num` rows in no order, and a list that grows with each time that it runs."""
    runs: list[int] = []

    def rows() -> pa.RecordBatchReader:
        runs.append(num)
        mixed = sorted(range(num), key=lambda n: (n * 7 % 11, n))
        return pa.table({"item_id": [f"i{n}" for n in mixed], "n": pa.array(mixed, pa.int64())}).to_reader(7)

    return rows, runs


def folder(store: Store) -> Path:
    return Path(store.scratch("staged/candidates/iteration-1"))


@pytest.mark.parametrize("num", [0, 1, 9, 10, 11, 25])
def test_windows_are_those_of_the_whole_however_rows_are_grouped(tmp_path, monkeypatch, num) -> None:
    monkeypatch.setattr(staging, "ROWS_PER_GROUP", 5)
    monkeypatch.setattr(staging, "GROUPS_HELD", 2)
    monkeypatch.setattr(staging, "ROWS_PER_BUCKET", 4)
    rows, runs = counted(num)
    with staged(Store(tmp_path), PLAN, rows, by=("n",)) as found:
        assert found.num_rows == num
        for size in (1, 3, 5, 10, 100):
            parts = [found.rows(start, start + size) for start in range(0, num + size, size)]
            assert [row["n"] for part in parts for row in part] == list(range(num))
        assert [row["item_id"] for row in found.rows(8, 11)] == [f"i{n}" for n in range(8, min(11, num))]
        assert found.rows(num, num + 5) == found.rows(3, 3) == []
    assert len(runs) == 1 and not folder(Store(tmp_path)).exists()


def test_rows_are_sorted_by_all_columns_whatever_the_buckets(tmp_path, monkeypatch) -> None:
    found = []
    for size in (1, 3, 1000):
        monkeypatch.setattr(staging, "ROWS_PER_BUCKET", size)
        rows = pa.table({"name": ["b", "a", "b", "c", "a"], "n": [2, 9, 1, 0, 10], "text": list("vwxyz")})
        with staged(Store(tmp_path), PLAN, lambda rows=rows: rows.to_reader(2), by=("name", "n")) as made:
            found.append("".join(row["text"] for row in made.rows(0, 9)))
    assert found == ["wzxvy"] * 3


def test_a_build_that_failed_goes_on_with_the_file_that_is_there(tmp_path) -> None:
    store, (rows, runs) = Store(tmp_path), counted(20)
    with pytest.raises(KeyboardInterrupt), staged(store, PLAN, rows, by=("n",)):
        raise KeyboardInterrupt
    assert len(list(folder(store).iterdir())) == 1
    with staged(store, PLAN, rows, by=("n",)) as found:
        assert len(found.rows(0, 99)) == 20
    assert len(runs) == 1 and not folder(store).exists()


def test_a_file_that_was_not_finished_is_never_read(tmp_path) -> None:
    store = Store(tmp_path)

    def broken() -> pa.RecordBatchReader:
        def batches():
            yield pa.record_batch({"n": [1]})
            raise OSError("no space left")

        return pa.RecordBatchReader.from_batches(pa.schema({"n": pa.int64()}), batches())

    with pytest.raises(OSError, match="no space left"), staged(store, PLAN, broken, by=("n",)):
        pass
    assert not list(folder(store).glob("*.parquet"))
    rows, runs = counted(4)
    with staged(store, PLAN, rows, by=("n",)) as found:
        assert [row["n"] for row in found.rows(0, 4)] == [0, 1, 2, 3]
    assert len(runs) == 1


def test_the_rows_of_another_plan_are_not_taken_for_these_and_are_removed(tmp_path) -> None:
    store, (old, _), (new, runs) = Store(tmp_path), counted(3), counted(4)
    with pytest.raises(KeyboardInterrupt), staged(store, PLAN, old, by=("n",)):
        raise KeyboardInterrupt
    with staged(store, PLAN.model_copy(update={"fields": {"seed": 1}}), new, by=("n",)) as found:
        assert found.num_rows == 4 and len(list(folder(store).iterdir())) == 1
    assert len(runs) == 1


def test_what_one_thread_has_read_is_handed_on_to_the_next(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(staging, "ROWS_PER_GROUP", 4)
    rows, _ = counted(40)
    with staged(Store(tmp_path), PLAN, rows, by=("n",)) as found:
        asked = found.rows(0, 8)
        assert all(a is b for a, b in zip(asked, found.rows(0, 8), strict=True))
        threads = [Thread(target=lambda: [found.rows(n, n + 6) for n in range(40)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [row["n"] for row in found.rows(0, 40)] == list(range(40))


def test_another_process_reads_the_file_for_itself(tmp_path) -> None:
    rows, _ = counted(30)
    with staged(Store(tmp_path), PLAN, rows, by=("n",)) as found:
        code = f"from store.staging import Staged; print([r['n'] for r in Staged({found.path!r}).rows(3, 6)])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "[3, 4, 5]\n" and Staged(found.path).rows(29, 40)[0]["n"] == 29
