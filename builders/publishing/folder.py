"""A Hugging Face dataset folder: Parquet shards per split, and a dataset card.

In: streams of Arrow batches per split, and what the card should say. Out: a folder that appears
whole or not at all. `datasets.load_dataset` loads it.

    <target>/README.md
    <target>/data/train-00000-of-00002.parquet
    <target>/.scoder.json      our marker: we replace a folder only if it has this and is unchanged
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from builders.publishing import replacing
from builders.publishing.card import Card, render
from store import leftovers, markers
from store.errors import ContractError
from store.files import check_local
from store.shards import rechunk

ROWS_PER_FILE = 100_000


def write_dataset(
    target: str | Path,
    splits: Mapping[str, tuple[pa.Schema, Iterable[pa.RecordBatch]]],
    card: Card,
    plan: str = "",
) -> dict[str, int]:
    """Write the folder and return the rows per split. Splits without rows are left out.

    `plan` is the fingerprint of what the rows are made of; the marker names it. ContractError if
    the target holds anything but an unchanged folder of ours, or if no split has rows.
    """
    check_target(target)
    target = _place(target)
    replacing.mend(target)
    replacing.refuse_foreign(target)  # before the rows are made
    with leftovers.beside(target) as working:
        (working / "data").mkdir()
        licenses: Counter[str] = Counter()
        counts = {n: _write_split(working, n, *split, licenses) for n, split in splits.items()}
        if not any(counts.values()):
            raise ContractError(f"nothing to write to {target}: there are no rows in {', '.join(splits)}")
        (working / "README.md").write_text(render(card, counts, licenses), encoding="utf-8")
        markers.mark(working, plan)
        replacing.replace(target, working)
    return counts


def _place(target: str | Path) -> Path:
    """The folder's true place, without `..` and links above it: it is renamed on the way.

    The folder in which somebody works, or one above it, would be moved away under their feet.
    """
    given = Path(target)
    is_named = given.name not in ("", "..")
    place = Path(os.path.realpath(given.parent), given.name) if is_named else Path(os.path.realpath(given))
    if Path.cwd().is_relative_to(place):
        raise ContractError(f"cannot publish to {target}: it is, or holds, the current directory. Give another target.")
    return place


def check_target(target: str | Path) -> None:
    """ContractError for an address of the Hub, `hf://…` or OWNER/NAME: only folders are written."""
    given = str(target)
    owner, slash, name = given.partition("/")
    is_relative = owner not in ("", ".", "..")
    is_repository = is_relative and bool(slash and name.strip("/")) and "/" not in name.rstrip("/")
    if "://" not in given and not given.startswith("hf:") and not is_repository:
        check_local(given)
        return
    raise ContractError(
        f"cannot publish to {given}: only folders can be written so far. Write one and upload it: give ./OWNER/NAME or "
        "an absolute path as the target, then `hf upload OWNER/NAME ./OWNER/NAME --repo-type dataset`."
    )


def _write_split(
    folder: Path, split: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch], licenses: Counter[str]
) -> int:
    paths, rows = [], 0
    for number, table in enumerate(rechunk(batches, schema, ROWS_PER_FILE)):
        if not table.num_rows:
            continue  # `datasets` cannot load a split without rows: it is left out
        path = folder / "data" / f"{split}-{number:05d}.parquet"
        pq.write_table(table.cast(schema), path, compression="zstd")
        paths.append(path)
        rows += table.num_rows
        if "license" in table.column_names:
            licenses.update(table.column("license").to_pylist())
    for number, path in enumerate(paths):
        path.rename(folder / "data" / f"{split}-{number:05d}-of-{len(paths):05d}.parquet")
    return rows
