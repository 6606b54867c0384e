"""Fork a store: hard-link its finished partitions up to a stage into a new store.

In: a store, an empty target, a stage. Out: the partitions that were linked. The models and
published datasets of the store are linked, too. Nothing is copied, so a fork costs no space and no
time.

    fork(Store("store-data"), Store("seed-2"), "iteration-1")
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from store import ContractError, Record, Store
from store.errors import InputError

_BEFORE_LOOP = {
    "pool": {"raw_pool", "snippet_occurrences", "snippet_checks", "near_duplicates", "benchmarks", "pool"},
    "teacher": {"teacher_samples"},
    "scorer": set(),
    "bootstrap": set(),
}
_ORDER = ("pool", "teacher", "scorer", "bootstrap", "iteration", "instructions", "coder", "evaluation")


def stage_of(record: Record) -> tuple[int, int]:
    """The stage that makes a partition: (place of the stage in a run, iteration)."""
    table, part = record.plan.table, record.plan.partition
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


def fork(source: Store, target: Store, until: str) -> list[str]:
    """Link what the stages up to `until` (included) made, and return the partitions.

    The final generation belongs to the stage `instructions`. `influence-K` means iteration K up to
    its influence, without its selection: from there another selection can be trained on. Raises
    ContractError when the target is a store already, InputError for an unknown stage.
    """
    if Path(target.root).resolve().is_relative_to(Path(source.root).resolve()):
        raise ContractError(f"{target.root} lies in the store {source.root}; fork into a directory outside of it")
    if target.records():
        raise ContractError(f"{target.root} is a store already; give a new directory to fork into")
    name, _, number = until.partition("-")
    before_selection = name == "influence"
    name = "iteration" if before_selection else name
    if name not in _ORDER or (name == "iteration") != number.isdigit() or (number and name != "iteration"):
        raise InputError(
            f"no stage {until!r}; the stages are {', '.join(_ORDER)}. An iteration needs its number, such as "
            "iteration-1; influence-1 is the same without its selection and training"
        )
    loop = _ORDER.index("iteration")
    final = max(
        (int(r.plan.partition["iteration"]) for r in source.records() if r.plan.table == "candidates"), default=0
    )
    is_done = source.is_complete("instructions")
    limit = (_ORDER.index(name), int(number or 0))

    def keep(record: Record) -> bool:
        place = stage_of(record)
        if before_selection and place == limit and _follows_influence(record):
            return False
        if place[0] == loop and is_done and place[1] == final:
            place = (_ORDER.index("instructions"), 0)
        return place <= (limit if name == "iteration" else (limit[0], 10**6))

    linked = source.link_into(target, keep)
    for folder in ("_models", "_datasets"):
        _link_tree(Path(source.root, folder), Path(target.root, folder))
    recipe = Path(source.root, "_runs", "recipe.yaml")
    if recipe.exists():
        Path(target.root, "_runs").mkdir(parents=True, exist_ok=True)
        shutil.copy(recipe, Path(target.root, "_runs", "recipe.yaml"))
    return linked


def _follows_influence(record: Record) -> bool:
    """Whether a partition of an iteration is made after its influence.

    That is its selection, its training, and what is measured on the two.
    """
    table, part = record.plan.table, record.plan.partition
    is_metric = table == "metrics" and part["name"] in ("heldout_nll", "selection_overlap")
    return table in ("selected", "checkpoints") or part.get("stage") == "selected" or is_metric


def _link_tree(source: Path, target: Path) -> None:
    """Link all files of a folder. Models are named by their plan, so unused ones do no harm."""
    if source.is_dir():
        shutil.copytree(source, target, copy_function=os.link, dirs_exist_ok=True)
