"""The order in which a training takes its rows.

In: how many tokens each row has, and the settings. Out: the places of the rows, for all epochs.

    training_order([120, 80, 310], SftSettings(epochs=2))    # [2, 0, 1, 2, 1, 0]
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from training.settings import SftSettings

# Within windows of this many batches, rows of similar length are put together. The batches are then
# shuffled.
BATCHES_PER_WINDOW = 50


def training_order(lengths: Sequence[int], settings: SftSettings) -> list[int]:
    """Rows in the order of training, for all epochs.

    They are shuffled in each epoch, and rows of a batch are of similar length.
    """
    random = np.random.default_rng(settings.seed)
    num_epochs = math.ceil(settings.epochs)
    stream = np.concatenate([random.permutation(len(lengths)) for _ in range(num_epochs)])
    stream = stream[: max(1, round(settings.epochs * len(lengths)))]
    order: list[int] = []
    window = BATCHES_PER_WINDOW * settings.batch_size
    for start in range(0, len(stream), window):
        by_length = sorted(stream[start : start + window].tolist(), key=lambda row: (-lengths[row], row))
        batches = [by_length[i : i + settings.batch_size] for i in range(0, len(by_length), settings.batch_size)]
        # Only the last batch of all may be short: elsewhere it would shift all batches after it.
        num_full = len(by_length) // settings.batch_size
        for place in [*random.permutation(num_full).tolist(), *range(num_full, len(batches))]:
            order += batches[place]
    return order
