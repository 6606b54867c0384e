"""benchmarks: a file becomes rows under its name and hash; another one of that name is refused."""

import hashlib
import json
from pathlib import Path

import pytest

from builders import benchmarks
from builders.recipe import Benchmark
from store import ContractError, Store
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
        "file_hash": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    assert [r["task_id"] for r in rows] == ["T/0", "T/1"]


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
