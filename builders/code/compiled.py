"""The decorator of compiled kernels: numba, with the machine code kept on disk.

In: a function over numpy arrays and numbers. Out: its compiled form. Because the code is kept, a
kernel is compiled once and not in every process.

How: numba keeps the machine code in the `__pycache__` beside the module. If that folder cannot be
written, it uses its cache folder of the user (`NUMBA_CACHE_DIR` names another one). If neither can
be written, each process compiles anew, which takes a few seconds.

Numba notices that a kept kernel is old by the text of the kernel's own module only. A kernel that
calls a kernel of another module would keep the other's old code. So kernels call only kernels of
their own module.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """The function, compiled at its first call for each kind of arguments.

    It runs without the interpreter's lock.
    """
    try:
        return cast(F, njit(cache=True, nogil=True)(function))
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        return cast(F, njit(nogil=True)(function))
