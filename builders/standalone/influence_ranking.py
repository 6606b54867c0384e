"""The ranking of a dataset by its kept gradients, and the tables of it.

In: a folder of gradients, indexes of datasets, and the makers of the gradients. Out: influences,
and from them the rows and the rejects of `scoder influence`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from builders.datasets.conversations import Dataset, Index
from builders.standalone import gradient_shards
from builders.standalone.gradient_shards import Maker
from builders.standalone.influence_checkpoints import plain
from builders.standalone.influence_request import Request, columns_of, slug
from store.errors import InputError
from store.half_floats import as_matrix
from training.ranking import Influences, Ranking, Reference, common_rows, picked, read_ahead


@dataclass(frozen=True)
class _Block:
    """The texts of a shard that have a gradient at every checkpoint, and means over the
    checkpoints.
    """

    text_ids: list[str]
    units: dict[str, np.ndarray]
    means: dict[str, np.ndarray]


def _blocks(folder: Path, index: Index, makers: Sequence[Maker], keys: Sequence[str]) -> Iterator[_Block]:
    """The shards of a dataset, with the unit gradients of all checkpoints under `keys`."""
    places = ([gradient_shards.path(folder, m, name) for m in makers] for name in gradient_shards.shards(index.texts))
    for tables in read_ahead(lambda paths: [pq.read_table(p) for p in paths], places):
        ids = [table["text_id"].to_pylist() for table in tables]
        rows = common_rows(ids)
        yield _Block(
            text_ids=[ids[0][r] for r in rows[0]],
            units={k: picked(as_matrix(t), r) for k, t, r in zip(keys, tables, rows, strict=True)},
            means={
                name: np.mean([t[name].to_numpy()[r] for t, r in zip(tables, rows, strict=True)], axis=0)
                for name in ("norm", "loss", "num_tokens")
            },
        )


def reference(folder: Path, name: str, index: Index, makers: list[Maker]) -> Reference:
    """A reference set. A text of several groups counts in each; otherwise texts count once."""
    groups: dict[str, dict[str | None, None]] = {}
    for text_id, group in zip(index.text_ids, index.groups, strict=True):
        if text_id is not None:
            groups.setdefault(text_id, {})[group] = None
    found = Reference(name)
    # under the keys of the candidates' makers, which are the same checkpoints
    for block in _blocks(folder, index, makers, [m.adapter or "" for m in makers]):
        if not block.text_ids:
            continue
        places = [(place, group) for place, text_id in enumerate(block.text_ids) for group in groups[text_id]]
        rows = np.array([place for place, _ in places], dtype=np.int64)
        for checkpoint, unit_ND in block.units.items():
            found.add(checkpoint, unit_ND[rows], [group for _, group in places])
    return found


@dataclass(frozen=True)
class Ranked:
    """Text id -> place in the arrays, and the influences on each reference set."""

    places: dict[str, int]
    means: dict[str, np.ndarray]
    found: list[Influences]


def rank(
    folder: Path, index: Index, makers: list[Maker], references: list[Reference], shares: dict[str, float]
) -> Ranked:
    by_adapter = {m.adapter or "": shares[m.key] for m in makers}
    text_ids: list[str] = []
    means: list[dict[str, np.ndarray]] = []
    parts: list[list[Influences]] = []
    ranking = Ranking(references, by_adapter)
    for block in _blocks(folder, index, makers, list(by_adapter)):
        if block.text_ids:
            text_ids += block.text_ids
            means.append(block.means)
            parts.append(ranking.of(block.units))
    if not parts:
        raise InputError(
            "no row of the dataset has a gradient: its rows are too long or empty. "
            "For longer rows give --set gradients.max_tokens=N."
        )
    found = [
        Influences(
            np.concatenate([p[r].mean_N for p in parts]),
            np.concatenate([p[r].max_N for p in parts]),
            {group: np.concatenate([p[r].groups[group] for p in parts]) for group in reference.groups},
        )
        for r, reference in enumerate(references)
    ]
    joined = {name: np.concatenate([m[name] for m in means]) for name in means[0]}
    return Ranked({t: place for place, t in enumerate(text_ids)}, joined, found)


def tables(
    request: Request, folder: Path, indexes: dict[Dataset, Index], makers: list[Maker], ranked: Ranked
) -> tuple[pa.Table, pa.Table]:
    """The output and the rejects."""
    index = indexes[request.dataset]
    kept = [row for row, text_id in enumerate(index.text_ids) if text_id is not None and text_id in ranked.places]
    places = np.array([ranked.places[index.text_ids[row] or ""] for row in kept], dtype=np.int64)
    columns: dict[str, Any] = {"id": [index.ids[row] for row in kept], "row": np.array(kept, np.int64)}
    columns["influence"] = np.max([f.mean_N for f in ranked.found], axis=0)[places]
    columns["influence_max"] = np.max([f.max_N for f in ranked.found], axis=0)[places]
    for name, found in zip(columns_of(request.references), ranked.found, strict=True):
        if len(ranked.found) > 1:
            columns |= {f"influence_{name}": found.mean_N[places], f"influence_max_{name}": found.max_N[places]}
        for group, values in found.groups.items():
            column = f"influence_{name}_{slug(group)}"
            if column in columns:
                raise InputError(f"two columns would be called {column}. Give the reference sets other names.")
            columns[column] = values[places]
    columns |= {name: ranked.means[name][places].astype(np.float32) for name in ("norm", "loss")}
    columns["num_tokens"] = ranked.means["num_tokens"][places].astype(np.int32)
    rejects: list[dict[str, Any]] = []
    for dataset in (request.dataset, *request.references):
        used = makers if dataset is request.dataset else plain(makers)
        rejects += _rejects(folder, dataset.name, indexes[dataset], used)
    return pa.table(columns), pa.Table.from_pylist(rejects, schema=REJECTS)


REJECTS = pa.schema(
    [
        ("dataset", pa.string()),
        ("id", pa.string()),
        ("row", pa.int64()),
        ("reason", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
    ]
)


def _rejects(folder: Path, name: str, index: Index, makers: Sequence[Maker]) -> Iterator[dict[str, Any]]:
    """One reject per row that is left out: it has no conversation, or no gradient at some
    checkpoint.
    """
    why: dict[str, dict[str, Any]] = {}
    for shard in gradient_shards.shards(index.texts):
        for maker in makers:
            for found in gradient_shards.rejects(gradient_shards.path(folder, maker, shard)):
                why.setdefault(found.pop("text_id"), found)
    for row, (own, text_id) in enumerate(zip(index.ids, index.text_ids, strict=True)):
        if text_id is None:
            yield {
                "dataset": name,
                "id": own,
                "row": row,
                "reason": index.reasons.get(row, "no_conversation"),
                "value": None,
                "threshold": None,
            }
        elif text_id in why:
            yield {"dataset": name, "id": own, "row": row, **why[text_id]}
