"""Texts that tables can hold: lone surrogates are replaced, and nothing else is changed."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.texts import one_line, storable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("\0 é \U0001f600 \u2028\ufeff", "\0 é \U0001f600 \u2028\ufeff"),
        ("a\ud800b", "a\ufffdb"),
        ("\udc00\ud800", "\ufffd\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
    ],
)
def test_only_lone_surrogates_are_replaced(text: str, expected: str) -> None:
    assert storable(text) == expected


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=())))
def test_every_text_can_be_stored(text: str) -> None:
    assert pa.array([storable(text)], pa.string()).to_pylist() == [storable(text)]
    assert storable(storable(text)) == storable(text)


@settings(deadline=None)
@given(st.text())
def test_a_text_that_can_be_stored_stays_as_it_is(text: str) -> None:
    assert storable(text) == text


def test_one_line_holds_nothing_that_steers_a_terminal():
    assert one_line("plain Grüße 你好") == "plain Grüße 你好"
    assert one_line("a\x1b[2J\nb\u202ec\u2028d\ud800\t\x9b\x00") == "a\ufffd[2J b\ufffdc d\ufffd \ufffd\ufffd"
    assert one_line("\ud83d\ude00") == "\U0001f600"
    assert all(one_line(chr(n)).isprintable() for n in range(0x110000))
