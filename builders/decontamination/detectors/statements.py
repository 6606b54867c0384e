"""The statement of a task: what a benchmark asks for, without code and examples.

In: a prompt, which is code with a docstring, or a statement. Out: text.

    statement   the docstrings up to their examples in the form of an interpreter
    asked       the statement up to its first example, in whatever form
"""

from __future__ import annotations

import ast
import re
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


MIN_WORDS = 8
"""Words before the first example. Where there are fewer, an example is part of the statement."""

_EXAMPLE = re.compile(
    r"""
      >>>
    | ^\s*\W*(?:for\ )?(?:example|sample|test\ case|explanation|constraint)s?\b
    | \bfor\ (?:example|instance)\b
    | \be\.g\.
    | ^\s*\[?input/output
    | ^\s*\w+\([^\n]*\)\s*(?:==|➞|=>|->|➡|=|returns?|should|\#)  # f(1) == 2
    """,
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_WORD = re.compile(r"\w+")


def asked(prompt: str) -> str:
    """The statement up to its first example, of at least MIN_WORDS words."""
    text = statement(prompt)
    for found in _EXAMPLE.finditer(text):
        if sum(1 for _ in _WORD.finditer(text, 0, found.start())) >= MIN_WORDS:
            return text[: found.start()]
    return text
