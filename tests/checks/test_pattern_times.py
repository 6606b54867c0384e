"""No pattern of the project takes more than linear time, whatever text it reads.

In: every regular expression in the source. Out: the texts on which one of them is slow. Each
pattern is parsed, and texts are made of its own pieces: the piece that it repeats, again and again,
after a beginning that fits and before an end that does not. A pattern is slow if four times the
text takes far more than four times the time.

    .venv/bin/python -m pytest -m drill tests/checks/test_pattern_times.py
"""

from __future__ import annotations

import ast
import importlib
import itertools
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from re import _constants as sre  # type: ignore[attr-defined]  # how Python itself reads a pattern
from re import _parser as sre_parser  # type: ignore[attr-defined]

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("builders", "commands", "store", "training")
CALLS = ("compile", "search", "match", "fullmatch", "findall", "finditer", "split", "sub")
AT_START = {"match", "fullmatch"}
SMALL, LARGE = 3_000, 12_000
"""Characters of the two texts that are compared."""
MOST_GROWTH = 8.0
"""Linear time grows by 4 between the two sizes, quadratic time by 16."""
LEAST_SECONDS = 0.01
"""Shorter times are not compared: they are noise."""
MOST_SECONDS = 1.0
OUR_OWN_TEXTS = {
    "store/catalog.py:_COMMENT_OR_STRING": "a statement of the user's own",
    "store/catalog.py:_EXPLAIN": "a statement of the user's own",
    "store/catalog.py:_OPTIONS": "a statement of the user's own",
    "builders/recipe/reference.py:PLACE": "a page of the project's own",
}
"""Patterns that read no foreign text, and what they read."""
ENDS = ("", "\0", "!", "\n", "(", " x")


class TooSlowError(Exception):
    pass


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def sources() -> list[str]:
    """The modules of the project that may hold a pattern, by their paths."""
    paths = sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))
    return [str(path.relative_to(ROOT)) for path in paths if "re." in path.read_text(encoding="utf-8")]


def patterns(name: str) -> dict[str, tuple[re.Pattern, bool]]:
    """The patterns of a module, and whether each is only tried at the beginning of a text.

    They stand in the module, in its mappings, and in calls.
    """
    found: dict[str, tuple[re.Pattern, bool]] = {}
    text = (ROOT / name).read_text(encoding="utf-8")
    nodes = list(ast.walk(ast.parse(text)))
    used = _uses(nodes)
    for call in nodes:
        method = _of_re(call.func) if isinstance(call, ast.Call) else None
        if method and method != "compile" and isinstance(written := call.args[0], ast.Constant):
            found[f"{name}:{call.lineno}"] = re.compile(written.value, _flags(call)), method in AT_START
    if "re.compile" in text and "inside" not in Path(name).parts:
        module = importlib.import_module(name.removesuffix(".py").replace("/", ".").removesuffix(".__init__"))
        for attribute, value in vars(module).items():
            is_start = bool(used.get(attribute)) and used[attribute] <= AT_START
            entries = value.items() if isinstance(value, dict) else [("", value)]
            found |= {f"{name}:{attribute}{key}": (p, is_start) for key, p in entries if isinstance(p, re.Pattern)}
    return found


def _of_re(function: ast.expr) -> str | None:
    """The name of a function of `re` that takes a pattern: `search` of `re.search`."""
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "re":
        return function.attr if function.attr in CALLS else None
    return None


def _uses(nodes: list[ast.AST]) -> dict[str, set[str]]:
    """For each name, the methods that are called on it."""
    found: dict[str, set[str]] = {}
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in CALLS:
            found.setdefault(node.value.id, set()).add(node.attr)
    return found


def _flags(call: ast.Call) -> int:
    words = re.findall(r"re\.([A-Z]+)\b", " ".join(ast.unparse(a) for a in (*call.args[1:], *call.keywords)))
    return int(sum(getattr(re, word) for word in set(words)))


# -- texts that a pattern may be slow on -----------------------------------------------------------


def example(node: object) -> str:
    """A short text that a part of a parsed pattern fits, as far as looking around is left out."""
    return "".join(_one(operator, value) for operator, value in node)  # type: ignore[attr-defined]


def _one(operator: object, value: object) -> str:
    if operator is sre.LITERAL:
        return chr(value)  # type: ignore[arg-type]
    if operator is sre.NOT_LITERAL:
        return "a" if value != ord("a") else "b"
    if operator is sre.ANY:
        return "a"
    if operator is sre.IN:
        return _of_class(value)
    if operator in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
        least, _, inner = value  # type: ignore[misc]
        return example(inner) * max(least, 1)
    if operator is sre.SUBPATTERN:
        return example(value[-1])  # type: ignore[index]
    if operator is sre.ATOMIC_GROUP:
        return example(value)
    if operator is sre.BRANCH:
        return example(value[1][0])  # type: ignore[index]
    return ""


