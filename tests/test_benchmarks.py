"""benchmarks: a file becomes rows under its name and hash; another one of that name is refused."""

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from builders import benchmarks
from builders.datasets.tables import rows_at_once
from builders.harness.tasks import Case
from builders.recipe import Benchmark
from store import ContractError, Store
from store.errors import InputError
from tests.benchmark_rows import (
    APPS_LINES,
    CRUX_EVAL,
    GRADED,
    HUMAN_EVAL_PLUS_TESTED,
    LIVE_CODE_BENCH_FUNCTION,
    LIVE_CODE_BENCH_METHOD,
    LIVE_CODE_BENCH_STDIN,
    MBPP_HUB_REFERENCE,
    MULTIPL_E,
)
from tests.tiny_recipes import read

ROW = {
    "task_id": "T/0",
    "prompt": "def add(a, b):\r\n",
    "canonical_solution": "    return a + b\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    "entry_point": "add",
}
STATEMENT = {
    "question_id": "1",
    "question_title": "Add",
    "question_content": "Add two numbers.",
    "starter_code": "",
    "public_test_cases": "[]",
}


def written(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


def test_one_row_per_task(tmp_path):
    path = written(tmp_path / "b.jsonl", ROW, {**ROW, "task_id": "T/1"})
    store = Store(tmp_path / "store")
    benchmarks.build(store, Benchmark(name="mine", path=str(path)))
    rows = read(store, "benchmarks", benchmark="mine")
    assert rows[0] == {
        "benchmark": "mine",
        "task_id": "T/0",
        "prompt": "def add(a, b):\n",
        "solution": "    return a + b\n",
        "tests": ROW["test"],
        "entry_point": "add",
        "language": "python",
        "chat": rows[0]["chat"],
        "completion": "def add(a, b):\n",
        "stops": ["\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ", "\nif __name__", "\nprint("],
        "call_form": "function",
        "comparison": "asserts",
        "cases": [],
        "num_base_cases": 0,
        "atol": 0.0,
        "oracle": None,
        "case_s": None,
        "contest_date": None,
        "ungradable": None,
        "file_hash": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    assert rows[0]["chat"].endswith("markdown code block:\n```python\ndef add(a, b):\n```")
    assert [r["task_id"] for r in rows] == ["T/0", "T/1"]


def test_every_task_comes_back_from_its_row(tmp_path, monkeypatch):
    """In parts: one Arrow array holds 2 GiB of text at most."""
    monkeypatch.setattr(benchmarks, "ROWS_PER_PART", 2)
    rows = [*GRADED, LIVE_CODE_BENCH_STDIN, LIVE_CODE_BENCH_METHOD, APPS_LINES, CRUX_EVAL, MULTIPL_E]
    rows = [row for row in rows if row not in (HUMAN_EVAL_PLUS_TESTED, MBPP_HUB_REFERENCE)]
    store, benchmark = Store(tmp_path / "store"), Benchmark(name="all", path=str(written(tmp_path / "b.jsonl", *rows)))
    benchmarks.build(store, benchmark)
    found = read(store, "benchmarks", benchmark="all")
    by_id = {row["task_id"]: benchmarks.task_of(row) for row in found}
    assert by_id == {task.task_id: task for task in benchmarks.tasks(benchmark)}
    assert len(by_id) == len(rows)
    assert by_id["Mbpp/2"].cases[0] == Case("[(1, 2), (2, 3)]", None)
    outputs = store.sql("SELECT cases[1].output FROM benchmarks WHERE task_id = '1_A'").fetchall()
    assert outputs == [("2\n",)]


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [
        ("2024-05-01", None, ["1_A", "2", "3"]),
        ("2024-05-02", None, ["2", "3"]),
        (None, "2024-08-31", ["1_A", "2"]),
        (None, "2024-08-30", ["1_A"]),
        ("2024-08-31", "2024-08-31", ["2"]),
    ],
)
def test_a_window_of_contests_holds_both_of_its_days(tmp_path, first, last, found):
    rows = [LIVE_CODE_BENCH_STDIN, LIVE_CODE_BENCH_METHOD, LIVE_CODE_BENCH_FUNCTION, ROW]
    path = written(tmp_path / "b.jsonl", *rows)
    benchmark = Benchmark(name="lcb", path=str(path), contest_from=first, contest_until=last)
    assert [task.task_id for task in benchmarks.tasks(benchmark)] == found
    store = Store(tmp_path / "store")
    record = benchmarks.build(store, benchmark)
    assert [row["task_id"] for row in read(store, "benchmarks", benchmark="lcb")] == found
    assert record.plan.fields.keys() - {"file_hash"} == {
        name for name, day in (("contest_from", first), ("contest_until", last)) if day
    }


def test_another_window_is_another_benchmark(tmp_path):
    path, store = written(tmp_path / "b.jsonl", LIVE_CODE_BENCH_STDIN), Store(tmp_path / "store")
    benchmarks.build(store, Benchmark(name="lcb", path=str(path)))
    with pytest.raises(ContractError, match="contest_from"):
        benchmarks.build(store, Benchmark(name="lcb", path=str(path), contest_from="2024-01-01"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ROW, r"benchmark 'b' \(.*b.jsonl\): no task has a contest_date: leave out contest_from and contest_until"),
        (
            LIVE_CODE_BENCH_STDIN,
            r"no contest is from 2025-01-01 to 2025-02-01, they are from 2024-05-01 to 2024-05-01: change contest_from",
        ),
    ],
)
def test_a_window_without_tasks_is_refused(tmp_path, row, message):
    path = written(tmp_path / "b.jsonl", row)
    benchmark = Benchmark(name="b", path=str(path), contest_from="2025-01-01", contest_until="2025-02-01")
    with pytest.raises(InputError, match=message):
        list(benchmarks.tasks(benchmark))


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ({"contest_from": "2025-01-01", "contest_until": "2024-01-01"}, "2025-01-01 is after contest_until 2024-01-01"),
        ({"contest_from": "May"}, "contest_from"),
    ],
)
def test_a_window_has_days_in_their_order(window, message):
    with pytest.raises(ValueError, match=message):
        Benchmark(name="b", path="x", **window)


