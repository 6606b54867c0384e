"""Sample files of EvalPlus and of bigcode's harness, read and written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builders.harness.sample_files import Sample, read, write
from builders.harness.tasks import Task
from store.errors import InputError, MissingError


def task(name: str) -> Task:
    return Task(task_id=name, prompt="def f():\n", solution=None, tests="assert f()", entry_point="f")


TASKS = {"he": [task("HumanEval/0"), task("HumanEval/1")]}


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    return path


def test_lines_of_solutions_and_of_completions(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "s.jsonl",
        {"task_id": "HumanEval/1", "solution": "def f(): pass", "_identifier": "x"},
        {"task_id": "HumanEval/0", "completion": "    return 1"},
        {"task_id": "HumanEval/1", "solution": "def f(): return 2"},
    )
    assert read(path, TASKS) == {
        ("he", "HumanEval/1"): [Sample("def f(): pass", "samples"), Sample("def f(): return 2", "samples")],
        ("he", "HumanEval/0"): [Sample("def f():\n    return 1", "completion")],
    }


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_only_a_line_feed_ends_a_line(tmp_path: Path, sign: str) -> None:
    row = {"task_id": "HumanEval/0", "solution": f"x = '{sign}'"}
    (tmp_path / "s").write_text(json.dumps(row, ensure_ascii=False) + "\r\n", encoding="utf-8", newline="")
    assert read(tmp_path / "s", TASKS) == {("he", "HumanEval/0"): [Sample(row["solution"], "samples")]}


@pytest.mark.parametrize("name", ["Mbpp/2", "2", 2])
def test_a_task_is_also_called_by_its_number(tmp_path: Path, name: str | int) -> None:
    tasks = {"mbpp": [task("Mbpp/12"), task("Mbpp/2")], "he": [task("HumanEval/1")]}
    path = lines(tmp_path / "s.jsonl", {"task_id": name, "solution": "x"})
    assert read(path, tasks) == {("mbpp", "Mbpp/2"): [Sample("x", "samples")]}
    with pytest.raises(InputError, match=f"the task '{name}' is in mbpp and in again: give one of them"):
        read(path, tasks | {"again": tasks["mbpp"]})


@pytest.mark.parametrize(
    ("name", "form"),
    [("he-chat", "chat"), ("he-completion", "completion"), ("he-samples", "samples"), ("chat", "samples")],
)
def test_our_own_files_say_the_form_in_their_names(tmp_path: Path, name: str, form: str) -> None:
    path = lines(tmp_path / f"{name}.jsonl", {"task_id": "HumanEval/0", "solution": "x"})
    assert [one.form for one in read(path, TASKS)["he", "HumanEval/0"]] == [form]
    (tmp_path / f"{name}.generations.json").write_text('[["x"], []]')
    found = read(tmp_path / f"{name}.generations.json", TASKS)
    assert [one.form for one in found["he", "HumanEval/0"]] == [form]


def test_a_completion_of_a_statement_in_prose_continues_what_a_model_continues(tmp_path: Path) -> None:
    path = lines(tmp_path / "s.jsonl", {"task_id": "Mbpp/2", "completion": "def f(): pass"})
    prose = replace(task("Mbpp/2"), prompt="Write a function.", completion='"""\nWrite a function.\n"""\n')
    (found,) = read(path, {"mbpp": [prose]})["mbpp", "Mbpp/2"]
    assert found.code == '"""\nWrite a function.\n"""\ndef f(): pass'


def test_lists_in_the_order_of_the_tasks(tmp_path: Path) -> None:
    path = tmp_path / "generations.json"
    path.write_text(json.dumps([["a = 1", "a = 2"], []]))
    assert read(path, TASKS) == {
        ("he", "HumanEval/0"): [Sample("a = 1", "samples"), Sample("a = 2", "samples")],
        ("he", "HumanEval/1"): [],
    }


def test_folders_of_samples_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "HumanEval_1").mkdir()
    for number in (10, 2):
        (tmp_path / "HumanEval_1" / f"{number}.py").write_text(f"x = {number}")
    assert read(tmp_path, TASKS) == {("he", "HumanEval/1"): [Sample("x = 2", "samples"), Sample("x = 10", "samples")]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"task_id": "HumanEval/7", "solution": ""}', "line 1: the task 'HumanEval/7' is in none of he"),
        ('{"task_id": "HumanEval/0"}', "line 1 needs a text task_id"),
        ("nonsense", "line 1 is not JSON"),
        ("<!doctype html><title>Sign in</title>", "is an HTML page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:4d\n", "is a Git LFS pointer"),
        ('[["a"]]', "has answers to 1 tasks, and he has 2"),
        ('["a", "b"]', "must be a list of lists of texts"),
        ("[[1], []]", "must be a list of lists of texts"),
        ("", "has no samples: give JSON lines"),
        ("\n \n", "has no samples: give JSON lines"),
        ("[[], []]", "has no samples: give a list of texts"),
        ("[]", "has no samples: give a list of texts"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "s").write_text(text)
    with pytest.raises(InputError, match=says):
        read(tmp_path / "s", TASKS)


def test_a_task_of_two_benchmarks_and_what_is_not_there(tmp_path: Path) -> None:
    path = lines(tmp_path / "s.jsonl", {"task_id": "HumanEval/0", "solution": ""})
    with pytest.raises(InputError, match="is in he and in plus: give one of them"):
        read(path, TASKS | {"plus": TASKS["he"]})
    (tmp_path / "g.json").write_text("[[], []]")
    with pytest.raises(InputError, match="one benchmark is needed, and 2 are given"):
        read(tmp_path / "g.json", TASKS | {"plus": TASKS["he"]})
    with pytest.raises(MissingError):
        read(tmp_path / "none", TASKS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds neither"):
        read(tmp_path / "empty", TASKS)


def test_what_is_written_is_read_again_and_no_answer_is_no_sample(tmp_path: Path) -> None:
    def row(name: str, number: int, code: str, status: str = "passed") -> dict[str, Any]:
        return {"benchmark": "he", "form": "chat", "task_id": name, "sample_index": number, "extracted": code} | {
            "status": status
        }

    rows = [
        row("HumanEval/0", 0, "a"),
        row("HumanEval/0", 1, "", "unanswered"),
        row("HumanEval/1", 0, "b", "failed"),
        row("HumanEval/1", 1, "c", "missing"),
    ]
    write(tmp_path, rows)
    expected = {
        ("he", "HumanEval/0"): [Sample("a", "chat")],
        ("he", "HumanEval/1"): [Sample("b", "chat"), Sample("c", "chat")],
    }
    assert read(tmp_path / "he-chat.jsonl", TASKS) == expected
    assert read(tmp_path / "he-chat.generations.json", TASKS) == expected
