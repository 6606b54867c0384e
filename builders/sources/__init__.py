"""Source files from trees, installed packages, archives, JSON lines, Parquet and Hub datasets, in fixed shards.

In: a `Source` of the recipe. Out: `listing(source)`, the shards of a source with a fingerprint of what is listed, and
`read(source, shard)`, the files of one shard with path, text, repository and licence. What cannot be read is given out with
its reason. How: a listing looks at every file once and notes where shards start, so that none of them reads what belongs
to another; it does not depend on the number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from builders.recipe import Source
from builders.sources import archives, rows, trees
from builders.sources.files import Shard, SourceFile
from store import fingerprint

__all__ = ["files", "license_choices", "listing", "read"]

_READERS = {"stdlib": trees, "tree": trees, "packages": trees, "archive": archives}


@dataclass(frozen=True)
class Listing:
    """How a source is cut into shards."""

    shards: tuple[Shard, ...]
    fingerprint: str


def listing(source: Source) -> Listing:
    """The shards, and a fingerprint that changes with the listed files; a wrong path is a clear error."""
    shards, identity = _READERS.get(source.kind, rows).shards(source)
    return Listing(tuple(shards), fingerprint(identity))


def read(source: Source, shard: Shard) -> Iterator[SourceFile]:
    """The files of one shard."""
    return _READERS.get(source.kind, rows).files(source, shard)
