"""The prose of a prompt: what a benchmark asks for, without its code and examples.

In: a prompt, which is code with a docstring or a statement. Out: text.
"""

from __future__ import annotations

import ast
import warnings

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def statement(prompt: str) -> str:
    """The docstrings of a prompt up to their examples when it is code, else all of it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(prompt)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return prompt
    documented = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, _FUNCTIONS)]
    prose = "\n".join(text for text in documented if text)
    return prose.split(">>>")[0] if prose else prompt
