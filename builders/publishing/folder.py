"""A Hugging Face dataset folder: Parquet shards per split and a dataset card, loadable with `datasets.load_dataset`.

In: streams of Arrow batches per split, and what the card should say. Out: a folder that appears whole or not at all.

    <target>/README.md
    <target>/data/train-00000-of-00002.parquet
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from builders.publishing.card import Card, render
from store.errors import ContractError
from store.shards import rechunk

ROWS_PER_FILE = 100_000
_OURS = re.compile(r"README\.md|data/[^/]+-\d{5}-of-\d{5}\.parquet")


def write_dataset(
    target: str | Path, splits: Mapping[str, tuple[pa.Schema, Iterable[pa.RecordBatch]]], card: Card
) -> dict[str, int]:
    """Write the folder and return rows per split; splits without rows are left out.

    A target that holds something else than a dataset is refused, and so is a dataset without any rows.
    """
    target = Path(target).absolute()
    if target.exists() and not _is_ours(target):
        raise ContractError(
            f"{target} exists and holds other things than a dataset of this project; give another target"
        )
    working = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        (working / "data").mkdir(parents=True)
        licenses: Counter[str] = Counter()
        counts = {n: _write_split(working, n, *split, licenses) for n, split in splits.items()}
        if not any(counts.values()):
            raise ContractError(f"nothing to write to {target}: no rows in {', '.join(splits)}")
        (working / "README.md").write_text(render(card, counts, licenses), encoding="utf-8")
        old = working.with_suffix(".old")
        if target.exists():
            target.rename(old)
        working.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return counts


def _is_ours(target: Path) -> bool:
    """Whether a folder is empty or holds what `write_dataset` writes and nothing else, so that it may be replaced."""
    if not target.is_dir() or target.is_symlink():
        return False
    found = {str(p.relative_to(target)) for p in target.rglob("*") if not p.is_dir()}
    return not found or ("README.md" in found and len(found) > 1 and all(_OURS.fullmatch(name) for name in found))


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
