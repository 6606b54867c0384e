"""The form of our texts: no line of a docstring, a comment or prose is longer than 100 characters.

In: the Python and Markdown files that git tracks. A line counts as a whole, with its indentation.
Code may be longer; that is ruff's business. Every module has a docstring.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIMIT = 100
PRAGMA = re.compile(r"# (?:fmt|type|isort): |# noqa\b")
"""Comments for a tool. They stand at the end of a line of code, however long that is."""
LINK = re.compile(r"\s*(?:[-*] |\d+\. )?(?:<?https?://\S+|!?\[[^]]*\]\(\S+\)|\[[^]]+\]: \S+)[.,;]?\s*")
"""A line of Markdown that is one link, perhaps as the item of a list."""


def tracked(suffix: str) -> list[str]:
    """The files of a suffix that git tracks, by their paths."""
    listed = subprocess.run(["git", "ls-files", f"*{suffix}"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for path in listed.stdout.splitlines() if (ROOT / path).exists()]


def docstrings(tree: ast.Module) -> Iterator[ast.Expr]:
    """The docstrings of modules, classes and functions, and the strings below a variable."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield statement


def faults_of_module(text: str) -> list[str]:
    """What is wrong with the docstrings and comments of a Python file, with line numbers."""
    tree, lines, found = ast.parse(text), text.splitlines(), []
    if not ast.get_docstring(tree):
        found.append("no docstring of the module")
    for docstring in docstrings(tree):
        for number in range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1):
            if len(lines[number - 1]) > LIMIT:
                found.append(f"line {number}: a docstring of {len(lines[number - 1])} characters")
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and token.end[1] > LIMIT and not PRAGMA.match(token.string):
            found.append(f"line {token.start[0]}: a comment up to character {token.end[1]}")
    return found


def faults_of_prose(text: str) -> list[str]:
    """The long lines of a Markdown file. Tables, code blocks and single links do not count."""
    found, fence = [], ""
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if fence or bare.startswith(("```", "~~~")):
            fence = "" if fence and bare.startswith(fence) else fence or bare[:3]
        elif len(line) > LIMIT and not bare.startswith("|") and not LINK.fullmatch(line):
            found.append(f"line {number}: {len(line)} characters")
    return found


@pytest.mark.parametrize("path", tracked(".py"))
def test_docstrings_and_comments_break_at_100_characters(path: str) -> None:
    assert faults_of_module((ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", tracked(".md"))
def test_prose_breaks_at_100_characters(path: str) -> None:
    assert faults_of_prose((ROOT / path).read_text(encoding="utf-8")) == []


# -- the checks themselves -------------------------------------------------------------------------


def test_all_rooms_are_checked() -> None:
    tops = {path.split("/")[0] for path in tracked(".py")}
    rooms = {"scoder.py", "builders", "store", "queries", "training", "commands", "recipes", "tests", "benchmarks"}
    assert tops >= rooms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"""Short."""\n', []),
        ("x = 1\n", ["no docstring of the module"]),
        ("", ["no docstring of the module"]),
        (f'"""{"a" * 94}"""\n', []),
        (f'"""{"a" * 95}"""\n', ["line 1: a docstring of 101 characters"]),
        (f'"""A.\n\n{"b" * 101}\n"""\n', ["line 3: a docstring of 101 characters"]),
        (f'"""A."""\ndef f():\n    """{"b" * 91}"""\n', ["line 3: a docstring of 101 characters"]),
        (f'"""A."""\nif x:\n    Y = 1\n    """{"b" * 91}"""\n', ["line 4: a docstring of 101 characters"]),
        (f'"""A."""\nx = "{"c" * 110}"\n', []),
        (f'"""A."""\n# {"d" * 98}\n', []),
        (f'"""A."""\n# {"d" * 99}\n', ["line 2: a comment up to character 101"]),
        (f'"""A."""\nx = "{"e" * 80}"  # {"d" * 20}\n', ["line 2: a comment up to character 110"]),
        (f'"""A."""\nx = "{"e" * 90}"  # type: ignore[misc]\n', []),
        (f'"""A."""\nx = "{"e" * 90}"  # noqa: E501\n', []),
        (f'"""A."""\nx = "# {"f" * 100}"\n', []),
    ],
)
def test_a_long_docstring_a_long_comment_and_no_docstring_are_seen(text: str, expected: list[str]) -> None:
    assert faults_of_module(text) == expected


LONG = "word " * 21
URL = f"https://example.org/{'a' * 100}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A line.\n", []),
        (f"Title\n{LONG.strip()}\n", ["line 2: 104 characters"]),
        (f"| {LONG}|\n", []),
        (f"```\n{LONG}\n```\n", []),
        (f"~~~sh\n```\n{LONG}\n~~~\n", []),
        (f"```\ncode\n```\n{LONG.strip()}\n", ["line 4: 104 characters"]),
        (f"{URL}\n- [name]({URL})\n[name]: {URL}\n", []),
        (f"See {URL}\n", ["line 1: 124 characters"]),
    ],
)
def test_long_prose_is_seen_and_tables_code_and_links_are_free(text: str, expected: list[str]) -> None:
    assert faults_of_prose(text) == expected
