"""The decorator of compiled kernels: numba, kept on disk, so that a kernel is compiled once and not in every process.

In: a function over numpy arrays and numbers. Out: its compiled form. How: numba keeps the machine code in the
`__pycache__` beside the module, in its cache folder of the user where that cannot be written (`NUMBA_CACHE_DIR` names
another one), and nowhere where neither can be: then each process compiles anew, a few seconds.

A kept kernel is told stale by the text of its own module only. A kernel that calls one of another module would keep the
old code of that one after a change, so kernels call kernels of their own module only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """The function compiled at its first call for each kind of arguments; it runs without the interpreter's lock."""
    try:
        return cast(F, njit(cache=True, nogil=True)(function))
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        return cast(F, njit(nogil=True)(function))
