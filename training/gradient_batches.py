"""Rows are computed in batches that fit into memory. If one does not fit, it is halved.

In: the rows of a window, what a batch may take, and a function that computes a batch. Out: the
places of each batch with its result. Every row is computed once, whatever the batches are.

Rows are sorted by length. A batch takes as many of them as its bounds allow: rows, padded tokens,
and predicted bytes. When memory runs out, the bound on tokens falls below this batch, and the same
rows are tried again. A row that does not fit alone is tried once more with its activations computed
twice instead of being kept.
"""

from __future__ import annotations

import ctypes
import gc
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from training.errors import TrainingError
from training.examples import Example
from training.gradient_memory import GradientMemory
from training.out_of_memory import is_out_of_memory
from training.settings import GradientSettings

T = TypeVar("T")

CPU_BYTES = 4e9
"""What a batch may take where nobody says it and there is no GPU."""

SHARE_OF_FREE = 0.8
"""Share of a GPU's free memory that a batch may take. The rest is for what the allocator wastes."""

M_MMAP_THRESHOLD = -3
"""The option of `mallopt` (malloc.h): blocks from this size on are returned when they are freed."""


def available(memory_gb: float | None, memory: GradientMemory | None, device: torch.device) -> float:
    """Bytes that a batch may take, beside weights that are loaded already."""
    if memory_gb is not None:
        return memory_gb * 1e9
    if device.type != "cuda":
        return CPU_BYTES
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + cached - (memory.tables() if memory else 0)
    return SHARE_OF_FREE * max(0.0, free)


def give_freed_memory_back() -> None:
    """Let this process give the memory of freed tensors back to the system at once.

    The C library of Linux keeps freed blocks of up to 32 MB for itself. With a model of 135M
    parameters these were 2.9 GB beside a batch of 3.4 GB.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 4 * 2**20)


@dataclass
class Bound:
    """What a batch may have at most. It falls when memory runs out, and stays there.

    Without a prediction (`memory`), rows and tokens are all that is bounded. Rows of
    `recomputed_from` tokens and more have their activations computed twice.
    """

    rows: int
    tokens: int
    num_bytes: float = math.inf
    memory: GradientMemory | None = None
    recomputed_from: float = math.inf

    @classmethod
    def of(cls, settings: GradientSettings, memory: GradientMemory | None, num_bytes: float) -> Bound:
        """The bound of a run's first batch."""
        return cls(settings.batch_size, settings.batch_tokens, num_bytes, memory)

    def first(self, lengths: Sequence[int]) -> tuple[int, bool]:
        """How many of the rows make the next batch, and whether its activations are recomputed.

        The lengths are ascending. The first row is always taken.
        """
        is_recomputed = lengths[0] >= self.recomputed_from or self._bytes(1, lengths[0], False) > self.num_bytes
        count = 1
        while count < min(self.rows, len(lengths)) and self._allows(count + 1, lengths[count], is_recomputed):
            count += 1
        return count, is_recomputed

    def _allows(self, rows: int, length: int, is_recomputed: bool) -> bool:
        return rows * length <= self.tokens and self._bytes(rows, length, is_recomputed) <= self.num_bytes

    def _bytes(self, rows: int, length: int, is_recomputed: bool) -> float:
        return self.memory.peak(rows, length, is_recomputed) if self.memory else 0.0

    def fall(self, rows: int, length: int, is_recomputed: bool, reason: str) -> None:
        """Memory ran out for such a batch. TrainingError if there is no smaller one."""
        if rows > 1:
            self.tokens = rows // 2 * length
        elif not is_recomputed:
            self.recomputed_from = length
        else:
            raise TrainingError(
                f"a row of {length} tokens does not fit into memory, even alone and with its activations computed "
                f"twice ({reason}). Set gradients.max_tokens below {length}, set dtype to bfloat16 if it is float32, "
                "or free memory on this device: other processes on it count, too"
            )


def in_batches(
    examples: Mapping[int, Example], bound: Bound, compute: Callable[[list[int], bool], T]
) -> Iterator[tuple[list[int], T]]:
    """The places of every batch with what `compute(places, is_recomputed)` gives for it."""
    waiting = sorted(examples, key=lambda place: (examples[place].num_tokens, place))
    while waiting:
        lengths = [examples[place].num_tokens for place in waiting]
        count, is_recomputed = bound.first(lengths)
        try:
            found = compute(waiting[:count], is_recomputed)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            reason = (str(error) or type(error).__name__).split("\n")[0][:200]
        else:
            yield waiting[:count], found
            waiting = waiting[count:]
            continue
        # Only here the error is gone, and with it its traceback, which held the batch's tensors.
        _free()
        bound.fall(count, lengths[count - 1], is_recomputed, reason)


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
