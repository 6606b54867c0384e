"""Fork a store: hard-link its finished partitions up to a stage into a new store.

In: a store, an empty target, a stage. Out: the partitions that were linked. Their models and
published datasets are linked, too. A fork costs no space and no time, unless the target is on
another disk: there all is copied.

    fork(Store("store-data"), Store("seed-2"), "iteration-1")
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from store import ContractError, Record, Store, files, leftovers, markers, segments
from store.errors import InputError

_BEFORE_LOOP = {
    "pool": {"raw_pool", "snippet_occurrences", "snippet_checks", "near_duplicates", "benchmarks", "pool"},
    "teacher": {"teacher_samples", "unusable_answers"},
    "scorer": set(),
    "bootstrap": set(),
}
_ORDER = ("pool", "teacher", "scorer", "bootstrap", "iteration", "instructions", "coder", "evaluation")


def stage_of(record: Record) -> tuple[int, int]:
    """The stage that makes a partition: (place of the stage in a run, iteration)."""
    table, part = record.plan.table, record.plan.partition
    if table == "raw_pool" and part:  # the snippets of imported teacher samples
        return _ORDER.index("teacher"), 0
    for stage, tables in _BEFORE_LOOP.items():
        if table in tables:
            return _ORDER.index(stage), 0
    if table == "evaluations" or str(part.get("name", "")).startswith("pass_at_1"):
        return _ORDER.index("evaluation"), 0
    if table == "checkpoints" and part["role"] in ("coder", "coder-base"):
        return _ORDER.index("coder"), 0
    if table == "checkpoints" and part["role"] == "docstring-judge":
        return _ORDER.index("pool"), 0
    if (table == "checkpoints" and part["role"] == "scorer") or part.get("name") == "scorer_auc":
        return _ORDER.index("scorer"), 0
    if table == "rejects" and "iteration" not in part:
        return _ORDER.index({"extract": "pool"}.get(str(part["stage"]), str(part["stage"]))), 0
    if part.get("item_kind") == "snippet":
        return _ORDER.index("pool"), 0
    if part.get("item_kind") == "label":
        return _ORDER.index("teacher"), 0
    if part.get("item_kind") == "teacher" and "iteration" not in part:
        return _ORDER.index("teacher" if table == "contamination" else "scorer"), 0
    iteration = int(part.get("iteration", 0))
    if table == "instructions":
        return _ORDER.index("instructions"), 0
    return _ORDER.index("iteration" if iteration else "bootstrap"), iteration


def stage_name(record: Record, num_iterations: int) -> str:
    """The stage that makes a partition, such as iteration-1, as a run of a recipe calls it.

    `num_iterations` are those of the recipe: what comes after them is the final generation.
    """
    place, iteration = stage_of(record)
    name = _ORDER[place]
    if name != "iteration":
        return name
    return f"iteration-{iteration}" if iteration <= num_iterations else "instructions"


def fork(source: Store, target: Store, until: str) -> list[str]:
    """Link what the stages up to `until` (included) made, and return the partitions.

    The final generation belongs to the stage `instructions`. `influence-K` means iteration K up to
    its influence, without its selection: from there another selection can be trained on. What is
    stale stays behind, and all that came from it; so do models of later stages.

    The new store appears whole: a fork that is killed leaves nothing at the target, and the same
    command works again. Raises ContractError when the target is a store or holds anything else,
    InputError for a stage that there is not.

    Example:
        fork(Store("store-data"), Store("seed-2"), "iteration-1")
    """
    place = Path(target.root)
    _check_place(source, place)
    wanted = _up_to(source, until)
    kept = _closed(source, [r for r in source.records() if r.status == "complete" and wanted(r)])
    for left in leftovers.folders(place.parent, place.name):
        shutil.rmtree(left, ignore_errors=True)
    with leftovers.beside(place) as working:
        try:
            linked = source.link_into(Store(working), lambda record: where_of(record) in kept)
            for name in sorted({name for record in kept.values() for name in markers.folders_of(record)}):
                _link_tree(Path(source.root, name), working / name)
        except FileNotFoundError as error:
            raise ContractError(
                f"{error.filename} went away while {source.root} was forked: something builds in it. "
                "Wait until it ends, and fork again"
            ) from None
        recipe = Path(source.root, "_runs", "recipe.yaml")
        if recipe.exists():
            files.write_text(working / "_runs" / "recipe.yaml", recipe.read_text(encoding="utf-8"))
        files.sync_directory(str(working))
        working.rename(place)
        files.sync_directory(str(place.parent))
    return linked


def where_of(record: Record) -> str:
    """The path of a record's partition."""
    return segments(record.plan.table, record.plan.partition)


