"""All that a recipe names, opened: its sources, benchmarks, datasets, models and teacher's file.

In: a recipe, and the stages of a run. Out: checks; each reads the first rows of one thing and
raises what the run itself would stumble over. Nothing is built, and no model is loaded. What lies
on the Hub is not asked for: it may take long, and needs a network.

    refused(checks(recipe, ["pool", "teacher"]), UserError, TrainingError)
    passed_over(recipe, ["pool", "teacher"])
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Collection, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from builders import benchmarks
from builders.datasets import mixes
from builders.datasets.json_rows import json_object
from builders.datasets.rows import check_place
from builders.recipe import Benchmark, Mix, Recipe
from builders.sources import opened, packing
from builders.teacher import importing
from store.errors import InputError, MissingError

HEAD_ROWS = 20

Check = Callable[[], None]


def checks(recipe: Recipe, stages: Collection[str]) -> list[Check]:
    """One check for each thing that these stages read."""
    found: list[Check] = []
    if "pool" in stages:
        found += [partial(opened.check, source) for source in recipe.sources]
        found += [partial(_benchmark, benchmark) for benchmark in recipe.benchmarks if Path(benchmark.path).exists()]
    if "teacher" in stages and recipe.teacher.path is not None and Path(recipe.teacher.path).exists():
        found.append(partial(_triples, recipe.teacher.path))
    if "coder" in stages:
        found += [partial(_mix, mix) for mix in recipe.coder.mix if _is_here(mix)]
    return found + [partial(_model, field, model) for field, model in _models(recipe, stages)]


def passed_over(recipe: Recipe, stages: Collection[str]) -> list[str]:
    """What these stages read and no check looks at: files beyond a number, and what the Hub has."""
    found = [opened.passed_over(source) for source in recipe.sources] if "pool" in stages else []
    on_the_hub = [b.path for b in recipe.benchmarks if "pool" in stages and not Path(b.path).exists()]
    on_the_hub += [mix.dataset for mix in recipe.coder.mix if "coder" in stages and not _is_here(mix)]
    return [told for told in found if told] + [f"the Hub is not asked for {place}" for place in on_the_hub]


def _benchmark(benchmark: Benchmark) -> None:
    for _ in islice(benchmarks.tasks(benchmark), HEAD_ROWS):
        pass


def _triples(path: str) -> None:
    for _ in islice(importing.triples(path), HEAD_ROWS):
        pass


def _is_here(mix: Mix) -> bool:
    """Whether a set lies on this machine, or is named like a file, and not like one of the Hub."""
    try:
        check_place(mix.dataset)
    except MissingError:
        return True  # the check itself then says so
    return Path(mix.dataset).exists()


def _mix(mix: Mix) -> None:
    first = mix.model_copy(update={"max_rows": min(HEAD_ROWS, mix.max_rows or HEAD_ROWS)})
    for _ in mixes.conversations(first):
        pass


# -- models ----------------------------------------------------------------------------------------


def _models(recipe: Recipe, stages: Collection[str]) -> Iterator[tuple[str, str]]:
    """(field of the recipe, folder) of the models that lie on this machine, each folder once."""
    named = [
        ("bootstrap", "synthesizer.model", recipe.synthesizer.model),
        ("scorer", "scorer.model", recipe.scorer.model),
        ("coder", "coder.model", recipe.coder.model),
    ]
    seen: set[str] = set()
    for stage, field, model in named:
        if stage in stages and model is not None and Path(model).is_dir() and model not in seen:
            seen.add(model)
            yield field, model


def _model(field: str, model: str) -> None:
    """InputError for a model whose config or weights are not whole, as after half a copy."""
    folder = Path(model)
    _described(field, folder / "config.json")
    index = folder / "model.safetensors.index.json"
    names = set(_described(field, index).get("weight_map", {}).values()) if index.is_file() else set()
    files = {folder / name for name in names} | set(folder.glob("*.safetensors"))
    for file in sorted(files):
        _weights(field, file)


def _described(field: str, path: Path) -> dict[str, Any]:
    try:
        return json_object(path, "Copy the model again.")
    except InputError as error:
        raise InputError(f"{field}: {error}") from error


def _weights(field: str, path: Path) -> None:
    """The header says where each tensor ends: the file is as long as the last of them."""
    try:
        packing.require_content(path)
    except InputError as error:
        raise InputError(f"{field}: {error}") from error
    try:
        with open(path, "rb") as handle:
            (length,) = struct.unpack("<Q", handle.read(8))
            header = json.loads(handle.read(min(length, 100_000_000)))
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
        lacking = 8 + length + end - path.stat().st_size
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise InputError(f"{field}: {path} is no whole file of weights ({error}). Copy the model again.") from error
    if lacking > 0:
        raise InputError(f"{field}: {path} lacks its last {lacking:,} bytes. Copy the model again.")
