"""Benchmarks that serve decontamination only. Each task says why it cannot be judged.

In: a row of CRUXEval or DS-1000. Out: a task.

    task = crux_eval({"id": "sample_7", "code": "def f(x): ...", "input": "1", "output": "1"})
    task.ungradable        # 'CRUXEval asks for …'
"""

from __future__ import annotations

from builders.harness.layouts.fields import Row, json_field, text
from builders.harness.tasks import Task


def crux_eval(row: Row) -> Task:
    """The task of a row of CRUXEval."""
    code, call, answer = (text(row, name) for name in ("code", "input", "output"))
    return Task(
        task_id=f"CRUXEval/{row['id']}",
        prompt=f"{code}\n\nassert f({call}) == {answer}\n",
        solution=code,
        tests="",
        entry_point="f",
        ungradable="CRUXEval asks for the input or output of given code, and not for code: it serves decontamination "
        "(`scoder contamination`). Give a benchmark that asks for code, such as HumanEval or LiveCodeBench",
    )


def ds_1000(row: Row) -> Task:
    """The task of a row of DS-1000."""
    about = json_field(row, "metadata")
    if not isinstance(about, dict) or "problem_id" not in about:
        raise ValueError(f"the metadata of DS-1000 must hold a problem_id, got {about!r:.80}")
    return Task(
        task_id=f"DS-1000/{about['problem_id']}",
        prompt=text(row, "prompt"),
        solution=text(row, "reference_code"),
        tests="",
        entry_point=None,
        ungradable="DS-1000 asks for lines inside a program of its own, whose libraries and checks are not run "
        "here: it serves decontamination (`scoder contamination`). Give BigCodeBench for tasks with libraries",
    )
