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

How: the inverted index (postings.py) says what each statement shares with a text. A text has a
whole pass only for the few statements that could reach the least score if all else was for the
best.

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
from builders.decontamination.detectors.postings import Postings, inverted

OVERLAP, SHARED, LENGTH = 8.47, 6.14, 3.84

MIN_SHARED = 3
MOST_SHARED, SHORTEST = 8, 5
"""More shared concepts do not count, and a shorter text counts as one of so many."""

MIN_SHARE = 0.08
"""Of the bits of a statement. Hardly any pair below it would be a hit."""

LEAST_BITS = 10.0
"""A statement and a text count as having at least so many bits: `Add x and y.` says nothing."""

LEAST_TEXT_BITS, MOST_TEXT_BITS = 2.0, 10.0
"""Bits of a concept of a text that do not count, and from which all count alike: a rare name in a
text says nothing about what it is not.
"""

WINDOW, LEAST_WINDOW = 3, 40
"""A window has so many concepts for each of the statement, and at least so many."""


def rules() -> dict[str, Any]:
    """What decides about a score, as plain values."""
    return {
        "factors": [OVERLAP, SHARED, LENGTH],
        "shared": [MIN_SHARED, MOST_SHARED],
        "length": [SHORTEST, WINDOW, LEAST_WINDOW],
        "bits": [MIN_SHARE, LEAST_BITS, LEAST_TEXT_BITS, MOST_TEXT_BITS],
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


def index(units: np.ndarray, hashes: np.ndarray, weights: np.ndarray, num_units: int) -> Postings:
    """The inverted index. What has no weight is there too, as of one more unit, the last one.

    So it tells of each concept of a text whether any statement has it.
    """
    has_weight = weights > 0
    return inverted(np.where(has_weight, units, num_units), hashes, np.where(has_weight, weights, 1.0), num_units + 1)


def scores(postings: Postings, said: Statements, singles: Grams, pairs: Grams, least: float) -> Scores:
    """The pairs of text and unit with a score of `least` or more."""
    table = (
        postings.bitmap, postings.slots, postings.slot_keys, postings.offsets, postings.units, postings.weights,
    )  # fmt: skip
    texts, units, share, score = _scores(
        singles.hashes, singles.offsets, pairs.hashes, pairs.offsets, *table,
        *said.singles, *said.pairs, np.maximum(postings.totals, LEAST_BITS), *background.table("prose-1"), least,
    )  # fmt: skip
    return Scores(texts, units, share, score)


@compiled
def _gram(slots, slot_keys, key):
    """The place of an n-gram in the index, -1 if it is not there. An empty slot has the key 0."""
    slot = key & np.uint64(len(slots) - 1)
    while slot_keys[slot] != key:
        if slot_keys[slot] == 0:
            return np.int32(-1)
        slot = (slot + np.uint64(1)) & np.uint64(len(slots) - 1)
    return slots[slot]


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
def _touch(
    hashes, begin, end, text, bitmap, slots, slot_keys, offsets, units, weights, seen, held, counts, touched, n, ids
):
    """Add what a stretch of n-grams has of each unit; return how many units were touched.

    `ids` gets the places of the n-grams in the index, and then they are counted, unless it is
    empty.
    """
    mask, is_counted = np.uint64(64 * len(bitmap) - 1), len(ids) > 0
    for place in range(begin, end):
        if is_counted:
            ids[place - begin] = -1
        bit = (hashes[place] >> np.uint64(32)) & mask
        if not (bitmap[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1):
            continue
        gram = _gram(slots, slot_keys, hashes[place])
        if is_counted:
            ids[place - begin] = gram
        if gram < 0 or seen[gram] == text:
            continue
        seen[gram] = text
        for p in range(offsets[gram], offsets[gram + 1]):
            unit = units[p]
            if held[unit] == 0:
                touched[n] = unit
                n += 1
            held[unit] += weights[p]
            counts[unit] += is_counted
    return n


@compiled
def _score(share, fit, shared, distinct):
    return (
        OVERLAP * np.sqrt(share * fit)
        + SHARED * np.log(min(shared, MOST_SHARED))
        - LENGTH * np.log(max(distinct, SHORTEST))
    )


@compiled
def _may_reach(least, share, length, window, word_before, held):
    """Whether a window could reach a score, if it had the share of the whole text and a perfect
    fit.
    """
    start = 0
    while True:
        end = min(start + window, length)
        distinct, shared = 0, 0
        for i in range(start, end):
            if word_before[i] < start:
                distinct += 1
                shared += held[i] >= 0
        if shared >= MIN_SHARED and _score(share, 1.0, shared, distinct) >= least:
            return True
        if end == length:
            return False
        start += window // 2


@compiled
def _best_window(
    length, word_before, two_before, own, held, held_two, said_bits, pair_bits, total, window
):  # fmt: skip
    """The share and the score of the window of a text that says a statement best."""
    best_share, best_score, start = 0.0, -1e9, 0
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
            share = min(bits_held / total, 1.0)
            score = _score(share, bits_common / max(bits_own, LEAST_BITS), shared, distinct)
            if score > best_score:
                best_share, best_score = share, score
        if end == length:
            return best_share, best_score
        start += window // 2


@compiled
def _scores(
    words, word_offsets, twos, two_offsets, bitmap, slots, slot_keys, offsets, units, weights,
    said_offsets, said, said_bits, pair_offsets, said_pairs, pair_bits, totals, keys, key_bits, rarest, least,
):  # fmt: skip
    held_bits, counts = np.zeros(len(totals), np.float32), np.zeros(len(totals), np.int64)
    num_weightless = np.zeros(len(totals), np.int64)
    grams = np.empty(len(said), np.int32)  # of each concept of each unit, its place in the index
    for unit in range(len(said_offsets) - 1):
        for k in range(said_offsets[unit], said_offsets[unit + 1]):
            num_weightless[unit] += said_bits[k] <= 0
            grams[k] = _gram(slots, slot_keys, said[k])
    rows, none = 0, np.empty(0, np.int32)
    ids, owner, where = np.empty(1024, np.int32), np.full(len(offsets), -1, np.int64), np.empty(len(offsets), np.int32)
    touched, seen = np.empty(len(totals), np.int32), np.full(len(offsets), -1, np.int32)
    places, size = np.empty(1024, np.int64), 1024
    word_before, two_before, own = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
    held, held_two = np.empty(size, np.int64), np.empty(size, np.int64)
    out_texts, out_units = np.empty(1024, np.int64), np.empty(1024, np.int64)
    out_shares, out_scores, n = np.empty(1024), np.empty(1024), 0
    for text in range(len(word_offsets) - 1):
        begin, two_begin = word_offsets[text], two_offsets[text]
        length, distinct = word_offsets[text + 1] - begin, -1
        table = (bitmap, slots, slot_keys, offsets, units, weights)
        if length > len(ids):
            ids = np.empty(2 * length, np.int32)
        num = _touch(words, begin, begin + length, text, *table, seen, held_bits, counts, touched, 0, ids)
        num = _touch(twos, two_begin, two_offsets[text + 1], text, *table, seen, held_bits, counts, touched, num, none)
        for t in range(num):
            unit = touched[t]
            share, shared = min(held_bits[unit] / totals[unit], 1.0), counts[unit] + num_weightless[unit]
            held_bits[unit], counts[unit] = 0, 0
            if share < MIN_SHARE or shared < MIN_SHARED or unit == len(said_offsets) - 1:
                continue
            shared = 0
            for k in range(said_offsets[unit], said_offsets[unit + 1]):
                shared += seen[grams[k]] == text
            if shared < MIN_SHARED or _score(share, 1.0, shared, shared) < least:
                continue
            if distinct < 0:  # once for the text, and for most texts never
                if length > size:
                    size = 2 * length
                    word_before, two_before, own = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
                    held, held_two = np.empty(size, np.int64), np.empty(size, np.int64)
                places = _before(words, begin, begin + length, places, word_before)
                places = _before(twos, two_begin, two_offsets[text + 1], places, two_before)
                distinct = 0
                for i in range(length):
                    own[i] = -1.0
                    distinct += word_before[i] < 0
            window = max(LEAST_WINDOW, WINDOW * (said_offsets[unit + 1] - said_offsets[unit]))
            if length <= window and _score(share, 1.0, shared, distinct) < least:
                continue
            for k in range(said_offsets[unit], said_offsets[unit + 1]):
                owner[grams[k]], where[grams[k]] = rows, k
            for i in range(length):
                held[i] = where[ids[i]] if ids[i] >= 0 and owner[ids[i]] == rows else -1
            rows += 1
            if not _may_reach(least, share, length, window, word_before, held):
                continue
            for i in range(length):
                if own[i] < 0:
                    before = word_before[i]
                    bits = own[before] if before >= 0 else _bits(words[begin + i], keys, key_bits, rarest)
                    own[i] = bits if before >= 0 else min(max(bits, LEAST_TEXT_BITS), MOST_TEXT_BITS) - LEAST_TEXT_BITS
            for i in range(length - 1):
                held_two[i] = -1
                if held[i] >= 0 and held[i + 1] >= 0:
                    held_two[i] = _place(said_pairs, pair_offsets[unit], pair_offsets[unit + 1], twos[two_begin + i])
            share, score = _best_window(
                length, word_before, two_before, own, held, held_two, said_bits, pair_bits, totals[unit], window
            )  # fmt: skip
            if score >= least:
                if n == len(out_texts):
                    out_texts = np.concatenate((out_texts, np.empty_like(out_texts)))
                    out_units = np.concatenate((out_units, np.empty_like(out_units)))
                    out_shares = np.concatenate((out_shares, np.empty_like(out_shares)))
                    out_scores = np.concatenate((out_scores, np.empty_like(out_scores)))
                out_texts[n], out_units[n], out_shares[n], out_scores[n] = text, unit, share, score
                n += 1
    return out_texts[:n], out_units[:n], out_shares[:n], out_scores[:n]