def test_a_moved_file_is_the_same_benchmark_and_a_changed_one_is_not(tmp_path):
    store = Store(tmp_path / "store")
    first = benchmarks.build(store, Benchmark(name="mine", path=str(written(tmp_path / "a.jsonl", ROW))))
    assert benchmarks.build(store, Benchmark(name="mine", path=str(written(tmp_path / "b.jsonl", ROW)))) == first
    changed = written(tmp_path / "a.jsonl", {**ROW, "entry_point": "sub"})
    with pytest.raises(ContractError, match=r"benchmarks/benchmark-mine was built under another plan(.|\n)*file_hash"):
        benchmarks.build(store, Benchmark(name="mine", path=str(changed)))


def test_statements_without_solution_are_rows_too(tmp_path):
    store = Store(tmp_path / "store")
    benchmarks.build(store, Benchmark(name="lcb", path=str(written(tmp_path / "b.jsonl", STATEMENT))))
    (row,) = read(store, "benchmarks", benchmark="lcb")
    assert (row["prompt"], row["solution"], row["entry_point"]) == ("Add two numbers.", None, None)


@pytest.mark.parametrize(
    "rows, message",
    [
        ([ROW, ROW], "row 2: task_id 'T/0' occurs twice"),
        ([ROW, {"question": "?"}], "row 2: unknown benchmark layout with the fields"),
        ([], "is empty"),
    ],
)
def test_a_bad_file_is_named_with_its_row_and_leaves_no_rows(tmp_path, rows, message):
    path, store = written(tmp_path / "bad.jsonl", *rows), Store(tmp_path / "store")
    with pytest.raises(ValueError, match=rf"bad.jsonl.*{message}"):
        benchmarks.build(store, Benchmark(name="mine", path=str(path)))
    assert not store.is_complete("benchmarks", benchmark="mine")


