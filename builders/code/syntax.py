"""Whether a text is Python. Nothing is executed, no text makes it raise, and no warning is given.

parses("x = 1")    # True
parsed("x = (")    # None
"""

from __future__ import annotations

import ast
import warnings


def parses(code: str) -> bool:
    """Whether the code is valid Python."""
    return parsed(code) is not None


def parsed(code: str) -> ast.Module | None:
    """The syntax tree, or None for what is not Python."""
    try:
        return tree_of(code)
    # ValueError: null bytes or lone surrogates. The last two: nested too deeply for the parser.
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def fault(code: str) -> str | None:
    """Why a text is not Python, in a few words. None if it is.

    fault("x = (")    # "'(' was never closed (line 1)"
    """
    try:
        tree_of(code)
    except SyntaxError as error:
        return f"{error.msg} (line {error.lineno})"
    except (ValueError, RecursionError, MemoryError) as error:
        return str(error) or "nested too deeply"
    return None


def tree_of(code: str) -> ast.Module:
    """The syntax tree. Raises what the parser raises."""
    with warnings.catch_warnings():
        # Foreign code holds escapes such as '\\d' in plain strings.
        warnings.simplefilter("ignore")
        return ast.parse(code)
