"""Questions: what a model reads, and where its continuation ends, in every layout."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from builders.engines import prompts
from builders.harness import asking
from builders.harness.files import read_tasks
from builders.harness.layouts import parse_task
from builders.harness.questions import PROMPTS
from builders.harness.tasks import Task
from builders.recipe import Evaluation
from tests.benchmark_rows import (
    APPS,
    APPS_LINES,
    BIG_CODE_BENCH,
    CRUX_EVAL,
    DATA,
    GRADED,
    HUMAN_EVAL,
    LEET_CODE,
    LIVE_CODE_BENCH,
    LIVE_CODE_BENCH_METHOD,
    LIVE_CODE_BENCH_STDIN,
    MBPP,
    MBPP_HUB,
    MBPP_PLUS,
    MULTIPL_E,
    MULTIPL_E_PYTHON,
    needs_data,
)

EVAL_PLUS = (
    "Please provide a self-contained Python script that solves the following problem in a markdown code block:\n"
)


def question(row: dict) -> tuple[str, str]:
    task = parse_task(row)
    return task.chat, task.completion


def test_human_eval_is_asked_as_evalplus_asks():
    """`OpenAIChatDecoder.codegen` and `codegen` of evalplus 0.3.1."""
    prompt = HUMAN_EVAL["prompt"].strip()
    for row in (HUMAN_EVAL, {**HUMAN_EVAL, "prompt": f"\n\n{prompt}\n\n"}):
        assert question(row) == (f"{EVAL_PLUS}```python\n{prompt}\n```", prompt + "\n")
    assert parse_task(MULTIPL_E_PYTHON).completion == MULTIPL_E_PYTHON["prompt"]


def test_mbpp_plus_is_asked_as_evalplus_asks():
    docstring = MBPP_PLUS["prompt"].strip()
    assert question(MBPP_PLUS) == (f"{EVAL_PLUS}```python\n{docstring}\n```", docstring + "\n")
    docstring = '"""\nAdd.\nassert plus(1, 2) == 3\n"""'
    assert question(MBPP_HUB) == (f"{EVAL_PLUS}```python\n{docstring}\n```", docstring + "\n")


def test_mbpp_is_asked_with_all_of_its_asserts():
    chat, completion = question(MBPP)
    assert chat == (
        "You are an expert Python programmer, and here is your task: Write a function to add two numbers. "
        "Your code should pass these tests:\n\nassert plus(1, 2) == three\nassert plus(0, 0) == 0\n\n"
        "Answer with a self-contained Python script in a markdown code block."
    )
    asserts = "assert plus(1, 2) == three\nassert plus(0, 0) == 0"
    assert completion == f'"""\nWrite a function to add two numbers.\n{asserts}\n"""\n'
    compile(completion, "completion", "exec")


def test_big_code_bench_has_a_text_for_chats_and_one_to_complete():
    assert question(BIG_CODE_BENCH) == (
        EVAL_PLUS + BIG_CODE_BENCH["instruct_prompt"],
        BIG_CODE_BENCH["complete_prompt"],
    )
    prompt = BIG_CODE_BENCH["complete_prompt"].strip()
    for nothing in (None, "", " "):
        assert parse_task({**BIG_CODE_BENCH, "instruct_prompt": nothing}).chat == f"{EVAL_PLUS}```python\n{prompt}\n```"


def test_live_code_bench_says_how_the_answer_is_run():
    """`get_generic_question_template_answer` of LiveCodeBench."""
    chat, completion = question(LIVE_CODE_BENCH_STDIN)
    assert "### Question:\nDouble the number.\n\n" in chat
    assert "### Format: Read the inputs from stdin solve the problem and write the answer to stdout (do not" in chat
    assert chat.endswith("```python\n# YOUR CODE HERE\n```\n\n### Answer: (use the provided format with backticks)")
    assert completion == "### Question\nDouble the number.\n\n\n### Answer\n\n```python\n"
    chat, completion = question(LIVE_CODE_BENCH_METHOD)
    starter = LIVE_CODE_BENCH_METHOD["starter_code"].strip()
    assert "### Format: You will use the following starter code to write the solution to the problem and" in chat
    assert f"```python\n{starter}\n```" in chat
    assert "stdin" not in chat
    assert completion.endswith(f"### Starter Code\n{starter}\n\n### Answer\n\n```python\n")


def test_leet_code_and_apps_say_everything_themselves():
    assert question(LEET_CODE) == (LEET_CODE["query"], LEET_CODE["query"] + "\n\n```python\n")
    chat, completion = question(APPS)
    assert completion == "\nQUESTION:\nDouble it.\n\ndef double(x):\n\nUse Call-Based format\nANSWER:\n"
    assert "Use Call-Based format. Write the answer in Python" in chat
    chat, completion = question(APPS_LINES)
    assert completion == "\nQUESTION:\nDouble it.\n\nUse Standard Input format\nANSWER:\n"
    nameless = {**APPS, "starter_code": ""}
    assert all("The function is called double." in text for text in question(nameless))


def test_what_cannot_be_judged_is_not_asked():
    assert [asking.forms(parse_task(row)) for row in (CRUX_EVAL, MULTIPL_E)] == [(), ()]
    for row in (*GRADED, LIVE_CODE_BENCH):
        assert asking.forms(parse_task(row)) == ("chat", "completion")


def test_a_request_has_the_form_that_is_asked_for():
    task, settings = parse_task(HUMAN_EVAL), Evaluation(max_tokens=7, temperature=0.5)
    chat = asking.request(task, 0, "chat", settings, 1, "tuned")
    assert (chat.messages, chat.prompt, chat.stop) == (({"role": "user", "content": task.chat},), None, ())
    assert (chat.adapter, chat.max_tokens, chat.temperature) == ("tuned", 7, 0.5)
    completion = asking.request(task, 0, "completion", settings, 1)
    assert (completion.messages, completion.prompt, completion.stop) == (None, task.completion, task.stops)
    others = [
        asking.request(task, 1, "chat", settings, 1),
        asking.request(task, 0, "chat", settings, 1, benchmark="b"),
        asking.request(parse_task(MBPP), 0, "chat", settings, 1),
    ]
    assert len({request.request_id for request in (chat, completion, *others)}) == 5
    assert len({request.seed for request in (chat, completion, *others)}) == 5


def test_every_template_of_the_evaluation_is_known():
    names = {path.stem for path in Path(prompts.__file__).parent.glob("evaluation*.txt")}
    assert names == set(PROMPTS)


def cut(task: Task) -> str | None:
    """The stop that would cut off a part of the task's own solution."""
    for stop in task.stops:
        if task.solution and task.solution.split(stop)[0].strip() != task.solution.strip():
            return stop
    return None


