"""How a model is asked about a benchmark task: in a chat, or as a text to continue.

In: a task and the form. Out: a request for an engine. The texts are the task's own
(`builders/harness/questions.py`), so that every model is asked the same.

    request(task, 0, "chat", Evaluation(), seed=0).messages[0]["content"]
"""

from __future__ import annotations

from builders.engines import Request
from builders.harness.questions import PROMPTS
from builders.harness.tasks import Form, Task
from builders.recipe import Evaluation
from store import content_id, seed_from

__all__ = ["PROMPTS", "forms", "request"]


def forms(task: Task) -> tuple[Form, ...]:
    """The forms in which the task can be asked. None for tasks of decontamination alone."""
    texts: dict[Form, str] = {"chat": task.chat, "completion": task.completion}
    return tuple(form for form, text in texts.items() if text)


def request(
    task: Task,
    number: int,
    form: Form,
    settings: Evaluation,
    seed: int,
    adapter: str | None = None,
    *,
    benchmark: str = "",
) -> Request:
    """The request for sample `number` of a task, in this form.

    `benchmark` makes the id of the request differ where two benchmarks of one stream have a task of
    the same id.
    """
    is_chat = form == "chat"
    name = content_id(benchmark, task.task_id, form, number)
    return Request(
        request_id=name,
        messages=({"role": "user", "content": task.chat},) if is_chat else None,
        prompt=None if is_chat else task.completion,
        stop=() if is_chat else task.stops,
        adapter=adapter,
        max_tokens=settings.max_tokens + settings.engine.max_thinking_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        seed=seed_from(name, seed),
    )
