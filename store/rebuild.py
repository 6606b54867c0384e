"""What a user asked to be built again although its plan is the same: `scoder run --rebuild WHAT`.

In: a store, and the partitions that a stage or a table of a run consists of. Out: a request, kept
in `<store>/_runs/rebuild.json` until the run that fulfils it ends. A partition that is begun for a
request says so in its record. So a run that was killed goes on under the same command, and builds
nothing twice.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ValidationError

from store.errors import ContractError
from store.files import write_atomic
from store.runs import Record


class Rebuild(BaseModel, frozen=True):
    """One request: `what` the user named, and the partitions, by their paths, that it means."""

    what: str
    id: str
    partitions: frozenset[str]

    def wants(self, where: str, record: Record) -> bool:
        """Whether a complete partition is still to be built again."""
        return where in self.partitions and record.rebuilt_for != self.id


def _place(root: str) -> Path:
    return Path(root, "_runs", "rebuild.json")


def requested(root: str, what: str, partitions: set[str]) -> Rebuild:
    """The request for `what`: the one that a killed run left, or a new one, which is written."""
    path = _place(root)
    if path.exists():
        try:
            left = Rebuild.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise ContractError(
                f"{path} is damaged: {str(error).splitlines()[0]}. Remove it; --rebuild then begins anew"
            ) from None
        if left.what == what and partitions <= left.partitions:
            return left
        if left.what == what:
            # The killed run could not see all partitions yet. Those that it built stay built.
            return _written(root, left.model_copy(update={"partitions": left.partitions | partitions}))
    return _written(root, Rebuild(what=what, id=uuid.uuid4().hex, partitions=frozenset(partitions)))


def _written(root: str, made: Rebuild) -> Rebuild:
    write_atomic(LocalFileSystem(), str(_place(root)), made.model_dump_json(indent=1).encode())
    return made


def fulfilled(root: str) -> None:
    """Forget the request: the run that it was made for has ended."""
    if os.path.exists(_place(root)):
        _place(root).unlink()
