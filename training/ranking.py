"""Influence: how far a sample's gradients point the way a reference set's do, over checkpoints.

In: unit gradients, and the unit gradients of reference samples at the same checkpoints. Out: per sample the
influence on the reference set, on its groups, and on the reference sample that it helps most.

    I(x)     = sum_i eta_i cos(g_i(x), mean_i)          mean_i the mean unit gradient of the set at checkpoint i
    I_max(x) = max_r sum_i eta_i cos(g_i(x), g_i(r))    r a sample of the set
    eta_i    = the checkpoint's learning rate over the sum of them     (LESS, Xia et al. 2024, eq. 4)

Samples come in blocks and references stay in memory, so a pass reads every gradient once however many
references there are.

Shapes: N samples of a block, C checkpoints, D sketch dimension.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from training.errors import TrainingError

# Cosines with reference samples are taken with this many of them at a time: 1000 rows against 1024 are 4 MB.
SAMPLES_AT_ONCE = 1024
# Reference samples are kept in float32 up to this size, which saves converting them for every block.
FLOAT32_BYTES = 400_000_000
ROWS_WIDENED_TOGETHER = 16
# The sign, which a shift of a signed number repeats, and what a half float has of the rest, in the places of a float.
SIGN_EXPONENT_MANTISSA = np.int32(-0x70002000)

S = TypeVar("S")
T = TypeVar("T")


@dataclass
class Reference:
    """One reference set: sums of unit gradients per (checkpoint, group), and the samples themselves for the maximum.

    The group "" is the whole set.
    """

    name: str
    sums: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    samples: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, checkpoint: str, unit_ND: np.ndarray, groups: Sequence[str | None]) -> None:
        """Takes in unit gradients of one checkpoint with the group of each row; the rows of all checkpoints alike."""
        held = np.array(["" if group is None else group for group in groups])
        for group in ["", *sorted(set(held.tolist()) - {""})]:
            rows_ND = unit_ND if group == "" else unit_ND[held == group]
            total_D = rows_ND.sum(axis=0, dtype=np.float64)
            self.sums[checkpoint, group] = self.sums.get((checkpoint, group), 0.0) + total_D
        self.samples.setdefault(checkpoint, []).append(unit_ND)

    @property
    def groups(self) -> list[str]:
        """The named groups, sorted."""
        return sorted({group for _, group in self.sums if group})

    @property
    def num_samples(self) -> int:
        """Samples at each checkpoint."""
        return min((sum(map(len, blocks)) for blocks in self.samples.values()), default=0)


@dataclass(frozen=True)
class Influences:
    """Float64 [N] each: on the whole set, on the sample that is helped most, on each group."""

    mean_N: np.ndarray
    max_N: np.ndarray
    groups: dict[str, np.ndarray]


def learning_rate_shares(learning_rates: Mapping[str, float]) -> dict[str, float]:
    """Learning rates normalised to sum 1; equal shares when all are zero (nothing was trained)."""
    total = sum(learning_rates.values())
    return {name: rate / total if total else 1 / len(learning_rates) for name, rate in learning_rates.items()}


def direction(total_D: np.ndarray) -> np.ndarray:
    """A sum of unit gradients scaled to length 1, float32; zero where they cancel out."""
    return (total_D / max(float(np.linalg.norm(total_D)), 1e-12)).astype(np.float32)


class Ranking:
    """References and weights made ready for any number of blocks.

    Gradients of all checkpoints stand side by side, C*D wide, with the weights in those of the references, so
    that a block costs one product with all directions and one with all samples. Raises ValueError for a
    reference set without gradients.
    """

    def __init__(self, references: Sequence[Reference], shares: Mapping[str, float]) -> None:
        for reference in references:
            if not reference.num_samples:
                raise TrainingError(
                    f"the reference {reference.name} has no gradients: its samples are too long, or there are none"
                )
        self.references, self.shares = list(references), dict(shares)
        self.columns = [(r, group) for r, reference in enumerate(references) for group in ("", *reference.groups)]
        rows = [
            np.concatenate([share * direction(references[r].sums[c, group]) for c, share in shares.items()])
            for r, group in self.columns
        ]
        self.directions = np.stack(rows).astype(np.float32)
        num_samples = sum(reference.num_samples for reference in references)
        is_small = 4 * num_samples * self.directions.shape[1] <= FLOAT32_BYTES
        self.kept = [list(self._tiles(reference)) for reference in references] if is_small else None
        self.buffer = np.empty((0, self.directions.shape[1]), np.float32)

    def of(self, units: Mapping[str, np.ndarray]) -> list[Influences]:
        """The influences of one block on every reference set.

        `units` are the block's unit gradients [N, D] at each checkpoint, its rows the same samples.
        """
        wide_N = self._wide(units)
        mean_of = dict(zip(self.columns, (wide_N @ self.directions.T).T.astype(np.float64), strict=True))
        return [
            Influences(
                mean_N=mean_of[r, ""],
                max_N=np.max([(wide_N @ tile.T).max(axis=1) for tile in self._samples(r)], axis=0).astype(np.float64),
                groups={group: mean_of[r, group] for group in reference.groups},
            )
            for r, reference in enumerate(self.references)
        ]

    def _wide(self, units: Mapping[str, np.ndarray]) -> np.ndarray:
        """The checkpoints side by side in float32 [N, C*D], in memory that every block uses again.

        Fresh pages for every block would cost as much as the products.
        """
        num_rows = len(next(iter(units.values())))
        if num_rows > len(self.buffer):
            self.buffer = np.empty((num_rows, self.directions.shape[1]), np.float32)
        place = 0
        for checkpoint in self.shares:
            width = units[checkpoint].shape[1]
            widen(units[checkpoint], self.buffer[:num_rows, place : place + width])
            place += width
        return self.buffer[:num_rows]

    def _samples(self, reference: int) -> Iterable[np.ndarray]:
        return self.kept[reference] if self.kept is not None else self._tiles(self.references[reference])

    def _tiles(self, reference: Reference) -> Iterator[np.ndarray]:
        """The samples of a set, weighted and side by side, a bounded number of them at a time."""
        for blocks in zip(*(reference.samples[checkpoint] for checkpoint in self.shares), strict=True):
            for start in range(0, len(blocks[0]), SAMPLES_AT_ONCE):
                parts = [block_RD[start : start + SAMPLES_AT_ONCE].astype(np.float32) for block_RD in blocks]
                weighted = [share * part for share, part in zip(self.shares.values(), parts, strict=True)]
                yield np.concatenate(weighted, axis=1)


def widen(half_ND: np.ndarray, out_ND: np.ndarray) -> None:
    """Writes float16 as float32, exactly, at twice the speed of numpy's own conversion.

    Sign, exponent and mantissa go to their places in 32 bits, and the bias of the exponent is mended by a product, which is
    right for subnormal numbers too. A few rows at a time stay in the processor's cache. Finite numbers only.
    """
    bits_ND = half_ND.view(np.int16)
    held = np.empty((ROWS_WIDENED_TOGETHER, half_ND.shape[1]), np.int32)
    for start in range(0, len(half_ND), ROWS_WIDENED_TOGETHER):
        part = slice(start, start + ROWS_WIDENED_TOGETHER)
        wide = held[: len(bits_ND[part])]
        np.left_shift(bits_ND[part], 13, out=wide, dtype=np.int32)
        np.bitwise_and(wide, SIGN_EXPONENT_MANTISSA, out=wide)
        np.multiply(wide.view(np.float32), np.float32(2.0**112), out=out_ND[part])


def common_rows(ids: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """For each checkpoint the places of the samples that all checkpoints have, in the order of the first."""
    if all(list(other) == list(ids[0]) for other in ids[1:]):
        return [np.arange(len(ids[0]))] * len(ids)
    places = [{name: place for place, name in enumerate(names)} for names in ids]
    shared = [name for name in ids[0] if all(name in known for known in places)]
    return [np.array([known[name] for name in shared], dtype=np.int64) for known in places]


def picked(rows_ND: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The rows at the places; without a copy where these are all of them."""
    is_whole = len(places) == len(rows_ND) and np.array_equal(places, np.arange(len(rows_ND)))
    return rows_ND if is_whole else rows_ND[places]


def read_ahead(read: Callable[[S], T], places: Iterable[S], num_ahead: int = 2) -> Iterator[T]:
    """`read(place)` of every place in their order, the next ones read by threads while one is worked on."""
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(max_workers=2) as pool:
        for place in places:
            waiting.append(pool.submit(read, place))
            if len(waiting) > num_ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
