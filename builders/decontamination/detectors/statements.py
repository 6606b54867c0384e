"""The statement of a task: what a benchmark asks for, without code and examples.

In: a prompt, which is code with a docstring, or a statement. Out: text.
"""

from __future__ import annotations

import ast
import warnings

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def statement(prompt: str) -> str:
    """The docstrings of a prompt up to their examples if it is code, else the whole prompt."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(prompt)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return prompt
    documented = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, _FUNCTIONS)]
    prose = "\n".join(text for text in documented if text)
    return prose.split(">>>")[0] if prose else prompt
