"""Grams of words: what does not count, what does, and sets as they would be written in Python."""

from __future__ import annotations

import re
from itertools import pairwise

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.code import words

TEXTS = st.lists(st.text("aB9 ._\n\u00e9\u4e2d", max_size=30), min_size=1, max_size=6)


def sets(texts: list[str], n: int) -> list[frozenset[int]]:
    hashes, offsets = words.grams(pa.array(texts), n)
    return [frozenset(hashes[a:b].tolist()) for a, b in pairwise(offsets)]


def by_hand(text: str, n: int) -> frozenset[tuple[str, ...]]:
    found = re.findall(r"[a-z0-9\u0080-\U0010ffff]+", re.sub("[A-Z]", lambda m: m[0].lower(), text))
    return frozenset(tuple(found[i : i + n]) for i in range(max(len(found) - n + 1, bool(found))))


@settings(max_examples=40, deadline=None)
@given(TEXTS, st.integers(1, 4))
def test_grams_are_those_of_the_words(texts: list[str], n: int) -> None:
    ours, theirs = sets(texts, n), [by_hand(text, n) for text in texts]
    assert list(map(len, ours)) == list(map(len, theirs))
    assert [[a == b for b in ours] for a in ours] == [[a == b for b in theirs] for a in theirs]
    shared = [[len(a & b) for b in ours] for a in ours]
    assert shared == [[len(a & b) for b in theirs] for a in theirs]


@settings(max_examples=40, deadline=None)
@given(TEXTS)
def test_sequences_tell_the_order_of_words(texts: list[str]) -> None:
    ours, theirs = words.sequences(pa.array(texts)).tolist(), [by_hand(text, 1 << 20) for text in texts]
    assert [[a == b for b in ours] for a in ours] == [[a == b for b in theirs] for a in theirs]
    assert [h == 0 for h in ours] == [not words_ for words_ in theirs]


def test_a_slice_of_an_array_is_read_alone_and_nothing_is_read_of_nothing() -> None:
    whole = pa.array(["one two three", "four five six", "one two three"])
    hashes, _ = words.grams(whole.slice(2, 1), 3)
    first, _ = words.grams(whole.slice(0, 1), 3)
    assert hashes.tolist() == first.tolist() and len(hashes) == 1
    assert words.grams(pa.array([], pa.string()), 3)[1].tolist() == [0]
