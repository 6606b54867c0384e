"""Which assert of a benchmark's tests an answer has failed, for people.

In: the traceback of a run in the sandbox, and the text of the tests. Out: the assert on one line,
since Python says nothing but `AssertionError` of `assert candidate(2) == 4`.

    failed_assert(result.stderr, task.tests)    # 'assert candidate(2) == 4'
"""

from __future__ import annotations

import ast
import re

from builders.code.syntax import parsed

LONGEST = 300
_FRAME = re.compile(r'^  File "(.+)", line (\d+)', re.MULTILINE)
_TESTS = re.compile(r"tests(_0)?\.py")


def failed_assert(traceback: str, tests: str) -> str | None:
    """The assert in the last frame of a traceback, with its message. None outside of the tests."""
    frames = _FRAME.findall(traceback)
    if not frames or not _TESTS.fullmatch(frames[-1][0]):
        return None
    number = int(frames[-1][1])
    tree = parsed(tests)
    found = [
        node
        for node in ast.walk(tree or ast.Module([], []))
        if isinstance(node, ast.Assert) and node.lineno <= number <= (node.end_lineno or node.lineno)
    ]
    if not found:
        return None
    text = " ".join((ast.get_source_segment(tests, found[-1]) or "").split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
