"""BigCodeBench: functions that use libraries, tested by unittest classes.

In: a row. Out: a task. A chat is asked the `instruct_prompt`, other models continue the
`complete_prompt`. The tests need libraries that the sandbox may lack.

    task = parse(row)      # {"task_id": "BigCodeBench/0", "complete_prompt": "import os ...", ...}
    task.comparison        # 'asserts'
"""

from __future__ import annotations

from builders.harness.layouts.fields import Row, optional, text
from builders.harness.questions import instructed, open_function
from builders.harness.tasks import Task


def parse(row: Row) -> Task:
    """The task of a row."""
    prompt, instruction = text(row, "complete_prompt"), optional(row, "instruct_prompt")
    question = instructed(instruction, prompt) if instruction.strip() else open_function(prompt)
    return Task(
        task_id=text(row, "task_id"),
        prompt=prompt,
        solution=text(row, "canonical_solution"),
        tests=text(row, "test"),
        entry_point=text(row, "entry_point"),
        chat=question.chat,
        completion=question.completion,
        stops=question.stops,
    )
