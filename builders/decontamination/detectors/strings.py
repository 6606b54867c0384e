"""Exact search: does a benchmark text stand in an item?

Line ends, tabs, case, width and spaces do not count. In: texts in NFKC. Out: pairs of text and
pattern.

How: texts become lower case without white space. One automaton searches for all patterns at once
(A. V. Aho and M. J. Corasick, CACM 1975). Hardly any text has a match. So a rolling hash over
windows as long as the shortest pattern (R. M. Karp and M. O. Rabin, 1987) first tells which texts
can have one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import ahocorasick_rs
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from builders.code.compiled import compiled
from builders.code.tokens import flat

_BASE = np.uint64(0x9E3779B97F4A7C15)
_FILTER_BITS = 17  # 16 KiB, which fit into the processor's nearest cache


@dataclass(frozen=True)
class Strings:
    """Distinct patterns, in lower case without white space, and the tasks of each."""

    patterns: list[bytes]
    originals: list[str]
    tasks: list[list[int]]

    @cached_property
    def automaton(self) -> ahocorasick_rs.BytesAhoCorasick:
        """The automaton that finds all patterns in one pass."""
        return ahocorasick_rs.BytesAhoCorasick(self.patterns)

    @cached_property
    def heads(self) -> tuple[int, np.ndarray, np.ndarray]:
        """The length of the window, the sorted hashes of the patterns' first windows, and their
        bitmap.

        The bitmap is uint64.
        """
        window = min(map(len, self.patterns))
        data = np.frombuffer(b"".join(pattern[:window] for pattern in self.patterns), np.uint8)
        hashes = np.unique(_window_hashes(data, window))
        bitmap = np.zeros(2**_FILTER_BITS // 64, np.uint64)
        bits = hashes >> np.uint64(64 - _FILTER_BITS)
        np.bitwise_or.at(bitmap, bits // np.uint64(64), np.uint64(1) << bits % np.uint64(64))
        return window, hashes, bitmap


def patterns(texts: Sequence[tuple[int, str]], min_chars: int) -> Strings:
    """The patterns of (task, text) pairs.

    A text with fewer than `min_chars` characters, white space not counted, is too common and left
    out.
    """
    found: dict[bytes, tuple[str, list[int]]] = {}
    squeezed_texts, bounds = squeezed(pa.array([text for _, text in texts], pa.large_string()))
    for k, (task, text) in enumerate(texts):
        pattern = bytes(squeezed_texts[bounds[k] : bounds[k + 1]])
        if len(pattern.decode("utf-8", "replace")) >= min_chars:
            tasks = found.setdefault(pattern, (text, []))[1]
            if task not in tasks:
                tasks.append(task)
    return Strings(list(found), [text for text, _ in found.values()], [tasks for _, tasks in found.values()])


def matches(index: Strings, texts: pa.Array) -> list[tuple[int, int]]:
    """Distinct (text, pattern) pairs, ordered."""
    if not index.patterns:
        return []
    data, bounds = squeezed(texts)
    found = set()
    for text in np.flatnonzero(_may_match(data, bounds, *index.heads)).tolist():
        haystack = data[bounds[text] : bounds[text + 1]].data
        for pattern, _, _ in index.automaton.find_matches_as_indexes(haystack, overlapping=True):
            found.add((text, pattern))
    return sorted(found)


def squeezed(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """All texts in a row, in lower case without white space, and where each begins."""
    is_other = pc.invert(pc.string_is_ascii(texts))
    if pc.any(is_other).as_py():
        texts = pc.replace_with_mask(texts, is_other, pc.utf8_lower(texts.filter(is_other)))
    data, bounds = flat(texts)
    out, out_bounds = np.empty(len(data) + 1, np.uint8), np.empty(len(bounds), np.int64)
    return out[: _squeeze(data, bounds, out, out_bounds)], out_bounds


@compiled
def _squeeze(data, bounds, out, out_bounds):
    n = 0
    out_bounds[0] = 0
    for text in range(len(bounds) - 1):
        for i in range(bounds[text], bounds[text + 1]):
            c = data[i]
            out[n] = c + 32 if 65 <= c <= 90 else c
            n += c > 32
        out_bounds[text + 1] = n
    return n


@compiled
def _window_hashes(data, window):
    """The polynomial hashes of windows that follow one another without overlap."""
    found = np.zeros(len(data) // window, np.uint64)
    for k in range(len(found)):
        for i in range(k * window, (k + 1) * window):
            found[k] = found[k] * _BASE + np.uint64(data[i])
    return found


@compiled
def _may_match(data, bounds, window, hashes, bitmap):
    """Whether a text has a window with the hash of a pattern's first window."""
    may = np.zeros(len(bounds) - 1, np.bool_)
    power = np.uint64(1)
    for _ in range(window):
        power *= _BASE
    for text in range(len(may)):
        begin, end = bounds[text], bounds[text + 1]
        if end - begin < window:
            continue
        state = np.uint64(0)
        for i in range(begin, begin + window):
            state = state * _BASE + np.uint64(data[i])
        i = begin + window
        while True:
            bit = state >> np.uint64(64 - _FILTER_BITS)
            if (bitmap[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1):
                place = np.searchsorted(hashes, state)
                if place < len(hashes) and hashes[place] == state:
                    may[text] = True
                    break
            if i == end:
                break
            state = state * _BASE + np.uint64(data[i]) - np.uint64(data[i - window]) * power
            i += 1
    return may
