"""Type errors: each text has its own, nothing is executed.

A checker that fails loses one text at most.
"""

import json
import os
import subprocess
import tempfile

import pytest

from builders.checks import certain_types, type_names, types
from builders.checks.types import errors

RIGHT = "def f(x: int) -> str:\n    return str(x)\n"
WRONG = "def f(x: int) -> str:\n    return x + 'a'\n"


def test_errors_are_those_of_each_text_in_their_order():
    two = "def f(x: int) -> str:\n    y: str = x\n    return x\n"
    assert errors([RIGHT, WRONG, "", two, RIGHT]) == [0, 1, 0, 2, 0]
    assert errors([]) == []


def test_batches_do_not_change_the_result():
    codes = [RIGHT, WRONG, RIGHT, WRONG, WRONG]
    assert errors(codes, batch=2) == [0, 1, 0, 1, 1]


@pytest.mark.parametrize(
    "code",
    [
        # installed packages are not looked at
        "import numpy\ndef f(x):\n    return numpy.zeros(x) + numpy.nothing\n",
        "from .sibling import thing\ndef f(x):\n    return thing(x)\n",
        "def f(self):\n    return super().f() + self.x.y\n",
        "def f(x):\n    return helper(x)\n",
        "def f(x):\n    for self.y in x: self.z: int = 1\n    return x\n".replace("f(x)", "f(self, x)"),
    ],
)
def test_what_a_lone_function_cannot_know_is_no_error(code):
    assert errors([code]) == [0]


CERTAIN = {
    "another class": "def f(x: int) -> str:\n    return x\n",
    "a literal": "def f(x: str) -> int:\n    return 'a' if x else 'b'\n",
    "another length": "def f(x: int) -> tuple[int, int]:\n    return x, x, x\n",
    "bare return": "def f(x: list[int]) -> int:\n    if not x:\n        return\n    return x[0]\n",
    "a class": "def f(x: int) -> int:\n    return NotImplementedError\n",
    "nothing": "def f(x: int) -> int:\n    y = 2 * x\n",
    "a generator": "def f(x: int) -> list[int]:\n    yield x\n",
    "a yielded value": "from typing import Iterator\ndef f(x: int) -> Iterator[str]:\n    yield x\n",
    "a variable": "def f(x: int):\n    y: str = 'a'\n    y = x\n    return y\n",
    "a default": "def f(x: int = 'a'):\n    return x\n",
    "a helper": "def g(x: str) -> str:\n    return x\ndef f(n: int):\n    return g(x=n)\n",
    "a nested helper": "def f():\n    def g(x: list[int]) -> int:\n        return len(x)\n    return g('a')\n",
    "a built-in function": "def f(n: int) -> int:\n    return len(n)\n",
    "an operator": "def f(n: list[int]):\n    return n < 1\n",
    "an attribute, behind other letters": "def f(n: list[int]):\n    'ä'; n.add(1)\n",
}
GUESSED = {
    "None as default": "def f(x: int = None, y: str = None) -> int:\n    return 1\n",
    "None for now": "def f(x: int):\n    y: list[int] = None\n    y = [x]\n    return y\n",
    "None where it was set before": "def f(*runs):\n    n = None\n    for r in runs:\n        n = r\n    return n + 1\n",
    "a match that is there": "import re\ndef f(x: str) -> str:\n    return re.match('a*', x).group(0)\n",
    "a parameter that is made another": "from pathlib import Path\ndef f(x: str):\n    x = Path(x)\n    return x.name\n",
    "other elements": "def f(x: str) -> list[int]:\n    y = [x.upper()]\n    y.clear()\n    return y\n",
    "a tuple of unknown length": "def f(x: str) -> tuple[int, int]:\n    return tuple(map(int, x.split()))\n",
    "one of two": "def f(x: int) -> str:\n    y = None if x else 'a'\n    return y\n",
    "narrowed": "def f(x: object) -> int:\n    if callable(x):\n        return x()\n    return len(x)\n",
    "another module of the name": "import types\ndef f(x):\n    return types.UniTuple(types.boolean, x)\n",
    "a method like a function": "def is_square(self, a):\n    return is_square(a)\n",
    "deliberate": "def f(self):\n    self.assertRaises(TypeError, lambda: int('0', 5.5))\n    int('0', 5.5)\n",
    "not to the end": "def f(x: int) -> int:\n    for y in range(x, 2 * x):\n        if x % y:\n            return y\n",
    "one that raises": "def f(self, x: int) -> int:\n    self.x = x\n    self.fail()\n",
    "not written yet": "def f(self, x: int) -> int:\n    'Twice x.'\n    pass\n",
    "an attribute of a function": "def f(x: int):\n    def g(): return x\n    g.cache = {}\n    return g\n",
    "bytes that grow": "def f(x: bytes) -> bytes:\n    y = bytearray()\n    y += x\n    return y\n",
}


