"""MinHash kernels: which of many sets are similar, found without comparing all pairs.

In: sets of 32-bit hashes, flat: those of set i are hashes[offsets[i] : offsets[i + 1]]. Out: numpy
arrays.

    band_keys(hashes, offsets, bands, rows)    LSH keys: two sets of Jaccard similarity s share the
                                               key of a band with probability s ** rows
                                               (Broder 1997; Leskovec et al., MMDS, section 3.4)
    bucket_pairs(keys, positions, width)       pairs that share a key: each set with the first
                                               `width` sets of its bucket
    distinct(hashes, offsets)                  sorted sets from hashes with repetitions
    jaccard(lefts, rights, left, right)        the exact similarity of pairs of sorted sets

How: each row has a hash function, the affine map a * x + b modulo 2**32 with odd `a`. That is a
bijection of the hashes, which are random already. The loop over the rows is the inner one and
compiles to vector instructions. All constants come from splitmix64, so keys are the same on every
machine.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from builders.code.compiled import compiled

Sets = tuple[np.ndarray, np.ndarray]
"""Sets in a row: hashes uint32 (grams,) and offsets int64 (sets + 1,)."""

_NONE = np.uint32(0xFFFFFFFF)
_MASK_64 = (1 << 64) - 1


def band_keys(hashes: np.ndarray, offsets: np.ndarray, bands: int, rows: int) -> np.ndarray:
    """The LSH keys, uint32 (bands, sets). `hashes` may repeat. The keys of an empty set mean
    nothing.
    """
    factors, terms = _constants(bands * rows)
    keys = np.empty((bands, len(offsets) - 1), np.uint32)
    _band_keys(hashes, offsets, factors, terms, keys)
    return keys


def bucket_pairs(keys: np.ndarray, positions: np.ndarray, width: int) -> np.ndarray:
    """Pairs of positions that share a key, uint64: `later << 32 | earlier`.

    keys: uint32 (sets,) of one band; positions: uint32 (sets,). Each position is paired with those
    of the first `width` of its bucket that stand before it. Without a width a bucket of n sets
    would give n² pairs.
    """
    entries = (keys.astype(np.uint64) << np.uint64(32)) | positions
    entries.sort()
    pairs = np.empty(_count_pairs(entries, width), np.uint64)
    _fill_pairs(entries, width, pairs)
    return pairs


def distinct(hashes: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of each set once and sorted, and the new offsets."""
    out, out_offsets = hashes.copy(), np.empty_like(offsets)
    size = _distinct(out, offsets, out_offsets)
    return out[:size].copy(), out_offsets


def jaccard(lefts: Sets, rights: Sets, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """|A ∩ B| / |A ∪ B| of pairs of sorted sets, float32 (pairs,); 0 where both are empty.

    `left` and `right` are places in `lefts` and `rights`.
    """
    similarity = np.empty(len(left), np.float32)
    _jaccard(*lefts, *rights, left, right, similarity)
    return similarity


@cache
def _constants(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Factors (odd) and terms of the affine maps."""
    drawn = np.array([_splitmix(i) & 0xFFFFFFFF for i in range(2 * count)], np.uint32)
    return drawn[:count] | np.uint32(1), drawn[count:]


def _splitmix(index: int) -> int:
    """One value of the sequence of splitmix64 from 0 (Steele, Lea, Flood, OOPSLA 2014)."""
    state = ((index + 1) * 0x9E3779B97F4A7C15) & _MASK_64
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK_64
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK_64
    return state ^ (state >> 31)


@compiled
def _band_keys(hashes, offsets, factors, terms, keys):
    bands, rows = len(keys), len(factors) // len(keys)
    least = np.empty(len(factors), np.uint32)
    for i in range(len(offsets) - 1):
        least[:] = _NONE
        for k in range(offsets[i], offsets[i + 1]):
            x = hashes[k]
            for j in range(len(factors)):
                least[j] = min(least[j], np.uint32(np.uint32(x * factors[j]) + terms[j]))
        for band in range(bands):
            state = np.uint64(band)
            for j in range(band * rows, (band + 1) * rows):
                state = (state ^ np.uint64(least[j])) * np.uint64(0xBF58476D1CE4E5B9)
                state ^= state >> np.uint64(29)
            keys[band, i] = np.uint32(state >> np.uint64(32))


@compiled
def _count_pairs(entries, width):
    count, first = 0, 0
    for i in range(1, len(entries)):
        if entries[i] >> np.uint64(32) != entries[first] >> np.uint64(32):
            first = i
        count += min(i - first, width)
    return count


@compiled
def _fill_pairs(entries, width, out):
    n, first = 0, 0
    for i in range(1, len(entries)):
        if entries[i] >> np.uint64(32) != entries[first] >> np.uint64(32):
            first = i
        later = entries[i] << np.uint64(32)
        for k in range(first, first + min(i - first, width)):
            out[n] = later | (entries[k] & np.uint64(_NONE))
            n += 1


@compiled
def _distinct(hashes, offsets, out_offsets):
    """Sort each set in place, move its distinct hashes to the front, return how many there are."""
    n = 0
    out_offsets[0] = 0
    for i in range(len(offsets) - 1):
        hashes[offsets[i] : offsets[i + 1]].sort()
        begin = n
        for k in range(offsets[i], offsets[i + 1]):
            if n == begin or hashes[k] != hashes[n - 1]:
                hashes[n] = hashes[k]
                n += 1
        out_offsets[i + 1] = n
    return n


@compiled
def _jaccard(left_hashes, left_offsets, right_hashes, right_offsets, left, right, out):
    for pair in range(len(left)):
        a, a_end = left_offsets[left[pair]], left_offsets[left[pair] + 1]
        b, b_end = right_offsets[right[pair]], right_offsets[right[pair] + 1]
        union, shared = (a_end - a) + (b_end - b), 0
        while a < a_end and b < b_end:
            x, y = left_hashes[a], right_hashes[b]
            shared += x == y
            a += x <= y
            b += y <= x
        out[pair] = shared / (union - shared) if union else 0.0
