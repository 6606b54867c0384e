"""What a store holds and nothing needs any more, for `scoder clean`.

In: a store whose lock is held. Out: what can go, with its size; then it is removed.

    waste = found(store)
    remove(store, waste)

What stays:
- tables, models and datasets;
- the scratch of partitions that are being built, and their trainings: they resume from it;
- scratch that names no plan, while anything is being built: it may be part of that;
- the answers of plans that are not finished, and their batches: they are paid for;
- what removed answers cost: budgets count it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builders.engines import answers
from store import CONTRACTS, Record, Store, leftovers, segments

_FINGERPRINT = re.compile(r"[0-9a-f]{32}")
_TEMPORARY = re.compile(r".+\.[0-9a-f]{8}\.tmp")
_MADE_OF_STAGING: tuple[tuple[str, dict[str, str | int]], ...] = (
    ("raw_pool", {}),
    ("snippet_occurrences", {}),
    ("rejects", {"stage": "extract"}),
)

JUDGED_ANSWERS = "answers of a finished table; without them, other limits of grading ask the model again"


@dataclass(frozen=True)
class Waste:
    """A path in the store that can go. `bytes` are what that frees: linked files free nothing."""

    path: str
    what: str
    bytes: int


def found(store: Store) -> list[Waste]:
    """All that can go.

    Raises ContractError for a damaged record, because nobody can tell what its partition needs.
    """
    root, records = Path(store.root), store.records()
    what = dict(_scratch(store, records))
    what |= dict.fromkeys(_temporary_files(root), "left by a write that was killed")
    building = {r.plan.fingerprint for r in records if r.status == "building"}
    for room in ("_models", "_datasets"):
        what |= dict.fromkeys(leftovers.folders(root / room), "left by a publish that was killed")
        what |= dict.fromkeys(leftovers.partial_trainings(root / room, building), "left by a training that was killed")
    return [Waste(str(path.relative_to(root)), why, _size(path)) for path, why in sorted(what.items())]


def remove(store: Store, waste: list[Waste]) -> None:
    """Remove what `found` gave. Of answers, what they cost is kept."""
    for item in waste:
        path = Path(store.root, item.path)
        if path.parent == Path(store.scratch("")) and path.name.startswith("journal-"):
            answers.close_journal(path)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _scratch(store: Store, records: list[Record]) -> Iterator[tuple[Path, str]]:
    folder = Path(store.scratch(""))
    building = {r.plan.fingerprint for r in records if r.status == "building"}
    finished = answers.finished_journals(store)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        named = set(_FINGERPRINT.findall(path.name))
        if path.name == "duckdb":
            yield path, "rows that did not fit in memory"
        elif path.name.startswith("journal-"):
            if path in finished:
                is_judged = path.name.startswith("journal-evaluations-")
                yield path, JUDGED_ANSWERS if is_judged else "answers of a finished table"
        elif not (named & building or (not named and building) or _is_awaited(store, records, path.name)):
            yield path, "scratch of a build that is over"


def _is_awaited(store: Store, records: list[Record], name: str) -> bool:
    """Whether scratch of a finished partition is read by another one that is not built yet."""
    kind, _, fingerprint = name.partition("-")
    owner = next((r for r in records if r.plan.fingerprint == fingerprint), None)
    if owner is None:
        return False
    if kind == "extract":
        return not all(store.is_complete(table, **partition) for table, partition in _MADE_OF_STAGING)
    if kind == "unusable":
        return not store.is_complete("unusable_answers")
    if kind == "gradients":
        where = segments(owner.plan.table, owner.plan.partition)
        return not any(r.plan.table == "rejects" and where in r.plan.inputs and r.status == "complete" for r in records)
    return False


def _temporary_files(root: Path) -> Iterator[Path]:
    scratch = root / "_runs" / "_scratch"
    for folder in (root / "_runs", *(root / table for table in CONTRACTS)):
        for path in leftovers.files(folder):
            if _TEMPORARY.fullmatch(path.name) and not path.is_relative_to(scratch):
                yield path


def _size(path: Path) -> int:
    """The bytes that are freed when a path goes."""
    below = [Path(place, name) for place, _, names in os.walk(path) for name in names] if path.is_dir() else [path]
    return sum(stat.st_size for stat in (p.lstat() for p in below) if stat.st_nlink == 1)