def _check_place(source: Store, place: Path) -> None:
    if place.resolve().is_relative_to(Path(source.root).resolve()):
        raise ContractError(f"{place} lies in the store {source.root}; fork into a directory outside of it")
    if (place / "_runs").is_dir():
        raise ContractError(f"{place} is a store already; give a new directory to fork into")
    if place.is_symlink() or (place.is_dir() and any(place.iterdir())):
        raise ContractError(f"{place} is no store, and it is not empty; give a new directory to fork into")
    if Path.cwd().is_relative_to(place):
        raise ContractError(f"{place} is, or holds, the current directory; give another directory to fork into")


def _up_to(source: Store, until: str) -> Callable[[Record], bool]:
    """Whether a record belongs to the stages up to one.

    InputError for a stage that there is not.
    """
    name, _, number = until.partition("-")
    before_selection = name == "influence"
    name = "iteration" if before_selection else name
    if name not in _ORDER or (name == "iteration") != number.isdigit() or (number and name != "iteration"):
        raise InputError(
            f"no stage {until!r}; the stages are {', '.join(_ORDER)}. An iteration needs its number, such as "
            "iteration-1; influence-1 is the same without its selection and training"
        )
    loop, records = _ORDER.index("iteration"), source.records()
    begun = {int(r.plan.partition["iteration"]) for r in records if r.plan.table == "candidates"}
    final = max(begun) if begun and source.is_complete("instructions") else None
    limit = (_ORDER.index(name), int(number or 0))
    there = sorted(begun - {0, final})
    if name == "iteration" and limit[1] not in there:
        has = ", ".join(f"iteration-{t}" for t in there) or "no iteration"
        raise InputError(f"no stage {until!r} in {source.root}: it has {has}. Fork at one of these, or at bootstrap")

    def wanted(record: Record) -> bool:
        stage = stage_of(record)
        if before_selection and stage == limit and _follows_influence(record):
            return False
        if stage[0] == loop and stage[1] == final:
            stage = (_ORDER.index("instructions"), 0)
        return stage <= (limit if name == "iteration" else (limit[0], 10**6))

    return wanted


def _closed(source: Store, records: list[Record]) -> dict[str, Record]:
    """The records whose inputs are among them, too, by the path of their partition."""
    kept = {where_of(record): record for record in records}
    while True:
        absent = {
            where: gone[0]
            for where, record in kept.items()
            if (gone := [i for i, content in record.plan.inputs.items() if i not in kept or kept[i].content != content])
        }
        if not absent:
            return kept
        for where, gone_first in absent.items():
            source.announce(f"{where} stays behind: {gone_first}, which it came from, is not linked")
            del kept[where]


def _follows_influence(record: Record) -> bool:
    """Whether a partition of an iteration is made after its influence.

    That is its selection, its training, and what is measured on the two.
    """
    table, part = record.plan.table, record.plan.partition
    is_metric = table == "metrics" and part["name"] in ("heldout_nll", "selection_overlap")
    return table in ("selected", "checkpoints") or part.get("stage") == "selected" or is_metric


def _link_tree(source: Path, target: Path) -> None:
    """Link all files of a folder, if it is there."""
    if source.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target, copy_function=files.link_or_copy)
