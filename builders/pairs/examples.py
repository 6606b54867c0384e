"""The examples that a (problem, solution) pair carries, as a program for the sandbox.

In: a problem and a solution. Out: a program that passes if the solution agrees with all examples of
the pair, or None where the pair carries no example. Examples are doctests in the problem and in the
solution's docstrings, assert lines in the problem, and assert statements of the solution itself.
Nothing is executed here.
"""

from __future__ import annotations

import ast
import doctest
import re

from builders.code.functions import parsed
from builders.sandbox import tested_program

_ASSERT_LINE = re.compile(r"^[ \t]*(assert[ (].+)$", re.MULTILINE)
_FENCE_LINE = re.compile(r"^[ \t]*(```|~~~).*$", re.MULTILINE)

_DOCTESTS = """\
def _run_examples(texts, scope):
    import doctest
    parser = doctest.DocTestParser()
    for text in texts:
        runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
        runner.run(parser.get_doctest(text, dict(scope), "examples", None, 0))
        assert not runner.failures, "an example gives something else"

_run_examples(%r, globals())
"""


def program(problem: str, solution: str) -> str | None:
    """The program of the solution and all examples of the pair. None where there is no example."""
    tree = parsed(solution)
    docstrings = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, _DOCUMENTED)]
    # Without this, doctest takes a closing fence for a line of the expected output.
    texts = [text for text in (_FENCE_LINE.sub("", problem), *docstrings) if _has_doctest(text)]
    asserts = [line for line in _ASSERT_LINE.findall(problem) if _is_statement(line)]
    if not texts and not asserts and not any(isinstance(node, ast.Assert) for node in tree.body):
        return None
    return tested_program(solution, _DOCTESTS % texts + "\n".join(asserts))


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _has_doctest(text: str) -> bool:
    """Whether a text holds examples that are all Python. Prose may use `>>>` too."""
    try:
        found = doctest.DocTestParser().get_examples(text)
    except ValueError:
        return False
    return bool(found) and all(_is_statement(example.source) for example in found)


def _is_statement(source: str) -> bool:
    try:
        parsed(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
