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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from builders.datasets.conversations import Dataset, Index, read_index
from builders.executors import devices
from builders.standalone import gradient_shards
from builders.standalone.gradient_shards import Maker
from builders.standalone.influence_checkpoints import makers_of, plain
from builders.standalone.influence_ranking import rank, reference, tables
from builders.standalone.influence_request import Request, columns_of, slug
from store.counts import counted
from store.errors import InputError

MAX_GROUPS = 64
"""A column with more groups than this holds ids, not groups."""

Track = Callable[[Sequence[int], str], Iterable[int]]


@dataclass(frozen=True)
class Report:
    """What came of it. `num_shards` were computed in this run.

    Rejects are counted by dataset and reason. `datasets` has name, path, config and split of what
    was read, the ranked dataset first.
    """

    output: str
    num_rows: int
    rejects: dict[tuple[str, str], int]
    num_checkpoints: int
    num_shards: int
    datasets: list[dict[str, Any]]


def build(request: Request, announce: Callable[[str], None], track: Track) -> Report:
    """Rank the dataset.

    A killed run continues where it was, and gradients that exist are not computed again.
    """
    columns_of(request.references)
    folder = Path(request.gradients or f"{request.output}.gradients")
    places = {d: d.chosen() for d in (request.dataset, *request.references)}
    indexes = {d: read_index(d) for d in (request.dataset, *request.references)}
    _check_columns(request.dataset, indexes.values())
    for dataset, index in indexes.items():
        announce(f"{dataset.name}: {counted(len(index.ids), 'row')}, {counted(len(index.texts), 'distinct text')}")
        _check_groups(dataset.name, index)
    makers, shares = makers_of(request, folder, indexes[request.dataset], announce)
    num_shards = _compute(request, folder, indexes, makers, announce, track)
    references = [reference(folder, d.name, indexes[d], plain(makers)) for d in request.references]
    ranked = rank(folder, indexes[request.dataset], makers, references, shares)
    rows, rejects = tables(request, folder, indexes, makers, ranked)
    gradient_shards.write(Path(f"{request.output}.rejects.parquet"), rejects, compression="zstd")
    gradient_shards.write(Path(request.output), rows, compression="zstd")
    counts = Counter(zip(rejects["dataset"].to_pylist(), rejects["reason"].to_pylist(), strict=True))
    read = [{"name": d.name, **asdict(place)} for d, place in places.items()]
    return Report(request.output, rows.num_rows, dict(counts), len(makers), num_shards, read)


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
        lacking = gradient_shards.missing(folder, makers if dataset is request.dataset else plain(makers), list(names))
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
