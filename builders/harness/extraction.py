"""What of a model's text is the answer: pieces of code, each compiled by itself."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from builders.harness.programs import candidate_parts, parsed
from builders.harness.tasks import Form, Task


@dataclass(frozen=True)
class Candidate:
    """The pieces that the sandbox runs, and the code as it is shown and stored."""

    pieces: tuple[str, ...]
    code: str


def candidate(task: Task, text: str, form: Form) -> Candidate:
    """The answer in a model's text."""
    pieces = tuple(candidate_parts(task, text))
    return Candidate(pieces, "\n".join(pieces))


def imports(code: str) -> set[str]:
    """The top-level modules that the code imports."""
    tree = parsed(code)
    found: set[str] = set()
    for node in ast.walk(tree) if tree is not None else ():
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found