@pytest.fixture(scope="module")
def counted() -> dict[str, int | None]:
    codes = CERTAIN | GUESSED
    return dict(zip(codes, errors(list(codes.values())), strict=True))


@pytest.mark.parametrize("kind", CERTAIN)
def test_an_error_by_the_annotations_of_the_text_counts(counted, kind):
    assert counted[kind] == 1


@pytest.mark.parametrize("kind", GUESSED)
def test_what_the_checker_only_guesses_does_not_count(counted, kind):
    assert counted[kind] == 0


@pytest.mark.parametrize(
    ("expected", "found", "is_certain"),
    [
        ("str", "int", True),
        ("str", "Path", True),
        ("int | str", "list[int]", True),
        ("tuple[int, ...]", "list[int]", True),
        ("tuple[int, int]", "tuple[Unknown, int, Unknown]", True),
        ("tuple[int]", "tuple[()]", True),
        ("dict[str, tuple[int, str]]", "None", True),
        ("bytes", "Literal['a, b', 'c|d']", True),
        ("str", "int | list[str]", True),
        ("str", "int | str", False),
        ("list[str]", "list[int]", False),
        ("Sequence[str]", "list[int]", False),
        ("tuple[int, int]", "tuple[int, ...]", False),
        ("str", "Unknown", False),
        ("str", "object", False),
        ("str", "int & ~Literal[1]", False),
        ("list[int]", "Iterable[int]", False),
        ("T@f", "Literal[1]", False),
        ("(int, /) -> str", "(str, /) -> int", False),
    ],
)
def test_two_types_that_no_value_can_share(expected, found, is_certain):
    assert type_names.certain(expected, found) is is_certain


def test_the_rules_are_those_of_the_checker():
    assert set(certain_types.RULES) == set(certain_types._CHECKS)
    every = subprocess.run([types.find_ty_bin(), "explain", "rule", "--output-format", "json"], capture_output=True)
    assert set(certain_types.RULES) <= {rule["name"] for rule in json.loads(every.stdout)}


@pytest.mark.parametrize("comment", ["type: ignore", "ty: ignore", "ty:ignore[all]", "type: ignore[operator]"])
def test_a_text_cannot_hide_its_errors(comment):
    assert errors([WRONG.replace("'a'", f"'a'  # {comment}"), f"# {comment}\n{WRONG}"]) == [1, 1]


def test_nothing_is_executed_and_nothing_around_matters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mark = tmp_path / "mark"
    (tmp_path / "ty.toml").write_text('[rules]\nall = "ignore"\n')
    (tmp_path / "pyproject.toml").write_text('[tool.ty.rules]\nall = "ignore"\n')
    (tmp_path / "sitecustomize.py").write_text(f"open({str(mark)!r}, 'w')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("TY_CONFIG_FILE", str(tmp_path / "ty.toml"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert errors([f"open({str(mark)!r}, 'w')\n{WRONG}"]) == [1]
    assert not mark.exists()
    assert not [name for name in os.listdir(tmp_path) if name.startswith("scoder-")], "the folder is removed"


def test_a_text_that_the_checker_fails_on_is_alone_without_an_answer(tmp_path, monkeypatch):
    """A checker that dies of one text, in front of the real one."""
    real, fake = types.find_ty_bin(), tmp_path / "ty"
    fake.write_text(
        f'#!/bin/sh\nfor last; do :; done\n/bin/grep -q DEADLY "$last"/*.py && exit 101\nexec {real} "$@"\n'
    )
    fake.chmod(0o755)
    monkeypatch.setattr(types, "find_ty_bin", lambda: str(fake))
    assert errors([RIGHT, WRONG, "DEADLY = 1\n", RIGHT, WRONG]) == [0, 1, None, 0, 1]


def test_a_checker_that_hangs_is_ended(tmp_path, monkeypatch):
    real, fake = types.find_ty_bin(), tmp_path / "ty"
    fake.write_text(
        f'#!/bin/sh\nfor last; do :; done\n/bin/grep -q SLOW "$last"/*.py && exec /bin/sleep 60\nexec {real} "$@"\n'
    )
    fake.chmod(0o755)
    monkeypatch.setattr(types, "find_ty_bin", lambda: str(fake))
    monkeypatch.setattr(types, "SECONDS", 1.5)
    assert errors([WRONG, "SLOW = 1\n"]) == [1, None]


def test_memory_is_limited(monkeypatch):
    monkeypatch.setattr(types, "MEMORY_MB", 32)
    assert errors([RIGHT]) == [None]


def test_the_version_of_the_checker_is_named():
    assert types.checker().startswith("ty 0.")
