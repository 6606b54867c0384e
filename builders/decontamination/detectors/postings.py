"""Weighted containment: how much of a unit's information stands in a text.

In: units and texts. A unit is a part of a task that we look for: a set of hashed n-grams with
weights in bits. A text is its n-grams. Out: for each text and unit the share of the unit's bits
that the text holds, and where the longest run of them begins.

How: one pass over the texts serves all units. An inverted index in flat arrays maps an n-gram to
(unit, weight). Most n-grams of a text are in no unit, and a bitmap that fits the processor's cache
rejects them. So a text costs time only for the units that it shares something with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from builders.code.compiled import compiled
from builders.code.tokens import Grams


@dataclass(frozen=True)
class Postings:
    """An inverted index over units.

    totals: float64 (units,), bits of each unit. The other arrays are the bitmap, the hash table and
    the lists.
    """

    totals: np.ndarray
    bitmap: np.ndarray
    slots: np.ndarray
    slot_keys: np.ndarray
    offsets: np.ndarray
    units: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Shares:
    """One row per (text, unit) that share enough, in the order of the texts. Shares are 0..1."""

    texts: np.ndarray
    units: np.ndarray
    shares: np.ndarray


def inverted(units: np.ndarray, hashes: np.ndarray, weights: np.ndarray, num_units: int) -> Postings:
    """The index of (unit, n-gram, weight) triples.

    Repeated triples count once, and those without weight do not count.
    """
    order = np.lexsort((units, hashes))
    order = order[weights[order] > 0]
    units, hashes, weights = units[order], hashes[order], weights[order]
    is_new = np.ones(len(units), bool)
    is_new[1:] = (hashes[1:] != hashes[:-1]) | (units[1:] != units[:-1])
    units, hashes, weights = units[is_new], hashes[is_new], weights[is_new]
    firsts = np.flatnonzero(np.r_[True, hashes[1:] != hashes[:-1]]) if len(hashes) else np.zeros(0, np.int64)
    keys = hashes[firsts]
    bitmap, slots, slot_keys = _table(keys)
    totals = np.bincount(units, weights, num_units).astype(np.float64)
    offsets = np.r_[firsts, len(hashes)].astype(np.int64)
    return Postings(totals, bitmap, slots, slot_keys, offsets, units.astype(np.int32), weights.astype(np.float32))


def shares(index: Postings, sets: Sequence[Grams], min_share: float) -> Shares:
    """Which texts hold at least `min_share` of a unit. The sets are n-grams of the same texts."""
    hashes, offsets = tuple(grams.hashes for grams in sets), tuple(grams.offsets for grams in sets)
    table = (index.bitmap, index.slots, index.slot_keys, index.offsets, index.units, index.weights)
    texts, units, held = _match(hashes, offsets, *table, index.totals * min_share)
    # Sums that are added in different orders differ in their last digits.
    return Shares(texts, units, np.minimum(held / index.totals[units], 1.0))


def longest_run(index: Postings, grams: Grams, text: int, unit: int) -> tuple[int, int]:
    """The first and last place of a text's longest run of n-grams that are in a unit.

    Places count n-grams of the batch; (-1, -1) when there is none.
    """
    table = (index.slots, index.slot_keys, index.offsets, index.units)
    return _run(grams.hashes, grams.offsets[text], grams.offsets[text + 1], *table, unit)


def _table(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    size = 1 << max(int(2 * len(keys)).bit_length(), 4)
    bitmap = np.zeros(size // 8, np.uint64)  # 16 to 32 bits per key
    slots, slot_keys = np.full(size, -1, np.int32), np.zeros(size, np.uint64)
    _fill(keys, bitmap, slots, slot_keys)
    return bitmap, slots, slot_keys


@compiled
def _fill(keys, bitmap, slots, slot_keys):
    mask, bits = np.uint64(len(slots) - 1), np.uint64(64 * len(bitmap) - 1)
    for k in range(len(keys)):
        key = keys[k]
        bit = (key >> np.uint64(32)) & bits
        bitmap[bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))
        slot = key & mask
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot], slot_keys[slot] = k, key


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
def _match(sets, set_offsets, bitmap, slots, slot_keys, offsets, units, weights, min_bits):
    mask = np.uint64(64 * len(bitmap) - 1)
    held = np.zeros(len(min_bits), np.float32)
    touched = np.empty(len(min_bits), np.int32)
    seen = np.full(len(offsets), -1, np.int32)
    out_texts, out_units, out_held = np.empty(1024, np.int64), np.empty(1024, np.int64), np.empty(1024)
    n = 0
    for text in range(len(set_offsets[0]) - 1):
        num_touched = 0
        for s in range(len(sets)):
            hashes, text_offsets = sets[s], set_offsets[s]
            for place in range(text_offsets[text], text_offsets[text + 1]):
                key = hashes[place]
                bit = (key >> np.uint64(32)) & mask
                if not (bitmap[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1):
                    continue
                gram = _gram(slots, slot_keys, key)
                if gram < 0 or seen[gram] == text:
                    continue
                seen[gram] = text
                for p in range(offsets[gram], offsets[gram + 1]):
                    unit = units[p]
                    if held[unit] == 0:
                        touched[num_touched] = unit
                        num_touched += 1
                    held[unit] += weights[p]
        for t in range(num_touched):
            unit = touched[t]
            if held[unit] >= min_bits[unit]:
                if n == len(out_texts):
                    out_texts = np.concatenate((out_texts, np.empty_like(out_texts)))
                    out_units = np.concatenate((out_units, np.empty_like(out_units)))
                    out_held = np.concatenate((out_held, np.empty_like(out_held)))
                out_texts[n], out_units[n], out_held[n] = text, unit, held[unit]
                n += 1
            held[unit] = 0
    return out_texts[:n], out_units[:n], out_held[:n]


@compiled
def _run(hashes, begin, end, slots, slot_keys, offsets, units, unit):
    first, last, start = -1, -1, -1
    for place in range(begin, end):
        gram = _gram(slots, slot_keys, hashes[place])
        is_shared = False
        if gram >= 0:
            for p in range(offsets[gram], offsets[gram + 1]):
                is_shared = is_shared or units[p] == unit
        if not is_shared:
            start = -1
            continue
        start = place if start < 0 else start
        if first < 0 or place - start > last - first:
            first, last = start, place
    return first, last
