"""The rows of published benchmarks as tasks. The fields of a row tell which benchmark it is from.

In: one row as a dictionary. Out: a `Task`. This is pure parsing: nothing of a row is executed or
unpickled. One module reads one family of benchmarks:

    human_eval        HumanEval; MultiPL-E in Python
    mbpp              MBPP, sanitized MBPP, and its test split in DeepSeek's form
    evalplus          HumanEval+ and MBPP+, as released and as on the Hub
    livecodebench     LiveCodeBench's public format
    bigcodebench      BigCodeBench
    leetcode          LeetCodeDataset
    apps              APPS
    others            CRUXEval, DS-1000, and MultiPL-E in other languages

The last ones, and rows without tests, serve decontamination only. Their tasks say in `ungradable`
why answers to them cannot be judged.

    parse_task({"task_id": "HumanEval/0", "prompt": "def f(x):\\n", ...}).comparison   # 'asserts'
"""

from __future__ import annotations

from collections.abc import Callable

from builders.harness.layouts import apps, bigcodebench, evalplus, human_eval, leetcode, livecodebench, mbpp, others
from builders.harness.layouts.fields import Row
from builders.harness.tasks import Task

__all__ = ["parse_task"]

_EVAL_PLUS = {"task_id", "prompt", "canonical_solution", "entry_point", "base_input", "plus_input"}

# The first layout whose fields are all there is taken. HumanEval+ also has the fields of HumanEval.
_LAYOUTS: dict[str, tuple[set[str], Callable[[Row], Task]]] = {
    "HumanEval+ or MBPP+": (_EVAL_PLUS, evalplus.parse),
    "HumanEval": ({"task_id", "prompt", "canonical_solution", "test", "entry_point"}, human_eval.parse),
    "BigCodeBench": (
        {"task_id", "complete_prompt", "canonical_solution", "test", "entry_point"},
        bigcodebench.parse,
    ),
    "MBPP": ({"task_id", "text", "code", "test_list"}, mbpp.parse),
    "sanitized MBPP": ({"task_id", "prompt", "code", "test_list"}, mbpp.parse),
    "MBPP test split": ({"task_id", "prompt", "code", "test"}, mbpp.parse),
    "LiveCodeBench": ({"question_id", "question_content"}, livecodebench.parse),
    "LeetCodeDataset": ({"task_id", "query", "prompt", "completion", "test", "entry_point"}, leetcode.parse),
    "APPS": ({"problem_id", "question", "solutions", "input_output"}, apps.parse),
    "APPS, older": ({"id", "question", "solutions", "input_output"}, apps.parse),
    "CRUXEval": ({"id", "code", "input", "output"}, others.crux_eval),
    "DS-1000": ({"prompt", "reference_code", "metadata"}, others.ds_1000),
    "MultiPL-E": ({"name", "language", "prompt", "tests"}, human_eval.multipl_e),
}


def parse_task(row: Row) -> Task:
    """The task of one row. ValueError for an unknown layout, or a field of the wrong type."""
    if not isinstance(row, dict):
        got = type(row).__name__
        raise ValueError(f"a task must be a JSON object, got {got}")
    for fields, parse in _LAYOUTS.values():
        if fields <= row.keys():
            return parse(row)
    known = "; ".join(f"{name} ({', '.join(sorted(fields))})" for name, (fields, _) in _LAYOUTS.items())
    raise ValueError(f"unknown benchmark layout with the fields {sorted(row)}; the known layouts are: {known}")
