"""Type errors: each text has its own, nothing is executed.

A checker that fails loses one text at most.
"""

import os
import tempfile

import pytest

from builders.checks import types
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
