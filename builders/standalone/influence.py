"""Influence of any dataset on any reference sets, without a store: `scoder influence`.

In: a dataset, reference datasets, a model, and adapters or none. Out: three things.

    <output>                     Parquet, one row per usable row of the dataset: id, row, influence,
                                 norm, loss, number of supervised tokens
    <output>.rejects.parquet     the other rows, with their reasons
    <output>.gradients           a folder of gradients; another reference set can be ranked from it
                                 without a model

How: `builders/standalone/gradient_shards.py` makes the gradients that are missing,
`training/ranking.py` ranks what is there.

    influence                        the greatest influence on one of the reference sets, as in
                                     LESS; with one set, the influence on it
    influence_max                    the influence on the reference sample that is helped most
    influence_R, influence_max_R     the same for the set R, if there are several sets
    influence_R_G                    the influence on the samples of R in group G
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from builders.datasets.conversations import Conversation, Dataset, Index, read_index, texts
from builders.executors import devices
from builders.standalone import gradient_shards
from builders.standalone.gradient_shards import Maker
from builders.standalone.influence_request import Request, columns_of, slug
from store import fingerprint
from store.counts import counted
from store.errors import InputError
from store.half_floats import as_matrix
from training.ranking import Influences, Ranking, Reference, common_rows, learning_rate_shares, picked, read_ahead
from training.settings import DtypeName, features_name

MAX_GROUPS = 64
"""A column with more groups than this holds ids, not groups."""

Track = Callable[[Sequence[int], str], Iterable[int]]


@dataclass(frozen=True)
class Report:
    """What came of it. `num_shards` were computed in this run.

    Rejects are counted by dataset and reason.
    """

    output: str
    num_rows: int
    rejects: dict[tuple[str, str], int]
    num_checkpoints: int
    num_shards: int


def build(request: Request, announce: Callable[[str], None], track: Track) -> Report:
    """Rank the dataset.

    A killed run continues where it was, and gradients that exist are not computed again.
    """
    columns_of(request.references)
    folder = Path(request.gradients or f"{request.output}.gradients")
    indexes = {d: read_index(d) for d in (request.dataset, *request.references)}
    _check_columns(request.dataset, indexes.values())
    for dataset, index in indexes.items():
        announce(f"{dataset.name}: {counted(len(index.ids), 'row')}, {counted(len(index.texts), 'distinct text')}")
        _check_groups(dataset.name, index)
    makers, shares = _makers(request, folder, indexes[request.dataset], announce)
    num_shards = _compute(request, folder, indexes, makers, announce, track)
    references = [_reference(folder, d.name, indexes[d], _plain(makers)) for d in request.references]
    ranked = _rank(folder, indexes[request.dataset], makers, references, shares)
    rows, rejects = _rows(request, folder, indexes, makers, ranked)
    gradient_shards.write(Path(f"{request.output}.rejects.parquet"), rejects, compression="zstd")
    gradient_shards.write(Path(request.output), rows, compression="zstd")
    counts = Counter(zip(rejects["dataset"].to_pylist(), rejects["reason"].to_pylist(), strict=True))
    return Report(request.output, rows.num_rows, dict(counts), len(makers), num_shards)


def _check_columns(dataset: Dataset, indexes: Iterable[Index]) -> None:
    """InputError for columns that no dataset has."""
    if dataset.columns and not any(index.num_named for index in indexes):
        raise InputError(
            f"no dataset has a column {', '.join(name for _, name in dataset.columns)}. Name others with --columns."
        )


def _check_groups(name: str, index: Index) -> None:
    groups = {g for g in index.groups if g is not None}
    if len(groups) > MAX_GROUPS:
        raise InputError(
            f"{name} has {len(groups)} groups, and each becomes a column: at most {MAX_GROUPS} are allowed. "
            "Choose another group column."
        )
    if len({slug(g) for g in groups}) < len(groups):
        raise InputError(f"{name} has groups that would give columns of one name: {sorted(groups)[:8]}. Rename them.")


def _makers(
    request: Request, folder: Path, index: Index, announce: Callable[[str], None]
) -> tuple[list[Maker], dict[str, float]]:
    """What makes the gradients at each checkpoint, and the weight of each by its key."""
    from training.fingerprints import model_fingerprint
    from training.warmup import saved

    found = [c for a in request.adapters for c in saved(a)] or _warmed_up(request, folder, index, announce)
    rates: list[float | None] = list(request.learning_rates) or [c.learning_rate for c in found]
    if len(rates) != len(found):
        raise InputError(f"{len(rates)} learning rates are given for {len(found)} checkpoints: give one per checkpoint")
    if any(rate is None for rate in rates):
        if any(rate is not None for rate in rates):
            raise InputError(
                "the learning rates of some adapters are not known. Give --learning-rate for every adapter."
            )
        announce(f"no learning rates are known: all {len(found)} checkpoints get the same weight")
    base = model_fingerprint(request.model, request.revision)
    name = features_name(request.choices.gradients, "chat template")
    arguments = tuple(sorted(request.choices.template_arguments.items()))
    precision = _precision(request.choices.dtype)
    makers = []
    for checkpoint in found:
        adapter = model_fingerprint(checkpoint.folder)
        parts = [base, adapter, name, request.choices.gradients.max_tokens, precision]
        key = fingerprint([*parts, *([dict(arguments)] if arguments else [])])[:24]
        makers.append(
            Maker(
                request.model,
                checkpoint.folder,
                request.revision,
                request.choices.gradients,
                request.choices.dtype,
                key,
                arguments,
            )
        )
    if len({m.key for m in makers}) < len(makers):
        raise InputError("an adapter is given twice: give each adapter once")
    return makers, learning_rate_shares({m.key: r or 0.0 for m, r in zip(makers, rates, strict=True)})


def _warmed_up(request: Request, folder: Path, index: Index, announce: Callable[[str], None]) -> list[Any]:
    from training.fingerprints import model_fingerprint
    from training.warmup import REPORT, sample, saved, warm_up

    chosen = sample(index.texts, request.choices.warmup)
    arguments = request.choices.template_arguments
    parts = [model_fingerprint(request.model, request.revision), request.choices.warmup.model_dump(mode="json"), chosen]
    parts += [arguments] if arguments else []
    where = folder / "_warmup" / fingerprint(parts)[:24]
    if (where / "run" / REPORT).is_file():
        return saved(str(where / "run"))
    announce(
        f"no adapter is given: training a LoRA on {len(chosen):,} of {len(index.texts):,} texts first, as LESS does"
    )
    rows: dict[str, Conversation] = dict(texts(request.dataset, set(chosen)))
    return warm_up(
        [rows[text_id] for text_id in chosen],
        request.model,
        where,
        request.choices.warmup,
        request.revision,
        arguments,
    )


def _precision(dtype: DtypeName) -> str:
    """What `auto` means on this machine. Gradients of another precision are other gradients."""
    (found,) = devices.run(_resolved, [dtype], devices.devices(1))
    return found


def _resolved(dtype: DtypeName, keeper: devices.Keeper) -> str:
    from training.precision import resolved

    return resolved(dtype)


def _plain(makers: Sequence[Maker]) -> list[Maker]:
    """The makers of reference gradients. LESS takes these without Adam's map."""
    plain = [m.settings.model_copy(update={"optimizer_map": "sgd"}) for m in makers]
    keys = [m.key if m.settings == s else fingerprint([m.key, "sgd"])[:24] for m, s in zip(makers, plain, strict=True)]
    return [replace(m, settings=settings, key=key) for m, settings, key in zip(makers, plain, keys, strict=True)]


