"""The near-deduplications of others, as far as they run on one core.

In: texts. Out: per peer a function from the texts to the number of those that it would drop.
datatrove and datasketch are the programs themselves. The third is the core of
github.com/bigcode-project/bigcode-dataset, near_deduplication/minhash_deduplication.py
(Apache-2.0), written anew: shingles of 5 words, 256 permutations over 32 bits of SHA-1, bands for a
similarity of 0.7, union-find.
"""

from __future__ import annotations

import hashlib
import re
import struct
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

Peer = Callable[[Sequence[str]], int]
NOT_WORD = re.compile("[^A-Za-z_0-9]")
_PRIME, _MAX = np.uint64((1 << 61) - 1), np.uint64((1 << 32) - 1)


def shingles(text: str, size: int = 5) -> set[str]:
    """The n-grams of words."""
    words = [w for w in NOT_WORD.split(text) if w]
    return {" ".join(words[i : i + size]) for i in range(len(words) - size + 1)}


def datatrove(texts: Sequence[str]) -> int:
    """datatrove's signature, bucket and cluster steps with its defaults.

    The defaults are 14 x 8 hashes and English words from spaCy.
    """
    import spacy  # noqa: F401  datatrove needs it, and says so only when it runs
    from datatrove.data import Document
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from loguru import logger

    logger.disable("datatrove")
    config = MinhashConfig()
    with tempfile.TemporaryDirectory(prefix="near-dedup-") as folder:
        signature: Any = MinhashDedupSignature(f"{folder}/signatures", config=config)
        signature.run((Document(text=text, id=str(i)) for i, text in enumerate(texts)), 0, 1)
        buckets: Any = MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets", config=config)
        for bucket in range(config.num_buckets):
            buckets.run(None, bucket, config.num_buckets)
        cluster: Any = MinhashDedupCluster(f"{folder}/buckets", f"{folder}/drop", config=config)
        cluster.run(None, 0, 1)
        with open(f"{folder}/drop/000000.remove", "rb") as file:
            return len(file.read()) // 4


def bigcode(texts: Sequence[str], threshold: float = 0.7, permutations: int = 256) -> int:
    """The script's embedding, bands and union-find."""
    bands, rows = _bands(threshold, permutations)
    rng = np.random.RandomState(42)
    factors = rng.randint(1, int(_PRIME), permutations, dtype=np.uint64)
    terms = rng.randint(0, int(_PRIME), permutations, dtype=np.uint64)
    tables: list[dict[bytes, set[int]]] = [defaultdict(set) for _ in range(bands)]
    for index, text in enumerate(texts):
        words = NOT_WORD.split(text)
        grams = {" ".join(words[i : i + 5]) for i in range(len(words) - 4)}
        hashes = np.array([struct.unpack("<I", hashlib.sha1(g.encode()).digest()[:4])[0] for g in grams], np.uint64)
        permuted = np.bitwise_and(((hashes[:, None] * factors) + terms) % _PRIME, _MAX)
        least = np.vstack([permuted, np.full(permutations, _MAX)]).min(axis=0)
        for band, table in enumerate(tables):
            table[bytes(least[band * rows : (band + 1) * rows].byteswap().data)].add(index)
    return _merged(tables, len(texts))


def _merged(tables: list[dict[bytes, set[int]]], size: int) -> int:
    """How many indices are not the first of their cluster."""
    parent = list(range(size))

    def root(x: int) -> int:
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    for table in tables:
        for cluster in table.values():
            first = min(cluster) if len(cluster) > 1 else -1
            for other in cluster if len(cluster) > 1 else ():
                a, b = root(first), root(other)
                parent[max(a, b)] = min(a, b)
    return sum(root(i) != i for i in range(size))


@cache
def _bands(threshold: float, permutations: int) -> tuple[int, int]:
    """Bands and rows with the least sum of the areas of false positives and false negatives."""
    grid = np.linspace(0, 1, 1001)
    below = grid <= threshold
    best, error = (1, 1), np.inf
    for bands in range(1, permutations + 1):
        for rows in range(1, permutations // bands + 1):
            missed = (1 - grid**rows) ** bands
            found = np.trapezoid(np.where(below, 1 - missed, missed), grid)
            if found < error:
                best, error = (bands, rows), found
    return best


def datasketch(texts: Sequence[str]) -> int:
    """datasketch's MinHash of 128 permutations over the same shingles.

    A text is inserted into its LSH unless a similar one is found there.
    """
    from datasketch import MinHash, MinHashLSH

    index, dropped = MinHashLSH(threshold=0.7, num_perm=128), 0
    sets = ([s.encode() for s in shingles(text)] for text in texts)
    for number, sketch in enumerate(MinHash.generator(sets, num_perm=128)):
        if index.query(sketch):
            dropped += 1
        else:
            index.insert(number, sketch)
    return dropped


PEERS: dict[str, tuple[Peer, str]] = {
    "datatrove": (datatrove, "datatrove spacy"),
    "bigcode": (bigcode, "numpy"),
    "datasketch": (datasketch, "datasketch"),
}
"""Name -> (function, what to `pip install` for it)."""
