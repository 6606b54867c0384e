"""Inside a box: what tests rely on, as it was before the solution that shares their process.

In: the pieces of the tests. Out: a `Snapshot`, which is taken before the solution is loaded.

    snapshot = Snapshot(tests)      # imports what the tests import
    ...                             # the solution replaces unittest.TestCase.run
    snapshot.restore()              # it is the old one again
    ...                             # the tests run, and call the solution
    snapshot.check()                # AssertionError if the solution has replaced it again

This holds plain tricks. Code that was written against this very module can still deceive the tests.
"""

from __future__ import annotations

import ast
import builtins
import functools
import gc
import importlib
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

_BUILTINS = builtins
_OFTEN_PATCHED = frozenset({"open", "print", "input"})
"""Builtins that tests replace and sometimes leave so."""
_NOTHING = object()
_BOOKKEEPING = frozenset({"__abstractmethods__", "__dict__", "__weakref__", "__doc__"})


class Snapshot:
    """The functions and classes of Python's library, of unittest, and of what the tests import."""

    def __init__(self, tests: Sequence[str]) -> None:
        imported = set(_imported(tests))
        self._modules = dict(sys.modules)
        self._names = {
            module: {n: v for n, v in vars(module).items() if _is_kept(n, v)}
            for name, module in self._modules.items()
            if isinstance(module, types.ModuleType) and (name in imported or _is_of_python(name))
        }
        frameworks = [m for n, m in self._modules.items() if n.partition(".")[0] == "unittest"]
        self._tools = {m: self._names.get(m, {}) for m in frameworks}
        classes = {v for m in frameworks for v in vars(m).values() if _is_of_unittest(v)}
        self._classes = {kind: dict(vars(kind)) for kind in classes}
        functions = [v for own in (*self._classes.values(), *self._tools.values()) for v in own.values()]
        self._code = {f: (f.__code__, f.__defaults__) for f in map(_function, functions) if f is not None}

    def restore(self) -> None:
        """Put everything back."""
        for hook in (sys.settrace, sys.setprofile, threading.settrace, threading.setprofile):
            hook(None)
        for name, module in self._modules.items():
            sys.modules[name] = module
        for change in self._changes(self._names):
            change[1]()

    def check(self) -> None:
        """AssertionError if what unittest is made of, or a builtin, is not what it was."""
        tools = {module: self._names[module] for module in self._tools if module in self._names}
        own = {n: v for n, v in self._names[_BUILTINS].items() if n not in _OFTEN_PATCHED}
        for name, _ in self._changes(tools | {_BUILTINS: own}):
            raise AssertionError(f"the solution replaced {name} while the tests ran")

    def _changes(self, modules: dict[types.ModuleType, dict[str, Any]]) -> Iterator[tuple[str, Callable[[], None]]]:
        """What is not as it was: its name, and a function that puts it back."""
        for module, names in modules.items():
            now = vars(module)
            for name, value in names.items():
                if now.get(name, _NOTHING) is not value:
                    yield f"{module.__name__}.{name}", functools.partial(now.__setitem__, name, value)
        for kind, names in self._classes.items():
            now = dict(vars(kind))
            for name in (names.keys() | now.keys()) - _BOOKKEEPING:
                if now.get(name, _NOTHING) is not names.get(name, _NOTHING):
                    yield f"{kind.__name__}.{name}", _put_back(kind, name, names.get(name, _NOTHING))
        for function, (code, defaults) in self._code.items():
            if function.__code__ is not code or function.__defaults__ is not defaults:
                yield function.__qualname__, _code_back(function, code, defaults)


def _put_back(kind: type, name: str, value: Any) -> Callable[[], None]:
    return lambda: delattr(kind, name) if value is _NOTHING else setattr(kind, name, value)


def _code_back(function: Any, code: types.CodeType, defaults: Any) -> Callable[[], None]:
    def put_back() -> None:
        function.__code__, function.__defaults__ = code, defaults

    return put_back


def _function(value: Any) -> Any:
    """The Python function in a value of a class or module, or None."""
    value = getattr(value, "__func__", value)
    return value if isinstance(value, types.FunctionType) else None


def _is_kept(name: str, value: Any) -> bool:
    is_public = not name.startswith("_") or name == "__import__"
    return is_public and (callable(value) or isinstance(value, types.ModuleType))


def _is_of_python(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names


def _is_of_unittest(value: Any) -> bool:
    return isinstance(value, type) and value.__module__.partition(".")[0] == "unittest"


def _imported(tests: Sequence[str]) -> Iterator[str]:
    """Import the modules that the tests import, now. Gives the names of those that are there."""
    for text in tests:
        for node in _statements(text):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
            for name in names:
                try:
                    importlib.import_module(name)
                except Exception:  # the tests' own import says what is wrong with it
                    continue
                yield name


def _statements(text: str) -> list[ast.stmt]:
    try:
        return ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # it fails when it runs, which says why


def with_own_builtins(text: str, name: str, scope: dict[str, Any]) -> types.CodeType:
    """The code of a piece of the tests. It takes `len` from Python, not from the solution.

    The module is still the solution's, as tests that replace parts of it need. Names that the tests
    define themselves stay theirs.
    """
    tree = ast.parse(text)
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    hidden = {n for n in names & vars(_BUILTINS).keys() & scope.keys() if n not in _defined(tree) | _OWN_NAMES}
    if hidden:
        scope[_OWN] = _BUILTINS
        tree = ast.fix_missing_locations(_FromBuiltins(hidden).visit(tree))
    return compile(tree, name, "exec", dont_inherit=True)


_OWN = "_builtins_of_the_tests"
_OWN_NAMES = frozenset({"super"} | {name for name in vars(builtins) if name.startswith("__")})
"""`__name__` is the module's. `super` means nothing where the compiler does not see its name."""


class _FromBuiltins(ast.NodeTransformer):
    def __init__(self, names: set[str]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id not in self._names:
            return node
        found = ast.Attribute(ast.Name(_OWN, ast.Load()), node.id, ast.Load())
        return ast.copy_location(found, node)


def _defined(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.arg):
            found.add(node.arg)
    return found


def check_no_liars(files: Sequence[str]) -> None:
    """AssertionError if a class of the solution's has instances that equal everything."""
    # isinstance would ask dead proxies, which raise
    classes: list[Any] = [value for value in gc.get_objects() if issubclass(type(value), type)]
    for kind in classes:
        own = vars(kind).get("__eq__")
        code = getattr(own, "__code__", None)
        if code is None or code.co_filename not in files:
            continue
        try:
            is_liar = own(kind.__new__(kind), object()) is True
        except Exception:  # an instance that was never set up
            continue
        if is_liar:
            raise AssertionError(f"instances of the solution's class {kind.__name__} equal everything")