def _compute(
    request: Request,
    folder: Path,
    indexes: dict[Dataset, Index],
    makers: list[Maker],
    announce: Callable[[str], None],
    track: Track,
) -> int:
    """Make the shards that are missing; return how many."""
    jobs: list[gradient_shards.Job] = []
    for dataset in (request.dataset, *request.references):
        names = gradient_shards.shards(indexes[dataset].texts)
        lacking = gradient_shards.missing(folder, makers if dataset is request.dataset else _plain(makers), list(names))
        gradient_shards.write_texts(folder, dataset, {job.name: names[job.name] for job in lacking})
        jobs += [job for job in lacking if job not in jobs]
    if jobs:
        jobs.sort(key=lambda job: [job.maker.adapter or "", job.maker.key])
        places = devices.devices(request.workers)
        announce(f"gradients: {len(jobs)} shards to compute on {len(places)} worker{'s' * (len(places) > 1)}")
        done = devices.run(gradient_shards.make, jobs, places)
        for _ in zip(track(range(len(jobs)), "gradients"), done, strict=True):
            pass
    else:
        announce("gradients: all of them exist already, no model is loaded")
    gradient_shards.drop_texts(folder)
    return len(jobs)


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


def _reference(folder: Path, name: str, index: Index, makers: list[Maker]) -> Reference:
    """A reference set. A text of several groups counts in each; otherwise texts count once."""
    groups: dict[str, dict[str | None, None]] = {}
    for text_id, group in zip(index.text_ids, index.groups, strict=True):
        if text_id is not None:
            groups.setdefault(text_id, {})[group] = None
    reference = Reference(name)
    # under the keys of the candidates' makers, which are the same checkpoints
    for block in _blocks(folder, index, makers, [m.adapter or "" for m in makers]):
        if not block.text_ids:
            continue
        places = [(place, group) for place, text_id in enumerate(block.text_ids) for group in groups[text_id]]
        rows = np.array([place for place, _ in places], dtype=np.int64)
        for checkpoint, unit_ND in block.units.items():
            reference.add(checkpoint, unit_ND[rows], [group for _, group in places])
    return reference


@dataclass(frozen=True)
class _Ranked:
    """Text id -> place in the arrays, and the influences on each reference set."""

    places: dict[str, int]
    means: dict[str, np.ndarray]
    found: list[Influences]


def _rank(
    folder: Path, index: Index, makers: list[Maker], references: list[Reference], shares: dict[str, float]
) -> _Ranked:
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
    return _Ranked({t: place for place, t in enumerate(text_ids)}, joined, found)


def _rows(
    request: Request, folder: Path, indexes: dict[Dataset, Index], makers: list[Maker], ranked: _Ranked
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
        used = makers if dataset is request.dataset else _plain(makers)
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
