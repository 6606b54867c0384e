"""LeetCodeDataset: methods of a class `Solution`, tested by `check(candidate)`.

In: a row. Out: a task. Its tests stand below the imports and node classes of the site's judge
(`programs.prelude`), which the file calls `prompt` and which are nearly the same in all tasks.

    task = parse(row)      # {"task_id": "two-sum", "entry_point": "Solution().twoSum", ...}
    task.call_form         # 'method'
"""

from __future__ import annotations

from builders.harness.layouts.fields import Row, text
from builders.harness.questions import as_it_is
from builders.harness.tasks import Task


def parse(row: Row) -> Task:
    """The task of a row."""
    query, entry_point = text(row, "query"), text(row, "entry_point")
    question = as_it_is(query)
    return Task(
        task_id=text(row, "task_id"),
        prompt=query,
        solution=text(row, "completion"),
        tests=f"{text(row, 'prompt')}\n{text(row, 'test')}",
        entry_point=entry_point,
        chat=question.chat,
        completion=question.completion,
        stops=question.stops,
        call_form="method" if "." in entry_point else "function",
    )
