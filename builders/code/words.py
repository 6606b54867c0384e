"""Texts in ordinary language as sets of word grams, for `minhash`.

In: texts. Out: per text its set of grams, sorted 32-bit hashes. Words are runs of ASCII letters and
digits and of all other bytes that are not ASCII, without regard to the case of ASCII letters. What
stands between them, layout among it, does not count.

    hashes, offsets = grams(pa.array(["Return the name.", "return  THE name"]), 3)
    list(hashes[:1]) == list(hashes[1:])    # True

A text of fewer words than a gram has one gram: all of it. A text without words has none.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from builders.code import minhash
from builders.code.compiled import compiled
from builders.code.minhash import Sets

_MULTIPLIER = np.uint64(0x100000001B3)
_START = np.uint64(0xCBF29CE484222325)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_ALL = 1 << 31
"""More words than a text has."""


def grams(texts: pa.Array, n: int) -> Sets:
    """The sets of grams of `n` words."""
    data, bounds = _bytes(texts)
    words = np.empty(len(data) // 2 + len(texts) + 1, np.uint64)
    offsets = np.zeros(len(texts) + 1, np.int64)
    _words(data, bounds, words, offsets)
    sizes = np.diff(offsets)
    gram_offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.where(sizes > n, sizes - n + 1, sizes > 0), out=gram_offsets[1:])
    hashes = np.empty(gram_offsets[-1], np.uint32)
    _grams(words, offsets, n, hashes, gram_offsets)
    return minhash.distinct(hashes, gram_offsets)


def sequences(texts: pa.Array) -> np.ndarray:
    """One hash of all words of each text in their order, uint32 (texts,); 0 without words."""
    hashes, offsets = grams(texts, _ALL)
    found = np.zeros(len(texts), np.uint32)
    found[np.diff(offsets) > 0] = hashes
    return found


def _bytes(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The UTF-8 bytes of texts that are not NULL, and the offsets of each."""
    texts = texts.cast(pa.large_string())
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data or b"", np.uint8)[bounds[0] : bounds[-1]], bounds - bounds[0]


@compiled
def _words(data, bounds, words, offsets):
    """The hashes of the words of each text (FNV-1a), and where those of each text begin."""
    found = 0
    for text in range(len(bounds) - 1):
        state = _START
        for place in range(bounds[text], bounds[text + 1]):
            byte = data[place]
            if 65 <= byte <= 90:
                byte += 32
            if 97 <= byte <= 122 or 48 <= byte <= 57 or byte >= 128:
                state = (state ^ np.uint64(byte)) * _MULTIPLIER
            elif state != _START:
                words[found] = state
                found += 1
                state = _START
        if state != _START:
            words[found] = state
            found += 1
        offsets[text + 1] = found


@compiled
def _grams(words, offsets, n, hashes, gram_offsets):
    for text in range(len(offsets) - 1):
        size = min(n, offsets[text + 1] - offsets[text])
        for gram in range(gram_offsets[text + 1] - gram_offsets[text]):
            first = offsets[text] + gram
            state = np.uint64(0)
            for word in range(first, first + size):
                state = (state ^ words[word]) * _MIX
                state ^= state >> np.uint64(29)
            hashes[gram_offsets[text] + gram] = np.uint32(state >> np.uint64(32))
