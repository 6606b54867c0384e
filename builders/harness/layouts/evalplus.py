"""HumanEval+ and MBPP+ as EvalPlus releases them.

In: a row with `base_input` and `plus_input`. Out: a task with one case per input, the base inputs
first. A case has no output: that of the task's own solution is expected. `tests` are those of the
original benchmark where the file has them (HumanEval+ from v0.1.10 on); they are for
decontamination only.

    task = parse(row)      # {"base_input": [[5, 3]], "plus_input": [[0.1, 0.3]], ...}
    task.cases             # (Case("[5, 3]"), Case("[0.1, 0.3]"))
"""

from __future__ import annotations

from builders.harness import literals
from builders.harness.layouts import evalplus_inputs
from builders.harness.layouts.fields import Row, optional, text
from builders.harness.oracles import oracle_of
from builders.harness.questions import below_docstring, open_function
from builders.harness.tasks import Case, Task


def parse(row: Row) -> Task:
    """The task of a row of HumanEval+ or MBPP+."""
    task_id, prompt, entry_point = (text(row, name) for name in ("task_id", "prompt", "entry_point"))
    is_mbpp = task_id.startswith("Mbpp/")
    question = below_docstring(prompt) if is_mbpp else open_function(prompt)
    base, plus = (_inputs(row, name) for name in ("base_input", "plus_input"))
    return Task(
        task_id=task_id,
        prompt=prompt,
        solution=text(row, "canonical_solution"),
        tests=optional(row, "test"),
        entry_point=entry_point,
        chat=question.chat,
        completion=question.completion,
        stops=question.stops,
        comparison="equal",
        cases=tuple(Case(literals.text(arguments)) for arguments in [*base, *plus]),
        num_base_cases=len(base),
        atol=float(row.get("atol") or 0),
        oracle=oracle_of(task_id, entry_point),
    )


def _inputs(row: Row, name: str) -> list[list[object]]:
    """The argument lists. A task without plus inputs has `{}` in the file."""
    found = row[name] or []
    if not isinstance(found, list):
        raise ValueError(f"the field {name} must be a list of argument lists, got {found!r:.80}")
    return evalplus_inputs.restored(row["task_id"], found)
