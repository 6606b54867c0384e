"""The search of the detectors through batches of a dataset, in this process or in several.

In: batches and tasks. Out: each batch with its hits, in order.

    for batch, hits in searched(batches, tasks, settings, workers=4): ...
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pyarrow as pa

from builders.datasets.texts import Batch
from builders.decontamination import detectors
from builders.decontamination.detectors import kept
from builders.recipe import Decontamination

_index: detectors.Index | None = None


def searched(
    batches: Iterable[Batch], tasks: list[dict[str, Any]], settings: Decontamination, workers: int
) -> Iterator[tuple[Batch, pa.Table]]:
    """Each batch with its hits, in order; item_id is the row's number.

    At most two batches per worker are under way.
    """
    if workers <= 1:
        index = kept.index(tasks, settings, kept.own_folder())
        for batch in batches:
            yield batch, _hits(index, batch)
        return
    pending: deque[tuple[Batch, Future[pa.Table]]] = deque()
    with ProcessPoolExecutor(workers, get_context("spawn"), _make_index, (tasks, settings)) as pool:
        for batch in batches:
            pending.append((batch, pool.submit(_hits_in_worker, batch)))
            if len(pending) >= 2 * workers:
                first, future = pending.popleft()
                yield first, future.result()
        while pending:
            first, future = pending.popleft()
            yield first, future.result()


def _make_index(tasks: list[dict[str, Any]], settings: Decontamination) -> None:
    global _index
    _index = kept.index(tasks, settings, kept.own_folder())


def _hits_in_worker(batch: Batch) -> pa.Table:
    assert _index is not None, "the pool makes it when a worker starts"
    return _hits(_index, batch)


def _hits(index: detectors.Index, batch: Batch) -> pa.Table:
    return detectors.hits(index, keys(batch), batch.texts)


def keys(batch: Batch) -> pa.Array:
    """The places of the rows as ids, because the rows' own ids may repeat."""
    return batch.items["row"].cast(pa.string()).combine_chunks()
