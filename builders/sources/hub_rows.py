"""Rows of a dataset of the Hub, or of a local dataset folder, as `datasets` streams them.

In: a `Source` and a shard. Out: rows. Datasets of Parquet are read by `parquet_rows` instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from builders.recipe import Source
from builders.sources.files import Shard
from training import hub
from training.errors import loading


def builder(source: Source) -> Any:
    import datasets

    hub.require("dataset", str(source.dataset), source.revision)
    with loading(f"source {source.name!r}: the dataset {source.dataset}"):
        return datasets.load_dataset_builder(source.dataset, data_dir=source.data_dir, revision=source.revision)


def stream(source: Source) -> Any:
    return builder(source).as_streaming_dataset(split=source.split)


def rows(source: Source, shard: Shard) -> Iterator[dict[str, Any]]:
    found = stream(source)
    if shard.stop is not None:
        return iter(found.take(shard.stop))
    return iter(found.shard(num_shards=found.num_shards, index=shard.offset))
