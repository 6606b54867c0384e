"""The fullest batch of gradients that can come up, whatever the lengths of the rows.

In: the arithmetic of a model's gradients, the bounds of a batch, and the bytes that it may take.
Out: bytes. A batch is made as in `training/gradient_batches.py`: rows of similar length, as many as
the bounds allow. A row that has no room alone is computed forward twice, and is always tried.

    fullest(GradientMemory(shape, 64, "bfloat16"), GradientSettings(), 48e9)    # 47.9e9
"""

from __future__ import annotations

from bisect import bisect_right

from training.gradient_memory import GradientMemory
from training.settings import GradientSettings


def longest_kept(memory: GradientMemory, settings: GradientSettings, room: float) -> int:
    """Tokens of the longest row whose activations are kept; 0 if there is none."""
    return _longest(memory, 1, settings.max_tokens, room, is_recomputed=False)


def fullest(memory: GradientMemory, settings: GradientSettings, room: float) -> float:
    """The most bytes that a batch takes.

    More tokens of as many rows take more bytes. So for each number of rows the longest that may
    stand together are the fullest.
    """
    kept, longest = longest_kept(memory, settings, room), settings.max_tokens
    peaks = [memory.peak(1, kept)]
    if longest > kept:
        peaks.append(memory.peak(1, longest, is_recomputed=True))
    for rows in range(2, settings.batch_size + 1):
        most = min(longest, settings.batch_tokens // rows)
        together = _longest(memory, rows, min(kept, most), room, is_recomputed=False)
        recomputed = _longest(memory, rows, most, room, is_recomputed=True) if most > kept else 0
        peaks.append(memory.peak(rows, together))
        if recomputed > kept:
            peaks.append(memory.peak(rows, recomputed, is_recomputed=True))
        if not max(together, recomputed):
            break
    return max(peaks)


def _longest(memory: GradientMemory, rows: int, most: int, room: float, *, is_recomputed: bool) -> int:
    """Tokens of the longest rows, `most` at most, of which so many together have room; else 0."""
    lengths = range(most + 1)
    return max(0, bisect_right(lengths, room, key=lambda length: memory.peak(rows, length, is_recomputed)) - 1)