def test_an_absent_file_is_named_with_its_benchmark(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"benchmark 'mine': no file .*gone\.jsonl"):
        benchmarks.build(Store(tmp_path), Benchmark(name="mine", path=str(tmp_path / "gone.jsonl")))


def test_a_name_that_is_no_path_segment_is_refused():
    with pytest.raises(ValueError, match=r"benchmark name 'Human/Eval' must match"):
        Benchmark(name="Human/Eval", path="x")


def test_a_dataset_folder_is_a_benchmark_and_its_tasks_are_its_identity(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    written(folder / "test.jsonl", ROW)
    store, benchmark = Store(tmp_path / "store"), Benchmark(name="mine", path=str(folder))
    first = benchmarks.build(store, benchmark)
    assert [r["task_id"] for r in read(store, "benchmarks", benchmark="mine")] == ["T/0"]
    assert benchmarks.build(store, benchmark) == first
    written(folder / "test.jsonl", {**ROW, "entry_point": "sub"})
    with pytest.raises(ContractError, match="file_hash"):
        benchmarks.build(store, benchmark)


@pytest.mark.parametrize(
    ("text", "name", "path", "config", "split"),
    [
        ("data/HumanEval.jsonl.gz", "humaneval", "data/HumanEval.jsonl.gz", None, None),
        ("HumanEval=data/tasks.jsonl", "humaneval", "data/tasks.jsonl", None, None),
        ("he=data/HumanEval.jsonl.gz", "he", "data/HumanEval.jsonl.gz", None, None),
        ("MbppPlus-v0.1.0.jsonl", "mbppplus-v0-1-0", "MbppPlus-v0.1.0.jsonl", None, None),
        ("openai/openai_humaneval", "openai_humaneval", "openai/openai_humaneval", None, None),
        ("google/mbpp:full@train", "mbpp-full", "google/mbpp", "full", "train"),
        ("own=google/mbpp@train", "own", "google/mbpp", None, "train"),
        ("/nowhere/a:b@c", "a-b-c", "/nowhere/a:b@c", None, None),
    ],
)
def test_a_benchmark_on_the_command_line(text, name, path, config, split):
    found = benchmarks.named(text)
    assert (found.name, found.path, found.config, found.split) == (name, path, config, split)


def test_a_file_that_is_there_is_never_taken_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "a=b@c", ROW)
    found = benchmarks.named("a=b@c")
    assert (found.path, found.split) == ("a=b@c", None)
    assert [t.task_id for t in benchmarks.tasks(found)] == ["T/0"]


def test_tasks_of_several_mb_are_read_one_after_the_other(tmp_path):
    """Parquet gives back whole pages, so such rows lie in groups of their own."""
    tests = [[{"input": f"{n}" * 2**22, "output": f"{test}" * 2**22} for test in range(3)] for n in range(5)]
    large = [
        {**STATEMENT, "question_id": str(n), "private_test_cases": json.dumps(of_task)}
        for n, of_task in enumerate(tests)
    ]
    store = Store(tmp_path / "store")
    for name, rows in (("large", large), ("small", [ROW, {**ROW, "task_id": "T/1"}])):
        benchmark = Benchmark(name=name, path=str(written(tmp_path / f"{name}.jsonl", *rows)))
        benchmarks.build(store, benchmark)
        assert list(benchmarks.built(store, name)) == list(benchmarks.tasks(benchmark))
    files = {
        name: Path(store.directory("benchmarks", benchmark=name), "part-00000.parquet") for name in ("large", "small")
    }
    assert {name: pq.read_metadata(file).num_row_groups for name, file in files.items()} == {"large": 5, "small": 1}
    assert rows_at_once(pq.read_metadata(files["large"])) < 5 <= rows_at_once(pq.read_metadata(files["small"]))
