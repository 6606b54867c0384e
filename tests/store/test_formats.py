"""Every reader opens a table by a plain glob, without this project, and finds the same rows."""

from __future__ import annotations

from pathlib import Path

import datasets
import duckdb
import numpy as np
import pandas
import polars
import pyarrow.dataset
import pytest

from store import CONTRACTS, Store
from tests.rows import Row, put

GRADIENT = np.array([0.5, -0.5], "<f2").tobytes()
SELECTED: list[Row] = [
    {
        "selection": s,
        "iteration": t,
        "candidate_id": f"c{t}",
        "snippet_id": "s1",
        "rank": 1,
        "score": 7.5,
        "influence": 0.1,
    }
    for t in (1, 2)
    for s in ("default", "strict")
]
CHECKS: list[Row] = [
    {"snippet_id": "s1", "num_tokens": 40, "docstring_ascii": 1.0, "is_test": True, "modules": ["os", "sys"]},
    {"snippet_id": "s2", "num_tokens": 50, "docstring_ascii": 0.5},
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four partitions of `selected` and an empty one, one of `snippet_checks` and `gradients`."""
    store = Store(tmp_path / "store")
    for row in SELECTED:
        put(store, "selected", [row], iteration=row["iteration"], selection=row["selection"])
    put(store, "selected", [], iteration=3, selection="default")
    put(store, "snippet_checks", CHECKS)
    put(
        store,
        "gradients",
        [{"item_id": "c1", "item_kind": "candidate", "gradient": GRADIENT}],
        item_kind="candidate",
    )
    return tmp_path / "store"


def read_by_all(glob: str, folder: Path, cache: Path) -> dict[str, tuple[list[str], list[Row]]]:
    """Columns and rows per reader."""
    duck = duckdb.sql(f"SELECT * FROM read_parquet('{glob}')").to_arrow_table()
    polar = polars.read_parquet(glob)
    panda = pandas.read_parquet(folder)
    arrow = pyarrow.dataset.dataset(folder, format="parquet").to_table()
    hugging = datasets.load_dataset("parquet", data_files=glob, split="train", cache_dir=str(cache))
    return {
        "duckdb": (duck.column_names, duck.to_pylist()),
        "polars": (polar.columns, polar.to_dicts()),
        "pandas": (list(panda.columns), [_plain(row) for row in panda.to_dict("records")]),
        "pyarrow": (arrow.column_names, arrow.to_pylist()),
        "datasets": (hugging.column_names, list(hugging)),
    }


def _plain(row: Row) -> Row:
    """pandas gives lists as NumPy arrays."""
    return {k: v.tolist() if hasattr(v, "tolist") else v for k, v in row.items()}


def test_all_readers_see_the_rows_of_all_partitions(root: Path, tmp_path: Path) -> None:
    found = read_by_all(f"{root}/selected/**/*.parquet", root / "selected", tmp_path / "cache")
    for reader, (columns, rows) in found.items():
        assert columns == CONTRACTS["selected"].schema.names, reader
        assert sorted(rows, key=lambda r: (r["iteration"], r["selection"])) == SELECTED, reader


def test_all_readers_see_lists_booleans_and_floats(root: Path, tmp_path: Path) -> None:
    found = read_by_all(f"{root}/snippet_checks/*.parquet", root / "snippet_checks", tmp_path / "cache")
    for reader, (columns, rows) in found.items():
        assert columns == CONTRACTS["snippet_checks"].schema.names, reader
        shown = [
            {k: row[k] for k in ("snippet_id", "num_tokens", "docstring_ascii", "is_test", "modules")} for row in rows
        ]
        assert shown == [CHECKS[0], CHECKS[1] | {"is_test": False, "modules": []}], reader


def test_gradients_are_read_by_glob_as_the_bytes_of_half_floats(root: Path) -> None:
    glob = f"{root}/gradients/**/*.parquet"
    ((duck,),) = duckdb.sql(f"SELECT gradient FROM read_parquet('{glob}')").fetchall()
    panda = pandas.read_parquet(root / "gradients")["gradient"][0]
    arrow = pyarrow.dataset.dataset(root / "gradients", format="parquet").to_table()["gradient"][0].as_py()
    polar = polars.read_parquet(glob)["gradient"][0]
    for found in (duck, panda, arrow, polar):
        assert np.frombuffer(found, "<f2").tolist() == [0.5, -0.5]
