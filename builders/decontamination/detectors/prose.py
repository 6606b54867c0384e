"""How much of a statement a text says in its own words.

In: concepts of texts (concepts.py) and units, which are statements of tasks. Out: for each text and
statement that share enough, the share, and a score that calibration.py turns into a strength.

    share      of the bits of the statement's concepts and pairs, what the text holds
    fit        of the bits of the text's own concepts, what the statement has
    shared     different concepts in both
    length     different concepts of the text

    score = OVERLAP sqrt(share fit) + SHARED ln(shared) - LENGTH ln(length)

So a text that says little else needs less of the statement, and one phrase is not enough: fewer
than MIN_SHARED concepts are no hit, whatever they weigh. A text that is much longer than the
statement is looked at in windows, and its best one counts: a statement may stand in the middle of a
long text.

How: the inverted index (postings.py) finds the pairs of text and statement that share MIN_SHARE.
Only these, some per text, are looked at once more.

The factors are those of a logistic regression on statements in other words, which are the tuning
half of `benchmarks/decontamination/reworded` and of ReCode's HumanEval, against the documented
functions of eleven packages that are not in the background.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from builders.code.compiled import compiled
from builders.code.tokens import Grams
from builders.decontamination.detectors import background
from builders.decontamination.detectors.postings import Postings, shares

OVERLAP, SHARED, LENGTH = 8.47, 6.14, 3.84

MIN_SHARED = 3
MOST_SHARED, SHORTEST = 8, 5
"""More shared concepts do not count, and a shorter text counts as one of so many."""

MIN_SHARE = 0.08
"""Of the bits of a statement. Hardly any pair below it would be a hit."""

LEAST_BITS = 10.0
"""A statement and a text count as having at least so much information: `Add x and y.` says nothing."""

TEXT_BITS = (2.0, 10.0)
"""Bits of a concept of a text that do not count, and from which all count alike: a rare name in a text
says nothing about what it is not.
"""

WINDOW, LEAST_WINDOW = 3, 40
"""A window has so many concepts for each of the statement, and at least so many."""


def rules() -> dict[str, Any]:
    """What decides about a score, as plain values."""
    return {
        "factors": [OVERLAP, SHARED, LENGTH],
        "shared": [MIN_SHARED, MOST_SHARED],
        "length": [SHORTEST, WINDOW, LEAST_WINDOW],
        "bits": [MIN_SHARE, LEAST_BITS, *TEXT_BITS],
    }


@dataclass(frozen=True)
class Statements:
    """The concepts and pairs of each unit, ordered by hash. offsets: int64 (units + 1,)."""

    singles: tuple[np.ndarray, np.ndarray, np.ndarray]
    pairs: tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Scores:
    """One row per (text, unit) that share enough, in the order of the texts."""

    texts: np.ndarray
    units: np.ndarray
    shares: np.ndarray
    scores: np.ndarray


def statements(made: list[tuple[np.ndarray, np.ndarray, np.ndarray]], num_units: int) -> Statements:
    """In: for concepts and for pairs, the unit, hash and weight of each one, as they stand."""
    parts = []
    for units, hashes, weights in made:
        order = np.lexsort((hashes, units))
        units, hashes, weights = units[order], hashes[order], weights[order]
        is_new = np.ones(len(units), bool)
        is_new[1:] = (hashes[1:] != hashes[:-1]) | (units[1:] != units[:-1])
        offsets = np.concatenate([[0], np.cumsum(np.bincount(units[is_new], minlength=num_units))])
        parts.append((offsets.astype(np.int64), hashes[is_new], weights[is_new].astype(np.float32)))
    return Statements(*parts)


def scores(index: Postings, said: Statements, singles: Grams, pairs: Grams) -> Scores:
    """The pairs of text and unit that share enough."""
    found = shares(index, [singles, pairs], MIN_SHARE)
    bits = background.table("prose-1")
    least, most = TEXT_BITS
    kept, share, score = _scores(
        found.texts, found.units, singles.hashes, singles.offsets, pairs.hashes, pairs.offsets,
        *said.singles, *said.pairs, np.maximum(index.totals, LEAST_BITS), *bits, least, most,
    )  # fmt: skip
    return Scores(found.texts[kept], found.units[kept], share[kept], score[kept])


@compiled
def _place(hashes, begin, end, key):
    """The place of a hash between two places, -1 where it is not."""
    last = end
    while begin < end:
        middle = (begin + end) // 2
        if hashes[middle] < key:
            begin = middle + 1
        else:
            end = middle
    return begin if begin < last and hashes[begin] == key else -1


@compiled
def _bits(key, keys, bits, rarest):
    wanted = np.uint32(key >> np.uint64(32))
    place = np.searchsorted(keys, wanted)
    return bits[place] if place < len(keys) and keys[place] == wanted else rarest


@compiled
def _before(hashes, begin, end, slots, out):
    """For each place, the place before it that holds the same hash, or -1."""
    size = 16
    while size < 2 * (end - begin):
        size *= 2
    if len(slots) < size:
        slots = np.empty(2 * size, np.int64)
    slots[:size] = -1
    mask = np.uint64(size - 1)
    for i in range(begin, end):
        slot = hashes[i] & mask
        while slots[slot] >= 0 and hashes[slots[slot]] != hashes[i]:
            slot = (slot + np.uint64(1)) & mask
        out[i - begin] = slots[slot] - begin if slots[slot] >= 0 else -1
        slots[slot] = i
    return slots


@compiled
def _scores(
    texts, units, words, word_offsets, twos, two_offsets,
    said_offsets, said, said_bits, pair_offsets, said_pairs, pair_bits, totals, keys, bits, rarest, least, most,
):  # fmt: skip
    kept = np.zeros(len(texts), np.bool_)
    best_share, best_score = np.zeros(len(texts)), np.full(len(texts), -1e9)
    slots, now = np.empty(1024, np.int64), -1
    size = 1024
    word_before, two_before, own = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
    held, held_two = np.empty(size, np.int64), np.empty(size, np.int64)
    for row in range(len(texts)):
        text, unit = texts[row], units[row]
        begin, two_begin = word_offsets[text], two_offsets[text]
        length = word_offsets[text + 1] - begin
        if length > size:
            size = 2 * length
            word_before, two_before, own = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
            held, held_two = np.empty(size, np.int64), np.empty(size, np.int64)
        shared = 0
        for i in range(length):
            held[i] = _place(said, said_offsets[unit], said_offsets[unit + 1], words[begin + i])
            shared += held[i] >= 0
        if shared < MIN_SHARED:
            continue
        if text != now:
            now = text
            slots = _before(words, begin, begin + length, slots, word_before)
            slots = _before(twos, two_begin, two_offsets[text + 1], slots, two_before)
            for i in range(length):
                own[i] = 0.0
                if word_before[i] < 0:
                    own[i] = min(max(_bits(words[begin + i], keys, bits, rarest), least), most) - least
                else:
                    own[i] = own[word_before[i]]
        for i in range(length - 1):
            held_two[i] = -1
            if held[i] >= 0 and held[i + 1] >= 0:
                held_two[i] = _place(said_pairs, pair_offsets[unit], pair_offsets[unit + 1], twos[two_begin + i])
        window = max(LEAST_WINDOW, WINDOW * (said_offsets[unit + 1] - said_offsets[unit]))
        start = 0
        while True:
            end = min(start + window, length)
            bits_held, bits_common, bits_own, distinct, shared = 0.0, 0.0, 0.0, 0, 0
            for i in range(start, end):
                if word_before[i] < start:
                    distinct += 1
                    bits_own += own[i]
                    if held[i] >= 0:
                        shared += 1
                        bits_held += said_bits[held[i]]
                        bits_common += own[i]
                if i + 1 < end and held_two[i] >= 0 and two_before[i] < start:
                    bits_held += pair_bits[held_two[i]]
            if shared >= MIN_SHARED:
                share = min(bits_held / totals[unit], 1.0)
                fit = bits_common / max(bits_own, LEAST_BITS)
                score = (
                    OVERLAP * np.sqrt(share * fit)
                    + SHARED * np.log(min(shared, MOST_SHARED))
                    - LENGTH * np.log(max(distinct, SHORTEST))
                )
                if score > best_score[row]:
                    kept[row], best_share[row], best_score[row] = True, share, score
            if end == length:
                break
            start += window // 2
    return kept, best_share, best_score
