"""How common an n-gram is in ordinary code and in ordinary prose of programming.

In: n-grams. Out: bits of information. The counts come from `background.npz` beside this module. The
file is part of the project, so a hit depends neither on the machine nor on the other texts of a
shard.

    ngram, renamed, literals   in how many functions they occur
    prose                      in how many functions, and in how many statements of exercises; the
                               corpus in which an n-gram is commoner decides

The functions are those of the standard library and of the packages that the project requires. The
exercises are those of LeetCodeDataset and half of CodeAlpaca, whose statements ask as benchmarks
ask: there, "array" and "number" say nothing.

The file holds the n-grams that a few functions have (`MIN_TEXTS` or more): the upper 32 bits of
their hashes, sorted, and eight times the binary logarithm of the number of functions. Every other
n-gram counts as one that RARE functions have. And it holds the words that people write, the
commonest first.

Make the file again after every change of the lexer, of the features or of the thesaurus:

    python -m builders.decontamination.detectors.count_background LEETCODE CODEALPACA
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np

from builders.decontamination.detectors import concepts
from builders.decontamination.detectors.concepts import Vocabulary

MIN_TEXTS, RARE = {"prose": 4}, {"prose": 2}
"""Of the sets of a detector; of all others OTHER_MIN_TEXTS and OTHER_RARE."""

OTHER_MIN_TEXTS, OTHER_RARE = 8, 4
FILE = Path(__file__).with_name("background.npz")
WORDS, EXERCISES = "words", "exercises "
"""The name of the words in the file, and what begins the names of sets that exercises were counted
for.
"""

Counts = tuple[int, np.ndarray, np.ndarray]
"""Texts that have any n-gram, keys, levels of the keys."""


def bits(name: str, hashes: np.ndarray) -> np.ndarray:
    """The information of n-grams of one set, float32: log2 of one over their share of the texts."""
    counts = _counts()
    found = _bits(counts.get(name, counts[""]), rare(name), hashes)
    if EXERCISES + name not in counts:
        return found
    among = counts[EXERCISES + name]
    is_known = np.isin((hashes >> np.uint64(32)).astype(np.uint32), among[1])
    return np.where(is_known, np.minimum(found, _bits(among, rare(name), hashes)), found)


def min_texts(name: str) -> int:
    """In how many texts an n-gram of a set must be to stand in the file."""
    return MIN_TEXTS.get(name.split("-")[0], OTHER_MIN_TEXTS)


def rare(name: str) -> int:
    """In how many texts an n-gram of a set is taken to be that does not stand in the file."""
    return RARE.get(name.split("-")[0], OTHER_RARE)


@cache
def table(name: str) -> tuple[np.ndarray, np.ndarray, float]:
    """For compiled code: the keys of a set, uint32 and sorted, their bits, and those of others."""
    counts = _counts()
    keys = counts[name][1]
    if EXERCISES + name in counts:
        keys = np.union1d(keys, counts[EXERCISES + name][1])
    rarest = float(np.log2(counts[name][0] / rare(name)))
    return keys, bits(name, keys.astype(np.uint64) << np.uint64(32)), rarest


@cache
def vocabulary() -> Vocabulary:
    """The words that people write."""
    with np.load(FILE) as stored:
        return concepts.vocabulary(bytes(stored[WORDS]).decode().split())


@cache
def digest() -> str:
    """16 hex digits that identify the counts and the words."""
    return hashlib.sha256(FILE.read_bytes()).hexdigest()[:16]


def _bits(counts: Counts, texts_if_rare: int, hashes: np.ndarray) -> np.ndarray:
    num_texts, keys, levels = counts
    if len(keys) == 0:
        return np.full(len(hashes), np.log2(num_texts / texts_if_rare), np.float32)
    wanted = (hashes >> np.uint64(32)).astype(np.uint32)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    log_count = np.where(keys[places] == wanted, levels[places] / 8, np.log2(texts_if_rare))
    return (np.log2(num_texts) - log_count).astype(np.float32)


@cache
def _counts() -> dict[str, Counts]:
    """Set -> number of texts that have any, keys, levels. The empty name means all other sets."""
    with np.load(FILE) as stored:
        names = [name.removesuffix(".keys") for name in stored.files if name.endswith(".keys")]
        counts = {n: (int(stored[f"{n}.texts"]), stored[f"{n}.keys"], stored[f"{n}.levels"]) for n in names}
    most = max(num_texts for num_texts, _, _ in counts.values())
    return counts | {"": (most, np.zeros(0, np.uint32), np.zeros(0, np.uint8))}
