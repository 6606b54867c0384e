"""Literals: a value becomes text, and the checker makes the same value of it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.harness import literals
from builders.harness.checker import literal

NUMBERS = st.integers() | st.floats() | st.complex_numbers()
HASHABLE = st.none() | st.booleans() | NUMBERS | st.text() | st.binary()
VALUES = st.recursive(
    HASHABLE,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.sets(st.integers() | st.text())
    ),
)


@given(VALUES)
def test_a_value_is_the_same_again(value):
    assert shown(literal(literals.text(value))) == shown(value)


def shown(value):
    """A text that tells 1 from True, 0.0 from -0.0, and is the same for nan and for equal sets."""
    if isinstance(value, set):
        return f"set {sorted(map(shown, value))}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__} {[shown(item) for item in value]}"
    return f"dict {[(key, shown(item)) for key, item in value.items()]}" if isinstance(value, dict) else repr(value)


@given(st.lists(VALUES))
def test_the_items_of_a_list_are_found_without_reading_it(values):
    found = literals.items(repr(values))
    assert found == [repr(value) for value in values]


def test_signs_of_zero_are_kept():
    for value in (complex(-0.0, -1.0), complex(-0.0, 0.0), complex(0.0, -0.0)):
        again = literal(literals.text([(value,)]))[0][0]
        assert math.copysign(1, again.real) == math.copysign(1, value.real)
        assert math.copysign(1, again.imag) == math.copysign(1, value.imag)


@pytest.mark.parametrize("text", ["(1, 2)", "[1, [2]", "[1]]"])
def test_only_a_list_has_items(text):
    with pytest.raises(ValueError, match=r"is no list|do not match"):
        literals.items(text)
