"""Recipes as files, and the recipe that a store was last run with.

In: a YAML file and overrides. Out: a `Recipe`. A recipe is found by its path or by its name:
`scoder run tiny` runs the `tiny.yaml` that comes with SCoder, from a checkout or from a wheel.

    recipe = load("tiny", ["selection.min_score=5"])
    recipe.selection.min_score    # 5.0

Paths in a recipe are relative to the folder of the recipe. All mistakes are told in one message, in
words. For an unknown key the message names the valid keys, and the one that is like it.
"""

from __future__ import annotations

import difflib
import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from builders.engines.settings import BLOCK, ENGINES
from builders.recipe import Recipe, yaml_text
from builders.recipe.yaml_text import shortened
from store.errors import InputError, MissingError
from store.files import write_text

S = TypeVar("S", bound=BaseModel)


MOST_TOLD = 40
"""So many mistakes are told, and so many characters of an unknown key are compared."""
FORMS = {
    **dict.fromkeys(("tuple_type", "list_type"), "this is a list, write [VALUE, VALUE] or a line `- VALUE` for each"),
    **dict.fromkeys(("model_type", "dict_type"), "this is a section: its keys stand below it, indented"),
}
"""What the form of a value should be, by the type of pydantic's error."""
SHIPPED = Path(__file__).parents[2] / "recipes"
"""The recipes that come with SCoder: beside `builders` in a checkout and in site-packages."""


def load(recipe: str | Path, overrides: list[str] | None = None) -> Recipe:
    """The recipe of a name or a path with `section.key=value` overrides (values are YAML).

    `load("tiny")` reads the recipe that ships, `load("mine/tiny.yaml")` your own.
    """
    path = find(recipe)
    return _recipe(path, _sections(path), overrides)


def _sections(path: Path) -> dict[str, Any]:
    try:
        with path.open(encoding="utf-8") as file:
            raw = yaml_text.read(file.read(yaml_text.MAX_CHARS + 1)) or {}
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error}). Save it as UTF-8.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except InputError as error:
        raise InputError(f"{path} is not valid YAML for a recipe: {error}") from None
    if not isinstance(raw, dict):
        raise InputError(f"{path}: a recipe is a mapping of sections, got {type(raw).__name__}")
    return raw


def _recipe(path: Path, raw: dict[str, Any], overrides: list[str] | None) -> Recipe:
    override(raw, overrides or [])
    try:
        return checked(Recipe, _resolve_paths(raw, path.parent))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def checked(kind: type[S], raw: dict[str, Any]) -> S:
    """A recipe, or one section of it, from a plain mapping.

    InputError tells all mistakes in one message, in words.
    """
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        found = [e for e in error.errors() if not _follows(e, error.errors())]
        told = [_explain(e, kind) for e in found[:MOST_TOLD]]
        more = len(found) - len(told)
        raise InputError("; ".join(told) + (f"; and {more:,} more" if more else "")) from None


def find(recipe: str | Path) -> Path:
    """The file of a recipe, found by path or by name. A file that exists wins over a name."""
    path = Path(recipe)
    if path.is_file():
        return path
    # names have dots, as in qwen2.5-coder-7b, so nothing here looks at the suffix of a name
    shipped = {file.stem: file for file in sorted(SHIPPED.glob("*.yaml"))}
    if str(recipe) in shipped:
        return shipped[str(recipe)]
    raise MissingError(f"no recipe {recipe}: give the path of a YAML file or one of these names: {', '.join(shipped)}")


def override(raw: dict[str, Any], items: list[str]) -> dict[str, Any]:
    """`raw` with `section.key=value` items set.

    Values are YAML. An entry of a list is named by its number: `sources.0.max_files=10`. A section
    that is null or not there begins with this value.
    """
    for item in items:
        key, sign, value = item.partition("=")
        if not sign or not key:
            raise InputError(f"--set {item!r}: write section.key=value, such as --set selection.min_score=5")
        *parents, last = key.split(".")
        place: Any = raw
        for parent in parents:
            try:
                if isinstance(place, dict) and place.get(parent) is None:
                    place[parent] = {}
                place = place[int(parent)] if isinstance(place, list) else place[parent]
            except (ValueError, IndexError, TypeError):
                raise InputError(f"--set {item!r}: there is no {parent!r} to set {last!r} in") from None
        if not isinstance(place, dict):
            raise InputError(f"--set {item!r}: {'.'.join(parents)} is not a section")
        try:
            place[last] = yaml_text.read(value)
        except InputError as error:
            raise InputError(f"--set {shortened(item)!r}: {shortened(value)!r} is not a YAML value: {error}") from None
    return raw


def remember(store: str, recipe: Recipe, *, is_new: bool = False) -> None:
    """Keep the recipe in the store, so that `select` and `fill` find it.

    With `is_new`, a recipe that is there already stays: the new one may still be refused, and then
    the store must keep the recipe that it was built with.
    """
    path = Path(store, "_runs", "recipe.yaml")
    if is_new and path.exists():
        return
    write_text(path, yaml_text.write(recipe.model_dump(mode="json")))