def _of_class(parts: object) -> str:
    is_negated = (sre.NEGATE, None) in parts  # type: ignore[operator]
    said = re.compile("[" + ("^" if is_negated else "") + "".join(_class_part(*p) for p in parts) + "]")  # type: ignore[attr-defined]
    return next((c for c in "a0A -_./\\\"'\n\t:=@#(é" + "".join(map(chr, range(256))) if said.match(c)), "")


def _class_part(operator: object, value: object) -> str:
    if operator is sre.LITERAL:
        return re.escape(chr(value))  # type: ignore[arg-type]
    if operator is sre.RANGE:
        return f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"  # type: ignore[index]
    return {
        "DIGIT": r"\d",
        "NOT_DIGIT": r"\D",
        "SPACE": r"\s",
        "NOT_SPACE": r"\S",
        "WORD": r"\w",
        "NOT_WORD": r"\W",
    }.get(str(value).removeprefix("CATEGORY_"), "")


def parts(node: object) -> Iterator[object]:
    """Every sequence in a parsed pattern: the whole, its groups, branches and what it repeats."""
    yield node
    for operator, value in node:  # type: ignore[attr-defined]
        if operator in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            yield from parts(value[2])
        elif operator is sre.SUBPATTERN:
            yield from parts(value[-1])
        elif operator is sre.ATOMIC_GROUP:
            yield from parts(value)
        elif operator is sre.BRANCH:
            for branch in value[1]:
                yield from parts(branch)
        elif operator in (sre.ASSERT, sre.ASSERT_NOT):
            yield from parts(value[1])


def pumps(pattern: re.Pattern) -> set[str]:
    """Pieces to repeat: neighbours in the pattern, and pairs of these with what stands between."""
    written = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    tree = sre_parser.parse(
        written, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags
    )
    found = set()
    for part in parts(tree):
        singles = [_one(*item) for item in part]  # type: ignore[attr-defined]
        for start, stop in itertools.combinations(range(min(len(singles), 12) + 1), 2):
            found.add("".join(singles[start:stop])[:200])
    short = [p for p in found if 0 < len(p) <= 12]
    joined = {p + between for p in short for between in ("-", " ", ".", "\n", "(", "'", "`")}
    return {p for p in found | joined if p}


def texts(pattern: re.Pattern, size: int) -> Iterator[str]:
    written = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    tree = sre_parser.parse(written, 0)
    singles = [_one(*item) for item in tree]
    begins = {"", *("".join(singles[:n]) for n in range(1, len(singles)))}
    for pump in sorted(pumps(pattern)):
        for begin in sorted(begins) if len(pump) < 6 else ("",):
            for end in ENDS[:3] if begin else ENDS:
                yield (begin + pump * (size // len(pump) + 1))[:size] + end


def seconds(pattern: re.Pattern, text: str, is_start: bool) -> float:
    given = text.encode("utf-8", "replace") if isinstance(pattern.pattern, bytes) else text
    started = time.process_time()
    if is_start:
        pattern.match(given)
        pattern.fullmatch(given)
    else:
        for _ in pattern.finditer(given):
            pass
    return time.process_time() - started


def slow_text(pattern: re.Pattern, is_start: bool) -> str | None:
    """The beginning of a text on which the pattern is slow, and both times; None without one."""
    for small, large in zip(texts(pattern, SMALL), texts(pattern, LARGE), strict=True):
        try:
            with limit(MOST_SECONDS):
                second = seconds(pattern, large, is_start)
                if second < LEAST_SECONDS:
                    continue
                first = min(seconds(pattern, small, is_start) for _ in range(5))
                second = min(second, *(seconds(pattern, large, is_start) for _ in range(2)))
        except TooSlowError:
            return f"{large[:60]!r}…{large[-3:]!r}: over {MOST_SECONDS} s"
        if second > LEAST_SECONDS and second > MOST_GROWTH * max(first, LEAST_SECONDS / MOST_GROWTH):
            return f"{large[:60]!r}…{large[-3:]!r}: {first:.4f} s and {second:.4f} s"
    return None


@pytest.mark.drill
@pytest.mark.parametrize("name", sources())
def test_no_pattern_takes_more_than_linear_time(name: str) -> None:
    found = {where: slow_text(*found) for where, found in patterns(name).items() if where not in OUR_OWN_TEXTS}
    assert {where: text for where, text in found.items() if text is not None} == {}


@pytest.mark.drill
@pytest.mark.parametrize(
    "pattern",
    [r"\bsk-(?=[a-z_-]*[A-Z0-9])[A-Za-z0-9_-]{32,}", r"\s+AND\s+", r"(?:a|a)*b", r"(a+)+b", "'(?:[^'\\\\]|\\\\.)*'"],
)
def test_slow_patterns_are_found(pattern: str) -> None:
    assert slow_text(re.compile(pattern), is_start=False) is not None


def test_the_patterns_of_all_rooms_are_looked_at() -> None:
    found = {where: pattern for name in sources() for where, pattern in patterns(name).items()}
    assert "builders/checks/sensitive/forms.py:_PATTERNSsk-" in found and "training/hub.py:_ID" in found
    assert len(found) > 100 and found["builders/code/fences.py:_BULLET"][1]
