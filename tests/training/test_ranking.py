"""Influence as a formula: means, maxima and groups equal the same numbers taken pair by pair."""

import numpy as np
import pytest

from training import ranking
from training.ranking import Ranking, Reference, common_rows, direction, learning_rate_shares, picked, read_ahead

GROUPS = ["a", "b", None, "a", "b"]


def unit(seed: int, rows: int, width: int = 16) -> np.ndarray:
    found = np.random.default_rng(seed).normal(size=(rows, width))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16)


def reference(name: str = "r", size: int = 1) -> Reference:
    """Five samples at two checkpoints, given in blocks of `size`."""
    made = Reference(name)
    for checkpoint, seed in (("c1", 1), ("c2", 2)):
        rows = unit(seed, 5)
        for start in range(0, 5, size):
            made.add(checkpoint, rows[start : start + size], GROUPS[start : start + size])
    return made


UNITS = {"c1": unit(11, 7), "c2": unit(12, 7)}
SHARES = {"c1": 0.75, "c2": 0.25}


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x.astype(float), y.astype(float)
    return float(x @ y / np.linalg.norm(y))


def test_influences_are_those_of_one_pair_at_a_time() -> None:
    (found,) = Ranking([reference(size=5)], SHARES).of(UNITS)
    samples = {"c1": unit(1, 5), "c2": unit(2, 5)}
    is_a = np.array([group == "a" for group in GROUPS])
    for n in range(7):
        mean = sum(s * cosine(UNITS[c][n], samples[c].astype(float).mean(axis=0)) for c, s in SHARES.items())
        of_a = sum(s * cosine(UNITS[c][n], samples[c][is_a].astype(float).sum(axis=0)) for c, s in SHARES.items())
        pairs = [sum(s * float(UNITS[c][n].astype(float) @ samples[c][r]) for c, s in SHARES.items()) for r in range(5)]
        assert found.mean_N[n] == pytest.approx(mean, abs=1e-5)
        assert found.groups["a"][n] == pytest.approx(of_a, abs=1e-5)
        assert found.max_N[n] == pytest.approx(max(pairs), abs=1e-5)
    assert list(found.groups) == ["a", "b"] and found.mean_N.shape == (7,)


def test_every_half_float_is_widened_exactly() -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = halves[np.isfinite(halves)][: 61 * 1024].reshape(61, 1024)
    wide = np.empty((61, 2048), np.float32)
    ranking.widen(finite, wide[:, 1024:])
    assert wide[:, 1024:].tobytes() == finite.astype(np.float32).tobytes()


def test_blocks_of_the_reference_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, single = (Ranking([reference(size=size)], SHARES).of(UNITS)[0] for size in (5, 1))
    monkeypatch.setattr(ranking, "SAMPLES_AT_ONCE", 2)
    (tiled,) = Ranking([reference(size=5)], SHARES).of(UNITS)
    monkeypatch.setattr(ranking, "FLOAT32_BYTES", 0)
    (converted,) = Ranking([reference(size=5)], SHARES).of(UNITS)
    for other in (single, tiled, converted):
        assert np.allclose(whole.mean_N, other.mean_N, atol=1e-6)
        assert np.allclose(whole.max_N, other.max_N, atol=1e-6)


def test_several_references_are_what_each_is_alone() -> None:
    second = Reference("s")
    for checkpoint in SHARES:
        second.add(checkpoint, unit(5, 2), [None, None])
    both = Ranking([reference(), second], SHARES).of(UNITS)
    alone = Ranking([second], SHARES).of(UNITS)[0]
    assert np.allclose(both[1].mean_N, alone.mean_N, atol=1e-6) and np.allclose(both[1].max_N, alone.max_N, atol=1e-6)
    assert not both[1].groups and not np.allclose(both[0].mean_N, both[1].mean_N)


def test_a_reference_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="the reference empty has no gradients"):
        Ranking([Reference("empty")], SHARES).of(UNITS)


def test_a_mean_without_direction_is_zero() -> None:
    opposed = Reference("o")
    opposed.add("c1", np.array([[1, 0], [-1, 0]], np.float16), [None, None])
    (found,) = Ranking([opposed], {"c1": 1.0}).of({"c1": np.array([[1, 0]], np.float16)})
    assert found.mean_N.tolist() == [0.0] and found.max_N.tolist() == [1.0]
    assert direction(np.array([0.0, 3.0])).tolist() == [0.0, 1.0]


def test_checkpoints_weigh_by_learning_rate() -> None:
    assert learning_rate_shares({"a": 3e-4, "b": 1e-4}) == pytest.approx({"a": 0.75, "b": 0.25})
    assert learning_rate_shares({"a": 0.0, "b": 0.0}) == {"a": 0.5, "b": 0.5}


def test_common_rows_are_those_of_all_checkpoints() -> None:
    same = common_rows([["x", "y"], ["x", "y"]])
    assert [rows.tolist() for rows in same] == [[0, 1], [0, 1]]
    some = common_rows([["x", "y", "z"], ["z", "x"]])
    assert [rows.tolist() for rows in some] == [[0, 2], [1, 0]]
    assert [len(rows) for rows in common_rows([["x"], ["y"]])] == [0, 0]


def test_reading_ahead_keeps_the_order_and_the_error() -> None:
    assert list(read_ahead(lambda n: n * n, range(9))) == [n * n for n in range(9)]
    with pytest.raises(ZeroDivisionError):
        list(read_ahead(lambda n: 1 // n, [1, 0]))


def test_a_ranking_serves_any_number_of_blocks_of_any_size() -> None:
    ready = Ranking([reference()], SHARES)
    (whole,) = ready.of(UNITS)
    parts = [ready.of({c: rows[place] for c, rows in UNITS.items()})[0] for place in (slice(0, 2), slice(2, 7))]
    assert np.allclose(np.concatenate([p.mean_N for p in parts]), whole.mean_N, atol=1e-6)
    assert np.allclose(np.concatenate([p.max_N for p in parts]), whole.max_N, atol=1e-6)


def test_picking_all_rows_copies_nothing() -> None:
    rows = unit(3, 4)
    assert picked(rows, np.arange(4)) is rows
    assert picked(rows, np.array([1, 0, 2, 3])).tolist() == rows[[1, 0, 2, 3]].tolist()