def recall(store: str, overrides: list[str] | None = None) -> Recipe:
    """The recipe that a store was last run with.

    MissingError if it was never run, InputError if the recipe in it is damaged.
    """
    path = Path(store, "_runs", "recipe.yaml")
    if not path.exists():
        raise MissingError(f"the store {store} holds no recipe, as it was never run: name one with --recipe")
    try:
        raw = _sections(path)
        if not raw:
            raise InputError(f"{path} is empty")
    except InputError as error:
        raise InputError(
            f"{error}\nThe recipe that the store was last run with is damaged: name one with --recipe. A run writes it "
            "anew"
        ) from None
    return _recipe(path, raw, overrides)


def _resolve_paths(raw: dict[str, Any], folder: Path) -> dict[str, Any]:
    """`raw` with absolute paths for what exists beside the recipe. Hub ids stay as they are.

    The name of a file that comes with SCoder means that one, where there is no other.
    """

    def resolved(value: Any) -> Any:
        beside = folder / str(value)
        is_there = beside.exists() or bool(glob.glob(str(beside), recursive=True))
        if not value or is_there:
            return str(beside.resolve()) if value else value
        name = str(value)
        is_shipped = Path(name).name == name and (SHIPPED / name).suffix == ".jsonl" and (SHIPPED / name).is_file()
        return str(SHIPPED / name) if is_shipped and not Path(name).exists() else value

    coder = raw.get("coder")
    lists = {"sources": raw.get("sources"), "benchmarks": raw.get("benchmarks")}
    lists["mix"] = coder.get("mix") if isinstance(coder, dict) else None
    for name, key in (("sources", "path"), ("sources", "dataset"), ("benchmarks", "path"), ("mix", "dataset")):
        for entry in lists[name] or []:
            if isinstance(entry, dict) and key in entry:
                entry[key] = resolved(entry[key])
    for section in ("docstring_judge", "teacher", "synthesizer", "scorer", "coder"):
        entry = raw.get(section)
        if isinstance(entry, dict):
            entry |= {key: resolved(entry[key]) for key in ("model", "path") if key in entry}
    meaning = (
        (raw.get("decontamination") or {}).get("meaning") if isinstance(raw.get("decontamination"), dict) else None
    )
    if isinstance(meaning, dict) and "model" in meaning:
        meaning["model"] = resolved(meaning["model"])
    return raw


def _follows(error: Any, errors: Sequence[Any]) -> bool:
    """Whether a list only seems too short because its entries are wrong."""
    place = error["loc"]
    return error["type"] == "too_short" and any(e["loc"][: len(place)] == place != e["loc"] for e in errors)


def _explain(error: Any, kind: type[BaseModel]) -> str:
    """One validation error in words, with the nearest valid key for an unknown one."""
    where = ".".join(_without_tags(error["loc"]))
    if error["type"] == "union_tag_invalid":
        if isinstance(error["input"], str) and error["input"] in ENGINES:
            return f"{where}: an engine is a block, write {where}: {{engine: {error['input']}}}"
        return f"{where}: no engine {error['ctx']['tag']!r}; there are {error['ctx']['expected_tags']}"
    if error["type"] != "extra_forbidden":
        told = FORMS.get(error["type"], error["msg"].removeprefix("Value error, "))
        return f"{where or kind.__name__.lower()}: {told}" + (
            f" (got {shortened(repr(error['input']))})" if where and not isinstance(error["input"], dict) else ""
        )
    *place, key = error["loc"]
    if place and place[-1] in ENGINES:
        owners = [name for name, settings in ENGINES.items() if key in settings.model_fields]
        if owners:
            return f"{where}: {key!r} is for engine {' and '.join(owners)}, and this one is {place[-1]}: leave it out"
    valid = _valid_keys(kind, place)
    near = difflib.get_close_matches(str(key)[:MOST_TOLD], valid, n=1, cutoff=0.5)
    guess = f"; did you mean {near[0]!r}?" if near else "."
    return f"unknown key {shortened(where)!r}{guess} Valid keys: {', '.join(valid)}"


def _without_tags(location: Sequence[Any]) -> list[str]:
    """The keys of a place in a recipe, without the engine names that pydantic puts between them."""
    tags = {n for n, part in enumerate(location) if part in ENGINES and location[n - 1] in ("engine", BLOCK)}
    return [str(part) for n, part in enumerate(location) if n not in tags and part != BLOCK]


def _valid_keys(kind: type[BaseModel], location: Sequence[Any]) -> list[str]:
    model: Any = kind
    for part in location:
        if isinstance(part, int) or part == BLOCK:
            continue
        model = ENGINES[part] if part in ENGINES else _settings_in(model.model_fields[part].annotation)
    return list(model.model_fields)


def _settings_in(annotation: Any) -> Any:
    """The settings class in an annotation such as `tuple[Source, ...]` or `SftSettings | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _settings_in(argument)
        if found is not None:
            return found
    return None