def is_named(task: Task) -> bool:
    """Whether a model reads the name of the function, in both forms."""
    name = re.findall(r"\w+", task.entry_point or "")[-1]
    return all(re.search(rf"\b{name}\b", text) for text in (task.chat, task.completion))


@pytest.mark.parametrize("row", [*GRADED, APPS_LINES])
def test_no_stop_cuts_a_solution_and_every_function_is_named(row):
    task = parse_task(row)
    assert cut(task) is None
    assert task.stops and (task.entry_point is None or is_named(task))


@needs_data
@pytest.mark.parametrize(
    ("file", "num_tasks"),
    [
        ("human-eval/HumanEval.jsonl.gz", 164),
        ("humaneval-plus/HumanEvalPlus.jsonl.gz", 164),
        ("mbpp/mbpp.jsonl", 974),
        ("mbpp/mbpp_test.jsonl", 500),
        ("mbpp-plus/MbppPlus-v0.1.0.jsonl", 399),
        ("mbpp-plus/MbppPlus.jsonl.gz", 378),
        ("mbpp-plus/MbppPlus-OriginFmt.jsonl.gz", 378),
        ("leetcode/LeetCodeDataset-v0.1.0-train.jsonl.gz", 1570),
        ("bigcodebench-hard/bigcodebench_hard.json", 148),
    ],
)
def test_no_stop_cuts_a_public_solution_and_every_function_is_named(file, num_tasks):
    tasks = list(read_tasks(DATA / file))
    assert len(tasks) == num_tasks
    assert {task.task_id: cut(task) for task in tasks if cut(task)} == {}
    assert [task.task_id for task in tasks if not is_named(task)] == []
