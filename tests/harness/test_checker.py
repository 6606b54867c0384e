"""Answers are compared as EvalPlus, APPS and LiveCodeBench do: one row is one comparison."""

from __future__ import annotations

import math
from collections import UserList, deque
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from builders.harness.checker import (
    difference,
    is_plain,
    is_right,
    literal,
    on_one_line,
    same_as_apps,
    same_as_livecodebench,
    same_text,
    short,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("got", "expected", "atol", "right"),
    [
        (1, 1, 0, True),
        (1, 2, 0, False),
        (True, 1, 0, True),  # equal in Python, and so in EvalPlus
        (1.0, 1, 0, True),
        ([1, 2], (1, 2), 0, False),
        ((1, 2), (1, 2), 0, True),
        (None, None, 0, True),
        (None, False, 0, False),
        # floats: 1e-6 is allowed where only floats are expected, also in a list
        (1.0 + 5e-7, 1.0, 0, True),
        (1.0 + 5e-6, 1.0, 0, False),
        ([1.0 + 5e-7, 2.0], [1.0, 2.0], 0, True),
        ((1.0 + 5e-7, 2.0), (1.0, 2.0), 0, True),
        ([1.0 + 5e-7, 2], [1.0, 2], 0, False),  # an int among them: exactly
        ([1.0 + 5e-7, 2], [1.0, 2], 1e-6, True),  # unless the file gives a tolerance
        ([[1.0 + 5e-7], [2.0]], [[1.0], [2.0]], 0, False),
        ([[1.0 + 5e-7], [2.0]], [[1.0], [2.0]], 1e-6, True),
        ([1.0], [1.0, 2.0], 0, False),
        ((1.0 + 5e-7,), [1.0], 0, False),  # another type
        (1, 1.0 + 5e-7, 0, False),  # another type
        (1e12 + 1e4, 1e12, 0, True),  # one part in ten million
        (1e12 + 2e5, 1e12, 0, False),
        (math.inf, math.inf, 0, True),
        (math.inf, 1.0, 0, False),
        (1.0, math.inf, 0, False),
        (-math.inf, math.inf, 0, False),
        (NAN, NAN, 0, False),  # the same value is right before it comes here
        (1 + 1e-8j, 1 + 0j, 1e-6, True),
        ("1.0000001", "1.0", 1e-6, False),
        (["a"], ["b"], 1e-6, False),
        ({1.0: 1.0000001}, {1.0: 1.0}, 1e-6, False),
        ([], [], 0, True),
    ],
)
def test_values_are_compared_as_evalplus_does(got: Any, expected: Any, atol: float, right: bool) -> None:
    assert is_right(got, expected, (), atol, None) is right


@pytest.mark.parametrize(
    ("oracle", "arguments", "got", "expected", "right"),
    [
        ("any", ([], 1), False, True, True),
        ("zero", (6,), 0, 12, True),
        ("zero", (6,), 12, 12, True),
        ("zero", (6,), 1, 12, False),
        ("set", (), [3, 1, 1], (1, 3), True),
        ("set", (), [3, 1], (1, 3, 4), False),
        ("not_none", (), "match", True, True),
        ("not_none", (), None, True, False),
        ("not_none", (), None, False, True),
        ("not_none", (), False, True, False),
        ("not_none", (), True, True, True),
        ("surface_area", (3, 4), 35, 27, True),
        ("surface_area", (3, 4), 34, 27, False),
        ("digit_distance", (1, 256), 12, 1, True),
        ("digit_distance", (1, 256), 1, 1, True),
        ("digit_distance", (1, 256), 2, 1, False),
        ("find_zero", ([1, 2],), -0.5, 99.0, True),
        ("find_zero", ([1, 2],), -0.49, -0.5, False),
    ],
)
def test_single_tasks_have_a_comparison_of_their_own(
    oracle: str, arguments: tuple[Any, ...], got: Any, expected: Any, right: bool
) -> None:
    atol = 1e-4 if oracle == "find_zero" else 0
    assert is_right(got, expected, arguments, atol, oracle) is right


@pytest.mark.parametrize(
    ("got", "expected", "right"),
    [
        ((1, 2), [1, 2], True),
        ([1, 2], (1, 2), True),
        (3, [3], True),
        ([3], 3, False),
        ("a", ["a"], True),
        (1, 2, False),
        (3, [3, 4], True),
        (4, [3, 4], False),
        ([(1, 2), (3, 4)], [[[1, 2], [3, 4]]], True),
        ([(1, 2)], [[1, 2]], False),
        (0, [], False),
    ],
)
def test_apps_takes_tuples_for_lists_and_the_first_item(got: Any, expected: Any, right: bool) -> None:
    assert same_as_apps(got, expected) is right


@pytest.mark.parametrize(
    ("got", "expected", "right"),
    [
        ([3], [3], True),
        ((1, 2), [1, 2], True),
        (3, [3], False),
        ("a", ["a"], False),
        ([(1, 2)], [[1, 2]], False),  # only the answer itself may be a tuple
        (1.0, 1, True),
        (0.30000000000000004, 0.3, False),
    ],
)
def test_livecodebench_takes_a_tuple_for_a_list_and_nothing_more(got: Any, expected: Any, right: bool) -> None:
    assert same_as_livecodebench(got, expected) is right


@pytest.mark.parametrize(
    ("got", "expected", "right"),
    [
        ("1 2\n3\n", "1 2\n3", True),
        ("1 2 \n3\n\n", " 1 2\n3", True),
        ("1 2 3", "1 2\n3", False),
        ("1.0 2", "1 2.00", True),
        ("0.1", "0.10000000000000001", False),
        ("YES", "Yes", False),
        ("1  2", "1 2", True),
        ("a  b", "a b", False),
        ("", "", True),
        ("", "0", False),
        ("a\r\nb", "a\nb", True),
    ],
)
def test_printed_text_is_compared_line_by_line(got: str, expected: str, right: bool) -> None:
    assert same_text(got, expected) is right


def test_literals_are_read_with_inf_and_nan() -> None:
    assert literal("[[1, -inf], {'a': (1, 2)}, {3}, 1j]") == [[1, -math.inf], {"a": (1, 2)}, {3}, 1j]
    assert math.isnan(literal("nan"))


def test_values_that_cannot_be_compared_are_not_plain() -> None:
    assert is_plain([1, (2.0, {"a": {3}}), None, b"x", 1j])
    assert is_plain([Decimal(1), Fraction(1, 2), range(3), deque([1]), {1: 2}.keys(), {1: 2}.values(), {1: 2}.items()])
    assert not is_plain([object()])
    assert not is_plain(deque([object()]))
    assert not is_plain({1: object()}.values())
    assert not is_plain(UserList([1]))
    assert not is_plain({1: iter([])})
    assert not is_plain({frozenset([len]): 1})


def test_long_values_are_shortened() -> None:
    assert short("a") == "'a'"
    assert len(short("a" * 1000)) == 121


def test_of_long_values_the_part_is_shown_where_they_differ() -> None:
    assert difference([1, "a\n"], None) == "expected [1, 'a\\n'], got None"
    shown = difference([0] * 500 + [1], [0] * 500 + [2])
    assert shown == "expected …, 0, 0, 0, 0, 0, 0, 1], got …, 0, 0, 0, 0, 0, 0, 2]"
    assert difference("a" * 500, "a" * 400).endswith(f"got …{'a' * 20}'")
    assert difference("b", "a" * 400) == f"expected 'b', got '{'a' * 119}…"
    assert on_one_line("ValueError: a\n\n  b") == "ValueError: a b"
