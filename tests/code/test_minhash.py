"""minhash: keys collide as often as similarity says, buckets stay linear, similarity is exact."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.code import minhash


def flat(sets: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.concatenate([[0], np.cumsum([len(s) for s in sets])]).astype(np.int64)
    return np.array([x for s in sets for x in s], np.uint32), offsets


@pytest.mark.parametrize("similarity", [0.3, 0.6, 0.8, 0.9])
def test_the_share_of_equal_keys_is_the_similarity(similarity):
    rng, size = np.random.default_rng(0), 200
    shared = round(2 * size * similarity / (1 + similarity))
    drawn = rng.integers(0, 2**32, (300, 2 * size - shared), dtype=np.uint64).astype(np.uint32)
    sets = [half for row in drawn for half in (row[:size].tolist(), row[size - shared :].tolist())]
    keys = minhash.band_keys(*flat(sets), bands=100, rows=1)
    exact = shared / (2 * size - shared)
    assert abs((keys[:, ::2] == keys[:, 1::2]).mean() - exact) < 0.02
    keys = minhash.band_keys(*flat(sets), bands=100, rows=3)
    assert abs((keys[:, ::2] == keys[:, 1::2]).mean() - exact**3) < 0.03


def test_keys_hang_on_the_set_alone():
    keys = minhash.band_keys(*flat([[1, 2, 3], [3, 2, 1, 1], [4, 5]]), bands=4, rows=2)
    assert (keys[:, 0] == keys[:, 1]).all() and (keys[:, 0] != keys[:, 2]).all()
    assert keys[:, 0].tolist() == [1680467755, 1565302503, 568164600, 305960339], "the same on every machine"


def test_each_position_is_paired_with_the_first_of_its_bucket():
    keys, positions = np.array([7, 9, 7, 7, 9, 7, 1], np.uint32), np.array([6, 0, 2, 5, 1, 3, 4], np.uint32)
    pairs = [(int(p) >> 32, int(p) & 0xFFFFFFFF) for p in sorted(minhash.bucket_pairs(keys, positions, width=2))]
    assert pairs == [(1, 0), (3, 2), (5, 2), (5, 3), (6, 2), (6, 3)]
    assert len(minhash.bucket_pairs(np.empty(0, np.uint32), np.empty(0, np.uint32), 2)) == 0


SETS = st.lists(st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 9), max_size=12), min_size=2, max_size=6)


@settings(max_examples=60, deadline=None)
@given(SETS)
def test_similarity_is_that_of_sets(sets):
    hashes, offsets = minhash.distinct(*flat(sets))
    assert [hashes[a:b].tolist() for a, b in pairwise(offsets)] == [sorted(set(s)) for s in sets]
    left, right = (x.astype(np.uint32) for x in np.triu_indices(len(sets)))
    expected = [
        len(set(sets[i]) & set(sets[j])) / max(1, len(set(sets[i]) | set(sets[j])))
        for i, j in zip(left, right, strict=True)
    ]
    found = hashes, offsets
    assert minhash.jaccard(found, found, left, right).tolist() == pytest.approx(expected)
