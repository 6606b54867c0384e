"""Texts that tables can hold: lone surrogates are replaced, and nothing else is changed."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.texts import storable


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
