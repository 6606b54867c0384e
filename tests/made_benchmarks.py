"""A benchmark of many small tasks, and an endpoint that knows the answers.

In: how many tasks. Out: a file in HumanEval's layout, whose task `n` wants `plus_n(x) == x + n`.
`answer(body)` is what a model that solves them says, in the form in which it is asked.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.fault_server import ok, question


def row(number: int, name: str = "Made", tests: str | None = None, solution: str | None = None) -> dict[str, Any]:
    """Task `number` in HumanEval's layout."""
    test = f"def check(candidate):\n    assert candidate(2) == {number} + 2\n    assert candidate(0) == {number}\n"
    return {
        "task_id": f"{name}/{number}",
        "prompt": f'def plus_{number}(x):\n    """Return x + {number}."""\n',
        "canonical_solution": solution or f"    return x + {number}\n",
        "test": test if tests is None else tests,
        "entry_point": f"plus_{number}",
    }


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows as a file of JSON lines."""
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def benchmark(path: Path, number: int, name: str = "Made") -> Path:
    """A file with so many tasks."""
    return written(path, [row(n, name) for n in range(number)])


def number_of(body: dict[str, Any]) -> int:
    """Which task a request is about; -1 for one that is about none."""
    found = re.search(r"def plus_(\d+)\(", question(body))
    return int(found[1]) if found else -1


def is_chat(body: dict[str, Any]) -> bool:
    """Whether a request is a chat."""
    return "messages" in body


def answer(body: dict[str, Any], reason: str = "stop") -> web.Response:
    """The right answer to a request."""
    number = number_of(body)
    code = f"    return x + {number}\n"
    return ok(f"```python\ndef plus_{number}(x):\n{code}```\n" if is_chat(body) else code, reason)
