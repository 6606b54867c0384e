"""Where code comes from: a source of the recipe is cut into shards, and a shard is read as files.

In: a `Source` of the recipe: a tree, the standard library, installed packages, an archive, JSON
lines, Parquet files, or a dataset of the Hub. Out: `listing(source)` gives the shards and a
fingerprint of what is listed. `read(source, shard)` gives the files of one shard: each has its
path, text, repository and licence, with what told it. A file that cannot be read is given too, with
the reason.

How: the listing looks at every file once and notes where each shard starts, so no shard reads what
belongs to another. The shards do not depend on the number of workers.

    found = sources.listing(recipe.sources[0])
    for file in sources.read(recipe.sources[0], found.shards[0]): ...
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from builders.recipe import Source
from builders.sources import archives, bounds, rows, trees
from builders.sources.files import Shard, SourceFile
from builders.sources.license_rules import headed
from store import fingerprint

__all__ = ["bounds", "files", "license_choices", "listing", "opened", "packing", "read", "xz"]

_READERS = {"stdlib": trees, "tree": trees, "packages": trees, "archive": archives}


@dataclass(frozen=True)
class Listing:
    """How a source is cut into shards."""

    shards: tuple[Shard, ...]
    fingerprint: str


def listing(source: Source) -> Listing:
    """The shards of a source, and a fingerprint that changes when a listed file changes.

    MissingError or InputError for a path that names no readable file; the message names the source.
    """
    shards, identity = _READERS.get(source.kind, rows).shards(source)
    return Listing(tuple(shards), fingerprint(identity))


def read(source: Source, shard: Shard) -> Iterator[SourceFile]:
    """The files of one shard, in their order. A file without text has an `error` instead."""
    return map(headed, _READERS.get(source.kind, rows).files(source, shard))
