"""How a model is asked about a benchmark task: in a chat, or as a text to continue."""

from __future__ import annotations

from builders.engines import Request, prompts
from builders.harness.tasks import Form, Task
from builders.recipe import Evaluation
from store import content_id, seed_from

PROMPT = "evaluation"
STOP = ("\ndef ", "\nclass ", "\nif __name__", "\nprint(", "\n#")
"""Stop strings: here a base model has finished the function and goes on with something else."""


def forms(task: Task) -> tuple[Form, ...]:
    """The forms in which the task can be asked."""
    return ("chat", "completion")


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
    """The request for sample `number` of a task in one form."""
    name = content_id(benchmark, task.task_id, form, number)
    return Request(
        request_id=name,
        messages=_question(task) if form == "chat" else None,
        prompt=task.prompt if form == "completion" else None,
        stop=STOP if form == "completion" else (),
        adapter=adapter,
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        seed=seed_from(name, seed),
    )


def _question(task: Task) -> tuple[dict[str, str], ...]:
    return ({"role": "user", "content": prompts.render(PROMPT, prompt=task.prompt.rstrip())},)
