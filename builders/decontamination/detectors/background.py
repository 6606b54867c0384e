"""How common an n-gram is in ordinary code: document frequencies over the functions of the Python standard library.

In: `background.npz` beside this module, which is part of the project, so that a hit depends neither on the machine nor on
the other texts of a shard. Out: bits of information. `python -m builders.decontamination.detectors.count_background` makes the file anew, which
has to follow every change of the lexer or of the features.

The file holds n-grams of MIN_TEXTS functions or more: the upper 32 bits of their hashes, sorted, and eight times the binary
logarithm of their number of functions. Any other n-gram counts as one of RARE functions.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np

MIN_TEXTS, RARE = 8, 4
FILE = Path(__file__).with_name("background.npz")


def bits(name: str, hashes: np.ndarray) -> np.ndarray:
    """The information of n-grams of one set: the binary logarithm of one over their share of functions, float32."""
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
    """What names the counts: 16 hex digits."""
    return hashlib.sha256(FILE.read_bytes()).hexdigest()[:16]


@cache
def _counts() -> dict[str, tuple[int, np.ndarray, np.ndarray]]:
    """Set -> number of texts that have any, keys, levels; the empty name stands for sets that were not counted."""
    with np.load(FILE) as stored:
        names = [name.removesuffix(".keys") for name in stored.files if name.endswith(".keys")]
        counts = {n: (int(stored[f"{n}.texts"]), stored[f"{n}.keys"], stored[f"{n}.levels"]) for n in names}
    most = max(num_texts for num_texts, _, _ in counts.values())
    return counts | {"": (most, np.zeros(0, np.uint32), np.zeros(0, np.uint8))}
