"""The Hub's layouts of HumanEval+ and MBPP+ (`OriginFmt`): inputs and results inside a program.

In: a task of the original benchmark, and the file's `test`. Out: the task with one case per input
and its result. The program itself is never run. It ends like this:

    inputs = [[[1, 2]], [[3]]]
    results = [3, 3]
    for i, (inp, exp) in enumerate(zip(inputs, results)):
        assertion(candidate(*inp), exp, 0)

A few tasks have `ref_func(*inp)` instead of results, a copy of the task's solution: then a case has
no output. HumanEval/32 of this layout is broken: its test unpacks the answer, a number.
"""

from __future__ import annotations

import re
from dataclasses import replace

from builders.harness import literals
from builders.harness.oracles import oracle_of
from builders.harness.tasks import Case, Task

_INPUTS = re.compile(r"^ *inputs = (\[.*\])$", re.MULTILINE)
_RESULTS = re.compile(r"^ *results = (\[.*\])$", re.MULTILINE)
_ASSERTION = re.compile(r"assertion\(\w+\(\*inp\), (?:exp|ref_func\(\*inp\)), ([-+.e\d]+)\)")


def is_hub(test: str) -> bool:
    """Whether these are tests of this layout."""
    return "\n    inputs = [" in test or "\ninputs = [" in test


def with_cases(task: Task, test: str, num_base_cases: int = 0) -> Task:
    """The task with the cases of this test. HumanEval+ does not say how many are base cases."""
    last = test.rstrip().rsplit("\n", 1)[-1].strip()
    compared = _ASSERTION.fullmatch(last)
    if compared is None:
        return replace(task, ungradable=_broken(last))
    return replace(
        task,
        comparison="equal",
        cases=_cases(test),
        num_base_cases=num_base_cases,
        atol=float(compared[1]),
        oracle=oracle_of(task.task_id, task.entry_point),
    )


def _broken(last: str) -> str:
    if "*candidate(" in last:
        return f"its test is broken in this file, no answer can pass: {last!r} unpacks the answer, a number"
    return f"its test in this file compares in an unknown way: {last!r:.100}"


def _cases(test: str) -> tuple[Case, ...]:
    inputs, results = [_as_list(item) for item in _list_of(test, _INPUTS)], _list_of(test, _RESULTS)
    if not inputs:
        raise ValueError("the field test must have a line with `inputs = [...]`")
    if not results:
        return tuple(Case(arguments) for arguments in inputs)
    if len(inputs) != len(results):
        raise ValueError(f"the field test has {len(inputs)} inputs and {len(results)} results: one is cut off")
    return tuple(map(Case, inputs, results))


def _as_list(arguments: str) -> str:
    """The arguments of some tasks are in a tuple: `(1,)` becomes `[1]`."""
    return f"[{arguments[1:-1].rstrip(', ')}]" if arguments.startswith("(") else arguments


def _list_of(test: str, line: re.Pattern[str]) -> list[str]:
    found = line.search(test)
    return literals.items(found[1]) if found else []
