"""How common an n-gram is in ordinary code: in how many functions of the standard library it
occurs.

In: n-grams. Out: bits of information. The counts come from `background.npz` beside this module. The
file is part of the project, so a hit depends neither on the machine nor on the other texts of a
shard.

The file holds the n-grams that MIN_TEXTS or more functions have: the upper 32 bits of their hashes,
sorted, and eight times the binary logarithm of the number of functions. Every other n-gram counts
as one that RARE functions have.

Make the file again after every change of the lexer or of the features:

    python -m builders.decontamination.detectors.count_background
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np

MIN_TEXTS, RARE = 8, 4
FILE = Path(__file__).with_name("background.npz")


def bits(name: str, hashes: np.ndarray) -> np.ndarray:
    """The information of n-grams of one set, float32: log2 of one over their share of functions."""
    counts = _counts()
    num_texts, keys, levels = counts.get(name, counts[""])
    if len(keys) == 0:
        return np.full(len(hashes), np.log2(num_texts / RARE), np.float32)
    wanted = (hashes >> np.uint64(32)).astype(np.uint32)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    log_count = np.where(keys[places] == wanted, levels[places] / 8, np.log2(RARE))
    return (np.log2(num_texts) - log_count).astype(np.float32)


@cache
def digest() -> str:
    """16 hex digits that identify the counts."""
    return hashlib.sha256(FILE.read_bytes()).hexdigest()[:16]


@cache
def _counts() -> dict[str, tuple[int, np.ndarray, np.ndarray]]:
    """Set -> number of texts that have any, keys, levels. The empty name means all other sets."""
    with np.load(FILE) as stored:
        names = [name.removesuffix(".keys") for name in stored.files if name.endswith(".keys")]
        counts = {n: (int(stored[f"{n}.texts"]), stored[f"{n}.keys"], stored[f"{n}.levels"]) for n in names}
    most = max(num_texts for num_texts, _, _ in counts.values())
    return counts | {"": (most, np.zeros(0, np.uint32), np.zeros(0, np.uint8))}
